"""The base class of all steps: checks, lazy cases, model files and streams of chunks."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.base import SavedMixin, SignalEstimator
from s4signal.estimators.model_file import State, estimator_state
from s4signal.estimators.validation import check_chunk, check_rate, check_signals
from s4signal.signals import Signal, Signals
from s4signal.signals.clock import at_rate
from s4signal.signals.lazy import Case, transformed
from s4signal.signals.summary import each_case

Floats: TypeAlias = NDArray[np.floating]
# Takes a chunk (n_channels, n_times) and the state after the chunks before it (None at first); returns both, updated.
Advance: TypeAlias = Callable[[Floats, Any], tuple[Floats, Any]]


class ChunkStream:
    """Stream of a step; its output chunks together equal the transformed case."""

    def __init__(self, advance: Advance, n_channels: int, sfreq: float | None, *, missing: str = "any") -> None:
        self._advance, self._n_channels, self._sfreq, self._missing = advance, n_channels, sfreq, missing
        self.reset()

    def reset(self) -> None:
        """Discard all samples so far."""
        self._state: Any = None

    def push(self, chunk: Any) -> Floats:
        """Transform the next samples, (n_channels, n_times) of any number."""
        data: Floats = check_chunk(chunk, self._n_channels, sfreq=self._sfreq, missing=self._missing)
        if data.shape[1]:
            data, self._state = self._advance(data, self._state)
        return data


# A case becomes a matrix, which a data frame cannot hold, so there is no set_output.
class Step(SavedMixin, TransformerMixin, SignalEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Base of the steps; a subclass checks its parameters, measures the training cases and transforms a case."""

    # Fitted arrays by name, and their axes after the first, which is the channel.
    _ARRAYS: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    _NEEDS_RATE: ClassVar[bool] = False

    def __init__(self, *, sfreq: float | None = None) -> None:
        self.sfreq = sfreq

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the step to the training cases.

        Parameters
        ----------
        X : array-like, mne.Epochs, mne.io.Raw or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted step; ``sfreq_`` is the sampling rate of the cases in Hz (None if unknown), ``n_channels_in_``
            the number of channels, ``ch_names_`` their names (None if X has none).

        Raises
        ------
        ValueError
            If a parameter is out of its range, or a case is invalid.
        """
        self._check_parameters()
        with self._drafted() as draft:
            signals = draft._checked(X, reset=True)
            rates = np.unique(signals.sfreqs[~np.isnan(signals.sfreqs)])
            draft.sfreq_ = float(rates[0]) if len(rates) else None
            draft._measure(signals)
        return self

    def transform(self, X: Any) -> Signals:
        """Transform every case.

        Parameters
        ----------
        X : array-like, mne.Epochs, mne.io.Raw or Signals
            Cases, as `fit` takes them.

        Returns
        -------
        Signals
            The transformed cases with their rates, names, times and metadata; cases on disk are read and transformed
            only when they are accessed.

        Raises
        ------
        NotFittedError
            If the step is not fitted.
        ValueError
            If X has other channels than at `fit`, or a case is invalid.
        """
        check_is_fitted(self)
        signals = self._checked(X, reset=False)
        return Signals.from_cases(each_case(signals.cases, self._transformed))

    def stream(self, *, sfreq: float | None = None) -> ChunkStream:
        """Open a stream: ``push(chunk)`` returns the transformed chunk, ``reset()`` starts anew.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; by default the training rate.

        Raises
        ------
        NotFittedError
            If the step is not fitted.
        ValueError
            If the step needs future samples.
        """
        check_rate(self, sfreq)
        rate = sfreq or self.sfreq_
        return ChunkStream(self._advance(rate), self.n_channels_in_, rate)

    def _checked(self, X: Any, *, reset: bool) -> Signals:
        """Return checked cases, with the rate of the parameter if they carry none."""
        carries = isinstance(X, Signals) or type(X).__module__.startswith("mne.")
        signals = check_signals(self, X, sfreq=None if carries else self.sfreq, reset=reset)
        if self._NEEDS_RATE:
            signals = Signals.from_cases(map(at_rate, signals.cases))
        unknown = np.isnan(signals.sfreqs)
        if unknown.all() and self.sfreq is not None:
            signals = Signals(signals, sfreq=self.sfreq)
        elif unknown.any() and self._NEEDS_RATE:
            raise ValueError(
                f"{type(self).__name__} needs the sampling rate of case {int(np.argmax(unknown))}, which X does not "
                f"carry. Pass {type(self).__name__}(..., sfreq=...), or Signals(X, sfreq=...)."
            )
        for i, case in enumerate(signals.cases):
            if self._NEEDS_RATE and case.has_times:
                raise ValueError(
                    f"case {i} has times of its own; {type(self).__name__} needs a regular rate. "
                    "Interpolate it first with Signals.to_grid."
                )
            self._check_case(case, i)
        return signals

    def _transformed(self, case: Case) -> Case:
        return transformed(case, self._change(case))

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of their range."""

    def _check_case(self, case: Case, index: int) -> None:
        """Refuse a case by its metadata, before it is read."""

    def _measure(self, signals: Signals) -> None:
        """Store what the step needs from the training cases."""

    def _change(self, case: Case) -> Callable[[Signal], Signal]:
        """Return a function that transforms this case; it can be pickled and does not depend on the estimator."""
        raise NotImplementedError

    def _advance(self, sfreq: float | None) -> Advance:
        raise ValueError(
            f"{type(self).__name__} needs the whole case, so it cannot be streamed; leave it out of a live pipeline."
        )

    def _to_state(self) -> State:
        return State(estimator_state(self).plain, {name: getattr(self, name) for name in self._ARRAYS})

    def _restore(self, state: State) -> None:
        self._check_parameters()
        for name, axes in self._ARRAYS.items():
            setattr(self, name, state.array(name, self.n_channels_in_, *axes, finite=not axes))


class PointwiseStep(Step):
    """A step that transforms each time sample alone: `_change_of_samples` takes and returns (n_channels, n_times)."""

    @abstractmethod
    def _change_of_samples(self) -> Callable[[Floats], Floats]:
        """Return a function that transforms samples and does not depend on the estimator."""

    def _change(self, case: Case) -> Callable[[Signal], Signal]:
        return partial(_changed, change=self._change_of_samples())

    def _advance(self, sfreq: float | None) -> Advance:
        return partial(_changed_chunk, change=self._change_of_samples())


def observed_mean(data: Floats, axis: int) -> NDArray[np.float64]:
    """Return the mean of the observed values along an axis; NaN, without a warning, if there are none."""
    n_observed = (~np.isnan(data)).sum(axis)
    return np.asarray(np.nansum(data, axis, dtype=np.float64) / np.where(n_observed > 0, n_observed, np.nan))


def _changed(signal: Signal, *, change: Callable[[Floats], Floats]) -> Signal:
    return replace(signal, data=change(signal.data).astype(signal.data.dtype, copy=False))


def _changed_chunk(data: Floats, state: Any, *, change: Callable[[Floats], Floats]) -> tuple[Floats, Any]:
    return change(data), state
