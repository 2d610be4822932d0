"""What the classifier and the regressor share: from parameters and signals to a trained network and its outputs."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from s4signal.estimators.model_file import read_model, write_model
from s4signal.estimators.parameters import check_options
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import survey
from s4signal.estimators.trained.callbacks import end_task, own_callbacks
from s4signal.estimators.trained.fingerprint import fingerprint_of
from s4signal.estimators.trained.loop_options import network_options, training_options
from s4signal.estimators.trained.missing import check_times, training_rate
from s4signal.estimators.trained.persistence import pack_estimator, unpack_estimator
from s4signal.estimators.trained.plan import (
    NetworkPlan,
    build_network,
    make_cases,
    plan_network,
)
from s4signal.estimators.trained.precompute import hear_cases, hear_thinned, heard_batches
from s4signal.estimators.trained.report import describe_estimator
from s4signal.estimators.trained.splitting import split_cases, wants_split
from s4signal.estimators.trained.streaming import Stream
from s4signal.estimators.validation import check_rate, check_samples, check_signals, check_weights
from s4signal.nn import S4Network
from s4signal.nn.randomness import draws_from
from s4signal.signals import Signals
from s4signal.training import (
    PRECISIONS,
    Cases,
    evaluate_network,
    fit_network,
    resolve_device,
)

__all__ = ["S4Estimator"]


class S4Estimator(CallbackSupportMixin, BaseEstimator):
    """Base of the estimators that train a network; see `S4Classifier` for the parameters.

    A subclass says what its targets are: by `SignalClassifierMixin` or `SignalRegressorMixin`, and by ``_n_outputs``,
    ``_loss`` and ``_score_outputs``.
    """

    _stratified: ClassVar[bool] = False
    _learned: ClassVar[tuple[str, ...]] = ()  # attributes that a file keeps beside those of every estimator
    network_: S4Network
    n_iter_: int
    history_: list[dict[str, Any]]
    _optimizer_state: dict[str, Any]

    @with_callbacks  # type: ignore[untyped-decorator]  # scikit-learn carries no annotations
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        times: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train on cases and their targets.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases: (n_samples, n_times), (n_samples, n_channels, n_times), a list of (n_channels, n_times_i), epochs,
            or `Signals`.
        y : array-like (n_samples,)
            Targets; the regressor takes (n_samples, n_outputs) too.
        sample_weight : array-like (n_samples,), optional
            Weight of each case: 2 is the case twice, 0 is the case left out.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, one array a case: what `Signals` would carry, for scikit-learn's metadata routing.
        X_val, y_val : as X and y, optional
            Cases to choose the epoch on. Without them, a share ``validation_fraction`` of X is set aside where
            ``early_stopping`` asks for it: whole recordings where several cases come from one file.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If an option, a signal, its times or a target cannot be used; `ShapeError` and `RecordingError` are such
            errors.
        """
        check_options(self)
        device = resolve_device(self.device)
        resumed = self.warm_start and hasattr(self, "network_")
        signals, weights, targets = self._checked_training_data(X, y, sample_weight, times, reset=not resumed)
        validation = self._checked_validation_data(X_val, y_val)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        train = np.arange(len(signals))
        if validation is None and wants_split(self, signals, targets):
            train, held_out = split_cases(self, signals, targets, seed)
            validation = signals[held_out], weights[held_out], targets[held_out]
        cases = self._prepare(signals[train], weights[train], targets[train], seed, device, keep=resumed)
        if validation is not None:
            check_times(validation[0], self._plan.sampling, self.sfreq_)
        held = None if validation is None else self._cases(*validation, device)
        self._train(cases, held, seed, device, data=(X, y))
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, classes: Any = None) -> Self:
        """Train for one epoch, at a constant learning rate, going on from what is there.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        y : array-like (n_samples,)
            Targets.
        sample_weight : array-like (n_samples,), optional
            Weights of the cases.
        classes : array-like, optional
            All labels that will ever come to a classifier, at its first call; by default those of that call.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        ValueError
            As `fit`.
        """
        check_options(self)
        device = resolve_device(self.device)
        first = not hasattr(self, "network_")
        signals, weights, targets = self._checked_training_data(X, y, sample_weight, None, classes=classes, reset=first)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1)) + getattr(self, "n_iter_", 0)
        cases = self._prepare(signals, weights, targets, seed, device, keep=not first)
        options = training_options(self, len(signals), seed, device, max_epochs=1, schedule=None, averaging=0.0)
        moments = getattr(self, "_optimizer_state", None)
        result = fit_network(self.network_, cases, loss=self._loss, options=options, optimizer_state=moments)
        self.network_, self._optimizer_state = result.network, result.optimizer_state
        self.n_iter_ = 1 if first else self.n_iter_ + 1
        self.best_epoch_ = self.n_iter_
        line = {**result.history[0], "epoch": self.n_iter_}
        self.history_ = [line] if first else [*self.history_, line]
        return self

    def describe(self) -> str:
        """Say what the model covers: front end, band in Hz, memory in seconds, size.

        Returns
        -------
        str
            A few lines to print.
        """
        check_is_fitted(self, "network_")
        return describe_estimator(self)

    def save(self, path: Any) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        Parameters
        ----------
        path : path
            The file, by custom ``*.s4``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter has no plain form.
        """
        check_is_fitted(self, "network_")
        write_model(path, *pack_estimator(self))

    @classmethod
    def load(cls, path: Any, *, frontend: Any = None) -> Self:
        """Read an estimator that `save` wrote; nothing the file contains is executed.

        Parameters
        ----------
        path : path
            The file.
        frontend : Module, optional
            For a model that was fitted with a module as front end: such a module; its weights come from the file.

        Returns
        -------
        estimator
            On the CPU.

        Raises
        ------
        ModelFileError
            If the file is not such a file, is damaged, holds another estimator, or needs a front end that is not given
            or is another one.
        """
        estimator: Self = read_model(path, partial(unpack_estimator, cls, frontend=frontend))
        return estimator

    def stream(self, *, sfreq: float | None = None) -> Stream:
        """Predict while the signal arrives.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; that of the training by default.

        Returns
        -------
        Stream
            With ``push(chunk)`` and ``reset()``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the model is bidirectional, or sfreq is given and the model was fitted without one.
        """
        check_is_fitted(self, "network_")
        # The plan knows how the network was built; a parameter may have been set since.
        if self._plan.stack["bidirectional"]:
            raise ValueError("stream needs a causal model, this one looks ahead; fit with bidirectional=False.")
        return Stream(self, sfreq=sfreq)

    def _outputs(self, X: Any, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Return the network's outputs (n_samples, n_outputs)."""
        check_is_fitted(self, "network_")
        check_rate(self, sfreq)
        signals = check_signals(self, X, sfreq=sfreq, times=times, irregular=True)
        check_times(signals, self._plan.sampling, self.sfreq_)
        device = resolve_device(self.device)
        cases = make_cases(signals, self._standardizer, sfreq=self.sfreq_, sampling=self._plan.sampling)
        options = network_options(self, len(signals), device)
        return np.asarray(evaluate_network(self._on(device), cases, options=options).numpy())

    def _checked_training_data(
        self, X: Any, y: Any, sample_weight: Any, times: Any, *, classes: Any = None, reset: bool = True
    ) -> tuple[Signals, NDArray[np.float64], NDArray[Any]]:
        """Return the cases of positive weight, their weights and their targets as the loss takes them."""
        signals = check_signals(self, X, sfreq=self.sfreq, times=times, irregular=True, reset=reset)
        if reset:
            self.sfreq_ = training_rate(signals)
        else:
            check_times(signals, self._plan.sampling, self.sfreq_)
        targets = self._encode_targets(y, signals, classes=classes, reset=reset)
        weights = check_weights(sample_weight, signals, class_weights=self._case_weights(targets))
        check_samples(signals, refuse=self.missing == "error")
        used = np.flatnonzero(weights > 0)
        return signals[used], weights[used], targets[used]

    def _checked_validation_data(self, X: Any, y: Any) -> tuple[Signals, NDArray[np.float64], NDArray[Any]] | None:
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val belong together; pass both or none.")
        # Validation cases may have a rate of their own.
        knows_rate = isinstance(X, Signals) and not np.isnan(X.sfreqs).any()
        signals = check_signals(self, X, sfreq=None if knows_rate else self.sfreq, irregular=True)
        targets = self._encode_targets(y, signals, classes=None, reset=False)
        check_samples(signals, refuse=self.missing == "error", name="X_val")
        return signals, np.ones(len(signals)), targets

    def _prepare(
        self,
        signals: Signals,
        weights: NDArray[np.float64],
        targets: NDArray[Any],
        seed: int,
        device: torch.device,
        *,
        keep: bool,
    ) -> Cases:
        """Standardise the channels and build the network, or check that the one there fits; return the cases."""
        n_outputs = self._n_outputs(targets)
        if keep:
            if self._plan.n_outputs != n_outputs:
                raise ValueError(
                    f"the network has {self._plan.n_outputs} outputs, y has {n_outputs}; fit with warm_start=False."
                )
            return self._thinned(self._cases(signals, weights, targets, device), signals, seed, device)
        self._standardizer = Standardizer.fit(survey(signals), weights, identity=not self.standardize)
        self._plan: NetworkPlan = plan_network(self, signals, n_outputs=n_outputs, sfreq=self.sfreq_)
        self._optimizer_state = {}
        with draws_from(torch.Generator().manual_seed(seed)):
            network = build_network(self._plan, self.frontend).to(PRECISIONS[self.precision])
        self.network_ = network
        cases = self._cases(signals, weights, targets, device)
        options = network_options(self, len(cases), device)
        self.network_.frontend.calibrate(heard_batches(self.network_, cases, options))
        return self._thinned(cases, signals, seed, device)

    def _cases(
        self, signals: Signals, weights: NDArray[np.float64], targets: NDArray[Any], device: torch.device
    ) -> Cases:
        """Return cases as the learned part of the network takes them."""
        tensor = self._target_tensor(targets)
        cases = make_cases(
            signals,
            self._standardizer,
            sfreq=self.sfreq_,
            sampling=self._plan.sampling,
            weights=weights,
            targets=tensor,
        )
        return hear_cases(self._on(device), cases, network_options(self, len(cases), device))

    def _thinned(self, heard: Cases, signals: Signals, seed: int, device: torch.device) -> Cases:
        if not self._plan.thinned:
            return heard
        cases = make_cases(signals, self._standardizer, sfreq=self.sfreq_, sampling=self._plan.sampling)
        options = network_options(self, len(cases), device)
        return hear_thinned(self._on(device), cases, heard, options, seed=seed)

    def _train(
        self, cases: Cases, validation: Cases | None, seed: int, device: torch.device, *, data: tuple[Any, Any]
    ) -> None:
        fingerprint = fingerprint_of(self, cases, validation, seed)
        options = training_options(
            self, len(cases), seed, device, fingerprint=fingerprint, checkpoint_dir=self.checkpoint_dir
        )
        with own_callbacks(self):
            context = self._init_callback_context(max_subtasks=options.max_epochs)
            context.call_on_fit_task_begin(estimator=self)

            def on_epoch(line: dict[str, Any], network: nn.Module) -> bool:
                task = context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self)
                return end_task(self, task, data, n_iter=line["epoch"], network=network)

            started = time.perf_counter()
            result = fit_network(
                self._on(device),
                cases,
                loss=self._loss,
                options=options,
                validation=validation,
                score=self._score_outputs,
                on_epoch=on_epoch if hasattr(self, "_skl_callbacks") else None,
            )
            self.network_, self.history_ = result.network, result.history
            self.n_iter_, self.best_epoch_ = len(result.history), result.best_epoch
            self.fit_seconds_ = time.perf_counter() - started
            self._optimizer_state = result.optimizer_state
            end_task(self, context, data, n_iter=self.n_iter_, network=self.network_)

    def _on(self, device: torch.device) -> S4Network:
        # The dtype too: the precision may have been set since.
        self.network_ = self.network_.to(device, PRECISIONS[self.precision])
        return self.network_

    def _target_tensor(self, targets: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(targets))
        return tensor.to(PRECISIONS[self.precision]) if tensor.is_floating_point() else tensor

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = not (isinstance(self.missing, str) and self.missing == "error")
        tags.non_deterministic = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Say to scikit-learn whether there is a network."""
        return hasattr(self, "network_")
