"""Training curve: loss and validation score by epoch."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ShapeError
from s4signal.inspection.drawing import BLACK, BLUE, Display, model_of


class TrainingCurveDisplay(Display):
    """Training curve of a fitted estimator: its loss and, if it was measured, its validation score by epoch.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    epoch : array-like of shape (n_epochs,)
        Number of each epoch.
    loss : array-like of shape (n_epochs,)
        Training loss.
    validation_score : array-like of shape (n_epochs,), optional
        Score on the validation set; None or NaN if it was not measured.
    best_epoch : int, optional
        The epoch that was kept, drawn as a vertical line; the last one without validation.

    Attributes
    ----------
    ax_, score_ax_, figure_ : matplotlib Axes, Axes or None, Figure
        Axes with the loss, axes with the validation score on the right (if it was measured), and their figure.

    Raises
    ------
    ShapeError
        If `loss` or `validation_score` differs in length from `epoch`.

    Examples
    --------
    >>> from s4signal.inspection import TrainingCurveDisplay
    >>> display = TrainingCurveDisplay(epoch=[1, 2, 3], loss=[0.7, 0.4, 0.3], best_epoch=2)
    >>> display.plot().ax_.get_xlabel()
    'Epoch'
    """

    score_ax_: Any

    def __init__(
        self,
        *,
        epoch: npt.ArrayLike,
        loss: npt.ArrayLike,
        validation_score: Sequence[float | None] | npt.NDArray[Any] | None = None,
        best_epoch: int | None = None,
    ) -> None:
        self.epoch = np.asarray(epoch)
        self.loss = np.asarray(loss, dtype=np.float64)
        scores = [None] * len(self.epoch) if validation_score is None else validation_score
        self.validation_score = np.asarray(scores, dtype=np.float64)  # None becomes NaN
        self.best_epoch = best_epoch
        for name, values in (("loss", self.loss), ("validation_score", self.validation_score)):
            if values.shape != self.epoch.shape:
                raise ShapeError(f"{name} must hold one value for each of {len(self.epoch)} epochs, got {len(values)}.")

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the training curve of a fitted estimator; return the display.

        Parameters
        ----------
        estimator : S4Classifier, S4Regressor or another estimator with `history_`
            Fitted.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        NotFittedError
            If `estimator` has no `history_`.
        """
        estimator = model_of(estimator)
        missing = "%(name)s has no history_. Fit it first; an estimator in closed form has no epochs to draw."
        check_is_fitted(estimator, "history_", msg=missing)
        history = estimator.history_
        return cls(
            epoch=[row["epoch"] for row in history],
            loss=[row["loss"] for row in history],
            validation_score=[row.get("validation_score") for row in history],
            best_epoch=getattr(estimator, "best_epoch_", None),
        ).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        self.score_ax_ = None
        marker = "o" if len(self.epoch) == 1 else None  # a line of one point can't be seen
        lines = ax.plot(self.epoch, self.loss, color=BLUE, marker=marker, label="training loss")
        ax.set(xlabel="Epoch", ylabel="Training loss")
        validated = np.isfinite(self.validation_score).any()
        if validated:
            self.score_ax_ = ax.twinx()
            self.score_ax_.set_ylabel("Validation score")
            lines += self.score_ax_.plot(
                self.epoch, self.validation_score, color=BLACK, linestyle="--", marker=marker, label="validation score"
            )
        if self.best_epoch is not None:
            kind = "best epoch" if validated else "epoch kept"  # without validation, no epoch is known to be best
            label = f"{kind} ({self.best_epoch})"
            lines.append(ax.axvline(self.best_epoch, color="0.5", linestyle=":", label=label))
        ax.legend(handles=lines, loc="center right")
