"""m4a, aac, webm and similar: read by torchcodec or ffmpeg, or refused in one line without them."""

import os
import pickle
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Signals, audio_file, read_audio, read_audio_folder, read_audio_manifest

soundfile = pytest.importorskip("soundfile")

SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1600)).astype(np.float32)
# Stands in for ffmpeg: the "m4a" files of these tests are wav, which it writes to standard output.
FFMPEG = f"""#!{sys.executable}
import sys, io, soundfile
path = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:")
try:
    data, rate = soundfile.read(open(path, "rb"))
except Exception:
    sys.exit("moov atom not found")
out = io.BytesIO()
soundfile.write(out, data, rate, format="WAV", subtype="FLOAT")
sys.stdout.buffer.write(out.getvalue())
"""


@pytest.fixture
def without_decoders(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def with_ffmpeg(without_decoders, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text(FFMPEG)
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)


@pytest.fixture
def with_torchcodec(monkeypatch):
    class AudioDecoder:
        def __init__(self, path):
            try:
                self.data, self.rate = soundfile.read(BytesIO(Path(path).read_bytes()), always_2d=True)
            except soundfile.LibsndfileError:
                raise RuntimeError("Could not open the file\nmore") from None

        def get_all_samples(self):
            return SimpleNamespace(data=self.data.T, sample_rate=self.rate)

    module = ModuleType("torchcodec.decoders")
    module.AudioDecoder = AudioDecoder
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)


def write(path, data=SOUND):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, data.T, 16000, format="WAV", subtype="FLOAT")
    return path


def test_a_missing_decoder_is_reported_with_what_to_install(without_decoders, tmp_path):
    path = write(tmp_path / "yes" / "a.m4a")
    with pytest.raises(MissingDependencyError, match=r"a\.m4a: reading \.m4a needs torchcodec or ffmpeg, and neither"):
        read_audio(path)
    write(tmp_path / "no" / "a.wav")
    with pytest.raises(MissingDependencyError, match=r"a\.m4a: reading \.m4a needs"):
        read_audio_folder(tmp_path)
    with pytest.warns(UserWarning, match="1 of 2 files are left out, the first: .*needs torchcodec or ffmpeg"):
        assert read_audio_folder(tmp_path, on_error="skip").y.tolist() == ["no"]


@pytest.mark.parametrize("decoder", ["with_ffmpeg", "with_torchcodec"])
@pytest.mark.parametrize("ending", ["m4a", "webm", "aac"])
def test_samples_rate_and_segments_equal_those_of_the_file(decoder, ending, tmp_path, request):
    request.getfixturevalue(decoder)
    path = write(tmp_path / "-yes" / f"a b.{ending}")
    signals = read_audio(path, mono=False)
    assert (signals.sfreq, signals.n_channels, signals.cases[0].modality) == (16000, 2, "audio")
    np.testing.assert_allclose(signals[0].data, SOUND, atol=1e-7)
    np.testing.assert_allclose(read_audio(path)[0].data[0], SOUND.mean(0), atol=1e-7)
    np.testing.assert_allclose(signals.cases[0].crop(100, 300).load().data, SOUND[:, 100:300], atol=1e-7)
    assert read_audio(path, sfreq=8000)[0].length == 800


@pytest.mark.parametrize("decoder", ["with_ffmpeg", "with_torchcodec"])
def test_a_damaged_file_is_reported_in_one_line(decoder, tmp_path, request):
    request.getfixturevalue(decoder)
    (tmp_path / "a.m4a").write_bytes(b"nothing")
    with pytest.raises(RecordingError, match=r"a\.m4a cannot be read as audio \((moov atom|Could not open)") as caught:
        read_audio(tmp_path / "a.m4a")
    assert "\n" not in str(caught.value)


def test_empty_files_and_channels_that_cancel_are_refused(with_ffmpeg, tmp_path):
    with pytest.raises(RecordingError, match="holds no samples"):
        read_audio(write(tmp_path / "a.m4a", SOUND[:, :0]))
    with pytest.raises(RecordingError, match="cancel each other"):
        read_audio(write(tmp_path / "b.m4a", SOUND[:1] * [[1], [-1]]))[0]


RATE = 16000
T = np.arange(RATE) / RATE
# A quarter of a second of silence, half a second of two tones, a quarter of a second of silence.
BURST = 0.5 * np.sin(2 * np.pi * np.array([[440], [880]]) * T) * ((T >= 0.25) & (T < 0.75))


