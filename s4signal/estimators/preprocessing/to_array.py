"""The array that other libraries take."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.preprocessing.base import Floats, PointwiseStep


class ToArray(PointwiseStep):
    """Make an array of cases of one length, for the estimators of other libraries.

    `S4Classifier` and its kin take `Signals` and `mne.Epochs` as they are. In front of pyRiemann's ``Covariances``,
    or of ``CSP``, ``XdawnTransformer`` and ``Scaler`` of `mne.decoding`, this step lets both kinds of model work on one
    X, in a `VotingClassifier`, a `StackingClassifier` or a grid.

    Parameters
    ----------
    sfreq : float, optional
        Sampling rate of X, in Hz, where X does not know it. An array carries no rate to the next step.

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
        signals.sfreq  # noqa: B018  says which case differs
        return signals.to_numpy()

    def _change_of_samples(self) -> Callable[[Floats], Floats]:
        return np.asarray
