"""Dense labels: one per epoch of long recordings, by a classifier of windows around the epochs."""

from collections.abc import Set
from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ModelFileError
from s4signal.estimators import dense_labels
from s4signal.estimators.base import SavedMixin, SignalEstimator
from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.model_file import State, estimator_state, packed, unpacked
from s4signal.estimators.provenance import ESTIMATORS, SAVED, pipeline_from_state, pipeline_state
from s4signal.estimators.segments import read_windows, score_windows
from s4signal.estimators.validation import check_rate
from s4signal.signals import Signals
from s4signal.signals.checks import in_full_scale, object_array
from s4signal.signals.clock import Clock, warn_of_clocks, without_regular_times
from s4signal.signals.epochs import epoch_spans
from s4signal.signals.lazy import Case, with_metadata
from s4signal.signals.summary import text_of
from s4signal.signals.windows import recognised

Floats = NDArray[np.float64]
_FEWEST_PARTS = 4  # of a window, to pool features over


class S4Segmenter(SavedMixin, SignalEstimator):
    """Label every epoch of long recordings: sleep stages, seizures, artefacts, voice activity.

    A classifier learns windows around the epochs, each with the label of the epoch at its centre. The samples of
    scikit-learn are recordings here: `cross_val_score` and `GridSearchCV` split by recording, or by ``groups`` of them,
    so that no epoch is on both sides. Files are read piece by piece, so hours need the memory of minutes, unless their
    format (mp3, m4a) or resampling requires the whole file.

    Parameters
    ----------
    estimator : classifier, optional
        Classifier of windows: `S4RidgeClassifier`, `S4Classifier`, or a pipeline that takes `Signals` and ends in a
        classifier with ``predict_proba``. By default an `S4RidgeClassifier` that pools over the epochs of a window, or
        over equal parts of them; pass one with a ``random_state`` for reproducible results.
    epoch_s : float, positive, default=30.0
        Length of an epoch [s]. The first starts with the recording; an incomplete epoch at its end is omitted.
    context_s : (before, after), default=(0.0, 0.0)
        Seconds before and after an epoch that its label may depend on; a `stream` waits for those after it. Beyond the
        ends of a recording, the window is continued by mirroring, or cut if the recording has times.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier of windows.
    classes_ : ndarray (n_classes,)
        Sorted labels.
    n_features_in_, n_channels_in_, ch_names_, sfreq_ : as those of `S4RidgeClassifier`
        Channels and their names, and the sampling rate in Hz, the highest if there are several.

    See Also
    --------
    s4signal.signals.epoch_labels : Creates ``y`` from annotations and hypnograms.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import Signals
    >>> from s4signal.estimators import S4Segmenter
    >>> rng = np.random.default_rng(0)
    >>> y = [np.repeat(["slow", "fast", "slow"], 4), np.repeat(["fast", "slow"], [3, 5])]
    >>> hertz = [np.where(labels == "slow", 2, 8).repeat(100) for labels in y]
    >>> waves = [np.sin(np.cumsum(2 * np.pi * h / 50)) + 0.1 * rng.standard_normal(len(h)) for h in hertz]
    >>> model = S4Segmenter(epoch_s=2, context_s=(2, 2)).fit(Signals(waves, sfreq=50), y)
    >>> model.predict(Signals(waves, sfreq=50))[1].tolist()
    ['fast', 'fast', 'fast', 'slow', 'slow', 'slow', 'slow', 'slow']
    """

    _TUPLES = ("context_s",)
    _trained_on: Set[tuple[str, float, int]] = frozenset()

    def __init__(
        self,
        estimator: Any = None,
        *,
        epoch_s: float = 30.0,
        context_s: tuple[float, float] = (0.0, 0.0),
        sfreq: float | None = None,
    ) -> None:
        self.estimator, self.epoch_s, self.context_s, self.sfreq = estimator, epoch_s, context_s, sfreq

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> Self:
        """Fit the classifier on the windows of all epochs that have a label; an error leaves the estimator as it was.

        Parameters
        ----------
        X : Signals, list of (n_channels, n_times_i) or of mne.io.Raw
            Recordings of any length, with missing samples (NaN) or times; of several rates, if `estimator` accepts
            them, such as a pipeline that starts with `Resample`.
        y : list of array-like (n_epochs_i,)
            The labels of the epochs of each recording, strings or numbers. An epoch with the label None or NaN is left
            out, and so is one without any observation.
        groups : array-like (n_recordings,), optional
            Subject, or another grouping, for the cases that the classifier holds out to choose its epoch. By default
            the subjects, if the recordings carry them, else the recordings.

        Raises
        ------
        RecordingError
            If a recording is shorter than an epoch or has no known rate.
        ShapeError
            If `y` or `groups` is not one per recording, or has another number of labels than the recording has epochs.
        ValueError
            If an option is out of range, there are fewer than two labels, or the classifier raises it.
        """
        dense_labels.check_epoch_options(self)
        signals = Signals.from_cases(without_regular_times(Signals(X, sfreq=self.sfreq).cases))
        clocks = [Clock(i, recognised(i, case)) for i, case in enumerate(signals.cases)]
        spans = [epoch_spans(clock, self.epoch_s, *self.context_s) for clock in clocks]
        warn_of_clocks(signals.cases)
        names, counts = [clock.name for clock in clocks], [len(starts) for starts, _ in spans]
        labels = dense_labels.check_dense_labels(y, names, counts, self.epoch_s, n_classes=2)
        windows, targets = dense_labels.labelled_windows(clocks, spans, labels, groups)
        fitted = clone(self._classifier()).fit(windows, targets)
        rates = signals.sfreqs
        with self._drafted() as draft:
            draft.estimator_, draft.classes_ = fitted, fitted.classes_
            draft._trained_on = {_identity(clock.case) for clock in clocks}
            draft.n_channels_in_ = draft.n_features_in_ = signals.n_channels
            draft.ch_names_ = None if signals.ch_names is None else list(signals.ch_names)
            draft.sfreq_ = None if np.isnan(rates).all() else float(np.nanmax(rates))
        return self

    def predict(self, X: Any, *, sfreq: float | None = None) -> NDArray[np.object_]:
        """Predict the labels of the epochs of recordings.

        Parameters
        ----------
        X : as `fit` takes it
            Recordings; they are read piece by piece.
        sfreq : float, optional
            Sampling rate of X in Hz, if X does not carry one; by default the training rate.

        Returns
        -------
        ndarray of shape (n_recordings,)
            An array of labels (n_epochs_i,) for each recording, None where nothing was observed;
            ``numpy.concatenate`` joins them to one array.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        RecordingError
            If a recording is shorter than an epoch or has no known rate.
        ValueError
            If a recording has other channels, or the classifier raises it.
        """
        return object_array([dense_labels.most_probable(scores, self.classes_) for scores in self._scores(X, sfreq)])

    def predict_proba(self, X: Any, *, sfreq: float | None = None) -> NDArray[np.object_]:
        """Predict the probabilities of the labels for the epochs of recordings.

        Parameters
        ----------
        X, sfreq : as `predict` takes them
            Recordings and their rate.

        Returns
        -------
        ndarray of shape (n_recordings,)
            An array (n_epochs_i, n_classes) for each recording, NaN where nothing was observed.
        """
        return object_array(self._scores(X, sfreq))

    def score(self, X: Any, y: Any) -> float:
        """Return the balanced accuracy over the labelled epochs of all recordings together.

        It is the mean over the labels in y of the share of their epochs that are predicted correctly.

        Parameters
        ----------
        X, y : as `fit` takes them
            Recordings and their labels; epochs without a label do not count.
        """
        predicted = self.predict(X)
        names, counts = [f"recording {i}" for i in range(len(predicted))], [len(labels) for labels in predicted]
        labels = dense_labels.check_dense_labels(y, names, counts, self.epoch_s, n_classes=1)
        return dense_labels.balanced_accuracy(list(predicted), labels)

    def stream(self, *, sfreq: float | None = None, time_first: bool | None = None) -> dense_labels.EpochStream:
        """Return a stream that labels epochs, by ``push(chunk)``; a later fit does not change an open stream.

        The context after an epoch (``context_s``) delays its label.

        Parameters
        ----------
        sfreq, time_first : as the ``stream`` of `S4RidgeClassifier` takes them
            Sampling rate, in Hz, and whether chunks are (n_times, n_channels).

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        RecordingError
            If an epoch is shorter than a sample.
        ValueError
            If no rate is known.
        """
        check_is_fitted(self)
        check_rate(self, sfreq)
        rate = self.sfreq_ if sfreq is None else sfreq
        if rate is None:
            raise ValueError("the model was fitted with times; a stream is regular: pass its rate, stream(sfreq=...).")
        names = None if self.ch_names_ is None else tuple(self.ch_names_)
        shape = dense_labels.EpochShape(self.n_channels_in_, self.epoch_s, self.context_s, rate, names)
        return dense_labels.EpochStream(self.estimator_, shape, time_first=time_first)

    def _scores(self, X: Any, sfreq: float | None) -> list[Floats]:
        """Return the probabilities of each recording, (n_epochs, n_classes)."""
        check_is_fitted(self)
        check_rate(self, sfreq)
        found = []
        cases = Signals(in_full_scale(X, sfreq or self.sfreq_), sfreq=sfreq).cases
        for i, case in enumerate(cases):
            if case.sfreq is None and not case.has_times:
                (case,) = Signals([case], sfreq=self.sfreq_).cases
            case = recognised(i, case)
            if _identity(case) in self._trained_on:  # labelling the rest of a recording is fine
                case = with_metadata(case, recording="one of the training, as a whole")
            clock = Clock(i, case)
            starts, stops = epoch_spans(clock, self.epoch_s, *self.context_s)
            some = starts < stops  # with irregular times, an epoch may have no sample
            scores = np.full((len(starts), len(self.classes_)), np.nan)
            pieces = read_windows(clock.case, starts[some], stops[some])
            parts = [score_windows(self.estimator_.predict_proba, piece, len(self.classes_)) for piece in pieces]
            scores[some] = np.concatenate(parts or [scores[:0]])
            found.append(scores)
        warn_of_clocks(cases)
        return found

    def _classifier(self) -> Any:
        if self.estimator is not None:
            return self.estimator
        n_epochs = max(1, round((self.epoch_s + sum(self.context_s)) / self.epoch_s))
        return S4RidgeClassifier(n_windows=n_epochs * ceil(_FEWEST_PARTS / n_epochs))

    def _to_state(self) -> State:
        fitted, state = self.estimator_, estimator_state(self, left_out=("estimator",))
        state.plain["kind"] = kind = type(fitted).__name__
        if isinstance(fitted, Pipeline):
            return state.nest("windows", pipeline_state(fitted, SAVED))
        if SAVED.get(kind) is not type(fitted):
            raise TypeError(
                f"estimator is a {kind}, which cannot be saved without pickle. Use one of {', '.join(ESTIMATORS)}, a "
                "pipeline that ends in one, or save the segmenter with joblib."
            )
        return State(state.plain, {"windows": packed(fitted)})

    def _restore(self, state: State) -> None:
        dense_labels.check_epoch_options(self)
        if (kind := state.value("kind", str)) == "Pipeline":
            fitted = pipeline_from_state(state.part("windows"), SAVED)
        else:
            fitted = unpacked(SAVED, kind, state, "windows", what="its classifier is a")
        if (fitted[0] if kind == "Pipeline" else fitted).n_channels_in_ != self.n_channels_in_:
            raise ModelFileError("its entries are of models with different numbers of channels.")
        self.estimator_, self.estimator, self.classes_ = fitted, clone(fitted), fitted.classes_


def _identity(case: Case) -> tuple[str, float, int]:
    """Return the recording, the first sample and the length of a case."""
    return text_of(case, "recording") or case.source, case.first_sample, case.length
