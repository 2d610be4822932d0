"""Channels are matched by electrode, for all spellings of their names."""

import numpy as np
import pytest

from s4signal import Signals
from s4signal.signals import Signal
from s4signal.signals.montage import arranged, channel_key, match_channels, standard_name

__all__: list[str] = []


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("EEG FP1-REF", "Fp1"), ("EEG Fp1", "Fp1"), ("Fc5.", "FC5"), ("CZ", "Cz"), ("POL T3", "T7"), ("T6-LE", "P8"),
        ("fpz", "Fpz"), ("C3-M2", "C3-M2"), ("EEG T3-A1", "T7-A1"), ("oz", "Oz"), ("AFF1h", "AFF1h"),
        ("ECG", "ECG"), ("EEG 001", "EEG 001"), ("Left hand", "Left hand"), ("EEG", "EEG"), ("-", "-"),
    ],
)  # fmt: skip
def test_names_of_electrodes_are_standardised(name, standard):
    assert standard_name(name) == standard
    assert channel_key(name) == channel_key(standard)


def test_an_exact_name_has_priority_over_another_spelling():
    assert match_channels(["T7", "Cz"], ["T3", "T7", "EEG CZ-REF"]) == [1, 2]
    assert match_channels(["T7", "Oz"], ["T3", "Fz"]) == [0, -1]


def test_an_ambiguous_channel_is_not_matched():
    assert match_channels(["Cz"], ["EEG Cz", "Cz-REF"]) == [-1]
    assert match_channels(["EEG Cz", "Cz-LE"], ["CZ"]) == [-1, -1]


@pytest.mark.parametrize("lazy", [False, True])
def test_channels_are_reordered_and_missing_ones_are_nan(lazy, rng):
    data = rng.standard_normal((3, 50))
    case = Signals([data], sfreq=10, ch_names=["a", "b", "c"]).cases[0]
    if lazy:
        from s4signal.signals.lazy import LazyCase

        case = LazyCase(read=lambda a, b: data[:, a:b], n_channels=3, length=50, sfreq=10.0, ch_names=("a", "b", "c"))
    moved = arranged(case, [2, -1, 0], ["c", "x", "a"])
    assert (moved.n_channels, moved.ch_names) == (3, ("c", "x", "a"))
    for part, expected in ((moved.load(), data), (moved.crop(10, 20).load(), data[:, 10:20])):
        np.testing.assert_array_equal(part.data[[0, 2]], expected[[2, 0]])
        assert np.isnan(part.data[1]).all()
    assert np.isfinite(data).all()


def test_positions_follow_their_channels(rng):
    places = rng.standard_normal((3, 3))
    case = Signal(rng.standard_normal((3, 50)), sfreq=10, ch_names=("a", "b", "c"), positions=places)
    moved = arranged(case, [2, -1, 0], ["c", "x", "a"])
    np.testing.assert_array_equal(moved.positions, [places[2], [np.nan] * 3, places[0]])
