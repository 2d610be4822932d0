"""The pictures and sounds of a report, each a text that a page holds in itself."""

from __future__ import annotations

import base64
import io
import warnings
import wave
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.inspection.bands import BandImportanceDisplay
from s4signal.inspection.training_curve import TrainingCurveDisplay
from s4signal.signals.checks import optional
from s4signal.ssm import impulse_response

# Okabe and Ito's palette: told apart by colour-blind people, and by lightness in grey.
BLUE, ORANGE, BLACK = "#0072B2", "#E69F00", "#000000"
_MOST_CHANNELS, _MOST_POINTS = 6, 1200  # of a trace
_MOST_HZ, _MOST_S = 16_000.0, 8.0  # of a sound
_MOST_MODES = 4000  # of a scatter plot


def picture(draw: Callable[[Any], None], *, width: float = 6.4, height: float = 3.4) -> str:
    """Draw on axes, and return the address of an SVG that a page can hold: "data:…"."""
    matplotlib = optional("matplotlib", "A report", "plot")
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": "s4signal", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3}
    style |= {"text.parse_math": False}  # a name such as "$x" is a name
    buffer = io.BytesIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def training_curve(model: Any) -> str:
    """Draw loss and validation score by epoch."""
    return picture(lambda ax: _ignored(TrainingCurveDisplay.from_estimator(model, ax=ax)))


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


def truth_and_prediction(truth: NDArray[Any], predicted: NDArray[Any]) -> str:
    """Draw predictions over true values."""

    def draw(ax: Any) -> None:
        ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
        ax.plot(ends, ends, color=BLACK, linestyle="--", linewidth=1, label="equal")
        ax.plot(truth, predicted, "o", color=BLUE, alpha=0.5, markersize=4, label="a case")
        ax.set(xlabel="True value", ylabel="Prediction")
        ax.legend()

    return picture(draw, height=4.4)


def band_importance(model: Any) -> str:
    """Draw which bands carry the decision of a model in closed form."""
    return picture(lambda ax: _ignored(BandImportanceDisplay.from_estimator(model, ax=ax)))


def modes(frequencies: NDArray[Any], time_constants: NDArray[Any], *, hertz: bool) -> str:
    """Draw the modes of a model: what they ring at, and how long they remember."""
    unit, duration = ("Hz", "s") if hertz else ("cycles per sample", "samples")
    if len(frequencies) > _MOST_MODES:
        kept = np.random.default_rng(0).permutation(len(frequencies))[:_MOST_MODES]
        frequencies, time_constants = frequencies[kept], time_constants[kept]

    def draw(ax: Any) -> None:
        ax.plot(frequencies, time_constants, ".", color=BLUE, alpha=0.4, markersize=5, rasterized=True)
        positive = frequencies[frequencies > 0]
        if len(positive):
            ax.set_xscale("symlog", linthresh=float(np.percentile(positive, 5)) or 1.0)
        ax.set(xlabel=f"Frequency ({unit})", ylabel=f"Time constant ({duration})", yscale="log")
        ax.set_xlim(left=0.0)

    return picture(draw)


def network_modes(network: Any, step_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies and time constants of all modes of a network below the Nyquist frequency."""
    frequencies, constants = [], []
    for block in network.blocks:
        re, im = (part.detach().double().cpu().numpy().ravel() for part in block.layer.kernel.modes())
        audible = np.abs(im) <= np.pi
        frequencies.append(np.abs(im[audible]) / (2 * np.pi * step_s))
        constants.append(step_s / np.maximum(-re[audible], 1e-12))
    return np.concatenate(frequencies), np.concatenate(constants)


def frequency_responses(network: Any, step_s: float, *, hertz: bool, n: int = 2048) -> str:
    """Draw how much each block passes at each frequency: median over its channels, and the middle 80 %."""

    def draw(ax: Any) -> None:
        axis = np.fft.rfftfreq(n, step_s)[1:]
        for i, block in enumerate(network.blocks):
            layer = block.layer
            system = layer.kernel.system(layer.D.detach())
            kernel = impulse_response(system, n).detach().double().cpu().numpy().reshape(-1, n)
            gain = 20 * np.log10(np.abs(np.fft.rfft(kernel, axis=1))[:, 1:] + 1e-6)
            low, middle, high = np.percentile(gain, [10, 50, 90], axis=0)
            line = ("-", "--", ":", "-.")[i % 4]
            (drawn,) = ax.plot(axis, middle, line, label=f"block {i + 1}")
            if i == 0:
                ax.fill_between(axis, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
        ax.set(xscale="log", xlabel=f"Frequency ({'Hz' if hertz else 'cycles per sample'})", ylabel="Gain (dB)")
        ax.legend()

    return picture(draw)


def trace(case: Any) -> str:
    """Draw the channels of a case below one another."""
    data = np.asarray(case.data, float)[:_MOST_CHANNELS]
    times = case.times if case.times is not None else np.arange(data.shape[1]) / (case.sfreq or 1.0)
    every = max(1, data.shape[1] // _MOST_POINTS)
    data, times = data[:, ::every], np.asarray(times)[::every]
    with warnings.catch_warnings():  # a channel that is all missing is an empty line
        warnings.simplefilter("ignore", RuntimeWarning)
        data = data - np.nanmean(data, axis=1, keepdims=True)
        spread = float(np.nanmax(np.nanstd(data, axis=1), initial=0.0)) or 1.0
    names = list(case.ch_names or [f"channel {i}" for i in range(len(data))])

    def draw(ax: Any) -> None:
        places = -6.0 * np.arange(len(data))
        for place, channel in zip(places, data, strict=True):
            ax.plot(times, channel / spread + place, color=BLUE, linewidth=0.8)
        ax.set_yticks(places, names[: len(data)])
        ax.set(xlabel="Time (s)" if case.sfreq or case.times is not None else "Sample")

    return picture(draw, width=10.0, height=1.0 + 0.6 * len(data))


def sound(case: Any) -> str:
    """Return the address of a sound that a page can hold: one channel, as loud as 16 bits allow, at most 8 s."""
    from s4signal.signals import Signals

    if case.sfreq > _MOST_HZ:
        case = Signals([case]).resample(_MOST_HZ)[0]
    samples = np.nan_to_num(np.asarray(case.data, float).mean(0)[: int(_MOST_S * case.sfreq)])
    samples = 0.9 * samples / (np.abs(samples).max(initial=0.0) or 1.0)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(round(case.sfreq))
        file.writeframes((32767 * samples).astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def is_sound(case: Any) -> bool:
    """Whether a case can be listened to."""
    if case.sfreq is None or case.times is not None:
        return False
    return bool(case.modality == "audio" or (case.modality is None and case.n_channels <= 2 and case.sfreq >= 4000))


def _ignored(_: Any) -> None:
    """Drop what a drawing returns."""
