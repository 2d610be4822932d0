"""Interpretation of folders, manifests and files; invalid ones raise an error of one line before any work."""

import json
from pathlib import Path

import numpy as np
import pytest
from documents import QUICK

from s4signal.cli.data import Cases, read_cases
from s4signal.cli.demo import write_wave
from s4signal.cli.options import Reading
from s4signal.errors import RecordingError
from s4signal.signals import read_audio, read_audio_folder

__all__: list[str] = []

PATTERN = "{label}_{group}_{take}.wav"


def record(folder: Path, names: list[str], *, label: str = "") -> None:
    """Write raw EEG: two channels, two seconds at 100 Hz, with events if there is no label."""
    mne = pytest.importorskip("mne")
    folder.mkdir(parents=True, exist_ok=True)
    info = mne.create_info(["C3", "C4"], 100.0, "eeg")
    for i, name in enumerate(names):
        raw = mne.io.RawArray(1e-6 * np.random.default_rng(i).standard_normal((2, 200)), info, verbose="error")
        if not label:
            raw.set_annotations(mne.Annotations([0.2, 0.7, 1.2], 0.0, ["left", "right", "left"]))
        raw.save(folder / name, verbose="error")


def test_class_folders_give_labels_and_patterns_give_groups(tones: Path) -> None:
    by_folder, by_name = read_cases(tones, Reading()), read_cases(tones, Reading(pattern=PATTERN))
    assert by_folder.y is not None
    assert by_name.groups is not None
    assert by_folder.y.tolist() == (by_name.y.tolist() if by_name.y is not None else []) == ["high"] * 9 + ["low"] * 9
    assert by_folder.groups is None
    assert set(by_name.groups) == {"anna", "bert", "cleo"}
    assert by_folder.facts()["groups"].startswith("none known")
    assert by_name.facts()["groups"] == "3, never split"
    assert by_name.facts()["classes"] == "2: high (9), low (9)"
    for name in ("subject", "speaker"):  # as in `read_eeg` and in the columns of manifests
        other = read_cases(tones, Reading(pattern=PATTERN.replace("group", name)))
        assert other.split_by.tolist() == by_name.groups.tolist()


