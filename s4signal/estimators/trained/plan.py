"""From checked signals to what the network needs: standardised channels, time scales and the network itself."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import relative_periods
from s4signal.estimators.trained.missing import Sampling, grid_lengths, plan_sampling, prepare_case
from s4signal.estimators.trained.sparse_records import is_sparse
from s4signal.nn import FilterBank, S4Network, StackOptions, space_bands
from s4signal.nn.frontends import FilterBankFrontend, Frontend, LinearFrontend, ModuleFrontend
from s4signal.nn.frontends.augmentation import BandDropout, BandShift
from s4signal.nn.frontends.module import probe_module
from s4signal.signals import Signals
from s4signal.training import Cases, Samples

__all__ = [
    "AUDIO_SFREQ",
    "HIGHEST_HZ",
    "HOP_S",
    "LOWEST_HZ",
    "NetworkPlan",
    "build_network",
    "make_cases",
    "plan_network",
    "trains_to_the_end",
]

AUDIO_SFREQ = 4000.0  # Hz; from here on a case is heard through the filter bank by default
HOP_S = 0.01
N_BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 8000.0


def make_cases(
    signals: Signals,
    standardizer: Standardizer,
    *,
    sfreq: float | None,
    sampling: Sampling,
    weights: NDArray[np.float64] | None = None,
    targets: torch.Tensor | None = None,
) -> Cases:
    """Wrap signals for the loop; lazy cases are decoded when a batch needs them.

    Shapes: weights (n,).
    """
    stored = signals.cases

    def load(index: int) -> Samples:
        case = stored[index].load()
        return prepare_case(case, index, standardizer=standardizer, sampling=sampling, sfreq=sfreq)

    lengths = grid_lengths(signals, sfreq) if sampling.grid or sampling.missing == "hold" else signals.lengths
    weights = np.ones(len(signals)) if weights is None else weights
    return Cases(load, lengths, relative_periods(signals, sfreq), weights, targets)


class NetworkPlan(NamedTuple):
    """Everything a network is built from; plain values that fit into the header of a file."""

    n_channels: int
    n_outputs: int
    frontend: str
    sfreq: float | None
    hop_s: float | None
    dt_range: tuple[float, float]
    stack: dict[str, Any]
    pooling: str
    sampling: Sampling
    thinned: bool = False
    n_features: int | None = None

    @property
    def n_inputs(self) -> int:
        """Channels of the signal, and masks."""
        return self.n_channels + len(self.sampling.masked)

    @property
    def step_s(self) -> float:
        """Period of the steps that the blocks see, in seconds; in samples where the rate is unknown."""
        return self.hop_s if self.hop_s is not None else 1.0 / (self.sfreq or 1.0)


def plan_network(estimator: Any, signals: Signals, *, n_outputs: int, sfreq: float | None) -> NetworkPlan:
    """Choose front end and time scales from the rate and the duration of the training cases."""
    frontend = _chosen_frontend(estimator.frontend, sfreq)
    if frontend == "filterbank" and (sfreq is None or sfreq < 4 * LOWEST_HZ):
        raise ValueError(
            f"frontend='filterbank' needs a sampling rate of at least {4 * LOWEST_HZ:g} Hz, got {sfreq}. Pass sfreq, "
            "or frontend='linear'."
        )
    hop_s = {"linear": None, "filterbank": HOP_S, "module": getattr(estimator.frontend, "hop_s", None)}[frontend]
    n_features = _module_features(estimator, signals, sfreq) if frontend == "module" else None
    step_s = hop_s if hop_s is not None else 1.0 / (sfreq or 1.0)
    periods = np.where(np.isnan(signals.sfreqs), 1.0 / (sfreq or 1.0), 1.0 / signals.sfreqs)
    durations = signals.lengths * periods
    for index, case in enumerate(signals.cases):
        if case.has_times:
            durations[index] = (case.load().duration_s or 0.0) + periods[index]
    stack = {
        name: getattr(estimator, name)
        for name in ("d_model", "n_layers", "d_state", "kernel", "init", "bidirectional", "dropout")
    }
    # The reference mode draws one mask a step, so that a case of weight two is the case twice.
    stack["dropout_axis"] = "batch" if estimator.batch_size is None else "case"
    dt_range = _dt_range(estimator.timescale, step_s, float(durations.max()))
    sampling = plan_sampling(estimator, signals, grid=frontend != "linear")
    # In the reference mode a case of weight two is the case twice: chance may not choose for each. A module is trained
    # on what it is given.
    thinned = sampling.grid and estimator.missing == "gap" and estimator.batch_size is not None and n_features is None
    return NetworkPlan(
        estimator.n_channels_in_,
        n_outputs,
        frontend,
        sfreq,
        hop_s,
        dt_range,
        stack,
        estimator.pooling,
        sampling,
        thinned,
        n_features,
    )


def trains_to_the_end(estimator: Any, signals: Signals) -> bool:
    """Whether all cases are trained on and the running mean of the weights is kept, without a choice of the epoch.

    Validation cases speak with the voices of the training cases, or are a few of the sparse records: the epoch that
    does best on them is not the one that does best on others.
    """
    frontend = _chosen_frontend(estimator.frontend, estimator.sfreq_)
    return frontend == "filterbank" or (frontend == "linear" and is_sparse(signals))


def _chosen_frontend(frontend: Any, sfreq: float | None) -> str:
    if isinstance(frontend, nn.Module):
        return "module"
    if frontend == "auto":
        return "filterbank" if sfreq is not None and sfreq >= AUDIO_SFREQ else "linear"
    return str(frontend)


def _module_features(estimator: Any, signals: Signals, sfreq: float | None) -> int | None:
    """Check a module against the cases; return how many features it has."""
    module, rate = estimator.frontend, sfreq or 1.0
    if isinstance(module, FilterBank):
        if abs(module.sfreq / rate - 1.0) > 1e-6:
            raise ValueError(
                f"frontend is a FilterBank at sfreq={module.sfreq:g}, but the training cases have {sfreq} Hz; build "
                "it for that rate, or pass sfreq."
            )
        return None
    hop, shortest = module.hop_s * rate, int(grid_lengths(signals, sfreq).min())
    if hop < 0.999:
        raise ValueError(f"frontend has hop_s={module.hop_s:g}, shorter than a sample, {1 / rate:g}; raise it to that.")
    return probe_module(module, n_channels=estimator.n_channels_in_, n_times=shortest, hop=hop)


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


def build_network(plan: NetworkPlan, frontend: Any = None) -> S4Network:
    """Build the network of a plan, with random weights from torch's state."""
    options = StackOptions(dt_range=plan.dt_range, **plan.stack)
    built = _frontend(plan, options.d_model, frontend)
    n_summaries = plan.n_inputs if plan.sampling.sparse else 0
    return S4Network(built, plan.n_outputs, options=options, pooling=plan.pooling, n_summaries=n_summaries)


