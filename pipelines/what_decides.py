"""What decides: the part of a spoken word, the filters that hear it, and the place on the head of a thinking person.

Data: Free Spoken Digit Dataset (Jackson et al., 2018) at 8 kHz, and EEG during mental arithmetic and rest (Zyma et al.,
2019), 19 channels. Set S4SIGNAL_DATA to the folder that holds fsdd/ and eegmat/.

Protocol: an S4RidgeClassifier is fitted to training words of the digits, and explains a test word of a speaker that it
knows; another one is fitted to 4 s windows of all subjects but the last two, at 125 Hz, and scored on these. Every
setting is a default; nothing is chosen on what is tested. The importance of a stretch of the word is the fall of the
log odds of its class when it is missing; that of an electrode the mean fall over the windows of the two subjects.

Command::

    python pipelines/what_decides.py --out pipelines
    python pipelines/what_decides.py --words 2700    # all training words

Output: both scores, and what_decides.png in the output folder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data import load_eegmat
from matplotlib.figure import Figure
from PIL import Image

from s4signal import S4RidgeClassifier
from s4signal.errors import S4SignalError
from s4signal.inspection import ChannelImportanceDisplay, FrequencyResponseDisplay, SaliencyDisplay
from s4signal.signals import datasets

__all__ = ["main"]

WORD = "7"


def main(argv: Sequence[str] | None = None) -> None:
    """Fit both models, and draw what decides."""
    parser = argparse.ArgumentParser(description="What decides, in a spoken word and on the head.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    parser.add_argument("--words", type=int, default=400, help="training words, drawn at random")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random state, the first one")
    args = parser.parse_args(argv)
    try:
        X, y, _ = datasets.load_spoken_digits("train")
        X_test, y_test, _ = datasets.load_spoken_digits("test")
        trials, tasks, subjects = load_eegmat()
    except S4SignalError as error:
        parser.error(str(error))
    seed = args.seeds[0]
    some = np.random.default_rng(seed).permutation(len(X))[: args.words]
    words = S4RidgeClassifier(random_state=seed).fit(X[some], y[some])
    said = words.predict(X_test)
    print(f"spoken digits, {len(some)} training words: test accuracy {np.mean(said == y_test):.3f}", flush=True)

    trials, new = trials.resample(125.0), np.isin(subjects, np.unique(subjects)[-2:])
    eeg = S4RidgeClassifier(random_state=seed).fit(trials[~new], tasks[~new])
    print(f"mental arithmetic, two new subjects: accuracy {eeg.score(trials[new], tasks[new]):.3f}", flush=True)

    importance = ChannelImportanceDisplay.from_estimator(eeg, trials[new], tasks[new])
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1.2, 1))
    shown = int(np.flatnonzero((y_test == WORD) & (said == WORD))[0])
    SaliencyDisplay.from_estimator(words, X_test[shown], spectrogram=True, ax=left)
    left.set_title(f"Which part of a spoken “{WORD}” decides")
    FrequencyResponseDisplay.from_estimator(words, ax=middle)
    middle.set_title("Filters that hear it, 32 of them")
    importance.topography(ax=right)
    right.set_title("Where arithmetic differs from rest")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "what_decides.png"
    figure.savefig(path, dpi=80)
    Image.open(path).quantize(96).save(path, optimize=True)
    print(f"\n{path}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