@pytest.fixture
def encoded(tmp_path, monkeypatch):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs ffmpeg")
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)

    def encode(ending, data=BURST, *options):
        source, target = write(tmp_path / "no" / "burst.wav", data), tmp_path / "yes" / f"-\u00fc 1.{ending}"
        target.parent.mkdir(exist_ok=True)
        command = [ffmpeg, "-v", "error", "-i", str(source), *options, str(target)]
        subprocess.run(command, check=True, env=os.environ)
        return target

    return encode


# Delay: samples that the encoder adds at the start without a header: one frame of AAC without a container.
@pytest.mark.parametrize(("ending", "delay"), [("m4a", 0), ("mka", 0), ("webm", 0), ("opus", 0), ("aac", 1024)])
def test_files_of_ffmpeg_keep_their_timing_and_channels(ending, delay, encoded, tmp_path):
    path = encoded(ending)
    signals = read_audio(path, mono=False)
    rate = signals.sfreq
    assert rate == (48000 if ending == "webm" else RATE)  # opus in webm is 48 kHz
    assert 0 <= signals.lengths[0] / rate - 1 < (2048 + delay) / RATE  # whole frames
    left, right = signals[0].data
    loud = np.flatnonzero(np.abs(left) > 0.2) / rate - delay / RATE
    assert (loud[0], loud[-1]) == pytest.approx((0.25, 0.75), abs=0.001)
    for tone, channel in ((440, left), (880, right)):
        middle = channel[round(0.4 * rate) : round(0.7 * rate)]
        assert np.abs(np.fft.rfft(middle)).argmax() == round(0.3 * tone)
    rows = {"path": [path.name] * 2, "label": ["tone", "silence"], "start": [0.4, ""], "end": [0.7, 0.2]}
    tone, silence = read_audio_manifest(rows, root=path.parent).signals
    np.testing.assert_allclose(tone.data, (left + right)[None, round(0.4 * rate) : round(0.7 * rate)] / 2, atol=1e-6)
    assert silence.length == round(0.2 * rate)
    assert np.abs(silence.data).max() < 0.01
    assert read_audio_folder(tmp_path, sfreq=8000).y.tolist() == ["no", "yes"]


@pytest.mark.parametrize("ending", ["m4a", "aac", "webm", "mka", "ac3", "wma"])
def test_channels_in_antiphase_and_truncated_files_are_refused(ending, encoded):
    path = encoded(ending, BURST[:1] * [[1], [-1]])
    with pytest.raises(RecordingError, match="channels that cancel each other"):
        read_audio(path)[0]
    noise = 0.3 * np.random.default_rng(0).standard_normal((1, 4 * RATE)).clip(-1, 1)
    front = ("-y", "-movflags", "+faststart") if ending == "m4a" else ("-y",)  # header first, so the cut keeps it
    content = encoded(ending, noise, *front).read_bytes()
    path.write_bytes(content[: len(content) // 2 + 7])
    with pytest.raises(RecordingError, match=rf"\.{ending} cannot be read as audio \("):
        read_audio(path)


@pytest.mark.parametrize("sfreq", [None, 8000])
def test_consecutive_segments_of_a_file_decode_it_once(with_torchcodec, tmp_path, monkeypatch, sfreq):
    decoded, decode = [], audio_file._decode
    monkeypatch.setattr(audio_file, "_decode", lambda path: decoded.append(Path(path).name) or decode(path))
    names = ["a.m4a", "b.m4a"]
    for i, name in enumerate(names):
        write(tmp_path / name, SOUND / (1 + i))
    rows = {"path": np.repeat(names, 8), "label": ["x"] * 16, "start": [*np.arange(8) / 80] * 2}
    rows["end"] = [start + 1 / 80 for start in rows["start"]]
    signals = read_audio_manifest(rows, root=tmp_path, sfreq=sfreq)[0]
    alone = Signals([SOUND[:, 200 * k : 200 * (k + 1)].mean(0) for k in (0, 7)], sfreq=16000)
    alone = alone if sfreq is None else alone.resample(sfreq)
    decoded.clear()
    cases = list(signals)
    assert decoded == names
    for k, expected in zip((0, 7), alone, strict=True):
        np.testing.assert_allclose(cases[k].data, expected.data, atol=1e-6)
        np.testing.assert_allclose(cases[8 + k].data, expected.data / 2, atol=1e-6)
    assert all(case.data.base is None or case.data.base.size <= 200 for case in cases)  # none keeps the file in memory
    assert pickle.loads(pickle.dumps(signals)) == signals
    assert sorted(decoded) == sorted(3 * names)  # the copy starts without samples, and is compared with the first
