"""The scikit-learn interface of all estimators, feature names of transformers, and model files."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.model_file import State, estimator_from_state, load_model, write_model


class SignalEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of all estimators; cases may be arrays of three dimensions and may have missing samples."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = tags.input_tags.allow_nan = True
        return tags

    @contextmanager
    def _drafted(self) -> Iterator[Self]:
        """Yield a copy to fit, and take over its fitted attributes at once; parameters and callbacks are kept.

        A fit that fails or is interrupted changes nothing; after an interrupt, a warning reports the state.
        """
        draft, before, gradients = copy.copy(self), self.__dict__, torch.is_grad_enabled()
        try:
            yield draft
            parameters = self.get_params(deep=False)
            own = {name: value for name, value in before.items() if name in parameters or "callback" in name}
            self.__dict__ = {**vars(draft), **own}
        except KeyboardInterrupt as interrupt:
            what = "as it was before" if self.__dict__ is before else "complete, as this fit was done"
            try:
                warnings.warn(f"a fit of {type(self).__name__} was interrupted; the estimator is {what}.", stacklevel=4)
            finally:  # also if warnings are errors
                raise interrupt
        finally:
            torch.set_grad_enabled(gradients)  # an interrupt within the exit of torch.no_grad leaves them off


class NamedFeaturesMixin:
    """Names of the features of a transformer; ``_names`` derives them from the names of the channels."""

    _names: Callable[[list[str]], NDArray[np.object_]]
    n_features_in_: int
    n_channels_in_: int
    ch_names_: list[str] | None

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features: channel, frequency in Hz, and other properties.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the channels, if X had none; feature names of `fit` are compared with them.

        Returns
        -------
        ndarray (n_features,) of str
            Unique names.

        Raises
        ------
        ValueError
            If the number of names differs from the number of channels, or they differ from the names at `fit`.
        """
        check_is_fitted(self)
        C, names = self.n_channels_in_, input_features
        fitted_names = getattr(self, "feature_names_in_", None)
        if names is not None and fitted_names is not None and not np.array_equal(fitted_names, names):
            raise ValueError("input_features is not equal to feature_names_in_")
        if names is not None and len(names) not in (C, self.n_features_in_):
            raise ValueError(f"input_features should have length equal to the number of channels {C}.")
        if names is not None and len(names) == C:
            return self._names([str(name) for name in names])
        return self._names(self.ch_names_ or [f"channel {index}" for index in range(C)])


class SavedMixin:
    """Model files of an estimator; ``_to_state`` returns its state, ``_restore`` restores it."""

    _TUPLES: ClassVar[Sequence[str]] = ()  # parameters that are tuples; a file has lists
    _to_state: Callable[[], State]
    _restore: Callable[..., None]  # (state, **arguments of load); the parameters are set, but not checked

    def save(self, path: Any) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        Parameters
        ----------
        path : path
            The file, by convention ``*.s4``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter cannot be stored in a file.
        """
        check_is_fitted(self)
        write_model(path, self._to_state())

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read an estimator that `save` wrote; nothing the file contains is executed.

        Parameters
        ----------
        path : path
            The file.

        Raises
        ------
        ModelFileError
            If the file is not a model file, is damaged, or holds another estimator.
        """
        return load_model(path, cls._from_state)

    @classmethod
    def _from_state(cls, state: State, **given: Any) -> Self:
        estimator: Self = estimator_from_state(cls, state, tuples=cls._TUPLES)
        estimator._restore(state, **given)
        return estimator
