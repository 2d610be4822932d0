"""TrainingCurveDisplay: curves, legend and errors."""

import sys

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from s4signal.errors import MissingDependencyError, ShapeError
from s4signal.inspection import TrainingCurveDisplay

__all__: list[str] = []


class Trained(BaseEstimator):
    """Mimics the attributes of a trained estimator."""

    history_: list[dict[str, float | None]]
    best_epoch_: int | None

    def fit(self) -> "Trained":
        """Do nothing; scikit-learn requires the method."""
        return self


def fitted(scores: list[float | None], best_epoch: int | None = 2) -> Trained:
    """Return an estimator with one loss and score per epoch."""
    estimator = Trained()
    estimator.history_ = [
        {"epoch": i, "loss": 1.0 / i, "validation_score": score, "seconds": 0.1} for i, score in enumerate(scores, 1)
    ]
    estimator.best_epoch_ = best_epoch
    return estimator


def test_loss_and_score_are_drawn_by_epoch() -> None:
    display = TrainingCurveDisplay.from_estimator(fitted([0.5, 0.9, 0.8]))
    loss, best = display.ax_.get_lines()
    (score,) = display.score_ax_.get_lines()
    np.testing.assert_array_equal(loss.get_xydata(), [[1, 1], [2, 1 / 2], [3, 1 / 3]])
    np.testing.assert_array_equal(score.get_xydata(), [[1, 0.5], [2, 0.9], [3, 0.8]])
    assert list(best.get_xdata()) == [2, 2]


def test_the_legend_names_every_line() -> None:
    display = TrainingCurveDisplay.from_estimator(fitted([0.5, 0.9, 0.8]))
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["training loss", "validation score", "best epoch (2)"]


def test_without_validation_only_the_loss_is_drawn() -> None:
    display = TrainingCurveDisplay.from_estimator(fitted([None, None], best_epoch=None))
    assert display.score_ax_ is None
    assert len(display.ax_.get_lines()) == 1


def test_without_validation_no_epoch_is_called_best() -> None:
    display = TrainingCurveDisplay.from_estimator(fitted([None, None], best_epoch=2))
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["training loss", "epoch kept (2)"]


def test_an_epoch_without_a_score_leaves_a_gap() -> None:
    display = TrainingCurveDisplay.from_estimator(fitted([0.5, None, 0.8]))
    assert np.isnan(display.score_ax_.get_lines()[0].get_ydata()[1])


def test_single_epoch_is_drawn_as_a_point() -> None:
    display = TrainingCurveDisplay.from_estimator(fitted([0.5], best_epoch=1))
    assert display.ax_.get_lines()[0].get_marker() == "o"


def test_curve_is_drawn_into_given_axes() -> None:
    figure, ax = pyplot.subplots()
    display = TrainingCurveDisplay.from_estimator(fitted([0.5, 0.9]), ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure


def test_estimator_without_history_is_refused() -> None:
    with pytest.raises(NotFittedError, match=r"Trained has no history_\. Fit it first"):
        TrainingCurveDisplay.from_estimator(Trained())


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="loss must hold one value for each of 2 epochs, got 1"):
        TrainingCurveDisplay(epoch=[1, 2], loss=[0.5])


def test_error_names_the_extra_if_matplotlib_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[plot\]"):
        TrainingCurveDisplay(epoch=[1], loss=[0.5]).plot()