def test_manifest_is_found_in_its_folder(tones: Path, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "all"
    root.mkdir()
    for file in tones.rglob("*_0.wav"):
        (root / file.name).write_bytes(file.read_bytes())
    lines = [f"{p.name},{p.name.split('_')[0]},{p.name.split('_')[1]}" for p in sorted(root.glob("*.wav"))]
    (root / "index.csv").write_text("\n".join(["path,label,subject", *lines]))
    named = [Reading(), Reading(manifest=Path("index.csv")), Reading(manifest=Path("all/index.csv"))]
    monkeypatch.chdir(tmp_path)
    for path, how in [(root / "index.csv", Reading()), *((root, how) for how in named)]:
        cases = read_cases(path, how)
        assert cases.by == "column label of index.csv, groups in column subject"
        assert cases.split_by.tolist() == ["anna", "bert", "cleo"] * 2


def test_a_given_pattern_comes_before_a_manifest_and_files_without_it_can_be_skipped(tones: Path, tmp_path) -> None:
    (tmp_path / "lists").mkdir()
    for file in [*tones.rglob("*_0.wav"), tones / "low" / "low_anna_1.wav"]:
        (tmp_path / (file.name if "_0" in file.name else "noise.wav")).write_bytes(file.read_bytes())
    (tmp_path / "lists" / "index.csv").write_text("path,label\nlow_anna_0.wav,other")  # not in the folder itself
    assert read_cases(tmp_path, Reading()).y is None
    (tmp_path / "index.csv").write_text("path,label\nlow_anna_0.wav,other")
    assert read_cases(tmp_path, Reading()).labels.tolist() == ["other"]
    with pytest.raises(RecordingError, match=r"1 of 7 recordings do not follow --pattern .*: noise\.wav"):
        read_cases(tmp_path, Reading(pattern=PATTERN))
    with pytest.warns(UserWarning, match="1 of 7"):
        cases = read_cases(tmp_path, Reading(pattern=PATTERN, on_error="skip"))
    assert cases.labels.tolist() == ["high"] * 3 + ["low"] * 3


def test_eeg_in_class_folders_is_cut_into_windows_that_stay_together(tmp_path: Path) -> None:
    for label in ("rest", "task"):
        record(tmp_path / label, [f"{s}_raw.fif" for s in ("s1", "s2")], label=label)
    cases = read_cases(tmp_path, Reading(window=0.5))
    assert len(cases.X) == 16
    assert cases.y is not None
    assert cases.y.tolist() == ["rest"] * 8 + ["task"] * 8
    assert len(set(cases.split_by.tolist())) == 4
    assert cases.X.lengths.tolist() == [50] * 16


def test_eeg_with_events_is_cut_around_them(tmp_path: Path) -> None:
    record(tmp_path, ["s1_raw.fif", "s2_raw.fif"])
    cases = read_cases(tmp_path, Reading(tmax=0.3))
    assert cases.y is not None
    assert cases.y.tolist() == ["left", "right", "left"] * 2
    assert len(set(cases.split_by.tolist())) == 2
    alone = read_cases(tmp_path, Reading(tmax=0.3, event=["right"]))
    assert alone.y is not None
    assert set(alone.y) == {"right"}
    uncut = read_cases(tmp_path, Reading())
    assert "events: left (4), right (2)" in uncut.source
    with pytest.raises(RecordingError, match=r"events: left \(4\).*--tmax to cut around"):
        uncut.labelled()


def test_folders_are_subjects_for_eeg_with_events(tmp_path: Path) -> None:
    for subject in ("ann", "bob"):
        record(tmp_path / subject, ["1_raw.fif", "2_raw.fif"])
    cases = read_cases(tmp_path, Reading(tmax=0.3))
    assert cases.split_by.tolist() == ["ann"] * 6 + ["bob"] * 6
    assert cases.facts()["labels from"] == "events, 0 to 0.3 s after each; groups: folders"
    assert len(set(read_cases(tmp_path / "ann", Reading(tmax=0.3)).split_by.tolist())) == 2
    (tmp_path / "bob").rename(tmp_path / "ann" / "more")
    assert len(set(read_cases(tmp_path, Reading(tmax=0.3)).split_by.tolist())) == 4  # a single folder is not a subject


def test_unusable_eeg_is_skipped_on_request(tmp_path: Path) -> None:
    for label in ("rest", "task"):
        record(tmp_path / label, ["1_raw.fif", "2_raw.fif"], label=label)
    (tmp_path / "rest" / "1_raw.fif").write_bytes(b"?")
    with pytest.warns(UserWarning, match=r"1 of 4 files are left out, the first: .*1_raw.fif"):
        cases = read_cases(tmp_path, Reading(on_error="skip"))
    assert (cases.labels.tolist(), len(cases.skipped)) == (["rest", "task", "task"], 1)


def test_tables_give_cases_labels_and_groups(tmp_path: Path) -> None:
    rows = [f"{c},{'ab'[c % 2]},{'uv'[c // 2]},{0.1 * t:.1f},{c + t}" for c in range(4) for t in range(12)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["case,label,group,time,red", *rows]))
    cases = read_cases(path, Reading())
    assert (len(cases.X), cases.X.sfreq, cases.X.ch_names) == (4, 10.0, ("red",))
    assert cases.y is not None
    assert cases.y.tolist() == ["a", "b", "a", "b"]
    assert cases.split_by.tolist() == ["u", "u", "v", "v"]
    path.write_text("case,red\n0,1\n0,2\n1,3\n1,4\n")
    with pytest.raises(RecordingError, match=r"the channels red and no column kind: no label is known"):
        read_cases(path, Reading(label_column="kind")).labelled()


def test_regression_gives_numeric_targets(tmp_path: Path) -> None:
    path = tmp_path / "rates.ts"
    path.write_text("@targetlabel true\n@data\n1,2,3:60.5\n3,4,5:71\n")
    assert read_cases(path, Reading()).is_regression
    for label in ("60", "71.5"):
        (tmp_path / "audio" / label).mkdir(parents=True)
        write_wave(tmp_path / "audio" / label / "a.wav", np.zeros(100))
    cases = read_cases(tmp_path / "audio", Reading(regression=True))
    assert cases.y is not None
    assert cases.y.tolist() == [60.0, 71.5]
    (tmp_path / "audio" / "60").rename(tmp_path / "audio" / "sixty")
    with pytest.raises(RecordingError, match="--regression needs numeric labels: could not convert"):
        read_cases(tmp_path / "audio", Reading(regression=True))


