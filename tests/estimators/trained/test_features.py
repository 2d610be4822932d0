"""S4Features: embeddings of a trained network, and of one pretrained without labels."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_models import classifier, regressor, same_weights, waves

from s4signal.errors import ModelFileError, ShapeError
from s4signal.estimators import S4Features, S4RidgeClassifier
from s4signal.estimators.model_file import read_model, write_model
from s4signal.nn import FRONTENDS, Frames, S4Network, StackOptions
from s4signal.nn.network import network_steps

__all__: list[str] = []

X, Y = waves()


def pretrained(**changes):
    return S4Features(regressor(**{"max_epochs": 1, "pooling": "auto", **changes})).fit(X)


@parametrize_with_checks([S4Features(regressor(max_epochs=1, precision="64"))])
def test_all_scikit_learn_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("pooling", ["mean", ("legs", 3)])
def test_embeddings_are_the_input_of_the_head(pooling):
    model = classifier(pooling=pooling).fit(X, Y)
    features = S4Features(model).fit(X)
    embedded = features.transform(X)
    outputs = model.network_.head(torch.from_numpy(embedded).float()).softmax(1)
    np.testing.assert_allclose(outputs.detach().numpy(), model.predict_proba(X), atol=1e-5)
    assert features.estimator_ is model
    assert len(features.get_feature_names_out()) == embedded.shape[1]


def test_clone_keeps_a_fitted_estimator_but_no_pretraining():
    model = classifier().fit(X, Y)
    assert clone(S4Features(model)).estimator is model
    settings = regressor()
    copy = clone(S4Features(settings).fit(X))
    assert copy.estimator is not settings
    assert not hasattr(copy, "estimator_")
    assert not hasattr(copy.estimator, "network_")


@pytest.mark.parametrize("settings", [classifier, regressor])
def test_pretraining_lowers_the_loss_and_leaves_the_estimator_unfitted(settings):
    given = settings(max_epochs=8, d_model=16, dropout=0.0)
    features = S4Features(given).fit(X)
    losses = [line["loss"] for line in features.estimator_.history_]
    assert losses[-1] < 0.95 * losses[0]
    assert not hasattr(given, "network_")
    assert same_weights(features.estimator_, S4Features(given).fit(X, Y).estimator_)  # labels are ignored


def test_masked_samples_do_not_affect_the_network():
    network = S4Network(FRONTENDS["linear"](2, 8), 1, options=StackOptions(d_model=8, n_layers=1, bidirectional=True))
    x, keep = torch.randn(2, 3, 40), (torch.arange(40) % 16 < 8).float().expand(3, 40)
    changed = x + (1 - keep) * torch.randn(2, 3, 40)
    steps, others = (network_steps(network.eval(), Frames(z), keep=keep) for z in (x, changed))
    torch.testing.assert_close(steps, others)
    assert not torch.allclose(network_steps(network, Frames(changed)), network_steps(network, Frames(x)))


def test_frozen_features_are_not_pretrained_again():
    features = pretrained()
    before, expected = features.estimator_, LogisticRegression().fit(features.transform(X[:8]), Y[:8])
    model = make_pipeline(FrozenEstimator(features), LogisticRegression()).fit(X[:8], Y[:8])
    assert features.estimator_ is before
    np.testing.assert_array_equal(model.predict(X), expected.predict(features.transform(X)))


def test_cases_may_have_any_length_times_and_missing_samples():
    cases = [case[:, : 30 + i] for i, case in enumerate(X)]
    cases[3] = cases[3].copy()
    cases[3][:, 5:9] = np.nan
    times = [np.sort(np.random.default_rng(i).uniform(0, 60, case.shape[1])) for i, case in enumerate(cases)]
    features = S4Features(regressor(max_epochs=1)).fit(cases, times=times)
    embedded = features.transform(cases, times=times)
    np.testing.assert_allclose(embedded[[7]], features.transform(cases[7:8], times=times[7:8]), atol=1e-5)


@pytest.mark.parametrize("make", [pretrained, lambda: S4Features(classifier().fit(X, Y)).fit(X)])
def test_loaded_features_give_the_same_output(make, tmp_path):
    features = make()
    features.save(tmp_path / "features.s4")
    loaded = S4Features.load(tmp_path / "features.s4")
    np.testing.assert_array_equal(loaded.transform(X), features.transform(X))
    assert loaded.get_feature_names_out().tolist() == features.get_feature_names_out().tolist()
    state = read_model(tmp_path / "features.s4")
    write_model(tmp_path / "other.s4", state._replace(plain={**state.plain, "kind": "Exit"}))
    with pytest.raises(ModelFileError, match="its network is of a Exit, which no file may hold"):
        S4Features.load(tmp_path / "other.s4")


def test_unsupported_estimators_are_refused():
    with pytest.raises(TypeError, match=r"estimator must be an S4Classifier or S4Regressor, .* got S4RidgeClassifier"):
        S4Features(S4RidgeClassifier()).fit(X)

    class Learned(torch.nn.Linear):
        hop_s = 1.0

    with pytest.raises(ValueError, match="the front end learns its features, and would learn features that are"):
        S4Features(regressor(frontend=Learned(2, 4))).fit(X)
    with pytest.raises(ShapeError, match="fitted with 2"):
        pretrained().transform(X[:, :1])
