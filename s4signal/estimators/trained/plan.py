"""What a fit decides before it trains: front end, time scales, augmentation, batches, epochs; and why."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State
from s4signal.estimators.survey import Survey
from s4signal.estimators.trained.missing import Sampling, grid_lengths, plan_sampling
from s4signal.nn import FilterBank, S4Network, StackOptions, space_bands
from s4signal.nn.frontends import FilterBankFrontend, Frontend, LinearFrontend, ModuleFrontend
from s4signal.nn.frontends.augmentation import AUGMENTATIONS, SampleDropout
from s4signal.nn.frontends.module import probe_module
from s4signal.signals import Signals

__all__ = [
    "AUDIO_SFREQ",
    "HIGHEST_HZ",
    "HOP_S",
    "LOWEST_HZ",
    "Plan",
    "Schedule",
    "build_network",
    "choose_frontend",
    "plan_network",
    "plan_schedule",
    "trains_to_the_end",
]

AUDIO_SFREQ, AUDIO_CHANNELS = 4000.0, 2  # from this rate on, and up to so many channels, a plain array is audio
HOP_S = 0.01
N_BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 8000.0
AVERAGING = 0.98  # of the weights: over some fifty steps, for mostly missing data and behind the filter bank
_STACK = ("d_model", "n_layers", "d_state", "kernel", "init", "bidirectional", "dropout")


class Plan(NamedTuple):
    """Everything a network is built from; plain values that fit into the header of a file."""

    n_channels: int
    n_outputs: int
    frontend: str  # "linear", "filterbank" or "module"
    sfreq: float | None
    hop_s: float | None  # samples where the rate is unknown
    dt_range: tuple[float, float]  # in periods of the frames
    stack: dict[str, Any]
    pooling: str
    sampling: Sampling
    augmentation: tuple[str, ...]
    n_features: int | None  # of a module
    why: dict[str, str]  # of what "auto" decided

    @property
    def n_inputs(self) -> int:
        """Channels of the signal, and masks."""
        return self.n_channels + len(self.sampling.masked)

    @property
    def step_s(self) -> float:
        """Period of the frames that the blocks see, in seconds; in samples where the rate is unknown."""
        return self.hop_s if self.hop_s is not None else 1.0 / (self.sfreq or 1.0)

    def to_state(self) -> State:
        """Say what it is, for a file."""
        return State({**self._asdict(), "sampling": {}}, {}).nest("sampling", self.sampling.to_state())

    @classmethod
    def from_state(cls, state: State) -> Plan:
        """Check and restore what `to_state` said; whether it can be built is seen when it is."""
        n_channels, plain = state.value("n_channels", int, low=1), state.value
        shortest, longest = state.values("dt_range", float, length=2, low=np.nextafter(0, 1))
        augmentation, why = tuple(state.values("augmentation", str)), state.value("why", dict)
        if set(augmentation) - set(AUGMENTATIONS) or not all(isinstance(reason, str) for reason in why.values()):
            raise ModelFileError(f"augmentation={augmentation} or its reasons are not of this model.")
        stack = state.part("stack")
        whole = {name: stack.value(name, int, low=1) for name in ("d_model", "n_layers", "d_state")}
        texts = {name: stack.value(name, str) for name in ("kernel", "init", "dropout_axis")}
        flags = {"bidirectional": stack.value("bidirectional", bool), "dropout": stack.value("dropout", float, low=0)}
        return cls(
            n_channels=n_channels,
            n_outputs=plain("n_outputs", int, low=1),
            frontend=plain("frontend", str),
            sfreq=plain("sfreq", float, None, low=np.nextafter(0, 1)),
            hop_s=plain("hop_s", float, None, low=np.nextafter(0, 1)),
            dt_range=(shortest, longest),
            stack={**whole, **texts, **flags},
            pooling=plain("pooling", str),
            sampling=Sampling.from_state(state.part("sampling"), n_channels=n_channels),
            augmentation=augmentation,
            n_features=plain("n_features", int, None, low=1),
            why=why,
        )


class Schedule(NamedTuple):
    """How long a network is trained and in which steps."""

    batch_size: int | None
    max_epochs: int
    averaging: float  # of the weights; 0 is none
    text: str


def choose_frontend(frontend: Any, signals: Signals, sfreq: float | None) -> tuple[str, str]:
    """Name the front end, and say why: "auto" takes the filter bank for audio.

    Audio is what its reader calls so; of a plain array, one or two channels at 4 kHz or more.
    """
    if isinstance(frontend, nn.Module):
        return "module", ""
    if frontend != "auto":
        return str(frontend), ""
    modalities = {getattr(case, "modality", None) for case in signals.cases}
    named = modalities - {None}
    rate = "unknown" if sfreq is None else f"{sfreq:g} Hz"
    if sfreq is None or sfreq < 4 * LOWEST_HZ:
        return "linear", f"auto, for a rate of {rate}" if sfreq is not None else "auto, as the rate is unknown"
    if named:
        audio = modalities == {"audio"}
        return ("filterbank" if audio else "linear"), f"auto, for {', '.join(sorted(map(str, named)))}"
    audio = sfreq >= AUDIO_SFREQ and signals.n_channels <= AUDIO_CHANNELS
    return ("filterbank" if audio else "linear"), f"auto, for {signals.n_channels} channels at {rate}"


def plan_network(
    options: Any, signals: Signals, found: Survey, weights: NDArray[np.float64], *, n_outputs: int, sfreq: float | None
) -> Plan:
    """Choose front end and time scales from the rate and the duration of the training cases.

    ``options`` has the parameters of an estimator as attributes.
    """
    frontend, why = choose_frontend(options.frontend, signals, sfreq)
    if frontend == "filterbank" and (sfreq is None or sfreq < 4 * LOWEST_HZ):
        raise ValueError(
            f"frontend='filterbank' needs a sampling rate of at least {4 * LOWEST_HZ:g} Hz, got {sfreq}. Pass sfreq, "
            "or frontend='linear'."
        )
    hop_s = {"linear": None, "filterbank": HOP_S, "module": getattr(options.frontend, "hop_s", None)}[frontend]
    augmentation = _augmentation(options, frontend)
    n_features = _module_features(options.frontend, signals, found, sfreq) if frontend == "module" else None
    step_s = hop_s if hop_s is not None else 1.0 / (sfreq or 1.0)
    periods = np.where(np.isnan(found.sfreqs), 1.0 / (sfreq or 1.0), 1.0 / found.sfreqs)
    durations = np.where(found.has_times, found.spans_s + periods, found.lengths * periods)
    stack = {name: getattr(options, name) for name in _STACK}
    # All cases in one step share one dropout mask, so that a case of weight two is the case twice.
    stack["dropout_axis"] = "batch" if options.batch_size is None else "case"
    return Plan(
        n_channels=signals.n_channels,
        n_outputs=n_outputs,
        frontend=frontend,
        sfreq=sfreq,
        hop_s=hop_s,
        dt_range=_dt_range(options.timescale, step_s, float(durations.max())),
        stack=stack,
        pooling=options.pooling,
        sampling=plan_sampling(options.kernel, options.missing, found, weights, grid=frontend != "linear"),
        augmentation=augmentation,
        n_features=n_features,
        why={"frontend": why} if why else {},
    )


def plan_schedule(options: Any, plan: Plan, n_cases: int) -> Schedule:
    """Choose the cases of a step and the epochs."""
    banked, batch_size, max_epochs = plan.frontend == "filterbank", options.batch_size, options.max_epochs
    if isinstance(batch_size, str):
        # Behind the filter bank more steps of fewer cases gain, at about the time of more epochs.
        batch_size = 64 if n_cases > 4096 else 16 if banked else 32
    if isinstance(max_epochs, str):
        steps = 1 if batch_size is None else math.ceil(n_cases / batch_size)
        # Small sets need steps, large ones epochs; mostly missing cases are overfitted after a few.
        max_epochs = max(5 if plan.sampling.mostly_missing else 15 if banked else 20, math.ceil(200 / steps))
    averaging = AVERAGING if plan.sampling.mostly_missing or banked else 0.0
    auto = {name: " (auto)" * isinstance(getattr(options, name), str) for name in ("max_epochs", "batch_size")}
    cases = "all" if batch_size is None else batch_size
    text = f"{max_epochs} epochs{auto['max_epochs']}, {cases} of {n_cases} cases per step{auto['batch_size']}"
    return Schedule(batch_size, max_epochs, averaging, text + ", mean of the last weights" * (averaging > 0))


def trains_to_the_end(
    frontend: Any, signals: Signals, found: Survey, weights: NDArray[np.float64], sfreq: float | None
) -> str:
    """Say why early_stopping="auto" trains on all cases, without a choice of the epoch; "" if it does not.

    Validation cases by the speakers of the training cases cannot select the epoch for others, nor can a few cases most
    of whose values are missing: the mean of the last weights does better.
    """
    chosen, _ = choose_frontend(frontend, signals, sfreq)
    if chosen == "filterbank":
        return "behind the filter bank all cases are trained on"
    mostly = chosen == "linear" and found.mostly_missing(weights)
    return "of mostly missing data all cases are trained on" if mostly else ""


def build_network(plan: Plan, frontend: Any = None) -> S4Network:
    """Build the network of a plan, with random weights from torch's state."""
    options = StackOptions(dt_range=plan.dt_range, **plan.stack)
    built = _frontend(plan, options.d_model, frontend)
    n_summaries = plan.n_inputs if plan.sampling.mostly_missing else 0
    return S4Network(built, plan.n_outputs, options=options, pooling=plan.pooling, n_summaries=n_summaries)


