"""Evenly spaced narrow bands over what recordings of several channels hold: where a flicker or a rhythm shows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.standardizer import Standardizer
from s4signal.nn.oscillators import oscillator_hops
from s4signal.nn.statistics import OscillatorStatistics
from s4signal.signals import Signals

__all__ = ["narrow_bands"]

_BANDS = 32
_ORDER = 2
_SHARE = 0.99  # of the power lies below the highest band
_HIGHEST = 0.45  # of the sampling rate


def narrow_bands(
    signals: Signals,
    standardizer: Standardizer,
    components: NDArray[np.float64],
    *,
    sfreq: float,
    shortest: float,
    longest_hop: float,
    dtype: torch.dtype,
) -> OscillatorStatistics:
    """Space bands from 0 Hz to the frequency below which nearly all power of the training cases lies.

    Parameters
    ----------
    signals : Signals
        Training cases, without missing samples.
    standardizer : Standardizer
        Of their channels.
    components : ndarray (K, C)
        Channels, or mixes of them, whose covariance is taken within each band.
    sfreq : float
        Sampling rate, in Hz.
    shortest : float
        Samples of the shortest case: bands are no narrower than what these can tell apart.
    longest_hop : float
        Most samples between two readings.
    dtype : torch.dtype
        Of the arithmetic.

    Returns
    -------
    OscillatorStatistics
        With energies alone.
    """
    highest = min(_HIGHEST * sfreq, max(_loud_below(signals, standardizer, sfreq), _BANDS / 2 * sfreq / shortest))
    frequencies = highest * (np.arange(_BANDS) + 0.5) / _BANDS
    bandwidths = np.full(_BANDS, highest / (2 * _BANDS))
    hops = oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=longest_hop)
    return OscillatorStatistics(
        frequencies_hz=torch.from_numpy(frequencies),
        bandwidths_hz=torch.from_numpy(bandwidths),
        orders=torch.full((_BANDS,), _ORDER),
        hops=torch.from_numpy(hops),
        mixes=torch.zeros(_BANDS, 0, components.shape[1], dtype=dtype),
        levels=torch.zeros(_BANDS, 0, 2, dtype=dtype),
        projection=torch.tensor(components, dtype=dtype),  # a copy: a file holds no tensor twice
        sfreq=sfreq,
    )


def _loud_below(signals: Signals, standardizer: Standardizer, sfreq: float) -> float:
    """Frequency in Hz below which nearly all power of the cases lies."""
    n_times = int(signals.lengths.max())
    power = np.zeros(n_times // 2 + 1)
    for case in signals:
        power += (np.abs(np.fft.rfft(standardizer(case.data), n_times)) ** 2).sum(0)
    below = np.searchsorted(np.cumsum(power), _SHARE * power.sum())
    return float(np.fft.rfftfreq(n_times, 1.0 / sfreq)[min(int(below), len(power) - 1)])
