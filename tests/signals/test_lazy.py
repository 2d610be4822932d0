"""Cases on disk: read when asked for, from the cache if there is one."""

import os
import pickle

import numpy as np
import pytest
import recording_files as files
from joblib import Memory

from s4signal.errors import RecordingError
from s4signal.signals import Signals, audio_file, windows


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


def test_each_rate_is_cached_for_itself(audio, tmp_path):
    rates = [Signals.from_files(audio, sfreq=rate, cache=tmp_path)[0].sfreq for rate in (4000, 8000, 4000)]
    assert rates == [4000, 8000, 4000]


def test_a_file_that_changed_is_decoded_anew(audio, tmp_path):
    import soundfile

    signals = Signals.from_files(audio, cache=tmp_path)
    before = signals[0].data.copy()
    soundfile.write(audio, np.zeros(before.shape[1]), 16000)
    os.utime(audio, ns=(1, 1))
    assert before.any()
    assert not signals[0].data.any()


def test_a_memory_of_the_user_is_taken(audio, decoded, tmp_path):
    memory = Memory(tmp_path, verbose=0, mmap_mode="r")
    signals = Signals.from_files(audio, cache=memory)
    assert signals[0] == signals[0] == Signals.from_files(audio)[0]
    assert len(decoded) == 2


def test_a_file_that_is_gone_is_named_although_it_was_cached(audio, tmp_path):
    signals = Signals.from_files(audio, cache=tmp_path)
    assert signals[0].length
    audio.unlink()
    with pytest.raises(RecordingError, match=r"word\.wav does not exist"):
        signals[0]


@pytest.mark.parametrize("sfreq", [None, 8000])
def test_windows_of_cached_files_are_those_of_the_files(audio, tmp_path, sfreq):
    expected = windows(Signals.from_files(audio, sfreq=sfreq), duration_s=0.25)[0]
    assert windows(Signals.from_files(audio, sfreq=sfreq, cache=tmp_path), duration_s=0.25)[0] == expected


def test_cached_files_can_be_resampled_sliced_and_pickled(audio, tmp_path):
    signals = Signals.from_files([audio, audio], cache=tmp_path).resample(4000)
    assert pickle.loads(pickle.dumps(signals[[1]])) == Signals.from_files(audio, sfreq=4000)


def test_the_repr_reads_no_file(audio, tmp_path, monkeypatch):
    signals = Signals.from_files(audio, sfreq=4000, cache=tmp_path)
    monkeypatch.setattr(audio_file._AudioFile, "load", lambda self: pytest.fail("was read"))
    assert repr(signals) == "Signals: 1 case × 1 channel, 4000 samples, 4000 Hz (1 s)"
