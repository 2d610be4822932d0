"""Choices of a fit before training, with their reasons: front end, time scales, augmentation, batches, epochs."""

import copy
import math
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.augmentation import Settings, choose_augmentation, feature_changes, parse_augmentation
from s4signal.estimators.model_file import State
from s4signal.estimators.parameters import check_band
from s4signal.estimators.survey import Survey
from s4signal.estimators.trained.defaults import (
    BY_HOPS,
    HOP_S,
    LOWEST_HZ,
    Defaults,
    LabelledCases,
    case_durations,
    sound_bank,
)
from s4signal.estimators.trained.missing import Sampling, grid_lengths, plan_sampling
from s4signal.nn import FilterBank, S4Network, StackOptions
from s4signal.nn.frontends import (
    BandPowerFrontend,
    FilterBankFrontend,
    Frontend,
    HopMeansFrontend,
    LinearFrontend,
    ModuleFrontend,
)
from s4signal.nn.frontends.loudness import FLOOR_DB
from s4signal.nn.frontends.module import probe_module
from s4signal.nn.pooling import LEGS_ORDER
from s4signal.signals import Signals

FEWEST_STEPS = 200  # of a training
STEPS_OF_AUDIO, MOST_EPOCHS = 1600, 40  # with the filter bank: enough epochs for these steps, up to a maximum
AVERAGING = 0.98  # of the weights: over some fifty steps, for mostly missing data and with the filter bank
_LONGEST_HOP = 2**22  # samples, in a file
_LONGEST = 1_000_000  # steps of a look-ahead
_SIZE = ("d_model", "n_layers", "d_state", "n_networks")
_STACK = ("kernel", "init", "bidirectional", "dropout")


class Plan(NamedTuple):
    """Everything needed to build a network, in plain values that fit into the header of a file."""

    n_channels: int
    n_outputs: int
    frontend: str  # "linear", "hop_means", "band_power", "filterbank" or "module"
    sfreq: float | None
    hop_s: float | None  # samples if the rate is unknown
    dt_range: tuple[float, float]  # in periods of the frames
    stack: dict[str, Any]
    pooling: str
    pooling_order: int
    readout: str  # "pooled" or "closed_form"
    sampling: Sampling
    augmentation: Settings
    n_features: int | None  # of a module
    band_hz: tuple[float, float] | None
    why: dict[str, str]  # reasons for the values of "auto"
    floor_db: float = FLOOR_DB  # of energies, relative to the loudest frame

    @property
    def n_inputs(self) -> int:
        """Number of channels and masks."""
        return self.n_channels + len(self.sampling.masked)

    @property
    def step_s(self) -> float:
        """Period of the frames that the blocks process, in seconds; in samples if the rate is unknown."""
        return self.hop_s if self.hop_s is not None else 1.0 / (self.sfreq or 1.0)

    @property
    def sees_all(self) -> bool:
        """Whether outputs depend on the whole future, which excludes streaming."""
        return bool(self.stack["bidirectional"]) and self.stack["lookahead"] is None

    def to_state(self) -> State:
        """Return the state for a file."""
        return State({**self._asdict(), "sampling": {}}, {}).nest("sampling", self.sampling.to_state())

    @classmethod
    def from_state(cls, state: State) -> "Plan":
        """Check and restore the state of `to_state`; some errors only appear when the network is built."""
        n_channels, plain = state.value("n_channels", int, low=1), state.value
        band = state.values("band_hz", float, length=2, low=0) if state.plain.get("band_hz") is not None else None
        shortest, longest = state.values("dt_range", float, length=2, low=np.nextafter(0, 1))
        augmentation, why = parse_augmentation(plain("augmentation", dict, list)), state.value("why", dict)
        if not all(isinstance(reason, str) for reason in why.values()):
            raise ModelFileError(f"the reasons {why} must be strings.")
        stack, pooling, order = state.part("stack"), plain("pooling", str), plain("pooling_order", int, low=1)
        if order > 1 and pooling != "legs":
            raise ModelFileError(f"pooling={pooling!r} has no order {order}.")
        frontend, sfreq = plain("frontend", str), plain("sfreq", float, None, low=np.nextafter(0, 1))
        longest_hop_s = 1.0 if frontend == "filterbank" else _LONGEST_HOP / (sfreq or 1.0)  # cases are padded to a hop
        readout = plain("readout", str) if "readout" in state.plain else "pooled"  # missing in the first files
        if readout not in ("pooled", "closed_form"):
            raise ModelFileError(f"a plan has no readout {readout!r}.")
        sizes = _SIZE if "n_networks" in stack.plain else _SIZE[:-1]  # missing in the first files
        whole = {"n_networks": 1} | {name: stack.value(name, int, low=1) for name in sizes}
        texts = {name: stack.value(name, str) for name in ("kernel", "init", "dropout_axis")}
        flags = {"bidirectional": stack.value("bidirectional", bool), "dropout": stack.value("dropout", float, low=0)}
        known = "lookahead" in stack.plain
        flags["lookahead"] = stack.value("lookahead", float, None, low=0, high=_LONGEST) if known else None
        return cls(
            n_channels=n_channels,
            n_outputs=plain("n_outputs", int, low=1),
            frontend=frontend,
            sfreq=sfreq,
            hop_s=plain("hop_s", float, None, low=np.nextafter(0, 1), high=longest_hop_s),
            dt_range=(shortest, longest),
            stack={**whole, **texts, **flags},
            pooling=pooling,
            pooling_order=order,
            readout=readout,
            sampling=Sampling.from_state(state.part("sampling"), n_channels=n_channels),
            augmentation=augmentation,
            floor_db=plain("floor_db", float, low=30) if "floor_db" in state.plain else 50.0,  # in the first files
            n_features=plain("n_features", int, None, low=1),
            band_hz=None if band is None else (band[0], band[1]),
            why=why,
        )


