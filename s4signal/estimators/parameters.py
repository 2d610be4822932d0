"""All checks of hyper-parameters."""

from collections.abc import Callable
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.callback import FitCallback
from torch import nn

from s4signal.estimators.augmentation import is_number, parse_augmentation
from s4signal.nn import KERNELS
from s4signal.nn.frontends.bands import SPACINGS
from s4signal.nn.pooling import POOLINGS
from s4signal.training import PRECISIONS

Test = Callable[[Any], bool]
Rules = dict[str, tuple[Test, str]]  # whether a value of a parameter is allowed, and the rule in words


def check_options(estimator: Any) -> None:
    """Check the hyper-parameters of an estimator, before any work."""
    _check_rules(estimator, _RULES | _CLASSIFIER_RULES)
    allowed, need = _choice(*KERNELS[estimator.kernel].INITS)
    _check_rules(estimator, {"init": (allowed, f"{need} with kernel={estimator.kernel!r}")})
    if estimator.lookahead_s is not None and not estimator.bidirectional:
        raise ValueError("lookahead_s needs bidirectional=True; without it the model has no look-ahead.")
    if not (isinstance(estimator.augmentation, str) and estimator.augmentation == "auto"):
        parse_augmentation(estimator.augmentation)
    if estimator.checkpoint_dir is not None:
        if Path(estimator.checkpoint_dir).is_file():
            raise ValueError(f"checkpoint_dir={str(estimator.checkpoint_dir)!r} is a file; name a folder.")
        if not isinstance(estimator.random_state, Integral):
            raise ValueError(
                f"checkpoint_dir needs random_state to be a whole number, got {estimator.random_state!r}: a training "
                "with another seed cannot resume from the checkpoint."
            )
    if isinstance(estimator.frontend, nn.Module):
        if not is_positive(getattr(estimator.frontend, "hop_s", None)):
            raise ValueError(
                f"frontend, a {type(estimator.frontend).__name__}, must have the attribute hop_s: the seconds between "
                "two of its outputs (samples where the rate is unknown), a positive number."
            )
    elif not isinstance(estimator.frontend, str) or estimator.frontend not in _FRONTENDS:
        raise ValueError(
            f"frontend={estimator.frontend!r} is unknown; choose one of {', '.join(map(repr, _FRONTENDS))}, or pass "
            "a torch module that maps (batch, n_times, n_channels) to (batch, n_hops, n_features)."
        )


def check_closed_form_options(estimator: Any) -> None:
    """Check the hyper-parameters of an estimator on frozen oscillators, before any work."""
    _check_rules(estimator, _CLOSED_FORM_RULES | _CLASSIFIER_RULES)
    if not _auto_or(_penalties)(getattr(estimator, "alphas", "auto")):
        raise ValueError(f"alphas={estimator.alphas!r} is out of range; it must be 'auto' or positive numbers.")


def check_filter_bank_options(estimator: Any) -> None:
    """Check the hyper-parameters of the filter bank, before any work; ``output`` is checked by the module."""
    _check_rules(estimator, _FILTER_BANK_RULES)


def check_band(band_hz: tuple[float, float] | None, sfreq: float | None) -> None:
    """Refuse a band that is not within the range of a sampling rate."""
    if band_hz is not None and (sfreq is None or band_hz[0] >= 0.4 * sfreq):
        raise ValueError(
            f"band_hz={band_hz} needs a sampling rate above {band_hz[0] / 0.4:g} Hz, got {sfreq}. Pass sfreq, or a "
            "band that the recordings contain."
        )


def is_positive(v: Any) -> bool:
    """Whether a value is a positive finite number."""
    return is_number(v) and bool(0 < v < np.inf)


def _check_rules(estimator: Any, rules: Rules) -> None:
    for name, (allowed, need) in rules.items():
        value = getattr(estimator, name, None)  # a regressor has no class_weight
        if not allowed(value):
            raise ValueError(f"{name}={value!r} is unknown or out of range; {need}.")


def _whole(low: int) -> Test:
    return lambda v: isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= low


def _choice(*names: Any) -> tuple[Test, str]:
    # Compared by type too: True == 1, and an array has no truth value.
    choices = ", ".join(map(repr, names))
    return lambda v: any(type(v) is type(name) and v == name for name in names), f"choose one of {choices}"


def _auto_or(allowed: Test) -> Test:
    return lambda v: v == "auto" if isinstance(v, str) else allowed(v)


def _none_or(allowed: Test) -> Test:
    return lambda v: v is None or allowed(v)


def _all(v: Any, allowed: Test, kinds: Any = (tuple, list)) -> bool:
    return isinstance(v, kinds) and all(map(allowed, v))


def _penalties(v: Any) -> bool:
    values = np.ravel(np.asarray(v, dtype=object)).tolist()
    return len(values) > 0 and all(map(is_positive, values))


def _class_weight(v: Any) -> bool:
    if isinstance(v, dict):
        return all(is_number(weight) and 0 <= weight < np.inf for weight in v.values())
    return v is None or (isinstance(v, str) and v == "balanced")


