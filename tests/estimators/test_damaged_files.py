"""Damaged model files raise ModelFileError, quickly and with little memory, or still give a complete model."""

import json
import resource
import time
import warnings

import numpy as np
import pytest
from small_models import classifier, regressor, waves

from s4signal import S4RidgeClassifier, S4RidgeRegressor
from s4signal.errors import ModelFileError
from s4signal.training.tensor_file import read_tensor_file, write_tensor_file

__all__: list[str] = []

CLOSED_FORM = {"n_oscillators": 8, "random_state": 0}
KINDS = {
    "classifier": lambda: classifier(),
    "regressor": lambda: regressor(missing="mask"),
    "audio": lambda: classifier(sfreq=8000.0, frontend="filterbank", bidirectional=False),
    "network with a readout": lambda: classifier(max_epochs=1, readout="closed_form"),
    "ridge classifier": lambda: S4RidgeClassifier(**CLOSED_FORM),
    "ridge regressor": lambda: S4RidgeRegressor(**CLOSED_FORM, sfreq=50.0),
}
VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 7, 10**5, 2**31, 2**63, 10**30, -1e-300, 0.5, 1e300, float("nan"), float("inf"),
    "", "x", "s5", "auto", "legs", "<U2000000000", "O", "f8", "../../x", [], [0], ["a", "b"], [1, 2, 3], [[]], {},
    {"dtype": "<U9", "values": ["a"]}, {"dtype": "<i8", "values": [2**70]}, [None] * 50, {"a": {"b": {}}},
]  # fmt: skip
LONGEST_LOAD_S = 10.0  # on a busy machine; a complete load takes a hundredth of it

each_share = pytest.mark.parametrize(
    "n", [30, pytest.param(2000, marks=pytest.mark.stress)], ids=["a few", "thousands"]
)
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder, (X, y) = tmp_path_factory.mktemp("models"), waves(n_times=160)
    for name, build in KINDS.items():
        build().fit(X, y).save(folder / name)
    return folder


def nodes(value, found=()):
    """List every container in a header with each of its keys."""
    found = list(found)
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        found += [(value, key) for key in keys]
        for key in keys:
            found = nodes(value[key], found)
    return found


def mutate_header(header, rng):
    places = nodes(header)
    place, key = places[rng.integers(len(places))]
    action = rng.integers(5)
    if action == 0:
        del place[key]
    elif action == 1 and isinstance(place, list):
        place.append(place[key])
    elif action == 2:
        other, name = places[rng.integers(len(places))]
        place[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else other[name]))
    elif action == 3 and isinstance(place[key], int | float):
        place[key] = place[key] * int(rng.integers(-3, 10**4))
    else:
        place[key] = VALUES[rng.integers(len(VALUES))]


def mutate_array(arrays, rng):
    names = list(arrays)
    name, other = (names[i] for i in rng.integers(len(names), size=2))
    action = rng.integers(6)
    if action == 0:
        del arrays[name]
    elif action == 1:
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif action == 2:
        arrays[name] = arrays[name][..., :-1] if arrays[name].ndim else np.ones(3)
    elif action == 3:
        arrays[name] = arrays[name].astype(rng.choice(["<f4", "<f8", "<i8", "u1", "?"]))
    elif action == 4:
        arrays[name + rng.choice(["", ".", "x"])] = np.full_like(arrays[name], 1)
    elif arrays[name].size:
        array = arrays[name].copy()
        worst = [np.nan, np.inf, -np.inf, 1e30, -1.0, 0.0] if array.dtype.kind == "f" else [0, 1]
        array.reshape(-1)[rng.integers(array.size)] = rng.choice(worst)
        arrays[name] = array


def outcome(kind, path, X):
    """Load a file and predict with the model; return the outcome."""
    estimator, started = type(KINDS[kind]()), time.perf_counter()
    try:
        model = estimator.load(path)
    except ModelFileError:
        return "refused"
    finally:
        assert time.perf_counter() - started < LONGEST_LOAD_S
    predict = getattr(model, "predict_proba", model.predict)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.isfinite(predict(X)).all()
    except ValueError:
        return "refused at prediction"
    return "predicted"


@each_kind
@each_share
def test_changed_bytes_are_always_refused(kind, n, saved, tmp_path):
    rng, content = np.random.default_rng(1), (saved / kind).read_bytes()
    n_header = int.from_bytes(content[:8], "little") + 8
    padding = n_header - len(content[:n_header].rstrip(b" "))
    for _ in range(n):
        changed, action = bytearray(content), rng.integers(4)
        at = rng.integers(len(content))
        if n_header - padding <= at < n_header:
            continue  # padding between header and arrays, which is not read
        if action == 0:
            changed[at] ^= 1 << rng.integers(8)
        elif action == 1:
            del changed[at:]
        elif action == 2:
            changed[at:at] = rng.bytes(int(rng.integers(1, 20)))
        else:
            changed[at : at + 64] = rng.bytes(len(changed[at : at + 64]))
        (tmp_path / "a").write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"damaged|not a model"):
            type(KINDS[kind]()).load(tmp_path / "a")


@each_kind
@each_share
def test_a_changed_header_or_array_is_refused_or_harmless(kind, n, saved, tmp_path):
    X, _ = waves(4, n_times=160)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(n):
        rng = np.random.default_rng(seed)
        arrays, text = read_tensor_file(saved / kind, kind="model")
        header = json.loads(text)
        for _ in range(rng.integers(1, 4)):
            if rng.random() < 0.7:
                mutate_header(header, rng)
            else:
                mutate_array(arrays, rng)
        write_tensor_file(tmp_path / "a", arrays, json.dumps(header), kind="model")
        try:
            outcome(kind, tmp_path / "a", X)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__} {error}") from error
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000, f"{grown} kB"


def test_sizes_of_more_networks_than_weights_are_refused_before_they_are_built(tmp_path):
    X, y = waves(n_channels=1, n_times=160)
    classifier(sfreq=8000.0, frontend="filterbank", d_model=6, n_networks=1).fit(X, y).save(tmp_path / "a")
    arrays, text = read_tensor_file(tmp_path / "a", kind="model")
    assert text.count('"d_model": 6') == 2  # the parameter and the plan
    text = text.replace('"d_model": 6', '"d_model": 1').replace('"n_networks": 1', '"n_networks": 6')
    write_tensor_file(tmp_path / "a", arrays, text, kind="model")
    with pytest.raises(ModelFileError, match=r"blocks.0.mix.weight has shape .12, 6. .* must have shape .12, 1."):
        type(classifier()).load(tmp_path / "a")
