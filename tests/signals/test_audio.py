"""Audio files and labelled folders of them."""

import pickle
import sys

import numpy as np
import pytest

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Signal, Signals, read_audio, read_audio_folder

soundfile = pytest.importorskip("soundfile")

SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 2))


def write(path, n=800, sfreq=8000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, SOUND[:n, :channels], sfreq, subtype="FLOAT")
    return path


def test_samples_equal_those_in_the_file(tmp_path):
    signal = read_audio(write(tmp_path / "a.wav"))[0]
    np.testing.assert_allclose(signal.data[0], SOUND[:, 0], atol=1e-7)
    assert (signal.sfreq, signal.source, signal.data.dtype) == (8000, str(tmp_path / "a.wav"), np.float32)


def test_mono_averages_the_channels(tmp_path):
    path = write(tmp_path / "a.wav", channels=2)
    np.testing.assert_allclose(read_audio(path)[0].data[0], SOUND.mean(axis=1), atol=1e-7)
    np.testing.assert_allclose(read_audio(path, mono=False)[0].data, SOUND.T, atol=1e-7)


def test_files_are_not_read_until_a_case_is_accessed(tmp_path):
    paths = [write(tmp_path / f"{n}.wav", n) for n in (100, 200, 300)]
    signals = Signals.from_files(paths)
    assert repr(signals) == "Signals: 3 cases × 1 channel, 100–300 samples, 8000 Hz (0.0125–0.0375 s)"
    assert not any(isinstance(case, Signal) for case in signals[[2, 0]].cases)
    paths[1].unlink()
    assert signals[2].length == 300
    with pytest.raises(RecordingError, match=r"200\.wav cannot be read"):
        signals[1]


def test_a_file_that_shrinks_after_opening_is_refused(tmp_path):
    signals = read_audio(write(tmp_path / "a.wav"))
    write(tmp_path / "a.wav", 100)
    with pytest.raises(RecordingError, match="ends after 100 of 800 samples"):
        signals[0]


def test_a_segment_is_decoded_without_the_rest(tmp_path):
    part = read_audio(write(tmp_path / "a.wav")).cases[0].crop(100, 300).crop(10, 20).load()
    np.testing.assert_allclose(part.data[0], SOUND[110:120, 0], atol=1e-7)
    assert part.first_sample == 110


def test_lazy_files_know_their_length_after_resampling(tmp_path):
    signals = read_audio([write(tmp_path / "a.wav", sfreq=8000), write(tmp_path / "b.wav", 333, 11025)], sfreq=4000)
    assert signals.sfreq == 4000
    assert signals.lengths.tolist() == [400, 121] == [signal.length for signal in signals]
    assert len(pickle.dumps(signals)) < 1000 + 4 * len(str(tmp_path))
    assert pickle.loads(pickle.dumps(signals)) == signals


