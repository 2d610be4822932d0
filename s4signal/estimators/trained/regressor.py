"""The regressor."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.mixins import SignalRegressorMixin
from s4signal.estimators.trained.base import S4Estimator
from s4signal.signals import Signals
from s4signal.training import Cases

__all__ = ["S4Regressor"]


class S4Regressor(SignalRegressorMixin, S4Estimator):
    """Predict numbers from raw signals by a deep structured state space model.

    Targets are standardised inside, by the training cases; any number of outputs.

    Parameters
    ----------
    frontend : {"auto", "linear", "filterbank"} or torch.nn.Module, default="auto"
        From channels to features: mixed at each sample ("linear"), or gammatone energies every 10 ms, mixed where they
        lie together in frequency and time ("filterbank"). "auto" hears signals of 4 kHz and more through the filter
        bank. In training (unless ``batch_size=None``) what it hears then moves along the bands, by up to one, as with
        another voice, and a quarter of the cases lose upper bands at a step, as at rates down to a quarter.
        A module maps (batch, n_times, n_channels) to (batch, n_hops, n_features) and has the attribute ``hop_s``,
        seconds between two outputs (samples where the rate is unknown). A copy of it begins with the weights that it
        has and learns those that require gradients; it hears one sampling rate, on a regular grid, every case at its
        own length. An `s4signal.nn.FilterBank` takes the place of the bank that "filterbank" hears through.
    kernel : {"s4d", "s4", "lssl", "s5"}, default="s4d"
        State space of the layers: diagonal, diagonal plus low rank, dense, or diagonal and shared by all channels.
    init : str, default="legs"
        Initial dynamics: "legs", "inv", "lin", "real", "fout" or "random" of "s4d" and "s5"; "legs", "legt", "lagt" or
        "fout" of "s4", and also "chebt" of "lssl".
    d_model : int, >= 1, default=64
        Features a layer.
    d_state : int, even, default=64
        State size of each feature's system.
    n_layers : int, >= 1, default=4
        Layers.
    bidirectional : bool, default=True
        Whether a step sees the future too; False allows `stream`.
    dropout : float in [0, 1), default=0.1
        Share of features left out at a training step.
    pooling : {"mean", "max", "last"}, default="mean"
        From steps to one vector a case.
    sfreq : float, optional
        Sampling rate of X, in Hz, where X does not know it; the nominal one where X has times.
    timescale : "auto" or (shortest_s, longest_s), default="auto"
        Range of the initial memories, in seconds (in samples where the rate is unknown). "auto" takes ten steps to
        the longest case.
    missing : {"auto", "gap", "mask", "error"}, default="auto"
        What to do with NaN. "gap": a sample that is missing in all channels is not there, time passes; one that is
        missing in some stays, their last values are held, and each channel that was ever missing so in training comes
        with another one that says whether it is observed. "mask": all samples stay, held and marked that way; faster,
        for regular recordings. "auto" is "gap", or "mask" for kernels that take no gaps. In sparse records, most of
        whose values are missing where something is observed, values count up to four standard deviations, the outputs
        also see mean and last value of each channel past the layers, and the weights are running means over some fifty
        steps. A filter bank hears a regular grid, with splines across up to seven missing samples and straight lines
        across more; where "gap" is asked for, it trains for missing samples (unless ``batch_size=None``): a third of
        the cases are also heard with 10 to 80 % of the samples removed; new voices may be understood less well.
        "error" refuses NaN.
    standardize : bool, default=True
        Centre and scale the channels by the training cases.
    max_epochs : "auto" or int, default="auto"
        Passes over the cases; "auto" takes 20, behind the filter bank 15, of sparse records 5, or what makes 200 steps.
    batch_size : "auto", int or None, default="auto"
        Cases a step: "auto" takes 32, behind the filter bank 16, or 64 from 4,097 cases on. None takes all cases in one
        step, in whatever pieces fit into memory; with ``precision="64"`` it is the reproducible reference mode.
    learning_rate : float, > 0, default=4e-3
        Peak learning rate; it rises over a tenth of the steps and falls along a cosine.
    ssm_learning_rate : float, > 0, default=1e-3
        The same for poles and steps, at most ``learning_rate``.
    weight_decay : float, >= 0, default=0.05
        Decoupled weight decay of the matrices.
    early_stopping : "auto" or bool, default="auto"
        Whether to choose the epoch on validation cases; "auto" does from 100 cases on, but with ``max_epochs="auto"``
        not behind the filter bank nor for sparse records: there all cases are trained on to the end, and the weights
        are running means over some fifty steps. With ``X_val`` it is always done.
    validation_fraction : float in (0, 1), default=0.1
        Share of the cases set aside.
    n_iter_no_change : int or None, default=None
        Epochs without a better validation loss before training stops; None runs to the end.
    warm_start : bool, default=False
        Whether `fit` goes on from the network that is there.
    precision : {"32", "64", "bf16"}, default="32"
        Of the arithmetic; "bf16" is autocast, with the state spaces in float32.
    device : str, default="auto"
        Where to train: CUDA or MPS if present.
    checkpoint_dir : path, optional
        Folder for the state after each epoch; the same fit, started again, goes on from it.
    callbacks : list, optional
        scikit-learn callbacks for this estimator's fits.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Columns of a 2-D X, channels of any other.
    n_channels_in_ : int
        Channels.
    ch_names_ : list of str or None
        Their names, where X knows them; other names at prediction are an error.
    sfreq_ : float or None
        Sampling rate at training, in Hz: the highest of several; one over the median gap where only times are known.
    network_ : torch.nn.Module
        The network, with the weights of the best epoch.
    n_iter_, best_epoch_ : int
        Epochs run, and the one whose weights are kept.
    history_ : list of dict
        For each epoch: epoch, loss, validation_loss, validation_score, seconds.
    fit_seconds_ : float
        Time that training took.

    References
    ----------
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022,
    doi:10.48550/arXiv.2111.00396; Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State
    Space Models", 2022, doi:10.48550/arXiv.2206.11893; Polyak, Juditsky, "Acceleration of Stochastic
    Approximation by Averaging", 1992, doi:10.1137/0330046; Jaitly, Hinton, "Vocal Tract Length
    Perturbation (VTLP) improves speech recognition", 2013; Park et al., "SpecAugment", 2019,
    doi:10.21437/Interspeech.2019-2680: bands moved and left out in training.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Regressor
    >>> rng = np.random.default_rng(0)
    >>> y = rng.uniform(1, 3, 40)
    >>> X = y[:, None] * np.sin(np.linspace(0, 30, 100)) + 0.1 * rng.standard_normal((40, 100))
    >>> model = S4Regressor(d_model=8, d_state=8, n_layers=1, max_epochs=60, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.5)
    True
    """

    def __init__(
        self,
        *,
        frontend: Any = "auto",
        kernel: str = "s4d",
        init: str = "legs",
        d_model: int = 64,
        d_state: int = 64,
        n_layers: int = 4,
        bidirectional: bool = True,
        dropout: float = 0.1,
        pooling: str = "mean",
        sfreq: float | None = None,
        timescale: str | tuple[float, float] = "auto",
        missing: str = "auto",
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
        checkpoint_dir: str | PathLike[str] | None = None,
        callbacks: list[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.frontend = frontend
        self.kernel = kernel
        self.init = init
        self.d_model = d_model
        self.d_state = d_state
        self.n_layers = n_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.pooling = pooling
        self.sfreq = sfreq
        self.timescale = timescale
        self.missing = missing
        self.standardize = standardize
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.ssm_learning_rate = ssm_learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.precision = precision
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _prepare(
        self, signals: Signals, weights: NDArray[np.float64], targets: NDArray[Any], *args: Any, keep: bool
    ) -> Cases:
        if not keep:
            self._measure_targets(targets, weights)
        return super()._prepare(signals, weights, targets, *args, keep=keep)

    def _target_tensor(self, targets: NDArray[Any]) -> Tensor:
        return super()._target_tensor(self._standardised(targets))

    def _n_outputs(self, targets: NDArray[np.float64]) -> int:
        return int(targets.shape[1])

    @staticmethod
    def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(1)

    @staticmethod
    def _score_outputs(outputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        """Coefficient of determination, averaged over the outputs; NaN for constant targets."""
        w = weights[:, None] / weights.sum()
        residual = (w * (outputs - targets) ** 2).sum(0)
        total = (w * (targets - (w * targets).sum(0)) ** 2).sum(0)
        return float((1.0 - residual / total).mean())
