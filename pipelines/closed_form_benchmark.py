"""Compare models in closed form, trained models and other methods on vowels, finger PPG and speech.

Data: Japanese vowels, finger PPG, spoken digits and speech commands, in the folder S4SIGNAL_DATA. Missing sets are
skipped. `eeg_benchmark.py` does the same for EEG.

Protocol: ``--data test`` uses the split of each archive. Spoken digits are tested on takes 0-4 of every speaker
("spoken_digits") and by leaving one speaker out ("digits_new_speaker"). PPG and speech commands are split by person.
``--data cv`` does not use these test sets: it cross-validates the training half of each archive (of the digits, takes
5-49), by person where the test is on new people. All settings are defaults, the same for all sets, and everything is
fitted on training cases only.

Models: S4RidgeClassifier or S4RidgeRegressor, in closed form; S4Classifier or S4Regressor, trained. MiniRocket and
MultiRocket-Hydra (aeon; unequal lengths padded with zeros). For speech, an SVM on MFCC averaged over fifths of a word,
and a convolutional network on log-mel spectrograms after 80 epochs (librosa). Two models run only if ``--models`` names
them: "S4 average", the mean probabilities of S4RidgeClassifier and S4Classifier, and "S4Classifier, linear", with one
step per speech sample, which takes minutes per epoch. Models whose packages are not installed are skipped.

Command::

    python pipelines/closed_form_benchmark.py  # every set, every model, seeds 0 1 2
    python pipelines/closed_form_benchmark.py --models S4RidgeClassifier S4RidgeRegressor MiniRocket
    python pipelines/closed_form_benchmark.py --sets japanese_vowels --data cv

Output: a table with accuracy ± standard deviation over seeds, its 95 % Wilson interval, and balanced accuracy (for PPG:
root mean square and mean absolute error in beats per minute); wall-clock seconds of fit and prediction (without
compilation); number of parameters. OUT/closed_form_benchmark.csv stores the scores of each fold and seed with the
package versions. Stored scores are not measured again, so an interrupted run can be resumed.
OUT/closed_form_benchmark_test.png (or _cv.png) shows the table as a figure.
"""

from collections.abc import Sequence

from benchmarking.runner import benchmark
from benchmarking.sets import OTHER_SETS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every set, print the table and draw the figure."""
    benchmark("closed_form_benchmark", "The models of this package compared with others.", OTHER_SETS, argv)


if __name__ == "__main__":
    main()
