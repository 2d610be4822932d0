"""Band power: many cases of several channels are told apart by the power of fast waves, offline, live and exported."""

import numpy as np
import pytest

from s4signal import S4Classifier, Signals
from s4signal.inspection import FrequencyResponseDisplay, TopographyDisplay

__all__: list[str] = []

SFREQ, N = 100.0, 160
NAMES = ["Fz", "C3", "C4", "Pz"]
MIXTURE = np.array([[0.4, 0.4], [1.0, 0.1], [0.1, 1.0], [0.3, 0.3]])  # of two sources, on the left and on the right


def imagined_hands(rng: np.random.Generator, *, n: int = N, n_times: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two sources at 22 Hz, of which one is weaker: far above the rate of hop means, which 16 frames a second have."""
    t, y = np.arange(n_times) / SFREQ, rng.permutation(n) % 2
    amplitudes = np.where(np.arange(2) == y[:, None], 0.3, 1.0)
    sources = np.sin(2 * np.pi * (22.0 * t + rng.uniform(0, 1, (n, 2, 1)))) * amplitudes[..., None]
    return MIXTURE @ sources + 0.5 * rng.standard_normal((n, 4, n_times)), np.array(["left", "right"])[y]


def classifier(**options) -> S4Classifier:
    defaults = {"readout": "pooled", "max_epochs": 15, "learning_rate": 0.02, "sfreq": SFREQ, "random_state": 0}
    return S4Classifier(**{**defaults, **options})


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return imagined_hands(rng), imagined_hands(rng)


@pytest.fixture(scope="module")
def live(data):
    return classifier(frontend="band_power", bidirectional=False).fit(*data[0])


def test_many_cases_get_band_power_and_with_it_fast_waves(data, monkeypatch) -> None:
    (X, y), (X_test, y_test) = data
    few = classifier(readout="auto", max_epochs=1).fit(X, y)
    assert "hop_means" in few.describe()
    assert "closed form" in few.describe()
    assert classifier(frontend="hop_means").fit(X, y).score(X_test, y_test) < 0.7
    monkeypatch.setattr("s4signal.estimators.trained.defaults.MOST_CASES", N - 1)
    many = classifier(readout="auto").fit(X, y)
    assert "band_power" in many.describe()
    assert "many cases" in many.describe()
    assert many.score(X_test, y_test) > 0.9


def test_batches_get_band_power(data) -> None:
    X, y = data[0]
    model = classifier(readout="auto")
    for epoch in range(15):
        for rows in np.array_split(np.random.default_rng(epoch).permutation(N), 2):
            model.partial_fit(X[rows], y[rows], classes=["left", "right"])
    assert "band_power" in model.describe()
    assert "batches" in model.describe()
    assert model.score(*data[1]) > 0.9


def test_streams_and_files_equal_predictions(live, data, tmp_path) -> None:
    X, expected = data[1][0][:3], live.predict_proba(data[1][0][:3])
    live.save(tmp_path / "hands.s4")
    loaded = S4Classifier.load(tmp_path / "hands.s4")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    for case, probabilities in zip(X, expected, strict=True):
        stream = loaded.stream()
        for start in range(0, 400, 17):
            last = stream.push(case[:, start : start + 17])
        np.testing.assert_allclose(last, probabilities, atol=1e-5)


@pytest.mark.parametrize("rate", [50.0, 200.0])
def test_another_rate_keeps_the_bands_that_it_has(live, data, rate) -> None:
    X, y = data[1]
    assert live.score(Signals(X, sfreq=SFREQ).resample(rate), y) > 0.85


def test_unequal_lengths_are_predicted_alone_as_together(live, data) -> None:
    cases = [case[:, :n] for case, n in zip(data[1][0][:3], (400, 333, 250), strict=True)]
    together = live.predict_proba(Signals(cases, sfreq=SFREQ))
    alone = np.concatenate([live.predict_proba(Signals([case], sfreq=SFREQ)) for case in cases])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_pattern_of_a_filter_and_the_bands_can_be_drawn(live, data) -> None:
    pytest.importorskip("mne")
    X = Signals(data[0][0], sfreq=SFREQ, ch_names=NAMES)
    before = {name: value.clone() for name, value in live.network_.state_dict().items()}
    patterns = [TopographyDisplay.from_estimator(live, X, component=k) for k in range(4)]
    assert {p.label.split(",")[1].split(" (")[0].endswith(" Hz") for p in patterns} == {True}
    bands = [float(p.label.split(", ")[1].split(" Hz")[0]) for p in patterns]
    strongest = np.abs(patterns[int(np.argmin(np.abs(np.array(bands) - 22.0)))].values).argmax()
    assert NAMES[strongest] in ("C3", "C4")
    assert min(abs(band - 22.0) for band in bands) < 4.0
    assert FrequencyResponseDisplay.from_estimator(live, part="bank").gain["bank"].shape[0] == 16
    assert all(value.equal(before[name]) for name, value in live.network_.state_dict().items())


def test_a_band_limits_the_oscillators(data) -> None:
    model = classifier(frontend="band_power", band_hz=(8.0, 30.0), max_epochs=1).fit(*data[0])
    assert "in each of 16 bands, 8 - 30 Hz, every 60 ms" in model.describe()


@pytest.mark.filterwarnings("ignore:X has several channels and no sampling rate")
def test_bands_without_a_rate_are_in_cycles_per_sample(data) -> None:
    model = classifier(frontend="band_power", sfreq=None, max_epochs=1).fit(*data[0])
    assert "0.0208 - 0.45 cycles per sample, every 6 samples" in model.describe()
