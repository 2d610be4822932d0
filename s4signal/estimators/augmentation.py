"""Augmentation: names and settings of the changes of training cases, and changed versions of the cases."""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from s4signal.nn import FilterBank
from s4signal.nn.frontends.augmentation import FEATURE_CHANGES
from s4signal.signals import Signal
from s4signal.signals.augmentation import SAMPLE_CHANGES, SampleChange, change_case

AUGMENTATIONS: dict[str, type[Any]] = {**SAMPLE_CHANGES, **FEATURE_CHANGES}
AUTO_AUDIO = ("band_shift", "band_dropout", "silence_padding")  # with the filter bank; otherwise no augmentation
CHANGED_LOADS = 0.5  # share of the loads of a case in training that return a changed version
BABBLE_CASES = 32  # maximum; they stay in memory

Settings = dict[str, dict[str, Any]]  # by name, in the order of application


def parse_augmentation(augmentation: Any) -> Settings:
    """Check the parameter augmentation, other than "auto"; an error lists what is allowed."""
    if augmentation is None:
        return {}
    listed = isinstance(augmentation, tuple | list) and all(isinstance(name, str) for name in augmentation)
    given = {name: {} for name in augmentation} if listed else augmentation
    if not isinstance(given, Mapping) or not all(name in AUGMENTATIONS for name in given):
        raise ValueError(
            f"augmentation={augmentation!r} is unknown or out of range; it must be 'auto', None, a tuple of "
            f"{', '.join(map(repr, AUGMENTATIONS))}, or a dictionary from such names to their settings."
        )
    for name, settings in given.items():
        _check_settings(name, settings)
    return {name: dict(given[name]) for name in AUGMENTATIONS if name in given}


def choose_augmentation(options: Any, frontend: str, *, timed: bool) -> Settings:
    """Return the changes of the training cases; check them against the front end and irregular times."""
    if isinstance(options.augmentation, str):
        return parse_augmentation(AUTO_AUDIO if frontend == "filterbank" else None)
    chosen, module = parse_augmentation(options.augmentation), options.frontend
    own_bank = isinstance(module, FilterBank)
    for name in chosen:
        change, needs = SAMPLE_CHANGES.get(name), ""
        if name == "silence_padding" and own_bank and module.output != "log":
            raise ValueError(f"augmentation={name!r} needs a filter bank with output='log', got {module.output!r}.")
        if change is None and not (own_bank or frontend == "filterbank"):
            needs = "a filter bank"
        elif name == "sample_dropout" and frontend == "linear":
            needs = "a front end on a regular grid"
        if needs:
            raise ValueError(
                f"augmentation={name!r} needs {needs}, but frontend is {frontend!r}; use frontend='filterbank' or "
                "augmentation=None."
            )
        if change is not None and timed and not change.keeps_times:
            raise ValueError(
                f"augmentation={name!r} needs regular samples, but X has times; leave it out, or put X on a regular "
                "grid with Signals.to_grid."
            )
    return chosen


def sample_changes(settings: Settings) -> list[SampleChange]:
    """Return the changes of samples."""
    return [SAMPLE_CHANGES[name](**values) for name, values in settings.items() if name in SAMPLE_CHANGES]


def feature_changes(settings: Settings) -> list[nn.Module]:
    """Return the changes of the energies of a filter bank."""
    return [FEATURE_CHANGES[name](**values) for name, values in settings.items() if name in FEATURE_CHANGES]


def describe_changes(settings: Settings, sfreq: float) -> str:
    """Return a description of the changes."""
    return ", ".join(AUGMENTATIONS[name](**values).describe(sfreq) for name, values in settings.items())


class CaseVersions:
    """Cases, and versions of them that depend only on a random number."""

    def __init__(self, cases: Sequence[Any], changes: Sequence[SampleChange], sfreq: float | None) -> None:
        self._cases, self._changes, self._sfreq = cases, changes, sfreq
        self._last: tuple[int, Signal] | None = None  # versions of a case are adjacent: it is read once
        self._babble: dict[int, Signal] = {}

    def read(self, index: int) -> Signal:
        """Load a case into memory."""
        if not self._changes:
            return cast(Signal, self._cases[index].load())
        if self._last is None or self._last[0] != index:
            self._last = index, self._cases[index].load()
        return self._last[1]

    def changed(self, index: int, chance: float) -> Signal:
        """Return a version of a case that depends on all bits of a number from [0, 1)."""
        rng, other = np.random.default_rng(int(chance * 2**53)), partial(self._other, index)
        return change_case(self.read(index), self._changes, rng, sfreq=self._sfreq, other=other)

    def _other(self, index: int, rng: np.random.Generator) -> NDArray[np.floating]:
        """Return the samples of another case than ``index``, among those that are used for babble."""
        places = range(0, len(self._cases), -(-len(self._cases) // BABBLE_CASES))
        chosen = int(rng.integers(len(places)))
        place = places[(chosen + (places[chosen] == index)) % len(places)]
        if place not in self._babble:
            self._babble[place] = self._cases[place].load()
        return self._babble[place].data


def _check_settings(name: str, settings: Any) -> None:
    defaults = {key: value.default for key, value in inspect.signature(AUGMENTATIONS[name]).parameters.items()}
    if not isinstance(settings, Mapping) or set(settings) - set(defaults):
        raise ValueError(f"augmentation: {name!r} has the settings {', '.join(defaults)}; got {settings!r}.")
    for key, value in settings.items():
        pair = isinstance(defaults[key], tuple)
        numbers = value if pair and isinstance(value, tuple | list) else [value]
        valid = len(numbers) == 1 + pair and all(is_number(v) for v in numbers)
        low, high = (-np.inf if key.endswith("db") else 0.0), (1.0 if key == "share" else np.inf)
        if not valid or not low <= numbers[0] <= numbers[-1] <= high:
            need = "two numbers, the lower one first" if pair else "a number"
            bounds = "" if low < 0 else f" in [0, {high:g}]" if key == "share" else " of at least 0"
            raise ValueError(f"augmentation: {key}={value!r} of {name!r} must be {need}{bounds}.")


def is_number(v: Any) -> bool:
    """Return whether a value is a finite number, not a bool."""
    return isinstance(v, Real) and not isinstance(v, bool) and bool(np.isfinite(float(v)))
