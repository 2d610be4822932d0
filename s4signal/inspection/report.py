"""A report of one page: the scores of a model, its data and protocol, and the uncertainty of the scores."""

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
from s4signal.inspection.occlusion import SaliencyDisplay
from s4signal.inspection.responses import FrequencyResponseDisplay, PolesDisplay
from s4signal.inspection.scores import Predictions, interval_text
from s4signal.inspection.training_curve import TrainingCurveDisplay
from s4signal.signals import Signals
from s4signal.signals.checks import is_audio, optional

_MOST_ROWS, _MOST_CLASSES, _N_CASES = 50, 30, 4
_N_STRETCHES = 8  # of a case; each costs a prediction
_MOST_HZ, _MOST_S = 16_000.0, 8.0  # of an audio clip


def picture(draw: Callable[[Any], None], *, width: float = 6.4, height: float = 3.4) -> str:
    """Draw on axes, and return an SVG as a data URL."""
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
    """Draw the score over the number of training cases: a point per fold, a line through the means of the shares."""

    def draw(ax: Any) -> None:
        share, n, values = np.array(points, dtype=np.float64).T
        ax.plot(n, values, "o", color=BLUE, alpha=0.4, label="a fold")
        means = [(n[share == s].mean(), values[share == s].mean()) for s in np.unique(share)]
        ax.plot(*zip(*means, strict=True), "s-", color=ORANGE, label="mean")
        ax.set(xlabel="Training cases", ylabel=score)
        ax.legend()

    return picture(draw)


def case_picture(model: Any, case: Any, target: Any) -> str:
    """Draw a case, and the contribution of each stretch to the odds of its class; audio as its spectrogram."""
    height = 3.4 if is_sound(case) else 1.4 + 0.6 * min(case.n_channels, 6)

    def draw(ax: Any) -> None:
        n = min(_N_STRETCHES, case.length)
        SaliencyDisplay.from_estimator(model, case, target=target, n_windows=n, spectrogram=is_sound(case), ax=ax)

    return picture(draw, width=6.4 if is_sound(case) else 8.0, height=height)


def sound_url(case: Any) -> str:
    """Return audio as a data URL: one channel, scaled to the range of 16 bits, at most 8 s."""
    if case.sfreq > _MOST_HZ:
        case = Signals([case]).resample(_MOST_HZ)[0]
    samples = np.nan_to_num(np.asarray(case.data, float).mean(0)[: int(_MOST_S * case.sfreq)])
    samples = 0.9 * samples / (np.abs(samples).max(initial=0.0) or 1.0)
    buffer = io.BytesIO()
    wavfile.write(buffer, round(case.sfreq), (32767 * samples).astype(np.int16))
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def is_sound(case: Any) -> bool:
    """Whether a case is audio."""
    return case.sfreq is not None and case.times is None and is_audio(case.modality, case.sfreq, case.n_channels)


@dataclass(frozen=True)
class Evaluation:
    """Content of a report: a fitted model, cases, its predictions, and the protocol."""

    model: Any
    model_file: Path
    X: Any
    predictions: Predictions
    facts: Mapping[str, str]  # about the data
    protocol: str
    checks: Sequence[tuple[bool, str]]  # of leakage
    curve: Sequence[tuple[float, int, float]] = ()  # share and number of training cases, score
    grouped: bool = True


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page; it loads nothing from elsewhere and executes nothing."""
    environment = optional("jinja2", "A report", "plot").Environment(autoescape=True)
    environment.filters |= {"number": lambda value: "–" if value is None else f"{value:.3f}", "interval": interval_text}
    template = files("s4signal.inspection").joinpath("report.html").read_text("utf-8")
    path.write_text(environment.from_string(template).render(**context(evaluation)), encoding="utf-8")


def context(evaluation: Evaluation) -> dict[str, Any]:
    """Return the variables of the template."""
    predictions, names = evaluation.predictions, evaluation.predictions.classes
    return {
        "evaluation": evaluation,
        "title": f"{type(evaluation.model).__name__} on {len(predictions.y)} cases",
        "subtitle": f"{evaluation.model_file.name}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "measure": predictions.measure,
        "scores": predictions.scores(),
        "over_groups": predictions.over_groups() if evaluation.grouped else None,
        "over_folds": predictions.over_folds(),
        "confusion": None if names is None or len(names) > _MOST_CLASSES else predictions.confusion().tolist(),
        "by_class": [] if names is None else predictions.by_class(),
        "by_group": predictions.by_group() if evaluation.grouped and len(np.unique(predictions.groups)) > 1 else [],
        "most_rows": _MOST_ROWS,
        "curves": _curves(evaluation),
        "coverage": _coverage(evaluation.model),
        "cases": _cases(evaluation),
        "environment": _environment(evaluation),
    }


def _curves(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Draw the curves, each with a caption."""
    model, predictions, curves = evaluation.model, evaluation.predictions, []
    if predictions.classes is None:
        curves.append((picture(partial(_errors, predictions)), "True values over predictions."))
    if evaluation.curve:
        text = f"Learning curve: {predictions.measure} over the number of training cases, all from other groups."
        curves.append((learning_curve(evaluation.curve, predictions.measure.capitalize()), text))
    if getattr(model, "history_", None):
        curves.append((_drawn(TrainingCurveDisplay, model), "Training of the model in the file, epoch by epoch."))
    return curves