class Schedule(NamedTuple):
    """Length of a training and size of its steps."""

    batch_size: int | None
    max_epochs: int
    averaging: float  # of the weights; 0 is none
    text: str


def plan_network(options: Any, data: LabelledCases, *, defaults: Defaults, n_outputs: int, sfreq: float | None) -> Plan:
    """Combine the given options and, where they are "auto", the defaults.

    ``options`` has the parameters of an estimator as attributes.
    """
    signals, found, weights = data.signals, data.found, data.weights
    frontend = "module" if isinstance(options.frontend, nn.Module) else options.frontend
    frontend = defaults.frontend if frontend == "auto" else frontend
    _check_rate(options, frontend, sfreq)
    fixed = {"linear": None, **dict.fromkeys(BY_HOPS, defaults.hop_s), "filterbank": HOP_S}
    hop_s = fixed[frontend] if frontend in fixed else getattr(options.frontend, "hop_s", None)
    n_features = _module_features(options.frontend, signals, found, sfreq) if frontend == "module" else None
    step_s = hop_s if hop_s is not None else 1.0 / (sfreq or 1.0)
    stack, pooling, why = _chosen(options, defaults, frontend)
    stack["lookahead"] = _lookahead(options.lookahead_s, step_s, stack["n_layers"])
    if (chosen := options.readout) == "auto":
        chosen = defaults.readout if frontend in ("linear", *BY_HOPS) else "pooled"
    why |= {"readout": "auto"} if "readout" in why and chosen != defaults.readout else {}
    return Plan(
        n_channels=signals.n_channels,
        n_outputs=n_outputs,
        frontend=frontend,
        sfreq=sfreq,
        hop_s=hop_s,
        dt_range=_dt_range(options.timescale, step_s, float(case_durations(found, sfreq).max())),
        stack=stack,
        pooling=pooling[0],
        pooling_order=pooling[1],
        readout=chosen,
        sampling=plan_sampling(options, found, weights, frontend),
        augmentation=choose_augmentation(options, frontend, timed=bool(found.has_times.any())),
        n_features=n_features,
        band_hz=options.band_hz,
        why=why,
    )


def _chosen(options: Any, defaults: Defaults, frontend: str) -> tuple[dict[str, Any], tuple[str, int], dict[str, str]]:
    """Return the options of the blocks, the pooling with its order, and the reasons for the values of "auto"."""
    given = {name: getattr(options, name) for name in ("frontend", "pooling", "readout", *_SIZE)}
    auto = {name for name, value in given.items() if isinstance(value, str) and value == "auto"}
    stack = {name: getattr(options, name) for name in _STACK}
    size = defaults.size | ({} if frontend == "filterbank" and options.kernel != "s5" else {"n_networks": 1})
    stack |= {name: size[name] if name in auto else given[name] for name in _SIZE}
    # All cases in one step share one dropout mask, so that weight two equals duplicating the case.
    stack["dropout_axis"] = "batch" if options.batch_size is None else "case"
    why: dict[str, str] = {name: defaults.why[name] for name in ("frontend", "pooling", "readout") if name in auto}
    if chosen := [name for name in _SIZE if name in auto and (name != "n_networks" or stack[name] > 1)]:
        why["size"] = ("" if auto.issuperset(_SIZE) else f"{', '.join(chosen)}: ") + defaults.why["size"]
    return stack, _pooling(defaults.pooling if "pooling" in auto else options.pooling), why


