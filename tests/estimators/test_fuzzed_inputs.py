"""Whatever comes in, each estimator answers in numbers or refuses it in a clear line: soon, and without warnings."""

import itertools
import signal
import traceback
import warnings
from collections import Counter

import numpy as np
import pytest

from s4signal import S4Classifier, S4Regressor, S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.estimators import S4FilterBank, S4RandomFeatures

__all__: list[str] = []

LONGEST_S = 30.0  # of processor time, as other work on the machine is no fault; most take a twentieth of a second
SMALL = {"d_model": 4, "d_state": 4, "n_layers": 1, "max_epochs": 1, "random_state": 0}
OWN = ("s4signal/", "sklearn/utils/", "sklearn/base.py")  # whose errors are clear

FEW, THOUSANDS = 25, pytest.param(2500, marks=pytest.mark.stress)


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
}


def samples(rng, shape):
    """Draw what a recording may look like, of any size and offset."""
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


def moments(rng, n_times):
    """Draw times of samples: regular, random, in other units, of one moment, with a wrong clock."""
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


def cases(rng, n, n_channels):
    """Draw cases in any form that an array can have."""
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
    sfreq = rng.choice([None, None, 1e-6, 0.5, 50.0, 256.0, 8000.0, 44100.0, 1e7, 1e300])
    if rng.random() < 0.25:
        return Signals(X, times=[moments(rng, int(k)) for k in lengths], sfreq=sfreq if rng.random() < 0.3 else None)
    return Signals(X, sfreq=sfreq) if sfreq is not None or rng.random() < 0.3 else X


def targets(rng, estimator, n):
    if hasattr(estimator, "predict_proba"):
        names = rng.choice(["ab", "01", "xyz"])
        return np.array([names[i % len(names)] for i in range(n)])
    y = rng.standard_normal((n, int(rng.integers(1, 3)))) * 10.0 ** rng.choice([0, 0, 0, -300, -20, 20, 150, 300])
    return (y if rng.random() < 0.3 else y[:, 0]) * (rng.random() > 0.1)


def answers(rng, build):
    """Fit, perhaps go on, predict and stream; yield every answer."""
    n, n_channels = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    estimator, X = build(rng), cases(rng, n, n_channels)
    y, given = targets(rng, estimator, n), {}
    if rng.random() < 0.2 and not isinstance(estimator, S4FilterBank):
        given["sample_weight"] = rng.random(n) * 10.0 ** rng.choice([0, -6, 6, -300, 300]) * (rng.random(n) < 0.8)
    if rng.random() < 0.2 and hasattr(estimator, "predict"):
        given["groups"] = rng.integers(0, rng.choice([1, 2, 4]), n)
    if rng.random() < 0.2 and hasattr(estimator, "warm_start"):
        X_val = X if rng.random() < 0.3 else cases(rng, n, n_channels)
        given |= {"X_val": X_val, "y_val": y}
    estimator.fit(X, y, **given)
    for go_on in (estimator.fit, getattr(estimator, "partial_fit", estimator.fit)):
        if rng.random() < 0.1:
            go_on(*(X if rng.random() < 0.5 else cases(rng, n, n_channels), y))
    Z = X if rng.random() < 0.3 else cases(rng, int(rng.integers(1, 5)), n_channels)
    for name in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(estimator, name):
            yield getattr(estimator, name)(Z)
    if hasattr(estimator, "stream"):
        stream = estimator.stream()
        for case in Z if isinstance(Z, list) else []:
            yield stream.push(case)


def _stop(*_):
    raise TimeoutError(f"more than {LONGEST_S:g} s")


def fault(seed, build):
    """Say what is wrong with the answer to one input; nothing, if all is well."""
    rng = np.random.default_rng(seed)
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for answer in answers(rng, build):
                for part in answer if isinstance(answer, Signals) else [answer]:
                    part = getattr(part, "data", part) if isinstance(answer, Signals) else part
                    if part.dtype.kind == "f" and not np.isfinite(part).all():
                        return "an answer that is no number"
        except (ValueError, TypeError) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            if not any(path in frame.filename for path in OWN) or not str(error):
                return f"{type(error).__name__} from {frame.filename.split('site-packages/')[-1]}: {str(error)[:150]}"
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "s4signal/" in f.filename]
            where = f"{frames[-1].filename.split('s4signal/')[-1]}:{frames[-1].lineno}"
            return f"{type(error).__name__} at {where}: {str(error)[:150]}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    for warning in caught:
        if issubclass(warning.category, RuntimeWarning):
            where = f"{warning.filename.split('s4signal/')[-1]}:{warning.lineno}"
            return f"a bare {warning.category.__name__} at {where}: {str(warning.message)[:150]}"
    return None


@pytest.mark.parametrize("n", [FEW, THOUSANDS], ids=["a few", "thousands"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_any_input_is_answered_in_numbers_or_refused_in_a_clear_line(kind, n):
    found = ((seed, fault(seed, BUILDERS[kind])) for seed in range(n))
    faults = [(seed, text) for seed, text in found if text is not None]
    first = {text: seed for seed, text in reversed(faults)}
    counts = Counter(text for _, text in faults)
    lines = [f"{count} x (seed {first[text]}) {text}" for text, count in itertools.islice(counts.items(), 40)]
    assert not faults, "\n".join([f"{len(faults)} of {n}", *lines])
