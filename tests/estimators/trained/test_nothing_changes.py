"""predict does not change the model; a fit changes it completely at its end, or not at all."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from small_models import classifier, regressor, same_weights, waves

from s4signal import Signals
from s4signal.training import loop

X, Y = waves()
BOTH = pytest.mark.parametrize("make", [classifier, regressor])


def outputs(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def contents(model):
    """Return the attributes and the weights of an estimator for comparison."""
    weights = model.network_.state_dict() if hasattr(model, "network_") else {}
    rest = {k: v for k, v in vars(model).items() if k not in ("network_", "_copies", "_optimizer_state")}
    return repr(sorted(rest.items(), key=lambda item: item[0])), {k: v.numpy().tobytes() for k, v in weights.items()}


@BOTH
def test_changing_precision_and_back_gives_bit_identical_outputs(make):
    model = make(precision="64").fit(X, Y)
    before, state = outputs(model, X), contents(model)
    model.set_params(precision="32")
    assert not np.array_equal(outputs(model, X), before)
    model.set_params(precision="bf16").predict(X)
    assert next(model.network_.parameters()).dtype == torch.float64
    model.set_params(precision="64")
    np.testing.assert_array_equal(outputs(model, X), before)
    assert contents(model) == state


def test_predict_does_not_change_the_training_mode():
    model = classifier().fit(X, Y)
    before = outputs(model, X)
    model.network_.train()
    np.testing.assert_array_equal(outputs(model, X), before)
    assert model.network_.training


def test_predict_uses_manually_changed_weights():
    model = classifier().fit(X, Y)
    before = outputs(model, X)
    with torch.no_grad():
        model.network_.head.bias += torch.tensor([3.0, 0.0])
    changed = outputs(model, X)
    assert (changed[:, 0] > before[:, 0]).all()
    model.network_.head = torch.nn.Linear(8, 2).eval()
    assert not np.array_equal(outputs(model, X), changed)


def test_copies_for_inference_are_neither_pickled_nor_shared():
    model = classifier().fit(X, Y)
    size = len(pickle.dumps(model))
    before = outputs(model, X)
    assert len(pickle.dumps(model)) == size
    twin = copy.deepcopy(model)
    twin.fit(-X, Y)
    np.testing.assert_array_equal(outputs(model, X), before)


REFUSED = {
    "labels": lambda model: model.fit(X, np.full(len(Y), np.nan)),
    "weights": lambda model: model.fit(X, Y, sample_weight=-np.ones(len(Y))),
    "another class count": lambda model: model.fit(X[:, :1], np.zeros(len(Y)) if hasattr(model, "classes_") else Y[1:]),
    "channels": lambda model: model.set_params(kernel="lssl").fit(Signals(X, times=[np.arange(60.0) ** 1.1] * 24), Y),
    "no observation": lambda model: model.fit(Signals([*X[:-1], np.full((2, 9), np.nan)], sfreq=7.0), Y),
    "groups": lambda model: model.fit(X, Y, groups=[1, 2]),
    "validation": lambda model: model.fit(X, Y, X_val=X, y_val=Y[1:]),
    "a batch": lambda model: model.partial_fit(X[:, :1], Y),
}


@BOTH
@pytest.mark.parametrize("fails", REFUSED.values(), ids=REFUSED)
def test_failed_fit_leaves_the_model_unchanged(make, fails):
    model = make(sfreq=50.0).fit(X, Y)
    before, state = outputs(model, X), contents(model)[1]
    with pytest.raises(ValueError, match=r"(?s).+"):
        fails(model)
    np.testing.assert_array_equal(outputs(model, X), before)
    assert contents(model)[1] == state
    assert (model.sfreq_, model.n_channels_in_, model.n_features_in_, model.n_iter_) == (50.0, 2, 2, 2)
    assert not hasattr(make(), "network_")


@BOTH
@pytest.mark.parametrize("before", ["nothing", "a fit", "a warm start", "a batch"])
def test_interrupted_fit_leaves_the_model_unchanged(make, before, monkeypatch, tmp_path):
    model = make(max_epochs=5, warm_start=before == "a warm start")
    if before != "nothing":
        model.fit(X, Y)
        expected = outputs(model, X)
    real, calls = loop._Training._train, []

    def interrupted(self):
        calls.append(1)
        if len(calls) == (1 if before == "a batch" else 3):
            raise KeyboardInterrupt("pressed")
        return real(self)

    state = contents(model)
    monkeypatch.setattr(loop._Training, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        (model.partial_fit if before == "a batch" else model.fit)(100 * X + 7, Y)
    monkeypatch.undo()
    assert contents(model) == state
    if before == "nothing":
        with pytest.raises(NotFittedError, match="not fitted yet"):
            model.predict(X)
        return
    np.testing.assert_array_equal(outputs(model, X), expected)
    model.save(tmp_path / "model.s4")
    model.partial_fit(X, Y)
    assert len(model.history_) == model.n_iter_ == 6


@BOTH
def test_stream_keeps_the_model_that_created_it(make):
    model = make(bidirectional=False).fit(X, Y)
    stream, expected = model.stream(), outputs(model, X[:1])[0]
    stream.push(X[0, :, :30])
    model.set_params(precision="64", d_model=4).fit(50 * X + 3, 10 * Y)
    np.testing.assert_allclose(stream.push(X[0, :, 30:]), expected, atol=1e-5)


def test_threads_predict_the_same_while_another_model_is_fitted():
    model = classifier(precision="64").fit(X, Y)
    expected = outputs(model, X)
    model.set_params(precision="32")
    singles = outputs(model, X)
    with ThreadPoolExecutor(8) as pool:
        fits = [pool.submit(classifier(max_epochs=4).fit, X, Y) for _ in range(2)]
        futures = [pool.submit(outputs, model, X[i : i + 8]) for i in range(16)]
        for i, part in enumerate(futures):
            np.testing.assert_allclose(part.result(), singles[i : i + 8], atol=1e-6)
        assert same_weights(*(fit.result() for fit in fits))
    model.set_params(precision="64")
    np.testing.assert_array_equal(outputs(model, X), expected)