def test_a_wav_without_a_length_is_read_completely(tmp_path):
    path = write(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert read_audio(path)[0].length == 800


def test_missing_soundfile_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[audio\]"):
        read_audio("a.wav")


def test_each_folder_is_a_class(tmp_path):
    for name in ("no/b.wav", "no/deep/a.wav", "yes/a.wav"):
        write(tmp_path / name)
    (tmp_path / "no" / "notes.txt").write_text("not audio")
    signals, y, groups = read_audio_folder(tmp_path)
    assert y.tolist() == ["no", "no", "yes"]
    assert groups.tolist() == list(signals.sources)


@pytest.mark.parametrize(
    "pattern",
    ["{label}_{group}_{take}.wav", r"(?P<label>\d+)_(?P<group>[a-z]+)_\d+\.wav", "set/{label}_{group}_{take}.wav"],
)
def test_a_pattern_names_label_and_group(tmp_path, pattern):
    for name in ("3_ann_0", "3_bob_1", "11_ann_12"):
        write(tmp_path / "set" / f"{name}.wav")
    _, y, groups = read_audio_folder(tmp_path, pattern=pattern)
    assert y.tolist() == ["11", "3", "3"]
    assert groups.tolist() == ["ann", "ann", "bob"]


def test_files_that_do_not_match_the_pattern_are_skipped_with_a_warning(tmp_path):
    write(tmp_path / "a-x.wav")
    write(tmp_path / "noise.wav")
    with pytest.warns(UserWarning, match=r"1 of 2 files are left out, .*noise\.wav does not follow pattern="):
        _, y, groups = read_audio_folder(tmp_path, pattern="{label}-{take}.wav")
    assert y.tolist() == ["a"]
    assert groups.tolist() == [str(tmp_path / "a-x.wav")]


def test_a_manifest_keeps_its_order(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.wav")
    (tmp_path / "index.csv").write_text("word,file,who\nup,c.wav,ann\ndown,a.wav,bob\n")
    signals, y, groups = read_audio_folder(
        tmp_path, manifest="index.csv", path_column="file", label_column="word", group_column="who"
    )
    assert [source[-5:] for source in signals.sources] == ["c.wav", "a.wav"]
    assert (y.tolist(), groups.tolist()) == (["up", "down"], ["ann", "bob"])


def test_a_group_column_called_group_is_found(tmp_path):
    write(tmp_path / "a.wav")
    (tmp_path / "index.csv").write_text("path,label,group\na.wav,up,ann\n")
    assert read_audio_folder(tmp_path, manifest=tmp_path / "index.csv")[2].tolist() == ["ann"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("file,label\na.wav,up\n", "has no column path; it has file, label"),
        ("path,label\na.wav,\n", "row 2, column label is empty. Leave the row out"),
        ("path,label\n", "lists no file"),
        ("path,label\ngone.wav,up\n", "gone.wav does not exist"),
        (None, "index.csv does not exist"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path, manifest, message):
    write(tmp_path / "a.wav")
    if manifest is not None:
        (tmp_path / "index.csv").write_text(manifest)
    with pytest.raises(RecordingError, match=message):
        read_audio_folder(tmp_path, manifest="index.csv")


def test_different_rates_are_refused_without_sfreq(tmp_path):
    a, b = write(tmp_path / "x" / "a.wav"), write(tmp_path / "x" / "b.wav", sfreq=16000)
    with pytest.raises(RecordingError, match=f"{a} is sampled at 8000 Hz and {b} at 16000 Hz. Pass sfreq="):
        read_audio_folder(tmp_path)
    assert read_audio_folder(tmp_path, sfreq=8000)[0].sfreq == 8000


def test_different_numbers_of_channels_are_refused_unless_averaged(tmp_path):
    write(tmp_path / "x" / "a.wav")
    write(tmp_path / "x" / "b.wav", channels=2)
    with pytest.raises(RecordingError, match=r"has 1 channels and .*b\.wav has 2. Pass mono=True"):
        read_audio_folder(tmp_path, mono=False)
    assert read_audio_folder(tmp_path)[0].n_channels == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, RecordingError, r"a\.wav is in no class folder"),
        ({"pattern": "{label}-{take}.wav"}, RecordingError, r"no file .* follows pattern=.*one of them is a\.wav"),
        ({"pattern": "{take}.wav"}, ValueError, "has no label. Write it like"),
        ({"pattern": "(?P<label>"}, ValueError, "is not a regular expression"),
        ({"pattern": "{label}.wav", "manifest": "index.csv"}, ValueError, "both passed; choose one"),
    ],
)
def test_folders_without_labels_are_refused(tmp_path, options, error, message):
    write(tmp_path / "a.wav")
    with pytest.raises(error, match=message):
        read_audio_folder(tmp_path, **options)


def test_unreadable_files_are_skipped_on_request(tmp_path):
    for name in ("yes/a.wav", "yes/b.wav", "no/c.wav"):
        write(tmp_path / name)
    (tmp_path / "no/a.wav").write_bytes(b"RIFF and nothing else")
    with pytest.raises(RecordingError, match=r"a\.wav cannot be read as audio .*on_error=\"skip\" leaves"):
        read_audio_folder(tmp_path)
    with pytest.warns(UserWarning, match=r"1 of 4 files are left out, the first: .*a\.wav cannot be read"):
        signals, y, groups = read_audio_folder(tmp_path, on_error="skip")
    assert (len(signals), y.tolist(), len(groups)) == (3, ["no", "yes", "yes"], 3)
    with pytest.raises(ValueError, match="on_error='warn' is unknown"):
        read_audio_folder(tmp_path, on_error="warn")