def plan_schedule(options: Any, plan: Plan, n_cases: int, defaults: Defaults) -> Schedule:
    """Choose the batch size and the number of epochs."""
    with_bank, batch_size, max_epochs = plan.frontend == "filterbank", options.batch_size, options.max_epochs
    if isinstance(batch_size, str):
        # With the filter bank, more steps of fewer cases are better, at about the cost of more epochs.
        batch_size = 64 if n_cases > 4096 else 16 if with_bank else 32
    if isinstance(max_epochs, str):
        steps = 1 if batch_size is None else math.ceil(n_cases / batch_size)
        # Small sets need steps, large ones epochs; with mostly missing cases, a few epochs already overfit.
        of_audio = max(15, min(MOST_EPOCHS, math.ceil(STEPS_OF_AUDIO / steps)))
        fewest = 5 if plan.sampling.mostly_missing else of_audio if with_bank else max(20, defaults.max_epochs)
        max_epochs = max(fewest, math.ceil(FEWEST_STEPS / steps))
    averaging = AVERAGING if plan.sampling.mostly_missing or with_bank else 0.0
    auto = {name: " (auto)" * isinstance(getattr(options, name), str) for name in ("max_epochs", "batch_size")}
    epochs, cases = "epoch" if max_epochs == 1 else "epochs", "all" if batch_size is None else batch_size
    text = f"{max_epochs} {epochs}{auto['max_epochs']}, {cases} of {n_cases} cases per step{auto['batch_size']}"
    return Schedule(batch_size, max_epochs, averaging, text + ", mean of the last weights" * (averaging > 0))


def build_network(plan: Plan, frontend: Any = None) -> S4Network:
    """Build the network of a plan, with random weights from torch's state."""
    options = StackOptions(dt_range=plan.dt_range, **plan.stack)
    built = _frontend(plan, options.width, frontend)
    n_summaries = plan.n_inputs if plan.sampling.mostly_missing else 0
    pooling = ("legs", plan.pooling_order) if plan.pooling == "legs" else plan.pooling
    return S4Network(built, plan.n_outputs, options=options, pooling=pooling, n_summaries=n_summaries)


def _check_rate(options: Any, frontend: str, sfreq: float | None) -> None:
    """Refuse a sampling rate that is too low for the bands."""
    check_band(options.band_hz, sfreq)
    if frontend == "filterbank" and (sfreq is None or sfreq < 4 * LOWEST_HZ):
        raise ValueError(
            f"frontend='filterbank' needs a sampling rate of at least {4 * LOWEST_HZ:g} Hz, got {sfreq}. Pass sfreq, "
            "or frontend='linear'."
        )


def _pooling(pooling: str | tuple[str, int]) -> tuple[str, int]:
    """Return the name of a pooling and its order, 1 if it has none."""
    if isinstance(pooling, str):
        return pooling, LEGS_ORDER if pooling == "legs" else 1
    return str(pooling[0]), int(pooling[1])


def _module_features(module: nn.Module, signals: Signals, found: Survey, sfreq: float | None) -> int | None:
    """Check a module against the cases; return its number of features."""
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
    """Convert memories in seconds to steps: a system of step dt has a memory of 1 / dt periods."""
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


def _lookahead(lookahead_s: float | None, step_s: float, n_layers: int) -> float | None:
    """Convert seconds to steps; refuse less than one step per layer, and more coefficients than memory holds."""
    if lookahead_s is not None and not (1 - 1e-6) * n_layers <= lookahead_s / step_s <= _LONGEST:
        raise ValueError(
            f"lookahead_s={lookahead_s:g} must be at least a step of {step_s:g} s for each layer, "
            f"{n_layers * step_s:g}, and at most {_LONGEST:,} steps; change it, or fit with bidirectional=False."
        )
    return None if lookahead_s is None else lookahead_s / step_s


def _frontend(plan: Plan, d_model: int, module: Any) -> Frontend:
    sfreq = plan.sfreq or 1.0
    if plan.frontend == "linear":
        return LinearFrontend(plan.n_inputs, d_model)
    if plan.frontend == "hop_means":
        return HopMeansFrontend(plan.n_channels, d_model, sfreq=sfreq, hop_s=plan.step_s)
    if plan.frontend == "band_power":
        return BandPowerFrontend(plan.n_channels, d_model, sfreq=sfreq, hop_s=plan.step_s, band_hz=plan.band_hz)
    if plan.frontend == "module" and not isinstance(module, FilterBank):
        return ModuleFrontend(copy.deepcopy(module), plan.n_features or 0, d_model)
    if plan.frontend not in ("filterbank", "module"):
        raise ValueError(f"a plan has no front end {plan.frontend!r}.")
    given = plan.frontend == "module"
    bank = copy.deepcopy(module) if given else sound_bank(sfreq, plan.hop_s or HOP_S, plan.band_hz)
    return FilterBankFrontend(
        plan.n_channels,
        d_model,
        bank=bank,
        mean_subtraction="active" if bank.output == "log" else "case" if plan.sees_all else "running",
        floor_db=plan.floor_db,
        causal=not plan.sees_all,
        n_groups=plan.stack["n_networks"],
        augmentations=feature_changes(plan.augmentation),
    )
