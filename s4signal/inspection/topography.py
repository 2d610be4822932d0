"""Values of channels on a head, drawn by MNE."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from s4signal.errors import ShapeError
from s4signal.inspection.drawing import MAP, Display, model_of, units_of
from s4signal.signals import Signals
from s4signal.signals.checks import optional
from s4signal.signals.mne_objects import montage_positions

_FEWEST = 4  # channels


class TopographyDisplay(Display):
    """Values of EEG channels on a head.

    Parameters
    ----------
    values : array-like of shape (n_channels,)
        Values to draw: importances, a spatial filter or its pattern.
    ch_names : sequence of str
        Names of the channels; without `positions`, those of the 10-05 system are found by name.
    positions : array-like of shape (n_channels, 3), optional
        Positions of the sensors, in metres, in head coordinates; NaN if unknown.
    label : str, default=""
        Meaning of the colours.

    Raises
    ------
    ShapeError
        If the number of values or positions differs from the number of channels.

    Examples
    --------
    >>> from s4signal.inspection import TopographyDisplay
    >>> names = ["EEG Fp1-REF", "Fp2", "T3", "C4", "O1", "O2"]
    >>> TopographyDisplay(values=[0, 0, 1, 1, 4, 4], ch_names=names, label="Importance").known.sum()
    np.int64(6)
    """

    def __init__(
        self, *, values: npt.ArrayLike, ch_names: Sequence[str], positions: npt.ArrayLike | None = None, label: str = ""
    ) -> None:
        self.values, self.ch_names, self.label = np.asarray(values, float), list(ch_names), label
        self.positions = _standard_positions(self.ch_names) if positions is None else np.asarray(positions, float)
        if self.values.shape != (len(self.ch_names),) or self.positions.shape != (len(self.ch_names), 3):
            raise ShapeError(
                f"values {self.values.shape} and positions {self.positions.shape} must be those of "
                f"{len(self.ch_names)} channels, (n_channels,) and (n_channels, 3)."
            )

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether the position of each channel is known, shape (n_channels,)."""
        return np.asarray(np.isfinite(self.positions).all(1))

    @classmethod
    def from_filter(cls, weights: npt.ArrayLike, X: Signals, *, label: str = "Pattern (V)", ax: Any = None) -> Self:
        """Draw the pattern of a spatial filter: how its source projects to the sensors.

        The weights also depend on other sources, which channels cancel; the covariance of the channels times the
        weights does not.

        Parameters
        ----------
        weights : array-like of shape (n_channels,)
            Weights of the filter.
        X : Signals
            Cases that define covariance, names and positions of the channels.
        label : str, default="Pattern (V)"
            Meaning of the colours.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        References
        ----------
        Haufe, Meinecke, Görgen, Dähne, Haynes, Blankertz, Bießmann, "On the interpretation of weight vectors of linear
        models in multivariate neuroimaging", 2014, equation 6, doi:10.1016/j.neuroimage.2013.10.067.
        """
        X = Signals(X)
        return cls._of(_covariance(X) @ np.asarray(weights, np.float64), X, label, ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Signals, *, component: int = 0, ax: Any = None) -> Self:
        """Draw the pattern of a spatial filter that a network has learned in its front end.

        A filter of ``frontend="band_power"`` belongs to a band, and the covariance is that of its band signals.

        Parameters
        ----------
        estimator : S4Classifier, S4Regressor, or a pipeline that ends in one
            Fitted, with a front end that mixes the channels: "linear", "hop_means" or "band_power".
        X : Signals
            Cases that define covariance, names and positions of the channels.
        component : int, default=0
            Index of the filter: a direction in the space of standardised channels, by descending gain of the front
            end; for "band_power", by descending weight of its power.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        ValueError
            If the model has no such front end.
        """
        X, model = Signals(X), model_of(estimator)
        frontend: Any = getattr(getattr(model, "network_", None), "frontend", None)
        weight: Any = getattr(getattr(frontend, "mix", None), "weight", torch.empty(0, 0)).detach().double().cpu()
        covariance, of = _covariance(X), ""
        scale = np.sqrt(np.diag(covariance))
        if (spatial := getattr(frontend, "spatial", None)) is not None:
            index = int(frontend.power_mix.weight.norm(dim=0).argsort(descending=True)[component])
            band, weights = index // spatial.shape[1], spatial.flatten(0, 1)[index].detach().double().cpu()
            covariance = _band_covariance(X, frontend.bank, band)
            of = f", {float(frontend.bank.frequencies_hz[band]):.3g} {units_of(model)[0]}"
        elif weight.ndim == 2 and weight.shape[1] == X.n_channels:
            weights = torch.linalg.svd(weight)[2][component]
        else:
            raise ValueError(
                f"{type(model).__name__} has no front end that mixes {X.n_channels} channels; fit S4Classifier("
                "frontend='linear'), or draw ChannelImportanceDisplay.from_estimator(...).topography()."
            )
        return cls._of(covariance @ (weights.numpy() / scale), X, f"Pattern of filter {component + 1}{of} (V)", ax)

    @classmethod
    def _of(cls, pattern: npt.NDArray[np.float64], X: Signals, label: str, ax: Any) -> Self:
        names = X.ch_names or [f"channel {k}" for k in range(len(pattern))]
        return cls(values=pattern, ch_names=names, positions=X[0].positions, label=label).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        mne = optional("mne", "A topography", "eeg")
        known = self.known
        if known.sum() < _FEWEST:
            raise ValueError(
                f"{known.sum()} of {len(known)} channels have a position, {_FEWEST} are needed; pass positions=, or "
                "names of the 10-05 system."
            )
        # Sensors on one circle, such as four around Cz, have no triangulation: move them by a tenth of a millimetre.
        moved = self.positions[known] + 1e-4 * np.random.default_rng(0).uniform(-1, 1, (known.sum(), 3))
        places = dict(zip(map(str, np.flatnonzero(known)), moved, strict=True))
        info = mne.create_info(list(places), 1.0, "eeg", verbose="error")
        info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), verbose="error")
        values = self.values[known]
        limits = (values.min(), values.max())
        image, _ = mne.viz.plot_topomap(values, info, axes=ax, show=False, cmap=MAP, vlim=limits)
        self.figure_.colorbar(image, ax=ax, label=self.label, shrink=0.7)


