"""Tags: several of them may hold for a case; scikit-learn's multilabel targets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite

from s4signal.errors import ShapeError
from s4signal.signals import Signals


def are_tags(y: Any) -> bool:
    """Whether targets are a table of at least two columns."""
    return len(shape := _shape(y)) == 2 and shape[1] > 1


def check_tags(y: Any, X: Signals, *, n_tags: int | None, class_weight: Any) -> NDArray[np.float64]:
    """Check tags: (n_samples, n_tags) of 0 and 1, `n_tags` as in training."""
    if n_tags is not None and not are_tags(y):
        raise ShapeError(f"y has shape {_shape(y)}, but the model was fitted with {n_tags} tags, 0 or 1 each.")
    if class_weight is not None:
        raise ValueError(
            f"class_weight={class_weight!r} weighs the classes of one label, but y holds tags; pass class_weight=None, "
            "and sample_weight if cases count differently."
        )
    if np.ma.is_masked(y):
        raise ValueError("some values of y are masked, so unknown; leave these cases out.")
    tags = np.asarray(y.toarray() if issparse(y) else y)
    if tags.dtype.kind in "biuf":
        assert_all_finite(tags, input_name="y")
    wrong = [] if tags.dtype.kind in "b" else [value for value in np.unique(tags).tolist() if value not in (0, 1)]
    if wrong:
        raise ValueError(
            f"y of shape {tags.shape} must hold tags, 0 or 1 each, but it holds {wrong[0]!r}. If a case has one label, "
            "pass y of shape (n_samples,)."
        )
    if len(tags) != len(X):
        raise ShapeError(f"X and y have inconsistent numbers of samples: {len(X)} cases and {len(tags)} targets.")
    if n_tags is not None and tags.shape[1] != n_tags:
        raise ShapeError(f"y has {tags.shape[1]} tags, the model was fitted with {n_tags}.")
    return tags.astype(np.float64)


def _shape(y: Any) -> tuple[int, ...]:
    try:
        return tuple(y.shape) if hasattr(y, "shape") else np.asarray(y).shape
    except ValueError:  # rows of unequal length
        return (len(y),)
