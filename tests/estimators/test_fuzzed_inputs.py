"""For any input, an estimator returns finite numbers or raises a clear error: quickly, without warnings of NumPy."""

import functools
import itertools
import resource
import signal
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_models import waves

from s4signal import S4Classifier, S4Regressor, S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.estimators import S4Features, S4FilterBank, S4RandomFeatures

__all__: list[str] = []

LONGEST_S = 30.0  # processor time, which other processes do not affect; most inputs take 0.05 s
MOST_MEMORY = 2**32  # bytes above the present size of the process
SMALL = {"d_model": 4, "d_state": 4, "n_layers": 1, "max_epochs": 1, "random_state": 0}
OWN = ("s4signal/", "sklearn/utils/", "sklearn/base.py")  # errors raised in these files are clear

FEW, MANY, SHARES = 24, 10_000, 4
FITTED = 0.15  # share of the inputs to which a model is fitted; models fitted once predict the others
N_MODELS = 24


def network(kind):
    def build(rng):
        options = {
            "kernel": rng.choice(["s4d", "s4d", "s5", "s4", "lssl"]),
            "missing": rng.choice(["auto", "auto", "gap", "mask", "error"]),
            "frontend": rng.choice(["auto", "auto", "linear", "filterbank"]),
            "pooling": rng.choice(["mean", "max", "last"]),
            "precision": rng.choice(["32", "64"]),
            "bidirectional": bool(rng.integers(2)),
            "standardize": bool(rng.random() < 0.9),
            "readout": rng.choice(["auto", "closed_form", "pooled"]),
            "early_stopping": bool(rng.random() < 0.2) or "auto",
            "warm_start": bool(rng.random() < 0.2),
        }
        return kind(**SMALL, **{name: v.item() if isinstance(v, np.generic) else v for name, v in options.items()})

    return build


def closed_form(kind):
    return lambda rng: kind(
        n_oscillators=int(rng.integers(1, 12)), precision=str(rng.choice(["32", "64"])), random_state=0
    )


BUILDERS = {
    "classifier": network(S4Classifier),
    "regressor": network(S4Regressor),
    "ridge classifier": closed_form(S4RidgeClassifier),
    "ridge regressor": closed_form(S4RidgeRegressor),
    "random features": closed_form(S4RandomFeatures),
    "filter bank": lambda rng: S4FilterBank(
        n_bands=int(rng.integers(1, 6)), output=str(rng.choice(["log", "power", "pcen", "linear"])), random_state=0
    ),
    "features": lambda rng: S4Features(network(S4Regressor)(rng)),
}


def samples(rng, shape):
    """Draw samples of a random kind, amplitude and offset."""
    n_times, kind = shape[-1], rng.integers(9)
    X = [
        lambda: rng.standard_normal(shape),
        lambda: np.zeros(shape),
        lambda: np.cumsum(rng.standard_normal(shape), -1),
        lambda: np.broadcast_to((-1.0) ** np.arange(n_times), shape).copy(),
        lambda: np.broadcast_to(np.arange(n_times) / n_times, shape).copy(),
        lambda: (rng.random(shape) < 0.02).astype(float),
        lambda: rng.integers(-5, 5, shape).astype(float),
        lambda: np.sin(0.3 * np.arange(n_times) + rng.uniform(0, 6, (*shape[:-1], 1))),
        lambda: rng.standard_cauchy(shape) ** 3,
    ][kind]()
    if rng.random() < 0.3:
        X[..., int(rng.integers(shape[-2]) if len(shape) > 1 else 0), :] = rng.choice([0.0, 7.0, 1e-300])
    with np.errstate(all="ignore"):
        if rng.random() < 0.3:
            X = X * 10.0 ** rng.choice([-320, -300, -160, -40, -20, -6, 3, 6, 15, 18, 30, 38, 40, 150, 160, 300])
        if rng.random() < 0.2:
            X = X + rng.choice([1e-3, 1.0, 1e6, 1e12, 1e18, 1e300])
        if rng.random() < 0.1:
            X.reshape(-1)[rng.integers(X.size)] *= rng.choice([1e6, 1e20, 1e100, 1e308])
    return X


def with_holes(rng, X):
    kind = rng.integers(12)
    if kind == 0:
        X[rng.random(X.shape) < rng.choice([0.01, 0.3, 0.9, 0.999])] = np.nan
    elif kind == 1:
        X[..., int(rng.integers(X.shape[-2])), :] = np.nan
    elif kind == 2:
        X[..., int(rng.integers(X.shape[-1])) :] = np.nan
    elif kind == 3:
        X[..., int(rng.integers(X.shape[-1]))] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == 4:
        X[int(rng.integers(len(X)))] = np.nan
    return X