def test_a_folder_without_a_readable_file_is_refused(tmp_path):
    write(tmp_path / "yes/a.wav").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"a\.wav is empty"):
        read_audio_folder(tmp_path, on_error="skip")


def test_folders_without_audio_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="holds no audio file"):
        read_audio_folder(tmp_path)
    with pytest.raises(RecordingError, match="is not a folder"):
        read_audio_folder(tmp_path / "gone")


def without_first_frame(path):
    """Return the mp3 without the frame that gives its length."""
    content = path.read_bytes()
    version, kbit, hertz, padding = content[1] >> 3 & 3, content[2] >> 4, content[2] >> 2 & 3, content[2] >> 1 & 1
    assert version in (2, 3)
    rates = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000)}[version]
    table = {
        3: [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        2: [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    }[version]
    size = (144 if version == 3 else 72) * table[kbit] * 1000 // rates[hertz] + padding
    assert b"Info" in content[:size] or b"Xing" in content[:size]
    return content[size:]


@pytest.mark.parametrize("sfreq", [16000, 44100])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("before", [b"", b"ID3\x04\x00\x00\x00\x00\x02\x05" + b"title" * 52 + b"\xff"])
def test_an_mp3_without_a_length_is_read_completely(tmp_path, sfreq, mode, channels, before):
    seconds = np.arange(5 * sfreq) / sfreq
    sound = 0.3 * np.sin(2 * np.pi * 300 * seconds) * (np.sin(2 * np.pi * 0.7 * seconds) > 0)
    whole = tmp_path / "whole.mp3"
    soundfile.write(whole, np.stack([sound] * channels, 1), sfreq, bitrate_mode=mode, compression_level=0.5)
    (tmp_path / "bare.mp3").write_bytes(before + without_first_frame(whole))
    signals, expected = read_audio(tmp_path / "bare.mp3"), read_audio(whole)[0]
    assert abs(signals.lengths[0] / sfreq - 5) < 0.2
    # The removed frame also gives the number of samples that the encoder adds at the start.
    data = signals[0].data[:, 576:]
    np.testing.assert_allclose(data[:, : expected.length], expected.data, atol=1e-5)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("ending", ["mp3", "bare.mp3", "ogg", "flac", "gsm.wav"])
def test_a_segment_of_a_file_equals_that_of_the_whole(tmp_path, rng, mode, ending):
    seconds = np.arange(48000) / 16000
    sound = 0.3 * np.sin(2 * np.pi * 300 * seconds) * (np.sin(2 * np.pi * 0.7 * seconds) > 0)
    options = {"bitrate_mode": mode, "compression_level": 0.5} if "mp3" in ending else {}
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, sound, 16000, **options | ({"subtype": "GSM610"} if "gsm" in ending else {}))
    if "bare" in ending:
        path.write_bytes(without_first_frame(path))
    signals = read_audio(path)
    for start, stop in np.sort(rng.integers(0, 48000, (5, 2)), axis=1) + np.array([0, 1]):
        part = signals.cases[0].crop(int(start), int(stop)).load()
        np.testing.assert_array_equal(part.data, signals[0].data[:, start:stop])
        assert part.first_sample == start


def test_a_truncated_mp3_is_refused(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, SOUND[:, 0].repeat(40), 16000)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(RecordingError, match=r"a\.mp3 cannot be read as audio \(it is incomplete"):
        read_audio(path)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_truncated_ogg_is_refused(tmp_path, as_bytes):
    path = tmp_path / "a.ogg"
    soundfile.write(path, SOUND[:, 0].repeat(40), 16000)
    assert read_audio(path)[0].length == 40 * len(SOUND)
    path.write_bytes(content := path.read_bytes()[:-50])
    with pytest.raises(RecordingError, match="it is incomplete"):
        Signals([{"bytes": content, "path": None}]) if as_bytes else read_audio(path)
