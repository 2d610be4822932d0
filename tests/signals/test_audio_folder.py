"""Every file of a folder of labelled audio is read or reported."""

import os
import pickle

import numpy as np
import pytest

from s4signal.errors import RecordingError
from s4signal.signals import Signals, read_audio, read_audio_folder
from s4signal.signals.checks import compile_pattern

soundfile = pytest.importorskip("soundfile")

SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 2))


def write(path, data=SOUND[:, 0], **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, data, 8000, **({"subtype": "FLOAT"} if path.suffix == ".wav" else {}) | options)
    return path


def test_a_class_folder_may_be_a_link(tmp_path):
    write(tmp_path / "elsewhere" / "a.wav")
    write(tmp_path / "root" / "no" / "a.wav")
    (tmp_path / "root" / "yes").symlink_to(tmp_path / "elsewhere")
    assert read_audio_folder(tmp_path / "root").y.tolist() == ["no", "yes"]


def test_classes_may_have_names_of_parts(tmp_path):
    for name in ("car", "test", "train"):
        write(tmp_path / name / "a.wav")
    data = read_audio_folder(tmp_path)
    assert (data.y.tolist(), data.splits) == (["car", "test", "train"], None)


def test_a_repeated_field_of_a_pattern_is_the_same_text():
    expression = compile_pattern("{label}/{label}_{take}.wav")
    assert expression.fullmatch("no/no_1.wav")["take"] == "1"
    assert expression.fullmatch("no/yes_1.wav") is None


@pytest.mark.parametrize("target", [".", ".."])
def test_a_circular_link_is_skipped_with_a_warning(tmp_path, target):
    write(tmp_path / "root" / "no" / "a.wav")
    write(tmp_path / "root" / "yes" / "a.wav")
    (tmp_path / "root" / "yes" / "again").symlink_to(target)
    with pytest.warns(UserWarning, match=r"again is a link to"):
        data = read_audio_folder(tmp_path / "root")
    assert data.y.tolist() == ["no", "yes"]
    (tmp_path / "root" / "yes" / "again").unlink()
    (tmp_path / "root" / "yes" / "again").symlink_to(tmp_path)  # holds only files that were read
    assert read_audio_folder(tmp_path / "root").y.tolist() == ["no", "yes"]


def test_folders_that_link_to_each_other_are_read_once(tmp_path):
    for a, b in (("a", "b"), ("b", "a")):
        write(tmp_path / a / f"{a}.wav")
        (tmp_path / a / "other").symlink_to(tmp_path / b)
    with pytest.warns(UserWarning, match="other is a link to"):
        data = read_audio_folder(tmp_path)
    assert data.y.tolist() == ["a", "b"]
    assert len(data.skipped) == 2


def test_a_linked_file_is_one_case_of_one_class(tmp_path):
    write(tmp_path / "yes" / "b.wav")
    (tmp_path / "yes" / "a.wav").symlink_to(tmp_path / "yes" / "b.wav")
    with pytest.warns(UserWarning, match=r"a\.wav is the same file as .*b\.wav"):
        assert read_audio_folder(tmp_path).signals.sources == (str(tmp_path / "yes" / "b.wav"),)
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / "c.wav").symlink_to(tmp_path / "yes" / "b.wav")
    with pytest.raises(RecordingError, match=r"c\.wav is the same file as .*labels differ \(no, yes\). Remove one"):
        read_audio_folder(tmp_path)


def test_a_broken_link_is_refused(tmp_path):
    write(tmp_path / "yes" / "b.wav")
    (tmp_path / "yes" / "a.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(RecordingError, match=r"a\.wav does not exist"):
        read_audio_folder(tmp_path)


@pytest.mark.parametrize("ending", ["w64", "au", "caf", "opus"])
def test_all_formats_of_libsndfile_are_found(tmp_path, ending):
    write(tmp_path / "no" / "a.wav")
    options = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
    write(tmp_path / "yes" / f"a.{ending}", **options)
    assert read_audio_folder(tmp_path).y.tolist() == ["no", "yes"]


def test_a_class_without_known_audio_is_reported(tmp_path):
    write(tmp_path / "no" / "a.wav")
    (tmp_path / "yes").mkdir()
    for name in ("a.dsf", "b.dsf"):
        (tmp_path / "yes" / name).write_bytes(b"sound")
    with pytest.warns(UserWarning, match=r"yes holds no recording of a known kind, only 2 other files \(\.dsf\)"):
        data = read_audio_folder(tmp_path)
    assert "other files: 2 .dsf" in repr(data)


@pytest.mark.parametrize("order", ["{part}/{label}", "{label}/{part}"])
@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "dev"), ("train",)])
def test_parts_of_a_data_set_are_not_labels(tmp_path, parts, order):
    for part in parts:
        for label in ("no", "yes"):
            write(tmp_path / order.format(part=part, label=label) / f"{part}.wav")
    data = read_audio_folder(tmp_path)
    assert sorted(set(data.y)) == ["no", "yes"]
    assert sorted(set(data.splits)) == sorted(parts)
    assert f"parts: {', '.join(f'{part} 2' for part in sorted(parts))}" in repr(data)
    one = read_audio_folder(tmp_path, split=parts[0])
    assert one.splits.tolist() == [parts[0]] * 2
    assert [os.path.basename(source) for source in one.signals.sources] == [f"{parts[0]}.wav"] * 2
    with pytest.raises(ValueError, match=r"split='other' is unknown; there are "):
        read_audio_folder(tmp_path, split="other")