def sample_times(rng, n_times):
    """Draw sample times: regular, random, in other units, all equal, or with a wrong clock."""
    t = np.arange(n_times) / rng.choice([1e-4, 1.0, 50.0, 256.0, 44100.0])
    kind = rng.integers(9)
    if kind == 0:
        t = np.sort(rng.uniform(0, max(t[-1], 1e-9), n_times))
    elif kind == 1:
        t = 1000 * t
    elif kind == 2:
        t = t + 1.7e9
    elif kind == 3:
        t = np.zeros(n_times) + 1.7e9
    elif kind == 4:
        t[1:] += 1.7e9
    elif kind == 5:
        t = np.repeat(t, 2)[:n_times]
    elif kind == 6:
        t = np.sort(10.0 ** rng.uniform(-12, 12, n_times))
    elif kind == 7:
        t = t.astype(np.float32)
    return t


def cases(rng, n, n_channels, sfreq=None):
    """Draw cases as an array, a list or Signals; most of them have a rate that suits ``sfreq``."""
    lengths = rng.choice([1, 2, 3, 5, 17, 32, 64, 128, 160, 200], n)
    if rng.random() < 0.6:
        lengths[:] = lengths[0]
    same = bool((lengths == lengths[0]).all())
    if same:
        X = with_holes(rng, samples(rng, (n, n_channels, int(lengths[0]))))
        X = list(X) if rng.random() < 0.5 else X
    else:
        X = [with_holes(rng, samples(rng, (1, n_channels, int(k))))[0] for k in lengths]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(X, np.ndarray):
            kinds = (
                ["<f8"] * 8 + ["<f4"] * 4 + ["<f2", ">f8", ">f4", "<i2", "u1", "?", "<i8", "O", "<c16", "<U8", "<M8[s]"]
            )
            X = X.astype(rng.choice(kinds))
            form = rng.integers(8)
            if form == 0 and n_channels == 1:
                X = X[:, 0]
            elif form == 1:
                X = np.asfortranarray(X)
            elif form == 2:
                X = X[:, :, ::-1]
            elif form == 3 and X.dtype.kind in "fiu":
                X = np.ma.array(X, mask=rng.random(X.shape) < 0.1)
            elif form == 4:
                X.flags.writeable = False
        elif rng.random() < 0.2:
            X = [case.astype(np.float32) for case in X]
    drawn = rng.choice([None, None, 1e-6, 0.5, 50.0, 256.0, 8000.0, 44100.0, 1e7, 1e300])
    sfreq = drawn if sfreq is None or rng.random() < 0.2 else sfreq * rng.choice([0.1, 0.5, 1.0, 1.0, 1.0, 2.0, 20.0])
    if rng.random() < 0.25:
        return Signals(
            X, times=[sample_times(rng, int(k)) for k in lengths], sfreq=sfreq if rng.random() < 0.3 else None
        )
    return Signals(X, sfreq=sfreq) if sfreq is not None or rng.random() < 0.3 else X


def targets(rng, estimator, n):
    if hasattr(estimator, "predict_proba"):
        names = rng.choice(["ab", "01", "xyz"])
        return np.array([names[i % len(names)] for i in range(n)])
    y = rng.standard_normal((n, int(rng.integers(1, 3)))) * 10.0 ** rng.choice([0, 0, 0, -300, -20, 20, 150, 300])
    return (y if rng.random() < 0.3 else y[:, 0]) * (rng.random() > 0.1)


def fitted_to(rng, estimator, n, n_channels):
    """Fit to random cases; sometimes call fit or partial_fit again."""
    X = cases(rng, n, n_channels)
    y, given = targets(rng, estimator, n), {}
    predicts = hasattr(estimator, "score")
    if rng.random() < 0.2 and (predicts or isinstance(estimator, S4RandomFeatures)):
        given["sample_weight"] = rng.random(n) * 10.0 ** rng.choice([0, -6, 6, -300, 300]) * (rng.random(n) < 0.8)
    if rng.random() < 0.2 and predicts:
        given["groups"] = rng.integers(0, rng.choice([1, 2, 4]), n)
    if rng.random() < 0.2 and hasattr(estimator, "warm_start"):
        X_val = X if rng.random() < 0.3 else cases(rng, n, n_channels)
        given |= {"X_val": X_val, "y_val": y}
    estimator.fit(X, y, **given)
    for fit_again in (estimator.fit, getattr(estimator, "partial_fit", estimator.fit)):
        if rng.random() < 0.1:
            fit_again(*(X if rng.random() < 0.5 else cases(rng, n, n_channels), y))
    return estimator, X


