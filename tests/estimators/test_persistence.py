"""Model files: loading restores the model bit for bit; any other file raises a clear error."""

import json
import struct
from datetime import date

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scripts import run_code
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from small_models import classifier, regressor, same_weights, waves

from s4signal import S4Classifier, S4Regressor, S4RidgeClassifier
from s4signal.errors import ModelFileError
from s4signal.estimators.trained.base import S4Estimator
from s4signal.training.tensor_file import read_tensor_file, write_tensor_file

LABELS = {
    "str": np.array(["slow", "fäst"]),
    "bool": np.array([False, True]),
    "int64": np.array([3, -7]),
    "uint8": np.array([0, 1], dtype=np.uint8),
    "float32": np.array([-1.0, 2.0], dtype=np.float32),
    "object": np.array(["slow", "fast"], dtype=object),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "waves.s4"
    X, y = waves()
    classifier().fit(X, np.array(["slow", "fast"])[y]).save(path)
    return path


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_loaded_classifier_is_bit_identical(labels, tmp_path):
    X, y = waves()
    model = classifier(class_weight={label: 1 + i for i, label in enumerate(labels.tolist())}).fit(X, labels[y])
    model.save(tmp_path / "a.s4")
    loaded = S4Classifier.load(tmp_path / "a.s4")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.predict(X).tolist() == model.predict(X).tolist()
    assert loaded.classes_.dtype == loaded.predict(X).dtype == labels.dtype
    assert loaded.get_params() == model.get_params()
    assert same_weights(loaded.fit(X, labels[y]), model)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("n_outputs", [None, 1, 3])
def test_loaded_regressor_is_bit_identical(n_outputs, precision, tmp_path):
    X, y = waves()
    targets = 1e3 * y if n_outputs is None else np.outer(y, np.arange(1.0, n_outputs + 1))
    model = regressor(precision=precision).fit(X, targets)
    model.save(str(tmp_path / "a.s4"))
    loaded = S4Regressor.load(str(tmp_path / "a.s4"))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.predict(X).shape == targets.shape
    assert (loaded.history_, loaded.n_iter_, loaded.best_epoch_) == (model.history_, model.n_iter_, model.best_epoch_)
    assert loaded.describe() == model.describe()


def test_loaded_classifier_with_a_filter_bank_is_bit_identical(tmp_path):
    X, y = waves(8, n_channels=1, n_times=1600)
    model = classifier(sfreq=8000.0, timescale=(0.02, 0.2), bidirectional=False).fit(X, y)
    model.save(tmp_path / "a.s4")
    loaded = S4Classifier.load(tmp_path / "a.s4")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    half = X[:, :, ::2]
    np.testing.assert_array_equal(loaded.predict_proba(half, sfreq=4000.0), model.predict_proba(half, sfreq=4000.0))
    np.testing.assert_array_equal(loaded.stream().push(X[0]), model.stream().push(X[0]))
    assert loaded.timescale == (0.02, 0.2)


@pytest.mark.parametrize("model", [classifier(sfreq=50.0), S4RidgeClassifier(n_oscillators=4, sfreq=50.0)])
def test_input_and_duration_of_the_fit_are_restored(model, tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = waves(n_channels=1)
    frame = pandas.DataFrame(X[:, 0], columns=[f"t{i}" for i in range(X.shape[2])])
    model = clone(model).fit(frame, y)
    model.save(tmp_path / "a.s4")
    again = type(model).load(tmp_path / "a.s4")
    for name in ("n_features_in_", "n_channels_in_", "ch_names_", "sfreq_", "fit_seconds_"):
        assert getattr(again, name) == getattr(model, name)
    assert again.feature_names_in_.tolist() == frame.columns.tolist()
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))


def test_loaded_model_continues_training(saved):
    X, y = waves()
    model = S4Classifier.load(saved)
    model.partial_fit(X, np.array(["slow", "fast"])[y])
    assert model.n_iter_ == 3
    assert len(model.set_params(warm_start=True).fit(X, np.array(["slow", "fast"])[y]).history_) == 2


def test_base_class_loads_the_saved_class(saved):
    assert type(S4Estimator.load(saved)) is S4Classifier


def test_a_model_predicts_the_same_in_another_process(saved, tmp_path):
    X, _ = waves()
    np.save(tmp_path / "X.npy", X)
    code = (
        "import sys, numpy as np, torch; torch.set_num_threads(1); from s4signal import S4Classifier\n"
        "model = S4Classifier.load(sys.argv[1])\n"
        "np.save(sys.argv[2] + '/p.npy', model.predict_proba(np.load(sys.argv[2] + '/X.npy')))"
    )
    run_code(code, saved, tmp_path, warnings="error")
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), S4Classifier.load(saved).predict_proba(X))


