"""A regression on pooled statistics in plain operations on real tensors, for export at the training rate."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from s4signal.estimators.features.regression import FeatureRegression
from s4signal.nn.prefix_sum import BLOCK, Carry, cut, doublings, first, shifted
from s4signal.random_features.contrast import CONTRASTS, LINES, line_contrast
from s4signal.random_features.running import groups_by_hop, joined, joined_bank
from s4signal.random_features.statistics import (
    SEGMENTS,
    STATISTICS,
    OscillatorGroup,
    PooledStatistics,
    segment_length,
    share_of_windows,
)

_ERROR = 1e-9  # tolerance of the logarithm of a covariance

Table = dict[str, Tensor]


class PlainRegression(nn.Module):
    """Outputs of a regression, times a factor, for whole standardised signals of up to ``longest`` samples."""

    banks: Any

    def __init__(self, regression: FeatureRegression, factor: float, *, longest: int | None = None) -> None:
        super().__init__()
        self.feature_map, blocks = regression.feature_map, frozenset(regression.ridge.blocks)
        rule, sizes = regression.at(1.0, factor=factor), self.feature_map.sizes
        computed = np.flatnonzero(np.repeat([name in blocks for name in sizes], [*sizes.values()]))
        arrays = (rule.low, rule.high, rule.mean, rule.weights, rule.offset)
        tensors = (nn.Buffer(torch.as_tensor(array, dtype=torch.float64)) for array in arrays)
        self.low, self.high, self.mean, self.weights, self.offset = tensors
        self.used = nn.Buffer(torch.from_numpy(np.searchsorted(computed, rule.used)))
        pairs = zip(self.feature_map.banks, self.feature_map.needed(blocks), strict=True)
        self.banks = nn.ModuleList(_Bank(bank, wanted, longest) for bank, wanted in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (batch, n_outputs) for signals (n_channels, batch, n_times), in double precision."""
        return self._predict([[group(part) for group in bank.groups] for bank, part in self._bank_inputs(x)])

    def _bank_inputs(self, x: Tensor) -> list[tuple[Any, Tensor]]:
        """Return each bank with its input."""
        x = x.to(self.feature_map.dtype)
        banks = self.feature_map.banks
        return [(own, self.feature_map.input(bank, x)) for own, bank in zip(self.banks, banks, strict=True)]

    def _predict(self, means: Sequence[Sequence[Table]]) -> Tensor:
        tables = [bank.table(part) for bank, part in zip(self.banks, means, strict=True)]
        blocks = [tables[0][name].flatten(1) for name in STATISTICS if name in tables[0]]
        for name, table in zip(self.feature_map.contrasts, tables[1:], strict=True):
            compare = partial(line_contrast, solve=eliminate) if name == LINES else CONTRASTS[name].compare
            blocks += [compare(table["energies"]).flatten(1)] if table else []
        x = torch.cat([block.double() for block in blocks], 1)[:, self.used]
        return torch.matmul(x.maximum(self.low).minimum(self.high) - self.mean, self.weights) + self.offset


