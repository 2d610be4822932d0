"""The readout in closed form: when "auto" selects it, how it is fitted, and how other options work with it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_models import classifier, regressor, same_weights

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.errors import ModelFileError
from s4signal.estimators.survey import survey
from s4signal.estimators.trained import fitting
from s4signal.estimators.trained import readout as readout_module
from s4signal.estimators.trained.defaults import LabelledCases
from s4signal.estimators.trained.readout import best_shares, number_folds
from s4signal.signals import drop_samples
from s4signal.training import Cases

__all__: list[str] = []

SFREQ, N = 64.0, 40
TOLERANCE = 1e-5
Y = np.arange(N) % 2
AUTO = {"readout": "auto"}
CLOSED = {"readout": "closed_form"}


def powers(n_times=128, seed=0, y=Y):
    """Return noise with waves of random phase, stronger in the first channel for class 1: (n, 3, n_times)."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * (10.0 * np.arange(n_times) / SFREQ + rng.uniform(size=(len(y), 1)))
    X = rng.standard_normal((len(y), 3, n_times))
    X[:, 0] += np.where(y == 1, 2.0, 0.3)[:, None] * np.sin(phase)
    return X


POWERS, NEW = Signals(powers(), sfreq=SFREQ), Signals(powers(seed=1), sfreq=SFREQ)


@pytest.fixture(scope="module")
def model():
    return classifier(bidirectional=False, **AUTO).fit(POWERS, Y)


def test_auto_selects_the_closed_form_for_differences_in_power(model):
    assert "readout        closed form, of " in model.describe()
    assert model.score(NEW, Y) > 0.9
    assert classifier(bidirectional=False, readout="pooled").fit(POWERS, Y).score(NEW, Y) < 0.8
    explicit = classifier(bidirectional=False, **CLOSED).fit(POWERS, Y)
    assert same_weights(model, explicit)
    np.testing.assert_array_equal(model.predict_proba(NEW), explicit.predict_proba(NEW))


def test_untrained_layers_leave_the_predictions_of_the_closed_form(model):
    closed = S4RidgeClassifier(random_state=0).fit(POWERS, Y)
    untrained = classifier(learning_rate=1e-12, ssm_learning_rate=1e-12, **CLOSED).fit(POWERS, Y)
    assert (untrained.predict(NEW) == closed.predict(NEW)).mean() > 0.9  # other oscillators were drawn
    assert np.abs(untrained.decision_function(NEW)).max() > 1.0


