"""What the transformer and the ridge models in closed form share: parameters of the oscillators, and streams."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.closed_form.feature_map import FeatureMap
from s4signal.estimators.closed_form.streaming import ClosedFormStream, Finish
from s4signal.estimators.validation import check_stream_rate


class ClosedFormEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators on frozen oscillators; see `S4RandomFeatures` for the parameters."""

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_spatial_filters: int = 4,
        n_windows: int = 4,
        sfreq: float | None = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators, self.orders = n_oscillators, orders
        self.n_spatial_filters, self.n_windows = n_spatial_filters, n_windows
        self.sfreq, self.precision, self.random_state = sfreq, precision, random_state

    def stream(self, *, sfreq: float | None = None) -> ClosedFormStream:
        """Describe or predict while the signal arrives.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; that of the training by default.

        Returns
        -------
        ClosedFormStream
            With ``push(chunk)`` and ``reset()``; a later fit does not change it.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If sfreq is given and the model was fitted without one, or is not given and it was fitted with times; if it
            was fitted on mostly missing data.
        """
        check_is_fitted(self)
        features = self._feature_map()
        period = check_stream_rate(self, sfreq, timed=features.timed, mostly_missing=features.summaries is not None)
        return ClosedFormStream(features, self._finisher(), period=period)

    def _feature_map(self) -> FeatureMap:
        """Return the fitted feature map."""
        raise NotImplementedError

    def _finisher(self) -> Finish:
        """Return what a stream makes of features: a function of the model as it is now."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags
