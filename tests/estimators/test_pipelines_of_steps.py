"""Pipelines of preprocessing steps and a model: one file without pickle, one stream, bad trials and offsets."""

import numpy as np
import pytest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from small_models import classifier, regressor, waves

from s4signal import S4Classifier, S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.errors import ModelFileError
from s4signal.estimators import (
    AlignRecordings,
    BandPass,
    Baseline,
    Clip,
    Notch,
    Rereference,
    Resample,
    RobustScale,
    ToArray,
    load_pipeline,
    save_pipeline,
    stream_pipeline,
)
from s4signal.estimators.model_file import read_model, write_model

__all__: list[str] = []


def causal_steps():
    return [
        ("band", BandPass(1, 40, causal=True)),
        ("notch", Notch(30, causal=True)),
        ("reference", Rereference()),
        ("scale", RobustScale()),
        ("clip", Clip(5)),
    ]


def recordings(n=24):
    X, y = waves(n, n_channels=3, n_times=200)
    return Signals(1e-5 * (X + 4), sfreq=100.0), y


MODELS = {
    "closed form": S4RidgeClassifier(n_oscillators=4, precision="64", random_state=0),
    "closed-form regressor": S4RidgeRegressor(n_oscillators=4, precision="64", random_state=0),
    "network": classifier(bidirectional=False),
    "network regressor": regressor(bidirectional=False),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def outputs(pipeline, X):
    return pipeline.predict_proba(X) if hasattr(pipeline, "predict_proba") else pipeline.predict(X)[:, np.newaxis]


@each_model
def test_a_pipeline_is_saved_and_loaded_without_pickle(model, tmp_path):
    X, y = recordings()
    fitted = Pipeline([*causal_steps(), ("nothing", "passthrough"), ("model", model)]).fit(X, y)
    save_pipeline(fitted, tmp_path / "pipeline.s4")
    again = load_pipeline(tmp_path / "pipeline.s4")
    assert [name for name, _ in again.steps] == ["band", "notch", "reference", "scale", "clip", "model"]
    np.testing.assert_array_equal(outputs(again, X), outputs(fitted, X))
    assert b"pickle" not in (tmp_path / "pipeline.s4").read_bytes()


@each_model
def test_pipeline_stream_equals_prediction(model):
    X, y = recordings()
    fitted = Pipeline([*causal_steps(), ("model", model)]).fit(X, y)
    stream = stream_pipeline(fitted)
    for case in (X[0], X[1]):
        stream.reset()
        for chunk in np.split(case.data, [7, 8, 8, 93, 150], axis=1):
            scores = stream.push(chunk)
        np.testing.assert_allclose(scores, outputs(fitted, [case])[0], atol=2e-5)


def test_dropped_packets_give_the_same_result_in_stream_and_transform():
    X, y = recordings()
    steps = BandPass(1, 40, causal=True), Rereference(), RobustScale(), Clip()
    fitted = make_pipeline(*steps, S4RidgeClassifier(n_oscillators=4, precision="64")).fit(X, y)
    data = X[0].data.copy()
    data[:, :5] = np.nan
    data[:, 60:75] = np.nan
    whole = fitted[:-1].transform(Signals([data], sfreq=100.0))[0].data
    stream = stream_pipeline(fitted[:-1])
    parts = [stream.push(chunk) for chunk in np.split(data, [3, 10, 65, 70, 120], axis=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-9, atol=1e-12)
    assert (np.isnan(whole) == np.isnan(data)).all()
    transposed = stream_pipeline(fitted, time_first=True)
    for chunk in np.split(X[1].data, 4, axis=1):
        scores = transposed.push(chunk.T)
    np.testing.assert_allclose(scores, fitted.predict_proba(X[1:2])[0], atol=2e-5)


def test_windowed_stream_equals_prediction_of_the_last_transformed_window():
    X, y = recordings()
    fitted = make_pipeline(BandPass(1, 40, causal=True), S4RidgeClassifier(n_oscillators=4, precision="64")).fit(X, y)
    stream = stream_pipeline(fitted, window_s=1.0, step_s=0.5)
    for chunk in np.split(X[0].data, 4, axis=1):
        scores = stream.push(chunk)
    last = fitted[0].transform(X[:1])[0].crop(100, 200)
    np.testing.assert_allclose(scores, fitted[-1].predict_proba([last])[0], atol=2e-5)


def test_alignment_in_a_pipeline_is_saved_and_streamed(tmp_path):
    X, y = recordings()
    fitted = make_pipeline(BandPass(1, 40, causal=True), AlignRecordings(), S4RidgeClassifier(n_oscillators=4)).fit(
        X, y
    )
    save_pipeline(fitted, tmp_path / "pipeline.s4")
    again = load_pipeline(tmp_path / "pipeline.s4")
    np.testing.assert_array_equal(outputs(again, X), outputs(fitted, X))
    streams = [stream_pipeline(pipeline) for pipeline in (again, fitted)]
    np.testing.assert_array_equal(*(stream.push(X[0].data) for stream in streams))


def test_stream_of_each_step_equals_transform(rng):
    X, _ = recordings()
    for name, step in causal_steps():
        whole = step.fit_transform(X)[3].data
        stream = step.stream()
        parts = [stream.push(chunk) for chunk in np.split(X[3].data, [1, 50, 51], axis=1)]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-9, atol=1e-12, err_msg=name)
        assert stream.push(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (BandPass(1, 40), r"BandPass looks ahead; fit with causal=True to stream"),
        (Notch(30), r"Notch looks ahead; fit with causal=True to stream"),
        (Resample(50), r"Resample needs the whole case, so it cannot be streamed"),
        (Baseline(None, None), r"Baseline needs the whole case, so it cannot be streamed"),
    ],
)
def test_noncausal_steps_cannot_be_streamed(step, match):
    X, y = recordings()
    with pytest.raises(ValueError, match=match):
        stream_pipeline(make_pipeline(step, S4RidgeClassifier(n_oscillators=4)).fit(X, y))


