"""Model files of any class, and what they store about the cases of the fit."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from s4signal.errors import ModelFileError
from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.closed_form.regressor import S4RidgeRegressor
from s4signal.estimators.model_file import State, read_model, write_model
from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.regressor import S4Regressor
from s4signal.signals import Signals

ESTIMATORS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (S4Classifier, S4Regressor, S4RidgeClassifier, S4RidgeRegressor)
}
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


def add_provenance(path: Any, provenance: Provenance) -> None:
    """Add the provenance of a model to its file."""
    state = read_model(path)
    part = State({"reading": provenance.reading}, {"cases": provenance.cases, "groups": provenance.groups})
    write_model(path, state.nest(_NAME, part))


def read_provenance(path: Any) -> Provenance:
    """Return the provenance of a model from its file; without cases if the file has none."""
    state = read_model(path)
    if _NAME not in state.plain:
        return Provenance({}, np.empty(0, np.uint64), np.empty(0, np.uint64))
    part = state.part(_NAME)
    cases, groups = (part.array(name, None, kinds="u") for name in ("cases", "groups"))
    return Provenance(part.value("reading", dict), cases, groups)
