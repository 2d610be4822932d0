"""Cases on disk: read when accessed, from the cache if there is one."""

import ast
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import recording_files as files
from scripts import run_code

import s4signal
from s4signal.errors import RecordingError
from s4signal.signals import Signals, windows
from s4signal.signals.lazy import LazyCase, with_metadata

UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SAFE = {"np.load": ("allow_pickle", "False"), "torch.load": ("weights_only", "True")}


@pytest.fixture
def audio(tmp_path):
    pytest.importorskip("soundfile")
    return files.write_audio(tmp_path / "word.wav")


@pytest.fixture
def decoded(monkeypatch):
    """Count how often a file is decoded."""
    import soundfile

    calls = []
    read = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda *args, **options: calls.append(args) or read(*args, **options))
    return calls


@pytest.mark.parametrize("sfreq", [None, 8000])
def test_a_cached_file_is_decoded_once(audio, decoded, tmp_path, sfreq):
    fresh = Signals.from_files(audio, sfreq=sfreq)[0]
    decoded.clear()
    for _ in range(2):
        cached = Signals.from_files(audio, sfreq=sfreq, cache=tmp_path / "cache")
        assert cached[0] == fresh
        assert cached[0] == fresh
    assert len(decoded) == 1


def test_each_rate_is_cached_separately(audio, tmp_path):
    rates = [Signals.from_files(audio, sfreq=rate, cache=tmp_path)[0].sfreq for rate in (4000, 8000, 4000)]
    assert rates == [4000, 8000, 4000]


def test_a_changed_file_is_decoded_again(audio, tmp_path):
    import soundfile

    signals = Signals.from_files(audio, cache=tmp_path)
    before = signals[0].data.copy()
    soundfile.write(audio, np.zeros(before.shape[1]), 16000)
    os.utime(audio, ns=(1, 1))
    assert before.any()
    assert not signals[0].data.any()


def test_the_cache_has_plain_arrays_and_is_never_unpickled(audio, tmp_path, monkeypatch):
    signals = Signals.from_files(audio, sfreq=8000, cache=tmp_path / "cache")
    expected = signals[0]
    (cached,) = (tmp_path / "cache").iterdir()
    np.testing.assert_array_equal(np.load(cached, allow_pickle=False), expected.data)

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("was unpickled",))

    np.save(cached, np.array([Bomb()], dtype=object), allow_pickle=True)
    assert signals[0] == expected
    np.testing.assert_array_equal(np.load(cached, allow_pickle=False), expected.data)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", lambda content: content[:-8]])
def test_a_damaged_array_is_decoded_again(audio, tmp_path, damage):
    signals = Signals.from_files(audio, cache=tmp_path / "cache")
    expected = signals[0]
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(damage(cached.read_bytes()) if callable(damage) else damage)
    assert signals[0] == expected == signals[0]


def test_nothing_in_the_package_unpickles():
    faults = []
    for path in Path(s4signal.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                faults += [f"{path.name}: {name}" for name in names if name.split(".")[0] in UNPICKLERS]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in SAFE:
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                word, value = SAFE[ast.unparse(node.func)]
                faults += [] if given.get(word) == value else [f"{path.name}: {ast.unparse(node)}"]
    assert faults == []


def test_a_cache_must_be_a_path(audio):
    with pytest.raises(TypeError, match="cache must be the path of a folder, got 3"):
        Signals.from_files(audio, cache=3)


FULL = """
import resource, sys
from s4signal.errors import RecordingError
from s4signal.signals import Signals
signals = Signals.from_files(sys.argv[1], cache=sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    signals[0]
except RecordingError as error:
    print(error)
"""


def test_a_full_disk_is_reported_and_leaves_no_partial_file(audio, tmp_path):
    folder = tmp_path / "cache"
    output = run_code(FULL, audio, folder)
    assert output.startswith(f"cache='{folder}' cannot be written (")
    assert output.endswith("Free space there, choose another folder, or leave cache out.\n")
    assert output.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_a_cache_that_is_a_file_is_refused(audio):
    with pytest.raises(RecordingError, match=r"cache='.*word\.wav' cannot be written .*choose another folder"):
        Signals.from_files(audio, cache=audio)[0]


def test_a_deleted_file_is_reported_even_if_cached(audio, tmp_path):
    signals = Signals.from_files(audio, cache=tmp_path)
    assert signals[0].length
    audio.unlink()
    with pytest.raises(RecordingError, match=r"word\.wav does not exist"):
        signals[0]


@pytest.mark.parametrize("sfreq", [None, 8000])
def test_windows_of_cached_files_equal_those_of_the_files(audio, tmp_path, sfreq):
    expected = windows(Signals.from_files(audio, sfreq=sfreq), duration_s=0.25)[0]
    assert windows(Signals.from_files(audio, sfreq=sfreq, cache=tmp_path), duration_s=0.25)[0] == expected


def test_cached_files_can_be_resampled_sliced_and_pickled(audio, tmp_path):
    signals = Signals.from_files([audio, audio], cache=tmp_path).resample(4000)
    assert pickle.loads(pickle.dumps(signals[[1]])) == Signals.from_files(audio, sfreq=4000)


def test_lazy_resampling_keeps_the_metadata(audio):
    (case,) = Signals.from_files(audio, sfreq=4000).cases
    assert with_metadata(case, recording="a", subject="ann").load().metadata == {"recording": "a", "subject": "ann"}


def test_the_repr_reads_no_file(audio, tmp_path, monkeypatch):
    signals = Signals.from_files(audio, sfreq=4000, cache=tmp_path)
    monkeypatch.setattr(LazyCase, "load", lambda self: pytest.fail("was read"))
    assert repr(signals) == "Signals: 1 case × 1 channel, 4000 samples, 4000 Hz (1 s)"
