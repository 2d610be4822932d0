"""Frequency responses, impulse responses and poles of a model: of the blocks of a network, or of a filter bank."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.errors import ShapeError
from s4signal.estimators.trained.describe import block_modes
from s4signal.inspection.drawing import BLACK, MAP, MARKERS, STYLES, Display, model_of, units_of
from s4signal.ssm import impulse_response

Real = npt.NDArray[np.float64]
_N = 2048  # samples of a kernel
_MOST_FILTERS = 32  # drawn of a bank
_MOST_POLES = 4000  # points


class FrequencyResponseDisplay(Display):
    """Gain of the filters of a fitted model over frequency.

    For the blocks of a network, the plot shows the median over channels and the middle 80 %, before the gates; for a
    bank, every filter, or 32 from the lowest to the highest.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    frequency : array-like of shape (n_frequencies,)
        Frequencies of the gains.
    gain : mapping of str to array of shape (n_filters, n_frequencies)
        Gains in dB by part of the model, such as ``"block 1"``; a part named ``"bank"`` is drawn filter by filter.
    unit : str, default="Hz"
        Unit of the frequencies.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4RidgeClassifier
    >>> from s4signal.inspection import FrequencyResponseDisplay
    >>> X, y = np.random.default_rng(0).standard_normal((40, 100)), np.repeat(["rest", "task"], 20)
    >>> model = S4RidgeClassifier(n_oscillators=16, sfreq=50, random_state=0).fit(X, y)
    >>> FrequencyResponseDisplay.from_estimator(model).gain["bank"].shape
    (16, 500)
    """

    def __init__(self, *, frequency: npt.ArrayLike, gain: Mapping[str, npt.ArrayLike], unit: str = "Hz") -> None:
        self.frequency, self.unit = np.asarray(frequency, np.float64), unit
        self.gain = {name: np.asarray(values, np.float64) for name, values in gain.items()}

    @classmethod
    def from_estimator(cls, estimator: Any, *, part: str = "auto", ax: Any = None) -> Self:
        """Draw the gain of the filters of a fitted model; return the display.

        Parameters
        ----------
        estimator : estimator of this package, or a pipeline that ends in one
            Fitted.
        part : {"auto", "blocks", "bank"}, default="auto"
            The blocks of a network, or the bank of a closed-form model or of a network's front end. By default the
            blocks if there are any.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        ValueError
            If the model has no such part.
        """
        model = model_of(estimator)
        if part == "blocks" or (part == "auto" and hasattr(model, "network_")):
            kernels, step = block_kernels(model)
            frequency = np.fft.rfftfreq(_N, step)[1:]
            gain = {k: 20 * np.log10(np.abs(np.fft.rfft(v, axis=1))[:, 1:] + 1e-6) for k, v in kernels.items()}
        else:
            centers, bandwidths, orders, nyquist = _bank(model)
            frequency = np.geomspace(max(centers[centers > 0].min(initial=nyquist) / 2, nyquist / 1e5), nyquist, 500)
            # Gain of a cascade of one-pole resonators, in continuous time.
            detuned = (frequency - centers[:, None]) / bandwidths[:, None]
            gain = {"bank": -10 * orders[:, None] * np.log10(1 + detuned**2)}
        return cls(frequency=frequency, gain=gain, unit=units_of(model)[0]).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        from matplotlib import colormaps

        for i, (name, gain) in enumerate(self.gain.items()):
            if name == "bank":
                order = gain.argmax(1).argsort()
                shown = gain[order[np.linspace(0, len(order) - 1, min(len(order), _MOST_FILTERS)).astype(int)]]
                ax.set_prop_cycle(color=colormaps[MAP](np.linspace(0, 0.9, len(shown))))
                ax.plot(self.frequency, shown.T, linewidth=1)
                ax.set_ylim(-40, 2)
                continue
            low, middle, high = np.percentile(gain, [10, 50, 90], axis=0)
            (line,) = ax.plot(self.frequency, middle, STYLES[i % 4], label=name)
            ax.fill_between(self.frequency, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
            ax.legend()
        ax.set(xlabel=f"Frequency ({self.unit})", ylabel="Gain (dB)")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")


class KernelDisplay(Display):
    """Kernels of a fitted network: impulse responses of the systems of its blocks.

    For each block, the plot shows the channel with the greatest energy, scaled to one.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    times : array-like of shape (n_times,)
        Time after the impulse.
    kernels : mapping of str to array of shape (n_channels, n_times)
        Kernels by block.
    unit : str, default="s"
        Unit of the times.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Classifier
    >>> from s4signal.inspection import KernelDisplay
    >>> X, y = np.random.default_rng(0).standard_normal((40, 100)), np.repeat(["rest", "task"], 20)
    >>> model = S4Classifier(d_model=8, n_layers=2, max_epochs=1, random_state=0).fit(X, y)
    >>> list(KernelDisplay.from_estimator(model).kernels)
    ['block 1', 'block 2']
    """

    def __init__(self, *, times: npt.ArrayLike, kernels: Mapping[str, npt.ArrayLike], unit: str = "s") -> None:
        self.times, self.unit = np.asarray(times, np.float64), unit
        self.kernels = {name: np.asarray(values, np.float64) for name, values in kernels.items()}

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the kernels of a fitted network; return the display.

        Parameters
        ----------
        estimator : S4Classifier, S4Regressor, or a pipeline that ends in one
            Fitted.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        ValueError
            If the model has no blocks.
        """
        model = model_of(estimator)
        kernels, step = block_kernels(model)
        return cls(times=np.arange(_N) * step, kernels=kernels, unit=units_of(model)[1]).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        end = 1
        for i, (name, kernels) in enumerate(self.kernels.items()):
            strongest = kernels[np.square(kernels).sum(1).argmax()]
            shape = strongest / (np.abs(strongest).max() or 1.0)
            end = max(end, int(np.flatnonzero(np.abs(shape) > 0.02).max(initial=0)))
            ax.plot(self.times, shape - 2.2 * i, STYLES[i % 4], label=name)
        ax.axhline(0.0, color=BLACK, linewidth=0.5)
        ax.set(xlabel=f"Time ({self.unit})", ylabel="Kernel, scaled", yticks=[], xlim=(0, self.times[end]))
        ax.legend(loc="upper right")


