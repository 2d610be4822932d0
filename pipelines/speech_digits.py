"""Recognise spoken digits from the raw waveform: an S4 classifier and MFCCs + logistic regression.

Data: Free Spoken Digit Dataset (Jackson et al., 2018): 10 digits × 50 takes × 4 speakers at 8 kHz, 0.14 to 1 s, of
unequal length. Set S4SIGNAL_DATA to the folder that contains fsdd/.

Protocols: "official" tests on takes 0 to 4 of every speaker and trains on the other 45, so all speakers are known;
"speakers" leaves one speaker out at a time, which is much harder. All settings are defaults. Everything (weights,
standardisation) is fitted on training recordings only. The baseline averages 13 MFCCs (25 ms windows, every 10 ms) in 5
slices of time.

Command::

    python pipelines/speech_digits.py
    python pipelines/speech_digits.py --protocol speakers --seeds 0 1 2     # mean ± standard deviation over seeds

Output: a table with one line per test set: test accuracy of both models, and the seconds of one fit. With several
speakers, the last line is the mean over them.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import librosa
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import S4Classifier, Signals
from s4signal.errors import S4SignalError
from s4signal.signals import datasets

__all__ = ["main"]

Split = tuple[str, npt.NDArray[np.intp], npt.NDArray[np.intp]]  # name, training rows, test rows
N_SLICES = 5


def main(argv: Sequence[str] | None = None) -> None:
    """Score both models on every test set of the protocol."""
    parser = argparse.ArgumentParser(description="Spoken digits: an S4 classifier and MFCCs + logistic regression.")
    parser.add_argument("--protocol", choices=["official", "speakers"], default="official")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    try:
        n_train = len(datasets.load_spoken_digits("train")[0])
        X, y, speakers = datasets.load_spoken_digits()  # train first
    except S4SignalError as error:
        parser.error(str(error))
    print(f"Free Spoken Digit Dataset, protocol {args.protocol!r}, seeds {args.seeds}\n{X}\n")
    mfccs = np.array([mean_mfccs(signal.data[0], signal.sfreq) for signal in X])
    rows, lines = [], []
    for name, train, test in splits(args.protocol, n_train, speakers):
        print(f"{name}: {len(train)} recordings to train on, {len(test)} to test on", flush=True)
        baseline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(mfccs[train], y[train])
        baseline_score = baseline.score(mfccs[test], y[test])
        fits = [score(X[train], y[train], X[test], y[test], seed, args.max_epochs) for seed in args.seeds]
        scores, seconds = np.transpose(fits)
        rows.append((baseline_score, scores))
        lines.append(line(name, len(test), baseline_score, scores) + f"{seconds.mean():>7.0f} s")
    if len(rows) > 1:
        baseline_scores, all_scores = zip(*rows, strict=True)
        lines.append(line("mean", len(y), np.mean(baseline_scores), np.mean(all_scores, axis=0)))
    print(f"\n{'test set':16}{'recordings':>12}{'MFCC + logistic':>18}{'S4Classifier':>18}{'fit':>9}", *lines, sep="\n")


def splits(protocol: str, n_train: int, speakers: npt.NDArray[np.str_]) -> Iterator[Split]:
    """Yield the name, training rows and test rows of each test set of a protocol."""
    rows = np.arange(len(speakers))
    if protocol == "official":
        yield "takes 0-4", rows[:n_train], rows[n_train:]
    else:
        for speaker in np.unique(speakers):
            yield str(speaker), rows[speakers != speaker], rows[speakers == speaker]


def mean_mfccs(waveform: npt.NDArray[np.float32], sfreq: float) -> npt.NDArray[np.float32]:
    """Average 13 MFCCs in slices of time: (n_times,) to (13 * N_SLICES,)."""
    window, hop = round(0.025 * sfreq), round(0.010 * sfreq)
    mfcc = librosa.feature.mfcc(
        y=waveform, sr=sfreq, n_mfcc=13, n_mels=32, n_fft=256, win_length=window, hop_length=hop
    )
    return np.concatenate([part.mean(axis=1) for part in np.array_split(mfcc, N_SLICES, axis=1)])


def score(
    X_train: Signals,
    y_train: npt.NDArray[np.str_],
    X_test: Signals,
    y_test: npt.NDArray[np.str_],
    seed: int,
    max_epochs: int | None,
) -> tuple[float, float]:
    """Fit a classifier with default settings; return test accuracy and seconds of the fit."""
    model = S4Classifier(random_state=seed, verbose=1)
    if max_epochs is not None:
        model.set_params(max_epochs=max_epochs)
    start = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    return model.score(X_test, y_test), seconds


def line(name: str, n_test: int, baseline: float, scores: npt.NDArray[np.float64]) -> str:
    """Return one line of the table, with the standard deviation over seeds."""
    spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
    return f"{name:16}{n_test:>12}{baseline:>18.3f}{f'{np.mean(scores):.3f}{spread}':>18}"


if __name__ == "__main__":
    main()
