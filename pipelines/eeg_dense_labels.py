"""Label every two seconds of long EEG recordings of new subjects as rest or mental arithmetic, as in sleep staging.

Data: EEG at rest and during mental arithmetic (Zyma et al., 2019): 10 subjects, 19 channels, one minute of each. Set
S4SIGNAL_DATA to the folder that contains eegmat/. Segments of 8 to 20 s of both classes, in alternation, are joined to
one recording of two minutes per subject (at 100 Hz), like sleep stages; its annotations are the hypnogram.

Protocol: five folds of whole subjects. The score of a recording is the balanced accuracy over epochs of 2 s, for a
model of the subjects of the other folds. All settings are defaults, and nothing is chosen on test subjects. The
baseline, "bands", uses the same windows: logistic regression on the standardised log power of each channel in five
bands. Chance is 0.5.

Command::

    python pipelines/eeg_dense_labels.py --seeds 0 1 2
    python pipelines/eeg_dense_labels.py --models bands S4Classifier      # a trained model takes minutes

Output: one line per model and context (seconds before and after an epoch): mean and standard deviation over subjects.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from data import load_eegmat
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4Segmenter
from s4signal.signals import Annotation, Signal, epoch_labels

__all__ = ["main"]

EPOCH_S, SFREQ = 2.0, 100.0
MODELS = ("bands", "S4RidgeClassifier", "S4Classifier")
BANDS_HZ = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45))


def main(argv: Sequence[str] | None = None) -> None:
    """Score every model and context by subject."""
    parser = argparse.ArgumentParser(description="Label epochs of long EEG recordings, compared with band power.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:2], help="classifiers of windows")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    try:
        trials = load_eegmat()
    except S4SignalError as error:
        parser.error(str(error))
    nights = {seed: join(*trials, seed) for seed in args.seeds}
    print(f"{'model':18}{'context':>10}   balanced accuracy over {len(nights[args.seeds[0]])} subjects", flush=True)
    for name in args.models:
        for context_s, n_windows in (((0, 0), 4), ((4, 4), 5)):  # n_windows as in the default of S4Segmenter()
            scores = [
                by_subject(
                    S4Segmenter(classifier(name, seed, args, n_windows), epoch_s=EPOCH_S, context_s=context_s), X
                )
                for seed, X in nights.items()
            ]
            each = np.mean(scores, axis=0)
            print(f"{name:18}{context_s!s:>10}   {each.mean():.3f} ± {each.std():.3f}", flush=True)


def join(trials: Signals, y: npt.NDArray[np.str_], subjects: npt.NDArray[np.str_], seed: int) -> Signals:
    """Join segments of two to five consecutive trials of 4 s to one recording per subject."""
    rng, recordings = np.random.default_rng(seed), []
    for subject in np.unique(subjects):
        remaining = [np.flatnonzero((subjects == subject) & (y == label)).tolist() for label in np.unique(y)]
        order: list[int] = []
        turn = rng.integers(2)
        while any(remaining):
            n, turn = rng.integers(2, 6), 1 - turn
            order, remaining[turn] = order + remaining[turn][:n], remaining[turn][n:]
        parts = [trials[i] for i in order]
        marks = [Annotation(4.0 * k, 4.0, str(y[i])) for k, i in enumerate(order)]
        data = np.concatenate([part.data for part in parts], axis=1)
        options = {"sfreq": parts[0].sfreq, "ch_names": parts[0].ch_names, "annotations": tuple(marks)}
        recordings.append(Signal(data, metadata={"subject": str(subject)}, **options))
    return Signals(list(Signals(recordings).resample(SFREQ)))


def by_subject(model: Any, X: Signals) -> list[float]:
    """Return the balanced accuracy of each subject, for models of other subjects."""
    y, scores = epoch_labels(X, epoch_s=EPOCH_S), np.zeros(len(X))
    for train, test in KFold(5).split(X):
        model.fit(X[train], y[train])
        scores[test] = [model.score(X[[i]], y[[i]]) for i in test]
    return scores.tolist()


def classifier(name: str, seed: int, args: argparse.Namespace, n_windows: int) -> Any:
    """Build a classifier of windows."""
    if name == "S4RidgeClassifier":
        return S4RidgeClassifier(n_windows=n_windows, random_state=seed)
    if name == "S4Classifier":
        return S4Classifier(random_state=seed, **({"max_epochs": args.max_epochs} if args.max_epochs else {}))
    return make_pipeline(FunctionTransformer(band_power), StandardScaler(), LogisticRegression(max_iter=1000))


def band_power(windows: Signals) -> npt.NDArray[np.float64]:
    """Return log power in five bands, (n_windows, n_channels * 5)."""
    data = windows.to_numpy()
    power = np.abs(np.fft.rfft(data * np.hanning(data.shape[-1]))) ** 2
    hertz = np.fft.rfftfreq(data.shape[-1], 1 / SFREQ)
    means = [power[..., (low <= hertz) & (hertz < high)].mean(-1) for low, high in BANDS_HZ]
    return np.log(np.concatenate(means, axis=1))


if __name__ == "__main__":
    main()