def block_kernels(model: Any) -> tuple[dict[str, Real], float]:
    """Return the impulse responses (n_channels, _N) of the blocks of a fitted network, and their time step."""
    if not hasattr(model, "network_"):
        raise ValueError(f"{type(model).__name__} has no blocks; a fitted S4Classifier or S4Regressor is needed.")
    kernels = {}
    for i, block in enumerate(model.network_.blocks):
        system = block.layer.kernel.system(block.layer.D.detach())
        kernels[f"block {i + 1}"] = impulse_response(system, _N).detach().double().cpu().numpy().reshape(-1, _N)
    return kernels, step_of(model)


def step_of(model: Any) -> float:
    """Return the time between two steps of the blocks of a network, in seconds or samples."""
    return float(model.network_.frontend.hop_s or 1.0 / (model.sfreq_ or 1.0))


def _bank(model: Any) -> tuple[Real, Real, Real, float]:
    """Return centres, bandwidths and orders of the filters of a bank, and the Nyquist frequency."""
    if hasattr(model, "features_"):
        banks = model.features_.feature_map_.banks
    else:
        banks = [bank] if (bank := getattr(model.network_.frontend, "bank", None)) is not None else []
    if not banks:
        raise ValueError("the front end of this model is not a filter bank; use part='blocks' for its blocks.")
    centers, bandwidths = (
        np.concatenate([getattr(bank, name).detach().double().cpu().numpy() for bank in banks])
        for name in ("frequencies_hz", "bandwidths_hz")
    )
    orders = [
        np.broadcast_to(np.asarray(bank.orders if hasattr(bank, "orders") else bank.order), len(bank.frequencies_hz))
        for bank in banks
    ]
    return centers, bandwidths, np.concatenate(orders).astype(np.float64), (model.sfreq_ or 1.0) / 2


class PolesDisplay(Display):
    """Poles of a fitted model: frequency and time constant (decay to 1/e) of each mode.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    frequency, time_constant : array-like of shape (n_poles,)
        Frequency and time constant of each pole.
    part : array-like of shape (n_poles,), optional
        Name of the part of the model that it belongs to, such as ``"block 1"``; each has its own marker.
    units : tuple of two str, default=("Hz", "s")
        Units of frequencies and time constants.

    Raises
    ------
    ShapeError
        If the arrays differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Classifier
    >>> from s4signal.inspection import PolesDisplay
    >>> X, y = np.random.default_rng(0).standard_normal((40, 100)), np.repeat(["rest", "task"], 20)
    >>> model = S4Classifier(d_model=8, n_layers=1, max_epochs=1, sfreq=50, random_state=0).fit(X, y)
    >>> bool(PolesDisplay.from_estimator(model).frequency.max() <= 25)
    True
    """

    def __init__(
        self,
        *,
        frequency: npt.ArrayLike,
        time_constant: npt.ArrayLike,
        part: npt.ArrayLike | None = None,
        units: tuple[str, str] = ("Hz", "s"),
    ) -> None:
        self.frequency, self.time_constant = np.asarray(frequency, float), np.asarray(time_constant, float)
        self.part = np.full(len(self.frequency), "") if part is None else np.asarray(part)
        self.units = units
        if not len(self.frequency) == len(self.time_constant) == len(self.part):
            lengths = f"{len(self.frequency)}, {len(self.time_constant)} and {len(self.part)}"
            raise ShapeError(f"frequency, time_constant and part must be of one length, got {lengths}.")

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the poles of a fitted model below its Nyquist frequency; return the display.

        Parameters
        ----------
        estimator : estimator of this package, or a pipeline that ends in one
            Fitted.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        model = model_of(estimator)
        if hasattr(model, "features_"):
            features = model.features_
            frequency, time_constant, part = features.frequencies_, features.time_constants_, None
        else:
            modes = block_modes(model.network_, step_of(model))
            frequency, time_constant = map(np.concatenate, zip(*modes, strict=True))
            part = np.repeat([f"block {i + 1}" for i in range(len(modes))], [len(f) for f, _ in modes])
        return cls(frequency=frequency, time_constant=time_constant, part=part, units=units_of(model)).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        kept = np.random.default_rng(0).permutation(len(self.frequency))[:_MOST_POLES]
        parts = np.unique(self.part)
        for i, name in enumerate(parts):
            members = kept[self.part[kept] == name]
            marker = MARKERS[i % len(MARKERS)]
            x, y = self.frequency[members], self.time_constant[members]
            ax.plot(x, y, marker, alpha=0.4, markersize=3, linestyle="", rasterized=True, label=name or None)
        positive = self.frequency[self.frequency > 0]
        if len(positive):
            ax.set_xscale("symlog", linthresh=float(np.percentile(positive, 5)))
        ax.set(xlabel=f"Frequency ({self.units[0]})", ylabel=f"Time constant ({self.units[1]})", yscale="log")
        ax.set_xlim(left=0.0)
        if len(parts) > 1:
            ax.legend()
