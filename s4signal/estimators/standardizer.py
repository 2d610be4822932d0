"""Channels are centred and scaled by the training cases."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State
from s4signal.estimators.survey import WILD, Survey, channel_name, spread
from s4signal.signals.checks import few

FURTHEST = 4.0  # standard deviations: where most values are missing, an outlier counts no more than that
LARGEST = 1e15  # standard deviations, whose squares single precision holds
OTHER_UNITS = 100.0  # times the scale of any training case, or below the smallest by as much: other units, or flat
DRIFT = 10.0  # times the deviation within cases: what varies beyond it is where they lie, as electrodes drift
AVERAGED = 1e-4  # of the power: the average over channels keeps no more of it where it is the reference


class Standardizer(NamedTuple):
    """Channel means and scales of the training cases, and how much those cases varied.

    Shapes: mean, scale, kept, calmest (n_channels,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]  # infinite where a channel says nothing: division silences it
    range: tuple[float, float] = (0.0, np.inf)  # of the largest deviation in `look`, over the training cases
    common: tuple[float, float] = (np.nan, np.nan)  # of the share that it returns
    kept: NDArray[np.float64] | None = None  # of the means of cases, so that they vary as the samples around them
    calmest: NDArray[np.float64] | None = None  # the least deviation of each in a training case; older files have none

    @classmethod
    def fit(cls, found: Survey, weights: NDArray[np.float64], *, identity: bool = False) -> "Standardizer":
        """Standardise by what a survey found, or (``identity``) just silence channels that are flat or not observed."""
        tame = found.tame(weights)
        if wild := int((tame < weights).sum()):
            warnings.warn(
                f"{wild} training case(s) vary more than {WILD:g} times as much as nine tenths of them, and say "
                "nothing of the scale of the channels. Leave them out, or put Clip in front of the model.",
                stacklevel=2,
            )
        weights = tame
        mean, std = found.moments(weights)
        unseen = np.isnan(mean)
        mean = np.where(unseen, 0.0, mean)
        # Beside the rounding of an offset: of the mean, or of the shift between cases.
        rounding = 1e-12 * np.maximum(np.abs(mean), np.sqrt(std**2 + (mean - found.shift) ** 2))
        flat = ~unseen & ~(std > rounding)
        for channel in np.flatnonzero(unseen | flat).tolist():
            why = "has no observation in any training case" if unseen[channel] else "is flat in all training cases"
            warnings.warn(f"{found.channel(channel)} {why}; it is ignored.", stacklevel=2)
        if identity:
            mean, std = np.zeros_like(mean), np.ones_like(std)
        scale, within = np.where(unseen | flat, np.inf, std), found.within(weights)
        drifting = (within > rounding) & (std > DRIFT * within) & (not identity)
        kept = np.where(drifting, within / scale, 1.0) if drifting.any() else None
        scale = np.where(drifting, within, scale)
        deviations, common = (found.deviations() / scale)[weights > 0], found.common[weights > 0]
        scales, calmest = deviations.max(1), deviations.min(0)
        calmest[calmest < 1e-6] = 0.0  # sums leave a rest of what is flat
        of_scale = float(scales[scales > 0].min(initial=np.inf)), float(scales.max(initial=0.0))
        lowest, highest = (float(extreme.reduce(common, initial=np.nan)) for extreme in (np.fmin, np.fmax))
        return cls(mean, scale, of_scale, (lowest, highest), kept, calmest)

    def __call__(self, data: NDArray[np.floating], name: str = "X") -> NDArray[np.floating]:
        """Return (n_channels, n_times) standardised; refuse values that nothing can be computed from."""
        standardised, largest = self.measured(data)
        if largest > LARGEST:
            raise ValueError(
                f"{name} has values up to {np.nanmax(np.abs(data)):.1g}, more than {LARGEST:g} times what the training "
                "cases vary; nothing can be computed from them. Clip the recording or leave it out."
            )
        return standardised

    def measured(self, data: NDArray[np.floating]) -> tuple[NDArray[np.floating], float]:
        """Return (n_channels, n_times) standardised, and the largest magnitude in it."""
        with np.errstate(over="ignore", invalid="ignore"):
            centre = self.mean
            if self.kept is not None:
                own = np.nan_to_num(np.nansum(data, axis=1, dtype=np.float64) / (~np.isnan(data)).sum(1))
                centre = own - (own - self.mean) * self.kept
            standardised = (data - centre[:, None]) / self.scale[:, None]
            return standardised, np.fmax.reduce(np.abs(standardised), axis=None, initial=0.0)  # passes over NaN

    def undone(self, standardised: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n_channels, n_times) as it was recorded, where no mean of its own was taken away."""
        return standardised * self.scale[:, None] + self.mean[:, None]

    def to_state(self) -> State:
        """Say what it is, for a file."""
        some = {name: value for name in ("kept", "calmest") if (value := getattr(self, name)) is not None}
        return State({}, {"mean": self.mean, "scale": self.scale, "range": np.array(self.range + self.common), **some})

    @classmethod
    def from_state(cls, state: State, *, n_channels: int) -> "Standardizer":
        """Check and restore what `to_state` said."""
        given = state.array("range", None, finite=False).tolist()
        smallest, largest, low, high = (*given, *4 * [np.nan])[:4]  # older files have two
        scale = state.array("scale", n_channels, positive=True, finite=False)
        if np.isnan(scale).any() or not (smallest >= 0 and largest >= 0):
            raise ModelFileError("scales of the channels must be positive.")
        kept, calmest = (state.array(n, n_channels) if n in state.arrays else None for n in ("kept", "calmest"))
        return cls(state.array("mean", n_channels), scale, (smallest, largest), (low, high), kept, calmest)

    def look(self, data: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the deviation of each channel, in standard units, and the share of `spread`: (n_channels + 1,).

        NaN for a channel of so few observations that they may well be alike.
        """
        deviation, share = spread(data)
        with np.errstate(invalid="ignore"):
            standard = np.nan_to_num(deviation / self.scale, posinf=np.inf)
        standard[np.count_nonzero(~np.isnan(data), axis=1) < 8] = np.nan
        return np.append(standard, share)


