"""The pictures and sounds of a report, each a text that a page holds in itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.io import wavfile

from s4signal.inspection.drawing import BLUE, ORANGE
from s4signal.inspection.occlusion import SaliencyDisplay
from s4signal.signals.checks import is_audio, optional

_N_STRETCHES = 8  # of a case: each is a prediction
_MOST_HZ, _MOST_S = 16_000.0, 8.0  # of a sound


def picture(draw: Callable[[Any], None], *, width: float = 6.4, height: float = 3.4) -> str:
    """Draw on axes, and return the address of an SVG that a page can hold: "data:…"."""
    matplotlib = optional("matplotlib", "A report", "plot")
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": "s4signal", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3}
    buffer = io.BytesIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def learning_curve(points: Sequence[tuple[float, int, float]], score: str) -> str:
    """Draw the score over the number of training cases: every fold a point, a line through the mean of each share."""

    def draw(ax: Any) -> None:
        share, n, values = np.array(points, dtype=np.float64).T
        ax.plot(n, values, "o", color=BLUE, alpha=0.4, label="a fold")
        means = [(n[share == s].mean(), values[share == s].mean()) for s in np.unique(share)]
        ax.plot(*zip(*means, strict=True), "s-", color=ORANGE, label="mean")
        ax.set(xlabel="Training cases", ylabel=score)
        ax.legend()

    return picture(draw)


def case_picture(model: Any, case: Any) -> str:
    """Draw a case, and what each stretch of it adds to the prediction; a sound as its spectrogram."""
    height = 3.4 if is_sound(case) else 1.4 + 0.6 * min(case.n_channels, 6)

    def draw(ax: Any) -> None:
        n = min(_N_STRETCHES, case.length)
        SaliencyDisplay.from_estimator(model, case, n_windows=n, spectrogram=is_sound(case), ax=ax)

    return picture(draw, width=6.4 if is_sound(case) else 8.0, height=height)


def sound(case: Any) -> str:
    """Return the address of a sound that a page can hold: one channel, as loud as 16 bits allow, at most 8 s."""
    from s4signal.signals import Signals

    if case.sfreq > _MOST_HZ:
        case = Signals([case]).resample(_MOST_HZ)[0]
    samples = np.nan_to_num(np.asarray(case.data, float).mean(0)[: int(_MOST_S * case.sfreq)])
    samples = 0.9 * samples / (np.abs(samples).max(initial=0.0) or 1.0)
    buffer = io.BytesIO()
    wavfile.write(buffer, round(case.sfreq), (32767 * samples).astype(np.int16))
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def is_sound(case: Any) -> bool:
    """Whether a case can be listened to."""
    return case.sfreq is not None and case.times is None and is_audio(case.modality, case.sfreq, case.n_channels)
