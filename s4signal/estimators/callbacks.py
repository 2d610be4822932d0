"""The callbacks of scikit-learn, for the length of one fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.callback import AutoPropagatedCallback, ProgressBar

__all__ = ["own_callbacks"]


@contextmanager
def own_callbacks(estimator: Any) -> Iterator[None]:
    """Let the callbacks of the parameters act inside, beside those of ``set_callbacks``.

    Parameters
    ----------
    estimator : estimator
        With the parameters ``callbacks`` and ``verbose``; the latter adds a progress bar.
    """
    before = estimator.__dict__.get("_skl_callbacks")
    own = list(estimator.callbacks or [])
    if estimator.verbose:
        own.append(ProgressBar())
    if hasattr(estimator, "_parent_callback_ctx"):
        # Within a search or a pipeline, these belong to the outermost estimator, which hands them down.
        own = [callback for callback in own if not isinstance(callback, AutoPropagatedCallback)]
    present = before or []
    together = [*present, *(callback for callback in own if callback not in present)]
    if together:
        estimator._skl_callbacks = together
    try:
        yield
    finally:
        estimator.__dict__.pop("_skl_callbacks", None)
        if before is not None:
            estimator._skl_callbacks = before
