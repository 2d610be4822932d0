"""Which bands of a signal carry the decision of a model in closed form."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ShapeError
from s4signal.estimators.closed_form.feature_names import add_by_oscillator
from s4signal.inspection.training_curve import new_axes


class BandImportanceDisplay:
    """Share of the squared ridge coefficients of a model in closed form that falls to each oscillator, by frequency.

    Features are standardised, so a coefficient says how far the output moves when its feature moves by one standard
    deviation. Coefficients of neighbouring bands, which are correlated, share what they explain: look at regions, not
    at single points. The share of a feature of three oscillators is divided equally among the three.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    frequency : array-like of shape (n_oscillators,)
        Frequencies; 0 for a low-pass.
    importance : array-like of shape (n_oscillators,)
        Shares, together one.
    unit : str, default="Hz"
        Of the frequencies.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the shares.
    figure_ : matplotlib Figure
        Figure that holds them.

    Raises
    ------
    ShapeError
        If `importance` has another length than `frequency`.

    Examples
    --------
    >>> from s4signal.inspection import BandImportanceDisplay
    >>> display = BandImportanceDisplay(frequency=[2.0, 10.0, 20.0], importance=[0.1, 0.7, 0.2])
    >>> display.plot().ax_.get_xlabel()
    'Frequency (Hz)'
    """

    ax_: Any
    figure_: Any

    def __init__(self, *, frequency: npt.ArrayLike, importance: npt.ArrayLike, unit: str = "Hz") -> None:
        self.frequency = np.asarray(frequency, dtype=np.float64)
        self.importance = np.asarray(importance, dtype=np.float64)
        self.unit = unit
        if self.importance.shape != self.frequency.shape:
            raise ShapeError(
                f"importance must hold one value for each of {len(self.frequency)} oscillators, got "
                f"{len(self.importance)}."
            )

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> "BandImportanceDisplay":
        """Draw the bands of a fitted model in closed form; return the display.

        Parameters
        ----------
        estimator : S4RidgeClassifier or S4RidgeRegressor
            Fitted.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if missing.

        Raises
        ------
        NotFittedError
            If `estimator` has no `ridge_`.

        Examples
        --------
        >>> import numpy as np
        >>> from s4signal.estimators import S4RidgeClassifier
        >>> X, y = np.random.default_rng(0).standard_normal((40, 100)), np.repeat(["rest", "task"], 20)
        >>> estimator = S4RidgeClassifier(n_oscillators=16, sfreq=50, random_state=0).fit(X, y)
        >>> BandImportanceDisplay.from_estimator(estimator).importance.shape
        (16,)
        """
        check_is_fitted(
            estimator, "ridge_", msg="%(name)s has no ridge_. Give a fitted S4RidgeClassifier or S4RidgeRegressor."
        )
        features = estimator.features_
        importance = add_by_oscillator(features.feature_map_, np.square(estimator.ridge_.coef[0]).sum(1))
        total = importance.sum()
        unit = "Hz" if estimator.sfreq_ is not None else "cycles per sample"
        display = cls(frequency=features.frequencies_, importance=importance / (total if total > 0 else 1.0), unit=unit)
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> "BandImportanceDisplay":
        """Draw the shares of oscillators, and their sums over octaves around 1, 2, 4 … and 1/2, 1/4 … Hz.

        It returns this display, with `ax_` and `figure_`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if missing.
        """
        ax = new_axes() if ax is None else ax
        self.ax_, self.figure_ = ax, ax.figure
        band = self.frequency > 0
        if band.any():
            octaves, place = np.unique(np.round(np.log2(self.frequency[band])), return_inverse=True)
            lowest, highest = 2 ** (octaves - 0.5), 2 ** (octaves + 0.5)
            sums = np.bincount(place, self.importance[band])
            ax.bar(lowest, sums, width=highest - lowest, align="edge", color="0.85", edgecolor="w", label="octave")
            ax.plot(self.frequency[band], self.importance[band], "o", color="C0", markersize=3, label="oscillator")
            ax.set_xscale("log")
        if not band.all():
            low = float(self.importance[~band].sum())
            ax.axhline(low, color="C1", linestyle="--", label="all low-passes")
        ax.set(xlabel=f"Frequency ({self.unit})", ylabel="Share of squared coefficients")
        ax.legend()
        return self
