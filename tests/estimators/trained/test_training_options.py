"""Validation, early stopping, warm starts, partial fits and the history."""

import copy
import pickle

import numpy as np
import pytest
import torch
from scripts import run_code
from sklearn.base import clone
from small_models import REFERENCE, SMALL, classifier, regressor, same_weights, waves

from s4signal import S4Classifier, Signals
from s4signal.estimators.trained import plan

KEYS = {"epoch", "loss", "validation_loss", "validation_score", "seconds"}


@pytest.mark.parametrize("make", [classifier, regressor])
def test_history_has_one_entry_per_epoch(make):
    X, y = waves()
    model = make(max_epochs=3).fit(X, y)
    assert [line["epoch"] for line in model.history_] == [1, 2, 3]
    assert all(set(line) == KEYS for line in model.history_)
    assert model.n_iter_ == model.best_epoch_ == 3
    assert model.history_[0]["validation_loss"] is model.history_[0]["validation_score"] is None
    assert model.fit_seconds_ >= sum(line["seconds"] for line in model.history_)


@pytest.mark.parametrize(
    ("n", "early_stopping", "validated"),
    [(24, "auto", False), (100, "auto", True), (100, False, False), (24, True, True)],
)
def test_early_stopping_sets_validation_cases_aside(n, early_stopping, validated):
    X, y = waves(n, n_channels=1, n_times=30)
    model = classifier(early_stopping=early_stopping).fit(X, y)
    assert (model.history_[0]["validation_loss"] is not None) == validated


@pytest.mark.parametrize("make", [classifier, regressor])
def test_filter_bank_trains_on_all_cases_without_validation(make, monkeypatch):
    assert (plan.FEWEST_STEPS, plan.STEPS_OF_AUDIO, plan.MOST_EPOCHS) == (200, 1600, 40)
    monkeypatch.setattr(plan, "FEWEST_STEPS", 20)
    monkeypatch.setattr(plan, "MOST_EPOCHS", 16)
    X, y = waves(100, n_channels=1, n_times=200)
    model = make(max_epochs="auto", sfreq=8000.0).fit(X[:60], y[:60])
    assert model.n_iter_ == model.best_epoch_ == 16  # of 4 steps
    assert model.history_[-1]["validation_loss"] is None
    assert make(sfreq=8000.0).fit(X[:60], y[:60]).history_[-1]["validation_loss"] is None, "for any number of epochs"
    assert make(max_epochs="auto", sfreq=100.0, batch_size=100).fit(X, y).history_[-1]["validation_loss"] is not None


@pytest.mark.parametrize(("n_cases", "sfreq", "batch_size"), [(40, 8000.0, 16), (40, 100.0, 32), (4097, 100.0, 64)])
def test_auto_batch_size_depends_on_the_front_end_and_the_number_of_cases(n_cases, sfreq, batch_size):
    X, y = waves(n_cases, n_channels=1, n_times=160 if sfreq > 1000 else 2)
    model = classifier(sfreq=sfreq, max_epochs=1, early_stopping=False).fit(X, y)
    assert f"{batch_size} of {n_cases} cases per step (auto)" in model.describe()
    assert ("mean of the last weights" in model.describe()) == (sfreq > 1000)


def test_the_epoch_of_the_lowest_validation_loss_is_kept():
    X, y = waves()
    X_val, y_val = waves(seed=1)
    model = classifier(max_epochs=8, learning_rate=0.05).fit(X, y, X_val=X_val, y_val=1 - y_val)
    losses = [line["validation_loss"] for line in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmin(losses))
    probability = model.predict_proba(X_val)[np.arange(len(y_val)), 1 - y_val]
    assert -np.log(probability).mean() == pytest.approx(min(losses), abs=1e-5)


def test_training_stops_when_the_validation_loss_stops_improving():
    X, y = waves()
    model = classifier(max_epochs=60, learning_rate=0.05, n_iter_no_change=2).fit(X, y, X_val=X, y_val=1 - y)
    assert model.n_iter_ == model.best_epoch_ + 2 < 60


def test_validation_scores_are_accuracy_and_coefficient_of_determination():
    X, y = waves()
    model = classifier().fit(X, y, X_val=X, y_val=y)
    assert model.history_[model.best_epoch_ - 1]["validation_score"] == pytest.approx(model.score(X, y))
    model = regressor().fit(X, y, X_val=X, y_val=y)
    assert model.history_[model.best_epoch_ - 1]["validation_score"] == pytest.approx(model.score(X, y), abs=1e-5)


