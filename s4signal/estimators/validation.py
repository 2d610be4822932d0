"""All checks of signals, numeric targets and weights."""

from os import PathLike
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from s4signal.errors import ShapeError
from s4signal.estimators.montage import in_order_of_fit
from s4signal.estimators.parameters import is_positive
from s4signal.signals import Signal, Signals
from s4signal.signals.checks import as_float_array, case_name, check_positive, in_full_scale, is_unknown, scale_pcm
from s4signal.signals.clock import warn_of_clocks, warn_of_no_rate, warn_of_short_sounds

Outputs = TypeVar("Outputs", bound=Any)
_LARGEST_TARGET = 1e150
_NO_NUMBERS = ("could not convert", "must be a string or a real number", "could not be promoted")  # numpy, on strings


def check_signals(
    estimator: Any, X: Any, *, sfreq: float | None = None, times: Any = None, reset: bool = False, warn: bool = True
) -> Signals:
    """Convert any accepted form of X to `Signals`, and store or compare its shape."""
    X = in_full_scale(X, sfreq if reset or sfreq is not None else getattr(estimator, "sfreq_", None))
    if _is_table(X):
        signals = _table(estimator, X, sfreq, times, reset=reset)
    else:
        signals = Signals(X, sfreq=sfreq, times=times)
        if len(signals) == 0:
            raise ShapeError("Found 0 case(s) in X while a minimum of 1 is required.")
        if not reset:
            signals = in_order_of_fit(estimator, signals)
        _check_axes(estimator, X, signals, reset=reset)
        if reset:
            estimator.n_features_in_ = signals.n_channels
            vars(estimator).pop("feature_names_in_", None)
    if reset:
        estimator.n_channels_in_ = signals.n_channels
        estimator.ch_names_ = None if signals.ch_names is None else list(signals.ch_names)
    elif signals.n_channels != estimator.n_channels_in_:
        one_case = getattr(X, "ndim", 0) == 2 and len(X) == estimator.n_channels_in_
        raise ShapeError(
            f"X has {signals.n_channels} channels, but {type(estimator).__name__} was fitted with "
            f"{estimator.n_channels_in_}. Pick the same channels; a case is (n_channels, n_times), pass its transpose "
            "if time came first." + (" If X is one case, pass [X]." if one_case else "")
        )
    warn_of_clocks(signals.cases)
    warn_of_short_sounds(signals.cases if warn else [])  # a stream starts with few samples
    return signals


def _is_table(X: Any) -> bool:
    """Whether X has a form of scikit-learn: 2-D, a frame, rows of numbers, or an object that only it can refuse."""
    if isinstance(X, list | tuple) and X and all(isinstance(row, list | tuple) for row in X):
        return len({len(row) for row in X}) == 1 and all(np.ndim(value) == 0 for value in X[0])
    of_mne = type(X).__module__.startswith("mne.")
    if of_mne or type(X) is dict or isinstance(X, Signals | Signal | list | tuple | str | PathLike):
        return False
    if not hasattr(X, "__array__"):
        return True
    array = np.asarray(X)
    return array.ndim < 3 and not (array.dtype == object and array.ndim == 1 and not all(map(np.isscalar, array[:1])))


def _table(estimator: Any, X: Any, sfreq: float | None, times: Any, *, reset: bool) -> Signals:
    """Check a 2-D array as scikit-learn does; its width may only change if a rate or times explain it."""
    if np.ma.isMaskedArray(X):
        X = np.ma.filled(X.astype(np.float64), np.nan)  # check_array would take masked values as real ones
    # If the fit had several channels, or cases of one channel in another form, the width was never fixed.
    explained = sfreq is not None or times is not None
    free = not reset and (explained or estimator.n_channels_in_ > 1 or estimator.n_features_in_ == 1)
    options = {"dtype": [np.float64, np.float32], "ensure_all_finite": False}
    try:
        if not free:
            array = validate_data(estimator, X, reset=reset, skip_check_array=False, **options)
        else:
            array = check_array(X, **options)
    except (TypeError, ValueError) as error:
        if not hasattr(X, "columns") or not any(text in str(error) for text in _NO_NUMBERS):
            raise
        raise type(error)(
            f"{error}. A row of a table X is a case, its columns are samples; if a row is one observation of many, "
            "read the table by s4signal.signals.read_events."
        ) from None
    return Signals(array, sfreq=sfreq, times=times)