def test_loading_does_not_change_the_global_random_state(saved):
    before = torch.get_rng_state()
    S4Classifier.load(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_there_is_no_pickle_in_the_file(saved):
    content = saved.read_bytes()
    n_header = struct.unpack("<Q", content[:8])[0]
    assert json.loads(content[8 : 8 + n_header])["__metadata__"]["format"] == "s4signal 1"
    for mark in (b"\x80\x02", b"\x80\x04\x95", b"PK\x03\x04"):
        assert not content[8 + n_header :].startswith(mark)
        assert mark not in content[: 8 + n_header]


def test_an_unfitted_estimator_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError, match="This S4Classifier instance is not fitted yet"):
        classifier().save(tmp_path / "a.s4")


def test_parameters_and_labels_without_a_plain_form_are_not_saved(tmp_path):
    X, y = waves()
    model = classifier(random_state=np.random.RandomState(0)).fit(X, y)
    with pytest.raises(ValueError, match=r"type RandomState has no plain form; set the parameter to a plain value"):
        model.save(tmp_path / "a.s4")
    model = classifier().fit(X, np.array(["2020", "2021"], dtype="M8[Y]")[y].astype(object).astype(str))
    model.classes_ = np.array(["2020", "2021"], dtype="M8[Y]")
    with pytest.raises(ValueError, match=r"labels of dtype datetime64\[Y\] cannot be saved; fit with strings"):
        model.save(tmp_path / "a.s4")
    model.classes_ = np.array(list("abcde"), dtype="<U999999")
    with pytest.raises(ValueError, match="labels of dtype <U999999 cannot be saved"):
        model.save(tmp_path / "a.s4")
    model.classes_ = np.array([date(2020, 1, 1), date(2021, 1, 1)], dtype=object)
    with pytest.raises(ValueError, match="labels of dtype object cannot be saved; fit with strings"):
        model.save(tmp_path / "a.s4")
    assert not (tmp_path / "a.s4").exists()


def test_error_names_the_missing_folder(tmp_path):
    X, y = waves()
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; create the folder first"):
        classifier().fit(X, y).save(tmp_path / "nowhere" / "a.s4")


def test_numpy_numbers_and_paths_are_saved(tmp_path):
    X, y = waves()
    model = classifier(d_model=np.int64(8), dropout=np.float32(0.1), checkpoint_dir=tmp_path).fit(X, y)
    model.save(tmp_path / "a.s4")
    assert S4Classifier.load(tmp_path / "a.s4").d_model == 8


@pytest.mark.parametrize("name", ["nowhere.s4", "."])
def test_a_wrong_path_is_refused(name, tmp_path):
    with pytest.raises(ModelFileError, match="does not exist or is no file"):
        S4Classifier.load(tmp_path / name)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 0.3, 0.6, 0.9, -1])
def test_a_truncated_file_is_refused(kept, saved, tmp_path):
    content = saved.read_bytes()
    (tmp_path / "a.s4").write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(ModelFileError, match="is not a model that s4signal saved, or it is damaged"):
        S4Classifier.load(tmp_path / "a.s4")


def test_random_bytes_are_refused(tmp_path, rng):
    for n_bytes in (1, 8, 100, 10_000):
        (tmp_path / "a.s4").write_bytes(rng.bytes(n_bytes))
        with pytest.raises(ModelFileError, match="is not a model that s4signal saved, or it is damaged"):
            S4Classifier.load(tmp_path / "a.s4")


def test_a_file_of_another_program_is_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "a.s4")
    with pytest.raises(ModelFileError, match="is a safetensors file, but not a model of s4signal"):
        S4Classifier.load(tmp_path / "a.s4")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "a.s4")
    with pytest.raises(ModelFileError, match="is not a model that s4signal saved"):
        S4Classifier.load(tmp_path / "a.s4")


def test_the_model_of_another_estimator_is_refused(saved):
    with pytest.raises(ModelFileError, match=r"holds a S4Classifier, not a S4Regressor; use S4Classifier\.load"):
        S4Regressor.load(saved)


def edit(source, target, change):
    """Copy a model file with an edited header and a valid checksum."""
    arrays, text = read_tensor_file(source, kind="model")
    header = json.loads(text)
    change(header)
    write_tensor_file(target, arrays, json.dumps(header), kind="model")
    return target


def plan(header):
    return header["model"]["plan"]


