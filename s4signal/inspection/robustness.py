"""Scores of models on disturbed recordings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.errors import ShapeError
from s4signal.inspection.drawing import MARKERS, STYLES, Display


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