def _standard_positions(names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return (n_channels, 3) in metres by the names of the 10-05 system, NaN for others."""
    mne = optional("mne", "A topography", "eeg")
    name = "colin27_1005" if "colin27_1005" in mne.channels.get_builtin_montages() else "standard_1005"  # before 1.13
    return montage_positions(name, names)


def _covariance(X: Signals) -> npt.NDArray[np.float64]:
    """Return the mean covariance of the channels within cases; a missing sample is replaced by the mean."""
    total = np.zeros((X.n_channels, X.n_channels))
    for case in X:
        data = np.asarray(case.data, np.float64)
        data = np.nan_to_num(data - np.nanmean(np.where(np.isnan(data).all(1, keepdims=True), 0.0, data), 1)[:, None])
        total += data @ data.T / data.shape[1]
    return total / len(X)


def _band_covariance(X: Signals, bank: Any, band: int) -> npt.NDArray[np.float64]:
    """Return the mean covariance of the channels within a band of a bank."""
    own, total = copy.deepcopy(bank).cpu().double(), np.zeros((X.n_channels, X.n_channels))
    for case in X:
        data = torch.from_numpy(np.nan_to_num(np.asarray(case.data, np.float64)))[:, None]
        features = own(data, rate=own.sfreq / (case.sfreq or own.sfreq)).features[:, 0]
        z = features.view(X.n_channels, 2, own.n_bands, -1)[:, :, band].flatten(1).numpy()
        total += z @ z.T / z.shape[1]
    return total / len(X)