def readout_of(signals, y):
    """Fit a network; return its readout, the offsets of its layers, and a function that scores held-out cases."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        fit = readout_module.fit_readout
        patch.setattr(fitting, "fit_readout", lambda *args, **options: seen.extend(fit(*args, **options)) or seen)
        classifier(max_epochs=1, **CLOSED).fit(signals, y)
    return seen


def test_offsets_of_the_layers_are_leave_one_out_predictions():
    rng, y = np.random.default_rng(0), np.random.default_rng(1).integers(0, 2, N)
    noise = Signals(rng.standard_normal((N, 3, 128)), sfreq=SFREQ)
    readout, offsets, _ = readout_of(noise, y)
    np.testing.assert_array_equal(offsets, readout.scale * readout.regression.ridge.loo_predictions)
    loo_accuracy = (offsets.argmax(1) == y).mean()
    assert loo_accuracy < 0.75
    assert (readout.scores(noise).argmax(1) == y).mean() > loo_accuracy  # overfitted


def test_held_out_scores_do_not_depend_on_the_held_out_labels():
    own = np.arange(0, N, 4)
    flipped = Y.copy()
    flipped[own] = 1 - Y[own]
    (_, before, without), (_, after, without_flipped) = readout_of(POWERS, Y), readout_of(POWERS, flipped)
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_allclose(without(own), without_flipped(own), atol=1e-9)
    assert (without(own).argmax(1) == Y).mean() > 0.9


def test_weight_two_equals_a_repeated_case():
    options = {"precision": "64", "batch_size": None, "max_epochs": 3, **CLOSED}
    weights = np.where(np.arange(N) < 10, 2.0, 1.0)
    rows = np.concatenate([np.arange(N), np.arange(10)])
    weighted = classifier(**options).fit(POWERS, Y, sample_weight=weights)
    repeated = classifier(**options).fit(POWERS[rows], Y[rows])
    np.testing.assert_allclose(weighted.predict_proba(NEW), repeated.predict_proba(NEW), atol=1e-6)


@pytest.mark.parametrize("frontend", ["linear", "hop_means"])
@pytest.mark.parametrize("sfreq", [None, 32.0, 100.0])
def test_stream_equals_prediction(frontend, sfreq):
    model = classifier(bidirectional=False, frontend=frontend, pooling="legs", max_epochs=2, **CLOSED).fit(POWERS, Y)
    signal = np.random.default_rng(0).standard_normal((3, 150))
    stream, n_pushed = model.stream(sfreq=sfreq), 0
    for n in (1, 20, 0, 64, 65):
        scores = stream.push(signal[:, n_pushed : n_pushed + n])
        n_pushed += n
        expected = model.predict_proba(Signals([signal[:, :n_pushed]], sfreq=sfreq or SFREQ))[0]
        np.testing.assert_allclose(scores, expected, atol=10 * TOLERANCE)


def test_windowed_stream_with_missing_samples_equals_prediction():
    model = classifier(bidirectional=False, frontend="linear", max_epochs=2, **CLOSED).fit(POWERS, Y)
    signal = np.random.default_rng(0).standard_normal((3, 160))
    signal[:, 40:44] = np.nan
    expected = model.predict_proba(Signals([signal[:, 32:96]], sfreq=SFREQ))[0]
    stream = model.stream(window_s=1.0, step_s=0.5)
    for first in range(0, 96, 8):
        scores = stream.push(signal[:, first : first + 8])
    np.testing.assert_allclose(scores, expected, atol=10 * TOLERANCE)
    with pytest.raises(ValueError, match="gaps only in all channels at once"):
        model.stream().push(np.where(np.arange(3)[:, None] == 1, np.nan, signal[:, :8]))


def test_loaded_model_is_identical(model, tmp_path):
    model.save(tmp_path / "model.s4")
    loaded = S4Classifier.load(tmp_path / "model.s4")
    np.testing.assert_array_equal(loaded.predict_proba(POWERS), model.predict_proba(POWERS))
    assert loaded.describe() == model.describe()


def test_readout_with_another_number_of_outputs_is_refused(model):
    state = model._readout.to_state()
    with pytest.raises(ModelFileError, match="its readout has 2 outputs, not 3"):
        readout_module.Readout.from_state(state, model._plan._replace(n_outputs=3), "32")


def test_regressor_predicts_powers():
    y = np.random.default_rng(3).uniform(0.3, 2.0, N)
    X = np.random.default_rng(0).standard_normal((N, 3, 128))
    phase = 2 * np.pi * (10.0 * np.arange(128) / SFREQ + np.random.default_rng(1).uniform(size=(N, 1)))
    X[:, 0] += 2 * y[:, None] * np.sin(phase)
    model = regressor(**AUTO).fit(Signals(X[:30], sfreq=SFREQ), 100 + 10 * y[:30])
    assert model.score(Signals(X[30:], sfreq=SFREQ), 100 + 10 * y[30:]) > 0.7


def test_tags_are_predicted_from_powers():
    tags = np.stack([Y, 1 - Y, np.ones(N, int)], 1)
    tags[::4, 2] = 0
    model = classifier(**AUTO).fit(POWERS, tags)
    assert (model.predict(NEW)[:, :2] == tags[:, :2]).mean() > 0.9


def test_powers_are_classified_at_another_rate(model):
    rng = np.random.default_rng(5)
    phase = 2 * np.pi * (10.0 * np.arange(256) / (2 * SFREQ) + rng.uniform(size=(N, 1)))
    X = rng.standard_normal((N, 3, 256)) * np.sqrt(2)  # the same noise per hertz
    X[:, 0] += np.where(Y == 1, 2.0, 0.3)[:, None] * np.sin(phase)
    assert model.score(Signals(X, sfreq=2 * SFREQ), Y) > 0.85


def test_predictions_are_accurate_with_missing_samples(model):
    for as_nan in (True, False):
        assert model.score(drop_samples(NEW, 0.05, random_state=0, as_nan=as_nan), Y) > 0.85


def test_auto_selects_the_pooled_readout_with_many_missing_samples():
    for as_nan in (True, False):
        holes = drop_samples(POWERS, 0.4, random_state=0, as_nan=as_nan)
        assert "readout        pooled" in classifier(max_epochs=1, **AUTO).fit(holes, Y).describe()
        few = drop_samples(POWERS, 0.1, random_state=0, as_nan=as_nan)
        explicit = classifier(max_epochs=2, **CLOSED).fit(few, Y)
        assert explicit.score(drop_samples(NEW, 0.1, random_state=1, as_nan=as_nan), Y) > 0.7


def test_few_missing_samples_and_a_missing_channel_keep_the_defaults():
    few = powers()
    few[5, 1, 10:20] = np.nan
    unobserved = np.concatenate([powers(), np.full((N, 1, 128), np.nan)], axis=1)
    for X in (few, unobserved):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "channel 3 has no observation")
            model = S4Classifier(max_epochs=1, random_state=0).fit(Signals(X, sfreq=SFREQ), Y)
        plan = model._plan
        assert (plan.frontend, plan.pooling, plan.readout) == ("hop_means", "legs", "closed_form")


def test_auto_selects_the_closed_form_for_one_channel_without_a_rate():
    one, other = powers()[:, :1], powers(seed=1)[:, :1]
    model = classifier(max_epochs=2, **AUTO).fit(one, Y)
    assert "(auto, for regular signals" in model.describe()
    assert model.score(other, Y) > 0.9


def test_auto_selects_the_pooled_readout_for_audio():
    audio = Signals(powers()[:, :1], sfreq=8000.0)
    assert "readout        pooled (auto" in classifier(max_epochs=1, **AUTO).fit(audio, Y).describe()


def test_auto_selects_the_closed_form_for_mostly_missing_data(rng):
    X = powers()
    X[rng.random(X.shape) < 0.7] = np.nan
    model = classifier(max_epochs=1, **AUTO).fit(Signals(X, sfreq=SFREQ), Y)
    assert "(auto, for mostly missing data" in model.describe()


def test_too_many_cases_are_refused_or_use_the_pooled_readout(monkeypatch):
    monkeypatch.setattr(readout_module, "MOST_CASES", N - 1)
    monkeypatch.setattr("s4signal.estimators.trained.defaults.MOST_CASES", N - 1)
    with pytest.raises(ValueError, match=r"takes at most 39 training cases, got 40; use\s+readout='pooled'"):
        classifier(**CLOSED).fit(POWERS, Y)
    assert "readout        pooled" in classifier(max_epochs=1, **AUTO).fit(POWERS, Y).describe()


@pytest.mark.parametrize("readout", ["power", None, 1])
def test_unknown_readout_is_refused(readout):
    with pytest.raises(ValueError, match=r"readout=.* is unknown or out of range; choose one of 'auto', 'po"):
        classifier(readout=readout).fit(POWERS, Y)


def test_a_search_chooses_the_readout():
    search = GridSearchCV(classifier(sfreq=SFREQ), {"readout": ["pooled", "closed_form"]}, cv=2).fit(powers(), Y)
    assert search.best_params_ == CLOSED
    assert clone(search.best_estimator_).readout == "closed_form"


def test_partial_fit_fits_the_readout_in_the_first_call():
    X = powers()
    assert "readout        pooled" in classifier(sfreq=SFREQ, **AUTO).partial_fit(X, Y).describe()
    model = classifier(sfreq=SFREQ, **CLOSED).partial_fit(X[:30], Y[:30])
    description = model.describe().split("readout")[1]
    assert model.partial_fit(X[30:], Y[30:]).score(powers(seed=1), Y) > 0.8
    assert model.describe().split("readout")[1][:40] == description[:40]


def test_warm_start_fits_the_readout_again():
    model = classifier(sfreq=SFREQ, warm_start=True, max_epochs=2, **AUTO).fit(powers(seed=2)[:10], Y[:10])
    before = model.score(NEW, Y)
    with pytest.raises(ValueError, match=r"readout='pooled', but the network .* was built with readout='auto'"):
        model.set_params(readout="pooled").fit(powers(), Y)
    model.set_params(readout="closed_form")  # which the network has
    assert model.fit(powers(), Y).score(NEW, Y) > max(0.9, before - 1e-9)


def test_a_warm_start_with_too_many_cases_is_refused(monkeypatch):
    model = classifier(sfreq=SFREQ, warm_start=True, max_epochs=1, **CLOSED).fit(powers()[:20], Y[:20])
    monkeypatch.setattr(readout_module, "MOST_CASES", 30)
    with pytest.raises(ValueError, match="takes at most 30 training cases, got 40; use readout='pooled', and warm_st"):
        model.fit(powers(), Y)


def test_checkpoint_of_other_groups_is_not_resumed(tmp_path):
    X, y, groups = POWERS[:20], Y[:20], np.arange(20) // 4
    options = {"max_epochs": 2, **CLOSED}
    grouped = classifier(checkpoint_dir=tmp_path, **options).fit(X, y, groups=groups)
    alone = classifier(**options).fit(X, y)
    assert grouped.history_[1]["loss"] != alone.history_[1]["loss"]
    assert classifier(checkpoint_dir=tmp_path, **options).fit(X, y).history_[1]["loss"] == alone.history_[1]["loss"]


def test_validation_cases_determine_the_share_of_the_layers():
    X, new = powers(), powers(seed=1)
    model = classifier(sfreq=SFREQ, max_epochs=1, warm_start=True, **AUTO)
    for _ in range(2):
        model.fit(X, Y, X_val=new, y_val=Y)
        assert model.score(new, Y) > 0.9
        assert model.describe().count("and layers x ") == 1


def test_layers_count_only_if_they_correct_held_out_cases():
    rng, y = np.random.default_rng(0), torch.from_numpy(Y.astype(np.int64))
    offsets = rng.standard_normal((N, 2))
    cases = Cases.of(list(powers()), y)
    cases = replace(cases, offsets=offsets)
    right = torch.nn.functional.one_hot(y, 2).double()
    for added, share in ((9.0 * right, 1.0), (-right, 0.0)):
        outputs = torch.from_numpy(offsets) + added
        assert best_shares(outputs, cases, classifies=True) == (1.0, share)
    correct = replace(cases, offsets=0.2 * right.numpy())
    assert best_shares(9.0 * right, correct, classifies=True) == (1.0, 0.0)  # more certain, not more often right


def test_layers_count_if_they_correct_tags():
    tags = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (N, 3)).astype(np.float64))
    signs = 2.0 * tags - 1.0
    for offsets, share in ((-0.2 * signs, 1.0), (0.2 * signs, 0.0)):
        for columns in (slice(None), [0, 0]):  # also if all tags of a case are alike
            cases = replace(Cases.of(list(powers()), tags[:, columns]), offsets=offsets.numpy()[:, columns])
            assert best_shares(9.0 * signs[:, columns], cases, classifies=True) == (1.0, share)


@pytest.mark.parametrize("task", ["classes", "tags", "numbers"])
def test_cases_count_by_their_weights_in_the_shares(task):
    y, classifies = torch.arange(N) % 2, task != "numbers"
    truth = torch.nn.functional.one_hot(y, 2).double()
    wrong = torch.where(torch.arange(N)[:, None] % 4 > 1, 1 - truth, truth)  # half of the cases
    layers, offsets = (torch.where(torch.arange(N)[:, None] < 20, *two) for two in ((truth, wrong), (wrong, truth)))
    targets = y if task == "classes" else truth
    for weights, better in ((np.r_[np.full(20, 3.0), np.ones(20)], 0), (np.r_[np.ones(20), np.full(20, 3.0)], 1)):
        cases = replace(Cases.of(list(powers()), targets), weights=weights, offsets=6.0 * (offsets.numpy() - 0.5))
        shares = best_shares(6.0 * (layers - 0.5), cases, classifies=classifies, alone=not classifies)
        assert (shares.layers > 0.5) == (better == 0)


def test_groups_lower_the_confidence_if_only_subjects_differ():
    rng, n = np.random.default_rng(0), 120
    subjects = np.repeat(np.arange(6), n // 6)
    y = np.where(rng.random(n) < 0.9, subjects % 2, 1 - subjects % 2)  # only these six subjects predict the class
    X = rng.standard_normal((n, 3, 64)) + 2.0 * rng.standard_normal((6, 3, 1))[subjects] * np.hanning(64)
    fits = {
        name: classifier(max_epochs=10, **CLOSED).fit(X, y, groups=g) for name, g in (("no", None), ("yes", subjects))
    }
    confidence = {name: model.predict_proba(rng.standard_normal(X.shape)).max(1).mean() for name, model in fits.items()}
    assert confidence["yes"] < confidence["no"]
    assert "layers x 1 " not in fits["yes"].describe()


def test_folds_depend_on_the_cases_but_not_on_their_order():
    signals = Signals(np.concatenate([powers(), powers()[:7]]), sfreq=SFREQ)
    y = np.concatenate([Y, Y[:7]])
    order = np.random.default_rng(0).permutation(N + 7)

    def folds(rows, groups=None):
        some = signals[rows]
        return number_folds(LabelledCases(some, survey(some, hashed=True), np.ones(len(rows)), y[rows], groups))

    found = folds(np.arange(N + 7))
    assert (found[:7] == found[N:]).all()  # the same case
    assert np.bincount(found[:N]).min() >= N // 5 - 1
    np.testing.assert_array_equal(folds(order), found[order])
    groups = np.arange(N + 7) // 10
    of_groups = folds(np.arange(N + 7), groups)
    assert all(len(np.unique(of_groups[groups == g])) == 1 for g in range(5))
    assert of_groups[0] == of_groups[N] != of_groups[10]  # groups that share cases
    of_one_class = np.where((groups == 1) & (y == 1), 4, groups)  # some groups
    alike = folds(np.arange(N), of_one_class[:N])
    assert all(len(np.unique(alike[of_one_class[:N] == g])) == 1 for g in range(5))
    assert set(folds(np.arange(N), np.arange(N) // 20)) == {0, 1}
    assert folds(np.array([0, 1, 40, 41]), np.arange(4) % 3) is None
    assert folds(np.arange(N + 7), groups // 9) is None  # of one group


def test_readout_works_with_sample_dropout():
    model = classifier(augmentation=("sample_dropout",), frontend="hop_means", max_epochs=3, **CLOSED)
    assert model.fit(POWERS, Y).score(NEW, Y) > 0.9


def test_shares_of_a_regressor_are_inverse_to_the_squared_errors():
    y = torch.from_numpy(np.random.default_rng(0).standard_normal((N, 1)))
    noise = np.random.default_rng(1).choice([-1.0, 1.0], (N, 1))
    cases = replace(Cases.of(list(powers()), y), offsets=y.numpy() + 0.3 * noise)
    for error, share in ((0.3, 0.5), (0.1, 0.9), (0.9, 0.1)):
        shares = best_shares(y - error * torch.from_numpy(noise), cases, classifies=False, alone=True)
        np.testing.assert_allclose(shares, (1 - share, share))
    exact = replace(cases, offsets=y.numpy())
    assert best_shares(y, exact, classifies=False, alone=True) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("make", "warm", "alone"), [(classifier, False, False), (regressor, False, True), (regressor, True, False)]
)
def test_layers_of_a_regressor_are_trained_on_the_targets(make, warm, alone, monkeypatch):
    seen, own = [], fitting.fit_network
    monkeypatch.setattr(fitting, "fit_network", lambda net, cases, **how: seen.append(cases) or own(net, cases, **how))
    y = Y if make is classifier else np.arange(float(N))
    model = make(sfreq=SFREQ, max_epochs=1, warm_start=warm, early_stopping=False, **CLOSED).fit(powers(), y)
    assert [cases.offsets is None for cases in seen] == [alone]
    assert ("and layers x " in model.describe()) == (not warm)


def test_shares_scale_the_layers_and_the_readout(monkeypatch):
    fitted = []
    for shares in ((1.0, 1.0), (0.5, 0.25)):
        monkeypatch.setattr(readout_module, "best_shares", lambda *args, s=shares, **options: readout_module.Shares(*s))
        fitted.append(classifier(**CLOSED).fit(POWERS, Y))
    whole, scaled = fitted
    for name in ("weight", "bias"):
        ours, full = (getattr(model.network_.head, name).detach() for model in (scaled, whole))
        assert full.abs().max() > 0
        torch.testing.assert_close(ours, 0.25 * full)
    assert scaled._readout.scale == pytest.approx(0.5 * whole._readout.scale)


@pytest.mark.parametrize(("few", "n_folds"), [(N, 1), (N + 1, 5)])
def test_many_cases_choose_the_shares_on_one_fold(few, n_folds, monkeypatch):
    fits, fit = [], readout_module.fit_network
    monkeypatch.setattr(readout_module, "FEW_CASES", few)
    monkeypatch.setattr(
        readout_module, "fit_network", lambda net, cases, **how: fits.append(len(cases)) or fit(net, cases, **how)
    )
    classifier(early_stopping=False, **CLOSED).fit(POWERS, Y)
    assert fits == [N - N // 5] * n_folds  # the layers do not learn the cases that choose
