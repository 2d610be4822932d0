"""The classifier."""

from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from s4signal.estimators.classification import SignalClassifierMixin
from s4signal.estimators.trained.base import S4Estimator
from s4signal.estimators.trained.presets import preset
from s4signal.estimators.trained.training import over_networks


class S4Classifier(SignalClassifierMixin, S4Estimator):
    """Classify raw signals with a deep structured state space model.

    Targets are labels (n_samples,) or binary tags (n_samples, n_tags); a case may have any number of tags.

    Parameters
    ----------
    frontend : {"auto", "linear", "hop_means", "band_power", "filterbank"} or torch.nn.Module, default="auto"
        From channels to features. "linear": channels mixed at each sample. "hop_means": their means over hops of a 64th
        of the longest case, mixed. "band_power": these means, and log powers of learned spatial filters in 16 frequency
        bands. "filterbank": gammatone energies every 20 ms, mixed with their neighbours in frequency and time, relative
        to the loudest part of a case. "auto" is the filter bank for audio: data of an audio reader, or plain arrays of
        one or two channels at 4 kHz or more. For several channels on a regular grid with at most 30 % of the values
        missing, if a hop has two samples, it is "hop_means"; and "band_power" in `partial_fit` and for too many cases
        for the readout in closed form, which contains the power of bands. Else it is "linear".
        A module maps (batch, n_times, n_channels) to (batch, n_hops, n_features) and has the attribute ``hop_s``, the
        seconds between two outputs (samples if the rate is unknown). A copy of it starts from its current weights and
        trains those that require gradients; it takes one sampling rate, on a regular grid, and every case at its own
        length. An `s4signal.nn.FilterBank` replaces the bank of "filterbank".
    kernel : {"s4d", "s4", "lssl", "s5"}, default="s4d"
        State space of the layers: diagonal, diagonal plus low rank, dense, or diagonal and shared by all channels.
    init : str, default="legs"
        Initial dynamics: "legs", "inv", "lin", "real", "fout" or "random" for "s4d" and "s5"; "legs", "legt", "lagt" or
        "fout" for "s4", and also "chebt" for "lssl".
    d_model : "auto" or int, >= 1, default="auto"
        Number of features of a layer. "auto" is 16 for fewer than 1,000 training cases of several channels on a regular
        grid as above, otherwise 64.
    d_state : "auto" or int, even, default="auto"
        State size per feature; "auto" is 16 for several channels as above and for audio, otherwise 64.
    n_layers : "auto" or int, >= 1, default="auto"
        Number of layers. "auto" is 1 for fewer than 1,000 cases of several channels as above, 2 for more of them and
        for audio, otherwise 4.
    n_networks : "auto" or int, >= 1, default="auto"
        Number of networks of this size, trained side by side on the same batches, with the norm of all gradients
        clipped together; the mean of their outputs predicts. They share a module given as front end. Kernel "s5" needs
        1. "auto" is 4 with "filterbank" for up to 4,000 sounds; otherwise, and in `partial_fit`, 1.
    bidirectional : bool, default=True
        Whether a step also sees the future; False allows `stream`, and so does ``lookahead_s``.
    lookahead_s : float, > 0, or None, default=None
        Maximum look-ahead of a step with ``bidirectional=True``, in seconds (in samples if the rate is unknown); None
        is unlimited. Each layer has an equal share of it, in whole steps; the front end has none. Gaps between samples
        are not supported: ``missing="auto"`` is then "mask".
    dropout : float in [0, 1), default=0.3
        Dropout rate of the features in training.
    pooling : {"auto", "mean", "legs", "attention", "max", "last"} or ("legs", order), default="auto"
        Pooling of the steps of a case into one vector. "legs": coefficients of the time course of each feature in the
        first 10 (or ``order``) Legendre polynomials, for signals locked to an event; order 1 is the mean. "attention":
        mean weighted by a learned score. "auto" is "legs" for several channels on a regular grid as above (of at least
        32 samples per case), "attention" for audio, otherwise "mean".
    readout : {"auto", "pooled", "closed_form"}, default="auto"
        Source of the outputs. "pooled": the layers, pooled, alone. "closed_form": the sum of their outputs, which start
        at zero, and the prediction of `S4RidgeClassifier` or `S4RidgeRegressor`, a ridge regression on frozen
        oscillators that is fitted first. The layers of a classifier learn the residual of its leave-one-out predictions
        (cases of a group are left out together), the layers of a regressor learn the targets. The weight of the layers,
        for a regressor of both terms, is the best on held-out cases: validation cases, or five folds, of which 1,000
        cases need only one. "closed_form" takes at most 4,000 cases. "auto" is "closed_form" for up to 4,000 cases of
        134 million values in total on a regular grid with at most 30 % missing, or of mostly missing data; "pooled" for
        audio and all other data.
        `partial_fit` keeps the regression of the first call; its "auto" is "pooled".
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one; the nominal one if X has times.
    band_hz : (lowest, highest) or None, default=None
        Band in Hz that the cases contain, such as (1, 45) after a band-pass filter. The bands of "filterbank" and
        "band_power" and the oscillators of the closed form lie within it: their outputs are standardised, so others
        would amplify the residue of the filter. The other front ends are not affected.
    timescale : "auto" or (shortest_s, longest_s), default="auto"
        Range of the initial memories, in seconds (in samples if the rate is unknown). "auto" is from ten steps to the
        longest case.
    missing : {"auto", "gap", "mask", "error"}, default="auto"
        How missing samples (NaN) enter the model. "gap": a sample that is missing in all channels is skipped, and time
        advances; if it is missing in some, they hold their last values, and each channel for which this happens in
        training gets an observation mask as an additional channel. "mask": all samples are kept, held and masked in
        this way; faster, for regular recordings. "auto" is "gap", or "mask" if the kernel or the layers do not support
        gaps. Hop means and filter banks get interpolated samples. "error" refuses NaN.
        Mostly missing data (of the values at times when any channel was observed, more than half are missing) is
        clipped to four standard deviations, and the outputs also use mean and last value of each channel.
    augmentation : "auto", None, tuple of names or dict from names to settings, default="auto"
        Random changes of the training cases, such as ``("noise", "gain")`` or ``{"noise": {"snr_db": (0, 20)}}``; they
        are determined by ``random_state`` and applied in the order listed here. Changes of samples, in half of the
        loads of a case, each with the probability ``share`` (0.5): "speed" (``most``, 0.1: faster or slower by up to
        that), "time_shift" (``longest_s``, 0.1), "room" (echoes: ``rt60_s``, (0.2, 1), ``direct_db``, (0, 10)),
        "babble" (``voices``, 6 other cases at ``snr_db``, (0, 30)), "noise" (white, ``snr_db``, (0, 30), relative to
        the variance of each channel), "gain" (``db``, (-10, 10)), "clipping" (at ``level``, (0.05, 0.5), of the peak),
        "time_masking" (``longest_s``, 0.5), "channel_dropout" (``channels``, 0.2, are missing), "sample_dropout"
        (``removed``, (0.1, 0.8), are missing; not with "linear"). If the front end learns nothing, two changed versions
        of each case are made before training, else a new one at each load. Changes of the energies of a filter bank, at
        each step: "band_shift" (by up to ``bands``, 1, like another speaker), "band_dropout" (the upper bands of a
        ``share``, 0.25, of the cases, like rates down to a quarter), "silence_padding" (up to ``longest_s``, 0.5, of
        silence or low noise before and after a ``share``, 0.5), "spec_augment" (masks up to ``bands``, 0.2, of them and
        up to ``longest_s``, 0.1). "auto" is the first three of these with "filterbank", else None.
    standardize : bool, default=True
        Whether to centre and scale the channels with statistics of the training cases.
    max_epochs : "auto" or int, default="auto"
        Number of epochs. "auto" is 20; 40 for fewer than 1,000 cases of several channels as above; 15 to 40 with the
        filter bank, to make 1,600 steps; 5 for mostly missing data; and always enough to make 200 steps.
    batch_size : "auto", int or None, default="auto"
        Cases per step. "auto" is 64 for more than 4,096 cases, else 16 with the filter bank, else 32. None takes all
        cases in one step, in pieces that fit into memory, with one dropout mask per step for all cases; with
        ``precision="64"`` it is the reproducible reference mode.
    learning_rate : float, > 0, default=4e-3
        Peak learning rate, with a warm-up over a tenth of the steps and cosine decay.
    ssm_learning_rate : float, > 0, default=1e-3
        Learning rate of poles and step sizes, at most ``learning_rate``.
    weight_decay : float, >= 0, default=0.05
        Decoupled weight decay of the weight matrices.
    early_stopping : "auto" or bool, default="auto"
        Whether to hold out validation cases and keep the epoch that is best on them. "auto" is True for at least 100
        cases, but not for fewer than 1,000 cases of several channels as above, if groups cannot be kept whole without
        losing a class, or with the filter bank or mostly missing data, whose weights are running means over some fifty
        steps. With ``X_val`` the best epoch is always kept.
    validation_fraction : float in (0, 1), default=0.1
        Share of the cases, or of the groups, that is held out.
    n_iter_no_change : int or None, default=None
        Number of epochs without a lower validation loss after which training stops; None trains all epochs.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn; must be None for tags.
    warm_start : bool, default=False
        Whether `fit` continues from the current network; the parameters that it was built from must stay the same.
    precision : {"32", "64", "bf16"}, default="32"
        Precision of the arithmetic; "bf16" is autocast, with the state spaces in float32.
    device : str, default="auto"
        Device for training; "auto" is CUDA or MPS if present.
    memory_budget_gb : float, >= 0, default=0.25
        Features that are computed once per case (filter bank, hop means) are kept in memory up to this many gigabytes,
        for training and validation cases each, and unchanged in a temporary file if there are more.
    checkpoint_dir : path, optional
        Folder for the state after each epoch, with a subfolder for each training; the same fit on the same data,
        started again, resumes from it.
    callbacks : list, optional
        scikit-learn callbacks for the fits of this estimator.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        Labels, in their original type; for tags, their positions.
    multilabel_ : bool
        Whether the training targets were tags.
    n_features_in_, n_channels_in_ : int
        Number of columns of a 2-D X, or of channels of any other X; number of channels.
    ch_names_ : list of str or None
        Channel names, if X carries them. At prediction, channels are matched by name: in any order and spelling
        (``EEG FP1-REF`` is ``Fp1``); extra channels are dropped and absent ones are missing, both with a warning.
    sfreq_ : float or None
        Sampling rate at training, in Hz: the highest of several, or one over the median gap if only times are known.
    network_ : torch.nn.Module
        The network, with the weights of the best epoch.
    ridge_ : Ridge or None
        The regression of ``readout="closed_form"``, whose outputs are added to those of the network.
    n_iter_, best_epoch_ : int
        Number of epochs run, and the epoch whose weights are kept.
    history_ : list of dict
        For each epoch: epoch, loss (the mean of the networks), validation_loss, validation_score, seconds.
    fit_seconds_ : float
        Duration of training, in seconds.

    References
    ----------
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022,
    doi:10.48550/arXiv.2111.00396; Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State
    Space Models", 2022, doi:10.48550/arXiv.2206.11893; Polyak, Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", 1992, doi:10.1137/0330046; Jaitly, Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech
    recognition", 2013; Park et al., "SpecAugment", 2019, doi:10.21437/Interspeech.2019-2680 (shifted, masked bands);
    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001, doi:10.1214/aos/1013203451 (learning
    the residual of another model); here on held-out cases, as in Wolpert, "Stacked Generalization", 1992,
    doi:10.1016/S0893-6080(05)80023-1.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Classifier
    >>> rng = np.random.default_rng(0)
    >>> slow, fast = (np.sin(np.linspace(0, turns * 6.28, 100)) for turns in (3, 9))
    >>> X = np.stack([slow, fast] * 10)[:, None] + 0.3 * rng.standard_normal((20, 2, 100))
    >>> y = ["slow", "fast"] * 10
    >>> model = S4Classifier(d_model=8, d_state=8, n_layers=1, max_epochs=40, random_state=0).fit(X, y)
    >>> model.predict(X[:2]).tolist()
    ['slow', 'fast']
    """

    _stratified: ClassVar[bool] = True

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
        dropout: float = 0.3,
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
        class_weight: Any = None,
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
        self.n_iter_no_change, self.class_weight, self.warm_start = n_iter_no_change, class_weight, warm_start
        self.precision, self.device, self.memory_budget_gb = precision, device, memory_budget_gb
        self.checkpoint_dir, self.callbacks = checkpoint_dir, callbacks
        self.random_state, self.verbose = random_state, verbose

    @classmethod
    def from_preset(cls, name: str) -> Self:
        """Return a classifier, not fitted, with named settings; ``set_params`` changes them.

        Parameters
        ----------
        name : {"speech-small", "speech-commands-35", "audio-events", "eeg"}
            "speech-small": hundreds of words. "speech-commands-35": the published recipe for 35 words from raw samples
            at 16 kHz, for a GPU. "audio-events": sounds of a few seconds, at any rate. "eeg": hundreds of event-locked
            trials.

        Raises
        ------
        ValueError
            If the name is unknown; the message lists the known ones.

        Examples
        --------
        >>> from s4signal import S4Classifier
        >>> S4Classifier.from_preset("eeg").set_params(random_state=0).d_model
        16
        """
        return cls(**preset(name))

    def _n_outputs(self, targets: NDArray[np.int64]) -> int:
        return len(self.classes_)

    @staticmethod
    @over_networks
    def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 2:  # tags
            return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)
        return F.cross_entropy(outputs, targets, reduction="none")

    @staticmethod
    def _score_outputs(outputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        """Return the accuracy; for tags the subset accuracy."""
        correct = ((outputs > 0) == (targets > 0)).all(1) if targets.ndim == 2 else outputs.argmax(1) == targets
        return float(torch.dot(correct.to(weights), weights) / weights.sum())