EDITS = {
    "unknown class": (lambda h: h.update(estimator="S5Oracle"), "holds a S5Oracle, not a S4Classifier"),
    "unknown parameter": (lambda h: h["parameters"].update(d_mode=3), "d_mode"),
    "parameter out of range": (lambda h: h["parameters"].update(d_model=-1), "d_model=-1 is unknown or out of range"),
    "no parameters": (lambda h: h.pop("parameters"), "parameters"),
    "no plan": (lambda h: h["model"].pop("plan"), "the entry plan is missing"),
    "plan of another width": (lambda h: plan(h)["stack"].update(d_model=16), r"head.weight has shape \(2, 8\)"),
    "plan of more outputs": (lambda h: plan(h).update(n_outputs=10**7), r"head.weight has shape \(2, 8\)"),
    "plan of more layers": (lambda h: plan(h)["stack"].update(n_layers=10**5), "100000 layers, but there are"),
    "plan of a larger state": (lambda h: plan(h)["stack"].update(d_state=6000), "d_state=6000 does not match"),
    "plan of an unknown front end": (lambda h: plan(h).update(frontend="ear"), "no front end 'ear'"),
    "plan of a filter bank": (lambda h: plan(h).update(frontend="filterbank"), "damaged"),
    "plan of other channels": (lambda h: plan(h).update(n_channels=3), "frontend.mix.weight has shape"),
    "plan of a hop of years": (lambda h: plan(h).update(hop_s=1e9), "the entry hop_s is out of range: 1"),
    "plan of text": (lambda h: plan(h).update(dt_range="ab"), "the entry dt_range must be list"),
    "plan of an unknown pooling": (lambda h: plan(h).update(pooling="min"), "pooling='min' is unknown"),
    "plan of another kernel": (lambda h: plan(h)["stack"].update(kernel="s9"), "kernel='s9' is unknown"),
    "masks of no channel": (lambda h: plan(h)["sampling"].update(masked=[7]), "masks of the channels"),
    "unknown augmentation": (lambda h: plan(h).update(augmentation=["louder"]), "augmentation="),
    "history of text": (lambda h: h.update(history=["ab"]), "the entry history must be dict"),
    "no targets": (lambda h: h.pop("targets"), "targets"),
    "no number of channels": (lambda h: h["input"].pop("n_channels_in_"), "n_channels_in_ is missing"),
    "names of too few channels": (
        lambda h: h["input"].update(ch_names_=["a"]),
        "ch_names_ must have . items, it has 1",
    ),
    "names of too few features": (
        lambda h: h["input"].update(feature_names_in_={"dtype": "<U1", "values": ["a"]}),
        "feature_names_in_ must be one string for each feature",
    ),
    "a rate of zero": (lambda h: h["input"].update(sfreq_=0), "the entry sfreq_ is out of range: 0"),
    "an infinite rate": (lambda h: h["input"].update(sfreq_=np.inf), "the entry sfreq_ is out of range: inf"),
    "a fit of no duration": (
        lambda h: h["input"].update(fit_seconds_=-1),
        "the entry fit_seconds_ is out of range: -1",
    ),
    "labels of another type": (
        lambda h: h["targets"]["classes"].update(dtype="<i8", values=[0.5, 1.5]),
        "the values of an array are not of its dtype, <i8",
    ),
    "labels of a gigabyte": (
        lambda h: h["targets"]["classes"].update(dtype="<U999999", values=["a"] * 300),
        "an array of 300 strings of dtype <U999999 is too large for a model file",
    ),
    "no classes": (lambda h: h["targets"].pop("classes"), "classes is missing"),
    "labels reversed": (lambda h: h["targets"]["classes"]["values"].reverse(), "labels in ascending order"),
    "other channels": (lambda h: h["input"].update(n_channels_in_=3), "different numbers of channels"),
    "a method replaced": (lambda h: h["parameters"].update(predict=3), "predict, which no file may set"),
    "a folder to write to": (lambda h: h["parameters"].update(checkpoint_dir="x"), "checkpoint_dir, which no file"),
    "an array of objects": (
        lambda h: h["targets"]["classes"].update(dtype="V8"),
        r"an array of dtype V8 is not allowed in a model file",
    ),
    "an array of no dtype": (lambda h: h["targets"]["classes"].update(dtype="zzz"), "zzz"),
}


@pytest.mark.parametrize(("change", "text"), EDITS.values(), ids=EDITS)
def test_an_edited_header_is_refused(change, text, saved, tmp_path):
    path = edit(saved, tmp_path / "a.s4", change)
    with pytest.raises(ModelFileError, match=text):
        S4Classifier.load(path)


def test_weights_that_are_not_finite_are_refused(saved, tmp_path):
    assert not S4Classifier.load(saved).network_.training
    arrays, text = read_tensor_file(saved, kind="model")
    (name,) = (name for name in arrays if name.endswith("blocks.0.layer.kernel.C"))
    arrays[name] = np.full_like(arrays[name], np.nan)
    write_tensor_file(tmp_path / "a.s4", arrays, text, kind="model")
    with pytest.raises(ModelFileError, match="a weight of the network is not finite"):
        S4Classifier.load(tmp_path / "a.s4")


def test_oscillators_without_a_bandwidth_are_refused(tmp_path):
    X, y = waves()
    S4RidgeClassifier(n_oscillators=4).fit(X, y).save(tmp_path / "a.s4")
    arrays, text = read_tensor_file(tmp_path / "a.s4", kind="model")
    (name,) = (name for name in arrays if name.endswith("oscillators.bandwidths_hz"))
    arrays[name] = np.zeros_like(arrays[name])
    write_tensor_file(tmp_path / "a.s4", arrays, text, kind="model")
    with pytest.raises(ModelFileError, match="bandwidths_hz has values that are not positive"):
        S4RidgeClassifier.load(tmp_path / "a.s4")


def test_model_of_an_unavailable_device_loads_with_device_auto(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    X, _ = waves()
    path = edit(saved, tmp_path / "a.s4", lambda h: h["parameters"].update(device="cuda:3"))
    assert S4Classifier.load(path).device == "auto"
    assert len(S4Classifier.load(path).predict(X)) == 24
