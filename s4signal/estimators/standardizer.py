"""Centre and scale channels with statistics of the training cases."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State
from s4signal.estimators.survey import OUTLIER, Survey, channel_name, spread
from s4signal.signals.checks import few

FURTHEST = 4.0  # standard deviations: limit of outliers if most values are missing
LARGEST = 1e15  # standard deviations; single precision can represent their square
OTHER_UNITS = 100.0  # times the scale of any training case, or below the smallest by as much: other units, or flat
DRIFT = 10.0  # times the deviation within cases; larger total deviations come from offsets, as electrodes drift
_FEW = 8  # observations that may be equal by chance
AVERAGED = 1e-4  # of the power: the average over channels has at most this share if it is the reference


class Standardizer(NamedTuple):
    """Channel means and scales of the training cases, and the range of their deviations.

    Shapes: mean, scale, kept, smallest (n_channels,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]  # infinite for an ignored channel: the division sets it to 0
    range: tuple[float, float] = (0.0, np.inf)  # of the largest deviation of each training case, see `statistics`
    common: tuple[float, float] = (np.nan, np.nan)  # range of the share that `statistics` returns
    kept: NDArray[np.float64] | None = None  # factor on the means of cases; they then vary like the samples around them
    smallest: NDArray[np.float64] | None = None  # deviation of each in a training case; older files have none

    @classmethod
    def fit(cls, found: Survey, weights: NDArray[np.float64], *, identity: bool = False) -> "Standardizer":
        """Fit to the statistics of a survey; with ``identity``, only set flat and unobserved channels to 0."""
        given, weights = weights, found.without_outliers(weights)
        if n_outliers := int((weights < given).sum()):
            warnings.warn(
                f"{n_outliers} training case(s) vary more than {OUTLIER:g} times as much as nine tenths of them, and "
                "are not used to scale the channels. Leave them out, or put Clip in front of the model.",
                stacklevel=2,
            )
        mean, std = found.moments(weights)
        unobserved = np.isnan(mean)
        mean = np.where(unobserved, 0.0, mean)
        rounding = 1e-12 * np.abs(mean)  # of an offset
        flat = ~unobserved & ~(std > rounding)
        for channel in np.flatnonzero(unobserved | flat).tolist():
            why = "has no observation in any training case" if unobserved[channel] else "is flat in all training cases"
            warnings.warn(f"{channel_name(channel, found.ch_names)} {why}; it is ignored.", stacklevel=2)
        if identity:
            mean, std = np.zeros_like(mean), np.ones_like(std)
        scale, within = np.where(unobserved | flat, np.inf, std), found.within(weights)
        drifting = (within > rounding) & (std > DRIFT * within) & (not identity)
        kept = np.where(drifting, within / scale, 1.0) if drifting.any() else None
        scale = np.where(drifting, within, scale)
        deviations, common = (found.deviations() / scale)[weights > 0], found.common[weights > 0]
        scales, least = deviations.max(1), deviations.min(0)
        ordered = np.sort(scales[(scales > 0) & (found.n_observed.max(1)[weights > 0] >= _FEW)])
        if len(below := np.flatnonzero(ordered[1:] > OTHER_UNITS * ordered[:-1]) + 1):
            text = f"{below[-1]} training case(s) vary over {OTHER_UNITS:g} times less than any other: other units?"
            warnings.warn(text, stacklevel=2)
        least[least < 1e-6] = 0.0  # the sums of a flat channel have a rounding error
        of_scale = float(scales[scales > 0].min(initial=np.inf)), float(scales.max(initial=0.0))
        lowest, highest = (float(extreme.reduce(common, initial=np.nan)) for extreme in (np.fmin, np.fmax))
        return cls(mean, scale, of_scale, (lowest, highest), kept, least)

    def __call__(self, data: NDArray[np.floating], name: str = "X") -> NDArray[np.floating]:
        """Return (n_channels, n_times) standardised; refuse values that are too large to compute with."""
        standardised, largest = self.measured(data)
        if largest > LARGEST:
            raise ValueError(
                f"{name} has values up to {np.nanmax(np.abs(data)):.1g}, more than {LARGEST:g} times the deviation of "
                "the training cases; nothing can be computed from them. Clip the recording or leave it out."
            )
        return standardised

    def measured(self, data: NDArray[np.floating]) -> tuple[NDArray[np.floating], float]:
        """Return (n_channels, n_times) standardised, and the largest magnitude in it."""
        with np.errstate(over="ignore", invalid="ignore"):
            centre = self.mean
            if self.kept is not None:
                own = np.nansum(data, axis=1, dtype=np.float64) / (~np.isnan(data)).sum(1)
                centre = own - (own - self.mean) * self.kept
            standardised = (data - centre[:, None]) / self.scale[:, None]
            return standardised, np.fmax.reduce(np.abs(standardised), axis=None, initial=0.0)  # ignores NaN

    def inverse(self, standardised: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n_channels, n_times) in original units, if no mean of the case itself was subtracted."""
        return standardised * self.scale[:, None] + self.mean[:, None]

    def to_state(self) -> State:
        """Return the state for a file."""
        some = {key: array for key, array in (("kept", self.kept), ("calmest", self.smallest)) if array is not None}
        return State({}, {"mean": self.mean, "scale": self.scale, "range": np.array(self.range + self.common), **some})

    @classmethod
    def from_state(cls, state: State, *, n_channels: int) -> "Standardizer":
        """Check and restore the state of `to_state`."""
        given = state.array("range", None, finite=False).tolist()
        smallest, largest, low, high = (*given, *4 * [np.nan])[:4]  # older files have two
        scale = state.array("scale", n_channels, positive=True, finite=False)
        if np.isnan(scale).any() or not (smallest >= 0 and largest >= 0):
            raise ModelFileError("scales of the channels must be positive.")
        kept, least = (state.array(n, n_channels) if n in state.arrays else None for n in ("kept", "calmest"))
        return cls(state.array("mean", n_channels), scale, (smallest, largest), (low, high), kept, least)

    def statistics(self, data: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the deviation of each channel, in standard units, and the share of `spread`: (n_channels + 1,).

        NaN for a channel with few observations.
        """
        deviation, share = spread(data)
        with np.errstate(invalid="ignore"):
            standard = np.nan_to_num(deviation / self.scale, posinf=np.inf)
        standard[np.count_nonzero(~np.isnan(data), axis=1) < _FEW] = np.nan
        return np.append(standard, share)


