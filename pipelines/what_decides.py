"""Draw what models use: the parts of a spoken word, their filters, and the electrodes during mental arithmetic.

Data: Free Spoken Digit Dataset (Jackson et al., 2018) at 8 kHz, and EEG during mental arithmetic and rest (Zyma et al.,
2019), 19 channels. Set S4SIGNAL_DATA to the folder that contains fsdd/ and eegmat/.

Protocol: an S4RidgeClassifier is fitted on training words of the digits and applied to a test word of a known speaker.
Another one is fitted on 4 s windows of all subjects except the last two, at 125 Hz, and scored on these two. All
settings are defaults; nothing is chosen on test cases. The importance of a segment of the word is the decrease of the
log odds of its class when the segment is missing. That of an electrode is the mean decrease over the windows of the two
subjects.

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
    """Fit both models and draw their importances."""
    parser = argparse.ArgumentParser(description="Importance of segments of a word and of electrodes.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    parser.add_argument("--words", type=int, default=400, help="number of training words, drawn at random")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random state: the first one")
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
    predicted = words.predict(X_test)
    print(f"spoken digits, {len(some)} training words: test accuracy {np.mean(predicted == y_test):.3f}", flush=True)

    trials, new = trials.resample(125.0), np.isin(subjects, np.unique(subjects)[-2:])
    eeg = S4RidgeClassifier(random_state=seed).fit(trials[~new], tasks[~new])
    print(f"mental arithmetic, two new subjects: accuracy {eeg.score(trials[new], tasks[new]):.3f}", flush=True)

    importance = ChannelImportanceDisplay.from_estimator(eeg, trials[new], tasks[new])
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1.2, 1))
    shown = int(np.flatnonzero((y_test == WORD) & (predicted == WORD))[0])
    SaliencyDisplay.from_estimator(words, X_test[shown], spectrogram=True, ax=left)
    left.set_title(f"Which part of a spoken “{WORD}” decides")
    FrequencyResponseDisplay.from_estimator(words, ax=middle)
    middle.set_title("Frequency responses of its 32 filters")
    importance.topography(ax=right)
    right.set_title("Where arithmetic differs from rest")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "what_decides.png"
    figure.savefig(path, dpi=80)
    Image.open(path).quantize(96).save(path, optimize=True)
    print(f"\n{path}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
