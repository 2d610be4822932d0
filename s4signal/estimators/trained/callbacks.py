"""scikit-learn callbacks for the duration of one fit."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sklearn.callback import AutoPropagatedCallback, ProgressBar
from torch import nn


@contextmanager
def own_callbacks(estimator: Any, *, n_epochs: int, silent: bool = False) -> Iterator[Any]:
    """Add the callbacks of the parameters to those of ``set_callbacks`` for one fit; with ``silent``, use none."""
    before = list(vars(estimator).get("_skl_callbacks", []))
    own = [*(estimator.callbacks or []), *([ProgressBar()] if estimator.verbose else [])]
    if hasattr(estimator, "_parent_callback_ctx"):
        # Within a search or a pipeline, these belong to the outermost estimator, which propagates them.
        own = [callback for callback in own if not isinstance(callback, AutoPropagatedCallback)]
    together = [*before, *(callback for callback in own if callback not in before)]
    try:
        estimator.set_callbacks(*([] if silent else together))
        yield estimator._init_callback_context(max_subtasks=n_epochs).call_on_fit_task_begin(estimator=estimator)
    finally:
        estimator.set_callbacks(*before)


def end_task(
    estimator: Any, task: Any, given: tuple[Any, Any], *, learned: Mapping[str, Any], n_iter: int, network: nn.Module
) -> bool:
    """Call the callbacks at the end of a task, with the attributes ``learned`` so far by the draft that is fitted."""

    def snapshot() -> dict[str, Any]:
        parameters = estimator.get_params(deep=False)
        kept = {k: v for k, v in learned.items() if k not in parameters and "callback" not in k}
        return {**kept, "network_": copy.deepcopy(network).eval(), "n_iter_": n_iter}

    X, y = given
    return bool(task.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes=snapshot))
