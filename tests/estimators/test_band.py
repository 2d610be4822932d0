"""``band_hz``: both kinds of estimator ignore the residue of a filter outside the band."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt
from small_models import classifier, regressor, same_weights

from s4signal import S4Classifier, S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.estimators import S4RandomFeatures

__all__: list[str] = []

SFREQ, BAND = 250.0, (4.0, 40.0)
Y = np.arange(60) % 2


def filtered(*, in_band=0.0):
    """Return two channels from 4 to 40 Hz with a weak residue at 80 Hz, whose level depends on the class."""
    rng, t = np.random.default_rng(0), np.arange(500) / SFREQ
    noise = rng.standard_normal((60, 2, 1500))
    inside = sosfiltfilt(butter(6, BAND, "bandpass", fs=SFREQ, output="sos"), noise)[..., 500:1000]
    inside[:, 0] += in_band * Y[:, None] * np.sin(2 * np.pi * 12 * t + rng.uniform(0, 6, (60, 1)))
    inside = np.fft.irfft(np.where(np.fft.rfftfreq(500, 1 / SFREQ) < 60, np.fft.rfft(inside), 0), 500)
    residue = np.sin(2 * np.pi * 80 * t) * (1 + 3 * Y)[:, None, None] * np.array([1.0, 0.5])[:, None]
    return Signals(inside + 0.02 * residue, sfreq=SFREQ)


def held_out_accuracy(model, X):
    """Return the accuracy on every second pair of cases after training on the others."""
    train = np.arange(60) % 4 < 2
    return model.fit(X[train], Y[train]).score(X[~train], Y[~train])


def test_oscillators_and_narrow_bands_lie_within_the_band():
    free, bound = (S4RandomFeatures(band_hz=band, random_state=0).fit(filtered()) for band in (None, BAND))
    assert free.frequencies_.max() > 100
    found = bound.frequencies_[bound.frequencies_ > 0]
    assert BAND[0] <= found.min() < 5
    assert 35 < found.max() <= BAND[1]
    assert (bound.time_constants_[bound.frequencies_ == 0] <= 1 / (2 * np.pi * BAND[0]) + 1e-9).all()
    narrow = bound.feature_map_.contrasts["narrow bands"].frequencies_hz.numpy()
    assert BAND[0] < narrow.min() < narrow.max() < BAND[1]
    assert np.diff(narrow).max() < 1.0


def test_residue_outside_the_band_is_ignored():
    X = filtered()
    assert held_out_accuracy(S4RidgeClassifier(random_state=0), X) > 0.9
    assert held_out_accuracy(S4RidgeClassifier(band_hz=BAND, random_state=0), X) < 0.75
    assert held_out_accuracy(S4RidgeClassifier(band_hz=BAND, random_state=0), filtered(in_band=1.0)) > 0.9


def test_closed_form_readout_of_a_network_uses_the_band():
    X, options = (
        filtered(),
        {"readout": "closed_form", "max_epochs": 1, "learning_rate": 1e-6, "ssm_learning_rate": 1e-6},
    )
    assert held_out_accuracy(classifier(**options), X) > 0.9
    assert held_out_accuracy(classifier(band_hz=BAND, **options), X) < 0.75


@pytest.mark.parametrize("make", [classifier, regressor])
def test_filter_bank_with_a_band_works_for_eeg_and_is_saved(make, tmp_path):
    X = filtered(in_band=1.0)
    model = make(frontend="filterbank", band_hz=BAND, max_epochs=1).fit(X, Y.astype(float) if make is regressor else Y)
    assert "40 gammatone energies 4 - 40 Hz" in model.describe()
    model.save(tmp_path / "model.s4")
    loaded = type(model).load(tmp_path / "model.s4")
    assert loaded.band_hz == BAND
    assert same_weights(loaded, model)
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_closed_form_saves_its_band(tmp_path):
    X = filtered(in_band=1.0)
    model = S4RidgeRegressor(n_oscillators=16, band_hz=BAND, random_state=0).fit(X, Y.astype(float))
    model.save(tmp_path / "model.s4")
    loaded = S4RidgeRegressor.load(tmp_path / "model.s4")
    assert loaded.band_hz == BAND
    assert np.array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("make", [S4Classifier, S4RidgeClassifier])
def test_invalid_band_is_refused(make):
    for band in ((40.0, 4.0), (0.0, 40.0), 40.0, (1.0, 20.0, 40.0), "alpha"):
        with pytest.raises(ValueError, match=r"band_hz=.* must be None or a pair \(lowest, highest\) of Hz"):
            make(band_hz=band).fit(filtered(), Y)
    with pytest.raises(ValueError, match=r"band_hz=\(110, 120\) needs a sampling rate above 275 Hz, got 250"):
        make(band_hz=(110, 120)).fit(filtered(), Y)
    with pytest.raises(ValueError, match=r"band_hz=\(1, 45\) needs a sampling rate above 2.5 Hz, got None. Pass sfreq"):
        make(band_hz=(1, 45)).fit(filtered().to_numpy(), Y)
