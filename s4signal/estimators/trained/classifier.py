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


class S4Classifier(SignalClassifierMixin, S4Estimator):
    """Classify raw signals by a deep structured state space model.

    Targets are labels (n_samples,), or tags (n_samples, n_tags) of 0 and 1, of which any number may hold for a case.

    Parameters
    ----------
    frontend : {"auto", "linear", "hop_means", "filterbank"} or torch.nn.Module, default="auto"
        From channels to features: mixed at each sample ("linear"), their means over hops of a 64th of the longest case,
        mixed ("hop_means"), or gammatone energies every 10 ms, mixed where they lie together in frequency and time,
        relative to what is loud in a case ("filterbank"). "auto" takes the filter bank for audio: what an audio reader
        gave, or plain arrays of one or two channels at 4 kHz or more. It takes means over hops for several channels on
        a regular grid of whose values at most 30 % are missing, if a hop has two samples.
        A module maps (batch, n_times, n_channels) to (batch, n_hops, n_features) and has the attribute ``hop_s``,
        seconds between two outputs (samples where the rate is unknown). A copy of it begins with the weights that it
        has and learns those that require gradients; it takes one sampling rate, on a regular grid, every case at its
        own length. An `s4signal.nn.FilterBank` takes the place of the bank of "filterbank".
    kernel : {"s4d", "s4", "lssl", "s5"}, default="s4d"
        State space of the layers: diagonal, diagonal plus low rank, dense, or diagonal and shared by all channels.
    init : str, default="legs"
        Initial dynamics: "legs", "inv", "lin", "real", "fout" or "random" of "s4d" and "s5"; "legs", "legt", "lagt" or
        "fout" of "s4", and also "chebt" of "lssl".
    d_model : "auto" or int, >= 1, default="auto"
        Features of a layer. "auto" takes, for several channels on a regular grid as above, 16 below 1,000
        training cases and 64 from there on, otherwise 64.
    d_state : "auto" or int, even, default="auto"
        State size of each feature's system; "auto" is 16 for several channels as above and for audio, else 64.
    n_layers : "auto" or int, >= 1, default="auto"
        Layers. "auto" takes, for several channels as above, 1 below 1,000 cases and 2 from there on, for audio 2,
        otherwise 4.
    bidirectional : bool, default=True
        Whether a step sees the future too; False allows `stream`, and so does ``lookahead_s``.
    lookahead_s : float, > 0, or None, default=None
        How much of the future a step sees, at most, in seconds (in samples where the rate is unknown), with
        ``bidirectional=True``; None is all of it. Each layer sees an equal share, in whole steps, and the front end
        nothing. It takes no gaps between samples: ``missing="auto"`` is "mask".
    dropout : float in [0, 1), default=0.3
        Share of features left out at a training step.
    pooling : {"auto", "mean", "legs", "attention", "max", "last"} or ("legs", order), default="auto"
        From steps to one vector per case. "legs": coefficients of each feature's course over the case in the first 10
        (or ``order``) Legendre polynomials, for signals that are locked to an event; order 1 is the mean. "attention":
        mean over steps that are weighed by a learned score. "auto" takes "legs" for several channels on a regular grid
        as above (of at least 32 samples a case), "attention" for audio, "mean" for the rest.
    readout : {"auto", "pooled", "closed_form"}, default="auto"
        What the outputs are read from. "pooled": from what is pooled of the layers alone. "closed_form": the sum of
        that and of what `S4RidgeClassifier` or `S4RidgeRegressor` says, a ridge regression on frozen oscillators that
        is fitted first; the layers begin with nothing to add, and learn what the regression leaves of each training
        case when it is fitted on the others, cases of one group together; those of a regressor learn the targets
        themselves. How much either counts is what serves cases that it was not fitted on: those that are set aside, or
        each of five parts, of which 1,000 cases need only one. It takes at most 4,000 cases. "auto" takes "closed_form"
        for up to so many cases on a regular grid, at most 30 % missing, or mostly missing data; "pooled" for audio
        and all other data. `partial_fit` keeps the regression of the first call; its "auto" is "pooled".
    sfreq : float, optional
        Sampling rate of X, in Hz, where X does not know it; the nominal one where X has times.
    band_hz : (lowest, highest) or None, default=None
        Frequencies in Hz that the cases hold, such as (1, 45) after a band-pass: the bands of "filterbank" and the
        oscillators of the closed form lie there alone. What they give is standardised, so that others would amplify
        what the filter has left. The other front ends take samples as they are.
    timescale : "auto" or (shortest_s, longest_s), default="auto"
        Range of the initial memories, in seconds (in samples where the rate is unknown). "auto" takes ten steps to
        the longest case.
    missing : {"auto", "gap", "mask", "error"}, default="auto"
        How missing samples (NaN) reach the model. "gap": a sample that is missing in all channels is left out, and time
        passes; one that is missing in some holds their last values, and each channel that was ever missing so in
        training comes with another one that says whether it is observed. "mask": all samples stay, held and marked that
        way; faster, for regular recordings. "auto" is "gap", or "mask" where kernels or layers take no gaps. Hop means
        and a filter bank take them interpolated. "error" refuses NaN.
        Mostly missing data (of the values at times when any channel was observed, more than half are missing) is
        clipped to four standard deviations, and the outputs also see mean and last value of each channel.
    augmentation : "auto", None, tuple of names or dict from names to settings, default="auto"
        Random changes of the training cases, such as ``("noise", "gain")`` or ``{"noise": {"snr_db": (0, 20)}}``; they
        follow from ``random_state``, and act in this order. Of the samples, in half of the loads of a case, each with
        the probability ``share`` (0.5): "speed" (``most``, 0.1: that much faster or slower), "time_shift"
        (``longest_s``, 0.1), "room" (echoes: ``rt60_s``, (0.2, 1), ``direct_db``, (0, 10)), "babble" (``voices``, 6
        other cases at ``snr_db``, (0, 30)), "noise" (white, ``snr_db``, (0, 30), over the variance of each channel),
        "gain" (``db``, (-10, 10)), "clipping" (at ``level``, (0.05, 0.5), of the peak), "time_masking" (``longest_s``,
        0.5), "channel_dropout" (``channels``, 0.2, are missing), "sample_dropout" (``removed``, (0.1, 0.8), are
        missing; not with "linear"). Behind a front end that learns nothing two changed versions of each case are made
        before training, elsewhere a new one at each load. Of the energies of a filter bank, at each step: "band_shift"
        (by up to ``bands``, 1, as another speaker would), "band_dropout" (the upper bands of a ``share``, 0.25, of the
        cases, as rates down to a quarter would), "silence_padding" (up to ``longest_s``, 0.5, of silence or low noise
        before and after a ``share``, 0.5), "spec_augment" (a stretch of up to ``bands``, 0.2, of them and of up to
        ``longest_s``, 0.1, is hidden). "auto" is the first three of these with "filterbank", else None.
    standardize : bool, default=True
        Centre and scale the channels by the training cases.
    max_epochs : "auto" or int, default="auto"
        Passes over the cases; "auto" takes 20, for fewer than 1,000 cases of several channels as above 40, behind the
        filter bank 15 to 40, as many as make 4,000 steps, for mostly missing data 5; or what makes 200 steps.
    batch_size : "auto", int or None, default="auto"
        Cases per step: "auto" takes 32, behind the filter bank 16, or 64 from 4,097 cases on. None takes all cases in
        one step, in whatever pieces fit into memory, and draws one dropout mask per step, for all cases; with
        ``precision="64"`` it is the reproducible reference mode.
    learning_rate : float, > 0, default=4e-3
        Peak learning rate; it rises over a tenth of the steps and falls along a cosine.
    ssm_learning_rate : float, > 0, default=1e-3
        The same for poles and steps, at most ``learning_rate``.
    weight_decay : float, >= 0, default=0.05
        Decoupled weight decay of the matrices.
    early_stopping : "auto" or bool, default="auto"
        Whether to set validation cases aside and keep the epoch that does best on them. "auto" does so from 100 cases
        on, but not for fewer than 1,000 cases of several channels as above, nor where groups cannot be kept whole
        without taking a class away, nor behind the filter bank or for mostly missing data, whose weights are running
        means over some fifty steps. With ``X_val`` the epoch is always chosen.
    validation_fraction : float in (0, 1), default=0.1
        Share of the cases, or of the groups, that is set aside.
    n_iter_no_change : int or None, default=None
        Epochs without a better validation loss before training stops; None runs to the end.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn; not with tags.
    warm_start : bool, default=False
        Whether `fit` goes on from the network that is there.
    precision : {"32", "64", "bf16"}, default="32"
        Of the arithmetic; "bf16" is autocast, with the state spaces in float32.
    device : str, default="auto"
        Where to train: CUDA or MPS if present.
    memory_budget_gb : float, >= 0, default=0.25
        Features that are computed once per case (filter bank, means over hops), of the training cases and again of the
        validation cases, are kept in memory up to this many gigabytes, and beyond it, unchanged, in a temporary file.
    checkpoint_dir : path, optional
        Folder for the state after each epoch, in a folder of its own for each training; the same fit on the same data,
        started again, goes on from it.
    callbacks : list, optional
        scikit-learn callbacks for this estimator's fits.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        Labels, as they were given; of tags their positions.
    multilabel_ : bool
        Whether it was fitted with tags.
    n_features_in_, n_channels_in_ : int
        Columns of a 2-D X or channels of any other; channels.
    ch_names_ : list of str or None
        Their names, where X knows them. By them channels are found at prediction: in any order, however written
        (``EEG FP1-REF`` is ``Fp1``), without new ones, as missing where they are not there; a warning says so.
    sfreq_ : float or None
        Sampling rate at training, in Hz: the highest of several; one over the median gap where only times are known.
    network_ : torch.nn.Module
        The network, with the weights of the best epoch.
    ridge_ : Ridge or None
        The regression whose outputs are added to those of the network, with ``readout="closed_form"``.
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
    Space Models", 2022, doi:10.48550/arXiv.2206.11893; Polyak, Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", 1992, doi:10.1137/0330046; Jaitly, Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech
    recognition", 2013; Park et al., "SpecAugment", 2019, doi:10.21437/Interspeech.2019-2680: bands moved and left out;
    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001, doi:10.1214/aos/1013203451: to learn
    what another model leaves; here of cases that it has not seen, as in Wolpert, "Stacked Generalization", 1992,
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
        self.n_layers, self.bidirectional, self.lookahead_s = n_layers, bidirectional, lookahead_s
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
        """Make a classifier, not fitted, with settings that go by a name; ``set_params`` changes them.

        Parameters
        ----------
        name : {"speech-small", "speech-commands-35", "audio-events", "eeg"}
            "speech-small": hundreds of words. "speech-commands-35": the published recipe for 35 words from raw samples
            at 16 kHz, for a GPU. "audio-events": sounds of seconds, of any rate. "eeg": hundreds of trials that are
            locked to an event.

        Raises
        ------
        ValueError
            If there is no such name; the message lists them.

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
    def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 2:  # tags
            return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)
        return F.cross_entropy(outputs, targets, reduction="none")

    @staticmethod
    def _score_outputs(outputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        """Accuracy; of tags: all of a case."""
        right = ((outputs > 0) == (targets > 0)).all(1) if targets.ndim == 2 else outputs.argmax(1) == targets
        return float(torch.dot(right.to(weights), weights) / weights.sum())
