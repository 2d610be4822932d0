"""Sound in the forms of librosa, torchaudio and Hugging Face datasets."""

import io
from collections import UserList
from types import SimpleNamespace

import numpy as np
import pytest

from s4signal.errors import RecordingError, ShapeError
from s4signal.estimators import S4RidgeClassifier
from s4signal.signals import Signals

SOUND = (np.sin(np.arange(800) / 3) / 2).astype(np.float32)


def written(tmp_path, ending="wav"):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / f"a.{ending}", SOUND, 16000, **({"subtype": "FLOAT"} if ending == "wav" else {}))
    return tmp_path / f"a.{ending}"


@pytest.mark.parametrize("shape", [(800,), (1, 800)])
def test_an_array_and_its_rate_are_a_case(shape):
    pair = (SOUND.reshape(shape), 16000)
    for signals in (Signals([pair, pair]), Signals(pair)):
        assert signals.sfreq == 16000
        np.testing.assert_array_equal(signals[0].data, SOUND[None])


def test_tensors_and_their_rate_are_a_case():
    torch = pytest.importorskip("torch")
    pcm = torch.from_numpy((SOUND * 2**15).astype(np.int16))[None]  # as torchaudio.load(normalize=False) returns it
    np.testing.assert_allclose(Signals([(pcm, 16000)])[0].data, SOUND[None], atol=1e-4)
    np.testing.assert_array_equal(Signals([(torch.from_numpy(SOUND), 16000)])[0].data, SOUND[None])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_output_of_librosa_load_is_a_case(tmp_path):
    librosa = pytest.importorskip("librosa")
    signals = Signals([librosa.load(written(tmp_path), sr=None)])
    assert signals.sfreq == 16000
    np.testing.assert_allclose(signals[0].data[0], SOUND, atol=1e-6)


def test_scipy_pairs_have_the_rate_first():
    assert Signals([(16000, SOUND)])[0] == Signals((16000, SOUND))[0] == Signals([SOUND], sfreq=16000)[0]


@pytest.mark.parametrize("rate", ["16000", True])
def test_a_rate_that_is_not_a_number_is_refused(rate):
    with pytest.raises(TypeError, match=f"case 0: sfreq={rate!r} must be a number of samples per second"):
        Signals([(SOUND, rate)])


def test_one_item_and_a_column_of_a_table_are_cases():
    pandas = pytest.importorskip("pandas")
    item = {"array": SOUND, "sampling_rate": 16000}
    column = pandas.DataFrame({"audio": [item, item]})["audio"]
    model = S4RidgeClassifier(n_oscillators=4, random_state=0).fit([item, {**item, "array": -(SOUND**3)}], [0, 1])
    for form, n in ((item, 1), (column, 2), (column.to_numpy(), 2)):
        assert Signals(form)[0] == Signals([item])[0]
        assert model.predict(form).tolist() == [0] * n


def test_contradicting_rates_are_refused():
    with pytest.raises(RecordingError, match="it is sampled at 16000 Hz, but sfreq=8000 was passed"):
        Signals([(SOUND, 16000)], sfreq=8000)


def test_items_of_an_audio_column_are_cases(tmp_path):
    path = written(tmp_path)
    items = [
        {"path": "a.wav", "array": SOUND.astype(np.float64), "sampling_rate": 16000},
        {"path": None, "array": SOUND.tolist(), "sampling_rate": 16000},
        {"path": "a.wav", "bytes": path.read_bytes()},
        {"path": str(path), "bytes": None},
        SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=SOUND[None], sample_rate=16000)),
    ]
    signals = Signals(items)
    assert signals.sfreq == 16000
    assert {case.modality for case in signals.cases} == {"audio"}
    assert signals[0].source == "a.wav"
    for signal in signals:
        np.testing.assert_allclose(signal.data, SOUND[None], atol=1e-7)
    assert Signals(np.array(items, dtype=object)).lengths.tolist() == [800] * 5


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_bytes_equal_their_file(tmp_path, ending):
    path = written(tmp_path, ending)
    assert np.array_equal(Signals([{"bytes": path.read_bytes()}])[0].data, Signals.from_files(path)[0].data)


def test_a_column_that_is_not_a_list_is_accepted():
    column = type("Column", (UserList,), {"__module__": "datasets.arrow_dataset"})
    assert len(Signals(column([{"array": SOUND, "sampling_rate": 8000}] * 3))) == 3


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ({"array": SOUND}, TypeError, "case 0: a dict of audio must have array and sampling_rate, bytes, or path"),
        ({"bytes": b"RIFFno"}, RecordingError, "case 0: bytes cannot be read as audio"),
        ({"path": "gone.wav"}, RecordingError, r"case 0: gone\.wav does not exist"),
        ({"array": SOUND, "sampling_rate": 0}, ValueError, "case 0.*sfreq=0 must be a positive number"),
    ],
)
def test_items_that_are_not_sound_are_refused(item, error, message):
    with pytest.raises(error, match=message):
        Signals([item])


def test_a_model_accepts_pairs_of_samples_and_rate():
    rng = np.random.default_rng(0)
    pairs = [(np.sin(np.arange(800) * step) + 0.1 * rng.standard_normal(800), 8000) for step in (0.1, 0.6) * 6]
    model = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(pairs, ["low", "high"] * 6)
    assert model.sfreq_ == 8000
    assert model.predict(pairs[:2]).tolist() == ["low", "high"]


@pytest.mark.parametrize("n_channels", [1, 2])
def test_sound_with_time_first_is_refused_at_once(n_channels, tmp_path):
    x = np.zeros((8000, n_channels))
    for form in ([(x, 16000)], [{"array": x, "sampling_rate": 16000}]):
        with pytest.raises(ShapeError, match=r"8000 channels of . samples? at 16000 Hz, so time seems to come first"):
            Signals(form)
    with pytest.raises(ShapeError, match=r"pass its transpose, x\.T"):
        Signals([x], sfreq=16000)
    with pytest.raises(ShapeError, match="If time comes second, pass"):
        S4RidgeClassifier().fit([x, x], [0, 1])


def test_a_file_like_object_is_refused():
    with pytest.raises(TypeError, match="must hold real numbers"):
        Signals([io.BytesIO(b"")])
