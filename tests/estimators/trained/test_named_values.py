"""Passing the value that "auto" selects gives the same model; describe() reports the choices."""

import numpy as np
import pytest
from small_models import classifier, regressor, same_weights, waves

from s4signal import S4Classifier, Signals
from s4signal.estimators.trained import plan
from s4signal.signals import Signal

N = 110
X, Y = waves(N, n_times=40)
NOISE = 0.3 * np.random.default_rng(0).standard_normal((N, 400))
AUDIO = Signals(np.sin(np.arange(400) * np.array([0.3, 1.2])[Y][:, None]) + NOISE, sfreq=4000.0)
PLAIN = Signals(X)
HOLES = np.where(np.random.default_rng(0).random((N, 4, 40)) < 0.7, np.nan, np.concatenate([X, X], 1))
HOLES[:, 0, ::2] = X[:, 0, ::2]
CHARTS = Signals(HOLES, sfreq=10.0)
FEW = Signals(X[:40])
ONE = Signals(X[:, :1])
LONG = Signals(waves(40, n_times=140)[0], sfreq=100.0)

NAMED = [
    pytest.param(PLAIN, {"missing": "gap"}, id="missing"),
    pytest.param(CHARTS, {"missing": "gap"}, id="missing in charts"),
    pytest.param(AUDIO, {"missing": "gap"}, id="missing with the filter bank"),
    pytest.param(AUDIO, {"frontend": "filterbank"}, id="filter bank"),
    pytest.param(PLAIN, {"frontend": "linear"}, id="linear front end"),
    pytest.param(AUDIO, {"augmentation": ("band_shift", "band_dropout", "silence_padding")}, id="augmentation"),
    pytest.param(
        AUDIO, {"augmentation": ["silence_padding", "band_dropout", "band_shift"]}, id="augmentation in another order"
    ),
    pytest.param(PLAIN, {"augmentation": None}, id="no augmentation"),
    pytest.param(AUDIO, {"batch_size": 16}, id="batch_size with the filter bank"),
    pytest.param(PLAIN, {"batch_size": 32}, id="batch_size"),
    pytest.param(ONE, {"early_stopping": True}, id="early_stopping"),
    pytest.param(PLAIN, {"early_stopping": False}, id="early_stopping of several channels"),
    pytest.param(LONG, {"frontend": "hop_means"}, id="hop means"),
    pytest.param(FEW, {"early_stopping": False}, id="early_stopping of few cases"),
    pytest.param(AUDIO, {"early_stopping": False}, id="early_stopping with the filter bank"),
    pytest.param(CHARTS, {"early_stopping": False}, id="early_stopping of charts"),
    pytest.param(FEW, {"timescale": (10.0, 40.0)}, id="timescale"),
    pytest.param(FEW, {"device": "cpu"}, id="device"),
]


@pytest.fixture(scope="module")
def automatic():
    """Return a function that fits a model with all values "auto", once per data set."""
    fitted = {}

    def fit(signals):
        if id(signals) not in fitted:
            fitted[id(signals)] = classifier().fit(signals, Y[: len(signals)])
        return fitted[id(signals)]

    return fit


@pytest.mark.parametrize(("signals", "named"), NAMED)
def test_explicit_value_equals_auto(signals, named, automatic):
    assert same_weights(automatic(signals), classifier(**named).fit(signals, Y[: len(signals)]))


SIZES = [
    pytest.param(PLAIN, (16, 1, 16, 1), ["legs", ("legs", 10)], id="several channels"),
    pytest.param(AUDIO, (64, 2, 16, 4), ["attention"], id="audio"),
    pytest.param(ONE, (64, 4, 64, 1), ["mean", ("legs", 1)], id="one channel"),
    pytest.param(CHARTS, (64, 4, 64, 1), ["mean"], id="charts"),
]


@pytest.mark.parametrize(("signals", "size", "poolings"), SIZES)
def test_explicit_size_and_pooling_equal_auto(signals, size, poolings):
    names = ("d_model", "n_layers", "d_state", "n_networks")
    auto = classifier(**dict.fromkeys(names, "auto"), pooling="auto", max_epochs=1).fit(signals, Y)
    named = dict(zip(names, size, strict=True))
    for pooling in poolings:
        assert same_weights(auto, classifier(**named, pooling=pooling, max_epochs=1).fit(signals, Y))
    text = auto.describe()
    assert ("mean of 4 networks of 2 x 64" in text) == (size[3] == 4)
    assert f"{size[1]} x {size[0]}, s4d (legs), d_state {size[2]}, both directions (auto" in text
    assert f"pooling        {poolings[0]}" in text


@pytest.mark.parametrize("kernel", ["s4", "lssl"])
def test_auto_uses_masks_with_dense_kernels(kernel):
    auto, named = (classifier(kernel=kernel, missing=m).fit(CHARTS, Y) for m in ("auto", "mask"))
    assert same_weights(auto, named)


@pytest.mark.parametrize("signals", [AUDIO[:20], FEW, CHARTS[:40]], ids=["audio", "plain", "charts"])
def test_explicit_number_of_epochs_equals_auto(signals, monkeypatch):
    monkeypatch.setattr(plan, "FEWEST_STEPS", 20)
    monkeypatch.setattr(plan, "MOST_EPOCHS", 15)
    auto = classifier(max_epochs="auto").fit(signals, Y[: len(signals)])
    assert same_weights(auto, classifier(max_epochs=auto.n_iter_).fit(signals, Y[: len(signals)]))


