"""Random sums of oscillators against their definition."""

import numpy as np
import torch

from s4signal.random_features.combinations import draw_chords
from s4signal.random_features.thresholds import share_above

__all__: list[str] = []

J = 2
GROUPS = [np.array([0, 2, 3]), np.array([1, 4, 5, 6])]


def drawn(groups=GROUPS):
    return draw_chords(groups, np.full(7, 5.0), J, rng=np.random.RandomState(0), dtype=torch.float64)


def waves(n_oscillators=7, n=5, n_readings=400):
    """Outputs (n, F, J, 2, m) of different size and mean."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, n_oscillators, J, 2, n_readings, generator=generator, dtype=torch.float64)
    size = torch.rand(n_oscillators, J, 2, 1, generator=generator, dtype=torch.float64) + 0.1
    return noise * size + size.flip(1)


def calibrated(chords, heard):
    products = torch.zeros_like(chords.weights)
    for group in GROUPS:
        index = torch.from_numpy(group)
        which, place = chords.among(index, J)
        parts = chords.parts(heard[:, index], place)
        products[which] = torch.einsum("nqkm,nqlm->qkl", parts, parts) / (heard.shape[0] * heard.shape[-1])
    chords.calibrate(heard.mean((0, 4)), products)
    return chords


def played(chords, heard, q):
    """The sums of one chord: (n, S, m)."""
    parts = heard.flatten(1, 2)[:, chords.notes[q]].flatten(1, 2)
    return torch.einsum("sk,nkm->nsm", chords.weights[q], parts)


def test_every_output_is_in_a_chord_of_its_group():
    notes = drawn().notes
    assert notes.unique().tolist() == list(range(7 * J))
    for row in (notes // J).tolist():
        assert any(set(row) <= set(group.tolist()) for group in GROUPS)


def test_levels_are_standard_deviations_around_the_mean_of_each_sum():
    heard = waves()
    chords = calibrated(drawn(), heard)
    for q in range(len(chords.notes)):
        sums = played(chords, heard, q)
        mean, spread = sums.mean((0, 2)), sums.std((0, 2), correction=0)
        torch.testing.assert_close(chords.thresholds[q], mean[:, None] + spread[:, None] * chords.levels[q])


def test_counts_are_weighted_numbers_of_readings_above():
    heard = waves()
    chords = calibrated(drawn(), heard)
    index = torch.from_numpy(GROUPS[1])
    which, place = chords.among(index, J)
    share = torch.rand(5, 400, dtype=torch.float64)
    counted = chords.count(heard[:, index], which, place, share)
    for column, q in enumerate(which.tolist()):
        sums = played(chords, heard, q)
        scales = sums.std((0, 2), correction=0)[:, None].expand_as(chords.levels[q])
        above = share_above(sums[:, :, None], chords.thresholds[q], scales)
        torch.testing.assert_close(counted[:, column], (above * share[:, None, None]).sum(-1))


def test_notes_of_a_chord_lie_within_an_octave():
    frequencies = np.r_[0.0, np.geomspace(1.0, 16.0, 40)]
    chords = draw_chords([np.arange(41)], frequencies, 1, rng=np.random.RandomState(0), dtype=torch.float64)
    notes = frequencies[chords.notes.numpy()]
    low = (notes == 0).any(1)
    assert (notes[~low].max(1) <= 2 * notes[~low].min(1)).all()
    assert notes[low].max() <= 2.0


def test_a_chord_is_heard_if_all_its_notes_are():
    chords = drawn()
    which, _ = chords.among(torch.tensor([1, 4, 5]), J)
    heard = {q for q, row in enumerate((chords.notes // J).tolist()) if set(row) <= {1, 4, 5}}
    assert set(which.tolist()) == heard
    assert len(chords.among(torch.tensor([1]), J)[0]) == 0


def test_a_silent_output_has_no_weight():
    heard = waves()
    heard[:, 4, 1] = 3.0
    chords = calibrated(drawn(), heard)
    silent = (chords.notes == 4 * J + 1).repeat_interleave(2, dim=1)[:, None].expand_as(chords.weights)
    assert bool((chords.weights[silent] == 0).all())
    assert bool((chords.weights[~silent] != 0).all())


def test_one_oscillator_alone_is_a_chord():
    assert set(drawn([np.array([0])]).notes.flatten().tolist()) == {0, 1}
