"""Models in closed form: input, output and model files."""

import pickle

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import S4Classifier, Signals
from s4signal.errors import ModelFileError, ShapeError
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.features.recordings import Recordings

__all__: list[str] = []

SMALL = {"n_oscillators": 12, "random_state": 0}


def waves(n=40, n_channels=2, n_times=120, seed=0):
    """Return alternating slow and fast noisy waves, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    phase = np.linspace(0, 6.28, n_times) * np.array([3, 9])[y][:, None, None] + rng.uniform(0, 6, (n, 1, 1))
    return np.sin(phase) + 0.3 * rng.standard_normal((n, n_channels, n_times)), y


def fitted(**changes):
    return S4RidgeClassifier(**{**SMALL, **changes}).fit(*waves())


@pytest.mark.parametrize("n_channels", [1, 2, 20])
def test_waves_are_classified_by_frequency(n_channels):
    X, y = waves(n_channels=n_channels)
    X_new, y_new = waves(n_channels=n_channels, seed=1)
    assert S4RidgeClassifier(**SMALL).fit(X, y).score(X_new, y_new) == 1.0


@pytest.mark.parametrize(("n_channels", "n_oscillators"), [(1, 256), (6, 256), (12, 128), (30, 64)])
def test_more_channels_have_fewer_oscillators(n_channels, n_oscillators):
    X = np.random.default_rng(0).standard_normal((4, n_channels, 60))
    oscillators = S4RandomFeatures(random_state=0).fit(X).feature_map_.oscillators
    assert len(oscillators.hops) == n_oscillators
    assert int(oscillators.has_covariance.sum()) == (256 if n_channels == 1 else 32)


def test_probabilities_are_calibrated_on_a_subset_of_many_cases(monkeypatch):
    monkeypatch.setattr("s4signal.random_features.ridge._MOST_TO_DECOMPOSE", 30)
    X, y = waves(seed=1)
    probabilities = fitted().predict_proba(X)
    assert (probabilities.argmax(1) == y).all()
    assert 0.6 < probabilities.max(1).mean() < 1.0


def test_regressor_predicts_frequencies():
    rng = np.random.default_rng(0)
    y = rng.uniform(2, 6, (80, 1)) * [1.0, -100.0]
    X = np.sin(np.linspace(0, 6.28, 150) * y[:, :1] + rng.uniform(0, 6, (80, 1)))
    model = S4RidgeRegressor(random_state=0).fit(X[:60], y[:60])
    assert model.predict(X[60:]).shape == (20, 2)
    assert model.score(X[60:], y[60:]) > 0.9
    assert S4RidgeRegressor(**SMALL).fit(X, y[:, 0]).predict(X).shape == (80,)


@pytest.mark.parametrize("batches", [1, 2])
def test_channel_nearly_flat_in_training_cannot_dominate_a_prediction(tmp_path, batches):
    rng = np.random.default_rng(0)
    y = rng.uniform(2, 6, 80)
    X = np.sin(np.linspace(0, 6.28, 150) * y[:, None] + rng.uniform(0, 6, (80, 1)))
    quiet = 0.1 + 1e-4 * rng.standard_normal(X.shape)
    X = np.stack([X + 0.3 * rng.standard_normal(X.shape), quiet], 1)
    model = S4RidgeRegressor(**SMALL)
    for part in np.array_split(np.arange(60), batches):
        model = model.fit(X[part], y[part]) if batches == 1 else model.partial_fit(X[part], y[part])
    model.save(tmp_path / "quiet.s4")
    new = X[60:].copy()
    new[:, 1] = rng.standard_normal((20, 150))
    for each in (model, S4RidgeRegressor.load(tmp_path / "quiet.s4")):
        with pytest.warns(UserWarning, match=r"case 0 varies 9e\+03 times as much as any training case, 19 more"):
            predicted = each.predict(new)
        assert np.abs(predicted - y[60:]).max() < 4.0  # no larger than the range of y, 2 to 6
        with pytest.warns(UserWarning, match="the chunk varies"):
            np.testing.assert_allclose(each.stream().push(new[0]), predicted[:1], atol=1e-3)


def test_predict_returns_the_original_labels():
    X, y = waves()
    labels = np.array(["left", "right"])[y]
    assert S4RidgeClassifier(**SMALL).fit(X, labels).predict(X).tolist() == labels.tolist()


@pytest.mark.parametrize("form", [list, Signals, lambda X: Signals(X, ch_names=["a", "b"])])
def test_other_forms_of_the_same_cases_give_the_same_model(form):
    X, y = waves()
    expected = fitted().decision_function(X)
    np.testing.assert_array_equal(S4RidgeClassifier(**SMALL).fit(form(X), y).decision_function(form(X)), expected)


def test_epochs_set_rate_and_channel_names():
    mne = pytest.importorskip("mne")
    X, y = waves()
    epochs = mne.EpochsArray(X * 1e-6, mne.create_info(["C3", "C4"], 60.0, "eeg"), verbose="error")
    model = S4RidgeClassifier(**SMALL).fit(epochs, y)
    assert model.sfreq_ == 60.0
    assert model.ch_names_ == ["C3", "C4"]
    assert any("C3 x C4" in name for name in model.features_.get_feature_names_out())


def test_cases_of_unequal_length_are_classified():
    X, y = waves()
    cases = [x[:, : 60 + i] for i, x in enumerate(X)]
    assert S4RidgeClassifier(**SMALL).fit(cases, y).score(cases, y) == 1.0


def test_volts_and_microvolts_give_the_same_probabilities():
    X, y = waves()
    volts = S4RidgeClassifier(**SMALL, precision="64").fit(X * 1e-6, y).predict_proba(X * 1e-6)
    np.testing.assert_allclose(volts, fitted(precision="64").predict_proba(X), rtol=1e-6)


def test_random_state_determines_the_result():
    X, _ = waves()
    np.testing.assert_array_equal(fitted().decision_function(X), fitted().decision_function(X))
    assert (fitted(random_state=1).decision_function(X) != fitted().decision_function(X)).any()
    features = fitted().features_
    np.testing.assert_array_equal(clone(features).fit_transform(X), features.transform(X))


def test_half_the_rate_gives_the_same_labels():
    X, y = waves(n_times=240)
    model = S4RidgeClassifier(**SMALL, sfreq=120.0).fit(X, y)
    halved = model.predict_proba(X[..., ::2], sfreq=60.0)
    np.testing.assert_array_equal(halved.argmax(1), y)
    np.testing.assert_array_equal(model.predict(Signals(X[..., ::2], sfreq=60.0)), y)


def test_half_the_rate_is_classified_without_the_high_frequencies():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    times = np.arange(400) / 100
    slow = np.sin(2 * np.pi * np.array([3.0, 6.0])[y][:, None] * times + rng.uniform(0, 6, (60, 1)))
    fast = 3 * np.sin(2 * np.pi * np.array([35.0, 42.0])[y][:, None] * times + rng.uniform(0, 6, (60, 1)))
    X = Signals(slow + fast + rng.standard_normal((60, 400)), sfreq=100.0)
    model = S4RidgeClassifier(random_state=0).fit(X[:40], y[:40])
    assert model.score(X[40:], y[40:]) == 1.0
    assert model.score(X[40:].resample(50.0), y[40:]) == 1.0
    mixed = Signals.concatenate([X[40:50], X[50:].resample(50.0)])
    assert model.score(mixed, y[40:]) == 1.0


def test_probabilities_are_calibrated_on_leave_one_out_predictions():
    rng = np.random.default_rng(0)
    model = S4RidgeClassifier(**SMALL).fit(rng.standard_normal((60, 50)), rng.integers(0, 3, 60))
    probabilities = model.predict_proba(rng.standard_normal((20, 50)))
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    assert probabilities.max() < 0.8  # noise: the labels cannot be predicted
    X = rng.standard_normal((2, 50))
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))


def test_weight_zero_equals_leaving_the_case_out():
    X, y = waves()
    wrong = np.concatenate([y, 1 - y[:10]])
    weights = np.r_[np.ones(40), np.zeros(10)]
    model = S4RidgeClassifier(**SMALL).fit(np.concatenate([X, X[:10]]), wrong, sample_weight=weights)
    np.testing.assert_array_equal(model.decision_function(X), fitted().decision_function(X))


def test_balanced_class_weights_predict_the_rare_class_more_often():
    rng = np.random.default_rng(0)
    y = np.arange(240) % 6 == 0
    X, X_new = rng.standard_normal((2, 240, 50)) + 0.15 * y[:, None]
    plain = S4RidgeClassifier(**SMALL).fit(X, y).predict(X_new).mean()
    balanced = S4RidgeClassifier(**SMALL, class_weight="balanced").fit(X, y).predict(X_new).mean()
    assert plain < 0.1
    assert balanced > 0.2


def test_estimators_work_with_cross_validation_pipelines_and_clone():
    X, y = waves()
    assert cross_val_score(S4RidgeClassifier(**SMALL), Signals(X, sfreq=60.0), y, cv=3).mean() == 1.0
    features = make_pipeline(S4RandomFeatures(**SMALL), StandardScaler()).fit_transform(X)
    assert np.isfinite(features).all()
    copy = clone(fitted())
    assert not hasattr(copy, "ridge_")


def test_feature_names_contain_frequency_time_constant_statistic_and_channels():
    X, _ = waves()
    features = S4RandomFeatures(**SMALL, sfreq=60.0).fit(X)
    names = features.get_feature_names_out(["C3", "C4"])
    assert len(names) == len(set(names)) == features.transform(X).shape[1]
    frequency, tau = features.frequencies_[3], features.time_constants_[3]
    assert any(name.startswith("mean of cos") and f"{frequency:.4g} Hz, {tau:.4g} s" in name for name in names)
    lines = features.feature_map_.sizes["spectral lines"]
    assert names[-lines - 1].endswith("C4 x C4, whole")
    line, tau = features.frequencies_[-1], features.time_constants_[-1]
    assert names[-1] == f"power relative to neighbouring lines, {line:.4g} Hz, {tau:.4g} s, whole"
    slow = [name for name in names if name.startswith("mean of") and name.endswith("part 4 of 4")]
    assert 0 < len(slow) < sum(name.startswith("mean of") and name.endswith("whole") for name in names)
    assert any(name.startswith("PPV at") and name.endswith("C4, part 4 of 4") for name in names)
    with pytest.raises(ValueError, match="should have length equal to the number of channels 2"):
        features.get_feature_names_out(["C3"])


def test_flicker_is_classified_under_a_stronger_rhythm():
    rng = np.random.default_rng(0)
    y, times = np.arange(60) % 3, np.arange(512) / 128
    flicker = np.sin(2 * np.pi * np.array([13.0, 15.0, 17.0])[y][:, None] * times + rng.uniform(0, 6, (60, 1)))
    rhythm = 3 * np.sin(2 * np.pi * rng.uniform(8, 11, (60, 1)) * times + rng.uniform(0, 6, (60, 1)))
    mixed = rhythm[:, None] * [[1.0], [0.8]] + flicker[:, None] * [[0.3], [0.6]]
    X = Signals(mixed + rng.standard_normal((60, 2, 512)), sfreq=128.0)
    model = S4RidgeClassifier(random_state=0).fit(X[:30], y[:30])
    assert model.score(X[30:], y[30:]) > 0.9
    assert "narrow bands" in model.ridge_.blocks


@pytest.mark.parametrize("n_channels", [1, 3])
def test_waveforms_with_equal_spectra_are_classified(n_channels):
    # A tone and its octave: only their relative phase differs; the onset is random.
    rng, t = np.random.default_rng(0), np.arange(300) / 100
    y = np.arange(80) % 2
    onset = rng.random(80)
    tone = np.sin(2 * np.pi * 3.0 * (t + onset[:, None]))
    octave = np.sin(4 * np.pi * 3.0 * (t + onset[:, None]) + np.pi / 2 * y[:, None])
    X = (tone + octave)[:, None] + 0.3 * rng.standard_normal((80, n_channels, 300))
    model = S4RidgeClassifier(sfreq=100.0, random_state=0).fit(X[:40], y[:40])
    assert model.score(X[40:], y[40:]) >= 0.9
    assert "combinations" in model.ridge_.blocks


def test_unused_feature_blocks_are_not_computed():
    model = fitted()
    features, recordings = model.features_.feature_map_, Recordings(Signals(waves()[0]), Signals(waves()[0]), False)
    used = set(model.ridge_.blocks)
    assert used < {*features.sizes}
    some, everything = features.blocks(recordings, wanted=used), features.blocks(recordings)
    assert {name for name, block in some.items() if np.isfinite(block).all()} == used
    outputs = [
        model.ridge_.predict(np.concatenate(list(blocks.values()), axis=1), np.zeros(40, int))
        for blocks in (some, everything)
    ]
    np.testing.assert_array_equal(*outputs)


def test_many_channels_are_reduced_to_components():
    X, _ = waves(n_channels=20)
    features = S4RandomFeatures(**SMALL).fit(X)
    names = features.get_feature_names_out()
    assert features.transform(X).shape == (40, len(names))
    lines = features.feature_map_.sizes["spectral lines"]
    assert "component 12 x component 12" in names[-lines - 1]


def test_describe_reports_band_memory_features_and_penalty():
    text = fitted(sfreq=60.0).describe()
    model = fitted(sfreq=60.0)
    tau = model.features_.time_constants_
    used = ", ".join(model.ridge_.blocks)
    for part in (
        "S4RidgeClassifier: 2 channels",
        "sampling rate  60 Hz",
        "12 of orders (1, 2), 1 of them low-passes",
        f"memory         {tau.min():.3g} - {tau.max():.3g} s",
        f"features used  {used}\n",
        f"penalty        {model.ridge_.alpha:.3g}",
    ):
        assert part in text


def test_loaded_classifier_gives_the_same_outputs(tmp_path):
    X, y = waves()
    model = S4RidgeClassifier(**SMALL, sfreq=60.0, class_weight={0: 1.0, 1: 2.0}).fit(X, y)
    model.save(tmp_path / "waves.s4")
    again = S4RidgeClassifier.load(tmp_path / "waves.s4")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.get_params() == model.get_params()
    assert again.describe() == model.describe()
    np.testing.assert_array_equal(again.features_.transform(X), model.features_.transform(X))
    unpickled = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(unpickled.predict_proba(X), model.predict_proba(X))


def test_features_of_a_loaded_model_accept_the_same_inputs(tmp_path):
    X, y = waves(n_channels=1)
    model = S4RidgeClassifier(**SMALL).fit(X[:, 0], y)
    model.save(tmp_path / "waves.s4")
    again = S4RidgeClassifier.load(tmp_path / "waves.s4")
    assert (again.n_features_in_, again.features_.n_features_in_) == (120, 1)
    shorter = X[:, 0, :100]
    np.testing.assert_array_equal(again.features_.transform(shorter), model.features_.transform(shorter))


def test_loaded_regressor_gives_the_same_predictions(tmp_path):
    X, y = waves()
    model = S4RidgeRegressor(**SMALL).fit(X, y + 0.5)
    model.save(tmp_path / "waves.s4")
    np.testing.assert_array_equal(S4RidgeRegressor.load(tmp_path / "waves.s4").predict(X), model.predict(X))


def test_files_of_other_models_are_refused(tmp_path):
    fitted().save(tmp_path / "waves.s4")
    with pytest.raises(ModelFileError, match=r"holds a S4RidgeClassifier, not a S4RidgeRegressor"):
        S4RidgeRegressor.load(tmp_path / "waves.s4")
    with pytest.raises(ModelFileError, match=r"holds a S4RidgeClassifier, not a S4Classifier"):
        S4Classifier.load(tmp_path / "waves.s4")


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "waves.s4"
    fitted().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged"):
        S4RidgeClassifier.load(path)
    save_file(load_file(_saved(tmp_path)), path)
    with pytest.raises(ModelFileError, match="not a model of s4signal"):
        S4RidgeClassifier.load(path)


def _saved(folder):
    fitted().save(folder / "whole.s4")
    return folder / "whole.s4"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_oscillators": 0}, "n_oscillators=0 is unknown or out of range"),
        ({"orders": ()}, "orders=.* must be a tuple of whole numbers"),
        ({"n_spatial_filters": 1.5}, "n_spatial_filters=1.5 is unknown"),
        ({"n_windows": 0}, "n_windows=0 is unknown"),
        ({"sfreq": -1.0}, "sfreq=-1.0 is unknown"),
        ({"precision": "bf16"}, "precision='bf16' is unknown"),
        ({"class_weight": "even"}, "class_weight='even' is unknown"),
        ({"alphas": [1.0, 0.0]}, r"alphas=\[1.0, 0.0\] is out of range; it must be 'auto' or positive numbers"),
        ({"alphas": "ridge"}, "alphas='ridge' is out of range"),
        ({"alphas": ()}, r"alphas=\(\) is out of range"),
    ],
)
def test_error_names_the_invalid_parameter(change, message):
    with pytest.raises(ValueError, match=message):
        fitted(**change)


def test_invalid_signals_raise_the_same_errors_as_in_trained_models():
    X, y = waves()
    model = fitted()
    with pytest.raises(ShapeError, match="X has 3 channels"):
        model.predict(np.ones((2, 3, 120)))
    unobserved = np.where(np.arange(40)[:, None, None] == 1, np.nan, X)
    for call in (model.predict, lambda X: S4RidgeClassifier(**SMALL).fit(X, y)):
        with pytest.raises(ValueError, match=r"case 1 of X has no observation, all of it is NaN; leave the case out"):
            call(unobserved)
    with pytest.raises(ValueError, match="case 0: it contains infinity"):
        S4RidgeClassifier(**SMALL).fit(np.where(np.arange(40)[:, None, None] == 0, np.inf, np.abs(X)), y)
    with pytest.raises(ValueError, match="fitted without a sampling rate"):
        model.predict(X, sfreq=10.0)
    with pytest.raises(ValueError, match="at least one non-zero"):
        S4RidgeClassifier(**SMALL).fit(X, y, sample_weight=np.zeros(40))
    with pytest.raises(ValueError, match="times class_weight is zero for every case"):
        fitted(class_weight={0: 0.0, 1: 0.0})


def test_cases_of_one_subject_are_left_out_together():
    rng = np.random.default_rng(0)
    subjects, y = np.repeat(np.arange(8), 8), np.repeat(np.arange(2), 4).tolist() * 8
    patterns = np.array([rng.standard_normal((2, 60)) for _ in range(8)])  # identifies the subject, independent of y
    X = patterns[subjects] + 0.1 * rng.standard_normal((64, 2, 60)) + 0.3 * rng.standard_normal((64, 1, 1))
    X[:, 0] += np.where(np.array(y) == 1, 0.2, -0.2)[:, None] * rng.standard_normal((8, 1))[subjects]
    alone, together = (S4RidgeClassifier(n_oscillators=8, random_state=0).fit(X, y, groups=g) for g in (None, subjects))
    confidence = [np.abs(model.predict_proba(rng.standard_normal(X.shape)) - 0.5).max() for model in (alone, together)]
    assert confidence[1] < confidence[0]
    one_class_each = np.array(y) + 10
    same = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(X, y, groups=one_class_each)
    np.testing.assert_array_equal(same.predict_proba(X), alone.predict_proba(X))  # a class can't be left out
    with pytest.raises(ValueError, match=r"groups must have shape \(64,\)"):
        S4RidgeClassifier().fit(X, y, groups=subjects[:3])


def test_numbers_of_a_group_are_left_out_together():
    rng = np.random.default_rng(0)
    subjects, patterns = np.repeat(np.arange(8), 8), rng.standard_normal((8, 2, 60))
    X = patterns[subjects] + 0.1 * rng.standard_normal((64, 2, 60))
    y = rng.standard_normal(8)[subjects]  # known only from other cases of the same subject
    given = {"none": None, "subjects": subjects, "cases": np.arange(64), "one": np.zeros(64)}
    models = {name: S4RidgeRegressor(n_oscillators=8, random_state=0).fit(X, y, groups=g) for name, g in given.items()}
    z = (y - y.mean()) / y.std()
    errors = {name: np.square(model.ridge_.loo_predictions[:, 0] - z).mean() for name, model in models.items()}
    assert errors["subjects"] > 5 * errors["none"]
    assert errors["none"] == errors["cases"] == errors["one"]