def empty(folder: Path) -> tuple[Path, Reading]:
    return folder, Reading()


def missing(folder: Path) -> tuple[Path, Reading]:
    return folder / "nowhere", Reading()


def a_picture(folder: Path) -> tuple[Path, Reading]:
    (folder / "a.png").write_bytes(b"x")
    return folder / "a.png", Reading()


def half_sorted(folder: Path) -> tuple[Path, Reading]:
    (folder / "yes").mkdir()
    write_wave(folder / "yes" / "a.wav", np.zeros(9))
    write_wave(folder / "b.wav", np.zeros(9))
    return folder, Reading()


def two_kinds(folder: Path) -> tuple[Path, Reading]:
    write_wave(folder / "b.wav", np.zeros(9))
    (folder / "a.edf").write_bytes(b"x")
    return folder, Reading()


def wrong_name(folder: Path) -> tuple[Path, Reading]:
    write_wave(folder / "yes-ann.wav", np.zeros(9))
    return folder, Reading(pattern=PATTERN)


def no_field(folder: Path) -> tuple[Path, Reading]:
    write_wave(folder / "a.wav", np.zeros(9))
    return folder, Reading(pattern="{take}.wav")


def both(folder: Path) -> tuple[Path, Reading]:
    return folder, Reading(pattern=PATTERN, manifest=Path("index.csv"))


def manifest(folder: Path, text: str, **options: str) -> tuple[Path, Reading]:
    write_wave(folder / "a.wav", np.zeros(9))
    (folder / "index.csv").write_text(text)
    return folder, Reading(manifest=Path("index.csv"), **options)  # type: ignore[arg-type]


def other_columns(folder: Path) -> tuple[Path, Reading]:
    return manifest(folder, "file,class\na.wav,yes\n")


def other_columns_without_a_folder(folder: Path) -> tuple[Path, Reading]:
    folder, _ = manifest(folder, "file;class\na.wav;yes\n")
    return folder / "index.csv", Reading()


def two_groups(folder: Path) -> tuple[Path, Reading]:
    (folder / "samples.csv").write_text("case,label,group,red\na,x,u,1\na,x,u,2\nb,y,u,3\nb,y,v,4\n")
    return folder / "samples.csv", Reading(sfreq=8.0)


def other_groups(folder: Path) -> tuple[Path, Reading]:
    return manifest(folder, "path,label\na.wav,yes\n", group_column="speaker")


def no_rows(folder: Path) -> tuple[Path, Reading]:
    return manifest(folder, "path,label\n")


def no_label(folder: Path) -> tuple[Path, Reading]:
    return manifest(folder, "path,label\na.wav,\n")


def no_file(folder: Path) -> tuple[Path, Reading]:
    return manifest(folder, "path,label\nb.wav,yes\n")


def no_audio(folder: Path) -> tuple[Path, Reading]:
    return manifest(folder, "path,label\nindex.csv,yes\na.wav,no\n")


def several_ts(folder: Path) -> tuple[Path, Reading]:
    for part in ("TRAIN", "TEST"):
        (folder / f"a_{part}.ts").write_text("@data\n1,2\n")
    return folder, Reading()


def two_rates(folder: Path) -> tuple[Path, Reading]:
    soundfile = pytest.importorskip("soundfile")
    for name, sfreq in (("a", 8000), ("b", 16000)):
        (folder / name).mkdir()
        soundfile.write(folder / name / "x.wav", np.zeros(99), sfreq)
    return folder, Reading()


