"""Presets: valid parameters that fit the kind of data they are named after."""

import numpy as np
import pytest
from sklearn.base import clone

from s4signal import S4Classifier, Signals
from s4signal.estimators.parameters import check_options
from s4signal.estimators.trained.presets import PRESETS

each_preset = pytest.mark.parametrize("name", PRESETS)


@each_preset
def test_preset_sets_valid_parameters_and_no_others(name):
    model = S4Classifier.from_preset(name)
    check_options(model)
    assert {key: model.get_params()[key] for key in PRESETS[name]} == dict(PRESETS[name])
    others = S4Classifier().get_params()
    assert all(value == others[key] for key, value in model.get_params().items() if key not in PRESETS[name])
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(d_model=8).d_model == 8
    assert S4Classifier.from_preset(name).d_model == PRESETS[name]["d_model"]


@pytest.mark.parametrize(
    ("name", "shape", "sfreq"),
    [
        ("speech-small", (1, 2000), 8000),
        ("speech-commands-35", (1, 1600), 16000),
        ("audio-events", (1, 4410), 44100),
        ("eeg", (3, 128), 128),
    ],
)
def test_preset_fits_its_kind_of_data(name, shape, sfreq, tmp_path):
    X = Signals(np.random.default_rng(0).standard_normal((6, *shape)).astype(np.float32), sfreq=sfreq)
    model = S4Classifier.from_preset(name).set_params(max_epochs=1, random_state=0).fit(X, [0, 1] * 3)
    assert np.isfinite(model.predict_proba(X)).all()
    model.save(tmp_path / "model.s4")
    assert S4Classifier.load(tmp_path / "model.s4").get_params() == {**model.get_params(), "device": "auto"}


def test_speech_commands_35_has_about_the_size_of_the_paper():
    X = Signals(np.random.default_rng(0).standard_normal((70, 400)).astype(np.float32), sfreq=16000)
    model = S4Classifier.from_preset("speech-commands-35").set_params(max_epochs=1, random_state=0)
    model.fit(X, np.arange(70) % 35)
    n_parameters = sum(p.numel() for p in model.network_.parameters())
    assert 250_000 < n_parameters < 420_000  # 306,000 in the paper


def test_unknown_preset_raises_an_error_with_the_choices():
    with pytest.raises(
        ValueError, match="preset='speech' is unknown; choose one of 'speech-small', 'speech-commands-35'"
    ):
        S4Classifier.from_preset("speech")


@pytest.mark.parametrize(("sfreq", "n_bands", "highest_hz"), [(8000, 40, 3800), (16000, 40, 7600), (44100, 51, 20000)])
def test_bands_of_sound_depend_on_the_rate(sfreq, n_bands, highest_hz):
    X = Signals(np.random.default_rng(0).standard_normal((4, sfreq // 10)).astype(np.float32), sfreq=sfreq)
    description = S4Classifier(max_epochs=1, random_state=0).fit(X, [0, 1] * 2).describe()
    assert f"{n_bands} gammatone energies 60 - {highest_hz} Hz" in description


def test_audio_events_classifies_frequencies_above_speech():
    rng, t = np.random.default_rng(0), np.arange(11025) / 44100
    y = np.arange(40) % 2
    hertz = np.where(y, 12000.0, 15000.0)[:, None] * rng.uniform(0.97, 1.03, (40, 1))
    tones = 0.3 * np.sin(2 * np.pi * hertz * t) * (1 + np.sin(2 * np.pi * 6 * t + rng.uniform(0, 6, (40, 1))))
    X = Signals((tones + 0.05 * rng.standard_normal(tones.shape)).astype(np.float32), sfreq=44100)
    model = S4Classifier.from_preset("audio-events").set_params(max_epochs=15, random_state=0).fit(X[:24], y[:24])
    assert model.score(X[24:], y[24:]) > 0.9
