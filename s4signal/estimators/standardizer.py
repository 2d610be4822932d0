"""Channels are centred and scaled by the training cases."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State
from s4signal.estimators.survey import Survey

FURTHEST = 4.0  # standard deviations: where most values are missing, an outlier counts no more than that
LARGEST = 1e15  # standard deviations, whose squares single precision holds
OTHER_UNITS = 100.0  # times the scale of any training case, or below the smallest by as much: not the same units


class Standardizer(NamedTuple):
    """Channel means and scales of the training cases, and how much those cases varied.

    Shapes: mean (n_channels,), scale (n_channels,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]  # infinite where a channel says nothing: division silences it
    range: tuple[float, float] = (0.0, np.inf)  # of `case_scale` over the training cases

    @classmethod
    def fit(cls, found: Survey, weights: NDArray[np.float64], *, identity: bool = False) -> Standardizer:
        """Standardise by what a survey found, or (``identity``) just silence channels that are flat or not observed."""
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
        scale = np.where(unseen | flat, np.inf, std)
        scales = (found.deviations() / scale).max(1)[weights > 0]
        return cls(mean, scale, (float(scales[scales > 0].min(initial=np.inf)), float(scales.max(initial=0.0))))

    def __call__(self, data: NDArray[np.floating], name: str = "X") -> NDArray[np.floating]:
        """Return (n_channels, n_times) standardised; refuse values that nothing can be computed from."""
        with np.errstate(over="ignore", invalid="ignore"):
            standardised = (data - self.mean[:, None]) / self.scale[:, None]
            largest = np.fmax.reduce(np.abs(standardised), axis=None, initial=0.0)  # passes over NaN
        if largest > LARGEST:
            raise ValueError(
                f"{name} has values up to {np.nanmax(np.abs(data)):.1g}, more than {LARGEST:g} times what the training "
                "cases vary; nothing can be computed from them. Clip the recording or leave it out."
            )
        return standardised

    def to_state(self) -> State:
        """Say what it is, for a file."""
        return State({}, {"mean": self.mean, "scale": self.scale, "range": np.array(self.range)})

    @classmethod
    def from_state(cls, state: State, *, n_channels: int) -> Standardizer:
        """Check and restore what `to_state` said."""
        smallest, largest = state.array("range", 2, finite=False).tolist()
        scale = state.array("scale", n_channels, positive=True, finite=False)
        if np.isnan(scale).any() or not (smallest >= 0 and largest >= 0):
            raise ModelFileError("scales of the channels must be positive.")
        return cls(state.array("mean", n_channels), scale, (smallest, largest))

    def case_scale(self, data: NDArray[np.floating]) -> float:
        """Return the largest standard deviation of a channel of (n_channels, n_times), in standard units."""
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.std(data, axis=1, dtype=np.float64)
            if not np.isfinite(deviation).all():
                observed = ~np.isnan(data)
                count = np.maximum(observed.sum(1), 1)
                mean = np.where(observed, data, 0.0).sum(1) / count
                rest = np.where(observed, data - mean[:, None], 0.0)
                deviation = np.sqrt(np.einsum("ct,ct->c", rest, rest) / count)
            return float(np.nan_to_num(deviation / self.scale, posinf=np.inf).max())


def warn_of_scale(standardizer: Standardizer, scales: NDArray[np.float64], *, chunk: bool = False) -> bool:
    """Warn where the scales of cases (n,) are so far from those of training that their units must be others.

    A ``chunk`` of a stream may vary less: it may be short.
    """
    smallest, largest = standardizer.range
    over = scales > OTHER_UNITS * largest
    under = (scales > 0) & (scales < smallest / OTHER_UNITS) & (not chunk)
    if largest == 0 or not (over | under).any():
        return False
    index, n_others = int(np.argmax(over | under)), int((over | under).sum()) - 1
    what = "the chunk" if chunk else f"case {index}"
    bound, which = (largest, "any") if over[index] else (smallest, "the calmest")
    others = f", {n_others} more as well" if n_others else ""
    warnings.warn(
        f"{what} varies {scales[index] / bound:.1g} times as much as {which} training case{others}: other units? "
        "Pass volts where the model was fitted on volts, and samples of one range (-1 to 1, or integers).",
        stacklevel=2,
    )
    return True