@functools.cache
def fitted_once(kind, index):
    """Fit to plain signals; the index selects a rate, times, an audio rate or none of them."""
    rng, y = np.random.default_rng(index), np.arange(8) % 2
    X = waves(8, n_channels=1 + index % 3, n_times=128, seed=index)[0]
    how = [{"sfreq": 50.0}, {}, {"times": [np.arange(128.0) ** 1.1 / 60] * 8}, {"sfreq": 8000.0}][index % 4]
    while True:
        estimator = BUILDERS[kind](rng)
        try:
            signals = Signals(X, **how)
            return estimator.fit(signals, y)
        except ValueError:  # incompatible options
            continue


def outputs(rng, kind):
    """Fit a model or take a fitted one; predict and stream; yield every output."""
    n, n_channels = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    if rng.random() < FITTED:
        estimator, X = fitted_to(rng, BUILDERS[kind](rng), n, n_channels)
        Z = X if rng.random() < 0.3 else cases(rng, int(rng.integers(1, 5)), n_channels)
    else:
        estimator = fitted_once(kind, int(rng.integers(N_MODELS)))
        used = (n_channels if rng.random() < 0.05 else estimator.n_channels_in_), estimator.sfreq_
        Z = cases(rng, int(rng.integers(1, 5)), *used)
    for name in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(estimator, name):
            yield getattr(estimator, name)(Z)
    if hasattr(estimator, "stream"):
        stream = estimator.stream()
        for case in Z if isinstance(Z, list | np.ndarray) else []:
            yield stream.push(case)


def finite(output):
    """Whether all numbers of an output are finite."""
    parts = [case.data for case in output] if isinstance(output, Signals) else [output]
    return all(part.dtype.kind != "f" or np.isfinite(part).all() for part in parts)


def _stop(*_):
    raise TimeoutError(f"more than {LONGEST_S:g} s")


@contextmanager
def bounded():
    """Bound processor time and memory."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, before[1]))
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)


def fault(seed, kind):
    """Return a description of the fault for one input, or None if there is none, and the number of outputs."""
    rng, n_outputs = np.random.default_rng(seed), 0
    with bounded(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for output in outputs(rng, kind):
                n_outputs += 1
                if not finite(output):
                    return "a non-finite output", n_outputs
        except (ValueError, TypeError) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            if not any(path in frame.filename for path in OWN) or not str(error):
                where = frame.filename.split("site-packages/")[-1]
                return f"{type(error).__name__} from {where}: {str(error)[:150]}", n_outputs
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "s4signal/" in f.filename]
            where = f"{frames[-1].filename.split('s4signal/')[-1]}:{frames[-1].lineno}" if frames else "the test"
            return f"{type(error).__name__} at {where}: {str(error)[:150]}", n_outputs
    for warning in caught:
        if issubclass(warning.category, RuntimeWarning):
            where = f"{warning.filename.split('s4signal/')[-1]}:{warning.lineno}"
            text = f"a bare {warning.category.__name__} at {where}: {str(warning.message)[:150]}"
            return text, n_outputs
    return None, n_outputs


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(FEW), id="a few"),
        *(pytest.param(range(i, MANY, SHARES), marks=pytest.mark.stress, id=f"share {i}") for i in range(SHARES)),
    ],
)
@pytest.mark.parametrize("kind", BUILDERS)
def test_any_input_gives_finite_outputs_or_a_clear_error(kind, seeds):
    found = [(seed, *fault(seed, kind)) for seed in seeds]
    faults = [(seed, text) for seed, text, _ in found if text is not None]
    first = {text: seed for seed, text in reversed(faults)}
    counts = Counter(text for _, text in faults)
    lines = [f"{count} x (seed {first[text]}) {text}" for text, count in itertools.islice(counts.items(), 40)]
    assert not faults, "\n".join([f"{len(faults)} of {len(seeds)}", *lines])
    n_predicted = sum(n > 0 for _, _, n in found)
    print(f"{kind}: {n_predicted} of {len(seeds)} predicted")
    # A filter bank needs longer cases than many of these.
    assert n_predicted > len(seeds) / (20 if kind == "filter bank" else 4)
