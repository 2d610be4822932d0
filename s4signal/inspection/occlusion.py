"""Occlusion: the change of a model's output when a stretch of time, or a channel, is missing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from s4signal.inspection.drawing import BLACK, MAP, NAMES, ORANGE, Display, draw_traces, seconds, time_label
from s4signal.inspection.topography import TopographyDisplay
from s4signal.signals import Signal, Signals

Real = npt.NDArray[np.float64]


class SaliencyDisplay(Display):
    """Contribution of each stretch of a case to a decision: the decrease of the output when it is missing.

    The output is the log odds of a class, or the prediction of a regressor. The model may be any that accepts missing
    samples (NaN), at any rate and at irregular times.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    case : Signal
        The case.
    edges : array-like of shape (n_windows + 1,)
        Start and end of the stretches, in seconds, or in samples if no rate is known.
    importance : array-like of shape (n_windows,)
        Decrease of the output for each stretch.
    label : str, default="Decrease of the output"
        Label of the importance.
    spectrogram : bool, default=False
        Whether the background is the spectrogram of the first channel instead of the traces.

    Attributes
    ----------
    ax_, importance_ax_, figure_ : matplotlib Axes, Axes, Figure
        Axes with the case, those with the importance on the right, and their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4RidgeClassifier, Signals
    >>> from s4signal.inspection import SaliencyDisplay
    >>> noise, y = np.random.default_rng(0).standard_normal((40, 1, 200)), np.repeat([0, 1], 20)
    >>> noise[y == 1, :, 50:100] += 3 * np.sin(np.arange(50))  # the classes differ in the second quarter
    >>> X = Signals(noise, sfreq=100)
    >>> model = S4RidgeClassifier(n_oscillators=16, random_state=0).fit(X, y)
    >>> display = SaliencyDisplay.from_estimator(model, X[30], target=1, n_windows=4)
    >>> int(display.importance.argmax())
    1
    """

    importance_ax_: Any

    def __init__(
        self,
        *,
        case: Signal,
        edges: npt.ArrayLike,
        importance: npt.ArrayLike,
        label: str = "Decrease of the output",
        spectrogram: bool = False,
    ) -> None:
        self.case, self.label, self.spectrogram = case, label, spectrogram
        self.edges, self.importance = np.asarray(edges, float), np.asarray(importance, float)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        case: Signal,
        *,
        target: Any = None,
        n_windows: int = 32,
        spectrogram: bool = False,
        ax: Any = None,
    ) -> Self:
        """Draw the contribution of each stretch of a case to a decision; return the display.

        Parameters
        ----------
        estimator : classifier or regressor
            Fitted; it must accept `Signals` with missing samples.
        case : Signal
            A case, such as ``X[0]``.
        target : label, optional
            The class of the log odds; by default the predicted one.
        n_windows : int, default=32
            Number of stretches of equal duration.
        spectrogram : bool, default=False
            Whether to draw over the spectrogram of the first channel, which needs a rate.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        ValueError
            If `target` is none of the classes, or a spectrogram is requested for a case without a rate.
        """
        if not isinstance(case, Signal):
            raise TypeError(f"case is of type {type(case).__name__}; pass one case, such as Signals(X)[0].")
        if spectrogram and (case.sfreq is None or case.times is not None):
            raise ValueError("a spectrogram needs samples at a rate, this case has none; pass spectrogram=False.")
        times = seconds(case)
        edges = np.linspace(times[0], times[-1] + (times[-1] - times[0]) / max(len(times) - 1, 1), n_windows + 1)
        place = np.minimum(np.searchsorted(edges, times, side="right") - 1, n_windows - 1)
        hidden = [_without(case, slice(None), place == k) for k in range(n_windows)]
        outputs, label = _case_outputs(estimator, Signals([case, *hidden]), target)
        decrease = outputs[0] - outputs[1:]
        return cls(case=case, edges=edges, importance=decrease, label=label, spectrogram=spectrogram).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        from matplotlib.patheffects import withStroke

        if self.spectrogram:
            _draw_spectrogram(ax, self.case)
        else:
            draw_traces(ax, self.case)
        self.importance_ax_ = ax.twinx()
        style: dict[str, Any] = {"color": ORANGE, "alpha": 0.4, "fill": True, "baseline": 0.0}
        if self.spectrogram:
            outline = [withStroke(linewidth=3.5, foreground=BLACK)]
            style = {"color": "w", "linewidth": 1.8, "baseline": None, "path_effects": outline}
        self.importance_ax_.stairs(self.importance, self.edges, **style)
        self.importance_ax_.set_ylabel(self.label, **NAMES)
        self.importance_ax_.grid(visible=False)


class ChannelImportanceDisplay(Display):
    """Contribution of each channel: the decrease of the output over cases when it is missing.

    The output is the log odds of the true class, or minus the absolute error of a regressor. A box spans the middle
    half of the cases, with their median as a line and their mean as a diamond. If channels carry the same information,
    the output may not decrease when one of them is missing.

    Create it with `from_estimator`. All parameters are kept as attributes.

    Parameters
    ----------
    importance : array-like of shape (n_channels, n_cases)
        Decrease of the output.
    ch_names : sequence of str
        Names of the channels.
    positions : array-like of shape (n_channels, 3), optional
        Positions of the sensors, in metres; see `Signal`.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4RidgeClassifier, Signals
    >>> from s4signal.inspection import ChannelImportanceDisplay
    >>> noise, y = np.random.default_rng(0).standard_normal((40, 2, 200)), np.repeat([0, 1], 20)
    >>> noise[y == 1, 1] *= 3  # the classes differ in the second channel
    >>> X = Signals(noise, sfreq=100, ch_names=["Fz", "Oz"])
    >>> model = S4RidgeClassifier(n_oscillators=16, random_state=0).fit(X, y)
    >>> display = ChannelImportanceDisplay.from_estimator(model, X, y)
    >>> display.ch_names[display.importance.mean(1).argmax()]
    'Oz'
    """

    def __init__(
        self, *, importance: npt.ArrayLike, ch_names: Sequence[str], positions: npt.ArrayLike | None = None
    ) -> None:
        self.importance, self.ch_names, self.positions = np.asarray(importance, float), list(ch_names), positions

    @classmethod
    def from_estimator(cls, estimator: Any, X: Signals, y: npt.ArrayLike, *, ax: Any = None) -> Self:
        """Draw the contribution of each channel; return the display.

        Parameters
        ----------
        estimator : classifier or regressor
            Fitted; it must accept `Signals` with missing samples.
        X : Signals
            Cases that it was not fitted on.
        y : array-like of shape (n_samples,)
            Their labels or targets.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        ValueError
            If there is only one channel, or a label is none of the classes.
        """
        X = Signals(X)
        n, cases = X.n_channels, list(X)
        if n < 2:
            raise ValueError("X has one channel, without which nothing is left; at least two are needed.")
        hidden = [Signals([_without(case, slice(k, k + 1), slice(None)) for case in cases]) for k in range(n)]
        full, *fewer = (_true_class_outputs(estimator, part, np.asarray(y)) for part in (Signals(cases), *hidden))
        names = cases[0].ch_names or [f"channel {k}" for k in range(n)]
        return cls(importance=full - np.stack(fewer), ch_names=names, positions=cases[0].positions).plot(ax=ax)

    def topography(self, *, ax: Any = None) -> TopographyDisplay:
        """Draw the means over cases on a head; return that display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.
        """
        return TopographyDisplay(
            values=self.importance.mean(1),
            ch_names=self.ch_names,
            positions=self.positions,
            label="Mean decrease of the output",
        ).plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        order = self.importance.mean(1).argsort()[::-1]
        dots = {"marker": "D", "markerfacecolor": "w", "markeredgecolor": BLACK, "markersize": 4}
        style = {"showfliers": False, "showmeans": True, "meanprops": dots, "medianprops": {"color": BLACK}}
        ax.boxplot(self.importance[order].T, **style)
        ax.set_xticks(np.arange(1, len(order) + 1), [self.ch_names[k] for k in order], rotation=90, **NAMES)
        ax.axhline(0.0, color="0.5", linestyle="--", linewidth=1)
        ax.set(xlabel="Missing channel", ylabel="Decrease of the output")


def _without(case: Signal, rows: slice, columns: Any) -> Signal:
    data = np.array(case.data)
    data[rows, columns] = np.nan
    return replace(case, data=data)


def _log_odds(estimator: Any, X: Signals, labels: npt.NDArray[Any] | None) -> tuple[Real, Any]:
    """Return the log odds of labels, by default of the class predicted for the first case, and the first label."""
    classes, proba = np.asarray(estimator.classes_), np.asarray(estimator.predict_proba(X), np.float64)
    labels = np.full(len(X), classes[proba[0].argmax()]) if labels is None else labels
    if len(unknown := np.setdiff1d(labels, classes)):
        raise ValueError(f"{unknown.tolist()[0]!r} is none of the classes, {classes.tolist()[:20]}.")
    own = labels[:, None] == classes  # the sum of the other classes is more exact than one minus the class
    sides = (np.maximum((proba * side).sum(1), 1e-30) for side in (own, ~own))
    return np.asarray(np.subtract(*map(np.log, sides))), labels[0]


def _case_outputs(estimator: Any, X: Signals, target: Any) -> tuple[Real, str]:
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(X), np.float64).reshape(len(X), -1)[:, 0], "Decrease of the prediction"
    odds, target = _log_odds(estimator, X, None if target is None else np.full(len(X), target))
    return odds, f"Decrease of log odds of {target}"


def _true_class_outputs(estimator: Any, X: Signals, y: npt.NDArray[Any]) -> Real:
    if hasattr(estimator, "predict_proba"):
        return _log_odds(estimator, X, y)[0]
    return np.asarray(-np.abs(np.asarray(estimator.predict(X), np.float64) - y))


def _draw_spectrogram(ax: Any, case: Signal) -> None:
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    sfreq = float(case.sfreq or 1.0)
    width = max(16, min(round(0.025 * sfreq), case.length // 4) if sfreq >= 1000 else round(case.length / 16))
    stft = ShortTimeFFT(hann(width), hop=max(1, width // 4), fs=sfreq, mfft=max(256, width), scale_to="psd")
    power = 10 * np.log10(stft.spectrogram(np.nan_to_num(np.asarray(case.data[0], np.float64))) + 1e-20)
    extent = stft.extent(case.length)
    style = {"cmap": MAP, "vmin": power.max() - 70, "rasterized": True}
    ax.imshow(power, origin="lower", aspect="auto", extent=extent, **style)
    ax.set(xlabel=time_label(case), ylabel="Frequency (Hz)", xlim=(0, case.length / sfreq), ylim=(0, sfreq / 2))