@pytest.mark.parametrize("make", [classifier, regressor])
def test_batch_size_none_keeps_the_automatic_augmentation(make):
    model = make(batch_size=None).fit(AUDIO, Y)
    names = ("band_shift", "band_dropout", "silence_padding")
    assert tuple(model._plan.augmentation) == tuple(make().fit(AUDIO, Y)._plan.augmentation) == names
    assert f"all of {N} cases per step, mean of the last weights, one dropout mask per step" in model.describe()


CASES = {
    "audio by its reader": ("audio", 1000.0, 6, "filterbank", "auto, for audio"),
    "an array at an audio rate": (None, 4000.0, 2, "filterbank", "auto, for 2 channels at 4000 Hz"),
    "many channels at an audio rate": (None, 5000.0, 3, "hop_means", "auto, for 3 channels at 5000 Hz"),
    "intracranial EEG": ("seeg", 5000.0, 1, "linear", "auto, for seeg"),
    "EEG": ("eeg", 250.0, 2, "hop_means", "auto, for eeg"),
    "audio too slow for the bank": ("audio", 100.0, 1, "linear", "auto, for a rate of 100 Hz"),
    "an unknown rate": (None, None, 1, "linear", "auto, as the rate is unknown"),
}


class Named:
    """A case with a modality."""

    def __init__(self, signal, modality):
        self.signal, self.modality = signal, modality

    def __getattr__(self, name):
        return getattr(self.signal, name)


@pytest.mark.parametrize(("modality", "sfreq", "n_channels", "frontend", "why"), CASES.values(), ids=CASES)
def test_auto_front_end_depends_on_modality_rate_and_channels(modality, sfreq, n_channels, frontend, why):
    rng = np.random.default_rng(0)
    cases = [Named(Signal(rng.standard_normal((n_channels, 600)), sfreq=sfreq), modality) for _ in range(4)]
    model = classifier(max_epochs=1).fit(Signals.from_cases(cases), [0, 1, 0, 1])
    assert model._plan.frontend == frontend
    assert f" ({why})\n" in model.describe()
    n_networks = 4 if frontend == "filterbank" else 1
    named = classifier(max_epochs=1, frontend=frontend, n_networks=n_networks)
    named.fit(Signals.from_cases(cases), [0, 1, 0, 1])
    assert same_weights(model, named)
    assert "auto, for" not in named.describe().split("\n  training")[0]


def test_str_of_a_fitted_model_is_its_description():
    model = classifier()
    assert str(model) == repr(model)
    model.fit(ONE, Y)
    assert str(model) == model.describe()
    assert "2 epochs, 32 of 99 cases per step (auto)" in str(model)
    assert "11 of 110 cases are held out to choose the epoch" in str(model)


@pytest.mark.parametrize(
    ("name", "text"),
    [("band_shift", "'band_shift' needs a filter bank"), ("sample_dropout", "needs a front end on a regular grid")],
)
def test_augmentation_incompatible_with_the_front_end_is_refused(name, text):
    with pytest.raises(ValueError, match=text):
        classifier(augmentation=(name,)).fit(PLAIN, Y)


def ragged(*lengths):
    rng = np.random.default_rng(0)
    cases = [rng.standard_normal((3, length)) for length in lengths] * (40 // len(lengths))
    return Signals(cases, sfreq=100.0), np.arange(len(cases)) // len(lengths) % 2


@pytest.mark.parametrize("more", [{"kernel": "s5"}, {"frontend": "linear"}, {"frontend": "hop_means"}])
def test_one_network_for_a_shared_state_or_without_the_filter_bank(more):
    assert "networks" not in classifier(max_epochs=1, **more).fit(AUDIO, Y).describe()


def test_one_network_for_many_sounds_or_batches(monkeypatch):
    monkeypatch.setattr("s4signal.estimators.trained.defaults.MOST_CASES", N)
    assert "mean of 4 networks" in classifier(max_epochs=1).fit(AUDIO, Y).describe()
    assert "networks" not in classifier().partial_fit(AUDIO, Y).describe()
    monkeypatch.setattr("s4signal.estimators.trained.defaults.MOST_CASES", N - 1)
    assert "networks" not in classifier(max_epochs=1).fit(AUDIO, Y).describe()


def described(signals, y, **options):
    values = {**dict.fromkeys(("d_model", "n_layers", "d_state", "pooling", "readout"), "auto"), "batch_size": 4}
    return S4Classifier(**values, **options, random_state=0).fit(signals, y).describe()


def test_defaults_of_several_channels_follow_the_longest_and_the_shortest_case(monkeypatch):
    text = described(*ragged(64, 640), max_epochs="auto")
    assert "every 100 ms" in text  # a 64th of the longest case
    assert "40 epochs (auto)" in text
    assert "legs" in text.split("pooling")[1]
    assert "closed form" in text
    assert "mean" in described(*ragged(31, 640), max_epochs=1).split("pooling")[1].split("\n")[0]
    monkeypatch.setattr("s4signal.estimators.trained.defaults.MOST_NUMBERS", 20 * 3 * (64 + 640) - 1)
    assert "pooled (auto, for many cases)" in described(*ragged(64, 640), max_epochs=1)
