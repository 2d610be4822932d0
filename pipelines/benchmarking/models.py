"""Models of the benchmarks: those of this package, and others if their packages are installed."""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from benchmarking.nets import EEG_NETS, eeg_net, log_mel_net, waveforms
from benchmarking.sets import Fold, bandpass
from s4signal import S4Classifier, S4Regressor, Signals
from s4signal.estimators import S4RidgeClassifier, S4RidgeRegressor

__all__ = ["MODELS", "Model", "installed", "n_parameters"]

Array = npt.NDArray[Any]
Build = Callable[[Fold, int, int | None], Any]  # from a fold, a seed and the maximum number of epochs to a model
BANDS = tuple((low, low + 4) for low in range(4, 40, 4))  # of the filter bank for EEG, in Hz


class Model(NamedTuple):
    """A row of the tables: package, kinds of data, and a function that builds the model.

    A model that is not ``seeded`` is fitted once; one that is not ``shown`` runs only if it is named.
    """

    package: str
    kinds: tuple[str, ...]
    build: Build
    seeded: bool = True
    shown: bool = True

    @property
    def version(self) -> str:
        """Return the version of the package."""
        return version(self.package)


def installed(model: Model) -> bool:
    """Return whether the package of a model is installed."""
    return find_spec(model.package) is not None


def s4(estimator: Any, fold: Fold, seed: int, max_epochs: int | None, **options: Any) -> Any:
    """Build a trained model of this package, with default settings except for the given options."""
    if max_epochs is not None:
        options["max_epochs"] = max_epochs
    return estimator(random_state=seed, **options)


def ridge(estimator: Any, fold: Fold, seed: int, max_epochs: int | None) -> Any:
    """Build a model in closed form of this package."""
    return estimator(random_state=seed)


def average(fold: Fold, seed: int, max_epochs: int | None) -> VotingClassifier:
    """Build a classifier with the mean probabilities of both."""
    members = [
        ("closed form", S4RidgeClassifier(random_state=seed)),
        ("trained", s4(S4Classifier, fold, seed, max_epochs)),
    ]
    return VotingClassifier(members, voting="soft")


def rocket(name: str, fold: Fold, seed: int, max_epochs: int | None) -> Pipeline:
    """Build a ROCKET model of aeon; unequal lengths are padded with zeros."""
    task = "Regressor" if fold.y_train.dtype.kind == "f" else "Classifier"
    first = fold.X_train[0].data
    model = compiled(name, task, min(len(first), 2), first.dtype)(random_state=seed, n_jobs=torch.get_num_threads())
    return make_pipeline(FunctionTransformer(partial(padded, n_times=fold.n_times)), model)


@cache
def compiled(name: str, task: str, n_channels: int, dtype: np.dtype[Any]) -> Any:
    """Return a class of aeon after compiling its functions, so that compilation is not timed."""
    module = "regression" if task == "Regressor" else "classification"
    rocket = getattr(import_module(f"aeon.{module}.convolution_based"), name + task)
    noise, classes = np.random.default_rng(0).random((10, n_channels, 100)).astype(dtype), np.arange(10) % 2
    rocket(n_jobs=torch.get_num_threads()).fit(noise, noise[:, 0, 0] if task == "Regressor" else classes).predict(noise)
    return rocket


def padded(X: Signals, n_times: int) -> Array:
    """Return (n_samples, n_channels, n_times), padded with zeros at the end of each case."""
    return np.stack([np.pad(x.data, ((0, 0), (0, n_times - x.data.shape[1]))) for x in X])


def xdawn_tangent(fold: Fold, seed: int, max_epochs: int | None) -> Pipeline:
    """Build a logistic regression on the tangent space of covariances with Xdawn prototypes."""
    covariances = import_module("pyriemann.estimation").XdawnCovariances(2, estimator="oas", xdawn_estimator="oas")
    space = import_module("pyriemann.tangentspace").TangentSpace()
    return make_pipeline(FunctionTransformer(arrays), covariances, space, LogisticRegression(max_iter=1000))


def bands_tangent(fold: Fold, seed: int, max_epochs: int | None) -> Pipeline:
    """Build a logistic regression on the tangent spaces of the covariances in all bands."""
    covariances = import_module("pyriemann.estimation").Covariances
    space = import_module("pyriemann.tangentspace").TangentSpace
    bands = [(low, high) for low, high in BANDS if high < fold.sfreq / 2]
    filters = [FunctionTransformer(partial(bandpass, low=low, high=high, sfreq=fold.sfreq)) for low, high in bands]
    bank = make_union(*(make_pipeline(one, covariances("oas"), space()) for one in filters))
    return make_pipeline(FunctionTransformer(arrays), bank, LogisticRegression(max_iter=1000))


