"""Readable units of frequencies and durations."""

import numpy as np

from s4signal import Signals
from s4signal.estimators import S4RidgeClassifier
from s4signal.estimators.units import readable_units

__all__: list[str] = []


def test_units_are_chosen_by_magnitude():
    assert readable_units(256.0, 40.0).band(0.5, 40.0) == "0.5 - 40 Hz"
    assert readable_units(1 / 3600, 0.4 / 3600).band(0.02 / 3600, 0.4 / 3600) == "0.02 - 0.4 cycles per hour"
    assert readable_units(1 / 3600, 0.4 / 3600).memory(1800.0, 36_000.0) == "0.5 - 10 h"
    assert readable_units(1 / 3600, 0.4 / 3600).rate(1 / 3600) == "1 per hour"
    assert readable_units(None, 0.4).memory(2.0, 30.0) == "2 - 30 samples"
    assert readable_units(None, 0.4).rate(None).startswith("unknown: durations are in samples; pass sfreq=")


def test_vital_signs_are_described_in_hours():
    X = Signals(np.random.default_rng(0).standard_normal((20, 1, 48)), sfreq=1 / 3600)
    description = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(X, np.arange(20) % 2).describe()
    assert "1 per hour" in description
    assert "cycles per hour" in description
    assert " h\n" in description
