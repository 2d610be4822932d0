"""MNE Epochs and Raw keep their information as signals, and cases can be converted back to Epochs."""

import mne
import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score, train_test_split

from s4signal import S4RidgeClassifier, Signals
from s4signal.errors import RecordingError, ShapeError
from s4signal.estimators import check_leakage
from s4signal.signals import windows

__all__: list[str] = []

NAMES = ["C3", "Cz", "C4"]


def recording(rng, *, subject=None, n_times=3000, bads=()):
    info = mne.create_info(NAMES, 100.0, "eeg")
    raw = mne.io.RawArray(1e-5 * rng.standard_normal((3, n_times)), info, first_samp=500, verbose="error")
    raw.set_montage("biosemi32")
    raw.set_annotations(mne.Annotations([4.0, 8.1], [0.0, 0.5], ["left", "blink"]))
    raw.info["subject_info"] = None if subject is None else {"his_id": subject}
    raw.info["bads"] = list(bads)
    return raw


def trials(raw, n=10):
    samples = raw.first_samp + 200 * (1 + np.arange(n))
    events = np.column_stack([samples, np.zeros(n, int), 1 + np.arange(n) % 2])
    table = {"tone_hz": np.linspace(300, 400, n)}
    pandas = pytest.importorskip("pandas")
    names = {"left": 1, "right": 2}
    return mne.Epochs(
        raw, events, names, -0.2, 1.0, baseline=None, preload=True, metadata=pandas.DataFrame(table), verbose="error"
    )


def test_signals_keep_the_information_of_epochs(rng):
    epochs = trials(recording(rng, subject="s03"))
    signals = Signals(epochs)
    assert signals.metadata["event"].tolist() == ["left", "right"] * 5
    np.testing.assert_allclose(signals.metadata["tone_hz"], np.linspace(300, 400, 10))
    np.testing.assert_allclose(signals.metadata["tmin"], -0.2)
    assert set(signals.groups) == {"s03"}
    where = {channel["ch_name"]: channel["loc"][:3] for channel in epochs.info["chs"]}
    np.testing.assert_allclose(signals[0].positions, [where[name] for name in NAMES])
    blink = [(i, mark) for i, case in enumerate(signals) for mark in case.annotations if mark.description == "blink"]
    # The fourth trial begins 8 s - 0.2 s after the first sample, so the blink at 8.1 s is at 0.3 s in it.
    assert [i for i, _ in blink] == [3]
    assert blink[0][1].onset_s == pytest.approx(0.3)
    assert blink[0][1].duration_s == pytest.approx(0.5)


def test_epochs_survive_the_round_trip(rng):
    epochs = trials(recording(rng, subject="s03"))
    again = Signals(epochs).to_epochs()
    np.testing.assert_array_equal(again.get_data(), epochs.get_data())
    np.testing.assert_array_equal(again.events[:, 0], epochs.events[:, 0])
    assert [next(iter(again[i].event_id)) for i in range(10)] == ["left", "right"] * 5
    assert (again.tmin, again.ch_names, again.info["sfreq"]) == (epochs.tmin, NAMES, 100.0)
    assert again.get_channel_types() == ["eeg"] * 3
    assert again.info["subject_info"]["his_id"] == "s03"
    np.testing.assert_allclose(again.metadata["tone_hz"], epochs.metadata["tone_hz"])
    for got, expected in zip(again.info["chs"], epochs.info["chs"], strict=True):
        np.testing.assert_allclose(got["loc"][:3], expected["loc"][:3], atol=1e-9)
    assert Signals(again)[3].annotations == Signals(epochs)[3].annotations


def test_arrays_become_epochs_that_mne_can_use(rng):
    X = rng.standard_normal((4, 2, 500))
    epochs = Signals(X, sfreq=250, ch_names=["Oz", "O1"]).to_epochs()
    np.testing.assert_array_equal(epochs.get_data(), X)
    assert len(np.unique(epochs.events[:, 0])) == 4
    with pytest.raises(RecordingError, match=r"need a rate. Pass sfreq="):
        Signals(X).to_epochs()
    with pytest.raises(
        ShapeError, match=r"case 0 has 10 and case 1 has 20 samples. They cannot form one array: cut them"
    ):
        Signals([X[0, :, :10], X[1, :, :20]], sfreq=250).to_epochs()
    assert Signals(X, sfreq=250).to_epochs(ch_types=["eeg", "eog"]).get_channel_types() == ["eeg", "eog"]


