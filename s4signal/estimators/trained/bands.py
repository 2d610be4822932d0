"""The filter bank for sound: its bands follow the rate of the recordings."""

import math

from s4signal.estimators.trained.defaults import LOWEST_HZ
from s4signal.nn import FilterBank, space_bands

HOP_S, N_BANDS = 0.01, 40
SPEECH_HZ, HIGHEST_HZ = 8000.0, 20000.0  # so far reach the bands; rates that hold more get more, as far as we hear
BANK_FLOOR = 1e-12  # energy, far below any sound: the floor that counts is relative to the loudest frame


def sound_bank(sfreq: float, hop_s: float, band_hz: tuple[float, float] | None = None) -> FilterBank:
    """Space gammatone bands evenly on the scale of critical bands, as densely at every rate; or within a band."""
    lowest_hz, highest_hz = (LOWEST_HZ, HIGHEST_HZ) if band_hz is None else band_hz
    highest_hz = min(highest_hz, 0.475 * sfreq)
    n_bands = round(N_BANDS * max(1.0, _critical_bands(highest_hz) / _critical_bands(SPEECH_HZ)))
    frequencies, bandwidths = space_bands("erb", n_bands, lowest_hz, highest_hz)
    return FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=hop_s, floor=BANK_FLOOR)


def _critical_bands(frequency_hz: float) -> float:
    """Count them from the lowest frequency on, relative to 21.4 [1]_.

    References
    ----------
    .. [1] B. R. Glasberg, B. C. J. Moore, "Derivation of auditory filter shapes from notched-noise data", Hearing
       Research 47:103-138, 1990.
    """
    return math.log10((1 + 0.00437 * frequency_hz) / (1 + 0.00437 * LOWEST_HZ))