def test_stream_at_another_rate_equals_prediction_at_that_rate(rng):
    X, y = recordings()
    fitted = make_pipeline(BandPass(1, 40, causal=True), S4RidgeClassifier(n_oscillators=4)).fit(X, y)
    slow = Signals(1e-5 * rng.standard_normal((1, 3, 400)), sfreq=90.0)
    scores = stream_pipeline(fitted, sfreq=90.0).push(slow[0].data)
    np.testing.assert_allclose(scores, fitted.predict_proba(slow)[0], atol=2e-5)
    with pytest.raises(ValueError, match="sfreq=-90 must be a positive number"):
        fitted[0].stream(sfreq=-90)
    with pytest.raises(ValueError, match=r"BandPass: 40 Hz is not below half of sfreq=60"):
        stream_pipeline(fitted, sfreq=60.0)


def test_other_types_are_neither_saved_nor_loaded(tmp_path):
    X, y = recordings()
    other = Pipeline(
        [("flat", ToArray()), ("mean", FunctionTransformer(np.mean, kw_args={"axis": 2})), ("clip", Clip())]
    )
    with pytest.raises(TypeError, match=r"step 'mean' is a FunctionTransformer, which cannot be saved without pickle"):
        save_pipeline(other.fit(X), tmp_path / "pipeline.s4")
    model = S4RidgeClassifier(n_oscillators=4).fit(X, y)
    with pytest.raises(TypeError, match=r"a Pipeline is needed, got S4RidgeClassifier; models have save"):
        save_pipeline(model, tmp_path / "pipeline.s4")
    model.save(tmp_path / "model.s4")
    with pytest.raises(ModelFileError, match=r"holds a S4RidgeClassifier, not a pipeline; use S4RidgeClassifier.load"):
        load_pipeline(tmp_path / "model.s4")
    save_pipeline(make_pipeline(Clip(5), model).fit(X, y), tmp_path / "pipeline.s4")
    with pytest.raises(ModelFileError, match=r"it holds a Pipeline, not a S4RidgeClassifier; use load_pipeline"):
        S4RidgeClassifier.load(tmp_path / "pipeline.s4")


def test_damaged_file_raises_model_file_error(tmp_path):
    X, y = recordings()
    save_pipeline(make_pipeline(Clip(5), S4RidgeClassifier(n_oscillators=4)).fit(X, y), tmp_path / "pipeline.s4")
    content = (tmp_path / "pipeline.s4").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.s4").write_bytes(damaged)
        with pytest.raises(ModelFileError):
            load_pipeline(tmp_path / "damaged.s4")


@pytest.mark.parametrize("entry", ["parameters", "center_"])
def test_file_with_an_invalid_parameter_or_array_is_refused(entry, tmp_path):
    Clip(5).fit(recordings()[0]).save(tmp_path / "clip.s4")
    state = read_model(tmp_path / "clip.s4")
    if entry == "parameters":
        state.plain["parameters"]["limit"] = -1.0
    else:
        state.arrays["center_"] = state.arrays["center_"] * np.nan
    write_model(tmp_path / "clip.s4", state)
    with pytest.raises(ModelFileError, match=r"limit=-1.0 must be a positive|not finite"):
        Clip.load(tmp_path / "clip.s4")


def score_of(steps, X, y, n_train):
    size = {"d_model": 16, "d_state": 16, "n_layers": 1, "readout": "pooled", "max_epochs": 30}
    model = S4Classifier(**size, random_state=0, sfreq=100.0)
    return make_pipeline(*steps, model).fit(X[:n_train], y[:n_train]).score(X[n_train:], y[n_train:])


@pytest.fixture(scope="module")
def clean():
    """Return the score on clean trials."""
    return score_of([], *waves(160, n_channels=2, n_times=100), 80)


@pytest.mark.slow
def test_network_after_clip_is_robust_to_one_bad_trial(clean):
    X, y = waves(160, n_channels=2, n_times=100)
    bad = X.copy()
    bad[3] *= 1000
    assert clean > 0.9
    assert score_of([RobustScale(sfreq=100), Clip()], bad, y, 80) > clean - 0.05


@pytest.mark.slow
@pytest.mark.parametrize("step", [BandPass(l_freq=1, order=2, sfreq=100), Baseline(None, None, sfreq=100)])
def test_network_after_offset_removal_is_robust_to_offsets_of_recordings(step, clean):
    X, y = waves(160, n_channels=2, n_times=100)
    level = 300 * np.random.default_rng(1).standard_normal((16, 2, 1))
    assert score_of([step], X + np.repeat(level, 10, axis=0), y, 80) > clean - 0.05