def warn_of_survey(standardizer: Standardizer, found: Survey, names: Sequence[str] | None) -> None:
    """Warn if cases that were surveyed differ from those of training."""
    deviations = np.where(found.n_observed < _FEW, np.nan, found.deviations() / standardizer.scale)
    warn_of_differences(standardizer, np.column_stack([deviations, found.common]), names)


def warn_of_differences(
    standardizer: Standardizer, stats: NDArray[np.float64], names: Sequence[str] | None = None, *, chunk: bool = False
) -> bool:
    """Warn if cases differ from those of training; ``stats`` (n, n_channels + 1) are `Standardizer.statistics`.

    Differences are other units, another reference, or a flat channel, by ``names``. A ``chunk`` of a stream may vary
    less, because it may be short.
    """
    deviations, shares = stats[:, :-1], stats[:, -1]
    (smallest, largest), (low, high) = standardizer.range, standardizer.common
    scales = np.fmax.reduce(deviations, axis=1, initial=0.0)
    if not chunk and standardizer.smallest is not None:
        same_units = (scales == 0) | (scales >= smallest / OTHER_UNITS)
        _warn_of_flat(same_units[:, None] & (deviations < standardizer.smallest / OTHER_UNITS), names)
    over = scales > OTHER_UNITS * largest
    others = (over | (scales > 0) & (scales < smallest / OTHER_UNITS) & (not chunk)) & (largest > 0)
    index = int(np.argmax(others))
    bound, which = (largest, "any") if over[index] else (smallest, "the least varying")
    units = _warn(
        others,
        f"varies {scales[index] / bound if bound else 0:.1g} times as much as {which} training case",
        "other units? Pass volts where the model was fitted on volts, and samples of one range (-1 to 1, or integers).",
        chunk=chunk,
    )
    all_were = high < AVERAGED  # shares near the limit differ between training and prediction by chance
    others = shares > 10 * AVERAGED if all_were else (shares < AVERAGED) & (low > 10 * AVERAGED)
    adds_up = "does not add up to zero over channels, as every" if all_were else "adds up to zero over channels, as no"
    advice = "another reference? Use the same one, for example with Rereference in front of the model."
    return _warn(others, f"{adds_up} training case does", advice, chunk=chunk) or units


def _warn(others: NDArray[np.bool_], text: str, advice: str, *, chunk: bool) -> bool:
    if others.any():
        what = "the chunk" if chunk else f"case {int(np.argmax(others))}"
        more = f", {int(others.sum()) - 1} more as well" if others.sum() > 1 else ""
        warnings.warn(f"{what} {text}{more}: {advice}", stacklevel=3)
    return bool(others.any())


def _warn_of_flat(flat: NDArray[np.bool_], names: Sequence[str] | None) -> None:
    """Warn of channels (n, n_channels) that are flat in a case but in no training case."""
    cases, channels = np.flatnonzero(flat.any(1)).tolist(), np.flatnonzero(flat.any(0)).tolist()
    if not cases:
        return
    named = few([channel_name(channel, names) for channel in channels], 5)
    others = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
    warnings.warn(
        f"{named}: flat in case {cases[0]}{others}, but in no training case. Check whether the sensor is off: "
        "predictions for such cases are not reliable.",
        stacklevel=3,
    )