def warn_of_looks(
    standardizer: Standardizer, looks: NDArray[np.float64], names: Sequence[str] | None = None, *, chunk: bool = False
) -> bool:
    """Warn where cases look otherwise than in training, (n, n_channels + 1) as `look` says.

    That is in other units, against another reference, or with a channel off, by ``names``. A ``chunk`` of a stream may
    vary less: it may be short.
    """
    deviations, shares = looks[:, :-1], looks[:, -1]
    (smallest, largest), (low, high) = standardizer.range, standardizer.common
    scales = np.fmax.reduce(deviations, axis=1, initial=0.0)
    if not chunk and standardizer.calmest is not None:
        same_units = (scales == 0) | (scales >= smallest / OTHER_UNITS)
        _warn_of_flat(same_units[:, None] & (deviations < standardizer.calmest / OTHER_UNITS), names)
    over = scales > OTHER_UNITS * largest
    others = (over | (scales > 0) & (scales < smallest / OTHER_UNITS) & (not chunk)) & (largest > 0)
    index = int(np.argmax(others))
    bound, which = (largest, "any") if over[index] else (smallest, "the calmest")
    units = _warn(
        others,
        f"varies {scales[index] / bound if bound else 0:.1g} times as much as {which} training case",
        "other units? Pass volts where the model was fitted on volts, and samples of one range (-1 to 1, or integers).",
        chunk=chunk,
    )
    all_were = high < AVERAGED  # what lies around the limit at training and at prediction differs by chance
    others = shares > 10 * AVERAGED if all_were else (shares < AVERAGED) & (low > 10 * AVERAGED)
    adds_up = "does not add up to zero over channels, as every" if all_were else "adds up to zero over channels, as no"
    advice = "another reference? Measure against the same one, as Rereference in front of the model does."
    return _warn(others, f"{adds_up} training case does", advice, chunk=chunk) or units


def _warn(others: NDArray[np.bool_], said: str, advice: str, *, chunk: bool) -> bool:
    if others.any():
        what = "the chunk" if chunk else f"case {int(np.argmax(others))}"
        more = f", {int(others.sum()) - 1} more as well" if others.sum() > 1 else ""
        warnings.warn(f"{what} {said}{more}: {advice}", stacklevel=3)
    return bool(others.any())


def _warn_of_flat(flat: NDArray[np.bool_], names: Sequence[str] | None) -> None:
    """Warn of channels (n, n_channels) that are flat in a case, and were in none of training."""
    cases, channels = np.flatnonzero(flat.any(1)).tolist(), np.flatnonzero(flat.any(0)).tolist()
    if not cases:
        return
    named = few([channel_name(channel, names) for channel in channels], 5)
    others = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
    warnings.warn(
        f"{named}: flat in case {cases[0]}{others}, but in no training case. Look whether the sensor is off: what "
        "is predicted there is not to be relied on.",
        stacklevel=3,
    )