def arrays(X: Signals) -> Array:
    """Return cases of one length as (n_samples, n_channels, n_times)."""
    return X.to_numpy()


def mfcc_svm(fold: Fold, seed: int, max_epochs: int | None) -> Pipeline:
    """Build an SVM on MFCC averaged over fifths of each word."""
    return make_pipeline(FunctionTransformer(partial(mfcc_means, sfreq=fold.sfreq)), StandardScaler(), SVC(C=10))


def mfcc_means(X: Signals, sfreq: float) -> npt.NDArray[np.float64]:
    """Average 13 MFCC over fifths of each word, with windows of 32 ms every 10 ms."""
    sizes = {"n_fft": round(0.032 * sfreq), "hop_length": round(0.010 * sfreq)}
    mfcc = partial(import_module("librosa.feature").mfcc, sr=sfreq, n_mfcc=13, n_mels=40, **sizes)
    words = [np.array_split(mfcc(y=word), 5, axis=1) for word in waveforms(X, sfreq)]
    return np.array([[part.mean(1) for part in word] for word in words]).reshape(len(X), -1)


def mel_net(fold: Fold, seed: int, max_epochs: int | None) -> Pipeline:
    """Build the convolutional network on log-mel energies."""
    import_module("librosa.feature").melspectrogram  # noqa: B018 - a lazy import, not timed
    return log_mel_net(fold.sfreq, int(fold.X_train.lengths.max()), seed=seed, n_epochs=max_epochs or 80)


LABELS = ("EEG", "vowels", "speech")
# The default changes of energies, and each change of samples in a quarter of the augmented copies.
AUGMENTED = {
    **{name: {} for name in ("band_shift", "band_dropout", "silence_padding")},
    **{name: {"share": 0.25} for name in ("noise", "babble", "room", "clipping", "sample_dropout")},
}
POOLED = {"readout": "pooled"}  # the layers alone
CHANGES = {  # of one default at a time
    "mean pooling": {"pooling": "mean"},
    "linear": {"frontend": "linear"},
    "band power": {"frontend": "band_power"},
    "64 x 4": {"d_model": 64, "n_layers": 4, "d_state": 64},
}
MODELS = {
    "S4RidgeClassifier": Model("s4signal", LABELS, partial(ridge, S4RidgeClassifier)),
    "S4RidgeRegressor": Model("s4signal", ("PPG",), partial(ridge, S4RidgeRegressor)),
    "S4Classifier": Model("s4signal", LABELS, partial(s4, S4Classifier)),
    "S4Regressor": Model("s4signal", ("PPG",), partial(s4, S4Regressor)),
    "S4 average": Model("s4signal", LABELS, average, shown=False),
    **{
        f"S4Classifier, {name}": Model("s4signal", ("EEG",), partial(s4, S4Classifier, **options), shown=False)
        for name, options in {**CHANGES, **{f"pooled, {k}": {**POOLED, **v} for k, v in CHANGES.items()}}.items()
    },
    "S4Classifier, pooled": Model("s4signal", ("EEG",), partial(s4, S4Classifier, **POOLED), shown=False),
    "S4Classifier, augmented": Model(
        "s4signal", ("speech",), partial(s4, S4Classifier, augmentation=AUGMENTED), shown=False
    ),
    "S4Classifier, linear": Model(
        "s4signal", ("EEG", "speech"), partial(s4, S4Classifier, frontend="linear"), shown=False
    ),
    **{name: Model("braindecode", ("EEG",), partial(eeg_net, name)) for name in EEG_NETS},
    **{name: Model("aeon", (*LABELS, "PPG"), partial(rocket, name)) for name in ("MiniRocket", "MultiRocketHydra")},
    "Xdawn tangent space": Model("pyriemann", ("EEG",), xdawn_tangent, seeded=False),
    "bands tangent space": Model("pyriemann", ("EEG",), bands_tangent, seeded=False),
    "MFCC + SVM": Model("librosa", ("speech",), mfcc_svm, seeded=False),
    "log-mel net": Model("librosa", ("speech",), mel_net),
}


def n_parameters(model: Any) -> int:
    """Count the weights of a network or the coefficients of the final linear model; 0 if unknown."""
    if model is None:
        return 0
    if isinstance(model, torch.nn.Module):
        return sum(weights.numel() for weights in model.parameters())
    for coef, intercept in (("coef_", "intercept_"), ("coef", "intercept")):
        if hasattr(model, coef):
            return int(np.size(getattr(model, coef)) + np.size(getattr(model, intercept)))
    if isinstance(model, Pipeline):
        return n_parameters(model[-1])
    inner = [getattr(model, name) for name in ("network_", "ridge_", "pipeline_", "classifier") if hasattr(model, name)]
    return sum(map(n_parameters, inner or getattr(model, "estimators_", ())))
