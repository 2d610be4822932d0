"""Export of a trained model to a file that runs elsewhere: ONNX, or a program of torch."""

import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from s4signal.errors import check_choice
from s4signal.estimators.features.plain import PlainRegression, PlainRegressionSteps
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.plain import Offline, Parts, Step
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.readout import Readout
from s4signal.nn import S4Network
from s4signal.nn.plain import PlainSteps, plain_network
from s4signal.signals.checks import optional
from s4signal.training.tensor_file import replace_file
from s4signal.version import __version__

FORMATS, VIEWS = ("onnx", "torch"), ("offline", "step")
LONGEST = 2**20  # samples of a case
_MOST_CASES = 4096
_OPSET = 20


def export_model(parts: Parts, path: Any, *, format: str, view: str, longest: int) -> dict[str, Any]:
    """Write a model and return its metadata, which the file also contains; ValueError if it cannot be exported."""
    check_choice("format", format, FORMATS)
    check_choice("view", view, VIEWS)
    _check(parts, view)
    if not (isinstance(longest, int) and longest > (least := _shortest(parts))):
        raise ValueError(f"longest={longest!r} must be a whole number of samples, more than {least} for this model.")
    if format == "onnx":
        for package in ("onnx", "onnxscript"):
            optional(package, "Export to ONNX", "export")
    parts = parts._replace(network=copy.deepcopy(parts.network).cpu())
    module, inputs, names, shapes = _step(parts) if view == "step" else _offline(parts, longest)
    metadata = _metadata(parts, names["outputs"])
    bounds = {"shortest": _shortest(parts), "longest": longest} if view == "offline" else _state(inputs, names, shapes)
    metadata |= {"view": view, **bounds}
    with _quiet(), torch.no_grad():
        # Conditions on a length that the exporter cannot prove, such as n % (64 n) != 0, are checked at run time.
        program = torch.export.export(
            module, inputs, dynamic_shapes=shapes, strict=False, prefer_deferred_runtime_asserts_over_guards=True
        )
        content = _onnx(program, names, metadata) if format == "onnx" else _torch(program, metadata)
    replace_file(path, content)
    return metadata


class ExportMixin:
    """Export of an estimator whose network, plan and standardiser are fitted."""

    _finish: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # from outputs to predictions
    _plan: Plan
    _standardizer: Standardizer
    _readout: Readout | None
    network_: S4Network
    ch_names_: list[str] | None

    def export(
        self, path: Any, *, format: str = "onnx", view: str = "offline", longest: int = LONGEST
    ) -> dict[str, Any]:
        """Write the fitted model to a file that runs without s4signal, including standardisation and classes.

        The input is regular samples at the training rate and in the training units, none of them missing. The
        conversion takes from a quarter of a minute (few channels) to a minute (32) of one processor core.

        Parameters
        ----------
        path : path
            The file.
        format : {"onnx", "torch"}, default="onnx"
            ONNX, for onnxruntime and others, or a program of torch, for ``torch.export.load``.
        view : {"offline", "step"}, default="offline"
            "offline" maps whole cases, float32 (batch, n_channels, n_times) of any number and length within bounds, to
            probabilities, or targets in their units. "step" maps the next samples of a stream (batch, n_channels,
            unit) and a state to the same outputs, for all samples so far, and the next state: causal models only.
        longest : int, default=2**20
            Samples of the longest case of the offline view; a smaller number makes a smaller file.

        Returns
        -------
        dict
            The metadata, which the file contains as JSON under the name s4signal: classes, rate, channels; bounds of
            the length, or the samples of a step and the initial state.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If an option is unknown, or the model cannot be exported: irregular times, mostly missing samples, a module
            as front end; for "step" a bidirectional model, or training cases with very different offsets.
        MissingDependencyError
            If ONNX is requested and its packages are not installed.
        """
        check_is_fitted(self, "network_")
        classes = getattr(self, "classes_", None)
        zero = np.zeros((1, self._plan.n_outputs))
        # The conversion of outputs to the units of targets is linear: two points determine it.
        mean, one = (zero, zero + 1) if classes is not None else (self._finish(zero), self._finish(zero + 1))
        tags, units = bool(getattr(self, "multilabel_", False)), ((one - mean)[0], mean[0])
        model = (self._plan, self._standardizer, self.network_, self._readout)
        parts = Parts(*model, classes, tags, *units, self.ch_names_)
        return export_model(parts, path, format=format, view=view, longest=longest)


Built = tuple[nn.Module, tuple[Tensor, ...], dict[str, list[str]], Any]


