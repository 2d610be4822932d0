"""Exported models equal the estimator for any length and batch size, without s4signal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from s4signal import S4Classifier, S4Regressor, Signals
from s4signal.estimators.trained.export import _onnx
from s4signal.random_features.covariances import log_energy

__all__: list[str] = []

SMALL = {"d_model": 6, "d_state": 4, "n_layers": 1, "max_epochs": 2, "readout": "pooled", "random_state": 0}


def waves(n: int, n_times: int, *, n_channels: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Return noise with large offsets, as from sensors."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, n_channels, n_times)) + 100.0
    return (1e-5 * noise).astype(np.float32)


def classifier(**options: Any) -> S4Classifier:
    X = waves(20, 150)
    X[:10] += (1e-5 * np.sin(np.arange(150))).astype(np.float32)
    return S4Classifier(**{**SMALL, "sfreq": 100.0, "frontend": "linear", **options}).fit(X, ["a", "b"] * 10)


def regressor(**options: Any) -> S4Regressor:
    return S4Regressor(**{**SMALL, "sfreq": 100.0, **options}).fit(waves(20, 640), 50.0 + 10.0 * np.arange(20))


def audio(**options: Any) -> S4Classifier:
    X = 1e4 * waves(8, 2400, n_channels=1)
    return S4Classifier(**{**SMALL, "sfreq": 8000.0, "frontend": "filterbank", **options}).fit(X, ["a", "b"] * 4)


def epochs(*, drift: float = 0.0, tags: bool = False, **options: Any) -> S4Classifier:
    """Fit to three channels that may drift between cases, with the readout that "auto" selects: the closed form."""
    y = np.arange(40) // (1 + np.arange(2)[:, None] * 2) % 2  # two tags
    X = waves(40, 150, n_channels=3) + drift * (np.arange(40)[:, None, None] % 7).astype(np.float32)
    X += (2e-5 * np.sin(np.arange(150) / 3.0)).astype(np.float32) * y[0][:, None, None].astype(np.float32)
    model = S4Classifier(**{**SMALL, "readout": "auto", "max_epochs": 1, "sfreq": 100.0, **options})
    model.fit(X, y.T if tags else y[0])
    assert model.ridge_ is not None
    return model


def drifting(**options: Any) -> S4Classifier:
    return epochs(drift=1e-3, **options)


def expected(model: Any, X: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)[:, None])


def onnx_session(path: Path) -> tuple[Any, dict[str, Any]]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path)
    return session, json.loads(session.get_modelmeta().custom_metadata_map["s4signal"])


OFFLINE = [
    (classifier, {}, (3, 64, 65, 200), 2),
    (regressor, {"bidirectional": False, "kernel": "s5", "pooling": "attention"}, (22, 64, 200), 2),
    (audio, {}, (200, 333, 1111), 1),
    pytest.param(classifier, {"lookahead_s": 0.1}, (3, 64, 200), 2, marks=pytest.mark.stress),
    pytest.param(epochs, {}, (5, 64, 333), 3, marks=pytest.mark.stress),
    pytest.param(drifting, {}, (64, 150), 3, marks=pytest.mark.stress),
    # The causal filter bank is exported as steps below, the causal layers above.
    pytest.param(audio, {"bidirectional": False}, (200, 2777), 1, marks=pytest.mark.stress),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "options", "lengths", "n_channels"), OFFLINE)
def test_onnx_equals_the_estimator_at_any_length(make, options, lengths, n_channels, tmp_path: Path) -> None:
    model = make(**options)
    metadata = model.export(tmp_path / "m.onnx", longest=max(lengths))  # the exporter's time grows with it
    session, read = onnx_session(tmp_path / "m.onnx")
    assert read == json.loads(json.dumps(metadata))
    assert read["shortest"] <= min(lengths) <= max(lengths) == read["longest"]
    for n_times in lengths:
        for batch in (1, 4):
            X = waves(batch, n_times, n_channels=n_channels, seed=n_times) * (1e4 if make is audio else 1)
            (output,) = session.run(None, {"x": X})
            assert_allclose(output, expected(model, X), rtol=1e-5, atol=1e-5)


STEPS = [
    (classifier, {"kernel": "s4", "pooling": "max"}, 150, 2),
    (regressor, {}, 640, 2),
    (audio, {}, 2400, 1),
    pytest.param(epochs, {}, 150, 3, marks=pytest.mark.stress),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "options", "n_times", "n_channels"), STEPS)
def test_onnx_steps_equal_the_estimator(make, options, n_times, n_channels, tmp_path: Path) -> None:
    model = make(bidirectional=False, **options)
    metadata = model.export(tmp_path / "m.onnx", view="step")
    session, read = onnx_session(tmp_path / "m.onnx")
    assert read == json.loads(json.dumps(metadata))
    for batch in (1, 3):
        X = waves(batch, n_times, n_channels=n_channels, seed=7) * (1e4 if make is audio else 1)
        state = {
            part["name"]: np.full(
                [batch if n == "batch" else n for n in part["shape"]], float(part["fill"]), part["dtype"]
            )
            for part in read["state"]
        }
        for first in range(0, n_times - metadata["unit"] + 1, metadata["unit"]):
            n_seen = first + metadata["unit"]
            output, *after = session.run(None, {"x": X[:, :, first:n_seen], **state})
            state = dict(zip(state, after, strict=True))
            if first in (0, metadata["unit"]):
                assert_allclose(output, expected(model, X[:, :, :n_seen]), rtol=1e-5, atol=1e-5)
        assert_allclose(output, expected(model, X[:, :, :n_seen]), rtol=1e-5, atol=1e-5)


def test_onnx_keeps_the_floor_of_the_logarithm(tmp_path: Path) -> None:
    class Log(torch.nn.Module):
        def forward(self, energy: torch.Tensor) -> torch.Tensor:
            return log_energy(energy)

    energy = torch.tensor([0.0, 1e-12, 1.0])
    program, names = torch.export.export(Log(), (energy,)), {"inputs": ["x"], "outputs": ["y"]}
    (tmp_path / "m.onnx").write_bytes(_onnx(program, names, {}))
    (logarithm,) = onnx_session(tmp_path / "m.onnx")[0].run(None, {"x": energy.numpy()})
    assert_allclose(logarithm, log_energy(energy).numpy(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"bidirectional": False}, {}, {"lookahead_s": 0.1}], ids=str)
def test_a_torch_program_needs_no_s4signal(options: dict[str, Any], tmp_path: Path) -> None:
    model = classifier(**options)
    model.export(tmp_path / "m.pt2", format="torch", longest=512)
    extra = {"s4signal.json": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    metadata = json.loads(extra["s4signal.json"])
    assert (metadata["classes"], metadata["sfreq"], metadata["n_channels"], metadata["longest"]) == (
        ["a", "b"],
        100.0,
        2,
        512,
    )
    assert not [node for node in program.graph.nodes if "s4signal" in str(node.target)]
    for n_times in (2, 64, 65, 512):
        X = waves(3, n_times, seed=n_times)
        assert_allclose(program.module()(torch.from_numpy(X)).numpy(), expected(model, X), atol=1e-5)


def test_torch_steps_equal_the_estimator_and_leave_it_unchanged(tmp_path: Path) -> None:
    model, X = classifier(bidirectional=False, precision="64", pooling="mean"), waves(2, 30)
    before = expected(model, X)
    metadata = model.export(tmp_path / "m.pt2", format="torch", view="step")
    step = torch.export.load(tmp_path / "m.pt2").module()
    state = [
        torch.full([2 if n == "batch" else n for n in p["shape"]], float(p["fill"]), dtype=getattr(torch, p["dtype"]))
        for p in metadata["state"]
    ]
    for t in range(30):
        output, *state = step(torch.from_numpy(X[:, :, t : t + 1]), *state)
    assert_allclose(output.numpy(), before, atol=1e-6)
    assert_allclose(expected(model, X), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "view"), [({"drift": 1e-3}, "offline"), ({"bidirectional": False, "tags": True}, "step")]
)
def test_exported_module_includes_closed_form_readout_drift_and_tags(options, view, monkeypatch, tmp_path) -> None:
    """Check the module that is passed to the exporter; the tests above check the exported files."""
    model, X, given = epochs(**options), waves(2, 60, n_channels=3, seed=3), []

    def export(module, inputs, **how):
        given[:] = [module, inputs]
        raise InterruptedError

    monkeypatch.setattr(torch.export, "export", export)
    with pytest.raises(InterruptedError):
        model.export(tmp_path / "m.pt2", format="torch", view=view, longest=256)
    module, (x, *state) = given
    unit = x.shape[2] if state else 60
    state = module.at_rest(2) if state else []
    for end in range(unit, 61, unit):
        output = module(torch.from_numpy(X[:, :, end - unit : end]), *state)
        output, *state = output if isinstance(output, tuple) else (output,)
    assert_allclose(output.numpy(), expected(model, X), atol=1e-5)


def test_unsupported_exports_raise_an_error(tmp_path: Path) -> None:
    model, path = classifier(), tmp_path / "m.onnx"
    for options, message in {
        ("format", "tflite"): r"format='tflite' is unknown; choose one of 'onnx', 'torch'\.",
        ("view", "frame"): r"view='frame' is unknown; choose one of 'offline', 'step'\.",
        ("longest", 1): r"longest=1 must be a whole number of samples, more than \d+ for this model",
        ("view", "step"): "view='step' needs a causal model, this one looks ahead; fit with bidirectional=False",
    }.items():
        with pytest.raises(ValueError, match=message):
            model.export(path, **dict([options]))
    with pytest.raises(NotFittedError):
        S4Classifier().export(path)
    times = [np.cumsum(np.random.default_rng(i).uniform(0.5, 1.5, 30)) for i in range(8)]
    irregular = S4Classifier(**SMALL).fit(Signals(waves(8, 30), times=times), ["a", "b"] * 4)
    with pytest.raises(ValueError, match=r"irregular times is not exported: put X on a regular grid"):
        irregular.export(path)
    assert not path.exists()
    with pytest.raises(ValueError, match=r"view='step' is not possible: .* different offsets .* needs whole"):
        drifting(bidirectional=False).export(path, view="step")
    with pytest.raises(FileNotFoundError, match="create the folder first"):
        model.export(tmp_path / "no" / "m.pt2", format="torch", longest=256)