def events_and_labels(folder: Path) -> tuple[Path, Reading]:
    write_wave(folder / "yes_a.wav", np.zeros(9))
    return folder, Reading(tmax=1.0, pattern="{label}_{group}.wav")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "holds no recording"),
        (missing, "nowhere does not exist"),
        (a_picture, "no known extension of a recording"),
        (half_sorted, r"b\.wav is in no class folder\. Sort the files as .*/<class>/<file>"),
        (two_kinds, r"several kinds of recordings \(1 EEG, 1 audio\)"),
        (wrong_name, r"no file below .* follows pattern=.*; one of them is yes-ann\.wav"),
        (no_field, "has no label and no group. Write it like"),
        (both, "--manifest and --pattern were both given"),
        (other_columns, "has no column path; it has file, class. Pass the columns as --path-column"),
        (other_columns_without_a_folder, "has no column path; it has file, class. Pass the columns as --path-column"),
        (two_groups, "a case of column case has several groups in column group"),
        (other_groups, "has no column speaker; it has path, label"),
        (no_rows, "lists no file"),
        (no_label, r"index\.csv, row 2, column label is empty"),
        (no_file, r"row 2: .*b\.wav does not exist\. Paths are relative to"),
        (no_audio, r"must list recordings of one kind.*its files end in \.csv, \.wav"),
        (several_ts, r"holds 2 \.ts files; pass one of them"),
        (two_rates, r"x\.wav is sampled at 8000 Hz and .*x\.wav at 16000 Hz\. Pass sfreq= to resample"),
        (events_and_labels, "--tmax cuts around events, but labels come from the pattern"),
    ],
)
def test_invalid_recordings_raise_an_error_of_one_line(make, message: str, tmp_path: Path) -> None:
    with pytest.raises((RecordingError, ValueError), match=message) as error:
        read_cases(*make(tmp_path))
    assert "\n" not in str(error.value)


def test_single_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "yes").mkdir()
    write_wave(tmp_path / "yes" / "a.wav", np.zeros(9))
    with pytest.raises(RecordingError, match="all cases have the label 'yes'; at least two"):
        read_cases(tmp_path, Reading()).labelled()


def test_given_options_override_those_stored_in_a_model() -> None:
    remembered = Reading(window=2.0, sfreq=100.0, manifest=Path("index.csv")).changed() | {"of_later_versions": 1}
    assert Reading(sfreq=50.0).after(remembered) == Reading(window=2.0, sfreq=50.0)
    assert Reading().after(remembered, left_out=("window",)) == Reading(sfreq=100.0)
    assert Reading().after(None) == Reading()


def test_facts_shorten_long_lists_of_classes(tones: Path) -> None:
    X = read_cases(tones, Reading()).X
    many = Cases(X, np.array([f"w{i}" for i in range(len(X))]), None, "x")
    assert many.facts()["classes"].endswith(" and 6 more")


def spoken(root: Path) -> None:
    """Write sounds in the layout of Speech Commands: a linked class, noise, a list of test files, a .w64 file."""
    soundfile = pytest.importorskip("soundfile")
    for i, name in enumerate(("root/no", "root/yes", "linked", "root/_background_noise_")):
        (root / name).mkdir(parents=True)
        for speaker in ("ann", "bob"):
            sound = np.random.default_rng([i, len(speaker), ord(speaker[0])]).uniform(-0.5, 0.5, 800)
            soundfile.write(root / name / f"{speaker}_nohash_0.wav", sound, 8000)
    soundfile.write(root / "root" / "no" / "cy_nohash_0.w64", np.ones(800) / 2, 8000, format="W64")
    (root / "root" / "up").symlink_to(root / "linked")
    (root / "root" / "testing_list.txt").write_text("no/bob_nohash_0.wav\nyes/bob_nohash_0.wav\nup/bob_nohash_0.wav\n")


def test_program_reads_sound_like_read_audio_folder(tmp_path: Path) -> None:
    spoken(tmp_path)
    cases, data = read_cases(tmp_path / "root", Reading()), read_audio_folder(tmp_path / "root")
    assert cases.X.sources == data.signals.sources
    assert cases.labels.tolist() == data.y.tolist() == ["no", "no", "no", "up", "up", "yes", "yes"]
    assert cases.split_by.tolist() == data.groups.tolist() == ["ann", "bob", "cy", "ann", "bob", "ann", "bob"]
    assert cases.facts()["parts"] == "test (3), train (4)"
    assert cases.facts()["ignored"].startswith("_background_noise_: 2 files")
    test = read_cases(tmp_path / "root", Reading(split="test"))
    assert (test.labels.tolist(), test.split_by.tolist()) == (["no", "up", "yes"], ["bob"] * 3)
    assert len(read_cases(tmp_path / "root", Reading(pattern="{label}/{group}_nohash_{take}.{ending}")).X) == 7


