"""Classify environmental sounds, 5 s at 44.1 kHz, compared with log-mel statistics and logistic regression.

Data: ESC-50 (Piczak, 2015): 2,000 clips of 50 classes in five folds; all clips of a recording are in the same fold. Set
S4SIGNAL_DATA to the folder that contains ESC-50-master/; ``s4signal.signals.datasets.fetch_esc50()`` downloads it, 646
MB. Or pass ``--root`` with a folder that has meta/esc50.csv (columns filename, fold, category) and audio/, with any
rate and length.

Protocol: each fold is the test set of models trained on all other folds, as defined by the data set; no training clip
is held out. Bands and hops of the models depend on the rate and the length of the clips. The baseline is a logistic
regression on mean and standard deviation over time of 64 log-mel bands (librosa); cross-validation over the training
folds chooses its penalty.

Command::

    python pipelines/audio_events.py --seeds 0 1 2
    python pipelines/audio_events.py --root sounds --folds 1 --models S4RidgeClassifier

Output: one line per fold with the accuracy of every model, and the means.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.errors import S4SignalError
from s4signal.signals import datasets, read_audio_manifest

__all__ = ["main"]

MODELS = ("log-mel + logistic", "S4RidgeClassifier", "S4Classifier")
Array = npt.NDArray[Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Score every model on every fold."""
    parser = argparse.ArgumentParser(description="Environmental sounds: the models of this package and log-mel bands.")
    parser.add_argument("--root", type=Path, help="folder with meta/esc50.csv and audio/")
    parser.add_argument("--folds", nargs="+", help="folds to test on; default: all")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs; default: that of the preset")
    args = parser.parse_args(argv)
    try:
        X, y, folds = load(args.root)
    except S4SignalError as error:
        parser.error(str(error))
    if unknown := sorted(set(args.folds or []) - set(folds.tolist())):
        available = ", ".join(sorted(set(folds.tolist())))
        parser.error(f"argument --folds: there is no fold {', '.join(unknown)}; choose from {available}.")
    print(f"{X}\n{len(set(y.tolist()))} classes, folds {sorted(set(folds.tolist()))}, seeds {args.seeds}\n")
    features = np.array([log_mel_statistics(signal.data[0], float(signal.sfreq)) for signal in X])
    print(f"{'fold':8}" + "".join(f"{name:>20}" for name in args.models))
    rows = []
    for fold in args.folds or sorted(set(folds.tolist())):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        scores = []
        for name in args.models:
            data: Any = features if name == MODELS[0] else X
            fits = [build(name, seed, folds[train], args.max_epochs) for seed in args.seeds]
            scores.append(np.mean([fit.fit(data[train], y[train]).score(data[test], y[test]) for fit in fits]))
        rows.append(scores)
        print(f"{fold:8}" + "".join(f"{score:>20.3f}" for score in scores), flush=True)
    print(f"{'mean':8}" + "".join(f"{score:>20.3f}" for score in np.mean(rows, axis=0)))


def load(root: Path | None) -> tuple[Signals, Array, Array]:
    """Open the sounds, their classes and folds."""
    if root is None:
        X, y, _ = datasets.load_esc50()
        return X, y, np.array([Path(source).name[0] for source in X.sources])  # file names begin with the fold
    columns = {"path_column": "filename", "label_column": "category", "group_column": "fold"}
    signals, y, folds = read_audio_manifest(root / "meta" / "esc50.csv", root=root / "audio", **columns)
    return signals, y, folds


def build(name: str, seed: int, folds: Array, max_epochs: int | None) -> Any:
    """Build a model; `folds` are those of the training clips."""
    if name == "S4RidgeClassifier":
        return S4RidgeClassifier(random_state=seed)
    if name == "S4Classifier":
        model = S4Classifier.from_preset("audio-events").set_params(random_state=seed)
        return model if max_epochs is None else model.set_params(max_epochs=max_epochs)
    splits = list(GroupKFold(len(np.unique(folds))).split(folds, groups=folds))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return GridSearchCV(pipeline, {"logisticregression__C": np.logspace(-4, 1, 6)}, cv=splits)


def log_mel_statistics(waveform: Array, sfreq: float) -> Array:
    """Return mean and standard deviation over time of 64 log-mel bands: (n_times,) to (128,)."""
    n_fft = 2 ** int(np.ceil(np.log2(0.025 * sfreq)))
    mel = librosa.feature.melspectrogram(y=waveform, sr=sfreq, n_fft=n_fft, hop_length=n_fft // 2, n_mels=64)
    bands = np.log(mel + 1e-8)
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1)])


if __name__ == "__main__":
    main()
