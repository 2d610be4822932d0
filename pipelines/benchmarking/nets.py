"""Convolutional networks to compare with, and their training loop."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from benchmarking.sets import Fold
from s4signal import Signals

__all__ = ["EEG_NETS", "NetClassifier", "eeg_net", "log_mel_net", "waveforms"]

Array = npt.NDArray[Any]
Network = Callable[[torch.Size, int], nn.Module]  # from the shape of a case and the number of classes
# Rate [Hz] and minimum number of samples of the kernels; learning rate and weight decay of the authors' code.
EEG_NETS = {
    "EEGNet": (128, 64, 1e-3, 0.0),
    "ShallowFBCSPNet": (250, 125, 6.25e-4, 0.0),
    "Deep4Net": (250, 500, 0.01, 5e-4),
}


class NetClassifier(BaseEstimator):
    """A network on arrays: AdamW on the cross entropy with a learning rate schedule; the last weights are kept.

    With ``standardize``, each channel has mean 0 and standard deviation 1 over the training cases. Each batch is rolled
    along the last axis by up to ``most_shift`` steps.
    """

    def __init__(
        self,
        network: Network,
        *,
        n_epochs: int,
        learning_rate: float,
        weight_decay: float,
        batch_size: int = 32,
        one_cycle: bool = False,
        standardize: bool = False,
        most_shift: int = 0,
        seed: int = 0,
    ) -> None:
        self.network = network
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.one_cycle = one_cycle
        self.standardize = standardize
        self.most_shift = most_shift
        self.seed = seed

    def fit(self, X: Array, y: Array) -> Self:
        """Train on (n_samples, n_channels, ..., n_steps)."""
        torch.manual_seed(self.seed)
        axes = (0, *range(2, X.ndim))
        self.mean_ = X.mean(axes, keepdims=True) if self.standardize else np.zeros(1)
        self.std_ = X.std(axes, keepdims=True) if self.standardize else np.ones(1)
        self.classes_, indices = np.unique(y, return_inverse=True)
        inputs, targets = self._tensor(X), torch.from_numpy(indices)
        self.network_ = self.network(inputs.shape[1:], len(self.classes_)).train()
        optimizer = torch.optim.AdamW(self.network_.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        steps = self.n_epochs * -(-len(inputs) // self.batch_size)
        if self.one_cycle:
            schedule: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps)
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(self.n_epochs):
            for batch in torch.randperm(len(inputs)).split(self.batch_size):
                if len(batch) > 1:  # batch normalisation needs a variance
                    shift = int(torch.randint(-self.most_shift, self.most_shift + 1, ()))
                    outputs = self.network_(inputs[batch].roll(shift, -1))
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(outputs, targets[batch]).backward()
                    optimizer.step()
                schedule.step()
        return self

    @torch.no_grad()
    def predict(self, X: Array) -> Array:
        """Predict the class of each case."""
        self.network_.eval()
        outputs = torch.cat([self.network_(part) for part in self._tensor(X).split(64)])
        return np.asarray(self.classes_[outputs.argmax(1).numpy()])

    def _tensor(self, X: Array) -> torch.Tensor:
        return torch.from_numpy((X - self.mean_) / self.std_).float()


def eeg_net(name: str, fold: Fold, seed: int, max_epochs: int | None) -> Pipeline:
    """Build a network of braindecode: 100 epochs, at the rate of its kernels or a higher one for short cases."""
    module = getattr(import_module("braindecode.models"), name)
    rate, fewest, learning_rate, weight_decay = EEG_NETS[name]
    rate = max(rate, int(np.ceil(fewest * fold.sfreq / fold.n_times)))
    net = NetClassifier(
        partial(braindecode_network, module),
        n_epochs=max_epochs or 100,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        standardize=True,
        seed=seed,
    )
    return make_pipeline(FunctionTransformer(partial(at_rate, rate=rate)), net)


def at_rate(X: Signals, rate: float) -> Array:
    """Resample cases of one length to a rate [Hz]: (n_samples, n_channels, n_times)."""
    return X.resample(rate).to_numpy()


def braindecode_network(module: Any, shape: torch.Size, n_classes: int) -> nn.Module:
    """Build a network for cases of shape (n_channels, n_times)."""
    return module(n_chans=shape[0], n_times=shape[1], n_outputs=n_classes)


def log_mel_net(sfreq: float, n_times: int, *, seed: int = 0, n_epochs: int = 80) -> Pipeline:
    """Build a convolutional network of 94,000 weights on 40 log-mel energies every 10 ms, padded to n_times."""
    net = NetClassifier(
        log_mel_network,
        n_epochs=n_epochs,
        learning_rate=3e-3,
        weight_decay=0.01,
        one_cycle=True,
        most_shift=10,  # 0.1 s
        seed=seed,
    )
    return make_pipeline(FunctionTransformer(partial(log_mel, sfreq=sfreq, n_times=n_times)), net)


def log_mel_network(shape: torch.Size, n_classes: int) -> nn.Module:
    """Build the layers for inputs of shape (1, 40, n_frames)."""
    layers = [nn.Conv2d(1, 32, 5, stride=2, padding=2), nn.BatchNorm2d(32), nn.ReLU()]
    for n_in in (32, 64):
        layers += [nn.Conv2d(n_in, 2 * n_in, 3, padding=1), nn.BatchNorm2d(2 * n_in), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, n_classes)]
    return nn.Sequential(*layers, *head)


def log_mel(X: Signals, sfreq: float, n_times: int) -> Array:
    """Return log energies (n_samples, 1, 40, n_frames): 0 is the maximum of a case, -1 is 60 dB below.

    Words are padded with zeros to n_times, or to the longest word.
    """
    words = waveforms(X, sfreq)
    longest = max(n_times, *(len(word) for word in words))
    sizes = {"n_fft": round(0.032 * sfreq), "hop_length": round(0.010 * sfreq), "n_mels": 40}
    melspectrogram = import_module("librosa.feature").melspectrogram
    padded = np.stack([np.pad(word, (0, longest - len(word))) for word in words])
    mel = np.stack([melspectrogram(y=word, sr=sfreq, **sizes) for word in padded])[:, None]
    loudest = mel.max(axis=(1, 2, 3), keepdims=True) + 1e-30
    return np.asarray(np.log10(mel / loudest + 1e-6) / 6)


def waveforms(X: Signals, sfreq: float) -> list[npt.NDArray[np.float32]]:
    """Return each word as (n_times,), resampled to a rate [Hz], with missing samples interpolated."""
    words = X if np.allclose(X.sfreqs, sfreq) else X.resample(sfreq)
    return [filled(word.data[0]).astype(np.float32) for word in words]


def filled(x: Array) -> Array:
    """Interpolate missing samples of (n_times,) linearly."""
    missing = np.isnan(x)
    if not missing.any():
        return x
    at = np.arange(len(x))
    return np.interp(at, at[~missing], x[~missing])