def test_validation_cases_may_have_other_lengths_and_rates():
    X, y = waves()
    val = Signals(list(X[:6, :, ::2]), sfreq=50.0)
    model = classifier(sfreq=100.0).fit(X, y, X_val=val, y_val=y[:6])
    assert np.isfinite(model.history_[0]["validation_loss"])


@pytest.mark.parametrize(("n", "validated"), [(100, False), (1000, True)])
def test_few_multichannel_cases_are_all_used_for_training(n, validated):
    X, y = waves(n, n_times=32)
    model = classifier(max_epochs=1).fit(X, y)
    assert (model.history_[0]["validation_loss"] is not None) == validated


def test_auto_makes_no_split_with_too_few_cases_per_class():
    X, _ = waves(100, n_times=20)
    model = classifier(max_epochs=1).fit(X, np.arange(100) % 20)
    assert model.history_[0]["validation_loss"] is None


def test_impossible_split_raises_an_error():
    X, _ = waves(24, n_times=20)
    with pytest.raises(ValueError, match=r"validation_fraction=0.1 of 24 cases cannot be held out: .* early_stopping"):
        classifier(early_stopping=True).fit(X, np.arange(24) % 12)


def test_warm_start_continues_from_the_last_weights():
    X, y = waves()
    model = classifier(max_epochs=10, learning_rate=0.03, warm_start=True).fit(X, y)
    first = model.history_
    model.fit(X, y)
    assert model.history_[0]["loss"] < first[0]["loss"]
    assert model.n_iter_ == 10


def test_fit_without_warm_start_starts_over():
    X, y = waves()
    model = classifier()
    assert same_weights(copy.deepcopy(model.fit(X, y)), model.fit(X, y))


def test_a_warm_start_keeps_rate_and_classes_of_the_first_fit():
    X, y = waves()
    names = np.array(["a", "b", "c"])
    model = classifier(warm_start=True, sfreq=100.0).fit(X, names[np.arange(24) % 3])
    model.set_params(sfreq=None).fit(Signals(X[:, :, ::2], sfreq=50.0), names[y])
    assert model.sfreq_ == 100.0
    assert model.classes_.tolist() == ["a", "b", "c"]


def test_a_warm_start_refuses_other_channels_labels_or_outputs():
    X, y = waves()
    model = classifier(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="X has 1 channels, but S4Classifier was fitted with 2"):
        model.fit(X[:, :1], y)
    with pytest.raises(ValueError, match="y holds the label 2, which is not among the classes"):
        model.fit(X, y + 1)
    model = regressor(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="the network has 1 outputs, y has 2; fit with warm_start=False"):
        model.fit(X, np.stack([y, y], 1))


CHANGED = {"kernel": "s5", "d_model": 16, "n_layers": 2, "n_networks": 2, "dropout": 0.2, "frontend": "filterbank"}
CHANGED |= {"pooling": ("legs", 3), "augmentation": ("noise",), "timescale": (2, 50), "standardize": False}


@pytest.mark.parametrize(("name", "value"), CHANGED.items())
def test_training_further_refuses_a_parameter_that_would_build_another_network(tmp_path, name, value):
    X, y = waves()
    fitted = classifier(warm_start=True).fit(X, y)
    fitted.save(tmp_path / "model.s4")
    for model in (fitted, S4Classifier.load(tmp_path / "model.s4")):
        before = model.get_params()[name]
        model.set_params(**{name: value})
        for call in (model.fit, model.partial_fit):
            with pytest.raises(ValueError, match=rf"{name}=.* was built with {name}=.*; set it back, or build"):
                call(X, y)
        weights = copy.deepcopy(model.set_params(**{name: before}).network_.state_dict())
        assert not all(torch.equal(w, weights[k]) for k, w in model.fit(X, y).network_.state_dict().items())
        model.set_params(warm_start=False, **{name: value} if name != "frontend" else {}).fit(X, y)


def test_naming_the_values_of_a_network_of_defaults_trains_it_further():
    X, y = waves()
    model = S4Classifier(max_epochs=1, warm_start=True, random_state=0).fit(X, y)
    stack = {name: model._plan.stack[name] for name in ("d_model", "d_state", "n_layers", "n_networks")}
    named = {"frontend": model._plan.frontend, "pooling": model._plan.pooling, "readout": model._plan.readout}
    model.set_params(**stack, **named, missing="gap", max_epochs=2).fit(X, y)
    assert len(model.set_params(d_model="auto").fit(X, y).history_) == 2


