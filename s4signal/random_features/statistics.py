"""Pooled statistics of frozen oscillators: the features of the closed form.

Each statistic is a function of time averages over the whole case or over equal windows of it, so that one pass, block
by block, is enough for any length. Statistics are mappings by name, from sums over frames to the final features.
Shapes: F oscillators with J spatial filters each, C channels, K components, W windows (the first is the whole case).
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from s4signal.random_features.combinations import FilterCombinations, soft_above
from s4signal.random_features.covariances import log_energy, log_euclidean, matrix_log, sum_of_products
from s4signal.random_features.filters import LONGEST_HOP, SpatialFilters, filter_frames

STATISTICS = ("means", "ppv", "combinations", "energies")
SEGMENTS = 512  # largest number of partial sums in a stream; when all are full, they are merged in pairs

_AT_ONCE = 2**21  # numbers in the inputs and frames of a piece
_MOST_TABLES = 64  # cached
_COVARIANCES = 32  # smallest number of oscillators with a covariance, unless every second has one


class OscillatorGroup(NamedTuple):
    """Indices of oscillators (f,) of one order and hop, and of their combinations (q,), with members (q, k)."""

    oscillators: Tensor
    hop: int
    order: int
    combinations: Tensor
    members: Tensor


@dataclass(frozen=True, eq=False)
class PooledStatistics:
    """Frozen oscillators applied to spatial filters of the channels, and the pooling of their outputs.

    Shapes: frequencies_hz, bandwidths_hz, orders, hops, has_segment_means (F,), spatial_filters (F, J, C), components
    (K, C), quantiles, thresholds, scales (F, J, 2). Thresholds lie ``quantiles`` standard deviations (``scales``) from
    the mean of the training frames.
    """

    frequencies_hz: Tensor
    bandwidths_hz: Tensor
    orders: Tensor
    hops: Tensor
    has_segment_means: Tensor  # of bool: periods longer than a window, whose means reflect the phase
    spatial_filters: Tensor
    components: Tensor
    quantiles: Tensor
    thresholds: Tensor
    scales: Tensor
    sfreq: float
    n_windows: int
    shrinkage: float | None  # of covariances before their logarithm; None: no logarithm
    combinations: FilterCombinations | None = None
    _tables: dict[Any, dict[Any, Any]] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the cached tables."""
        return {**self.__dict__, "_tables": {}}

    @property
    def has_covariance(self) -> Tensor:
        """Which oscillators have energies, (F,): all if there are no spatial filters or one channel, else 32 to 48."""
        F, J, C = self.spatial_filters.shape
        # Neighbours in frequency have nearly the same covariance.
        every = 1 if C == 1 or J == 0 else max(2, F // _COVARIANCES)
        return torch.arange(F - 1, -1, -1) % every == 0

    @property
    def windowed(self) -> Set[str]:
        """The statistics that are also computed per window."""
        return {"means", "ppv", "energies"} if self.spatial_filters.shape[2] == 1 else {"means", "ppv"}

    def below_nyquist(self, rate: float) -> Tensor:
        """Return which oscillators (F,) are below the Nyquist frequency at ``rate`` training sample periods."""
        return self.frequencies_hz * rate < 0.5 * self.sfreq

    def groups(self, rate: float) -> Iterator[OscillatorGroup]:
        """Yield the oscillators below the Nyquist frequency by order and hop."""
        hops = (self.hops / rate).round().clamp(1, LONGEST_HOP).long()
        kinds, exists = torch.stack([hops, self.orders], 1), self.below_nyquist(rate)
        for hop, order in kinds[exists].unique(dim=0).tolist():
            index = torch.nonzero((hops == hop) & (self.orders == order) & exists)[:, 0]
            among = (index[:0], index[:0])
            if self.combinations is not None:
                among = self.combinations.among(index, self.spatial_filters.shape[1])
            yield OscillatorGroup(index, hop, order, *among)

    @torch.no_grad()
    def calibrated(self, batches: Iterator[tuple[Tensor, Tensor, float, Tensor]]) -> "PooledStatistics":
        """Set the thresholds from batches of training cases: x (C, n, n_times), lengths (n,), rate, weights (n,)."""
        first = torch.zeros_like(self.thresholds)
        second, total = torch.zeros_like(first), 0.0
        combinations = self.combinations
        products = torch.zeros_like(combinations.weights) if combinations else torch.empty(0)
        for x, lengths, rate, weights in batches:
            total += float(weights.sum())
            for group in self.groups(rate):
                ends = self.ends(lengths, group.hop)
                weight = (weights / ends[:, -1]).to(x.dtype)[:, None]
                for frames, windows in self._frames(x, ends, rate, group):
                    counted = frames * (windows[..., 0] * weight)[:, None, None, None]
                    first[group.oscillators] += counted.sum((0, 4))
                    second[group.oscillators] += (counted * frames).sum((0, 4))
                    if combinations:
                        weighted, plain = (combinations.parts(part, group.members) for part in (counted, frames))
                        products[group.combinations] += torch.matmul(weighted, plain.transpose(-1, -2)).sum(0)
        mean = first / total
        scales = (second / total - mean**2).clamp_min(0.0).sqrt()
        if combinations:
            combinations = combinations.calibrated(mean, products / total)
        return replace(self, thresholds=mean + scales * self.quantiles, scales=scales, combinations=combinations)

    @torch.no_grad()
    def pool(
        self, x: Tensor, lengths: Tensor, *, rate: float = 1.0, wanted: Set[str] = frozenset(STATISTICS)
    ) -> dict[str, Tensor]:
        """Pool over cases x (C, n, n_times) of lengths (n,); see `finished`. Statistics not in ``wanted`` are NaN."""
        table, of_frames = self.empty(x.shape[1], x), wanted - ({"energies"} - self.windowed)
        components = x if len(self.components) == len(x) else torch.tensordot(self.components.to(x), x, dims=1)
        for group in self.groups(rate) if wanted else ():
            ends, sums = self.ends(lengths, group.hop), dict[str, Tensor]()
            for frames, windows in self._frames(x, ends, rate, group) if of_frames else ():
                more = self.add_up(frames, group, windows, windows[..., 0], wanted=of_frames)
                sums = {name: sums[name] + part for name, part in more.items()} if sums else more
            if wanted - of_frames:
                some = self._bands(group.oscillators[self.has_covariance[group.oscillators]], rate)
                tables = self._tables_of(rate, group, "products")
                sums["energies"] = sum_of_products(components, lengths, some, group.order, group.hop, tables)
            self.enter(table, self.places(group), self.averaged(sums, ends))
        return self.finished(table)

    def empty(self, n: int, like: Tensor) -> dict[str, Tensor]:
        """Return a table of NaN for n cases, of the dtype of ``like``."""
        F, J, C = self.spatial_filters.shape
        K, W, E = len(self.components), 1 + self.n_windows, int(self.has_covariance.sum())
        shapes = {
            "means": (F, J, 2, W),
            "ppv": (F, J, 2, W),
            "combinations": (0,) if self.combinations is None else self.combinations.quantiles.shape,
            "energies": (F, W) if C == 1 else (E, K * (K + 1) // 2),
        }
        return {name: like.new_full((n, *shape), torch.nan) for name, shape in shapes.items()}

    def places(self, group: OscillatorGroup) -> dict[str, Tensor]:
        """Return the rows of a table for the statistics of some oscillators."""
        chosen = self.has_covariance
        return {
            **dict.fromkeys(("means", "ppv"), group.oscillators),
            "combinations": group.combinations,
            "energies": (chosen.cumsum(0) - 1)[group.oscillators[chosen[group.oscillators]]],
        }

    def averaged(self, sums: Mapping[str, Tensor], ends: Tensor) -> dict[str, Tensor]:
        """Divide sums by the number of frames of each window, or of the case; ``ends`` is the result of `ends`."""
        count = ends[:, -1, None, None, None]
        return {name: _mean(part, ends) if name in self.windowed else part / count for name, part in sums.items()}

    def enter(self, table: dict[str, Tensor], places: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> None:
        """Write the statistics of some oscillators, from means over frames, to their rows of a table."""
        for name, part in means.items():
            value = self.described(part) if name == "energies" else part
            table[name][:, places[name]] = value.to(table[name])

    def described(self, energies: Tensor, *, logarithm: Callable[[Tensor], Tensor] = matrix_log) -> Tensor:
        """Return features of energies (n, F, W) of one channel, or of covariances (n, E, K, K)."""
        if "energies" in self.windowed:
            return log_energy(energies)
        if self.shrinkage is None:
            row, column = torch.triu_indices(*energies.shape[-2:])
            return energies[..., row, column]
        return log_euclidean(energies, self.shrinkage, logarithm=logarithm)

    def finished(self, table: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the final statistics of n cases by name.

        Shapes: means (n, F, J, 2), segment means (n, S, J, 2, W - 1), ppv (n, F, J, 2, W), combinations (n, Q, 2 k, T),
        energies (n, F, W) for one channel, (n, E, K (K + 1) / 2) for several.
        """
        means = table["means"]
        return {**table, "means": means[..., 0], "segment means": means[:, self._segmented, ..., 1:]}

    @cached_property
    def _segmented(self) -> Tensor:
        return torch.nonzero(self.has_segment_means)[:, 0]  # indices, since a mask would be converted at each call

    def spatial(self, group: OscillatorGroup, dtype: torch.dtype, *, covariance: bool) -> SpatialFilters:
        """Return the spatial filters of some oscillators, with components if ``covariance``."""
        chosen = self.has_covariance[group.oscillators] & covariance
        return SpatialFilters(self.spatial_filters[group.oscillators].to(dtype), self.components.to(dtype), chosen)

    def add_up(
        self,
        frames: Tensor,
        group: OscillatorGroup,
        windows: Tensor,
        inside: Tensor,
        *,
        wanted: Set[str] = frozenset(STATISTICS),
    ) -> dict[str, Tensor]:
        """Return the sums of the statistics over frames (n, f, J, 2, m) of the filters.

        ``windows`` (n, m, W) is the fraction of a frame in each window; ``inside`` (n, m) is 1 for frames of the case.
        """
        sums, index = {}, group.oscillators
        if "means" in wanted:
            sums["means"] = _pool(frames, windows)
        if "ppv" in wanted:
            sums["ppv"] = _pool(soft_above(frames, self.thresholds[index], self.scales[index]), windows)
        if "combinations" in wanted and self.combinations is not None:
            sums["combinations"] = self.combinations.count_above(frames, group.combinations, group.members, inside)
        if "energies" in wanted & self.windowed:
            sums["energies"] = _pool(frames.square().sum(3), windows)[:, :, 0]
        return sums

    def ends(self, lengths: Tensor, hop: int) -> Tensor:
        """Return the first frame of each window, then the number of frames, of cases (n,): (n, n_windows + 1)."""
        samples = torch.arange(self.n_windows + 1) * lengths[:, None]
        return (samples + self.n_windows * hop - 1) // (self.n_windows * hop)

    def _frames(self, x: Tensor, ends: Tensor, rate: float, group: OscillatorGroup) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield frames of the filters (n, f, J, 2, m), and their windows (n, m, W)."""
        spatial, f = self.spatial(group, x.dtype, covariance=False), len(group.oscillators)
        for start, frames in filter_frames(
            x.flatten(0, 1),
            *self._bands(group.oscillators, rate),
            order=group.order,
            hop=group.hop,
            at_once=_AT_ONCE * f // (f + 16),  # windows take the memory of some 16 oscillators
            spatial_filters=spatial.before,
            tables=self._tables_of(rate, group, "frames"),
        ):
            windows = share_of_windows(start // group.hop + torch.arange(frames.shape[-1]), ends)
            # Frames are contiguous in memory: products take a third of the time.
            yield spatial.split(frames, x.shape[1])[0], windows.to(x.dtype).mT.contiguous().mT

    def _bands(self, oscillators: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Return frequencies and bandwidths in cycles per sample."""
        sfreq = self.sfreq / rate
        return self.frequencies_hz[oscillators] / sfreq, self.bandwidths_hz[oscillators] / sfreq

    def _tables_of(self, rate: float, group: OscillatorGroup, what: str) -> dict[Any, Any]:
        """Return the cache for the tables of a group."""
        if len(self._tables) >= _MOST_TABLES:  # recordings of many rates
            self._tables.clear()
        return self._tables.setdefault((rate, group.hop, group.order, what), {})


def feature_blocks(statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flatten finished statistics into blocks of features (n, p) for the regression; segment means are means."""
    means = torch.cat([statistics[name].flatten(1) for name in ("means", "segment means")], 1)
    return {name: means if name == "means" else statistics[name].flatten(1) for name in STATISTICS}


def segment_length(frames: Tensor) -> Tensor:
    """Return the number of frames per segment, a power of two, so that SEGMENTS segments hold all frames."""
    powers = 2 ** torch.arange(32)
    return powers[(frames[..., None] > SEGMENTS * powers).sum(-1)]


def share_of_windows(numbers: Tensor, ends: Tensor) -> Tensor:
    """Return the fraction of each frame (m,) in each window, (n, m, W), given the ``ends`` of the windows.

    A stream keeps sums over at most SEGMENTS equal segments: a segment across a border is divided between both windows.
    """
    frames = ends[:, -1:]
    length = segment_length(frames)
    start = numbers // length * length  # start of the segment
    size = torch.minimum(length, frames - start).clamp_min(1)
    before = ((ends[:, None] - start[..., None]) / size[..., None].to(torch.float64)).clamp_(0.0, 1.0)
    inside = (numbers < frames)[..., None]
    return torch.cat([inside, before.diff(dim=-1) * inside], -1)


def _pool(values: Tensor, windows: Tensor) -> Tensor:
    """Sum values (n, ..., m) over windows (n, m, W), giving (n, ..., W)."""
    return torch.bmm(values.flatten(1, -2), windows).view(*values.shape[:-1], windows.shape[-1])


def _mean(sums: Tensor, ends: Tensor) -> Tensor:
    """Divide sums (n, ..., W) by the number of frames of each window; weights of 1 are summed exactly before."""
    total = torch.cat([ends[:, -1:], ends.diff(dim=1)], 1).to(sums.dtype)
    total = total.view(total.shape[0], *[1] * (sums.ndim - 2), -1)
    # If a case is too short for a frame in each window, an empty window is replaced by the whole case.
    return torch.where(total > 0, sums / total.clamp_min(1), sums[..., :1] / total[..., :1])
