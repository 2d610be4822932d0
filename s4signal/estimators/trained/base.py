"""The base class of the estimators that train a network: parameters, fit, files, streams and description."""

import copy
from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.callback import with_callbacks
from sklearn.utils.validation import check_is_fitted
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.base import SavedMixin
from s4signal.estimators.model_file import State, estimator_state, load_model
from s4signal.estimators.parameters import check_options
from s4signal.estimators.streams import SignalStream, StreamMixin
from s4signal.estimators.trained.describe import describe_model
from s4signal.estimators.trained.export import ExportMixin
from s4signal.estimators.trained.fitting import NetworkFitting
from s4signal.estimators.trained.inference import InferenceCopies, embed_batch
from s4signal.estimators.trained.persistence import history_from_state, network_from_state, network_state, plain_history
from s4signal.estimators.trained.readout import Readout
from s4signal.estimators.trained.streaming import Stream, WholeStream
from s4signal.estimators.trained.training import built_from
from s4signal.estimators.validation import check_stream_rate, finite_outputs
from s4signal.random_features.ridge import Ridge
from s4signal.signals import Signals
from s4signal.training import PRECISIONS, resolve_device


class S4Estimator(ExportMixin, StreamMixin, SavedMixin, NetworkFitting):
    """Base of the estimators that train a network; `S4Classifier` documents the parameters."""

    _TUPLES = ("timescale", "augmentation", "pooling", "band_hz")

    def __init__(
        self,
        *,
        frontend: Any = "auto",
        kernel: str = "s4d",
        init: str = "legs",
        d_model: str | int = "auto",
        d_state: str | int = "auto",
        n_layers: str | int = "auto",
        n_networks: str | int = "auto",
        bidirectional: bool = True,
        lookahead_s: float | None = None,
        dropout: float = 0.1,
        pooling: str | tuple[str, int] = "auto",
        readout: str = "auto",
        sfreq: float | None = None,
        band_hz: tuple[float, float] | None = None,
        timescale: str | tuple[float, float] = "auto",
        missing: str = "auto",
        augmentation: str | tuple[str, ...] | dict[str, Any] | None = "auto",
        standardize: bool = True,
        max_epochs: str | int = "auto",
        batch_size: str | int | None = "auto",
        learning_rate: float = 4e-3,
        ssm_learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        early_stopping: str | bool = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        warm_start: bool = False,
        precision: str = "32",
        device: str = "auto",
        memory_budget_gb: float = 0.25,
        checkpoint_dir: str | PathLike[str] | None = None,
        callbacks: list[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.frontend, self.kernel, self.init, self.d_model, self.d_state = frontend, kernel, init, d_model, d_state
        self.n_layers, self.n_networks = n_layers, n_networks
        self.bidirectional, self.lookahead_s = bidirectional, lookahead_s
        self.dropout, self.pooling, self.readout = dropout, pooling, readout
        self.sfreq, self.band_hz, self.timescale, self.missing = sfreq, band_hz, timescale, missing
        self.augmentation, self.standardize = augmentation, standardize
        self.max_epochs, self.batch_size = max_epochs, batch_size
        self.learning_rate, self.ssm_learning_rate, self.weight_decay = learning_rate, ssm_learning_rate, weight_decay
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.n_iter_no_change, self.warm_start, self.precision = n_iter_no_change, warm_start, precision
        self.device, self.memory_budget_gb, self.checkpoint_dir = device, memory_budget_gb, checkpoint_dir
        self.callbacks, self.random_state, self.verbose = callbacks, random_state, verbose

    @property
    def ridge_(self) -> Ridge | None:
        """The regression of a closed-form readout; None without one."""
        if not hasattr(self, "network_"):
            raise AttributeError("ridge_ exists only after fit.")
        return None if self._readout is None else self._readout.regression.ridge

    @with_callbacks  # type: ignore[untyped-decorator]  # scikit-learn carries no annotations
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        times: Any = None,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train on cases and their targets; a fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases: (n_samples, n_times), (n_samples, n_channels, n_times), a list of (n_channels, n_times_i), epochs,
            or `Signals`.
        y : array-like (n_samples,)
            Targets; a regressor also takes (n_samples, n_outputs), a classifier also binary tags (n_samples, n_tags).
        sample_weight : array-like (n_samples,), optional
            Weight of each case: weight 2 equals duplicating the case, weight 0 equals removing it.
        times : list of array-like (n_times_i,), optional
            Time of every sample in seconds, one array per case, if X does not carry times.
        groups : array-like (n_samples,), optional
            Subject, or another grouping: validation cases are from other groups than training cases. By default, the
            cases of one recording are a group.
        X_val, y_val : as X and y, optional
            Validation cases to choose the epoch, instead of those that ``early_stopping`` holds out.

        Raises
        ------
        ValueError
            If an option, a signal or a target is invalid; `ShapeError` and `RecordingError` are subclasses.

        Warns
        -----
        UserWarning
            If a channel is flat or never observed, groups are split for validation, or the fit was interrupted.
        """
        check_options(self)
        return self._learn(X, y, sample_weight, times=times, groups=groups, X_val=X_val, y_val=y_val)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, classes: Any = None) -> Self:
        """Train for one epoch at a constant learning rate, starting from the current network.

        Parameters
        ----------
        X, y, sample_weight : as `fit` takes them
            Cases, targets and weights.
        classes : array-like, optional
            All labels that may occur, at the first call of a classifier; by default the labels of that call.

        Raises
        ------
        ValueError
            As `fit`, or if ``checkpoint_dir`` is set.
        """
        check_options(self)
        if self.checkpoint_dir is not None:
            raise ValueError("partial_fit writes no checkpoints; set checkpoint_dir=None, and save the model.")
        with self._drafted() as draft:
            draft._fit_on(X, y, sample_weight, classes=classes)
        return self

    def embed(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Return the input of the network's head as features; `s4signal.estimators.S4Features` is the transformer.

        Parameters
        ----------
        X, sfreq, times : as `predict` takes them
            Cases.

        Returns
        -------
        ndarray (n_samples, n_features)
            Steps of the last layer, pooled over time; a closed-form readout is not included.
        """
        return finite_outputs(self._outputs(X, sfreq, times, forward=embed_batch))

    def describe(self) -> str:
        """Return a short description of the model and its choices: front end, band, memory, training."""
        check_is_fitted(self)
        return describe_model(type(self).__name__, self._plan, self.network_, self._readout)

    def __str__(self) -> str:
        """Return `describe()` of a fitted estimator, otherwise `repr`."""
        return self.describe() if hasattr(self, "network_") else repr(self)

    @classmethod
    def load(cls, path: Any, *, frontend: Any = None) -> Self:
        """Read an estimator that `save` wrote, on the CPU; nothing the file contains is executed.

        Parameters
        ----------
        path : path
            The file.
        frontend : Module, optional
            A module, for a model that was fitted with one as front end; its weights come from the file.

        Raises
        ------
        ModelFileError
            If the file is not a model file, is damaged, holds another estimator, or needs a front end that is not given
            or differs.
        """
        return load_model(path, partial(cls._from_state, frontend=frontend))

    def _open_stream(self, sfreq: float | None) -> Stream:
        sampling = self._plan.sampling
        period = check_stream_rate(self, sfreq, timed=sampling.times, mostly_missing=sampling.mostly_missing)
        device = resolve_device(self.device, precision=self.precision)
        network = copy.deepcopy(self.network_).to(device, PRECISIONS[self.precision])
        readout = None if self._readout is None else self._readout.stream(period)
        return Stream(self._plan, self._standardizer, network, self._finish, period=period, readout=readout)

    def _open_windows(self, sfreq: float | None) -> SignalStream:
        sampling = self._plan.sampling
        if not self._plan.sees_all:
            return self._open_stream(sfreq)
        check_stream_rate(self, sfreq, timed=sampling.times, mostly_missing=sampling.mostly_missing)
        refused = "refused" if sampling.missing == "error" else "any"
        return WholeStream(self._standardizer, partial(self._predict_one, sfreq=sfreq or self.sfreq_), missing=refused)

    def _predict_one(self, recording: NDArray[np.floating], sfreq: float | None) -> NDArray[np.float64]:
        outputs = finite_outputs(self._outputs(Signals([recording], sfreq=sfreq), warn=False))  # the stream warns
        return np.asarray(self._finish(outputs)[0])

    def _to_state(self) -> State:
        # Only the weights of a module are saved: building it would execute content of the file.
        state = estimator_state(self, left_out=("frontend",) if isinstance(self.frontend, nn.Module) else ())
        fit = {"history": plain_history(self.history_), "n_iter": self.n_iter_, "best_epoch": self.best_epoch_}
        model = network_state(self._plan, self._standardizer, self.network_)
        state = State({**state.plain, **fit}, state.arrays).nest("model", model).nest("targets", self._targets_state())
        return state if self._readout is None else state.nest("readout", self._readout.to_state())

    def _restore(self, state: State, *, frontend: Any = None) -> None:
        self.frontend = self.frontend if frontend is None else frontend
        check_options(self)
        try:
            resolve_device(self.device)
        except ValueError:  # fitted on a device that this machine lacks
            self.device = "auto"
        plan, standardizer, network = network_from_state(
            state.part("model"), frontend=frontend, precision=self.precision
        )
        if plan.n_channels != self.n_channels_in_ or plan.sfreq != self.sfreq_:
            raise ModelFileError("its entries are of models with different numbers of channels or rates.")
        self._plan, self._standardizer, self.network_, self._copies = plan, standardizer, network, InferenceCopies()
        self._restore_targets(state.part("targets"), n_outputs=plan.n_outputs)
        self._readout, self._built = None, built_from(self)
        if plan.readout == "closed_form":
            self._readout = Readout.from_state(state.part("readout"), plan, self.precision)
        self._optimizer_state, self.history_ = {}, history_from_state(state)
        self.n_iter_, self.best_epoch_ = (state.value(k, int, low=1) for k in ("n_iter", "best_epoch"))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = not (isinstance(self.missing, str) and self.missing == "error")
        return tags