def test_a_list_of_epochs_is_one_recording_each(rng):
    parts = [trials(recording(rng)) for _ in range(4)]
    signals = Signals(parts)
    groups, counts = np.unique(signals.groups, return_counts=True)
    assert len(groups) == 4
    assert (counts == 10).all()
    assert (Signals(parts).groups == signals.groups).all()
    assert len(np.unique(Signals(parts[:2]).groups)) == 2
    y = signals.metadata["event"]
    for train, test in GroupKFold(4).split(signals, y, signals.groups):
        assert not set(signals[train].groups) & set(signals[test].groups)
    scores = cross_val_score(
        S4RidgeClassifier(n_oscillators=4), signals, y, groups=signals.groups, cv=GroupKFold(4), error_score="raise"
    )
    assert len(scores) == 4


def test_trials_of_epochs_split_by_scikit_learn_are_one_recording(rng):
    train, _ = train_test_split(trials(recording(rng)), test_size=0.3, random_state=0)
    assert len(train) == 7
    assert len(set(Signals(train).groups)) == 1


def test_windows_of_epochs_are_grouped_by_recording_or_subject(rng):
    one, other = trials(recording(rng)), trials(recording(rng))
    cut, _, groups = windows(one, duration_s=0.5)
    assert len(cut) == 20
    assert len(set(groups)) == 1
    assert len(set(windows([one, other], duration_s=0.5)[2])) == 2
    named = [trials(recording(rng, subject="s03")), trials(recording(rng, subject="s03"))]
    assert set(windows(named, duration_s=0.5)[2]) == {"s03"}
    np.testing.assert_allclose([cut[0].metadata["tmin"], cut[1].metadata["tmin"]], [-0.2, 0.3])


def test_placeholder_names_are_not_subjects(rng):
    for placeholder in ("X", "0", "mne_anonymize", ""):
        assert "subject" not in Signals(recording(rng, subject=placeholder)).metadata


def test_a_raw_is_a_recording(rng, tmp_path):
    raw = recording(rng, subject="s03")
    alone = Signals(raw)
    np.testing.assert_array_equal(alone[0].data, raw.get_data())
    assert [mark.onset_s for mark in alone[0].annotations] == pytest.approx([4.0, 8.1])
    assert [mark.description for mark in alone[0].annotations] == ["left", "blink"]
    assert (alone.sfreq, alone.ch_names, alone[0].first_sample) == (100.0, tuple(NAMES), 500)
    raw.save(tmp_path / "s03_raw.fif", verbose="error")
    lazy = Signals([mne.io.read_raw_fif(tmp_path / "s03_raw.fif", verbose="error"), raw])
    np.testing.assert_allclose(lazy[0].data, raw.get_data(), rtol=1e-5)
    np.testing.assert_array_equal(lazy[1].data, raw.get_data())
    assert lazy.sources[0].endswith("s03_raw.fif")
    cut, _, groups = windows(recording(rng), duration_s=10)
    assert len(cut) == 3
    assert len(set(groups)) == 1


def test_a_model_can_be_fitted_to_raws(rng):
    raws = [recording(rng) for _ in range(6)]
    model = S4RidgeClassifier(n_oscillators=4).fit(raws, [0, 1] * 3)
    assert model.sfreq_ == 100.0
    assert model.predict(raws).shape == (6,)


def test_a_channel_that_is_bad_in_some_recordings_is_nan_there(rng):
    signals = Signals([recording(rng), recording(rng, bads=["Cz"])])
    assert signals.ch_names == tuple(NAMES)
    assert np.isnan(signals[1].data[1]).all()
    assert np.isfinite(signals[0].data).all()
    assert Signals(recording(rng, bads=["Cz"])).ch_names == ("C3", "C4")
    epochs = [trials(recording(rng)), trials(recording(rng, bads=["C3"]))]
    assert np.isnan(Signals(epochs)[12].data[0]).all()


def test_spectra_and_averages_are_refused(rng):
    epochs = trials(recording(rng))
    with pytest.raises(TypeError, match=r"EpochsSpectrum: its values are powers at frequencies.*Pass the Epochs"):
        Signals(epochs.compute_psd(verbose="error"))
    with pytest.raises(TypeError, match=r"X holds EvokedArray; recordings or trials are needed"):
        Signals(epochs.average())
    with pytest.raises(TypeError, match=r"mixes mne.Epochs or Raw with other things"):
        Signals([epochs, np.zeros((3, 100))])


