"""Model files of any class and of pipelines, and what they store about the cases of the fit."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ModelFileError, ShapeError
from s4signal.estimators.alignment import AlignRecordings
from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.closed_form.regressor import S4RidgeRegressor
from s4signal.estimators.model_file import State, packed, read_model, unpacked, write_model
from s4signal.estimators.preprocessing.amplitude import Baseline, Clip, RobustScale
from s4signal.estimators.preprocessing.channels import InterpolateBads, Rereference
from s4signal.estimators.preprocessing.filters import BandPass, Notch, Resample
from s4signal.estimators.preprocessing.to_array import ToArray
from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.regressor import S4Regressor
from s4signal.signals import Signals

_MODELS = (S4Classifier, S4Regressor, S4RidgeClassifier, S4RidgeRegressor)
_STEPS = (BandPass, Baseline, Clip, InterpolateBads, Notch, Rereference, Resample, RobustScale, ToArray)
ESTIMATORS: dict[str, type[Any]] = {kind.__name__: kind for kind in _MODELS}
SAVED: dict[str, type[Any]] = {kind.__name__: kind for kind in (AlignRecordings, *_STEPS, *_MODELS)}
_MOST_STEPS = 100
_NAME = "provenance"


class Provenance(NamedTuple):
    """How the cases of a fit were read, and marks that show whether another case was among them.

    A mark is a hash: neither samples nor names of people can be recovered from it.
    """

    reading: dict[str, Any]  # options of reading that are not the default
    cases: NDArray[np.uint64]
    groups: NDArray[np.uint64]

    @classmethod
    def of(cls, X: Signals, groups: Iterable[Any], reading: Mapping[str, Any], step: Callable[[], None]) -> Self:
        """Return the marks of cases and groups; ``step`` is called after each case."""
        marks = []
        for case in X:
            marks.append(mark(np.ascontiguousarray(case.data)))
            step()
        names = sorted({str(group) for group in groups})
        return cls(dict(reading), np.array(marks, np.uint64), np.array([mark(name) for name in names], np.uint64))


def mark(thing: NDArray[Any] | str) -> int:
    """Return a 64-bit hash of an array or a name."""
    content = thing.encode() if isinstance(thing, str) else str(thing.shape).encode() + thing.tobytes()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def load_estimator(path: Any) -> Any:
    """Load a model of any class; nothing the file contains is executed."""
    name = read_model(path).value("estimator", str)
    if name not in ESTIMATORS:
        raise ModelFileError(f"{path} holds a {name[:40]}; one of {', '.join(ESTIMATORS)} is needed.")
    return ESTIMATORS[name].load(path)


def fitted_steps(pipeline: Any, kinds: Mapping[str, type[Any]]) -> list[tuple[str, Any]]:
    """Return the steps that are not skipped; refuse those of other libraries."""
    if not isinstance(pipeline, Pipeline):
        given = type(pipeline).__name__
        raise TypeError(f"a Pipeline is needed, got {given}; models have save and stream of their own.")
    steps = [(name, step) for name, step in pipeline.steps if step is not None and not isinstance(step, str)]
    if not steps:
        raise ShapeError("the pipeline has no step.")
    for name, step in steps:
        if type(step) not in kinds.values():
            raise TypeError(
                f"step {name!r} is a {type(step).__name__}, which cannot be saved without pickle and has no stream. "
                f"Use one of {', '.join(kinds)}, or save the pipeline with joblib."
            )
        check_is_fitted(step)
    return steps


def pipeline_state(pipeline: Any, kinds: Mapping[str, type[Any]]) -> State:
    """Return the state of a fitted pipeline whose steps are of these classes."""
    steps = fitted_steps(pipeline, kinds)
    arrays = {f"step {number}": packed(step) for number, (_, step) in enumerate(steps)}
    return State({"estimator": "Pipeline", "steps": [[name, type(step).__name__] for name, step in steps]}, arrays)


def pipeline_from_state(state: State, kinds: Mapping[str, type[Any]], frontend: Any = None) -> Pipeline:
    """Restore the pipeline of `pipeline_state`."""
    if (kind := state.value("estimator", str)) != "Pipeline":
        raise ModelFileError(f"it holds a {kind}, not a pipeline; use {kind}.load.")
    entries, steps = state.values("steps", list), []
    if not 0 < len(entries) <= _MOST_STEPS:
        raise ModelFileError(f"it has {len(entries)} steps, but a pipeline has 1 to {_MOST_STEPS}.")
    for number, line in enumerate(entries):
        name, kind = State({"step": line}, {}).values("step", str, length=2)
        given = {"frontend": frontend} if kind in ("S4Classifier", "S4Regressor") else {}
        step = unpacked(kinds, kind, state, f"step {number}", what=f"step {name[:40]!r} is a", **given)
        steps.append((name, step))
    return Pipeline(steps)


def add_provenance(path: Any, provenance: Provenance) -> None:
    """Add the provenance of a model to its file."""
    part = State({"reading": provenance.reading}, {"cases": provenance.cases, "groups": provenance.groups})
    write_model(path, read_model(path).nest(_NAME, part))


def read_provenance(path: Any) -> Provenance:
    """Return the provenance of a model from its file; without cases if the file has none."""
    state = read_model(path)
    if _NAME not in state.plain:
        return Provenance({}, np.empty(0, np.uint64), np.empty(0, np.uint64))
    part = state.part(_NAME)
    cases, groups = (part.array(name, None, kinds="u") for name in ("cases", "groups"))
    return Provenance(part.value("reading", dict), cases, groups)
