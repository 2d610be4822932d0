"""The base class of all displays, with units and with styles for greyscale and colour-blind readers."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from s4signal.signals import Signal
from s4signal.signals.checks import optional

# Okabe and Ito's palette, which colour-blind readers can distinguish, and which differs in lightness in greyscale.
BLUE, ORANGE, BLACK = "#0072B2", "#E69F00", "#000000"
STYLES, MARKERS = ("-", "--", ":", "-."), "os^Dv"
MAP = "cividis"  # its lightness increases uniformly
NAMES: Any = {"parse_math": False}  # a name such as "$x" is not a formula
_MOST_CHANNELS, _MOST_POINTS = 6, 1200  # of traces


class Display(ABC):
    """Values that can be drawn, in the style of scikit-learn's displays."""

    ax_: Any
    figure_: Any

    def plot(self, *, ax: Any = None) -> Self:
        """Draw; return this display, with the axes `ax_` and their figure `figure_`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        optional("matplotlib", "Drawing", "plot")
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots(layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        self._draw(ax)
        return self

    @abstractmethod
    def _draw(self, ax: Any) -> None:
        """Draw on these axes."""


def model_of(estimator: Any) -> Any:
    """Return a model, the last step of a pipeline."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def units_of(model: Any) -> tuple[str, str]:
    """Return the units of frequencies and durations of a fitted model."""
    return ("cycles per sample", "samples") if model.sfreq_ is None else ("Hz", "s")


def seconds(case: Signal) -> NDArray[np.float64]:
    """Return the times of the samples of a case, in seconds or samples, shape (n_times,)."""
    return np.arange(case.length) / (case.sfreq or 1.0) if case.times is None else np.asarray(case.times, np.float64)


def draw_traces(ax: Any, case: Signal) -> None:
    """Draw the first channels of a case below one another, decimated to the resolution of a figure."""
    every = max(1, case.length // _MOST_POINTS)
    data, times = np.asarray(case.data, np.float64)[:_MOST_CHANNELS, ::every], seconds(case)[::every]
    names = case.ch_names or [f"channel {i}" for i in range(len(data))]
    seen = np.where(np.isnan(data).all(1, keepdims=True), 0.0, data)  # a channel that is all missing has no mean
    data = data - np.nanmean(seen, axis=1, keepdims=True)
    spread = float(np.nanstd(seen, axis=1).max(initial=0.0)) or 1.0
    places = -6.0 * np.arange(len(data))
    ax.plot(times, (data / spread + places[:, None]).T, color=BLUE, linewidth=0.8)
    ax.set_yticks(places, names[: len(data)], **NAMES)
    ax.set(xlabel=time_label(case), xlim=(times[0], times[-1]) if len(times) > 1 else None)


def time_label(case: Signal) -> str:
    """Return the label of the time axis."""
    return "Sample" if case.sfreq is None and case.times is None else "Time (s)"
