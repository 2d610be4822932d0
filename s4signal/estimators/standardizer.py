"""Channels are centred and scaled by the training cases."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State
from s4signal.estimators.survey import WILD, Survey, spread

FURTHEST = 4.0  # standard deviations: where most values are missing, an outlier counts no more than that
LARGEST = 1e15  # standard deviations, whose squares single precision holds
OTHER_UNITS = 100.0  # times the scale of any training case, or below the smallest by as much: not the same units
DRIFT = 10.0  # times the deviation within cases: what varies beyond it is where they lie, as electrodes drift
AVERAGED = 1e-4  # of the power: the average over channels keeps no more of it where it is the reference


class Standardizer(NamedTuple):
    """Channel means and scales of the training cases, and how much those cases varied.

    Shapes: mean (n_channels,), scale (n_channels,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]  # infinite where a channel says nothing: division silences it
    range: tuple[float, float] = (0.0, np.inf)  # of the scale that `look` returns, over the training cases
    common: tuple[float, float] = (np.nan, np.nan)  # of the share that it returns
    kept: NDArray[np.float64] | None = None  # of the means of cases, so that they vary as the samples around them

    @classmethod
    def fit(cls, found: Survey, weights: NDArray[np.float64], *, identity: bool = False) -> Standardizer:
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
        scales, common = (found.deviations() / scale).max(1)[weights > 0], found.common[weights > 0]
        of_scale = float(scales[scales > 0].min(initial=np.inf)), float(scales.max(initial=0.0))
        lowest, highest = (float(extreme.reduce(common, initial=np.nan)) for extreme in (np.fmin, np.fmax))
        return cls(mean, scale, of_scale, (lowest, highest), kept)

    def __call__(self, data: NDArray[np.floating], name: str = "X") -> NDArray[np.floating]:
        """Return (n_channels, n_times) standardised; refuse values that nothing can be computed from."""
        with np.errstate(over="ignore", invalid="ignore"):
            centre = self.mean
            if self.kept is not None:
                own = np.nan_to_num(np.nansum(data, axis=1, dtype=np.float64) / (~np.isnan(data)).sum(1))
                centre = own - (own - self.mean) * self.kept
            standardised = (data - centre[:, None]) / self.scale[:, None]
            largest = np.fmax.reduce(np.abs(standardised), axis=None, initial=0.0)  # passes over NaN
        if largest > LARGEST:
            raise ValueError(
                f"{name} has values up to {np.nanmax(np.abs(data)):.1g}, more than {LARGEST:g} times what the training "
                "cases vary; nothing can be computed from them. Clip the recording or leave it out."
            )
        return standardised

    def to_state(self) -> State:
        """Say what it is, for a file."""
        kept = {} if self.kept is None else {"kept": self.kept}
        return State({}, {"mean": self.mean, "scale": self.scale, "range": np.array(self.range + self.common), **kept})

    @classmethod
    def from_state(cls, state: State, *, n_channels: int) -> Standardizer:
        """Check and restore what `to_state` said."""
        given = state.array("range", None, finite=False).tolist()
        smallest, largest, low, high = (*given, *4 * [np.nan])[:4]  # older files have two
        scale = state.array("scale", n_channels, positive=True, finite=False)
        if np.isnan(scale).any() or not (smallest >= 0 and largest >= 0):
            raise ModelFileError("scales of the channels must be positive.")
        kept = state.array("kept", n_channels) if "kept" in state.arrays else None
        return cls(state.array("mean", n_channels), scale, (smallest, largest), (low, high), kept)

    def look(self, data: NDArray[np.floating]) -> tuple[float, float]:
        """Return the largest deviation of a channel, in standard units, and the share of `spread`."""
        deviation, share = spread(data)
        return float(np.nan_to_num(deviation / self.scale, posinf=np.inf).max()), share


def warn_of_looks(standardizer: Standardizer, looks: NDArray[np.float64], *, chunk: bool = False) -> bool:
    """Warn where cases look otherwise than in training, (n, 2) as `look` says: other units, or another reference.

    A ``chunk`` of a stream may vary less: it may be short.
    """
    (scales, shares), (smallest, largest), (low, high) = looks.T, standardizer.range, standardizer.common
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
    averaged, all_were = shares < AVERAGED, high < AVERAGED
    others = ~averaged & np.isfinite(shares) if all_were else averaged & (low >= AVERAGED)
    adds_up = "does not add up to zero over channels, as every" if all_were else "adds up to zero over channels, as no"
    advice = "another reference? Measure against the same one, as Rereference in front of the model does."
    return _warn(others, f"{adds_up} training case does", advice, chunk=chunk) or units


def _warn(others: NDArray[np.bool_], said: str, advice: str, *, chunk: bool) -> bool:
    if others.any():
        what = "the chunk" if chunk else f"case {int(np.argmax(others))}"
        more = f", {int(others.sum()) - 1} more as well" if others.sum() > 1 else ""
        warnings.warn(f"{what} {said}{more}: {advice}", stacklevel=3)
    return bool(others.any())
