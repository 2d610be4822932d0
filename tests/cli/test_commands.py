"""The commands, run in this process: output files, printed text and errors."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from documents import QUICK, document
from numpy.testing import assert_allclose

from s4signal import S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.cli.data import read_cases
from s4signal.cli.demo import write_wave
from s4signal.cli.options import Choice, Reading
from s4signal.estimators.provenance import load_estimator, read_provenance

__all__: list[str] = []

PATTERN = "{label}_{group}_{take}.wav"


def test_fit_reports_data_and_model_and_writes_a_file(run, tones: Path, tmp_path: Path) -> None:
    result = run("fit", tones, "--pattern", PATTERN, "--out", tmp_path / "m.s4", *QUICK)
    assert result.exit_code == 0
    data, _, model = result.stdout.partition("S4RidgeClassifier")
    assert "2: high (9), low (9)" in data
    assert "3, never split" in data
    assert "sampling rate  8000 Hz" in model
    X = read_cases(tones, Reading()).X
    assert (load_estimator(tmp_path / "m.s4").predict(X) == ["high"] * 9 + ["low"] * 9).all()
    S4RidgeClassifier.load(tmp_path / "m.s4")  # as any other model file


def test_model_file_identifies_its_training_cases(model: Path, tones: Path) -> None:
    provenance = read_provenance(model)
    assert provenance is not None
    assert provenance.reading == {"pattern": PATTERN}
    assert (len(set(provenance.cases.tolist())), len(provenance.groups)) == (18, 3)
    assert b"anna" not in model.read_bytes()  # without names of people


def test_predict_writes_the_predictions_of_the_model(run, model: Path, tones: Path, tmp_path: Path) -> None:
    X = read_cases(tones, Reading()).X
    proba = load_estimator(model).predict_proba(X)
    for name in ("p.csv", "p.json"):
        result = run("predict", model, tones, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert "18 predictions written" in result.stdout
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    loaded = json.loads((tmp_path / "p.json").read_text())
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in loaded] == ["high"] * 9 + ["low"] * 9
    assert_allclose([[float(row["p(high)"]), float(row["p(low)"])] for row in rows], proba, atol=1e-6)
    assert [row["source"] for row in rows] == list(X.sources)
    one = document(run("predict", model, X.sources[0], "--json"))
    assert one[0]["prediction"] == "high"


def test_parquet_is_written_or_needs_pyarrow(run, model: Path, tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    result = run("predict", model, tones, "--out", out)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        assert result.exit_code == 2
        assert '.csv and .json need no package) needs pyarrow: pip install "pyarrow".' in result.stderr
    else:
        assert out.read_bytes()[:4] == b"PAR1"


def test_evaluate_keeps_groups_whole_and_returns_intervals(run, tones: Path) -> None:
    found = document(run("evaluate", tones, "--pattern", PATTERN, "--json", *QUICK))
    assert found["n_folds"] == 3  # one per speaker
    assert found["scores"]["accuracy"]["value"] == 1.0
    low, high = found["scores"]["accuracy"]["interval"]
    assert_allclose(low, 18 / (18 + 1.959963984540054**2))  # Wilson, all right
    assert high == 1.0
    assert {row["group"] for row in found["groups"]} == {"anna", "bert", "cleo"}
    assert found["confusion"] == {"classes": ["high", "low"], "counts": [[9, 0], [0, 9]]}


def test_evaluate_reports_errors_of_a_regression(run, tmp_path: Path) -> None:
    rng, lines = np.random.default_rng(0), ["@targetlabel true", "@data"]
    for i in range(30):
        values = np.sin(2 * np.pi * (1 + i / 10) * np.arange(60) / 60) + 0.01 * rng.standard_normal(60)
        lines.append(",".join(f"{v:.4f}" for v in values) + f":{1 + i / 10}")
    path = tmp_path / "rates.ts"
    path.write_text("\n".join(lines))
    found = document(run("evaluate", path, "--json", *QUICK))["scores"]
    assert set(found) == {"root mean square error", "mean absolute error", "R²"}
    assert found["R²"]["value"] > 0.5
    assert found["mean absolute error"]["interval"][0] < found["mean absolute error"]["value"]
    assert "mean absolute error, 5 folds " in run("evaluate", path, *QUICK).stdout


def test_info_reports_the_model_and_its_training_data(run, model: Path) -> None:
    text = run("info", model).stdout
    assert "fitted on  18 cases of 3 groups" in text
    assert f"read with  pattern {PATTERN}" in text
    found = document(run("info", model, "--json"))
    assert (found["estimator"], found["classes"], found["sfreq"]) == ("S4RidgeClassifier", ["high", "low"], 8000.0)
    assert found["parameters"]["n_oscillators"] == 16


def test_stream_ends_with_the_prediction_of_the_whole_recording(run, model: Path, tones: Path) -> None:
    path = tones / "low" / "low_bert_1.wav"
    X = read_cases(path, Reading()).X
    expected = load_estimator(model).predict_proba(X)[0]
    lines = [json.loads(line) for line in run("stream", model, path, "--json", "--chunk", "0.03").stdout.splitlines()]
    assert_allclose([line["time"] for line in lines], [0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.2])
    assert_allclose(list(lines[-1]["probabilities"].values()), expected, atol=1e-6)
    sound = path.read_bytes()[44:]
    piped = run("stream", model, "-", "--json", "--chunk", "0.1", input=sound).stdout.splitlines()
    assert_allclose(list(json.loads(piped[-1])["probabilities"].values()), expected, atol=1e-6)
    floats = (np.frombuffer(sound, "<i2") / 32768).astype("<f4").tobytes()
    piped = run("stream", model, "-", "--raw", "f32", "--json", input=floats).stdout.splitlines()
    assert_allclose(list(json.loads(piped[-1])["probabilities"].values()), expected, atol=1e-6)
    assert run("stream", model, path).stdout.splitlines()[-1].split()[:2] == ["0.200", "low"]


def test_a_pipe_of_interleaved_channels_is_followed_sample_by_sample(run, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((6, 2, 100)).astype("<f4")
    model = S4RidgeRegressor(n_oscillators=4, sfreq=100.0, random_state=0).fit(X, np.arange(6.0))
    model.save(tmp_path / "m.s4")
    for chunk, n in (("0.001", 100), ("0.1", 10)):  # no chunk is shorter than a sample
        options = ["--raw", "f32", "--chunk", chunk, "--json"]
        lines = run("stream", tmp_path / "m.s4", "-", *options, input=X[1].T.tobytes()).stdout.splitlines()
        assert len(lines) == n
        assert_allclose(json.loads(lines[-1])["prediction"], model.predict(X[1:2]), rtol=1e-4)


@pytest.mark.parametrize("how", [["--causal"], ["--lookahead", "0.01"]], ids=" ".join)
def test_causal_and_look_ahead_models_are_fitted_and_streamed(run, tones: Path, tmp_path: Path, how: list[str]) -> None:
    small = ["d_model=4", "d_state=4", "n_layers=1", "max_epochs=1", "frontend='linear'", "timescale=(0.001, 0.1)"]
    options = [text for item in small for text in ("--set", item)]
    fitted = run("fit", tones, "-o", tmp_path / "m.s4", "--estimator", "s4", *how, *options)
    assert fitted.exit_code == 0, fitted.output
    assert load_estimator(tmp_path / "m.s4").get_params()["timescale"] == (0.001, 0.1)
    result = run("stream", tmp_path / "m.s4", tones / "low" / "low_bert_1.wav", "--json")
    probabilities = [list(json.loads(line)["probabilities"].values()) for line in result.stdout.splitlines()]
    assert len(probabilities) == 2
    assert_allclose(np.sum(probabilities, 1), 1.0)
    assert run("fit", tones, "-o", tmp_path / "both.s4", "--estimator", "s4", *options).exit_code == 0
    model, path = load_estimator(tmp_path / "both.s4"), tones / "low" / "low_bert_1.wav"
    result = run("stream", tmp_path / "both.s4", path, "--json", "--window", "0.1", "--chunk", "0.05")
    last = model.predict_proba(Signals([read_cases(path, Reading()).X[0].data[:, 800:]], sfreq=8000))[0]
    found = json.loads(result.stdout.splitlines()[-1])
    assert_allclose(list(found["probabilities"].values()), last, atol=1e-5)


def test_a_trained_model_is_exported(run, tones: Path, tmp_path: Path) -> None:
    small = ["d_model=4", "d_state=4", "n_layers=1", "max_epochs=1", "frontend='linear'"]
    options = [text for item in small for text in ("--set", item)]
    fitted = run("fit", tones, "-o", tmp_path / "m.s4", "--estimator", "s4", "--causal", *options)
    assert fitted.exit_code == 0, fitted.output
    metadata = document(run("export", tmp_path / "m.s4", tmp_path / "m.pt2", "--view", "step", "--json"))
    assert (metadata["classes"], metadata["unit"], metadata["sfreq"]) == (["high", "low"], 1, 8000.0)
    assert (tmp_path / "m.pt2").stat().st_size > 1000
    short = run("export", tmp_path / "m.s4", tmp_path / "short.pt2", "--longest", "2")
    assert (short.exit_code, short.stderr) == (
        2, "error: longest=2 must be a whole number of samples, more than 2 for this model.\n"
    )  # fmt: skip


def test_json_output_contains_only_the_document(run, tones: Path, tmp_path: Path) -> None:
    found = document(run("fit", tones, "-o", tmp_path / "m.s4", "--json", *QUICK))
    assert found["data"]["classes"] == {"high": 9, "low": 9}
    assert math.isfinite(found["fit_seconds"])


def test_report_cross_validates_the_training_cases(run, model: Path, tones: Path, tmp_path: Path) -> None:
    found = document(run("report", model, tones, "-o", tmp_path / "r.html", "--json"))
    assert found["protocol"].startswith("3-fold cross-validation by group")
    listed = "\n".join(["path,label", *(f"{p.relative_to(tones)},{p.parent.name}" for p in tones.rglob("*.wav"))])
    (tmp_path / "list.csv").write_text(listed)  # without groups, and not below the folder
    options = ["--manifest", tmp_path / "list.csv", "--folds", "3", "--no-curve", "--json"]
    protocol = document(run("report", model, tones, "-o", tmp_path / "r2.html", *options))["protocol"]
    assert protocol.startswith("3-fold cross-validation by case: ")
    assert "3-fold cross-validation of S4RidgeClassifier, by case" in run("evaluate", tones, "--folds", 3).stdout
    assert found["checks"] == [
        [True, "No group, recording, copied or overlapping samples are on both sides of a fold."]
    ]
    assert "accuracy over the number of training cases" in (tmp_path / "r.html").read_text("utf-8")


def test_report_scores_new_cases_as_held_out(run, model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for label, hertz in (("low", 300), ("high", 1200)):
        (tmp_path / "new" / label).mkdir(parents=True)
        for speaker in ("anna", "dora"):
            tone = np.sin(2 * np.pi * hertz * np.arange(1600) / 8000) + 0.05 * rng.standard_normal(1600)
            write_wave(tmp_path / "new" / label / f"{label}_{speaker}_9.wav", 0.3 * tone)
    found = document(run("report", model, tmp_path / "new", "-o", tmp_path / "r.html", "--json"))
    assert found["protocol"] == "The saved model predicts these cases, which are held out."
    assert found["checks"] == [
        [True, "0 of 4 cases are among the 18 that the model was fitted on."],
        [False, "1 of 2 groups have the name of a group that the model was fitted on."],
    ]
    S4RidgeClassifier.load(model).save(tmp_path / "bare.s4")
    bare = ["report", tmp_path / "bare.s4", tmp_path / "new", "-o", tmp_path / "r.html", "--json"]
    assert document(run(*bare))["checks"] == [
        [False, "The file does not list the training cases of the model: these cases may be among them."]
    ]


def test_empty_pipe_exits_with_2(run, model: Path) -> None:
    result = run("stream", model, "-", input=b"")
    assert result.exit_code == 2
    assert result.stderr == "error: the pipe ended without a sample; is the source running?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "{model}", "{tones}", "-o", "{tmp}/r.html", "--protocol", "none"], "--protocol none is unknown"),
        (["report", "{model}", "{tones}", "-o", "{tmp}/no/r.html"], "does not exist; create it first"),
        (["report", "{model}", "{tones}/low", "-o", "{tmp}/r.html"], "all cases have the label 'low'"),
        (["fit", "{tones}", "-o", "{tmp}/no/m.s4"], "does not exist; create it first"),
        (["fit", "{tones}", "-o", "{tmp}"], "is a folder; pass a file"),
        (["fit", "{tones}", "-o", "/proc/m.s4"], "the folder /proc is not writable"),
        (["fit", "{tmp}", "-o", "{tmp}/m.s4"], "holds no recording"),
        (["fit", "{tones}", "-o", "{tmp}/m.s4", "--estimator", "svm"], "--estimator svm is unknown"),
        (["fit", "{tones}", "-o", "{tmp}/m.s4", "--causal"], "--causal is for --estimator s4"),
        (["fit", "{tones}", "-o", "{tmp}/m.s4", "--lookahead", "0.2"], "--lookahead is for --estimator s4"),
        (["fit", "{tones}", "-o", "{tmp}/m.s4", "--set", "n_osc=3"], "--set n_osc: S4RidgeClassifier has the param"),
        (["fit", "{tones}", "-o", "{tmp}/m.s4", "--set", "n_oscillators"], "must be name=value"),
        (["fit", "{tones}", "-o", "{tmp}/m.s4", "--set", "n_oscillators=-1"], "n_oscillators"),
        (["predict", "{tmp}/none.s4", "{tones}"], "does not exist or is no file"),
        (["predict", "{tones}/low/low_anna_0.wav", "{tones}"], "not a model that s4signal saved"),
        (["predict", "{model}", "{tones}", "--out", "{tmp}/p.xlsx"], "must end in one of .csv, .json, .parquet"),
        (["evaluate", "{tones}/low"], "no label is known"),
        (["evaluate", "{tones}", "--folds", "1"], "1 folds are too few"),
        (["evaluate", "{tones}", "--pattern", "{{label}}_{{group}}_0.wav"], "12 of 18 recordings"),
        (["export", "{model}", "{tmp}/m.onnx"], "a S4RidgeClassifier, which cannot be exported; models of `fit --es"),
        (["export", "{model}", "{tmp}/m.h5"], "m.h5 must end in .onnx, or .pt2"),
        (["stream", "{model}", "{tones}"], "holds 18 cases; a stream follows one recording"),
        (["stream", "{model}", "{tmp}/none.wav"], "none.wav does not exist"),
        (["evaluate", "{tones}", "--pattern", "{{take}}.wav"], "has no label and no group. Write"),
        (["stream", "{model}", "-", "--raw", "u8"], "--raw u8 is unknown"),
        (["stream", "{model}", "-", "--chunk", "0"], "--chunk 0 must be more than 0"),
        (["stream", "{model}", "-"], "the pipe ended within a sample: 1 bytes of"),
    ],
)
def test_invalid_input_exits_with_2_and_one_line(run, arguments, message, tones, model, tmp_path) -> None:
    filled = [text.format(tones=tones, model=model, tmp=tmp_path) for text in arguments]
    result = run(*filled, input=b"\0\0\0")
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "m.s4").exists()
    early = {"/proc/m.s4", "svm", "--causal", "--lookahead", "n_osc=3", "n_oscillators"}
    assert not early & {*filled} or not result.stdout  # checked before any work


def test_interrupt_exits_with_130_and_an_internal_error_with_1(run, monkeypatch, tones: Path, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def at_fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(S4RidgeClassifier, "fit", interrupted)
    result = run("fit", tones, "-o", tmp_path / "m.s4")
    assert (result.exit_code, result.stderr) == (130, "error: interrupted; nothing was written.\n")
    monkeypatch.setattr(S4RidgeClassifier, "fit", at_fault)
    result = run("fit", tones, "-o", tmp_path / "m.s4")
    assert (result.exit_code, result.stderr) == (1, "error: internal error, ZeroDivisionError: by zero\n")
    monkeypatch.setenv("S4SIGNAL_TRACEBACK", "1")
    assert isinstance(run("fit", tones, "-o", tmp_path / "m.s4").exception, ZeroDivisionError)


def test_warnings_are_printed_in_one_line(run, tmp_path: Path) -> None:
    rows = [f"{c},{c % 2},{(c + 1) * t % 7},1" for c in range(8) for t in range(30)]
    (tmp_path / "table.csv").write_text("\n".join(["case,label,a,b", *rows]))
    result = run("fit", tmp_path / "table.csv", "-o", tmp_path / "m.s4", *QUICK)
    assert result.exit_code == 0
    assert result.stderr == "warning: channel 1 (b) is flat in all training cases; it is ignored.\n"


@pytest.mark.slow
def test_demo_creates_recordings_a_model_and_predictions(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s4signal.cli.demo.N_TAKES", 1)
    monkeypatch.setattr("s4signal.cli.demo.Choice", lambda: Choice(set=["n_oscillators=16"]))
    folder = tmp_path / "demo"
    result = run("demo", folder)
    assert result.exit_code == 0, result.output
    assert "18 recordings of 6 speakers" in result.stdout
    assert (folder / "whistles.s4").stat().st_size > 10_000
    assert f"$ s4signal predict {folder / 'whistles.s4'}" in result.stdout
    again = run("demo", folder)
    assert again.exit_code == 2
    assert "already exists and is not empty" in again.stderr


def test_tags_are_predicted_as_a_list(run, tones: Path, tmp_path: Path) -> None:
    X = read_cases(tones, Reading()).X
    tags = np.stack([np.arange(18) < 9, np.ones(18, dtype=bool)], 1).astype(int)  # high, and any sound
    S4RidgeClassifier(n_oscillators=16, random_state=0).fit(X, tags).save(tmp_path / "tags.s4")
    expected = [[0, 1]] * 9 + [[1]] * 9
    assert [row["prediction"] for row in document(run("predict", tmp_path / "tags.s4", tones, "--json"))] == expected
    result = run("stream", tmp_path / "tags.s4", X.sources[0], "--json")
    assert json.loads(result.stdout.splitlines()[-1])["prediction"] == [0, 1]


def test_tags_keep_the_names_of_the_labels(run, tones: Path, tmp_path: Path) -> None:
    files = sorted(tones.rglob("*.wav"))
    tags = ["; ".join(["any", "high"] if "high" in p.name else ["any"] if "_0" in p.name else []) for p in files]
    rows = [f"{p},{tag},{p.name.split('_')[1]}" for p, tag in zip(files, tags, strict=True)]
    (tmp_path / "index.csv").write_text("\n".join(["path,label,group", *rows]))
    model, table = tmp_path / "m.s4", tmp_path / "index.csv"
    result = run("fit", table, "--tags", ";", "-o", model, *QUICK)
    assert result.exit_code == 0, result.output
    assert "tags" in result.stdout
    assert "2: any (12), high (9)\n" in result.stdout
    fitted = load_estimator(model)
    assert (fitted.classes_.tolist(), fitted.multilabel_) == (["any", "high"], True)
    found = list(csv.DictReader(run("predict", model, table).stdout.splitlines()))
    assert {row["prediction"] for row in found} <= {"any;high", "any", "high", ""}  # as --tags ';' reads them
    y = np.array([["any" in tag, "high" in tag] for tag in tags])
    cases = read_cases(table, Reading(tags=";"))
    same = S4RidgeClassifier(n_oscillators=16, random_state=0).fit(cases.X, y.astype(int), groups=cases.groups)
    shares = [[float(row["p(any)"]), float(row["p(high)"])] for row in found]
    assert_allclose(shares, same.predict_proba(cases.X), atol=1e-6)
    scores = document(run("evaluate", table, "--tags", ";", "--folds", "3", "--json", *QUICK))["scores"]
    assert scores["mean average precision"]["value"] > 0.5
    assert 0 <= scores["wrong tags"]["value"] < 0.5
    result = run("report", model, table, "-o", tmp_path / "r.html")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "m.s4 (S4RidgeClassifier) has no report of tags or other labels" in result.stderr


def test_single_tag_is_refused(run, tones: Path, tmp_path: Path) -> None:
    files = sorted(tones.rglob("*.wav"))
    (tmp_path / "index.csv").write_text("\n".join(["path,label", *(f"{p},any;" for p in files)]))
    result = run("fit", tmp_path / "index.csv", "--tags", ";", "-o", tmp_path / "m.s4")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "at least two labels are needed" in result.stderr
