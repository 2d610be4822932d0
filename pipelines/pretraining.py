"""Pretrain on recordings without labels: accuracy over the share of labels, with and without pretraining.

Data: Free Spoken Digit Dataset (10 digits × 50 takes × 4 speakers at 8 kHz) and mental arithmetic (EEG of 10 subjects,
windows of 4 s, resampled to 100 Hz). Set S4SIGNAL_DATA to the folder that contains fsdd/ and eegmat/.

Protocol: one speaker, or two of the ten subjects, are the test set; the others are for training. S4Features is
pretrained on all training cases without labels. Logistic regression is then fitted on its embeddings of 5, 10, 25 or
100 % of these cases, drawn from each class. Baselines: the same network with random weights, and S4RandomFeatures.
Settings are the same for both sets; contrastive prediction was chosen over reconstruction with george as new speaker.

Command::

    python pipelines/pretraining.py
    python pipelines/pretraining.py --sets spoken_digits --seeds 0 --tests 1

Output: for each set a table of the accuracy for each share of labels: mean over the tests ± standard deviation over
seeds. OUT/pretraining.png shows the curves.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from data import load_eegmat
from matplotlib import pyplot
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import S4Regressor, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4Features, S4RandomFeatures
from s4signal.signals import datasets

__all__ = ["main"]

SHARES = (0.05, 0.1, 0.25, 1.0)
KINDS = ("pretrained", "random weights", "S4RandomFeatures")
Array = npt.NDArray[Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Score each kind of features on every set."""
    parser = argparse.ArgumentParser(description="Accuracy over the share of labels, with and without pretraining.")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="data sets")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="states of networks and labels")
    parser.add_argument("--max-epochs", type=int, default=10, help="number of epochs of the pretraining")
    parser.add_argument("--tests", type=int, help="number of speakers, or pairs of subjects, to test on; default: all")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    args = parser.parse_args(argv)
    curves = {}
    for name in args.sets:
        try:
            X, y, groups, frontend = SETS[name]()
        except S4SignalError as error:
            parser.error(str(error))
        print(f"\n{name}: {X}\n{'features':18}" + "".join(f"{f'{share:.0%} of labels':>18}" for share in SHARES))
        curves[name] = np.array([run(X, y, groups, frontend, seed, args) for seed in args.seeds])
        for kind, scores in zip(KINDS, np.moveaxis(curves[name], 1, 0), strict=True):
            cells = (f"{np.mean(s):.3f}" + f" ± {np.std(s, ddof=1):.3f}" * (len(s) > 1) for s in scores.T)
            print(f"{kind:18}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    draw(curves, args.out / "pretraining.png")


def digits() -> tuple[Signals, Array, Array, Any]:
    """Return recordings, words and speakers, and the front end: the filter bank."""
    return *datasets.load_spoken_digits(), "filterbank"


def arithmetic() -> tuple[Signals, Array, Array, Any]:
    """Return windows at 100 Hz, classes and subjects, and the front end: one step per sample."""
    X, y, groups = load_eegmat()
    return X.resample(100.0), y, groups, "linear"


SETS = {"spoken_digits": digits, "mental_arithmetic": arithmetic}


def run(X: Signals, y: Array, groups: Array, frontend: Any, seed: int, args: argparse.Namespace) -> Array:
    """Return accuracies by kind of features and share of labels, mean over the tests, (n_kinds, n_shares)."""
    folds = list(GroupKFold(min(5, len(np.unique(groups)))).split(y, groups=groups))[: args.tests]
    scores = [
        [accuracy(model, X, y, train, test, seed) for model in models(frontend, seed, args.max_epochs)]
        for train, test in folds
    ]
    return np.mean(scores, axis=0)


def models(frontend: Any, seed: int, max_epochs: int) -> Iterator[Any]:
    """Yield the features in the order of KINDS."""
    settings: dict[str, Any] = {"frontend": frontend, "augmentation": None, "random_state": seed}
    settings |= {"d_model": 64, "n_layers": 2, "d_state": 16}
    yield S4Features(S4Regressor(**settings, max_epochs=max_epochs))
    yield S4Features(S4Regressor(**settings, max_epochs=1, learning_rate=1e-12, ssm_learning_rate=1e-12))
    yield S4RandomFeatures(random_state=seed)


def accuracy(features: Any, X: Signals, y: Array, train: Array, test: Array, seed: int) -> list[float]:
    """Fit features to all training cases, and a linear model to those of each share; return accuracies."""
    embedded, new = features.fit_transform(X[train]), features.transform(X[test])
    found = []
    for share in SHARES:
        rng = np.random.default_rng(seed)
        by_class = [rng.permutation(np.flatnonzero(y[train] == label)) for label in np.unique(y[train])]
        rows = np.concatenate([cases[: max(1, round(share * len(cases)))] for cases in by_class])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        found.append(float(model.fit(embedded[rows], y[train][rows]).score(new, y[test])))
    return found


def draw(curves: dict[str, Array], path: Path) -> None:
    """Draw accuracy over the share of labels, one panel per set."""
    matplotlib.use("Agg")  # no display is needed: figures go to files
    size = (4.5 * len(curves), 3.5)
    figure, axes = pyplot.subplots(1, len(curves), figsize=size, layout="constrained", squeeze=False)
    for ax, (name, scores) in zip(axes[0], curves.items(), strict=True):
        for k, (kind, style) in enumerate(zip(KINDS, ("o-", "s--", "^:"), strict=True)):
            ax.errorbar(SHARES, scores[:, k].mean(0), scores[:, k].std(0), fmt=style, capsize=3, label=kind)
        ax.set(title=name.replace("_", " "), xlabel="Share of labels", ylabel="Accuracy", xscale="log")
        ax.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES], minor=False)
        ax.minorticks_off()
    axes[0, 0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
