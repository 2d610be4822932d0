"""Frequencies and time constants of the modes of a model."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.errors import ShapeError
from s4signal.inspection.drawing import MARKERS, Display, model_of, units_of
from s4signal.inspection.frequency_response import step_of

_MOST = 4000  # points


class PolesDisplay(Display):
    """Poles of a fitted model: frequency and time constant (decay to 1/e) of each mode.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    frequency, time_constant : array-like of shape (n_poles,)
        Frequency and time constant of each pole.
    part : array-like of shape (n_poles,), optional
        Name of the part of the model that it belongs to, such as ``"block 1"``; each has its own marker.
    units : tuple of two str, default=("Hz", "s")
        Units of frequencies and time constants.

    Raises
    ------
    ShapeError
        If the arrays differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Classifier
    >>> from s4signal.inspection import PolesDisplay
    >>> X, y = np.random.default_rng(0).standard_normal((40, 100)), np.repeat(["rest", "task"], 20)
    >>> model = S4Classifier(d_model=8, n_layers=1, max_epochs=1, sfreq=50, random_state=0).fit(X, y)
    >>> bool(PolesDisplay.from_estimator(model).frequency.max() <= 25)
    True
    """

    def __init__(
        self,
        *,
        frequency: npt.ArrayLike,
        time_constant: npt.ArrayLike,
        part: npt.ArrayLike | None = None,
        units: tuple[str, str] = ("Hz", "s"),
    ) -> None:
        self.frequency, self.time_constant = np.asarray(frequency, float), np.asarray(time_constant, float)
        self.part = np.full(len(self.frequency), "") if part is None else np.asarray(part)
        self.units = units
        if not len(self.frequency) == len(self.time_constant) == len(self.part):
            lengths = f"{len(self.frequency)}, {len(self.time_constant)} and {len(self.part)}"
            raise ShapeError(f"frequency, time_constant and part must be of one length, got {lengths}.")

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the poles of a fitted model below its Nyquist frequency; return the display.

        Parameters
        ----------
        estimator : estimator of this package, or a pipeline that ends in one
            Fitted.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        model = model_of(estimator)
        if hasattr(model, "features_"):
            features = model.features_
            frequency, time_constant, part = features.frequencies_, features.time_constants_, None
        else:
            frequency, time_constant, part = _poles_of_blocks(model)
        return cls(frequency=frequency, time_constant=time_constant, part=part, units=units_of(model)).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        kept = np.random.default_rng(0).permutation(len(self.frequency))[:_MOST]
        parts = np.unique(self.part)
        for i, name in enumerate(parts):
            members = kept[self.part[kept] == name]
            marker = MARKERS[i % len(MARKERS)]
            x, y = self.frequency[members], self.time_constant[members]
            ax.plot(x, y, marker, alpha=0.4, markersize=3, linestyle="", rasterized=True, label=name or None)
        positive = self.frequency[self.frequency > 0]
        if len(positive):
            ax.set_xscale("symlog", linthresh=float(np.percentile(positive, 5)))
        ax.set(xlabel=f"Frequency ({self.units[0]})", ylabel=f"Time constant ({self.units[1]})", yscale="log")
        ax.set_xlim(left=0.0)
        if len(parts) > 1:
            ax.legend()


def _poles_of_blocks(model: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    step, frequencies, constants, parts = step_of(model), [], [], []
    for i, block in enumerate(model.network_.blocks):
        re, im = (part.detach().double().cpu().numpy().ravel() for part in block.layer.kernel.modes())
        below_nyquist = np.abs(im) <= np.pi
        frequencies.append(np.abs(im[below_nyquist]) / (2 * np.pi * step))
        constants.append(step / np.maximum(-re[below_nyquist], 1e-12))
        parts.append(np.full(below_nyquist.sum(), f"block {i + 1}"))
    return np.concatenate(frequencies), np.concatenate(constants), np.concatenate(parts)