def _check_axes(estimator: Any, X: Any, signals: Signals, *, reset: bool) -> None:
    """Refuse arrays whose time axis seems to be second, 3-D or in a list; warn if no rate is known."""
    knows_axes = isinstance(X, Signals) or type(X).__module__.startswith("mne.")
    if knows_axes or any(isinstance(case, Signal) or type(case).__module__.startswith("mne.") for case in X):
        return
    n_channels, n_times = signals.n_channels, int(signals.lengths.max())
    if reset:
        swapped = n_times < n_channels and (n_channels > 400 or 1 < n_times < n_channels / 20)
    else:
        swapped = n_channels != estimator.n_channels_in_ == n_times
    if swapped:
        got, advice = f"cases of {signals[0].data.shape}", "[np.transpose(case) for case in X]"
        if getattr(X, "ndim", 1) == 3:
            got, advice = f"{tuple(X.shape)}", "X.transpose(0, 2, 1)"
        raise ShapeError(
            f"X must have shape (n_samples, n_channels, n_times), got {got}. If time comes second, pass {advice}; "
            "if it does not, pass Signals(X)."
        )
    if reset and hasattr(estimator, "sfreq"):
        warn_of_no_rate(signals.cases)


def check_rate(estimator: Any, sfreq: float | None) -> None:
    """Check that an estimator is fitted, and the sampling rate of signals to predict."""
    check_is_fitted(estimator)
    if sfreq is not None and not is_positive(sfreq):
        raise ValueError(f"sfreq={sfreq!r} must be a positive number of Hz.")
    if sfreq is not None and estimator.sfreq_ is None:
        raise ValueError("sfreq is given, but the model was fitted without a sampling rate; fit with sfreq.")


def check_observed(case: Signal, index: int, *, refuse: bool = False, name: str = "X") -> None:
    """Refuse a case without any observation, or with ``refuse`` any missing sample."""
    if refuse:
        check_finite(case.data, index, case.source, name=name)
    elif not all_finite(case.data) and not case.observed.any():
        where = case_name(index, case.source)
        raise ValueError(f"{where} of {name} has no observation, all of it is NaN; leave the case out.")


def all_finite(signal: NDArray[np.floating]) -> bool:
    """Whether all samples are finite, by one sum; also False for finite values whose sum overflows."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(signal.sum()))


def check_finite(signal: NDArray[np.floating], index: int, source: str | None = None, *, name: str = "X") -> None:
    """Refuse missing and infinite samples of (n_channels, n_times)."""
    if all_finite(signal) or np.isfinite(signal).all():
        return
    bad, kind, advice = ~np.isfinite(signal), "infinity", "Remove it or clip the recording."
    if not np.isinf(signal).any():
        kind = "NaN"
        advice = "Interpolate it (Signals.to_grid), leave the case out, or let S4Classifier(missing='auto') take it."
        advice = "Push the last value of the channel for a dropped sample." if source == "the chunk" else advice
    where = case_name(index, source)
    raise ValueError(f"Input {name} contains {kind}: {where} has {int(bad.sum())} such samples of {bad.size}. {advice}")


def check_stream_rate(estimator: Any, sfreq: float | None, *, timed: bool, mostly_missing: bool) -> float:
    """Return the sample period of a stream relative to training."""
    check_rate(estimator, sfreq)
    if timed and sfreq is None:
        raise ValueError("the model was fitted with times; a stream is regular: pass its rate, stream(sfreq=...).")
    if mostly_missing:
        raise ValueError(
            "the model was fitted on mostly missing data, which a stream cannot process; predict whole cases."
        )
    return 1.0 if sfreq is None or estimator.sfreq_ is None else float(estimator.sfreq_ / sfreq)


def check_chunk(
    chunk: Any, n_channels: int, *, sfreq: float | None = None, time_first: bool | None = None, missing: str = "refused"
) -> NDArray[np.float64]:
    """Check a chunk of a stream like a case; samples may be missing ("whole", "any") or not ("refused").

    Shapes: chunk (n_channels, n_times), the transpose with ``time_first``, or (n_times,) for one channel →
    (n_channels, n_times).
    """
    if isinstance(chunk, Signals | Signal):
        raise TypeError(f"a stream takes arrays (n_channels, n_times), not {type(chunk).__name__}; pass signal.data.")
    if np.ma.is_masked(chunk):
        raise ValueError("the chunk is masked; fill missing samples with NaN: chunk.filled(np.nan).")
    data = as_float_array(scale_pcm(chunk, sfreq, n_channels=n_channels), "the chunk").astype(np.float64, copy=False)
    if not data.size:
        return np.zeros((n_channels, 0))
    data = data[:, np.newaxis] if time_first and data.ndim == n_channels == 1 else np.atleast_2d(data)
    data = data.T if time_first else data
    if data.ndim != 2 or len(data) != n_channels:
        form = f"(n_times, {n_channels})" if time_first else f"({n_channels}, n_times)"
        transposed = data.ndim == 2 and data.shape[1] == n_channels
        place, other = ("second", False) if time_first else ("first", True)
        column = "chunk[:, np.newaxis]" if np.ndim(chunk) == 1 else "chunk.T"
        advice = f" Time seems to be {place}: pass stream(time_first={other}), or {column}." if transposed else ""
        raise ShapeError(f"chunk must have shape {form}, got {np.shape(chunk)}.{advice}")
    if np.isfinite(data).all():
        return data
    if missing == "refused" or np.isinf(data).any():
        check_finite(data, 0, "the chunk")
    elif missing == "whole" and ((unknown := np.isnan(data)).any(0) != unknown.all(0)).any():
        raise ValueError(
            "the chunk contains NaN in some channels only; this model accepts gaps only in all channels at once. Push "
            "NaN in all of them for a dropped packet, and the last value of a channel for its own missing samples."
        )
    return data


def window_samples(window_s: Any, step_s: Any, sfreq: float | None) -> tuple[int, int]:
    """Return the number of samples of the windows of a stream and of their steps."""
    if window_s is None:
        raise ValueError("step_s is given without window_s; pass both, or none.")
    if sfreq is None:
        raise ValueError("window_s needs a rate, but the model was fitted without one; fit with sfreq.")
    step_s = window_s / 2 if step_s is None and is_positive(window_s) else step_s
    check_positive("window_s", window_s)
    check_positive("step_s", step_s)
    n_window, n_step = round(window_s * sfreq), max(1, round(step_s * sfreq))
    if n_step > n_window:
        raise ValueError(f"window_s={window_s:g} must last a sample of {sfreq:g} Hz, and step_s={step_s:g} no longer.")
    return n_window, n_step


def check_targets(y: Any, X: Signals) -> NDArray[np.float64]:
    """Check regression targets, (n_samples,) or (n_samples, n_outputs)."""
    with np.errstate(invalid="ignore"):  # a sum may overflow in both directions
        y = check_array(known_targets(y), ensure_2d=False, dtype=np.float64, input_name="y")
    if np.abs(y).max(initial=0.0) > _LARGEST_TARGET:
        raise ValueError(f"y has values up to {np.abs(y).max():.1g}, whose squares overflow; scale y.")
    check_length(y, X)
    return np.asarray(y, dtype=np.float64)


def given_targets(y: Any) -> Any:
    """Refuse missing targets, and masked ones: each mask hides a number."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None.")
    if np.ma.is_masked(y):
        raise ValueError("some values of y are masked, so unknown; leave these cases out.")
    return y


