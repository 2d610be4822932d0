"""Channels at prediction are matched by name: reordered, ignored or masked, with one warning."""

import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from small_models import classifier, waves

from s4signal import S4RidgeClassifier, Signals
from s4signal.errors import ShapeError
from s4signal.estimators import Rereference, S4FilterBank, S4RandomFeatures
from s4signal.estimators.survey import spread
from s4signal.signals import Signal

__all__: list[str] = []

NAMES = ["Fp1", "Cz", "T7", "Oz"]
TEN = [f"{region}{side}" for region in ("Fp", "F", "C", "P", "O", "T", "FC") for side in "12z"][:19]
MODELS = {
    "closed form": lambda: S4RidgeClassifier(n_oscillators=16, precision="64", random_state=0),
    "network": lambda: classifier(precision="64", max_epochs=30, frontend="linear", bidirectional=False),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def named(X, names, **options):
    return Signals(X, sfreq=100.0, ch_names=names, **options)


def fitted(make, names=NAMES, n=40):
    X, y = waves(n, n_channels=len(names))
    return make().fit(named(X, names), y), waves(30, n_channels=len(names), seed=1)


@each_model
def test_another_order_gives_the_same_predictions(make):
    model, (Z, _) = fitted(make)
    expected = model.predict_proba(named(Z, NAMES))
    order = [2, 0, 3, 1]
    with pytest.warns(UserWarning, match="other channels than the model was fitted on: their order differs") as caught:
        moved = model.predict_proba(named(Z[:, order], [NAMES[i] for i in order]))
    np.testing.assert_array_equal(moved, expected)
    assert len(caught) == 1


@each_model
def test_other_spellings_are_matched_and_additional_channels_are_ignored(make):
    model, (Z, _) = fitted(make)
    wide = np.insert(Z, 1, 1e3, axis=1)
    with pytest.warns(
        UserWarning, match="ignored: EXG1; taken: EEG FP1-REF as Fp1, CZ as Cz, T3 as T7$|.*T3 as T7"
    ) as caught:
        moved = model.predict_proba(named(wide, ["EEG FP1-REF", "EXG1", "CZ", "T3", "Oz"]))
    np.testing.assert_array_equal(moved, model.predict_proba(named(Z, NAMES)))
    assert len(caught) == 1


@each_model
def test_missing_channels_are_masked_and_named_in_one_warning(make):
    model, (Z, y) = fitted(make, TEN)
    missing = [1, 5, 9, 13]
    kept = [i for i in range(19) if i not in missing]
    with pytest.warns(UserWarning, match="missing, and masked: Fp2, Fz, P1, O2") as caught:
        predictions = model.predict(named(Z[:, kept], [TEN[i] for i in kept]))
    assert len(caught) == 1
    assert (predictions == y).mean() > 0.8
    as_nan = Z.copy()
    as_nan[:, missing] = np.nan
    np.testing.assert_array_equal(predictions, model.predict(named(as_nan, TEN)))


@each_model
def test_cases_of_several_montages_are_predicted_together(make):
    model, (Z, _) = fitted(make)
    cases = [Signal(Z[0], sfreq=100, ch_names=NAMES), Signal(Z[1][::-1], sfreq=100, ch_names=NAMES[::-1])]
    cases.append(Signal(Z[2][:3], sfreq=100, ch_names=NAMES[:3]))
    with pytest.warns(UserWarning, match="missing, and masked: Oz"):
        together = model.predict_proba(cases)
    np.testing.assert_allclose(together[:2], model.predict_proba(named(Z[:2], NAMES)), atol=1e-9)


@each_model
def test_channels_without_any_match_are_refused(make):
    model, (Z, _) = fitted(make)
    with pytest.raises(
        ShapeError, match=r"channels \['a', 'b'\], .* fitted with \['Fp1', .*none of them matches, pick or"
    ):
        model.predict(named(Z[:, :2], ["a", "b"]))


@each_model
def test_arrays_and_equal_names_give_no_warning(make):
    model, (Z, _) = fitted(make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(named(Z, NAMES)), model.predict(Z))
    with pytest.raises(ShapeError, match=r"X has 3 channels, but .* was fitted with 4"):
        model.predict(Z[:, :3])
    unnamed = make().fit(Z, np.arange(30) % 2)
    np.testing.assert_array_equal(unnamed.predict(named(Z, ["a", "b", "c", "d"])), unnamed.predict(Z))


def test_loaded_models_and_transformers_match_channels_by_name(tmp_path):
    model, (Z, _) = fitted(MODELS["closed form"])
    model.save(tmp_path / "model.s4")
    moved = named(Z[:, ::-1], NAMES[::-1])
    with pytest.warns(UserWarning, match="order differs"):
        np.testing.assert_array_equal(
            type(model).load(tmp_path / "model.s4").predict(moved), model.predict(named(Z, NAMES))
        )
    for step in (S4RandomFeatures(n_oscillators=4, random_state=0), S4FilterBank(n_bands=4)):
        chain = make_pipeline(step).fit(named(Z, NAMES))
        with pytest.warns(UserWarning, match="order differs"):
            again = chain.transform(moved)
        assert np.array_equal(np.asarray(again), np.asarray(chain.transform(named(Z, NAMES))))


def test_network_with_missing_error_refuses_a_missing_channel():
    X, y = waves(n_channels=4)
    model = classifier(missing="error").fit(named(X, NAMES), y)
    with pytest.warns(UserWarning, match="masked: Oz"), pytest.raises(ValueError, match="contains NaN: case 0"):
        model.predict(named(X[:, :3], NAMES[:3]))


def test_channels_are_reordered_with_irregular_times(rng):
    X, y = waves(n_channels=4)
    times = [np.sort(rng.uniform(0, 0.6, X.shape[2])) for _ in X]
    model = MODELS["closed form"]().fit(named(X, NAMES, times=times), y)
    expected = model.predict_proba(named(X, NAMES, times=times))
    with pytest.warns(UserWarning, match="order differs"):
        moved = model.predict_proba(named(X[:, ::-1], NAMES[::-1], times=times))
    np.testing.assert_array_equal(moved, expected)


def test_no_warning_if_channels_nearly_sum_to_zero_in_fit_and_predict():
    rng = np.random.default_rng(0)
    X, y = waves(n_channels=4)
    nearly = np.asarray(Rereference().fit_transform(X)) + 0.005 * rng.standard_normal((len(X), 1, 60))
    model = S4RidgeClassifier(n_oscillators=4).fit(nearly, y)
    assert 1e-4 < min(spread(x)[1] for x in nearly) < 1e-3
    averaged = np.asarray(Rereference().fit_transform(X)) + 0.002 * rng.standard_normal((len(X), 1, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(averaged)


@pytest.mark.parametrize("model", [S4RidgeClassifier(n_oscillators=4), classifier(bidirectional=False, sfreq=100.0)])
@pytest.mark.parametrize("averaged_first", [False, True])
def test_another_reference_at_prediction_gives_a_warning(model, averaged_first):
    X, y = waves(n_channels=4)
    forms = [X, np.float32(1e3) + np.asarray(Rereference().fit_transform(X), dtype=np.float32)]  # rounded, as in files
    own, other = forms[::-1] if averaged_first else forms
    model.fit(own, y)
    holes = own.copy()
    holes[:, 0, 5:9] = holes[1, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (own, holes):  # cases with gaps are not checked
            model.predict(same)
    with pytest.warns(UserWarning, match="flat in case 0 and 23 more, but in no training case") as caught:
        model.predict(other[:, :, :1] + np.zeros(60))  # flat cases are not checked either
    assert len(caught) == 1
    adds_up = "does not add up to zero over channels, as every" if averaged_first else "adds up to zero .*, as no"
    for mixed in (other, np.where(np.isnan(holes), holes, other)):
        with pytest.warns(UserWarning, match=f"case 0 {adds_up} training case does, 2[23] more as well: another ref"):
            model.predict(mixed)
    stream = model.stream()
    with pytest.warns(UserWarning, match=f"the chunk {adds_up} training case does: another reference"):
        stream.push(other[0, :, :8])
    stream.push(other[0, :, 8:])  # warned once