class PlainRegressionSteps(PlainRegression):
    """The same regression on the next ``unit`` samples and all before them; a state is a list of tensors."""

    def __init__(self, regression: FeatureRegression, factor: float, *, n_channels: int, unit: int) -> None:
        super().__init__(regression, factor)
        self.unit, self.n_channels = unit, n_channels
        for bank in self.banks:
            bank.groups = nn.ModuleList(_StepGroup(group, unit) for group in bank.groups)
        self._structure = tree_flatten(self._rested(1))[1]

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
        """Process the next samples (n_channels, batch, unit); return the outputs and the next state."""
        outputs, after = self._advance(x, tree_unflatten(state, self._structure))
        return outputs, tree_flatten(after)[0]

    def at_rest(self, batch: int) -> list[Tensor]:
        """Return the state before the first sample."""
        return tree_flatten(self._rested(batch))[0]

    def _advance(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        now, kept = state
        advanced = [
            [group.advance(part, now, before) for group, before in zip(bank.groups, befores, strict=True)]
            for (bank, part), befores in zip(self._bank_inputs(x), kept, strict=True)
        ]
        outputs = self._predict([[means for means, _ in bank] for bank in advanced])
        return outputs, (now + self.unit, [[after for _, after in bank] for bank in advanced])

    @torch.no_grad()
    def _rested(self, batch: int) -> Any:
        x, none = torch.zeros(self.n_channels, batch, self.unit), [[None] * len(bank.groups) for bank in self.banks]
        _, after = self._advance(x, (torch.zeros(1, dtype=torch.int64), none))
        return tree_map(torch.zeros_like, after)


class _Bank(nn.Module):
    """The oscillators of `PooledStatistics`, grouped by hop."""

    def __init__(self, statistics: PooledStatistics, wanted: Any, longest: int | None) -> None:
        super().__init__()
        groups = groups_by_hop(statistics, 1.0) if wanted else []
        self.groups = nn.ModuleList(_Group(statistics, part, wanted, longest) for part in groups)
        places = statistics.places(joined([group for part in groups for group in part], 0))
        self.order = {name: place.argsort() for name, place in places.items()}
        self.segmented = statistics.has_segment_means.nonzero()[:, 0]

    def table(self, means: Sequence[Table]) -> Table:
        """Concatenate the means of the groups in the order of `PooledStatistics.finished`."""
        names = {name for part in means for name in part}
        table = {n: torch.cat([part[n] for part in means if n in part], 1)[:, self.order[n]] for n in names}
        if "means" in table:
            whole, segments = table["means"][..., 0], table["means"][:, self.segmented][..., 1:]
            table["means"] = torch.cat([whole.flatten(1), segments.flatten(1)], 1)
        return table


class _Group(nn.Module):
    """Oscillators of one hop over whole signals, from the zero state."""

    def __init__(
        self, statistics: PooledStatistics, groups: Sequence[OscillatorGroup], wanted: Any, longest: int | None
    ) -> None:
        super().__init__()
        self.statistics, self.groups, self.wanted = statistics, groups, wanted
        self.dtype = statistics.spatial_filters.dtype
        self.group = joined(groups, statistics.spatial_filters.shape[1])
        self.spatial = statistics.spatial(self.group, self.dtype, covariance="energies" in wanted)
        if longest is not None:
            bank = joined_bank(statistics, groups, 1.0, dtype=torch.float64, longest=BLOCK)
            self.carry = Carry(bank.transition, self.dtype, doublings(longest), dense=True)
            self.into = nn.Buffer(bank.into.unsqueeze(1).to(self.dtype))
            self.out = nn.Buffer(bank.out.unsqueeze(1).to(self.dtype))

    def forward(self, x: Tensor) -> Table:
        """Return the means over signals (n_channels, batch, n_times) of one length."""
        hop, width, n = self.group.hop, self.out.shape[-1], x.shape[1]
        product = torch.matmul(cut(self.inputs(x), BLOCK), self.into)
        entering = shifted(self.carry(product[..., width:]), 1)
        z = (product[..., :width] + torch.matmul(entering, self.out)).unflatten(-1, (2, -1))
        frames = first(z.transpose(2, 3).flatten(3), (x.shape[-1] + hop - 1) // hop)
        ends = self.statistics.ends(torch.ones_like(x[0], dtype=torch.int64).sum(-1), hop)
        windows = share_of_windows(torch.arange(frames.shape[-1]), ends).to(self.dtype)
        return self.means(self.sums(frames, n, windows, windows[..., 0]), ends)

    def inputs(self, x: Tensor) -> Tensor:
        """Return the input of the oscillators, (f or 1, R * batch, n_times)."""
        if self.spatial.before is None:
            return x.flatten(0, 1).unsqueeze(0)
        return torch.einsum("frc,cnt->frnt", self.spatial.before, x).flatten(1, 2)

    def sums(self, frames: Tensor, n: int, windows: Tensor, inside: Tensor) -> Table:
        """Add up frames (f, R * n, 2, m); see `PooledStatistics.add_up`."""
        filtered, z = self.spatial.split(frames, n)
        sums = self.statistics.add_up(filtered, self.group, windows, inside, wanted=self.wanted)
        if len(z) and "energies" in self.wanted - self.statistics.windowed:
            rows = (z * inside[:, None]).permute(2, 0, 1, 3, 4).flatten(3).double()
            sums["energies"] = torch.matmul(rows, rows.mT)
        return sums

    def means(self, sums: Table, ends: Tensor) -> Table:
        """Return the statistics that `PooledStatistics.enter` stores."""
        means = self.statistics.averaged(sums, ends)
        if "energies" in means:
            log = partial(matrix_log, shrinkage=self.statistics.shrinkage or 0.0)
            means["energies"] = self.statistics.described(means["energies"], logarithm=log)
        return means


class _StepGroup(_Group):
    """Oscillators of one hop, step by step."""

    def __init__(self, group: _Group, unit: int) -> None:
        super().__init__(group.statistics, group.groups, group.wanted, None)
        bank = joined_bank(group.statistics, group.groups, 1.0, dtype=self.dtype, longest=unit, hop=1)
        self.into, self.out, self.transition = map(nn.Buffer, bank)

    def advance(self, x: Tensor, now: Tensor, kept: Any) -> tuple[Table, Any]:
        """Process samples (n_channels, batch, unit) after ``now`` (1,) others; a state keeps sums over segments."""
        hop, n, unit = self.group.hop, x.shape[1], x.shape[2]
        product, width = torch.matmul(self.inputs(x), self.into), self.out.shape[-1]
        frames, after = product[..., :width], product[..., width:]
        if kept is not None:
            before = kept[0].flatten(1, 2)
            frames, after = frames + torch.matmul(before, self.out), after + torch.matmul(before, self.transition)
        at = (hop - now % hop) % hop + hop * torch.arange(-(-unit // hop))  # sample indices of the frames
        inside, until = at < unit, now + unit
        frames = frames.unflatten(-1, (2, unit))[..., at.clamp_max(unit - 1)]
        long, longer = (segment_length((end + hop - 1) // hop) for end in (now, until))
        segments = ((now + at) // hop // longer)[:, None] == torch.arange(SEGMENTS)
        counted = (segments & inside[:, None]).to(self.dtype).expand(n, -1, -1)
        sums = self.sums(frames, n, counted, inside.to(self.dtype).expand(n, -1))
        ends, windowed = self.statistics.ends(until, hop), self.statistics.windowed
        sums = {name: part.double() for name, part in sums.items()}
        for name, part in sums.items() if kept is not None else ():
            past = kept[1][name]
            if name in windowed:
                halved = torch.cat([past.unflatten(-1, (-1, 2)).sum(-1), torch.zeros_like(past[..., ::2])], -1)
                past = torch.where(longer > long, halved, past)
            sums[name] = past + part
        share = share_of_windows(torch.arange(SEGMENTS) * longer, ends)[0].double()
        pooled = {name: torch.matmul(part, share) if name in windowed else part for name, part in sums.items()}
        return self.means(pooled, ends), (after.unflatten(1, (-1, n)), sums)


def matrix_log(covariance: Tensor, *, shrinkage: float) -> Tensor:
    """Return the logarithm of matrices (..., K, K): the integral of (A - I) (I + t (A - I))^-1 over t from 0 to 1.

    The trace bounds the eigenvalues from above, the shrinkage from below; ``centre`` is the geometric mean of both.
    """
    K, lowest = covariance.shape[-1], shrinkage / (1.0 + shrinkage)
    eye = torch.eye(K, dtype=covariance.dtype)
    centre = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * math.sqrt(K * lowest)
    ratio = (lowest / K) ** 0.25
    n_nodes = math.ceil(math.log(_ERROR) / (2.0 * math.log((1.0 - ratio) / (1.0 + ratio))))
    nodes, weights = (torch.from_numpy(part)[:, None, None] for part in np.polynomial.legendre.leggauss(n_nodes))
    rest = (covariance / centre - eye).unsqueeze(-3)
    steps = 0.5 * (nodes + 1.0) * rest
    X = eliminate(eye + steps, rest.expand_as(steps))
    logarithm: Tensor = (0.5 * weights * X).sum(-3) + centre.log() * eye
    return logarithm


def eliminate(A: Tensor, B: Tensor) -> Tensor:
    """Solve A X = B for positive definite matrices A (..., K, K), by elimination without pivoting."""
    K = A.shape[-1]
    X, eye = torch.cat([A, B], -1), torch.eye(K, dtype=A.dtype)
    for k in range(K):
        X = X - (X[..., k : k + 1] - eye[:, k : k + 1]) * (X[..., k : k + 1, :] / X[..., k : k + 1, k : k + 1])
    return X[..., K:]
