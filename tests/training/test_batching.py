"""Batches contain every case once, with little padding and bounded memory."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from s4signal.training.batching import Cases, Samples, padded_length, plan_steps, sequential_batches


def cases_of(lengths, rates=None, gaps=None):
    n = len(lengths)
    return Cases(
        load=lambda i: Samples(np.full((2, lengths[i]), float(i)), None if gaps is None else gaps[i]),
        lengths=np.asarray(lengths, dtype=np.int64),
        rates=np.ones(n) if rates is None else np.asarray(rates, dtype=float),
        weights=np.ones(n),
        targets=torch.arange(n),
    )


def only_batch(cases, dtype=torch.float32):
    [(_, batch)] = cases.batches(np.arange(len(cases)), dtype=dtype, device=torch.device("cpu"))
    return batch


def padding(cases, steps):
    return sum(padded_length(int(cases.lengths[p].max())) * len(p) - cases.lengths[p].sum() for s in steps for p in s)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 32, 1000])
def test_a_plan_covers_every_case_once(batch_size, rng):
    cases = cases_of(rng.integers(10, 900, 100), rates=rng.choice([1.0, 2.0], 100))
    steps = plan_steps(cases, batch_size=batch_size, max_samples=2000, rng=np.random.RandomState(0))
    assert sorted(np.concatenate([piece for step in steps for piece in step])) == list(range(100))


def test_a_plan_pads_less_than_random_batches(rng):
    cases = cases_of(rng.integers(10, 5000, 200))
    steps = plan_steps(cases, batch_size=8, max_samples=10**9, rng=np.random.RandomState(0))
    shuffled = [[piece] for piece in np.array_split(rng.permutation(200), 25)]
    assert padding(cases, steps) < 0.5 * padding(cases, shuffled)


@pytest.mark.parametrize("max_samples", [3000, 10**9])
def test_pieces_respect_max_samples_and_have_one_rate(max_samples, rng):
    cases = cases_of(rng.integers(10, 900, 60), rates=rng.choice([0.5, 1.0], 60))
    steps = plan_steps(cases, batch_size=20, max_samples=max_samples, rng=np.random.RandomState(0))
    for piece in (piece for step in steps for piece in step):
        assert len(piece) * padded_length(int(cases.lengths[piece].max())) <= max_samples
        assert len(set(cases.rates[piece])) == 1
    for one, following in (pair for step in steps for pair in pairwise(step)):  # no piece is smaller than necessary
        larger = (len(one) + 1) * padded_length(int(cases.lengths[following[0]]))
        assert larger > max_samples or cases.rates[one[0]] != cases.rates[following[0]]


def test_a_case_longer_than_max_samples_is_its_own_piece():
    steps = plan_steps(cases_of([500, 600]), batch_size=2, max_samples=100, rng=np.random.RandomState(0))
    assert [len(piece) for piece in steps[0]] == [1, 1]


def test_without_batch_size_an_epoch_is_one_step():
    assert len(plan_steps(cases_of([50] * 40), batch_size=None, max_samples=100, rng=np.random.RandomState(0))) == 1


def test_steps_have_batch_size_cases_in_a_new_order_each_epoch():
    cases, random_order = cases_of([50] * 40), np.random.RandomState(0)
    first = plan_steps(cases, batch_size=10, max_samples=10**6, rng=random_order)
    second = plan_steps(cases, batch_size=10, max_samples=10**6, rng=random_order)
    assert [sum(map(len, step)) for step in first] == [10] * 4
    assert not np.array_equal(first[0][0], second[0][0])


def test_padding_of_a_batch_is_zero_and_masked():
    batch = only_batch(cases_of([16, 9]), dtype=torch.float64)
    assert batch.x.shape == (2, 2, 16)
    assert batch.x.dtype == torch.float64
    assert batch.mask.sum(1).tolist() == [16, 9]
    assert (batch.x[:, 1, 9:] == 0).all()
    assert (batch.x[:, 1, :9] == 1).all()
    assert batch.target.tolist() == [0, 1]


def test_cases_of_arrays_have_the_given_weights():
    assert Cases.of([np.zeros((1, 3))] * 2, weights=np.array([1.0, 3.0])).weights.tolist() == [1.0, 3.0]


def test_a_batch_without_padding_has_no_mask():
    batch = only_batch(cases_of([32, 32]))
    assert batch.mask is None
    assert batch.gaps is None


def test_sequential_batches_contain_every_case_once(rng):
    cases = cases_of(rng.integers(10, 300, 30))
    seen = []
    for indices, batch in sequential_batches(cases, max_samples=1000, dtype=torch.float32, device=torch.device("cpu")):
        assert torch.equal(batch.x[0, :, 0], torch.from_numpy(indices).float())
        seen += indices.tolist()
    assert sorted(seen) == list(range(30))


def test_gaps_of_padding_are_zero():
    batch = only_batch(cases_of([4, 2], gaps=[np.array([1.0, 0.5, 2.0, 0.25]), np.array([3.0, 1.5])]))
    assert batch.gaps.dtype == torch.float64
    assert batch.gaps.tolist() == [[1.0, 0.5, 2.0, 0.25], [3.0, 1.5, 0.0, 0.0]]


def test_cases_with_and_without_gaps_are_in_separate_batches():
    cases = cases_of([5, 5, 5], gaps=[None, np.ones(5), None])
    found = list(cases.batches(np.array([2, 1, 0]), dtype=torch.float32, device=torch.device("cpu")))
    assert [(indices.tolist(), batch.gaps is None) for indices, batch in found] == [([2, 0], True), ([1], False)]
    assert [batch.target.tolist() for _, batch in found] == [[2, 0], [1]]


def test_a_loaded_case_may_be_shorter_than_its_length():
    cases = cases_of([16, 9])
    shorter = Cases(lambda i: Samples(cases.load(i).data[:, :5]), cases.lengths, cases.rates, cases.weights)
    assert only_batch(shorter).x.shape == (2, 2, 5)
