"""Augmentations of training cases: their names, settings, and effect on a fit."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from small_models import classifier, regressor, same_weights, waves

from s4signal import S4Classifier, Signals
from s4signal.estimators.augmentation import AUGMENTATIONS, CaseVersions, parse_augmentation
from s4signal.nn import FilterBank
from s4signal.signals.augmentation import SAMPLE_CHANGES, Babble, Noise

__all__: list[str] = []

X, Y = waves(n=12, n_times=160)
EEG = Signals(X, sfreq=100.0)
SOUND = Signals(np.random.default_rng(0).standard_normal((12, 1, 800)), sfreq=4000.0)
SAMPLES = {name: {"share": 1.0} for name in SAMPLE_CHANGES}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            ("louder",),
            r"augmentation=\('louder',\) is unknown or out of range; it must be 'auto', None, a tuple of 'speed'",
        ),
        ({"louder": {}}, "it must be 'auto', None, a tuple of .* or a dictionary from such names to their settings"),
        ("noise", "augmentation='noise' is unknown"),
        ([3], "is unknown"),
        ({"noise": {"snr": 3}}, "'noise' has the settings share, snr_db; got {'snr': 3}"),
        ({"noise": 10}, "'noise' has the settings share, snr_db; got 10"),
        ({"noise": {"snr_db": 10}}, "snr_db=10 of 'noise' must be two numbers, the lower one first"),
        ({"noise": {"snr_db": (30, 0)}}, r"snr_db=\(30, 0\) of 'noise' must be two numbers, the lower one first"),
        ({"room": {"rt60_s": (-1, 1)}}, "of 'room' must be two numbers, the lower one first of at least 0"),
        ({"band_shift": {"bands": "two"}}, "bands='two' of 'band_shift' must be a number of at least 0"),
        ({"noise": {"share": 1.5}}, r"share=1.5 of 'noise' must be a number in \[0, 1\]"),
        ({"noise": {"share": True}}, "share=True of 'noise' must be a number"),
        ({"speed": {"most": np.nan}}, "most=nan of 'speed' must be a number of at least 0"),
    ],
)
def test_invalid_augmentation_raises_an_error_of_one_line(value, text):
    with pytest.raises(ValueError, match=text) as error:
        classifier(augmentation=value).fit(EEG, Y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_has_a_description(name):
    assert AUGMENTATIONS[name]().describe(8000.0)


def test_augmentations_are_applied_in_a_fixed_order():
    assert list(parse_augmentation(["sample_dropout", "band_shift", "noise"])) == [
        "noise",
        "sample_dropout",
        "band_shift",
    ]
    assert parse_augmentation({"noise": {"snr_db": [0, 10]}}) == {"noise": {"snr_db": [0, 10]}}


@pytest.mark.parametrize(("frontend", "signals"), [("hop_means", EEG), ("filterbank", SOUND), ("linear", EEG)])
def test_augmented_fit_is_reproducible_and_differs_from_a_plain_fit(frontend, signals):
    changes = {name: SAMPLES[name] for name in SAMPLES if frontend != "linear" or name != "sample_dropout"}
    changes |= {"spec_augment": {}} if frontend == "filterbank" else {}
    options = {"frontend": frontend, "augmentation": changes, "max_epochs": 3, "batch_size": 4}
    one, same = (classifier(**options).fit(signals, Y) for _ in range(2))
    assert same_weights(one, same)
    assert not same_weights(one, classifier(**{**options, "augmentation": None}).fit(signals, Y))
    assert "white noise at 0 to 30 dB" in one.describe()
    assert np.isfinite(one.predict_proba(signals)).all()


def test_augmented_cases_do_not_depend_on_the_batch_size(monkeypatch):
    seen = {}

    def fit(batch_size):
        seen[batch_size], change = [], CaseVersions.changed

        def changed(self, index, chance):
            seen[batch_size].append((index, chance))
            return change(self, index, chance)

        monkeypatch.setattr(CaseVersions, "changed", changed)
        classifier(frontend="linear", augmentation=("noise",), batch_size=batch_size, early_stopping=False).fit(EEG, Y)
        monkeypatch.undo()

    fit(3)
    fit(None)
    assert sorted(seen[3]) == sorted(seen[None])
    assert 4 < len(seen[3]) < 20


def test_babble_uses_a_few_other_cases_and_reads_each_once():
    class Case:
        def __init__(self, signal):
            self.signal, self.n_reads = signal, 0

        def load(self):
            self.n_reads += 1
            return self.signal

    cases = [Case(signal) for signal in Signals(np.random.default_rng(0).standard_normal((100, 1, 50)))]
    versions = CaseVersions(cases, [Babble(share=1.0, voices=1, snr_db=(0, 0))], 100.0)
    rolled = np.stack([[np.roll(case.signal.data[0], k) for k in range(50)] for case in cases])
    rolled = (rolled - rolled.mean(-1, keepdims=True)) / rolled.std(-1, keepdims=True)
    for index in range(100):
        noise = versions.changed(index, 0.001 * index).data[0] - cases[index].signal.data[0]
        (place,) = np.flatnonzero((rolled @ (noise - noise.mean()) / (50 * noise.std()) > 0.999).any(1))
        assert place != index
    assert max(case.n_reads for case in cases) == 2
    assert 10 < sum(case.n_reads == 2 for case in cases) <= 25


def test_settings_are_kept_in_clones_and_files(tmp_path):
    changes = {"noise": {"snr_db": (5.0, 10.0)}, "band_shift": {"bands": 0.5}}
    model = clone(classifier(augmentation=changes)).fit(SOUND, Y)
    model.save(tmp_path / "model.s4")
    loaded = S4Classifier.load(tmp_path / "model.s4")
    assert loaded.describe() == model.describe()
    assert "white noise at 5 to 10 dB, speakers up to 0.5 band higher or lower" in loaded.describe()
    assert same_weights(loaded.fit(SOUND, Y), model)


def test_augmentations_accept_missing_samples():
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    for frontend in ("linear", "hop_means"):
        changes = {name: SAMPLES[name] for name in SAMPLES if name != "sample_dropout"}
        model = regressor(frontend=frontend, augmentation=changes).fit(Signals(holes, sfreq=100.0), Y.astype(float))
        assert np.isfinite(model.predict(Signals(holes, sfreq=100.0))).all()


def test_augmentations_of_regular_samples_are_refused_with_times():
    times = [np.cumsum(np.random.default_rng(i).uniform(0.005, 0.015, 160)) for i in range(12)]
    with pytest.raises(ValueError, match="augmentation='speed' needs regular samples, but X has times"):
        classifier(augmentation=("speed",)).fit(Signals(X, times=times), Y)
    model = classifier(augmentation={"noise": {"share": 1.0}, "gain": {}}).fit(Signals(X, times=times), Y)
    assert np.isfinite(model.predict_proba(Signals(X, times=times))).all()


def test_augmentations_are_refused_for_front_ends_that_they_do_not_suit():
    with pytest.raises(ValueError, match="'sample_dropout' needs a front end on a regular grid, but frontend is 'line"):
        classifier(frontend="linear", augmentation=("sample_dropout",)).fit(EEG, Y)
    bands = torch.tensor([5.0, 10.0])
    bank = FilterBank(frequencies_hz=bands, bandwidths_hz=bands / 4, sfreq=100.0, hop_s=0.1, output="linear")
    with pytest.raises(ValueError, match="'silence_padding' needs a filter bank with output='log', got 'linear'"):
        classifier(frontend=bank, augmentation=("silence_padding",)).fit(EEG, Y)


def test_predictions_are_not_augmented():
    model = classifier(augmentation={"noise": {"share": 1.0, "snr_db": (-20, -20)}}).fit(EEG, Y)
    assert torch.equal(torch.from_numpy(model.predict_proba(EEG)), torch.from_numpy(model.predict_proba(EEG)))
    assert Noise(share=1.0).share == 1.0
