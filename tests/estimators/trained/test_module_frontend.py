"""A torch module as front end: training, clone, files, describe, and early errors for invalid modules."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from small_models import classifier, regressor, same_weights, waves
from torch import nn

from s4signal import S4Classifier, S4Regressor, Signals
from s4signal.errors import ModelFileError, ShapeError
from s4signal.nn import FilterBank, Frames, S4Backbone, space_bands

__all__: list[str] = []

SFREQ = 100.0


class Strided(nn.Module):
    """A convolution every four samples, (batch, n_times, n_channels) to (batch, n_hops, 6)."""

    def __init__(self, n_channels=2, kernel=8, hop_s=0.04, *, frozen=False):
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv1d(n_channels, 6, kernel, stride=4)
        self.hop_s = hop_s
        self.requires_grad_(not frozen)

    def forward(self, x):
        return torch.tanh(self.conv(x.mT)).mT


class FunctionModule(nn.Module):
    """Applies a function to its input."""

    def __init__(self, function, hop_s=0.04):
        super().__init__()
        self.function, self.hop_s = function, hop_s

    def forward(self, x):
        return self.function(x)


def bank(**options):
    frequencies, bandwidths = space_bands("linear", 6, 2.0, 30.0)
    return FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.05, **options)


def fitted(frontend, **changes):
    X, y = waves()
    return classifier(frontend=frontend, sfreq=SFREQ, **changes).fit(X, np.array(["slow", "fast"])[y])


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("frozen", [False, True])
def test_module_is_trained_unless_frozen(frozen):
    module = Strided(frozen=frozen)
    before = weights_of(module)
    model = fitted(module, max_epochs=30)
    assert model.score(waves()[0], np.array(["slow", "fast"])[waves()[1]]) > 0.8
    after = model.network_.frontend.module.state_dict()
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())  # the parameter
    assert all(torch.equal(after[name], value) == frozen for name, value in before.items())  # its copy
    assert model.network_.head.weight.requires_grad


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_fit_is_reproducible_and_works_with_clone_and_pickle(make, frozen):
    X, y = waves()
    model = make(frontend=Strided(frozen=frozen), sfreq=SFREQ).fit(X, y)
    again = clone(model).fit(X, y)
    assert same_weights(model, again)
    assert isinstance(again.get_params()["frontend"], Strided)
    assert again.frontend is not model.frontend
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_module_works_in_cross_validation():
    X, y = waves(40)
    model = classifier(frontend=Strided(), sfreq=SFREQ, max_epochs=30)
    assert cross_val_score(model, X, y, cv=2).mean() > 0.9


@pytest.mark.parametrize("frozen", [False, True])
def test_prediction_of_a_case_does_not_depend_on_the_other_cases(frozen):
    X, y = waves()
    cases = [case[:, : 40 + i] for i, case in enumerate(X)]
    model = classifier(frontend=Strided(frozen=frozen), sfreq=SFREQ, precision="64").fit(cases, y)
    together = model.predict_proba(cases)
    alone = np.concatenate([model.predict_proba(Signals([case], sfreq=SFREQ)) for case in cases])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    network = model.network_
    x = torch.from_numpy(np.stack([np.pad(case, ((0, 0), (0, 63 - case.shape[1]))) for case in cases], 1))
    lengths = torch.tensor([case.shape[1] for case in cases])
    signals = Frames(x, (torch.arange(63) < lengths[:, None]).double())
    mask = network.frontend.features(signals).mask
    assert mask.sum(1).tolist() == [(n - 8) // 4 + 1 for n in lengths.tolist()]


def test_backbone_of_this_package_works_as_front_end():
    torch.manual_seed(0)
    backbone = S4Backbone(d_input=2, d_model=4, n_layers=1, d_state=4)
    backbone.hop_s = 1 / SFREQ
    model = fitted(backbone, bidirectional=False)
    assert model._plan.n_features == 4
    assert np.isfinite(model.predict_proba(waves()[0])).all()


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("output", ["log", "linear"])
def test_filter_bank_module_works_as_front_end(learnable, output):
    module = bank(learnable=learnable, output=output)
    model = fitted(module, max_epochs=30)
    X, y = waves()
    assert model.score(X, np.array(["slow", "fast"])[y]) == 1.0
    moved = (model.network_.frontend.bank.frequencies_hz - module.frequencies_hz).abs().max().item()
    assert (moved > 1e-4) == learnable
    half = model.predict_proba(X[:, :, ::2], sfreq=SFREQ / 2)
    assert np.isfinite(half).all()
    what = "band signals" if output == "linear" else "gammatone energies"
    assert f"module: 6 {what} " in model.describe()
    assert (" Hz every 50 ms, learned with the rest\n" in model.describe()) == learnable


def test_causal_model_with_a_filter_bank_module_streams():
    model = fitted(bank(learnable=True), bidirectional=False)
    X, _ = waves()
    stream = model.stream()
    for chunk in np.array_split(X[0], 7, axis=1):
        output = stream.push(chunk)
    np.testing.assert_allclose(output, model.predict_proba(X[:1])[0], atol=1e-5)


def test_stream_of_a_general_module_is_refused():
    with pytest.raises(ValueError, match="needs whole cases, not pieces"):
        fitted(Strided(), bidirectional=False).stream()


def test_times_and_missing_samples_are_put_on_a_grid():
    X, y = waves()
    t = np.arange(60) / SFREQ
    model = classifier(frontend=Strided(), precision="64").fit(Signals(X, times=[t] * len(X), sfreq=SFREQ), y)
    X[0, :, 17] = np.nan
    kept = np.delete(np.arange(60), 17)
    missing = model.predict_proba(Signals(X[:1], sfreq=SFREQ))
    left_out = model.predict_proba(Signals(X[:1, :, kept], times=[t[kept]], sfreq=SFREQ))
    np.testing.assert_allclose(missing, left_out, atol=1e-9)


def test_describe_names_the_module():
    assert "module: Strided, 6 features every 40 ms, learned with the rest" in fitted(Strided()).describe()
    assert "6 features every 40 ms\n" in fitted(Strided(frozen=True)).describe()


@pytest.mark.parametrize("make", [Strided, lambda: Strided(frozen=True), bank, lambda: bank(learnable=True)])
def test_loading_needs_the_module_and_restores_its_weights(make, tmp_path):
    X, _ = waves()
    model = fitted(make())
    model.save(tmp_path / "a.s4")
    with pytest.raises(ModelFileError, match="was fitted with a custom front end; pass frontend=, a torch module"):
        S4Classifier.load(tmp_path / "a.s4")
    loaded = S4Classifier.load(tmp_path / "a.s4", frontend=make())
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.describe() == model.describe()
    assert same_weights(loaded.fit(X, model.classes_[waves()[1]]), model.fit(X, model.classes_[waves()[1]]))


def test_another_module_than_the_fitted_one_is_refused_at_load(tmp_path):
    fitted(Strided()).save(tmp_path / "a.s4")
    with pytest.raises(ModelFileError, match=r"size mismatch for frontend\.module.conv.weight"):
        S4Classifier.load(tmp_path / "a.s4", frontend=Strided(kernel=5))
    with pytest.raises(ModelFileError, match=r"Missing key|Unexpected key"):
        S4Classifier.load(tmp_path / "a.s4", frontend=bank())
    X, y = waves()
    regressor().fit(X, y).save(tmp_path / "b.s4")
    with pytest.raises(ModelFileError, match="has a built-in front end; do not pass frontend="):
        S4Regressor.load(tmp_path / "b.s4", frontend=Strided())


WRONG = {
    "channels first": (
        FunctionModule(lambda x: x.mT[..., ::4]),
        ShapeError,
        r"must map .* If features come second, transpose",
    ),
    "no hops": (FunctionModule(lambda x: x.mean(1)), ShapeError, r"to \(batch, n_hops, n_features\), got \(2, 2\)"),
    "no frames": (FunctionModule(lambda x: x[:, :0]), ShapeError, r"n_features\), got \(2, 0, 2\)"),
    "a tuple": (FunctionModule(lambda x: (x, x)), ShapeError, "must return real numbers .* got tuple"),
    "whole numbers": (FunctionModule(lambda x: x.long()), ShapeError, "must return real numbers .* got torch.int64"),
    "other hops": (
        FunctionModule(lambda x: x),
        ValueError,
        "gives 60 hops for 60 samples and .* but hop_s=0.04 is 4 samples",
    ),
    "no hop at all": (Strided(hop_s=0.001), ValueError, "hop_s=0.001, shorter than a sample, 0.01"),
    "other channels": (Strided(n_channels=3), ValueError, r"a Strided, cannot take .* \(2, 60, 2\)"),
    "another rate": (
        FilterBank(frequencies_hz=torch.ones(1), bandwidths_hz=torch.ones(1), sfreq=50.0, hop_s=0.1),
        ValueError,
        "a FilterBank at sfreq=50, but the training cases have 100.0 Hz",
    ),
}


@pytest.mark.parametrize(("frontend", "error", "text"), WRONG.values(), ids=WRONG)
def test_invalid_modules_are_refused_before_training(frontend, error, text):
    with pytest.raises(error, match=text):
        fitted(frontend)


def test_another_rate_at_prediction_is_refused():
    X, _ = waves()
    with pytest.raises(ValueError, match=r"samples 2 times as long as at training, but .* Use Signals.resample"):
        fitted(Strided()).predict(X[:, :, ::2], sfreq=SFREQ / 2)
