"""Features computed once per case; some cases also with samples removed, chosen by chance and by the seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import classifier, same_weights

from s4signal import Signals
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.inference import inference_options
from s4signal.estimators.trained.missing import Sampling, drop_samples, make_cases
from s4signal.estimators.trained.precompute import precompute, with_sample_dropout
from s4signal.nn import FilterBank, space_bands
from s4signal.nn.frontends.augmentation import BandDropout, BandShift, SampleDropout, SilencePadding
from s4signal.training import Samples

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


def cases_of(X):
    plain = Standardizer(np.zeros(2), np.ones(2))
    return make_cases(
        Signals(X, sfreq=SFREQ), plain, sfreq=SFREQ, sampling=Sampling(grid=True), targets=torch.arange(len(X))
    )


def fitted_front_end():
    """Return the front end of a fitted model, and how to run it."""
    model = classifier(**DROPPED).fit(X, Y)
    return model.network_.frontend, inference_options(model, model._plan, CPU)


def test_removed_samples_are_interpolated_and_the_others_stay():
    data = np.sin(np.arange(2 * 200).reshape(2, 200) / 50.0)
    gone = drop_samples(Samples(data), 0.5, seed=0).data
    kept = (gone == data).all(0)
    assert gone.shape == data.shape
    assert kept[0]
    assert kept[-1]
    assert kept.mean() == pytest.approx(0.5, abs=0.1)
    assert (gone != data)[:, ~kept].all(), "a sample is missing in all channels or in none"
    assert np.abs(gone - data).max() < 0.01
    assert np.array_equal(drop_samples(Samples(data), 0.0, seed=0).data, data)


def test_a_case_of_one_sample_keeps_it():
    assert drop_samples(Samples(np.ones((1, 1))), 1.0, seed=0).data.tolist() == [[1.0]]


def test_a_third_of_the_cases_misses_samples_in_three_of_four_loads():
    cases, (frontend, options) = cases_of(X), fitted_front_end()
    mixed = with_sample_dropout(frontend, cases, options, seed=0)
    once = precompute(frontend, cases, options)
    for i in range(len(X)):
        np.testing.assert_allclose(mixed.load(i).data, once.load(i).data, atol=1e-5)
    chances = np.random.default_rng(0).uniform(size=(60, len(X)))
    loads = [[mixed.augment(i, chance).data for i, chance in enumerate(row)] for row in chances]
    other = np.array([[not np.array_equal(loaded[i], mixed.load(i).data) for i in range(len(X))] for loaded in loads])
    dropped = other.any(0)
    assert dropped.sum() == len(X) // 3
    assert other[:, dropped].mean() == pytest.approx(0.75, abs=0.1)
    assert {len({loaded[i].tobytes() for loaded in loads}) for i in np.flatnonzero(dropped)} == {2}
    assert np.array_equal(mixed.weights, cases.weights)
    assert torch.equal(mixed.targets, cases.targets)
    assert mixed.lengths.tolist() == once.lengths.tolist()


def test_what_misses_samples_equals_a_case_with_missing_samples(monkeypatch):
    removed = np.arange(X.shape[2]) % 3 == 1
    removed[-1] = False
    monkeypatch.setattr(SampleDropout, "removed", lambda n_times, share, seed: removed)
    cases, (frontend, options) = cases_of(X), fitted_front_end()
    mixed = with_sample_dropout(frontend, cases, options, seed=3)
    expected = precompute(frontend, cases_of(np.where(removed, np.nan, X)), options)
    n_dropped = 0
    for index in range(len(X)):
        other = mixed.augment(index, 0.0).data
        if not np.array_equal(other, mixed.load(index).data):
            n_dropped += 1
            np.testing.assert_allclose(other, expected.load(index).data, atol=1e-5)
    assert n_dropped == len(X) // 3


def test_both_versions_of_a_case_come_from_one_reading():
    cases, (frontend, options), reads = cases_of(X), fitted_front_end(), []
    watched = replace(cases, load=lambda index: reads.append(index) or cases.load(index))
    with_sample_dropout(frontend, watched, options, seed=3)
    assert sorted(reads) == list(range(len(X)))


@pytest.mark.parametrize("changes", [{"augmentation": "auto"}, {"missing": "gap", "augmentation": None}])
def test_cases_miss_samples_only_where_that_is_asked_for(changes, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("removed")

    monkeypatch.setattr("s4signal.estimators.trained.precompute.drop_samples", refuse)
    classifier(**{**DROPPED, **changes}).fit(X, Y)
    with pytest.raises(AssertionError, match="removed"):
        classifier(**DROPPED).fit(X, Y)


def test_the_seed_says_all_that_training_sees():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = classifier(**DROPPED).fit(X, Y)
        state = torch.get_rng_state()
        torch.manual_seed(2)
        other = classifier(**DROPPED).fit(X, Y)
        assert not torch.equal(state, torch.get_rng_state())
    assert same_weights(one, other)


def test_a_fit_that_goes_on_from_a_checkpoint_sees_what_a_whole_one_sees(tmp_path):
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
def test_energies_are_shifted_and_dropped_behind_the_filter_bank_whatever_else_is_asked_for(changes):
    model = classifier(sfreq=SFREQ, **changes).fit(X, Y)
    assert [type(part) for part in model.network_.frontend.augmentations] == AUTO
    assert "rates from 1000 Hz" in model.describe()


@pytest.mark.parametrize(
    ("augmentation", "kinds"), [("auto", []), (None, []), (("band_dropout",), [BandDropout]), (AUTO, AUTO)]
)
def test_a_bank_of_ones_own_is_augmented_only_where_that_is_asked_for(augmentation, kinds):
    names = ("band_shift", "band_dropout", "silence_padding") if augmentation is AUTO else augmentation
    model = classifier(frontend=bank(), sfreq=SFREQ, augmentation=names).fit(X, Y)
    assert [type(part) for part in model.network_.frontend.augmentations] == kinds
    assert ("trained for" in model.describe()) == (len(kinds) > 0)