def test_parts_without_class_folders_are_refused(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / part / "a.wav")
    with pytest.raises(RecordingError, match=r"a\.wav is in no class folder. Sort the files as .*/test/<class>"):
        read_audio_folder(tmp_path)


@pytest.mark.parametrize(
    ("folders", "message", "labels", "parts"),
    [
        (
            ("yes/train", "yes/test", "no/train", "no"),
            r"no/a\.wav is in no part of the data set. Sort .*/<class>/test/<file>",
            ["no", "yes", "yes"],
            ["train", "test", "train"],
        ),
        (
            ("train/yes", "train/no", "test/yes", "extra"),
            r"extra/a\.wav is in no class folder.*/test/<class>/<file>",
            ["yes", "no", "yes"],
            ["test", "train", "train"],
        ),
        (
            ("train/yes", "train/no", "test/yes", "extra/no"),
            r"extra/no/a\.wav is in no class folder.*/test/<class>/<file>",
            ["yes", "no", "yes"],
            ["test", "train", "train"],
        ),
    ],
    ids=["a file beside the parts of a class", "a folder beside the parts", "classes beside the parts"],
)
def test_files_outside_the_parts_are_refused(tmp_path, folders, message, labels, parts):
    for folder in folders:
        write(tmp_path / folder / "a.wav")
    with pytest.raises(RecordingError, match=message):
        read_audio_folder(tmp_path)
    with pytest.warns(UserWarning, match="1 of 4 files are left out"):
        data = read_audio_folder(tmp_path, on_error="skip")
    assert (data.y.tolist(), data.splits.tolist()) == (labels, parts)


def test_a_speaker_with_the_name_of_a_part_is_not_a_part(tmp_path):
    for folder in ("yes/ann", "yes/dev", "no/ann"):
        write(tmp_path / folder / "a.wav")
    data = read_audio_folder(tmp_path)
    assert (data.y.tolist(), data.splits) == (["no", "yes", "yes"], None)


def test_a_label_with_the_name_of_a_part_is_not_a_part(tmp_path):
    for label in ("test", "cat"):
        write(tmp_path / label / "a.wav")
    data = read_audio_folder(tmp_path)
    assert (data.y.tolist(), data.splits) == (["cat", "test"], None)
    with pytest.raises(ValueError, match="the data set defines no parts"):
        read_audio_folder(tmp_path, split="test")


def test_spaces_around_the_name_of_a_class_are_ignored(tmp_path):
    for folder in ("yes", "yes ", "no"):
        write(tmp_path / folder / f"{len(folder)}.wav")
    assert read_audio_folder(tmp_path).y.tolist() == ["no", "yes", "yes"]
    write(tmp_path / "  " / "a.wav")
    with pytest.raises(RecordingError, match=r"a\.wav is in no class folder with a name"):
        read_audio_folder(tmp_path)