def _augmentation(options: Any, frontend: str) -> tuple[str, ...]:
    """Return the names of the changes, in the order of the table."""
    chosen = options.augmentation
    if isinstance(chosen, str):
        return ("band_shift", "band_dropout") if frontend == "filterbank" else ()
    chosen = chosen or ()
    bands = frontend == "filterbank" or isinstance(options.frontend, FilterBank)
    for name in chosen:
        if frontend == "linear" or not (bands or name == "sample_dropout"):
            needs = "a front end on a regular grid" if name == "sample_dropout" else "a filter bank"
            raise ValueError(
                f"augmentation={name!r} needs {needs}, but frontend is {frontend!r}; use frontend='filterbank' or "
                "augmentation=None."
            )
    return tuple(name for name in AUGMENTATIONS if name in chosen)


def _module_features(module: nn.Module, signals: Signals, found: Survey, sfreq: float | None) -> int | None:
    """Check a module against the cases; return how many features it has."""
    rate, n_channels = sfreq or 1.0, signals.n_channels
    if isinstance(module, FilterBank):
        if abs(module.sfreq / rate - 1.0) > 1e-6:
            raise ValueError(
                f"frontend is a FilterBank at sfreq={module.sfreq:g}, but the training cases have {sfreq} Hz; build "
                "it for that rate, or pass sfreq."
            )
        return None
    hop_s: Any = module.hop_s
    hop, shortest = hop_s * rate, int(grid_lengths(signals, sfreq, found=found).min())
    if hop < 0.999:
        raise ValueError(f"frontend has hop_s={hop_s:g}, shorter than a sample, {1 / rate:g}; raise it to that.")
    return probe_module(module, n_channels=n_channels, n_times=shortest, hop=hop)


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


def _frontend(plan: Plan, d_model: int, module: Any) -> Frontend:
    if plan.frontend == "linear":
        return LinearFrontend(plan.n_inputs, d_model)
    if plan.frontend == "module" and not isinstance(module, FilterBank):
        return ModuleFrontend(copy.deepcopy(module), plan.n_features or 0, d_model)
    if plan.frontend not in ("filterbank", "module"):
        raise ValueError(f"a plan has no front end {plan.frontend!r}.")
    causal, changes = not plan.stack["bidirectional"], [AUGMENTATIONS[name]() for name in plan.augmentation]
    return FilterBankFrontend(
        plan.n_channels,
        d_model,
        bank=copy.deepcopy(module) if plan.frontend == "module" else _filter_bank(plan),
        mean_subtraction="running" if causal else "case",
        causal=causal,
        augmentations=[part for part in changes if not isinstance(part, SampleDropout)],
    )


def _filter_bank(plan: Plan) -> FilterBank:
    sfreq = plan.sfreq or 1.0
    frequencies, bandwidths = space_bands("erb", N_BANDS, LOWEST_HZ, min(HIGHEST_HZ, 0.475 * sfreq))
    return FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=plan.hop_s or HOP_S)
