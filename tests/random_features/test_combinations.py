"""Random combinations of filters equal their definition."""

import numpy as np
import torch

from s4signal.random_features.combinations import draw_combinations, soft_above

__all__: list[str] = []

J = 2
GROUPS = [np.array([0, 2, 3]), np.array([1, 4, 5, 6])]


def drawn(groups=GROUPS):
    return draw_combinations(groups, np.full(7, 5.0), J, rng=np.random.RandomState(0), dtype=torch.float64)


def frames(n_oscillators=7, n=5, n_frames=400):
    """Outputs (n, F, J, 2, m) of different size and mean."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, n_oscillators, J, 2, n_frames, generator=generator, dtype=torch.float64)
    size = torch.rand(n_oscillators, J, 2, 1, generator=generator, dtype=torch.float64) + 0.1
    return noise * size + size.flip(1)


def calibrated(combinations, outputs):
    products = torch.zeros_like(combinations.weights)
    for group in GROUPS:
        index = torch.from_numpy(group)
        which, place = combinations.among(index, J)
        parts = combinations.parts(outputs[:, index], place)
        products[which] = torch.einsum("nqkm,nqlm->qkl", parts, parts) / (outputs.shape[0] * outputs.shape[-1])
    return combinations.calibrated(outputs.mean((0, 4)), products)


def sums_of(combinations, outputs, q):
    """Return the sums of one combination: (n, S, m)."""
    parts = outputs.flatten(1, 2)[:, combinations.members[q]].flatten(1, 2)
    return torch.einsum("sk,nkm->nsm", combinations.weights[q], parts)


def test_every_output_is_in_a_combination_of_its_group():
    members = drawn().members
    assert members.unique().tolist() == list(range(7 * J))
    for row in (members // J).tolist():
        assert any(set(row) <= set(group.tolist()) for group in GROUPS)


def test_thresholds_are_quantiles_in_standard_deviations_around_the_mean():
    outputs = frames()
    combinations = calibrated(drawn(), outputs)
    for q in range(len(combinations.members)):
        sums = sums_of(combinations, outputs, q)
        mean, spread = sums.mean((0, 2)), sums.std((0, 2), correction=0)
        torch.testing.assert_close(
            combinations.thresholds[q], mean[:, None] + spread[:, None] * combinations.quantiles[q]
        )


def test_counts_are_frames_of_the_case_above_the_threshold():
    outputs = frames()
    combinations = calibrated(drawn(), outputs)
    index = torch.from_numpy(GROUPS[1])
    which, place = combinations.among(index, J)
    inside = (torch.rand(5, 400) < 0.7).double()
    counted = combinations.count_above(outputs[:, index], which, place, inside)
    for column, q in enumerate(which.tolist()):
        sums = sums_of(combinations, outputs, q)
        scales = sums.std((0, 2), correction=0)[:, None].expand_as(combinations.quantiles[q])
        above = soft_above(sums[:, :, None], combinations.thresholds[q], scales)
        torch.testing.assert_close(counted[:, column], (above * inside[:, None, None]).sum(-1))


def test_members_lie_within_an_octave():
    frequencies = np.r_[0.0, np.geomspace(1.0, 16.0, 40)]
    combinations = draw_combinations([np.arange(41)], frequencies, 1, rng=np.random.RandomState(0), dtype=torch.float64)
    members = frequencies[combinations.members.numpy()]
    low = (members == 0).any(1)
    assert (members[~low].max(1) <= 2 * members[~low].min(1)).all()
    assert members[low].max() <= 2.0


def test_a_combination_exists_if_all_its_members_exist():
    combinations = drawn()
    which, _ = combinations.among(torch.tensor([1, 4, 5]), J)
    outputs = {q for q, row in enumerate((combinations.members // J).tolist()) if set(row) <= {1, 4, 5}}
    assert set(which.tolist()) == outputs
    assert len(combinations.among(torch.tensor([1]), J)[0]) == 0


def test_a_constant_output_has_no_weight():
    outputs = frames()
    outputs[:, 4, 1] = 3.0
    combinations = calibrated(drawn(), outputs)
    constant = (combinations.members == 4 * J + 1).repeat_interleave(2, dim=1)[:, None].expand_as(combinations.weights)
    assert bool((combinations.weights[constant] == 0).all())
    assert bool((combinations.weights[~constant] != 0).all())


def test_a_single_oscillator_is_a_combination():
    assert set(drawn([np.array([0])]).members.flatten().tolist()) == {0, 1}