def test_train_and_test_folders_are_not_classes(tones: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).symlink_to(tones)
    (tmp_path / "test").unlink()
    for label in ("low", "high"):
        (tmp_path / "test" / label).mkdir(parents=True)
        write_wave(tmp_path / "test" / label / "x.wav", np.full(99, 0.1 * len(label)))
    cases = read_cases(tmp_path, Reading(split="train"))
    assert set(cases.labels.tolist()) == {"low", "high"}
    assert len(cases.X) == 18


def test_train_and_test_folders_below_the_classes_are_reported(tmp_path: Path, run) -> None:
    for i, label in enumerate(("low", "high")):
        for part in ("train", "test"):
            (tmp_path / "all" / label / part).mkdir(parents=True)
            for take in range(3):
                sound = 0.3 * np.sin(np.arange(800) * (i + 0.1 * take + 0.2))
                write_wave(tmp_path / "all" / label / part / f"{take}.wav", sound)
    for windows in ([], ["--window", "0.05"]):
        arguments = [tmp_path / "all", "-o", tmp_path / "m.s4", *QUICK, *windows]
        assert "test (6), train (6)" in run("fit", *arguments).stdout
        result = run("fit", *arguments, "--split", "train").stdout
        assert "parts        train (6)\n" in result
        assert "classes      2: high (" in result
    found = json.loads(run("predict", tmp_path / "m.s4", tmp_path / "all", "--split", "test", "--json").stdout)
    assert {Path(row["source"]).parent.name for row in found} == {"test"}


def test_facts_of_an_eeg_folder_list_parts_and_ignored_files(tmp_path: Path) -> None:
    for part in ("train", "test"):
        record(tmp_path / part / "rest", [f"{part}_raw.fif"], label="rest")
    (tmp_path / "train" / "moved").mkdir()
    (tmp_path / "train" / "moved" / "a.xdf").write_bytes(b"?")
    with pytest.warns(UserWarning, match=r"moved holds no recording of a known kind, only 1 other files \(\.xdf\)"):
        facts = read_cases(tmp_path, Reading()).facts()
    assert (facts["parts"], facts["ignored"]) == ("test (1), train (1)", "other files: 1 .xdf")


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_segments_of_a_manifest_stay_together_by_file(tmp_path: Path, name: str) -> None:
    write_wave(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 8000))
    rows = [("path", "label", "start", "end"), ("a.wav", "yes", "0.1", "0.35"), ("a.wav", "no", "0.5", "")]
    text = "\n".join({"rows.csv": ",", "rows.tsv": "\t"}.get(name, ",").join(row) for row in rows)
    if name == "rows.jsonl":
        text = "\n".join(json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:])
    (tmp_path / name).write_text(text)
    cases, whole = read_cases(tmp_path / name, Reading()), read_audio(tmp_path / "a.wav")[0]
    assert cases.X.lengths.tolist() == [2000, 4000]
    np.testing.assert_array_equal(cases.X[0].data, whole.data[:, 800:2800])
    assert cases.split_by.tolist() == [str(tmp_path / "a.wav")] * 2


def test_damaged_files_are_refused_or_skipped_and_listed(tmp_path: Path, run) -> None:
    spoken(tmp_path)
    (tmp_path / "root" / "yes" / "text.wav").write_text("no sound")
    result = run("fit", tmp_path / "root", "-o", tmp_path / "m.s4", *QUICK)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--on-error" in result.stderr
    result = run("fit", tmp_path / "root", "--on-error", "skip", "-o", tmp_path / "m.s4", "--json", *QUICK)
    assert result.exit_code == 0
    assert [Path(file["path"]).name for file in json.loads(result.stdout)["data"]["skipped"]] == ["text.wav"]
    assert "1 of 8 files are left out" in result.stderr


def test_segments_of_a_manifest_are_refused_for_other_files_than_audio(tmp_path: Path) -> None:
    record(tmp_path, ["s1_raw.fif"], label="rest")
    (tmp_path / "rows.csv").write_text("path,label,start\ns1_raw.fif,rest,0.5\n")
    with pytest.raises(RecordingError, match="has a column start or end, for audio only"):
        read_cases(tmp_path / "rows.csv", Reading())
