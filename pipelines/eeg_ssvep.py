"""Classify from EEG which flicker a person looks at: S4 classifiers on mne.Epochs and linear baselines.

Data: SSVEP exoskeleton (Kalunga et al., 2016): 7 subjects, two sessions each, 32 trials a session. For 5 s a person
looks at a light that flickers at 13, 17 or 21 Hz, or at none (rest). 8 occipital channels at 256 Hz. Set S4SIGNAL_DATA
to the folder that contains ssvep_exo/.

Protocol: for each subject, train on session 1 and test on session 2, which was recorded later; or train on both
sessions of all other subjects and test on both of a new one. Each session is band-passed separately (5 to 45 Hz), and
trials are cut from 0.5 to 4.5 s. All settings are defaults. Everything (standardisation, spatial filters, the epoch to
stop at) is fitted on the training sessions only. MNE's epochs are passed directly to fit and predict. There are four
balanced classes: chance is 0.25. The baselines are Common Spatial Patterns with linear discriminant analysis, and
shrinkage LDA on the log power at each flicker frequency and its second harmonic. Only the latter uses the known
frequencies.

Command::

    python pipelines/eeg_ssvep.py
    python pipelines/eeg_ssvep.py --instant --seeds 0 1 2                        # closed form only: seconds
    python pipelines/eeg_ssvep.py --instant --protocol subjects --seeds 0 1 2    # mean ± standard deviation over seeds
    python pipelines/eeg_ssvep.py --instant --bands bands.png                    # importance of the frequencies

Output: a table of test accuracies, one line per subject; the last line is the mean over subjects. With --bands, also a
figure of the importance of the frequencies for the S4RidgeClassifier of the first subject.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import mne
import numpy as np
import numpy.typing as npt
from data import read_index
from mne.decoding import CSP
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from s4signal import S4Classifier
from s4signal.errors import S4SignalError
from s4signal.estimators import S4RidgeClassifier
from s4signal.inspection import BandImportanceDisplay
from s4signal.signals import datasets

__all__ = ["main"]

EVENT_ID = {"rest": 1, "13 Hz": 2, "21 Hz": 3, "17 Hz": 4}
FLICKER_HZ = (13.0, 17.0, 21.0)
TO_VOLTS = 1e-3  # the files contain millivolts, declared as volts


def flicker_power(trials: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log power at each flicker frequency and its double: (n_trials, n_channels, n_times) to (n_trials, 6)."""
    n_times = trials.shape[-1]
    power = np.abs(np.fft.rfft(trials * np.hanning(n_times))) ** 2
    frequencies = np.fft.rfftfreq(n_times, d=1 / 256)
    bins = [np.argmin(abs(frequencies - n * hz)) for hz in FLICKER_HZ for n in (1, 2)]
    return np.log(power[:, :, bins].mean(axis=1))


BASELINES = (
    make_pipeline(CSP(n_components=6, reg="ledoit_wolf", log=True), LinearDiscriminantAnalysis()),
    make_pipeline(FunctionTransformer(flicker_power), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Train on the first session of every subject, or on the other subjects, and test on the rest."""
    parser = argparse.ArgumentParser(description="SSVEP: S4 classifiers on mne.Epochs and linear baselines.")
    parser.add_argument("--protocol", choices=["sessions", "subjects"], default="sessions", help="what is tested on")
    parser.add_argument("--instant", action="store_true", help="skip S4Classifier")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--bands", type=Path, help="file for a figure of the importance of bands")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    mne.set_log_level("error")
    try:
        pairs = sessions()
    except S4SignalError as error:
        parser.error(str(error))
    recordings = {s: [read_epochs(row) for row in pair] for s, pair in pairs.items()}
    new = "session" if args.protocol == "sessions" else "subject"
    print(f"SSVEP exoskeleton, {len(recordings)} subjects, each time to a new {new}, seeds {args.seeds}\n")
    names = ["CSP + LDA", "power + LDA", "S4RidgeClassifier", *([] if args.instant else ["S4Classifier"])]
    table, lines = [], []
    for subject in recordings:
        print(subject, flush=True)
        train, test = split(recordings, subject, args.protocol)
        y_train, y_test = labels(train), labels(test)
        scores = [[model.fit(train.get_data(), y_train).score(test.get_data(), y_test)] for model in BASELINES]
        for name in names[len(BASELINES) :]:
            models = [classifier(name, seed, args.max_epochs).fit(train, y_train) for seed in args.seeds]
            scores.append([model.score(test, y_test) for model in models])
            if args.bands is not None and not table and name == "S4RidgeClassifier":
                BandImportanceDisplay.from_estimator(models[0]).figure_.savefig(args.bands, dpi=150)
        table.append(scores)
        lines.append(line(subject, f"{len(train):>6}{len(test):>6}", scores))
    means = [np.mean(scores, axis=0) for scores in zip(*table, strict=True)]
    header = f"{'subject':12}{'train':>6}{'test':>6}" + "".join(f"{name:>20}" for name in names)
    print("", header, *lines, line("mean", " " * 12, means), sep="\n")


def split(recordings: dict[str, list[mne.Epochs]], subject: str, protocol: str) -> tuple[mne.Epochs, mne.Epochs]:
    """Return training and test trials."""
    if protocol == "sessions":
        return recordings[subject][0], recordings[subject][1]
    others = [epochs for name, pair in recordings.items() if name != subject for epochs in pair]
    return mne.concatenate_epochs(others), mne.concatenate_epochs(recordings[subject])


def sessions() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Return the rows of index.csv for sessions 1 and 2 of every subject that has both."""
    rows = {(row["subject"], row["session"]): row for row in read_index("ssvep_exo/index.csv")}
    subjects = sorted({subject for subject, _ in rows})
    return {s: (rows[s, "1"], rows[s, "2"]) for s in subjects if (s, "1") in rows and (s, "2") in rows}


def read_epochs(row: dict[str, str]) -> mne.Epochs:
    """Read and filter one session, and cut its trials from 0.5 to 4.5 s after the onset of the flicker."""
    root = datasets.data_home() / "ssvep_exo"
    raw = mne.io.read_raw_fif(root / row["raw_path"], preload=True)
    raw.apply_function(lambda samples: samples * TO_VOLTS, picks="eeg")
    raw.filter(5.0, 45.0, picks="eeg")
    events, last = mne.read_events(root / row["events_path"]), 4.5 - 1 / raw.info["sfreq"]  # tmax is inclusive
    return mne.Epochs(raw, events, EVENT_ID, tmin=0.5, tmax=last, baseline=None, picks="eeg", preload=True)


def labels(epochs: mne.Epochs) -> npt.NDArray[np.str_]:
    """Return the event name of every trial."""
    names = {code: name for name, code in EVENT_ID.items()}
    return np.array([names[code] for code in epochs.events[:, 2]])


def classifier(name: str, seed: int, max_epochs: int | None) -> S4Classifier | S4RidgeClassifier:
    """Return a classifier with default settings."""
    if name == "S4RidgeClassifier":
        return S4RidgeClassifier(random_state=seed)
    model = S4Classifier(random_state=seed, verbose=1)
    return model if max_epochs is None else model.set_params(max_epochs=max_epochs)


def line(name: str, counts: str, columns: Sequence[Sequence[float]]) -> str:
    """Return one line of the table, with the standard deviation over seeds."""
    cells = [f"{np.mean(s):.3f}" + (f" ± {np.std(s, ddof=1):.3f}" if len(s) > 1 else "") for s in columns]
    return f"{name:12}{counts}" + "".join(f"{cell:>20}" for cell in cells)


if __name__ == "__main__":
    main()
