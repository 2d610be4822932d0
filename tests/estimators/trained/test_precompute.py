"""Features and augmented versions are computed once per case and depend only on the seed and the case."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import classifier, same_weights

from s4signal import Signals
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.inference import inference_options
from s4signal.estimators.trained.missing import Sampling, make_cases
from s4signal.estimators.trained.precompute import precompute, precompute_versions
from s4signal.nn import FilterBank, space_bands
from s4signal.nn.frontends.augmentation import BandDropout, BandShift, SilencePadding
from s4signal.signals.augmentation import Noise, SampleDropout, Speed

__all__: list[str] = []

SFREQ = 4000.0
CPU = torch.device("cpu")
DROPPED = {"sfreq": SFREQ, "augmentation": ("sample_dropout",)}


def sounds(n=24, n_times=1200):
    """Return low and high tones in noise, (n, 2, n_times), and their names."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    phase = 2 * np.pi * np.array([300.0, 900.0])[y][:, None, None] / SFREQ * np.arange(n_times)
    return np.sin(phase) + 0.3 * rng.standard_normal((n, 2, n_times)), np.array(["low", "high"])[y]


X, Y = sounds()


def bank():
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 1800.0)
    return FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.01)


def cases_of(X, *changes):
    plain, targets = Standardizer(np.zeros(2), np.ones(2)), torch.arange(len(X))
    signals = Signals(X, sfreq=SFREQ)
    return make_cases(signals, plain, sfreq=SFREQ, sampling=Sampling(grid=True), targets=targets, changes=changes)


def fitted_front_end():
    """Return the front end of a fitted model and its inference options."""
    model = classifier(**DROPPED).fit(X, Y)
    return model.network_.frontend, inference_options(model, model._plan, CPU)


def test_half_of_the_loads_return_one_of_two_fixed_augmented_versions():
    cases, (frontend, options) = cases_of(X, Noise(share=1.0)), fitted_front_end()
    mixed = precompute_versions(frontend, cases, options, seed=0)
    once = precompute(frontend, cases, options)
    for i in range(len(X)):
        np.testing.assert_allclose(mixed.load(i).data, once.load(i).data, atol=1e-5)
    chances = np.random.default_rng(0).uniform(size=(60, len(X)))
    loads = [[mixed.augment(i, chance).data.tobytes() for i, chance in enumerate(row)] for row in chances]
    original = np.array([[found == mixed.load(i).data.tobytes() for i, found in enumerate(row)] for row in loads])
    assert original.mean() == pytest.approx(0.5, abs=0.05)
    assert {len({row[i] for row in loads}) for i in range(len(X))} == {3}
    assert np.array_equal(mixed.weights, cases.weights)
    assert torch.equal(mixed.targets, cases.targets)
    assert mixed.lengths.tolist() == once.lengths.tolist()
    assert mixed.rates.tolist() == once.rates.tolist()


def test_sample_dropout_equals_a_case_with_missing_samples(monkeypatch):
    removed = np.arange(X.shape[2]) % 3 == 1
    removed[-1] = False
    monkeypatch.setattr(SampleDropout, "__call__", lambda self, x, draw: np.where(removed, np.nan, x))
    cases, (frontend, options) = cases_of(X, SampleDropout(share=1.0)), fitted_front_end()
    mixed = precompute_versions(frontend, cases, options, seed=3)
    expected = precompute(frontend, cases_of(np.where(removed, np.nan, X)), options)
    for index in range(len(X)):
        for chance in (0.0, 0.4):
            np.testing.assert_allclose(mixed.augment(index, chance).data, expected.load(index).data, atol=1e-5)


def test_versions_depend_on_seed_and_case_but_not_on_batches():
    changes, (X, _) = (Speed(share=1.0), Noise()), sounds(n_times=2400)
    frontend, options = fitted_front_end()
    one, same, other = (
        precompute_versions(frontend, cases_of(X, *changes), replace(options, max_samples=size), seed=seed)
        for size, seed in ((options.max_samples, 1), (2000, 1), (2000, 2))
    )
    for i in range(len(X)):
        np.testing.assert_allclose(one.augment(i, 0.2).data, same.augment(i, 0.2).data, atol=1e-5)
        assert one.augment(i, 0.2).data.shape != other.augment(i, 0.2).data.shape or not np.array_equal(
            one.augment(i, 0.2).data, other.augment(i, 0.2).data
        )
    assert len({one.augment(i, 0.2).data.shape for i in range(len(X))}) > 5


@pytest.mark.parametrize("changes", [{"augmentation": None}, {"missing": "gap", "augmentation": None}])
def test_samples_are_dropped_only_if_sample_dropout_is_requested(changes, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("removed")

    monkeypatch.setattr(SampleDropout, "__call__", refuse)
    classifier(**{**DROPPED, **changes}).fit(X, Y)
    with pytest.raises(AssertionError, match="removed"):
        classifier(**DROPPED).fit(X, Y)


def test_training_does_not_depend_on_the_global_random_state():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = classifier(**DROPPED).fit(X, Y)
        state = torch.get_rng_state()
        torch.manual_seed(2)
        other = classifier(**DROPPED).fit(X, Y)
        assert not torch.equal(state, torch.get_rng_state())
    assert same_weights(one, other)


def test_resumed_fit_equals_an_uninterrupted_fit(tmp_path):
    class Interrupt:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if len(list(tmp_path.iterdir())):
                raise KeyboardInterrupt("pressed")

    options = {**DROPPED, "max_epochs": 4, "batch_size": 8}
    whole = classifier(**options).fit(X, Y)
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        classifier(**options, checkpoint_dir=tmp_path, callbacks=[Interrupt()]).fit(X, Y)
    assert same_weights(whole, classifier(**options, checkpoint_dir=tmp_path).fit(X, Y))


AUTO = [BandShift, BandDropout, SilencePadding]


@pytest.mark.parametrize("changes", [{}, {"missing": "gap"}, {"missing": "error"}, {"batch_size": None}])
def test_filter_bank_is_augmented_independently_of_other_options(changes):
    model = classifier(sfreq=SFREQ, **changes).fit(X, Y)
    assert [type(part) for part in model.network_.frontend.augmentations] == AUTO
    assert "rates from 1000 Hz" in model.describe()


@pytest.mark.parametrize(
    ("augmentation", "kinds"), [("auto", []), (None, []), (("band_dropout",), [BandDropout]), (AUTO, AUTO)]
)
def test_filter_bank_module_is_augmented_only_if_requested(augmentation, kinds):
    names = ("band_shift", "band_dropout", "silence_padding") if augmentation is AUTO else augmentation
    model = classifier(frontend=bank(), sfreq=SFREQ, augmentation=names).fit(X, Y)
    assert [type(part) for part in model.network_.frontend.augmentations] == kinds
    assert ("trained for" in model.describe()) == (len(kinds) > 0)
