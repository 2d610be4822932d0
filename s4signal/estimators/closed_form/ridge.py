"""The base class of the closed-form classifier and regressor: frozen features and a ridge regression on them."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.base import SavedMixin, SignalEstimator
from s4signal.estimators.closed_form.transformer import S4RandomFeatures
from s4signal.estimators.features.feature_map import Blocks
from s4signal.estimators.features.recordings import TrainingCases, prepare_recordings
from s4signal.estimators.features.regression import FeatureRegression, fit_regression, octave_subsets
from s4signal.estimators.features.streaming import FeatureStream, stream_period
from s4signal.estimators.leakage import Spans, check_groups, spans_of
from s4signal.estimators.model_file import State, estimator_state
from s4signal.estimators.parameters import check_closed_form_options
from s4signal.estimators.streams import StreamMixin
from s4signal.estimators.survey import relative_periods
from s4signal.estimators.units import counted, readable_units
from s4signal.estimators.validation import check_rate, check_weights
from s4signal.random_features.left_out import ALPHAS, Floats, Loss, squared_errors
from s4signal.random_features.ridge import Ridge, RidgeSums


class RidgeEstimator(StreamMixin, SavedMixin, SignalEstimator):
    """Base class of the ridge models; a mixin handles the targets. `S4RidgeClassifier` documents the parameters."""

    _TUPLES = ("orders", "alphas", "band_hz")
    features_: S4RandomFeatures
    ridge_: Ridge
    _sums: Any = None  # RidgeSums, after partial_fit
    _standardised: Callable[[Floats], Floats]
    _trained_on: Spans
    _loss: Loss = staticmethod(squared_errors)

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_spatial_filters: int = 4,
        n_windows: int = 4,
        band_hz: tuple[float, float] | None = None,
        alphas: Any = "auto",
        sfreq: float | None = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators, self.orders = n_oscillators, orders
        self.n_spatial_filters, self.n_windows, self.band_hz = n_spatial_filters, n_windows, band_hz
        self.sfreq, self.precision, self.random_state, self.alphas = sfreq, precision, random_state, alphas

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, times: Any = None, groups: Any = None) -> Self:
        """Draw the oscillators and solve the regression; an error or an interruption leaves the estimator as it was.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : array-like (n_samples,)
            Targets; a regressor also takes (n_samples, n_outputs), a classifier also binary tags (n_samples, n_tags).
        sample_weight : array-like (n_samples,), optional
            Weight of each case: weight 2 equals duplicating the case, weight 0 equals removing it; only ratios count.
            Bitwise identical cases with the same target count as one case with the sum of their weights.
        times : list of array-like (n_times_i,), optional
            Time of every sample in seconds, one array per case, if X does not carry times; cases are put on a grid.
        groups : array-like (n_samples,), optional
            Subject, or another grouping: the cases of a group are left out together to select blocks, penalty and
            probability scale, provided that each class occurs in several groups. By default, the cases of one subject
            or recording are a group, if X carries these.

        Raises
        ------
        ValueError
            If an option, a signal or a target is invalid; `ShapeError` and `RecordingError` are subclasses.
        """
        started = time.perf_counter()
        check_closed_form_options(self)
        with self._drafted() as draft:
            draft._sums = None
            draft._solve(draft._cases(X, y, sample_weight, times, None, reset=True, groups=groups))
            draft.fit_seconds_ = time.perf_counter() - started
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, classes: Any = None, times: Any = None) -> Self:
        """Fit on cases in batches; each batch is read once.

        The first batch selects oscillators and feature blocks. All batches together determine the coefficients and, up
        to a thousand cases, the penalty and the scale of probabilities. `fit` and saved files keep no running sums, so
        `partial_fit` starts anew after them. An error or an interruption leaves the estimator as it was.

        Parameters
        ----------
        X, y, sample_weight : as `fit` takes them
            Cases, targets and weights; only ratios of weights count, over all batches.
        classes : array-like, optional
            All labels that may occur, at the first call of a classifier; by default the labels of that call.
        times : as `fit` takes them
            Time of every sample in seconds.

        Raises
        ------
        ValueError
            As `fit`, or if the sampling rate differs from that of the first batch.
        """
        started = time.perf_counter()
        check_closed_form_options(self)
        with self._drafted() as draft:
            draft._add_batch(draft._cases(X, y, sample_weight, times, classes, reset=self._sums is None))
            draft.fit_seconds_ += time.perf_counter() - started
        return self

    def describe(self) -> str:
        """Return a short description: oscillators, band in Hz, memory in seconds, feature blocks, penalty."""
        check_is_fitted(self)
        features, regression = self.features_.feature_map_, self.ridge_
        f, tau, n = features.frequencies, features.time_constants, len(features.oscillators.hops)
        low, units = (f[:n] == 0).sum(), readable_units(self.sfreq_, float(f.max()))
        return (
            f"{type(self).__name__}: {counted(self.n_channels_in_, 'channel')}, {len(regression.mean):,} features\n"
            f"  sampling rate  {units.rate(self.sfreq_)}\n"
            f"  oscillators    {n} of orders {self.features_.orders}, {low} of them low-passes\n"
            f"  band           {units.band(f[f > 0].min(initial=np.inf), f.max())}\n"
            f"  memory         {units.memory(tau.min(), tau.max())}\n"
            f"  features used  {', '.join(regression.blocks)}\n"
            f"  penalty        {regression.alpha:.3g}, with the smallest leave-one-out error"
        )

    def _to_state(self) -> State:
        state, model = estimator_state(self), self._regression().to_state(self.features_.random_state)
        return State(state.plain | model.plain, state.arrays | model.arrays).nest("targets", self._targets_state())

    def _restore(self, state: State) -> None:
        check_closed_form_options(self)
        regression, seed = FeatureRegression.from_state(
            state, n_channels=self.n_channels_in_, sfreq=self.sfreq_, precision=self.precision
        )
        self._keep(regression, seed)
        self._restore_targets(state.part("targets"), n_outputs=self.ridge_.coef.shape[-1])

    def _open_stream(self, sfreq: float | None) -> FeatureStream:
        features, used = self.features_.feature_map_, frozenset(self.ridge_.blocks)
        period = stream_period(self, features, sfreq)
        self._ridge_of_stream = self._regression().at(period)  # self is a copy for this stream
        return FeatureStream(features, self._predict_from, period=period, wanted=used)

    def _predict_from(self, features: NDArray[np.float64]) -> Floats:
        """Predict from features (n, n_features) at the sample period of the stream."""
        return np.asarray(self._finish(self._scaled(self._ridge_of_stream(features))))

    def _cases(
        self, X: Any, y: Any, sample_weight: Any, times: Any, classes: Any, *, reset: bool, groups: Any = None
    ) -> TrainingCases:
        fitted = None if reset else self.features_.feature_map_
        recordings = prepare_recordings(self, X, sfreq=self.sfreq, times=times, fitted=fitted, reset=reset)
        targets = self._encode_targets(y, recordings.signals, classes=classes, reset=reset)
        weights = check_weights(sample_weight, recordings.signals, class_weights=self._case_weights(targets))
        cases = TrainingCases(recordings, targets, weights, check_groups(groups, recordings.signals))
        self._trained_on = spans_of(recordings.signals[weights > 0], {} if reset else self._trained_on)
        return cases if reset else cases.take(np.flatnonzero(weights > 0))

    def _solve(self, cases: TrainingCases) -> tuple[TrainingCases, Blocks]:
        """Draw the feature map and fit; return the cases of the regression and their features by block."""
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        solved = fit_regression(
            self, cases, rng, seed=seed, targets=self._measured, alphas=self._alphas(), loss=self._loss
        )
        self._keep(solved.regression, seed)
        self._finish_fit(solved.cases.targets, solved.cases.weights)
        return solved.cases, solved.blocks

    def _add_batch(self, cases: TrainingCases) -> None:
        """Fit on the first batch; add later batches to the sums and solve again."""
        if first := self._sums is None:
            cases, blocks = self._solve(cases)
            self._sums, self.fit_seconds_ = RidgeSums(self.ridge_, self._alphas()), 0.0
        elif not np.allclose(relative_periods(cases.recordings.signals, self.sfreq_), 1.0):
            raise ValueError(f"X must have {self.sfreq_:g} Hz, as the first batch; use Signals.resample.")
        else:
            blocks = self.features_.feature_map_.blocks(cases.recordings, warn=True)
        targets = self._standardised(cases.targets)
        self._sums = self._sums.added(np.concatenate([*blocks.values()], axis=1), targets, cases.weights)
        if not first:
            self.ridge_ = self._sums.solve(octave_subsets(self.features_.feature_map_))
            if self._sums.chooses:
                self._finish_fit(self._sums.targets, self._sums.weights)

    def _measured(self, cases: TrainingCases) -> Floats:
        self._measure_targets(cases.targets, cases.weights)
        return self._standardised(cases.targets)

    def _regression(self) -> FeatureRegression:
        return FeatureRegression(self.features_.feature_map_, self.ridge_)

    def _keep(self, regression: FeatureRegression, seed: int) -> None:
        """Store a regression, and its feature map in a transformer with the parameters used to draw it."""
        feature_map, self.ridge_ = regression
        shared = {name: getattr(self, name) for name in S4RandomFeatures().get_params()}
        self.features_ = features = S4RandomFeatures(**shared | {"random_state": seed})
        features.n_features_in_ = features.n_channels_in_ = self.n_channels_in_
        features.ch_names_, features.feature_map_ = self.ch_names_, feature_map
        self.sfreq_ = features.sfreq_ = feature_map.sfreq

    def _alphas(self) -> Sequence[float]:
        return ALPHAS if isinstance(self.alphas, str) else np.ravel(self.alphas).tolist()

    def _outputs(self, X: Any, sfreq: float | None, times: Any) -> Floats:
        """Return the outputs of the regression (n_samples, n_outputs)."""
        check_rate(self, sfreq)
        recordings = prepare_recordings(self, X, sfreq=sfreq, times=times, fitted=self.features_.feature_map_)
        return self._scaled(self._regression().outputs(recordings, warn=True))

    def _scaled(self, outputs: Floats) -> Floats:
        """Scale the outputs of the regression; the default is no scaling."""
        return outputs

    def _finish_fit(self, targets: Floats, weights: Floats) -> None:
        """Fit what follows the regression; the default is nothing."""
