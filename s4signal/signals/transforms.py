"""Remove samples: by decimation without a filter, or at random as a faulty sensor does."""

from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from s4signal.signals.case import Signal, crop_annotations, part_of, sample_times
from s4signal.signals.collection import Signals
from s4signal.signals.lazy import Case, recount, transformed
from s4signal.signals.summary import name_errors


def decimate(signals: Any, factor: int) -> Signals:
    """Keep every `factor`-th sample without a filter: frequencies above half the new rate alias.

    ``Signals.resample`` filters first; this is the plain ``x[::2]`` of papers that test other sampling rates.

    Parameters
    ----------
    signals : Signals, or any input of Signals
        The cases.
    factor : int, at least 1
        The decimation factor.

    Returns
    -------
    Signals
        Cases at 1 / `factor` of the rate, with their times; files are read on access.

    Raises
    ------
    ValueError
        If `factor` is not a whole number of at least 1.

    Examples
    --------
    >>> decimate(Signals([[1, 2, 3, 4, 5]], sfreq=8000), 2)[0].data
    array([[1., 3., 5.]])
    """
    if not isinstance(factor, Real) or not factor >= 1 or factor % 1:
        raise ValueError(f"factor={factor!r} must be a whole number of at least 1.")
    n, cases = int(factor), Signals(signals).cases
    every = partial(_every, factor=n)
    return Signals.from_cases(
        transformed(case, every, length=-(-case.length // n), **_slower(case, n)) for case in cases
    )


def drop_samples(signals: Any, fraction: float, *, random_state: Any = None, as_nan: bool = False) -> Signals:
    """Remove a random fraction of the samples of every case; the others keep their times.

    Parameters
    ----------
    signals : Signals, or any input of Signals
        The cases, with times or a rate.
    fraction : float, in [0, 1)
        The fraction to remove, in all channels at once; at least one sample remains.
    random_state : int, numpy.random.Generator or None
        Seed of the random choice; None gives a different choice on every call.
    as_nan : bool
        Whether to replace the removed samples by NaN on the regular grid, instead of setting times.

    Returns
    -------
    Signals
        Cases with the same rates and names; files are read on access.

    Raises
    ------
    RecordingError
        If neither the times nor the rate of a case are known.
    ValueError
        If `fraction` is not in [0, 1).

    Examples
    --------
    >>> signals = Signals([[10, 11, 12, 13, 14, 15]], sfreq=2)
    >>> thinned = drop_samples(signals, 0.5, random_state=0)[0]
    >>> thinned.times, thinned.data
    (array([0. , 1. , 1.5]), array([[10., 12., 13.]]))
    >>> drop_samples(signals, 0.5, random_state=0, as_nan=True)[0].data
    array([[10., nan, 12., 13., nan, nan]])
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction={fraction} must be at least 0 and less than 1.")
    cases = Signals(signals).cases
    seeds = np.random.default_rng(random_state).integers(2**63, size=len(cases)).tolist()
    return Signals.from_cases(
        name_errors(i, case.source, partial(_dropped, case, fraction, seed, as_nan))
        for i, (case, seed) in enumerate(zip(cases, seeds, strict=True))
    )


def _every(signal: Signal, factor: int) -> Signal:
    times = None if signal.times is None else signal.times[::factor]
    return replace(signal, data=signal.data[:, ::factor], times=times, **_slower(signal, factor))


def _slower(case: Case, factor: int) -> dict[str, Any]:
    """Return the fields at 1 / factor of the rate; with irregular times, sample numbers are no longer valid."""
    if case.sfreq is None or (case.has_times and case.recorded_sfreq is None):
        sfreq = None if case.sfreq is None else case.sfreq / factor
        return {"sfreq": sfreq, "first_sample": case.first_sample / factor, "recorded_sfreq": 0.0}
    return recount(case, case.sfreq / factor)


def _dropped(case: Case, fraction: float, seed: int, as_nan: bool) -> Case:
    drop = partial(_drop, fraction=fraction, seed=seed, as_nan=as_nan)
    length = case.length if as_nan else _n_kept(case.length, fraction)
    return transformed(case, drop, length=length, has_times=case.has_times or not as_nan)


def _n_kept(length: int, fraction: float) -> int:
    return max(1, round(length * (1 - fraction)))


def _drop(signal: Signal, fraction: float, seed: int, as_nan: bool) -> Signal:
    kept = np.sort(np.random.default_rng(seed).permutation(signal.length)[: _n_kept(signal.length, fraction)])
    if as_nan:
        data = np.full_like(signal.data, np.nan)
        data[:, kept] = signal.data[:, kept]
        return part_of(signal, data=data)
    grid = sample_times(signal)
    recorded = signal.recorded_sfreq
    if recorded is None:  # with irregular times, sample numbers are not valid
        recorded = signal.sfreq if signal.times is None else 0.0
    # Annotations are relative to the first sample, which may be removed.
    return part_of(
        signal,
        data=signal.data[:, kept],
        times=grid[kept],
        annotations=crop_annotations(signal.annotations, float(grid[kept[0]] - grid[0]), np.inf),
        first_sample=signal.first_sample + int(kept[0]),
        recorded_sfreq=recorded,
    )
