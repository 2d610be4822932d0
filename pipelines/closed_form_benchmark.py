"""Set models in closed form beside trained ones and others, on vowels, finger PPG and speech.

Data: Japanese vowels, finger PPG, spoken digits and speech commands, in the folder that S4SIGNAL_DATA names. Sets that
are not there are left out. `eeg_benchmark.py` does the same for EEG.

Protocol: ``--data test`` takes the split of each archive; spoken digits are tested on takes 0-4 of every speaker
("spoken_digits") and on one speaker after the other ("digits_new_speaker"). PPG and speech commands are split between
people. ``--data cv`` never sees these test sets: it cross-validates the training half of each archive (of the digits,
takes 5-49), people kept apart where they are apart in the test. Every setting is a default, one for all sets; whatever
is fitted sees training cases alone.

Models: S4RidgeClassifier or S4RidgeRegressor, in closed form; S4Classifier or S4Regressor, trained. MiniRocket and
MultiRocket-Hydra (aeon; unequal lengths padded with zeros). For speech, MFCC by fifths of a word and an SVM, and a
convolutional net on log-mel spectrograms, 30 epochs of which the last is kept (librosa). Only where ``--models`` names
them: "S4 average", the mean of the probabilities of both of ours, and "S4Classifier, linear", which takes speech sample
by sample: minutes an epoch. Models whose packages are not there are left out.

Command::

    python pipelines/closed_form_benchmark.py  # every set, every model, seeds 0 1 2
    python pipelines/closed_form_benchmark.py --models S4RidgeClassifier S4RidgeRegressor MiniRocket
    python pipelines/closed_form_benchmark.py --sets japanese_vowels --data cv

Output: a table: accuracy ± standard deviation over seeds, with Wilson's interval of 95 %, and balanced accuracy (for
the PPG root mean square and mean absolute error in beats per minute); seconds of a fit and its predictions by the wall
clock (compilation before it starts), and weights. OUT/closed_form_benchmark.csv has the scores of each fold and seed,
by versions of packages: what is there is not measured again, so an interrupted run goes on.
OUT/closed_form_benchmark_test.png (or _cv.png) is the table as a picture.
"""

from collections.abc import Sequence

from benchmarking.runner import benchmark
from benchmarking.sets import OTHER_SETS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every set, print the table and draw the picture."""
    benchmark("closed_form_benchmark", "Closed form: this package's models beside others.", OTHER_SETS, argv)


if __name__ == "__main__":
    main()
