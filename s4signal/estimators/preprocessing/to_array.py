"""Conversion of cases to an array, for other libraries."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.preprocessing.base import Floats, PointwiseStep


class ToArray(PointwiseStep):
    """Convert cases of one length to an array, for estimators of other libraries.

    The estimators of s4signal take `Signals` and `mne.Epochs` directly. Put this step in front of pyRiemann's
    ``Covariances``, or of ``CSP``, ``XdawnTransformer`` and ``Scaler`` of `mne.decoding`, to use models of both kinds
    with one X, in a `VotingClassifier`, a `StackingClassifier` or a grid search.

    Parameters
    ----------
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one. An array carries no rate to the next step.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from s4signal import Signals
    >>> from s4signal.estimators import ToArray
    >>> signals = Signals(np.random.default_rng(0).standard_normal((20, 3, 100)), sfreq=100)
    >>> ToArray().fit_transform(signals).shape
    (20, 3, 100)
    >>> log_power = FunctionTransformer(lambda X: np.log(X.var(axis=2)))
    >>> model = make_pipeline(ToArray(), log_power, LogisticRegression()).fit(signals, [0, 1] * 10)
    >>> model.predict(signals).shape
    (20,)
    """

    def transform(self, X: Any) -> NDArray[np.floating]:  # type: ignore[override]
        """Stack the cases.

        Parameters
        ----------
        X : array-like, mne.Epochs, mne.io.Raw or Signals
            Cases, as `fit` takes them.

        Returns
        -------
        ndarray (n_samples, n_channels, n_times)
            Float32 if all cases are, else float64.

        Raises
        ------
        NotFittedError
            If the step is not fitted.
        ShapeError
            If the cases differ in length, or have other channels than at `fit`.
        RecordingError
            If the cases differ in rate.
        """
        signals = super().transform(X)
        signals.sfreq  # noqa: B018  raises an error if the rates differ
        return signals.to_numpy()

    def _change_of_samples(self) -> Callable[[Floats], Floats]:
        return np.asarray
