"""Scores of each group of cases, and of models on disturbed recordings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.errors import ShapeError
from s4signal.inspection.drawing import MAP, MARKERS, NAMES, STYLES, Display
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
        y, predicted = np.asarray(y_true), np.asarray(y_pred)
        owner = one_group_each(groups, np.size(groups)).astype(str)
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


class RobustnessDisplay(Display):
    """Scores of models as a function of the level of a disturbance.

    Create it with `from_estimators`. All parameters are kept as attributes.

    Parameters
    ----------
    levels : sequence of float or str, of length n_levels
        Levels of the disturbance.
    scores : mapping of str to array-like of shape (n_levels,) or (n_levels, n_repeats)
        Scores by model. With several repeats, the mean is drawn with the standard deviation.
    xlabel : str, default="Level"
        Label of the levels.
    ylabel : str, default="Accuracy"
        Label of the scores.

    Raises
    ------
    ShapeError
        If the number of scores of a model differs from the number of levels.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4RidgeClassifier, Signals
    >>> from s4signal.inspection import RobustnessDisplay
    >>> from s4signal.signals import drop_samples
    >>> noise, y = np.random.default_rng(0).standard_normal((40, 1, 200)), np.repeat([0, 1], 20)
    >>> X = Signals(noise * (1 + y[:, None, None]), sfreq=100)
    >>> models = {f"{n} oscillators": S4RidgeClassifier(n_oscillators=n, random_state=0).fit(X, y) for n in (4, 16)}
    >>> thinned = lambda X, share: drop_samples(X, share, random_state=0) if share else X
    >>> display = RobustnessDisplay.from_estimators(models, X, y, disturb=thinned, levels=[0, 0.5])
    >>> {name: scores.shape for name, scores in display.scores.items()}
    {'4 oscillators': (2, 1), '16 oscillators': (2, 1)}
    """

    def __init__(
        self,
        *,
        levels: Sequence[float | str],
        scores: Mapping[str, npt.ArrayLike],
        xlabel: str = "Level",
        ylabel: str = "Accuracy",
    ) -> None:
        self.levels, self.xlabel, self.ylabel = list(levels), xlabel, ylabel
        self.scores: dict[str, npt.NDArray[np.float64]] = {}
        for name, given in scores.items():
            values = np.asarray(given, np.float64)
            self.scores[name] = values.reshape(len(values), -1)
            if len(values) != len(self.levels):
                raise ShapeError(f"{name} has {len(values)} scores, but there are {len(self.levels)} levels.")

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: Any,
        y: npt.ArrayLike,
        *,
        disturb: Callable[[Any, Any], Any],
        levels: Sequence[float | str],
        xlabel: str = "Level",
        ylabel: str = "Accuracy",
        ax: Any = None,
    ) -> Self:
        """Score fitted models on disturbed cases; return the display.

        Parameters
        ----------
        estimators : mapping of str to estimator
            Fitted; their ``score`` is used.
        X : Signals or array-like
            Cases that they were not fitted on.
        y : array-like of shape (n_samples,)
            Their labels or targets.
        disturb : callable
            Takes X and a level, and returns the disturbed cases; all models get the same ones.
        levels : sequence
            Arguments of `disturb`.
        xlabel, ylabel : str
            Labels of levels and scores.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        cases = [disturb(X, level) for level in levels]
        scores = {name: [model.score(part, y) for part in cases] for name, model in estimators.items()}
        return cls(levels=levels, scores=scores, xlabel=xlabel, ylabel=ylabel).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        for i, (name, values) in enumerate(self.scores.items()):
            style = STYLES[i % 4] + MARKERS[i % len(MARKERS)]
            spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
            ax.errorbar(self.levels, values.mean(1), spread, fmt=style, capsize=3, label=name)
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel)
        ax.grid(alpha=0.3)
        if len(self.scores) > 1:
            ax.legend()
