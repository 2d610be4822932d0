"""Embeddings of a network as a transformer: of a trained one, or of one that has learned from cases without labels."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ModelFileError
from s4signal.estimators.base import SavedMixin, SignalEstimator
from s4signal.estimators.model_file import State, estimator_state, packed, unpacked
from s4signal.estimators.trained.base import S4Estimator
from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.pretraining import PretrainedNetwork
from s4signal.estimators.trained.regressor import S4Regressor

SAVED: dict[str, Any] = {kind.__name__: kind for kind in (S4Classifier, S4Regressor, PretrainedNetwork)}


class S4Features(SavedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, SignalEstimator):  # type: ignore[misc]
    """Describe signals by a network that was trained before, or that learns here from signals without labels.

    Given a fitted estimator, its embeddings are the features, and `fit` learns nothing. Otherwise a network is
    pretrained: stretches of each case are hidden from it, and from the rest it learns to tell what its front end heard
    there from what it heard elsewhere. Where few cases have labels, a linear model on these features learns from all
    that were recorded; ``FrozenEstimator`` of scikit-learn keeps a pipeline from pretraining anew on the few.

    Parameters
    ----------
    estimator : S4Classifier or S4Regressor, optional
        A fitted one, whose embeddings are given, and which stays fitted in a clone; or one that is not, whose
        parameters say how to build and pretrain a network. `S4Regressor()` by default. Of its parameters pretraining
        does without ``readout``, ``early_stopping``, ``callbacks``, ``checkpoint_dir`` and ``verbose``; ``pooling`` of
        "auto" is ("legs", 4).

    Attributes
    ----------
    estimator_ : estimator
        What embeds; after pretraining its ``history_`` has the loss of each epoch, a cross entropy.
    n_features_in_, n_channels_in_ : int
        Columns of a 2-D X or channels of any other; channels.
    ch_names_ : list of str or None
        Their names, where X knows them.
    sfreq_ : float or None
        Sampling rate at training, in Hz.

    References
    ----------
    van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018,
    doi:10.48550/arXiv.1807.03748 (the loss); Baevski, Zhou, Mohamed, Auli, "wav2vec 2.0", 2020,
    doi:10.48550/arXiv.2006.11477 (hidden stretches).

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Regressor
    >>> from s4signal.estimators import S4Features
    >>> X = np.sin(np.arange(100) * np.linspace(0.1, 0.5, 12)[:, None])
    >>> settings = S4Regressor(d_model=8, d_state=8, n_layers=1, max_epochs=1, random_state=0)
    >>> features = S4Features(settings).fit(X)
    >>> features.transform(X).shape
    (12, 32)
    >>> features.get_feature_names_out()[:2].tolist()
    ['s4features0', 's4features1']
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any = None, *, times: Any = None) -> Self:
        """Pretrain a network on cases without labels; with a fitted estimator nothing is learned.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : None
            Ignored.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, one array per case, where X does not carry them.

        Returns
        -------
        self
            The fitted transformer; after an error, what it was before.

        Raises
        ------
        TypeError
            If ``estimator`` is neither of the two.
        ValueError
            If an option or a signal cannot be used, or the front end learns its features, so that what is to be told
            would not stay.
        """
        given = S4Regressor() if self.estimator is None else self.estimator
        if not isinstance(given, S4Estimator):
            raise TypeError(f"estimator must be an S4Classifier or S4Regressor, fitted or not, got {given!r}.")
        with self._drafted() as draft:
            fitted = given if hasattr(given, "network_") else PretrainedNetwork.like(given).pretrain(X, times=times)
            draft.estimator_ = fitted
            taken = ("n_features_in_", "n_channels_in_", "ch_names_", "sfreq_", "feature_names_in_")
            kept = {name: value for name, value in vars(draft).items() if name not in taken}
            draft.__dict__ = kept | {name: getattr(fitted, name) for name in taken if hasattr(fitted, name)}
        return self

    def transform(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.floating]:
        """Describe cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz; another one than at training rescales the network.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, as `fit` takes them.

        Returns
        -------
        ndarray (n_samples, n_features)
            Steps of the last layer, pooled over time.

        Raises
        ------
        ValueError
            As `S4Classifier.predict`.
        """
        check_is_fitted(self)
        embedded: NDArray[np.floating] = self.estimator_.embed(X, sfreq=sfreq, times=times)
        return embedded

    @property
    def _n_features_out(self) -> int:
        return int(self.estimator_.network_.head.in_features)

    def __sklearn_clone__(self) -> Self:
        """Clone parameters; an estimator that is fitted stays so, as its embeddings are what was asked for."""
        copy = type(self)(clone(self.estimator, safe=False))
        return copy.set_params(estimator=self.estimator) if hasattr(self.estimator, "network_") else copy

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether `fit` was called: `_n_features_out` alone looks fitted to scikit-learn."""
        return hasattr(self, "estimator_")

    def _to_state(self) -> State:
        state = estimator_state(self, left_out=("estimator",))
        return State({**state.plain, "kind": type(self.estimator_).__name__}, {"network": packed(self.estimator_)})

    def _restore(self, state: State) -> None:
        kind = state.value("kind", str)
        if kind not in SAVED:
            raise ModelFileError(f"its network is of a {kind[:40]}, which no file may hold.")
        self.estimator_ = self.estimator = unpacked(SAVED[kind], state, "network")
        if self.estimator_.n_channels_in_ != self.n_channels_in_:
            raise ModelFileError("its entries are of models with different numbers of channels.")
