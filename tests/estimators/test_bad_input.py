"""Invalid input to both estimators: each error states the cause and the remedy, before any training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from small_models import classifier, regressor, waves
from torch import nn

from s4signal import Signals
from s4signal.errors import ShapeError
from s4signal.estimators.parameters import _RULES

X, Y = waves()
TIMES = [np.arange(60) / 100.0] * 24
BOTH = pytest.mark.parametrize("make", [classifier, regressor])


def with_value(value, case=5):
    bad = X.copy()
    bad[case, 1, 3] = value
    return bad


def with_times(times, position=2):
    all_times = list(TIMES)
    all_times[position] = times
    return all_times


def with_case(case, position=2):
    cases = list(X)
    cases[position] = case
    return cases


@pytest.fixture(autouse=True)
def _no_training(request, monkeypatch):
    """Fail if training starts: every error must be raised before."""

    def refuse(*args, **kwargs):
        pytest.fail("training began")

    if "fitted" not in request.fixturenames:
        monkeypatch.setattr("s4signal.estimators.trained.fitting.fit_network", refuse)


@pytest.fixture(params=[classifier, regressor])
def fitted(request):
    return request.param().fit(X, Y)


SIGNALS = {
    "one axis": (X[0, 0], ValueError, "Expected 2D array, got 1D array instead"),
    "four axes": (X[None], ShapeError, r"X must have shape \(n_samples, n_channels, n_times\).*got \(1, 24, 2, 60\)"),
    "time second": (
        np.zeros((24, 3000, 64)),
        ShapeError,
        r"X must have shape \(n_samples, n_channels, n_times\), got \(24, 3000, 64\)\. "
        r"If time comes second, pass X\.transpose\(0, 2, 1\)",
    ),
    "infinity": (
        with_value(-np.inf),
        ValueError,
        r"case 5: it contains infinity, in 1 of 120 samples\..* clip the recording",
    ),
    "empty case": (with_case(np.zeros((2, 0))), ShapeError, r"case 2: it is empty, with shape \(2, 0\)\. Leave it out"),
    "no case": (X[:0], ShapeError, r"Found array with 0 sample\(s\)"),
    "no case in a list": ([], ShapeError, "X holds no case; at least one is needed"),
    "no case in Signals": (Signals(X)[:0], ShapeError, r"Found 0 case\(s\) in X while a minimum of 1 is required"),
    "no sample": (X[:, :, :0], ShapeError, r"Found array with 0 feature\(s\)"),
    "no channel": (X[:, :0], ShapeError, r"Found array with 0 feature\(s\)"),
    "complex": (X + 1j, ValueError, r"Complex data not supported: got complex128\. Pass \.real"),
    "complex and flat": (X[:, 0] + 1j, ValueError, "Complex data not supported"),
    "complex in a list": (with_case(X[0] + 1j), ValueError, "case 2: Complex data not supported"),
    "strings": (np.full((24, 2, 60), "a"), TypeError, "X must hold real numbers, got dtype <U1"),
    "flat strings": (np.full((24, 60), "a"), ValueError, "could not convert string to float"),
    "a path": ("recording.edf", TypeError, r"X holds .recording\.edf., but recordings are needed\. Open files with"),
    "a path object": (Path("recording.edf"), TypeError, r"X holds .recording\.edf., but recordings are needed"),
    "None": (None, ValueError, "Expected 2D array, got scalar array instead"),
    "another number of channels in one case": (
        with_case(X[0, :1]),
        ShapeError,
        "the cases differ: .*has 2 .*has 1 channels",
    ),
    "a case of three axes": (with_case(X), ShapeError, r"case 2: it must have shape \(n_channels, n_times\)"),
    "sparse": (scipy.sparse.csr_array(X[:, 0]), TypeError, "Sparse data was passed"),
    "no observation": (with_case(np.full((2, 9), np.nan)), ValueError, "case 2 of X has no observation, all.*leave"),
    "all samples masked": (np.ma.masked_array(X, np.inf > X), ValueError, "case 0 of X has no observation"),
}


@BOTH
@pytest.mark.parametrize(("signals", "error", "text"), SIGNALS.values(), ids=SIGNALS)
def test_unusable_signals_are_refused(make, signals, error, text):
    with pytest.raises(error, match=text):
        make().fit(signals, Y)


MISSING = {
    "NaN": (with_value(np.nan), r"Input X contains NaN: case 5 has 1 such samples of 120\. Interpolate it"),
    "in a list": (with_case(np.full((2, 9), np.nan)), "Input X contains NaN: case 2 has 18 such"),
    "in Signals": (Signals([*Signals(X[:23]), Signals(with_value(np.nan))[5]]), "Input X contains NaN: case 23 has 1"),
    "masked": (np.ma.masked_array(X, X > 1), "Input X contains NaN: case 0"),
}


@BOTH
@pytest.mark.parametrize(("signals", "text"), MISSING.values(), ids=MISSING)
def test_missing_samples_are_refused_with_missing_error(make, signals, text):
    with pytest.raises(ValueError, match=text):
        make(missing="error").fit(signals, Y)
    with pytest.raises(ValueError, match=text.replace("Input X", "Input X_val")):
        make(missing="error").fit(X, Y, X_val=signals, y_val=Y)


TARGETS = {
    "none": (None, ValueError, "requires y to be passed, but the target y is None"),
    "too few": (Y[:-1], ShapeError, "X and y have inconsistent numbers of samples: 24 cases and 23 targets"),
    "NaN": (np.where(Y == 0, np.nan, 1.0), ValueError, "Input.* contains NaN"),
    "infinity": (np.where(Y == 0, np.inf, 1.0), ValueError, "Input.* contains infinity"),
    "NA": ([1, pd.NA] * 12, ValueError, "y contains NaN or None: case 1 has no label"),
    "NA in a table": (pd.DataFrame([[1, 0], [0, pd.NA]] * 12), ValueError, "y contains NaN or None: case 1 has no"),
    "NaT": ([pd.Timestamp(2020, 1, 1), pd.NaT] * 12, ValueError, "y contains NaN or None: case 1 has no label"),
    "dates": (pd.to_datetime(["2020", None] * 12), ValueError, r"y holds dates or durations \(datetime64.* labels as"),
    "durations": (np.arange(24).astype("m8[s]"), ValueError, r"y holds dates or durations \(timedelta64\[s\]\)"),
}
LABELS = {
    **TARGETS,
    "one class": (np.zeros(24, int), ValueError, r"y has 1 class \(0\); a classifier needs at least 2 classes"),
    "a missing label": (np.array(["a", None] * 12), ValueError, r"y contains NaN or None: case 1 has no label; leave"),
    "NaN among strings": (["a", np.nan] * 12, ValueError, r"y contains NaN or None: case 1 has no label; leave"),
    "strings and numbers": (
        np.array(["a", 3] * 12, object),
        ValueError,
        r"labels of type int, str; all of them must be",
    ),
    "bytes": (np.array([b"a", b"b"] * 12), ValueError, r"y holds labels of type bytes; all of them must be texts, or"),
    "numbers": (np.linspace(0, 1, 24), ValueError, "Unknown label type: continuous"),
    "two columns": (np.stack([Y, 2 * Y], 1), ValueError, r"y of shape \(24, 2\) must hold tags, 0 or 1 each"),
}
NUMBERS = {
    **TARGETS,
    "strings": (np.array(["slow", "fast"])[Y], ValueError, "could not convert string to float"),
    "three axes": (np.zeros((24, 1, 1)), ValueError, "Found array with dim 3"),
    "too large": (np.where(Y == 0, -1e308, 1e308), ValueError, r"y has values up to 1e\+308, whose squares overflow"),
}


@pytest.mark.parametrize(("y", "error", "text"), LABELS.values(), ids=LABELS)
def test_unusable_labels_are_refused(y, error, text):
    with pytest.raises(error, match=text):
        classifier().fit(X, y)


@pytest.mark.parametrize(("y", "error", "text"), NUMBERS.values(), ids=NUMBERS)
def test_unusable_targets_are_refused(y, error, text):
    with pytest.raises(error, match=text):
        regressor().fit(X, y)


FIT = {
    "too few times": ({"times": TIMES[1:]}, ShapeError, r"times must be one array .* for each case \(24 cases\)"),
    "short times": ({"times": with_times(TIMES[0][:-1])}, ShapeError, r"case 2: times must have shape \(60,"),
    "times that go back": ({"times": with_times(TIMES[0][::-1])}, ValueError, "case 2: times must increase or stay"),
    "NaN times": ({"times": with_times(TIMES[0] * np.nan)}, ValueError, "case 2: times must be finite"),
    "one array for all cases": ({"times": TIMES[0]}, ShapeError, "times must be one array of shape"),
    "no observation in X_val": (
        {"X_val": with_case(np.full((2, 9), np.nan)), "y_val": Y},
        ValueError,
        "case 2 of X_val has no observation",
    ),
    "weights all zero": ({"sample_weight": np.zeros(24)}, ValueError, "must contain at least one non-zero number"),
    "negative weight": ({"sample_weight": -np.ones(24)}, ValueError, "Negative values in data passed to"),
    "too few weights": (
        {"sample_weight": np.ones(23)},
        ValueError,
        r"sample_weight.shape == \(23,\), expected \(24,\)",
    ),
    "weight NaN": ({"sample_weight": np.full(24, np.nan)}, ValueError, "Input sample_weight contains NaN"),
    "X_val alone": ({"X_val": X}, ValueError, "X_val and y_val belong together; pass both or none"),
    "y_val alone": ({"y_val": Y}, ValueError, "X_val and y_val belong together; pass both or none"),
    "channels of X_val": ({"X_val": X[:, :1], "y_val": Y}, ShapeError, "X has 1 channels, but .* was fitted with 2"),
    "length of y_val": ({"X_val": X, "y_val": Y[1:]}, ShapeError, "24 cases and 23 targets"),
}


@BOTH
@pytest.mark.parametrize(("arguments", "error", "text"), FIT.values(), ids=FIT)
def test_unusable_arguments_of_fit_are_refused(make, arguments, error, text):
    with pytest.raises(error, match=text):
        make().fit(X, Y, **arguments)


def test_class_weights_that_are_zero_for_every_case_or_infinite_are_refused():
    with pytest.raises(ValueError, match="class_weight is zero for every case; at least one must be positive"):
        classifier(class_weight={0: 0.0, 1: 0.0}).fit(X, Y)
    with pytest.raises(ValueError, match="sample_weight times class_weight is infinite"):
        classifier(class_weight={0: 1e200, 1: 1.0}).fit(X, Y, sample_weight=np.full(24, 1e200))


@pytest.mark.parametrize("value", ["even", {0: -1.0, 1: 1.0}, {0: np.nan, 1: 1.0}, {0: "a", 1: 1.0}, [1, 2], 3])
def test_invalid_class_weights_are_refused(value):
    with pytest.raises(ValueError, match=r"class_weight=.* is unknown or out of range; it must be None, 'balanced' or"):
        classifier(class_weight=value).fit(X, Y)


@BOTH
def test_checkpoint_dir_must_not_be_a_file(make, tmp_path):
    (tmp_path / "a").write_text("b")
    with pytest.raises(ValueError, match=r"checkpoint_dir='.*a' is a file; name a folder"):
        make(checkpoint_dir=tmp_path / "a").fit(X, Y)


def test_validation_labels_must_be_among_the_classes():
    with pytest.raises(ValueError, match=r"y holds the label 2, which is not among the classes \[0, 1\]"):
        classifier().fit(X, Y, X_val=X, y_val=Y + 1)


def test_error_gives_the_index_in_X_with_zero_weight_cases_left_out():
    many = np.concatenate([X] * 5)
    many[117, 0, 0] = np.nan
    with pytest.raises(ValueError, match="case 117 has 1 such"):
        classifier(missing="error").fit(many, np.tile(Y, 5), sample_weight=np.arange(120) % 3)


WRONG = {
    "kernel": ["s4nd", None, 3],
    "init": ["LEGS", 0],
    "pooling": ["median", None, ("mean", 2), ("legs", 0), ("legs",)],
    "readout": ["covariance", None, 3],
    "precision": ["16", 32],
    "early_stopping": ["always", 1, None],
    "missing": ["drop", None],
    "augmentation": ["louder", ("louder",), 3],
    "band_hz": [(45, 1), (0, 45), 45, "alpha"],
    "bidirectional": ["yes", 1, None],
    "lookahead_s": [0, -0.2, np.inf, np.nan, "auto", True],
    "standardize": ["yes", 0],
    "warm_start": ["yes", 1],
    "d_model": [0, -1, 8.0, "8", True],
    "d_state": [7, 0, 8.0, None],
    "n_layers": [0, 1.5, None],
    "n_networks": [0, 2.0, None],
    "dropout": [-0.1, 1, 1.5, "0.1", np.nan],
    "sfreq": [0, -100.0, np.inf, np.nan, "100"],
    "timescale": ["fast", 3.0, (1.0,), (2.0, 1.0), (0.0, 1.0), (1.0, np.inf), None],
    "max_epochs": [0, -3, 2.5, "many", None],
    "batch_size": [0, -3, 2.5, "large"],
    "learning_rate": [0, -1e-3, np.nan, np.inf, "1e-3", None],
    "ssm_learning_rate": [0, -1e-3, np.nan, None],
    "weight_decay": [-1, np.nan, np.inf, None],
    "validation_fraction": [0, 1, -0.1, np.nan, None],
    "n_iter_no_change": [0, -1, 1.5, "auto"],
    "memory_budget_gb": [-1, np.nan, np.inf, "all", None],
    "checkpoint_dir": [3, True, ["a"]],
    "callbacks": [3, [3], "bar", [object()]],
    "verbose": [-1, 0.5, "yes", None],
}


def test_the_table_of_invalid_values_covers_every_parameter():
    assert set(WRONG) == {*_RULES, "augmentation"}


@BOTH
@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_parameter_out_of_range_raises_an_error_with_the_valid_values(make, name, value):
    with pytest.raises(ValueError, match=rf"{name}=.* is unknown or out of range; (choose one of|it must be)"):
        make(**{name: value}).fit(X, Y)
    with pytest.raises(ValueError, match=rf"{name}=.* is unknown or out of range"):
        make(**{name: value}).partial_fit(X, Y)


@BOTH
@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("kernel", "'s4d'"),
        ("init", "'legs', 'inv', 'lin', 'real'"),
        ("pooling", r"'auto', 'mean', 'legs', 'attention', 'max', 'last' or \('legs', order\)"),
        ("readout", "'auto', 'pooled', 'closed_form'"),
        ("precision", "'32', '64', 'bf16'"),
        ("early_stopping", "'auto', True, False"),
        ("missing", "'auto', 'error', 'gap', 'mask'"),
        ("frontend", "'auto', 'linear', 'hop_means', 'band_power', 'filterbank'"),
        ("device", "'auto', 'cpu', 'cuda'"),
    ],
)
def test_unknown_name_raises_an_error_with_the_choices(make, name, choices):
    with pytest.raises(ValueError, match=rf"{name}='nonsense' is unknown.*choose (one of )?{choices}"):
        make(**{name: "nonsense"}).fit(X, Y)


OPTIONS = {
    "gaps of a dense kernel": (
        {"missing": "gap", "kernel": "s4"},
        ValueError,
        "missing='gap' is set, but kernel='s4' has dense state matrices.*Use kernel='s4d' or 's5'",
    ),
    "no module": ({"frontend": object()}, ValueError, "frontend=<object.*is unknown; choose one of .* or pass a torch"),
    "a class": ({"frontend": nn.Identity}, ValueError, "frontend=<class .*Identity'> is unknown"),
    "a module without a hop": ({"frontend": nn.Identity()}, ValueError, "a Identity, must have the attribute hop_s"),
    "no rate": (
        {"frontend": "filterbank"},
        ValueError,
        "frontend='filterbank' needs a sampling rate of at least 240 Hz",
    ),
    "low rate": (
        {"frontend": "filterbank", "sfreq": 200.0},
        ValueError,
        "frontend='filterbank' needs a sampling rate of at least 240 Hz, got 200.0. Pass sfreq, or frontend='linear'",
    ),
    "too fast": (
        {"timescale": (0.001, 1.0), "sfreq": 100.0},
        ValueError,
        r"timescale=\(0.001, 1.0\): the shortest memory is below one step of 0.01 s; raise it to that",
    ),
}


@BOTH
@pytest.mark.parametrize(("options", "error", "text"), OPTIONS.values(), ids=OPTIONS)
def test_options_incompatible_with_the_data_are_refused(make, options, error, text):
    with pytest.raises(error, match=text):
        make(**options).fit(X, Y)


@BOTH
def test_unfitted_estimator_raises_not_fitted_error(make):
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(make(), method):
            with pytest.raises(NotFittedError, match="instance is not fitted yet"):
                getattr(make(), method)(X)
    with pytest.raises(NotFittedError, match="instance is not fitted yet"):
        make().describe()


PREDICT = {
    "fewer channels": (X[:, :1], ShapeError, r"X has 1 channels, but S4\w+ was fitted with 2"),
    "flat": (X[:, 0], ShapeError, r"X has 1 channels, but S4\w+ was fitted with 2"),
    "time second in Signals": (Signals(X.transpose(0, 2, 1)), ShapeError, "X has 60 channels.*transpose if time came"),
    "one case as an array": (X[0], ShapeError, r"X has 1 channels, .* fitted with 2.*If X is one case, pass \[X\]"),
    "one case": (Signals(X)[0], TypeError, r"X is one Signal, but a list of them is needed\. Pass \[signal\]"),
    "time second": (X.transpose(0, 2, 1), ShapeError, r"got \(24, 60, 2\)\. If time comes second, pass X\.transpose"),
    "infinity": (with_value(np.inf), ValueError, "case 5: it contains infinity"),
    "times": (Signals(X, times=TIMES), ValueError, "case 0 has times, but the model was fitted without times and"),
    "no observation": (with_case(np.full((2, 9), np.nan)), ValueError, "case 2 of X has no observation"),
    "no case": ([], ShapeError, "X holds no case"),
    "empty case": (with_case(np.zeros((2, 0))), ShapeError, "case 2: it is empty"),
    "complex": (X + 1j, ValueError, "Complex data not supported"),
}


@BOTH
def test_error_for_a_table_of_observations_points_to_read_events(make):
    table = pd.DataFrame({"patient": [1, 1, 2, 2], "what": ["pulse", "breath"] * 2, "value": [80, 20, 90, 18]})
    table["when"] = pd.Timestamp("2026-01-01")
    for frame in (table, table.drop(columns="what")):
        with pytest.raises((TypeError, ValueError), match=r"one observation of many, read the table by .*read_events"):
            make().fit(frame, [0, 1, 0, 1])


@pytest.mark.parametrize(("signals", "error", "text"), PREDICT.values(), ids=PREDICT)
def test_unusable_signals_are_refused_at_prediction(fitted, signals, error, text):
    with pytest.raises(error, match=text):
        fitted.predict(signals)


@pytest.mark.parametrize("sfreq", [0, -1.0, np.inf, "8k"])
def test_prediction_rate_must_be_positive(fitted, sfreq):
    with pytest.raises(ValueError, match="must be a positive number of Hz"):
        fitted.predict(X, sfreq=sfreq)


def test_prediction_rate_needs_a_model_fitted_with_a_rate(fitted):
    with pytest.raises(ValueError, match="the model was fitted without a sampling rate; fit with sfreq"):
        fitted.predict(X, sfreq=100.0)