def _errors(predictions: Predictions, ax: Any) -> None:
    ax.axline([predictions.y.mean()] * 2, slope=1, color="0.3", linestyle="--")
    ax.plot(predictions.predicted, predictions.y, "o", color=BLUE, alpha=0.5)
    ax.set(xlabel="Prediction", ylabel="True value")


def _drawn(display: type[Any], model: Any) -> str:
    return picture(lambda ax: display.from_estimator(model, ax=ax))


def _coverage(model: Any) -> list[tuple[str, str]]:
    """Draw the poles of a model, and its frequency response or band importance."""
    modes = _drawn(PolesDisplay, model), "Modes: frequency, and the time of the decay to 1/e."
    if hasattr(model, "network_"):
        text = "Frequency response of the blocks, before their gates: median of the channels and the middle 80 %."
        return [modes, (_drawn(FrequencyResponseDisplay, model), text)]
    text = "Share of each oscillator in the squared coefficients, and sums over octaves."
    return [modes, (_drawn(BandImportanceDisplay, model), text)]


def _cases(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the cases with the worst predictions, and those with the best."""
    order = np.argsort(evaluation.predictions.certainty, kind="stable")
    n = min(_N_CASES, len(order) // 2)
    shown = {"Worst cases": order[:n], "Best cases": order[::-1][:n]}
    return [
        {"title": title, "cases": [_case(evaluation, int(i), f"{title[0]}{i}") for i in chosen]}
        for title, chosen in shown.items()
        if len(chosen)
    ]


def _case(evaluation: Evaluation, i: int, mark: str) -> dict[str, Any]:
    predictions, case = evaluation.predictions, evaluation.X[i]
    truth, predicted = predictions.y[i], predictions.predicted[i]
    if predictions.classes is None:
        text = f"true {truth:.4g}, predicted {predicted:.4g}"
    else:
        text = f"true {truth}, predicted {predicted}; probability of the true class {predictions.certainty[i]:.3f}"
    source = Path(case.source).name if case.source else ""
    has_class = predictions.classes is not None and truth in evaluation.model.classes_.tolist()  # folds may differ
    trace = case_picture(evaluation.model, case, truth if has_class else None)
    shown = {"sound": sound_url(case) if is_sound(case) else "", "trace": trace}
    return {"id": mark, "title": f"case {i}{source and f', {source}'}", "text": text, **shown}


def _environment(evaluation: Evaluation) -> dict[str, str]:
    content, parameters = evaluation.model_file.read_bytes(), evaluation.model.get_params(deep=False)
    packages = ("s4signal", "torch", "numpy", "scipy", "scikit-learn")
    seconds = getattr(evaluation.model, "fit_seconds_", None)
    return {
        "model file": f"{evaluation.model_file.name}, {len(content) / 1e6:.2f} MB",
        "SHA-256": hashlib.sha256(content).hexdigest(),
        **({} if seconds is None else {"fitted in": f"{seconds:.1f} s"}),
        "parameters": ", ".join(f"{k}={v!r}" for k, v in parameters.items() if k != "callbacks"),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }
