"""Every kind of damaged recording is reported in one clear line."""

import numpy as np
import pytest
import recording_files as files
from sklearn.model_selection import GroupKFold, cross_val_score

from s4signal import S4RidgeClassifier, Signals, read_eeg
from s4signal.errors import RecordingError
from s4signal.signals import epochs_from_events

mne = pytest.importorskip("mne")


def recording():
    info = mne.create_info(list(files.NAMES), files.SFREQ, "eeg")
    raw = mne.io.RawArray(files.DATA, info, verbose="error")
    return raw.set_annotations(mne.Annotations([1.0], [0.5], ["rest"]))


def edf(folder, change=lambda content: content, name="a.edf"):
    path = files.write_edf(folder / name)
    path.write_bytes(change(path.read_bytes()))
    return path


def field(start, text):
    """Return a function that replaces a field of the header."""
    return lambda content: content[:start] + text.ljust(8).encode() + content[start + 8 :]


def as_bdf(folder):
    path = files.write_edf(folder / "a.edf")
    return path.rename(folder / "a.bdf")


def as_fif(folder):
    return files.write_edf(folder / "a.edf").rename(folder / "a_raw.fif")


def saved(folder, name, save):
    save(folder / name)
    return folder / name


def epochs():
    return mne.make_fixed_length_epochs(recording(), 1.0, preload=True, verbose="error")


def text(folder, name, content="1,2\n3,4\n"):
    (folder / name).write_text(content)
    return folder / name


def hypnogram(folder):
    """EDF+ with annotations only, as sleep archives have for each night."""
    fields = [
        ("0", 8), ("X X X X", 80), ("Startdate X X X X", 80), ("01.01.20", 8), ("00.00.00", 8), ("512", 8),
        ("EDF+C", 44), ("1", 8), ("0", 8), ("1", 4), ("EDF Annotations", 16), ("", 80), ("", 8), ("-1", 8), ("1", 8),
        ("-32768", 8), ("32767", 8), ("", 80), ("60", 8), ("", 32),
    ]  # fmt: skip
    marks = b"+0\x14\x14\x00+0\x1530\x14Sleep stage W\x14\x00".ljust(120, b"\x00")
    path = folder / "night-Hypnogram.edf"
    path.write_bytes("".join(value.ljust(width) for value, width in fields).encode() + marks)
    return path


def brainvision(folder, change):
    path = files.write_brainvision(folder / "a.vhdr")
    change(folder / "a.eeg")
    return path


def bad_channels(folder):
    raw = recording()
    raw.info["bads"] = list(files.NAMES)
    return saved(folder, "a_raw.fif", lambda path: raw.save(path, verbose="error"))


BAD = {
    "cut": (lambda f: edf(f, lambda b: b[:-77]), r"a\.edf is incomplete .*incomplete='warn'"),
    "empty": (lambda f: edf(f, lambda b: b""), r"a\.edf is empty \(0 bytes\)"),
    "random": (
        lambda f: edf(f, lambda b: np.random.default_rng(0).bytes(3000)),
        r"a\.edf cannot be read as a recording",
    ),
    "no samples": (
        lambda f: edf(f, lambda b: field(236, "0")(b)[:768]),
        r"a\.edf (is incomplete|holds no samples|cannot)",
    ),
    "too many records in the header": (lambda f: edf(f, field(236, "9")), r"a\.edf is incomplete"),
    "too many channels in the header": (lambda f: edf(f, field(252, "99")), r"a\.edf cannot be read as a recording"),
    "records of no length": (lambda f: edf(f, field(244, "0")), r"a\.edf is incomplete .*incorrect for record length"),
    "EDF called BDF": (as_bdf, r"a\.bdf has the content of EDF\. Change its extension to \.edf"),
    "EDF called FIF": (as_fif, r"a_raw\.fif cannot be read as a recording.*extension must give its format"),
    "epochs": (
        lambda f: saved(f, "a-epo.fif", lambda path: epochs().save(path, verbose="error")),
        r"It holds epochs, not a recording: pass mne\.read_epochs\(path\) to fit",
    ),
    "averages": (
        lambda f: saved(f, "a-ave.fif", lambda path: epochs().average().save(path, verbose="error")),
        "It holds averages. Pass the recording",
    ),
    "events": (
        lambda f: saved(f, "a-eve.fif", lambda path: mne.write_events(path, epochs().events)),
        "It holds events: read the recording, and pass this to epochs_from_events",
    ),
    "annotations": (
        lambda f: saved(f, "a-annot.fif", lambda path: recording().annotations.save(path, verbose="error")),
        "It holds annotations and no signal. Pass the recording they belong to",
    ),
    "annotations as text": (
        lambda f: text(f, "a.csv", "onset,duration,description\n1,2,x\n"),
        "annotations and no signal",
    ),
    "hypnogram": (hypnogram, r"night-Hypnogram\.edf holds annotations and no signal\. Pass the recording"),
    "CSV": (lambda f: text(f, "a.csv"), r"a\.csv cannot be .* read by s4signal\.signals\.read_csv, or by read_events"),
    "sound": (lambda f: text(f, "a.wav"), r"Audio is read by s4signal\.read_audio"),
    "WFDB": (lambda f: text(f, "a.hea"), r"WFDB records are read by s4signal\.signals\.read_wfdb"),
    "array": (lambda f: text(f, "a.npy"), r"Pass the array itself: Signals\(numpy\.load\(path\), sfreq="),
    "MATLAB": (
        lambda f: text(f, "a.mat"),
        r"Pass the array itself: Signals\(scipy\.io\.loadmat\(path\)\[name\], sfreq=",
    ),
    "markers": (
        lambda f: brainvision(f, lambda p: None).with_suffix(".vmrk"),
        r"For BrainVision pass the header file, \.vhdr",
    ),
    "BrainVision truncated between samples": (
        lambda f: brainvision(f, lambda p: p.write_bytes(p.read_bytes()[:-800])),
        r"a\.vhdr is incomplete \(Omitted",
    ),
    "BrainVision truncated within a sample": (
        lambda f: brainvision(f, lambda p: p.write_bytes(p.read_bytes()[:-3])),
        r"a\.vhdr is incomplete \(a\.eeg has .* bytes",
    ),
    "BrainVision without its data": (
        lambda f: brainvision(f, lambda p: p.unlink()),
        r"needs .*a\.eeg.*, which does not exist",
    ),
    "missing file": (lambda f: f / "b.edf", r"b\.edf does not exist\. Check the path"),
    "bad channels": (bad_channels, r"has no eeg channel that is not marked as bad\. Leave it out, or pass picks="),
}


@pytest.mark.parametrize("case", BAD)
def test_an_unreadable_recording_is_reported_in_one_line(tmp_path, case):
    make, message = BAD[case]
    with pytest.raises(RecordingError, match=message) as raised:
        read_eeg(make(tmp_path))
    assert len(str(raised.value).splitlines()) == 1


def test_a_fif_file_that_ends_early_is_read_as_far_as_possible(tmp_path):
    path = tmp_path / "a_raw.fif"
    recording().save(path, buffer_size_sec=0.5, verbose="error")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError, match=r"is incomplete \(only \d+ of \d+ samples.*\).*incomplete='warn'"):
        read_eeg(path)
    with pytest.warns(UserWarning, match="Incomplete recordings are read as far as possible"):
        part = read_eeg(path, incomplete="warn")[0].data
    assert 0.3 * files.DATA.shape[1] < part.shape[1] < 0.6 * files.DATA.shape[1]
    np.testing.assert_allclose(part, files.DATA[:, : part.shape[1]], rtol=1e-6)


def test_words_in_the_path_do_not_make_a_recording_incomplete(tmp_path):
    folder = tmp_path / "uncorrupted"
    folder.mkdir()
    recording().save(folder / "a.fif", verbose="error")  # MNE warns of this name, with the path
    np.testing.assert_allclose(read_eeg(folder / "a.fif")[0].data, files.DATA, rtol=1e-6)


def test_events_outside_a_recording_are_reported():
    signals = Signals(recording())
    with (
        pytest.warns(UserWarning, match="1 of 1 events reach outside the recording and are left out"),
        pytest.raises(RecordingError, match=r"no event with a code of event_id=None lies inside its recording"),
    ):
        epochs_from_events(signals, events=np.array([[9000, 0, 1]]), tmax=0.5)


def test_flat_channels_are_reported():
    X = np.random.default_rng(0).standard_normal((12, 2, 200))
    X[:, 1] = 3.0
    with pytest.warns(UserWarning, match=r"channel 1 \(Oz\) is flat in all training cases; it is ignored"):
        S4RidgeClassifier(n_oscillators=2).fit(Signals(X, sfreq=100, ch_names=files.NAMES), [0, 1] * 6)


def test_missing_labels_and_folds_of_one_class_are_refused():
    X = np.random.default_rng(0).standard_normal((12, 2, 200))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        S4RidgeClassifier(n_oscillators=2).fit(X, [0.0, np.nan] * 6)
    y, groups = [0] * 6 + [1] * 6, [0] * 6 + [1] * 6
    with pytest.raises(ValueError, match=r"y has 1 class \(.\).*fold of a cross-validation, use .*GroupKFold"):
        cross_val_score(S4RidgeClassifier(n_oscillators=2), X, y, groups=groups, cv=GroupKFold(2), error_score="raise")