def test_recordings_with_only_bad_channels_are_refused(rng):
    raw = recording(rng)
    raw.info["bads"] = list(raw.ch_names)
    for given in (raw, [recording(rng), raw], trials(raw)):
        with pytest.raises(RecordingError, match=r"all channels are marked as bad \(.*correct info\['bads'\]"):
            Signals(given)


def test_asarray_stacks_cases_and_shape_is_the_number_of_cases():
    signals = Signals(np.arange(24.0).reshape(4, 2, 3))
    assert (np.ndim(signals), signals.shape, np.asarray(signals).shape) == (1, (4,), (4, 2, 3))
    assert np.asarray(signals, dtype=np.float32).dtype == np.float32
    with pytest.raises(ShapeError, match="cannot form one array"):
        np.asarray(Signals([np.zeros(3), np.zeros(4)]))


def with_table(rng, table, n=10):
    epochs = trials(recording(rng), n)
    epochs.metadata = pytest.importorskip("pandas").DataFrame(table)
    return epochs


@pytest.mark.parametrize("numbers", [(0, 0, 1), (1.0, 1.0, 0.0), (False, False, True)])
def test_a_subject_of_number_zero_is_a_subject(rng, numbers):
    whole = Signals([with_table(rng, {"subject": [number] * 10}) for number in numbers])
    assert [len(set(whole.groups[part])) for part in (slice(0, 20), slice(20, 30), slice(0, 30))] == [1, 1, 2]


def test_an_unknown_subject_leaves_the_recording(rng):
    pandas = pytest.importorskip("pandas")
    for unknown in (None, np.nan, pandas.NA, pandas.NaT):
        signals = Signals(with_table(rng, {"subject": [unknown] * 5 + ["s1"] * 5}))
        assert signals.groups.tolist() == [signals.recordings[0]] * 5 + ["s1"] * 5


def test_a_table_does_not_say_when_and_at_which_event_a_trial_was_cut(rng):
    epochs = with_table(rng, {"event": ["x"] * 10, "tmin": ["early"] * 10, "side": [1] * 10})
    signals = Signals(epochs)
    assert signals.metadata["event"].tolist() == ["left", "right"] * 5
    assert signals[0].crop(20, 60).metadata["tmin"] == pytest.approx(0.0)
    assert signals.to_epochs().event_id == epochs.event_id
    assert signals.metadata["side"].tolist() == [1] * 10


def test_a_table_may_hold_arrays_and_texts_beside_numbers(rng):
    where = [np.arange(1 + i % 3) for i in range(10)]
    metadata = Signals(with_table(rng, {"where": where, "mixed": ["a", 1] * 5, "n": range(10)})).metadata
    for found, given in zip(metadata["where"], where, strict=True):
        np.testing.assert_array_equal(found, given)
    assert metadata["mixed"].tolist() == ["a", 1] * 5
    assert metadata["n"].dtype.kind == "i"


@pytest.mark.parametrize("slower", ["decim", "decimate", "resample"])
def test_trials_at_a_lower_rate_are_cut_at_the_same_seconds(rng, slower):
    raw = recording(rng)
    events = mne.make_fixed_length_events(raw, duration=0.5)  # of a second each: neighbours overlap
    decim = 4 if slower == "decim" else 1
    epochs = mne.Epochs(raw, events, tmin=-0.2, tmax=0.79, baseline=None, decim=decim, preload=True, verbose="error")
    if slower != "decim":
        getattr(epochs, slower)(4 if slower == "decimate" else 25.0, verbose="error")
    signals = Signals(epochs)
    seconds = [case.first_sample / signals.sfreq for case in signals]
    np.testing.assert_allclose(seconds, epochs.events[:, 0] / 100.0 - 0.2)
    overlaps = [
        leak for leak in check_leakage(signals, cv=[(np.arange(20), np.arange(20, 40))]) if leak.kind == "overlap"
    ]
    assert [leak.n_test for leak in overlaps] == [1]
    apart = check_leakage(signals, cv=[(np.arange(20), np.arange(22, 40))])
    assert {leak.kind for leak in apart} == {"group", "recording"}
    np.testing.assert_allclose(signals.to_epochs().events[:, 0] / 25.0, epochs.events[:, 0] / 100.0, atol=0.5 / 25)