def test_speech_commands_are_read_as_published(tmp_path):
    for name in (
        "no/ann_nohash_0",
        "no/bob_nohash_0",
        "yes/ann_nohash_1",
        "yes/eve_nohash_0",
        "_background_noise_/hum",
    ):
        write(tmp_path / f"{name}.wav")
    (tmp_path / "validation_list.txt").write_text("no/bob_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("yes/eve_nohash_0.wav\n")
    data = read_audio_folder(tmp_path)
    assert data.y.tolist() == ["no", "no", "yes", "yes"]
    assert data.groups.tolist() == ["ann", "bob", "ann", "eve"]
    assert data.splits.tolist() == ["train", "validation", "train", "test"]
    assert read_audio_folder(tmp_path, split="test").groups.tolist() == ["eve"]
    assert repr(data).splitlines()[1:] == [
        "2 labels: no 2, yes 2",
        "3 groups of 1–2 cases",
        "parts: test 1, train 2, validation 1",
        "ignored: _background_noise_: 1 files of noise",
        "ignored: other files: 2 .txt",
    ]


def test_missing_files_of_a_list_are_reported(tmp_path):
    write(tmp_path / "no/ann_nohash_0.wav")
    (tmp_path / "testing_list.txt").write_text("no/ann_nohash_0.wav\nno/gone_nohash_0.wav\n")
    with pytest.warns(UserWarning, match=r"testing_list\.txt lists 1 files that do not exist, such as no/gone"):
        assert read_audio_folder(tmp_path).splits.tolist() == ["test"]


def test_an_empty_label_is_refused_or_skipped(tmp_path):
    write(tmp_path / "_ann.wav")
    write(tmp_path / "yes_bob.wav")
    pattern = r"(?P<label>[a-z]*)_(?P<group>[a-z]+)\.wav"
    with pytest.raises(RecordingError, match=r"_ann\.wav has an empty label with pattern"):
        read_audio_folder(tmp_path, pattern=pattern)
    with pytest.warns(UserWarning, match="1 of 2 files are left out"):
        assert read_audio_folder(tmp_path, pattern=pattern, on_error="skip").y.tolist() == ["yes"]


def test_names_keep_spaces_and_both_unicode_forms_of_accents(tmp_path):
    write(tmp_path / "caf\u00e9 au lait" / "l'e\u0301te\u0301 1.wav")
    write(tmp_path / "nai\u0308ve" / "\u00fc.wav")
    assert read_audio_folder(tmp_path).y.tolist() == ["caf\u00e9 au lait", "na\u00efve"]


def test_hidden_files_are_ignored(tmp_path):
    write(tmp_path / "yes" / "a.wav")
    for name in ("yes/._a.wav", "__MACOSX/yes/a.wav", ".cache/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert len(read_audio_folder(tmp_path).signals) == 1


def broken(folder):
    """Write files that cannot be read and files whose samples fit refuses."""
    infinite, missing = SOUND[:, 0].copy(), np.full(800, np.nan)
    infinite[7] = np.inf
    flac = write(folder / "flac.flac", SOUND[:, 0].repeat(50))
    content = bytearray(flac.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = b"\0" * 2000
    flac.write_bytes(content)
    write(folder / "inf.wav", infinite)
    write(folder / "nan.wav", missing)
    write(folder / "antiphase.wav", SOUND[:, :1] * [1, -1])
    (folder / "text.wav").write_text("no sound")
    (folder / "empty.wav").write_bytes(b"")


def test_files_that_fit_would_refuse_are_skipped_and_listed(tmp_path):
    for name in ("yes/a", "yes/b", "no/a"):
        write(tmp_path / f"{name}.wav")
    broken(tmp_path / "no")
    with pytest.warns(UserWarning, match=r"6 of 9 files are left out, the first: .*antiphase\.wav"):
        data = read_audio_folder(tmp_path, on_error="skip")
    assert data.y.tolist() == ["no", "yes", "yes"]
    assert all(np.isfinite(signal.data).all() for signal in data.signals)
    assert [os.path.basename(path) for path, _ in data.skipped] == [
        "antiphase.wav", "empty.wav", "flac.flac", "inf.wav", "nan.wav", "text.wav",
    ]  # fmt: skip
    reasons = dict(data.skipped)
    assert "infinity" in reasons[str(tmp_path / "no" / "inf.wav")]
    assert "cancel each other" in reasons[str(tmp_path / "no" / "antiphase.wav")]


def test_readers_of_lists_skip_files_and_sources_list_the_rest(tmp_path):
    write(tmp_path / "a.wav")
    broken(tmp_path)
    paths = sorted(tmp_path.iterdir())
    with pytest.warns(UserWarning, match="6 of 7 files are left out"):
        assert read_audio(paths, on_error="skip").sources == (str(tmp_path / "a.wav"),)
    with pytest.raises(RecordingError, match=r"empty\.wav is empty"):
        Signals.from_files(paths)
    with pytest.raises(RecordingError, match=r"none of 1 files can be used; the first: .*is empty"):
        read_audio(tmp_path / "empty.wav", on_error="skip")
    with pytest.raises(ValueError, match="on_error='ignore' is unknown; choose one of 'raise', 'skip'"):
        read_audio(paths, on_error="ignore")


def test_averaging_channels_that_cancel_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", SOUND[:, :1] * [1, -1] + 0.1)  # plus an offset
    with pytest.raises(RecordingError, match=r"a\.wav has channels that cancel each other.*Pass mono=False"):
        read_audio(path)[0]
    assert read_audio(path, mono=False)[0].n_channels == 2
    for coder in ({"format": "OGG"}, {"subtype": "IMA_ADPCM"}, {"subtype": "PCM_U8"}):  # lossy, so a residual remains
        wave = np.sin(np.arange(8000) * [[0.1], [0.33]]).sum(0)[:, None] * [0.2, -0.2]
        soundfile.write(tmp_path / "b.snd", wave, 8000, **{"format": "WAV"} | coder)
        with pytest.raises(RecordingError, match="channels that cancel each other"):
            read_audio(tmp_path / "b.snd")[0]
    assert not read_audio(write(tmp_path / "silent.wav", np.zeros((800, 2))))[0].data.any()


def test_labelled_signals_unpack_as_a_triple_and_pickle_completely(tmp_path):
    write(tmp_path / "yes" / "a.wav")
    data = read_audio_folder(tmp_path)
    signals, y, groups = data
    assert (len(signals), len(y), len(groups)) == (1, 1, 1)
    copy = pickle.loads(pickle.dumps(data))
    assert (copy.y.tolist(), copy.skipped, repr(copy)) == (data.y.tolist(), (), repr(data))
