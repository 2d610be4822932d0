"""Importance of frequency bands for a closed-form model."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ShapeError
from s4signal.estimators.closed_form.feature_names import add_by_oscillator
from s4signal.inspection.drawing import BLACK, BLUE, Display, model_of, units_of


class BandImportanceDisplay(Display):
    """Share of each oscillator in the squared ridge coefficients of a closed-form model, by frequency.

    Features are standardised, so a coefficient is the change of the output per standard deviation of its feature.
    Neighbouring bands are correlated and share their coefficients: compare regions, not single points. The share of a
    feature of three oscillators is divided equally among them. Bars are sums over octaves around 1, 2, 4 … and 1/2,
    1/4 … Hz.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    frequency : array-like of shape (n_oscillators,)
        Frequencies; 0 for a low-pass filter.
    importance : array-like of shape (n_oscillators,)
        Shares, which sum to one.
    unit : str, default="Hz"
        Unit of the frequencies.

    Raises
    ------
    ShapeError
        If `importance` and `frequency` differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4RidgeClassifier
    >>> from s4signal.inspection import BandImportanceDisplay
    >>> X, y = np.random.default_rng(0).standard_normal((40, 100)), np.repeat(["rest", "task"], 20)
    >>> model = S4RidgeClassifier(n_oscillators=16, sfreq=50, random_state=0).fit(X, y)
    >>> BandImportanceDisplay.from_estimator(model).importance.shape
    (16,)
    """

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
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the bands of a fitted closed-form model; return the display.

        Parameters
        ----------
        estimator : S4RidgeClassifier or S4RidgeRegressor
            Fitted.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        NotFittedError
            If `estimator` is not a fitted closed-form model.
        """
        estimator = model_of(estimator)
        missing = "%(name)s is not a fitted closed-form model. Pass a fitted S4RidgeClassifier or S4RidgeRegressor."
        check_is_fitted(estimator, ["ridge_", "features_"], msg=missing)
        features = estimator.features_
        importance = add_by_oscillator(features.feature_map_, np.square(estimator.ridge_.coef[0]).sum(1))
        total = importance.sum()
        shares = importance / (total if total > 0 else 1.0)
        return cls(frequency=features.frequencies_, importance=shares, unit=units_of(estimator)[0]).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        band = self.frequency > 0
        if band.any():
            octaves, place = np.unique(np.round(np.log2(self.frequency[band])), return_inverse=True)
            lowest, highest = 2 ** (octaves - 0.5), 2 ** (octaves + 0.5)
            sums = np.bincount(place, self.importance[band])
            ax.bar(lowest, sums, width=highest - lowest, align="edge", color="0.85", edgecolor="w", label="octave")
            ax.plot(self.frequency[band], self.importance[band], "o", color=BLUE, markersize=3, label="oscillator")
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_formatter("{x:g}")
        if not band.all():
            low = float(self.importance[~band].sum())
            ax.axhline(low, color=BLACK, linestyle="--", label="all low-passes")
        ax.set(xlabel=f"Frequency ({self.unit})", ylabel="Share of squared coefficients")
        ax.legend()