def _rising_pair(v: Any) -> bool:
    return _all(v, is_positive) and len(v) == 2 and v[0] < v[1]


def _pooling(v: Any) -> bool:
    if isinstance(v, str):
        return v in ("auto", *POOLINGS)
    return isinstance(v, tuple | list) and len(v) == 2 and bool(v[0] == "legs") and _whole(1)(v[1])


_FRONTENDS = ("auto", "linear", "hop_means", "band_power", "filterbank")
_BOOL = (lambda v: isinstance(v, bool | np.bool_), "choose one of True, False")
_COUNT = (_whole(1), "it must be a whole number of at least 1")
_AUTO_OR_COUNT = (_auto_or(_whole(1)), "it must be 'auto' or a whole number of at least 1")
_BAND = (_none_or(_rising_pair), "it must be None or a pair (lowest, highest) of Hz, the lower one first")
_SFREQ = (_none_or(is_positive), "it must be a positive number of Hz, or None")
_RULES: Rules = {
    "kernel": _choice(*KERNELS),
    "init": (lambda v: isinstance(v, str), "it must be the name of initial dynamics"),
    "pooling": (_pooling, f"choose one of 'auto', {', '.join(map(repr, POOLINGS))} or ('legs', order)"),
    "readout": _choice("auto", "pooled", "closed_form"),
    "precision": _choice(*PRECISIONS),
    "early_stopping": _choice("auto", True, False),
    "missing": _choice("auto", "error", "gap", "mask"),
    **dict.fromkeys(("bidirectional", "standardize", "warm_start"), _BOOL),
    **dict.fromkeys(("d_model", "n_layers", "n_networks", "max_epochs"), _AUTO_OR_COUNT),
    "d_state": (
        _auto_or(lambda v: _whole(2)(v) and v % 2 == 0),
        "it must be 'auto' or even and at least 2: modes come in conjugate pairs",
    ),
    "lookahead_s": (_none_or(is_positive), "it must be None or a positive number of seconds"),
    "dropout": (lambda v: is_number(v) and 0 <= v < 1, "it must be in [0, 1)"),
    "sfreq": _SFREQ,
    "band_hz": _BAND,
    "timescale": (
        _auto_or(_rising_pair),
        "it must be 'auto' or a pair (shortest_s, longest_s) of seconds, the shorter one first",
    ),
    "batch_size": (
        _none_or(_auto_or(_whole(1))),
        "it must be 'auto', None (all cases in one step) or a whole number of at least 1",
    ),
    **dict.fromkeys(("learning_rate", "ssm_learning_rate"), (is_positive, "it must be positive")),
    **dict.fromkeys(
        ("weight_decay", "memory_budget_gb"), (lambda v: is_number(v) and 0 <= v < np.inf, "it must be at least 0")
    ),
    "validation_fraction": (lambda v: is_number(v) and 0 < v < 1, "it must be in (0, 1)"),
    "n_iter_no_change": (_none_or(_whole(1)), "it must be None or a whole number of at least 1"),
    "checkpoint_dir": (_none_or(lambda v: isinstance(v, str | PathLike)), "it must be None or the path of a folder"),
    "callbacks": (
        # A class has the methods too, but is not an instance.
        _none_or(lambda v: _all(v, lambda one: isinstance(one, FitCallback) and not isinstance(one, type))),
        "it must be None or a list of callbacks with the methods of sklearn.callback.FitCallback",
    ),
    "verbose": (lambda v: isinstance(v, bool | np.bool_) or _whole(0)(v), "it must be 0 or a positive whole number"),
}
_CLASSIFIER_RULES: Rules = {
    "class_weight": (_class_weight, "it must be None, 'balanced' or a dict from labels to weights of at least 0")
}
_CLOSED_FORM_RULES: Rules = {
    "n_oscillators": _AUTO_OR_COUNT,
    **dict.fromkeys(("n_spatial_filters", "n_windows"), _COUNT),
    "orders": (lambda v: _all(v, _whole(1), tuple) and len(v) > 0, "it must be a tuple of whole numbers of at least 1"),
    "sfreq": _SFREQ,
    "band_hz": _BAND,
    "precision": _choice("32", "64"),
}
_FILTER_BANK_RULES: Rules = {
    "n_bands": _COUNT,
    "spacing": (lambda v: isinstance(v, str) and v in SPACINGS, f"it must be one of {', '.join(map(repr, SPACINGS))}"),
    **dict.fromkeys(
        ("lowest_hz", "highest_hz"), (_auto_or(is_positive), "it must be 'auto' or a positive number of Hz")
    ),
    "order": (lambda v: isinstance(v, Integral) and v in (1, 2, 3, 4), "it must be 1, 2, 3 or 4"),
    "hop_s": (_auto_or(is_positive), "it must be 'auto' or a positive number of seconds"),
    "smooth_s": (_none_or(is_positive), "it must be None or a positive number of seconds"),
    "standardize": _BOOL,
    "sfreq": _SFREQ,
}
