"""Reconstruction of a signal from a HiPPO memory."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.inspection.drawing import MAP, STYLES, Display
from s4signal.ssm import HiPPO


class MemoryDisplay(Display):
    """A signal, and its reconstructions from memories at its end.

    Create it with `from_signal`. All parameters are kept as attributes.

    Parameters
    ----------
    times : array-like of shape (n_times,)
        Times of the samples.
    signal : array-like of shape (n_times,)
        Input of the memories.
    reconstructions : mapping of str to array of shape (n_times,)
        Reconstructions by name of the memory; NaN where there is none.
    unit : str, default="s"
        Unit of the times.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.inspection import MemoryDisplay
    >>> display = MemoryDisplay.from_signal(np.sin(np.arange(500) / 20), d_states=(8, 64), sfreq=100)
    >>> errors = [np.abs(past - display.signal).max() for past in display.reconstructions.values()]
    >>> bool(errors[1] < 0.05 < errors[0])
    True
    """

    def __init__(
        self,
        *,
        times: npt.ArrayLike,
        signal: npt.ArrayLike,
        reconstructions: Mapping[str, npt.ArrayLike],
        unit: str = "s",
    ) -> None:
        self.times, self.signal, self.unit = np.asarray(times, float), np.asarray(signal, float), unit
        self.reconstructions = {name: np.asarray(past, float) for name, past in reconstructions.items()}

    @classmethod
    def from_signal(
        cls,
        signal: npt.ArrayLike,
        *,
        measure: str = "legs",
        d_states: Sequence[int] = (8, 32, 128),
        sfreq: float | None = None,
        ax: Any = None,
    ) -> Self:
        """Feed a signal to memories of several sizes, and draw the reconstructions at its end; return the display.

        Parameters
        ----------
        signal : array-like of shape (n_times,)
            One channel, without missing samples.
        measure : str, default="legs"
            As in `HiPPO`; its window is the length of the signal, for ``"lagt"`` a fortieth of it.
        d_states : sequence of int, default=(8, 32, 128)
            Number of coefficients of each memory.
        sfreq : float, optional
            Sampling rate, in Hz; by default time is in samples.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        wave = np.asarray(signal, float)
        window = {"legs": None, "lagt": len(wave) / 40}.get(measure, float(len(wave)))
        middle = np.arange(len(wave)) + 0.5  # sample k lasts from k to k + 1
        pasts = {f"N = {n}": HiPPO(measure, n, window=window).update(wave).reconstruct(middle) for n in d_states}
        unit = "samples" if sfreq is None else "s"
        return cls(times=middle / (sfreq or 1.0), signal=wave, reconstructions=pasts, unit=unit).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        from matplotlib import colormaps

        ax.plot(self.times, self.signal, color="0.8", linewidth=2, label="signal")
        n = len(self.reconstructions)
        colors = colormaps[MAP](np.linspace(0.6, 0, n))
        for i, (name, past) in enumerate(self.reconstructions.items()):
            ax.plot(self.times, past, STYLES[(n - 1 - i) % 4], color=colors[i], linewidth=1.2, label=name)
        ax.set(xlabel=f"Time ({self.unit})", ylim=(1.2 * self.signal.min(), 1.2 * self.signal.max()))
        ax.margins(x=0)
        ax.legend(loc="upper left", fontsize="small", framealpha=0.6)