@pytest.mark.parametrize("make", [classifier, regressor])
def test_each_partial_fit_is_one_epoch(make):
    X, y = waves()
    model = make().partial_fit(X, y) if make is regressor else make().partial_fit(X, y, classes=[0, 1])
    first = copy.deepcopy(model)
    model.partial_fit(X, y)
    assert model.n_iter_ == model.best_epoch_ == 2
    assert [line["epoch"] for line in model.history_] == [1, 2]
    assert not same_weights(model, first)


def test_partial_fit_accepts_classes_that_occur_later():
    X, y = waves()
    model = classifier().partial_fit(X, np.zeros(24, int), classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (24, 3)
    model.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"classes=\[0, 1\] differ from those of the first call, \[0, 1, 2\]"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="y holds the label 7, which is not among the classes"):
        model.partial_fit(X, np.full(24, 7))


def test_partial_fit_after_fit_has_the_full_learning_rate():
    X, y = waves()
    model = classifier().fit(X, y).partial_fit(X, y)
    assert model._optimizer_state["param_groups"][0]["lr"] == SMALL["learning_rate"]
    assert model.n_iter_ == 3


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_refit_on_another_shape_works(make):
    X, y = waves()
    model = make().fit(X, y)
    model.fit(X[:, 0, :50], y)
    assert (model.n_channels_in_, model.n_features_in_) == (1, 50)
    three = np.concatenate([X, X[:, :1]], axis=1)
    model.fit(three, np.arange(24) % 3)
    assert (model.n_channels_in_, model.n_features_in_) == (3, 3)
    assert len(model.predict(three)) == 24


def test_constructor_stores_only_parameters_and_fit_does_not_change_them():
    X, y = waves()
    model = classifier(class_weight={0: 1, 1: 2})
    assert set(vars(model)) == set(model.get_params())
    before = copy.deepcopy(model.get_params())
    model.fit(X, y).predict(X)
    assert model.get_params() == before


def test_parameters_set_after_fit_take_effect_in_the_next_fit():
    X, y = waves()
    model = classifier().fit(X, y)
    before = model.predict_proba(X)
    model.set_params(d_model=4, n_layers=2, bidirectional=False)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    model.set_params(precision="64")
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-5)
    assert len(model.fit(X, y).network_.blocks) == 2


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_clone_is_unfitted_and_copies_predict_the_same(make):
    X, y = waves()
    model = make().fit(X, y)
    assert not hasattr(clone(model), "network_")
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copied.predict(X), model.predict(X))
        copied.partial_fit(X, y)
    np.testing.assert_array_equal(make().fit(X, y).predict(X), model.predict(X))


def test_a_pickle_predicts_the_same_in_another_process(tmp_path):
    X, y = waves()
    model = classifier().fit(X, y)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, numpy as np, torch; torch.set_num_threads(1); folder = sys.argv[1]\n"
        "model = pickle.load(open(folder + '/model.pkl', 'rb'))\n"
        "np.save(folder + '/p.npy', model.predict_proba(np.load(folder + '/X.npy')))"
    )
    run_code(code, tmp_path, warnings="error")
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict_proba(X))


def test_fit_does_not_change_the_global_random_states():

    X, y = waves(100, n_times=20)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the state that must not change
    S4Classifier(**SMALL).fit(X, y)
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("make", [classifier, regressor])
def test_only_ratios_of_sample_weights_matter(make):
    X, y = waves()
    weights = np.where(y == 1, 2.0, 1.0)
    expected = make().fit(X, y, sample_weight=weights)._outputs(X)
    for factor in (5e-324, 1e-300, 8e307):
        found = make().fit(X, y, sample_weight=factor * weights)._outputs(X)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_negligible_weights_equal_zero():
    X, y = waves()
    weights = np.where(np.arange(24) < 6, 1e-60, 1.0)
    light = classifier(batch_size=2).fit(X, y, sample_weight=weights)
    assert same_weights(light, classifier(batch_size=2).fit(X, y, sample_weight=np.floor(weights)))
    with pytest.raises(ValueError, match="sample_weight times class_weight is infinite"):
        classifier(class_weight={0: 1e200, 1: 1e200}).fit(X, y, sample_weight=np.full(24, 1e200))


def test_integer_weights_equal_repeated_cases():
    X, y = waves()
    weights = np.ones(24)
    weights[[0, 1, 2, 3]] = [2, 0, 0, 3]
    repeated = np.repeat(np.arange(24), weights.astype(int))
    for make in (classifier, regressor):
        weighted = make(**REFERENCE).fit(X, y, sample_weight=weights)
        by_hand = make(**REFERENCE).fit(X[repeated], y[repeated])
        np.testing.assert_allclose(weighted._outputs(X), by_hand._outputs(X), atol=1e-9)
