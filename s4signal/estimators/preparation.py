"""From checked signals to what the network needs: standardised channels, time scales and the network itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.validation import check_finite
from s4signal.nn import S4FilterBank, S4Network, space_bands
from s4signal.nn.frontend import FilterBankFrontend, LinearFrontend
from s4signal.nn.network import StackOptions
from s4signal.signals import Signals
from s4signal.training import Cases

__all__ = [
    "AUDIO_SFREQ",
    "HIGHEST_HZ",
    "HOP_S",
    "LOWEST_HZ",
    "NetworkPlan",
    "Standardizer",
    "build_network",
    "make_cases",
    "plan_network",
]

AUDIO_SFREQ = 4000.0  # Hz; from here on a case is heard through the filter bank by default
HOP_S = 0.01
N_BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 8000.0


class Standardizer(NamedTuple):
    """Channel means and scales of the training cases.

    Parameters
    ----------
    mean : ndarray (n_channels,)
        What is subtracted.
    scale : ndarray (n_channels,)
        What is divided by; 1 for a constant channel.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, signals: Signals, weights: NDArray[np.float64], *, identity: bool = False) -> Standardizer:
        """Measure the channels in one pass over the cases.

        Parameters
        ----------
        signals : Signals
            Training cases.
        weights : ndarray (n,)
            Their weights.
        identity : bool, default=False
            Leave the channels as they are.

        Returns
        -------
        Standardizer
            With no additive epsilon: volts and microvolts give the same model.
        """
        n_channels = signals.n_channels
        if identity:
            return cls(np.zeros(n_channels), np.ones(n_channels))
        total, square, count = np.zeros(n_channels), np.zeros(n_channels), 0.0
        # Sums around the first case's mean: microvolts on an electrode's offset of a volt would cancel otherwise.
        offset = signals[0].data.mean(1, dtype=np.float64)
        for index, case in enumerate(signals):
            data = case.data - offset[:, None]
            total += weights[index] * data.sum(1)
            square += weights[index] * np.einsum("ct,ct->c", data, data)
            count += weights[index] * data.shape[1]
        shift = total / count
        std = np.sqrt(np.maximum(square / count - shift**2, 0.0))
        mean = offset + shift
        constant = std <= 1e-12 * np.maximum(np.abs(mean), np.sqrt(square / count))
        return cls(mean, np.where(constant, 1.0, std))

    def __call__(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n_channels, n_times) standardised."""
        return (data - self.mean[:, None]) / self.scale[:, None]


def make_cases(
    signals: Signals,
    standardizer: Standardizer,
    *,
    sfreq: float | None,
    weights: NDArray[np.float64] | None = None,
    targets: torch.Tensor | None = None,
) -> Cases:
    """Wrap signals for the loop; lazy cases are decoded when a batch needs them.

    Parameters
    ----------
    signals : Signals
        The cases.
    standardizer : Standardizer
        Of the training cases.
    sfreq : float or None
        Sampling rate at training, in Hz.
    weights : ndarray (n,), optional
        Weights in the loss, one each by default.
    targets : Tensor, optional
        What the loss compares with.

    Returns
    -------
    Cases
        See there.
    """
    stored = signals.cases

    def load(index: int) -> NDArray[np.floating]:
        case = stored[index].load()
        check_finite(case.data, index, case.source)
        return standardizer(case.data)

    rates = np.ones(len(signals)) if sfreq is None else sfreq / signals.sfreqs
    rates = np.where(np.isnan(rates), 1.0, rates)
    weights = np.ones(len(signals)) if weights is None else weights
    return Cases(load, signals.lengths, rates, weights, targets)


class NetworkPlan(NamedTuple):
    """Everything a network is built from; plain values that fit into the header of a file.

    Parameters
    ----------
    n_channels, n_outputs : int
        Ends of the network.
    frontend : str
        "linear" or "filterbank".
    sfreq : float or None
        Sampling rate at training, in Hz.
    hop_s : float or None
        Time between two steps behind a filter bank.
    dt_range : tuple of two float
        Range of the initial steps, in periods of the steps that the blocks see.
    stack : dict
        The other fields of `StackOptions`.
    pooling : str
        Name of the pooling.
    """

    n_channels: int
    n_outputs: int
    frontend: str
    sfreq: float | None
    hop_s: float | None
    dt_range: tuple[float, float]
    stack: dict[str, Any]
    pooling: str

    @property
    def step_s(self) -> float:
        """Period of the steps that the blocks see, in seconds; in samples where the rate is unknown."""
        return self.hop_s if self.hop_s is not None else 1.0 / (self.sfreq or 1.0)


def plan_network(estimator: Any, *, n_outputs: int, sfreq: float | None, longest: int) -> NetworkPlan:
    """Choose front end and time scales from the rate and the duration of the training cases.

    Parameters
    ----------
    estimator : estimator
        With checked parameters.
    n_outputs : int
        Outputs of the network.
    sfreq : float or None
        Sampling rate, in Hz.
    longest : int
        Samples of the longest case.

    Returns
    -------
    NetworkPlan
        The plan.

    Raises
    ------
    ValueError
        If a filter bank is wanted without a rate, or the time scales do not fit the rate.
    """
    frontend = estimator.frontend
    if frontend == "auto":
        frontend = "filterbank" if sfreq is not None and sfreq >= AUDIO_SFREQ else "linear"
    if frontend == "filterbank" and (sfreq is None or sfreq < 4 * LOWEST_HZ):
        raise ValueError(
            f"frontend='filterbank' needs a sampling rate of at least {4 * LOWEST_HZ:g} Hz, got {sfreq}. Pass sfreq, "
            "or frontend='linear'."
        )
    hop_s = HOP_S if frontend == "filterbank" else None
    step_s = hop_s if hop_s is not None else 1.0 / (sfreq or 1.0)
    duration = longest / (sfreq or 1.0)
    stack = {
        name: getattr(estimator, name)
        for name in ("d_model", "n_layers", "d_state", "kernel", "init", "bidirectional", "dropout")
    }
    # The reference mode draws one mask a step, so that a case of weight two is the case twice.
    stack["dropout_axis"] = "batch" if estimator.batch_size is None else "case"
    dt_range = _dt_range(estimator.timescale, step_s, duration)
    return NetworkPlan(estimator.n_channels_in_, n_outputs, frontend, sfreq, hop_s, dt_range, stack, estimator.pooling)


def _dt_range(timescale: Any, step_s: float, duration_s: float) -> tuple[float, float]:
    """Turn memories in seconds into steps: a system of step dt remembers 1 / dt periods."""
    if isinstance(timescale, str):
        n_steps = max(2.0, duration_s / step_s)
        longest, shortest = n_steps, min(10.0, n_steps / 2.0)
    else:
        shortest, longest = timescale[0] / step_s, timescale[1] / step_s
        if shortest < 1.0:
            raise ValueError(
                f"timescale={timescale!r}: the shortest memory is below one step of {step_s:g} s; raise it to that."
            )
    return 1.0 / longest, 1.0 / shortest


def build_network(plan: NetworkPlan) -> S4Network:
    """Build the network of a plan, with random weights from torch's state.

    Parameters
    ----------
    plan : NetworkPlan
        The plan.

    Returns
    -------
    S4Network
        On the CPU, in float32.
    """
    options = StackOptions(dt_range=plan.dt_range, **plan.stack)
    frontends: dict[str, Callable[[], LinearFrontend | FilterBankFrontend]] = {
        "linear": lambda: LinearFrontend(plan.n_channels, options.d_model),
        "filterbank": lambda: _filter_bank(plan, options.d_model),
    }
    return S4Network(frontends[plan.frontend](), plan.n_outputs, options=options, pooling=plan.pooling)


def _filter_bank(plan: NetworkPlan, d_model: int) -> FilterBankFrontend:
    sfreq = plan.sfreq or 1.0
    frequencies, bandwidths = space_bands("erb", N_BANDS, LOWEST_HZ, min(HIGHEST_HZ, 0.475 * sfreq))
    bank = S4FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=plan.hop_s or HOP_S)
    causal = not plan.stack["bidirectional"]
    return FilterBankFrontend(plan.n_channels, d_model, bank=bank, level="running" if causal else "case", causal=causal)
