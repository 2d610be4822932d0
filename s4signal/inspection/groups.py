"""Scores of each group of cases."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.errors import ShapeError
from s4signal.inspection.drawing import MAP, NAMES, Display
from s4signal.inspection.scores import Predictions
from s4signal.signals.summary import one_group_each

_MOST = 40  # groups drawn


class GroupScoresDisplay(Display):
    """Scores of each group (subject, speaker, recording) as a table, the worst first.

    A row has the accuracy of a group and the recall of each class in it; for numeric targets, the mean absolute error.

    Create it with `from_predictions` or `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    groups : sequence of str
        Names of the groups, the worst first.
    n_cases : array-like of shape (n_groups,)
        Number of cases in each group.
    scores : array-like of shape (n_groups, n_columns)
        Values of the table; NaN if a group has no case of a class.
    columns : sequence of str
        Names of the columns.

    Raises
    ------
    ShapeError
        If `scores` has another shape.

    Examples
    --------
    >>> from s4signal.inspection import GroupScoresDisplay
    >>> display = GroupScoresDisplay.from_predictions(
    ...     ["no", "yes", "no", "yes"], ["no", "yes", "yes", "yes"], groups=["ann", "ann", "ben", "ben"]
    ... )
    >>> display.groups, display.columns
    (['ben', 'ann'], ['accuracy', 'no', 'yes'])
    >>> display.scores
    array([[0.5, 0. , 1. ],
           [1. , 1. , 1. ]])
    """

    def __init__(
        self, *, groups: Sequence[str], n_cases: npt.ArrayLike, scores: npt.ArrayLike, columns: Sequence[str]
    ) -> None:
        self.groups, self.columns = list(groups), list(columns)
        self.n_cases, self.scores = np.asarray(n_cases, int), np.asarray(scores, float)
        if self.scores.shape != (len(self.groups), len(self.columns)):
            shape = (len(self.groups), len(self.columns))
            raise ShapeError(f"scores must have shape (n_groups, n_columns), {shape}, got {self.scores.shape}.")

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: npt.ArrayLike, *, groups: npt.ArrayLike, ax: Any = None) -> Self:
        """Predict cases and draw the scores of their groups; return the display.

        Parameters
        ----------
        estimator : classifier or regressor
            Fitted.
        X : Signals or array-like
            Cases that it was not fitted on.
        y : array-like of shape (n_samples,)
            Their labels or targets.
        groups : array-like of shape (n_samples,)
            Groups of the cases.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        return cls.from_predictions(y, estimator.predict(X), groups=groups, ax=ax)

    @classmethod
    def from_predictions(
        cls, y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, groups: npt.ArrayLike, ax: Any = None
    ) -> Self:
        """Draw the scores of groups; return the display.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Labels, or targets if they are floating-point numbers.
        y_pred : array-like of shape (n_samples,)
            Predictions, such as those of ``cross_val_predict``.
        groups : array-like of shape (n_samples,)
            Groups of the cases.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        ValueError
            If the three differ in length, or a group is missing.
        """
        y, predicted, owner = (
            np.asarray(y_true),
            np.asarray(y_pred),
            one_group_each(groups, np.size(groups)).astype(str),
        )
        if not len(y) == len(predicted) == len(owner):
            lengths = f"{len(y)}, {len(predicted)} and {len(owner)}"
            raise ShapeError(f"y_true, y_pred and groups must be of one length, got {lengths}.")
        classes = None if y.dtype.kind == "f" else np.unique(y)
        predictions = Predictions(y, predicted, None, classes, owner, np.zeros(len(y), np.int64))
        rows, first = predictions.by_group(), predictions.measure
        scores = [[row[first], *_recalls(y, predicted, owner == row["group"], classes)] for row in rows]
        columns = [first, *([] if classes is None else classes.astype(str).tolist())]
        names, sizes = [row["group"] for row in rows], [row["n"] for row in rows]
        return cls(groups=names, n_cases=sizes, scores=scores, columns=columns).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        shown = self.scores[:_MOST]
        best = 1.0 if self.columns[0] != "mean absolute error" else float(np.nanmax(shown)) or 1.0
        ax.imshow(shown, cmap=MAP, vmin=0.0, vmax=best, aspect="auto")
        for (i, j), value in np.ndenumerate(shown):
            color = "w" if value <= 0.6 * best else "k"
            ax.text(j, i, "–" if np.isnan(value) else f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
        ax.set_xticks(range(len(self.columns)), self.columns, rotation=45 if len(self.columns) > 6 else 0, **NAMES)
        names = [f"{name} ({n})" for name, n in zip(self.groups, self.n_cases, strict=True)]
        ax.set_yticks(range(len(shown)), names[:_MOST], **NAMES)
        ax.grid(visible=False)


def _recalls(y: Any, predicted: Any, members: npt.NDArray[np.bool_], classes: Any) -> list[float]:
    of_class = [members & (y == name) for name in ([] if classes is None else classes)]
    return [float(np.mean(predicted[cases] == y[cases])) if cases.any() else np.nan for cases in of_class]
