"""One page that says how good a model is, on what, by which protocol, and how sure that is."""

import base64
import hashlib
import io
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import wavfile

from s4signal.inspection.bands import BandImportanceDisplay
from s4signal.inspection.drawing import BLUE, ORANGE
from s4signal.inspection.frequency_response import FrequencyResponseDisplay
from s4signal.inspection.occlusion import SaliencyDisplay
from s4signal.inspection.poles import PolesDisplay
from s4signal.inspection.scores import Predictions, interval_text
from s4signal.inspection.training_curve import TrainingCurveDisplay
from s4signal.signals import Signals
from s4signal.signals.checks import is_audio, optional

_MOST_ROWS, _MOST_CLASSES, _N_CASES = 50, 30, 4
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


def case_picture(model: Any, case: Any, target: Any) -> str:
    """Draw a case, and what each stretch of it adds to the odds of its class; a sound as its spectrogram."""
    height = 3.4 if is_sound(case) else 1.4 + 0.6 * min(case.n_channels, 6)

    def draw(ax: Any) -> None:
        n = min(_N_STRETCHES, case.length)
        SaliencyDisplay.from_estimator(model, case, target=target, n_windows=n, spectrogram=is_sound(case), ax=ax)

    return picture(draw, width=6.4 if is_sound(case) else 8.0, height=height)


def sound(case: Any) -> str:
    """Return the address of a sound that a page can hold: one channel, as loud as 16 bits allow, at most 8 s."""
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


@dataclass(frozen=True)
class Evaluation:
    """What is reported: a fitted model, cases, what it says of them, and how that was found out."""

    model: Any
    model_file: Path
    X: Any
    said: Predictions
    facts: Mapping[str, str]  # of the data, for a person
    protocol: str
    checks: Sequence[tuple[bool, str]]  # of leakage
    curve: Sequence[tuple[float, int, float]] = ()  # share and number of training cases, score
    grouped: bool = True


def write_report(path: Path, what: Evaluation) -> None:
    """Write the page; nothing in it is loaded from elsewhere, nothing is executed."""
    environment = optional("jinja2", "A report", "plot").Environment(autoescape=True)
    environment.filters |= {"number": lambda value: "–" if value is None else f"{value:.3f}", "interval": interval_text}
    template = files("s4signal.inspection").joinpath("report.html").read_text("utf-8")
    path.write_text(environment.from_string(template).render(**context(what)), encoding="utf-8")


def context(what: Evaluation) -> dict[str, Any]:
    """Return what the template shows."""
    said, names, groups = what.said, what.said.classes, what.said.by_group()
    return {
        "what": what,
        "title": f"{type(what.model).__name__} on {len(said.y)} cases",
        "subtitle": f"{what.model_file.name}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "measure": said.measure,
        "scores": said.scores(),
        "over_groups": said.over_groups() if what.grouped else None,
        "over_folds": said.over_folds(),
        "confusion": None if names is None or len(names) > _MOST_CLASSES else said.confusion().tolist(),
        "by_class": [] if names is None else said.by_class(),
        "by_group": groups if what.grouped and len(groups) > 1 else [],
        "most_rows": _MOST_ROWS,
        "curves": _curves(what),
        "coverage": _coverage(what.model),
        "cases": _cases(what),
        "environment": _environment(what),
    }


def _curves(what: Evaluation) -> list[tuple[str, str]]:
    """Draw the curves, with a text for each."""
    model, said, curves = what.model, what.said, []
    if said.classes is None:
        curves.append((picture(partial(_errors, said)), "True values over predictions."))
    if what.curve:
        text = f"Learning curve: {said.measure} over the number of training cases, all of other groups."
        curves.append((learning_curve(what.curve, said.measure.capitalize()), text))
    if getattr(model, "history_", None):
        curves.append((_drawn(TrainingCurveDisplay, model), "Training of the model in the file, epoch by epoch."))
    return curves


def _errors(said: Predictions, ax: Any) -> None:
    ax.axline([said.y.mean()] * 2, slope=1, color="0.3", linestyle="--")
    ax.plot(said.predicted, said.y, "o", color=BLUE, alpha=0.5)
    ax.set(xlabel="Prediction", ylabel="True value")


def _drawn(display: type[Any], model: Any) -> str:
    return picture(lambda ax: display.from_estimator(model, ax=ax))


def _coverage(model: Any) -> list[tuple[str, str]]:
    """Draw the poles of a model, and what it passes."""
    modes = _drawn(PolesDisplay, model), "Modes: where each rings, and the time in which it decays to 1/e."
    if hasattr(model, "network_"):
        text = "Frequency response of the blocks, before their gates: median of the channels and the middle 80 %."
        return [modes, (_drawn(FrequencyResponseDisplay, model), text)]
    text = "Share of the squared coefficients that falls to each oscillator, and their sums over octaves."
    return [modes, (_drawn(BandImportanceDisplay, model), text)]


def _cases(what: Evaluation) -> list[dict[str, Any]]:
    """Show the cases that the model is furthest from, and those it is surest of."""
    order = np.argsort(what.said.certainty, kind="stable")
    n = min(_N_CASES, len(order) // 2)
    shown = {"Worst cases": order[:n], "Best cases": order[::-1][:n]}
    return [
        {"title": title, "cases": [_case(what, int(i), f"{title[0]}{i}") for i in chosen]}
        for title, chosen in shown.items()
        if len(chosen)
    ]


def _case(what: Evaluation, i: int, mark: str) -> dict[str, Any]:
    said, case = what.said, what.X[i]
    truth, predicted = said.y[i], said.predicted[i]
    if said.classes is None:
        text = f"true {truth:.4g}, predicted {predicted:.4g}"
    else:
        text = f"true {truth}, predicted {predicted}; probability of the true class {said.certainty[i]:.3f}"
    source = Path(case.source).name if case.source else ""
    known = said.classes is not None and truth in what.model.classes_.tolist()  # a model of a fold may differ
    trace = case_picture(what.model, case, truth if known else None)
    shown = {"sound": sound(case) if is_sound(case) else "", "trace": trace}
    return {"id": mark, "title": f"case {i}{source and f', {source}'}", "text": text, **shown}


def _environment(what: Evaluation) -> dict[str, str]:
    content = what.model_file.read_bytes()
    packages = ("s4signal", "torch", "numpy", "scipy", "scikit-learn")
    seconds = getattr(what.model, "fit_seconds_", None)
    return {
        "model file": f"{what.model_file.name}, {len(content) / 1e6:.2f} MB",
        "SHA-256": hashlib.sha256(content).hexdigest(),
        **({} if seconds is None else {"fitted in": f"{seconds:.1f} s"}),
        "parameters": ", ".join(f"{k}={v!r}" for k, v in what.model.get_params(deep=False).items() if k != "callbacks"),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }
