"""What training hears: some cases a second time with samples missing, chosen by chance and by the seed alone."""

import numpy as np
import pytest
import torch
from small_models import classifier, same_weights

from s4signal import Signals
from s4signal.estimators.trained.loop_options import network_options
from s4signal.estimators.trained.missing import thinned
from s4signal.estimators.trained.plan import make_cases
from s4signal.estimators.trained.precompute import hear_thinned
from s4signal.nn import FilterBank, space_bands
from s4signal.nn.frontends.augmentation import BandDropout, BandShift, SampleDropout
from s4signal.training import Samples

__all__: list[str] = []

SFREQ = 4000.0
CPU = torch.device("cpu")
GAPS = {"sfreq": SFREQ, "missing": "gap"}


def sounds(n=24, n_times=1200):
    """Return low and high tones in noise, (n, 2, n_times), and their names."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    phase = 2 * np.pi * np.array([300.0, 900.0])[y][:, None, None] / SFREQ * np.arange(n_times)
    return np.sin(phase) + 0.3 * rng.standard_normal((n, 2, n_times)), np.array(["low", "high"])[y]


X, Y = sounds()


def cases_and_heard():
    """Return the raw cases of a fit, those it trained on, and the first hearing."""
    model = classifier(**GAPS).fit(X, Y)
    signals = Signals(X, sfreq=SFREQ)
    cases = make_cases(signals, model._standardizer, sfreq=SFREQ, sampling=model._plan.sampling)
    heard = model._cases(signals, np.ones(len(X)), (Y == "high").astype(int), CPU)
    return model, cases, heard


def test_thinned_samples_are_drawn_across_and_the_others_stay():
    data = np.sin(np.arange(2 * 200).reshape(2, 200) / 50.0)
    gone = thinned(Samples(data), 0.5, seed=0).data
    kept = (gone == data).all(0)
    assert gone.shape == data.shape
    assert kept[0]
    assert kept[-1]
    assert kept.mean() == pytest.approx(0.5, abs=0.1)
    assert (gone != data)[:, ~kept].all(), "a sample is missing in all channels or in none"
    assert np.abs(gone - data).max() < 0.01
    assert np.array_equal(thinned(Samples(data), 0.0, seed=0).data, data)


def test_a_case_of_one_sample_keeps_it():
    assert thinned(Samples(np.ones((1, 1))), 1.0, seed=0).data.tolist() == [[1.0]]


def test_a_third_of_the_cases_has_a_second_hearing_that_comes_in_three_of_four_loads():
    model, cases, heard = cases_and_heard()
    mixed = hear_thinned(model.network_, cases, heard, network_options(model, len(X), CPU), seed=0)
    first = [heard.load(i).data for i in range(len(X))]
    chances = np.random.default_rng(0).uniform(size=(60, len(X)))
    other = np.array(
        [[not np.array_equal(mixed.augment(i, row[i]).data, first[i]) for i in range(len(X))] for row in chances]
    )
    thinned_cases = other.any(0)
    assert thinned_cases.sum() == len(X) // 3
    assert other[:, thinned_cases].mean() == pytest.approx(0.75, abs=0.1)
    assert np.array_equal(mixed.weights, heard.weights)
    assert torch.equal(mixed.targets, heard.targets)


def test_a_second_hearing_is_that_of_a_case_with_missing_samples():
    model, cases, heard = cases_and_heard()
    mixed = hear_thinned(model.network_, cases, heard, network_options(model, len(X), CPU), seed=3)
    rng = np.random.RandomState(3)
    index = rng.permutation(len(X))[0]
    share, seed = rng.uniform(0.1, SampleDropout.MOST, len(X) // 3)[0], rng.randint(2**31 - 1, size=len(X) // 3)[0]
    holes = np.random.RandomState(seed).uniform(size=X.shape[2]) < share
    holes[[0, -1]] = False
    signals = Signals(np.where(holes, np.nan, X[index])[None], sfreq=SFREQ)
    expected = model._cases(signals, np.ones(1), np.zeros(1, dtype=int), CPU).load(0).data
    loads = [mixed.augment(int(index), chance).data for chance in np.linspace(0, 0.99, 20)]
    assert any(np.allclose(load, expected, atol=1e-4) for load in loads)


@pytest.mark.parametrize("changes", [{"missing": "auto"}, {"batch_size": None}, {"frontend": "linear"}])
def test_cases_are_heard_once_where_gaps_were_not_asked_for_or_chance_must_not_choose(changes, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("heard again")

    monkeypatch.setattr("s4signal.estimators.trained.base.hear_thinned", refuse)
    classifier(**{**GAPS, **changes}).fit(X, Y)
    with pytest.raises(AssertionError, match="heard again"):
        classifier(**GAPS).fit(X, Y)


def test_the_seed_says_all_that_training_hears():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = classifier(**GAPS).fit(X, Y)
        state = torch.get_rng_state()
        torch.manual_seed(2)
        other = classifier(**GAPS).fit(X, Y)
        assert not torch.equal(state, torch.get_rng_state())
    assert same_weights(one, other)


def test_a_fit_that_goes_on_from_a_checkpoint_hears_what_a_whole_one_hears(tmp_path):
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

    options = {**GAPS, "max_epochs": 4, "batch_size": 8}
    whole = classifier(**options).fit(X, Y)
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        classifier(**options, checkpoint_dir=tmp_path, callbacks=[Interrupt()]).fit(X, Y)
    assert same_weights(whole, classifier(**options, checkpoint_dir=tmp_path).fit(X, Y))


@pytest.mark.parametrize(
    ("changes", "share"),
    [({}, 0.25), ({"missing": "gap"}, 0.25), ({"missing": "error"}, 0.25), ({"batch_size": None}, 0.0)],
)
def test_bands_move_and_fall_silent_in_training_unless_chance_must_not_choose(changes, share):
    model = classifier(sfreq=SFREQ, **changes).fit(X, Y)
    augmentations = {type(part): part for part in model.network_.frontend.augmentations}
    assert len(augmentations) == 2 * (share > 0)
    if share:
        assert augmentations[BandDropout].probability == share
        assert augmentations[BandShift].bands == 1.0
    assert ("rates from 1000 Hz" in model.describe()) == (share > 0)


def test_a_bank_of_ones_own_loses_bands_only_where_gaps_are_asked_for():
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 1800.0)
    bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.01)
    ears = [
        classifier(frontend=bank, sfreq=SFREQ, missing=missing).fit(X, Y).network_.frontend
        for missing in ("auto", "gap")
    ]
    assert [[type(part) for part in front.augmentations] for front in ears] == [[], [BandDropout]]