def known_targets(y: Any) -> Any:
    """Refuse unknown targets before NaN becomes a string, and dates, whose numbers depend on their unit."""
    values = np.atleast_1d(np.asarray(given_targets(y), dtype=None if hasattr(y, "__array__") else object))
    if values.dtype.kind in "mM":
        raise ValueError(f"y holds dates or durations ({values.dtype}); pass labels as texts, or targets as numbers.")
    for index, label in enumerate(values.ravel().tolist() if values.dtype == object else ()):
        case = index * len(values) // values.size
        if is_unknown(label):
            raise ValueError(f"Input y contains NaN or None: case {case} has no label; leave it out.")
        if isinstance(label, list | tuple | set):
            raise ValueError(f"y holds {label!r} (case {case}); for tags pass MultiLabelBinarizer().fit_transform(y).")
    return y


def check_length(y: NDArray[Any], X: Signals) -> None:
    """Refuse a number of targets that differs from the number of cases."""
    if len(y) != len(X):
        raise ShapeError(f"X and y have inconsistent numbers of samples: {len(X)} cases and {len(y)} targets.")


def check_weights(
    sample_weight: Any, X: Signals, *, class_weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Check sample weights, and multiply them with class weights (n_samples,)."""
    if np.ma.is_masked(sample_weight):
        raise ValueError("some of sample_weight are masked; give every case a weight, 0 to leave it out.")
    given = np.ones(len(X)) if sample_weight is None else sample_weight
    weights = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (len(X),):
        raise ShapeError(f"sample_weight.shape == {weights.shape}, expected ({len(X)},): one weight for each case.")
    if (weights < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`; 0 leaves a case out.")
    if (weights == 0).all():
        raise ValueError("sample_weight must contain at least one non-zero number: 0 leaves a case out.")
    if class_weights is not None:
        with np.errstate(over="ignore"):
            weights = weights * class_weights
        if not 0 < weights.max() < np.inf:
            what = "infinite" if weights.max() > 0 else "zero for every case; at least one must be positive"
            raise ValueError(f"sample_weight times class_weight is {what}.")
    return np.asarray(weights, dtype=np.float64)


def finite_outputs(outputs: Outputs) -> Outputs:
    """Return the outputs of cases, if all are finite: argmax would return the first class for NaN."""
    if bad := [index for index, output in enumerate(outputs) if not np.isfinite(output).all()]:
        raise ValueError(
            f"case {bad[0]} of X, and {len(bad) - 1} more of {len(outputs)}, have no finite output: check for values "
            "far beyond those of the training, pass X in its units, or use precision='64'."
        )
    return outputs