def _offline(parts: Parts, longest: int) -> Built:
    regression = None if parts.readout is None else PlainRegression(*parts.readout, longest=longest)
    module = Offline(parts, plain_network(parts.network, longest=longest), regression).eval()
    x = torch.zeros(3, parts.plan.n_channels, min(longest, 150 * _shortest(parts) + 1))
    batch = torch.export.Dim("batch", min=1, max=_MOST_CASES)
    n_times = torch.export.Dim("n_times", min=_shortest(parts), max=longest)
    names = {"inputs": ["x"], "outputs": [_output_name(parts)]}
    return module, (x,), names, ({0: batch, 2: n_times},)


def _shortest(parts: Parts) -> int:
    """Return the samples of two frames: the exporter would specialise a case of one frame."""
    hops = [1.0, parts.plan.step_s * (parts.plan.sfreq or 1.0)]
    if parts.readout is not None:
        hops += [float(bank.hops.max()) for bank in parts.readout.regression.feature_map.banks]
    return 1 + math.ceil(max(hops))


def _step(parts: Parts) -> Built:
    steps, regression = PlainSteps(parts.network), None
    if parts.readout is not None:
        regression = PlainRegressionSteps(*parts.readout, n_channels=parts.plan.n_channels, unit=steps.unit)
    module = Step(parts, steps, regression).eval()
    state = module.at_rest(3)
    # The batch axis is the one whose length changes with the batch size.
    axes = [
        next((axis for axis, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m), None)
        for a, b in zip(state, module.at_rest(5), strict=True)
    ]
    batch = torch.export.Dim("batch", min=1, max=_MOST_CASES)
    shapes = ({0: batch}, tuple({} if axis is None else {axis: batch} for axis in axes))
    x = torch.zeros(3, parts.plan.n_channels, steps.unit)
    kept = [f"state_{i}" for i in range(len(state))]
    names = {"inputs": ["x", *kept], "outputs": [_output_name(parts), *(f"next_{name}" for name in kept)]}
    return module, (x, *state), names, shapes


def _output_name(parts: Parts) -> str:
    return "predictions" if parts.classes is None else "probabilities"


def _metadata(parts: Parts, outputs: list[str]) -> dict[str, Any]:
    """Return the metadata, in JSON types, for programs that have only the file."""
    classes = None if parts.classes is None else parts.classes.tolist()
    metadata: dict[str, Any] = {"s4signal": __version__, "sfreq": parts.plan.sfreq, "n_channels": parts.plan.n_channels}
    return metadata | {"ch_names": parts.ch_names, "classes": classes, "outputs": outputs}


def _state(inputs: tuple[Tensor, ...], names: dict[str, list[str]], shapes: Any) -> dict[str, Any]:
    """Return the number of samples of a step, and a description of the initial state."""
    initial = []
    for name, tensor, axes in zip(names["inputs"][1:], inputs[1:], shapes[1], strict=True):
        shape: list[Any] = list(tensor.shape)
        for axis in axes:
            shape[axis] = "batch"
        fill = "-inf" if bool(torch.isinf(tensor).any()) else "0"
        initial.append({"name": name, "shape": shape, "dtype": str(tensor.dtype).removeprefix("torch."), "fill": fill})
    return {"unit": inputs[0].shape[-1], "state": initial}


def _onnx(program: Any, names: dict[str, list[str]], metadata: dict[str, Any]) -> bytes:
    from onnxscript import optimizer

    # The exporter's own rules replace 1e-10 by 0, but a logarithm has such a floor.
    made: Any = torch.onnx.export(
        program,
        input_names=names["inputs"],
        output_names=names["outputs"],
        opset_version=_OPSET,
        dynamo=True,
        optimize=False,
        verbose=False,
    )
    for simplify in (optimizer.inline, optimizer.fold_constants, optimizer.remove_unused_nodes):
        simplify(made.model)
    made.model.metadata_props["s4signal"] = json.dumps(metadata)
    return bytes(made.model_proto.SerializeToString())


def _torch(program: Any, metadata: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"s4signal.json": json.dumps(metadata)})
    return buffer.getvalue()


def _check(parts: Parts, view: str) -> None:
    plan = parts.plan
    if view == "step" and parts.standardizer.kept is not None:
        raise ValueError(
            "view='step' is not possible: the training cases have such different offsets that the mean of each is "
            "subtracted, which needs whole cases; fit with BandPass(0.5, None, causal=True) or Baseline in front."
        )
    if plan.sampling.times:
        raise ValueError(
            "a model of samples at irregular times is not exported: put X on a regular grid with Signals.to_grid and "
            "fit again."
        )
    if view == "step" and plan.stack["bidirectional"]:
        raise ValueError("view='step' needs a causal model, this one looks ahead; fit with bidirectional=False.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the messages of the exporter for its own developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