def _frontend(plan: NetworkPlan, d_model: int, module: Any) -> Frontend:
    if plan.frontend == "linear":
        return LinearFrontend(plan.n_inputs, d_model)
    if plan.frontend == "module" and not isinstance(module, FilterBank):
        return ModuleFrontend(copy.deepcopy(module), plan.n_features or 0, d_model)
    if plan.frontend not in ("filterbank", "module"):
        raise ValueError(f"a plan has no front end {plan.frontend!r}.")
    bank = copy.deepcopy(module) if plan.frontend == "module" else _filter_bank(plan)
    # Where chance may not choose for each case, and for a bank of one's own, what is heard stays as it is.
    varied = plan.frontend == "filterbank" and plan.stack["dropout_axis"] == "case"
    causal = not plan.stack["bidirectional"]
    return FilterBankFrontend(
        plan.n_channels,
        d_model,
        bank=bank,
        mean_subtraction="running" if causal else "case",
        causal=causal,
        augmentations=[*([BandShift()] if varied else []), *([BandDropout()] if plan.thinned or varied else [])],
    )


def _filter_bank(plan: NetworkPlan) -> FilterBank:
    sfreq = plan.sfreq or 1.0
    frequencies, bandwidths = space_bands("erb", N_BANDS, LOWEST_HZ, min(HIGHEST_HZ, 0.475 * sfreq))
    return FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=plan.hop_s or HOP_S)
