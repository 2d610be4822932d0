"""Steps across channels: references and interpolated channels, compared with MNE."""

import mne
import numpy as np
import pytest

from s4signal import Signals
from s4signal.errors import RecordingError
from s4signal.estimators import InterpolateBads, Rereference

__all__: list[str] = []

NAMES = ["Fp1", "Fp2", "C3", "C4", "Pz", "O1", "O2"]


def array(rng, n=5, n_times=750):
    return 1e-5 * (rng.standard_normal((n, len(NAMES), n_times)) + 3)


def signals(X):
    return Signals(X, sfreq=250, ch_names=NAMES)


def test_channel_names_match_in_any_spelling(rng):
    X, long = array(rng), [f"EEG {name.upper()}-REF" for name in NAMES]
    spelled = Signals(X, sfreq=250, ch_names=long)
    np.testing.assert_array_equal(
        Rereference(["C3"]).fit_transform(spelled), Rereference(["C3"]).fit_transform(signals(X))
    )
    filled, expected = (InterpolateBads(["Pz"], montage="biosemi64").fit_transform(s) for s in (spelled, signals(X)))
    np.testing.assert_array_equal(filled, expected)
    with pytest.raises(RecordingError, match=r"ref_channels: X has no channel 'M1'. It has: EEG FP1-REF"):
        Rereference(["M1"]).fit(spelled)


@pytest.mark.parametrize("step", [Rereference(), Rereference(["EEG1"]), InterpolateBads(["EEG1"])])
def test_channels_of_several_types_are_not_mixed(step, rng):
    info = mne.create_info(["EEG1", "EEG2", "MEG1", "MEG2"], 250.0, ["eeg", "eeg", "mag", "mag"])
    epochs = mne.EpochsArray(rng.standard_normal((3, 4, 500)), info, verbose="error")
    with pytest.raises(RecordingError, match=f"several types, which {type(step).__name__} would mix; pick one type"):
        step.fit(epochs)
    Rereference().fit(epochs.pick("eeg"))


def test_a_reference_needs_another_channel(rng):
    with pytest.raises(ValueError, match="ref_channels='average' of 1 channels leaves nothing"):
        Rereference().fit(array(rng)[:, :1])


def test_average_reference_ignores_missing_samples():
    data = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan], [8.0, 4.0, np.nan]])
    out = Rereference().fit_transform(Signals([data]))[0].data
    np.testing.assert_allclose(out[:, 0], [-3, -1, 4])
    np.testing.assert_allclose(out[[0, 2], 1], [-1, 1])
    assert np.isnan(out[1, 1])
    assert np.isnan(out[:, 2]).all()
    assert np.isnan(Rereference([1]).fit_transform(Signals([data]))[0].data[:, 1]).all()
    by_number = Rereference([0, 2]).fit_transform(Signals([data]))[0].data
    np.testing.assert_allclose(by_number[:, 0], [-3.5, -1.5, 3.5])


def test_interpolated_channels_equal_those_of_mne(rng):
    info = mne.create_info(NAMES, 250.0, "eeg")
    info.set_montage("biosemi64")
    epochs = mne.EpochsArray(array(rng), info, verbose="error")
    expected = epochs.copy()
    expected.info["bads"] = ["Pz"]
    expected = expected.interpolate_bads(verbose="error").get_data()
    np.testing.assert_allclose(InterpolateBads(["Pz"]).fit_transform(epochs), expected, rtol=1e-6)
    X = epochs.get_data().copy()
    X[1, 4] = np.nan
    given = Signals(X, sfreq=250, ch_names=NAMES)
    filled = InterpolateBads(montage="biosemi64").fit_transform(given).to_numpy()
    np.testing.assert_allclose(filled[1], expected[1], rtol=1e-6)
    np.testing.assert_array_equal(filled[0], X[0])
    with pytest.raises(RecordingError, match=r"montage='biosemi64' does not contain channels of X"):
        InterpolateBads(montage="biosemi64").fit(Signals(X, sfreq=250, ch_names=[*NAMES[:6], "ECG"]))
    for n_bad, n_interpolated in ((3, 3), (4, 0)):  # four good channels are needed
        X[0, :n_bad] = np.nan
        filled = InterpolateBads().fit(epochs).transform(signals(X))[0].data
        assert n_bad - np.isnan(filled).all(1).sum() == n_interpolated


def test_positions_are_those_of_the_montage_else_of_the_recording(rng, tmp_path):
    info = mne.create_info([*NAMES, "X1"], 250.0, "eeg")
    elsewhere = dict(zip(NAMES, 0.1 * rng.standard_normal((7, 3)), strict=True))
    info.set_montage(mne.channels.make_dig_montage(elsewhere, coord_frame="head"), on_missing="ignore")
    epochs = mne.EpochsArray(rng.standard_normal((2, 8, 500)), info, verbose="error")
    InterpolateBads().fit(epochs).save(tmp_path / "step.s4")
    loaded = InterpolateBads.load(tmp_path / "step.s4")  # a good channel needs no position
    np.testing.assert_array_equal(loaded.transform(epochs), epochs.get_data())
    with pytest.raises(RecordingError, match=r"channel 7 has no position. Pass a montage with all channels"):
        InterpolateBads(["X1"]).fit(epochs)
    epochs.pick(NAMES)
    standard = InterpolateBads(["Pz"], montage="biosemi64")
    plain = signals(epochs.get_data())
    np.testing.assert_allclose(standard.fit_transform(epochs), standard.fit_transform(plain))


def test_stream_interpolates_the_named_channels(rng):
    X = array(rng)
    step = InterpolateBads(["Pz"], montage="biosemi64").fit(signals(X))
    X[0, NAMES.index("Pz")] = np.nan
    stream = step.stream()
    parts = [stream.push(chunk) for chunk in np.split(X[0], 3, axis=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), step.transform(signals(X))[0].data)
