"""Pooled statistics of frozen oscillators: the features of the closed form.

Every statistic is a function of time averages over the whole case or over equal windows of it, so it takes one pass,
block by block, at any length. Statistics are a mapping by name, from sums over frames to the finished features. Shapes:
F oscillators, J spatial filters each, C channels, K components of them, W windows (first the whole case).
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from s4signal.random_features.combinations import FilterCombinations, soft_above
from s4signal.random_features.covariances import log_energy, log_euclidean, sum_of_products
from s4signal.random_features.filters import LONGEST_HOP, filter_frames
from s4signal.random_features.spatial_filters import SpatialFilters

STATISTICS = ("means", "ppv", "combinations", "energies")
SEGMENTS = 512  # most sums that a stream keeps of the past; each covers twice as much time whenever they are full

_AT_ONCE = 2**21  # numbers in the inputs and frames of a piece
_MOST_TABLES = 64
_COVARIANCES = 32  # oscillators at least have one, or every second


class OscillatorGroup(NamedTuple):
    """Numbers of oscillators (f,) of one order and hop, and of the combinations (q,) of them, with members (q, k)."""

    oscillators: Tensor
    hop: int
    order: int
    combinations: Tensor
    members: Tensor


@dataclass(frozen=True, eq=False)
class PooledStatistics:
    """Frozen oscillators over spatial filters of the channels, and how their outputs are pooled.

    Shapes: frequencies_hz, bandwidths_hz, orders, hops, has_segment_means (F,), spatial_filters (F, J, C), components
    (K, C), quantiles, thresholds, scales (F, J, 2). Thresholds lie ``quantiles`` standard deviations (``scales``) from
    the mean of the training frames.
    """

    frequencies_hz: Tensor
    bandwidths_hz: Tensor
    orders: Tensor
    hops: Tensor
    has_segment_means: Tensor  # of bool: slower than a window, whose means tell where in a period it lies
    spatial_filters: Tensor
    components: Tensor
    quantiles: Tensor
    thresholds: Tensor
    scales: Tensor
    sfreq: float
    n_windows: int
    shrinkage: float  # of covariances
    combinations: FilterCombinations | None = None
    _tables: dict[Any, dict[Any, Any]] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be built again."""
        return {**self.__dict__, "_tables": {}}

    @property
    def has_covariance(self) -> Tensor:
        """Which oscillators have energies, (F,): all without spatial filters or of one channel, else 32 to 48."""
        F, J, C = self.spatial_filters.shape
        # Neighbours in frequency have nearly the same covariance.
        every = 1 if C == 1 or J == 0 else max(2, F // _COVARIANCES)
        return torch.arange(F - 1, -1, -1) % every == 0

    @property
    def windowed(self) -> Set[str]:
        """The statistics that the windows have too, not the whole case alone."""
        return {"means", "ppv", "energies"} if self.spatial_filters.shape[2] == 1 else {"means", "ppv"}

    def below_nyquist(self, rate: float) -> Tensor:
        """Which oscillators exist at a sample period of ``rate`` training periods, (F,) of bool."""
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
                        some, others = (combinations.parts(part, group.members) for part in (counted, frames))
                        products[group.combinations] += torch.matmul(some, others.transpose(-1, -2)).sum(0)
        mean = first / total
        scales = (second / total - mean**2).clamp_min(0.0).sqrt()
        if combinations:
            combinations = combinations.calibrated(mean, products / total)
        return replace(self, thresholds=mean + scales * self.quantiles, scales=scales, combinations=combinations)

    @torch.no_grad()
    def pool(
        self, x: Tensor, lengths: Tensor, *, rate: float = 1.0, wanted: Set[str] = frozenset(STATISTICS)
    ) -> dict[str, Tensor]:
        """Pool over cases x (C, n, n_times) of these lengths (n,); see `finished`. What is not wanted is NaN."""
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
        """Return where the statistics of some oscillators stand in a table."""
        chosen = self.has_covariance
        return {
            **dict.fromkeys(("means", "ppv"), group.oscillators),
            "combinations": group.combinations,
            "energies": (chosen.cumsum(0) - 1)[group.oscillators[chosen[group.oscillators]]],
        }

    def averaged(self, sums: Mapping[str, Tensor], ends: Tensor) -> dict[str, Tensor]:
        """Divide what was added up by the frames of each window, or of the case; ``ends`` as of `ends`."""
        count = ends[:, -1, None, None, None]
        return {name: _mean(part, ends) if name in self.windowed else part / count for name, part in sums.items()}

    def enter(self, table: dict[str, Tensor], places: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> None:
        """Enter means over the frames of some oscillators at their places in a table."""
        for name, part in means.items():
            value = part
            if name == "energies":
                value = log_energy(part) if name in self.windowed else log_euclidean(part, self.shrinkage)
            table[name][:, places[name]] = value.to(table[name])

    def finished(self, table: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name what a table holds: statistics of n cases.

        Shapes: means (n, F, J, 2), segment means (n, S, J, 2, W - 1), ppv (n, F, J, 2, W), combinations (n, Q, 2 k, T),
        energies (n, F, W) for one channel, (n, E, K (K + 1) / 2) for several.
        """
        means = table["means"]
        return {**table, "means": means[..., 0], "segment means": means[:, self._segmented, ..., 1:]}

    @cached_property
    def _segmented(self) -> Tensor:
        return torch.nonzero(self.has_segment_means)[:, 0]  # which a mask would be turned into at every call

    def spatial(self, group: OscillatorGroup, dtype: torch.dtype, *, covariance: bool) -> SpatialFilters:
        """Return the spatial filters of some oscillators, with their covariances if these are wanted."""
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
        """Add up what the statistics are made of, over frames (n, f, J, 2, m) of the filters.

        ``windows`` (n, m, W) says how much of a frame lies in each, ``inside`` (n, m) whether it lies in the case.
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
        """Return the first frame of each window of cases (n,), and how many there are, (n, n_windows + 1)."""
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
            at_once=_AT_ONCE * f // (f + 16),  # the windows take what some 16 oscillators do
            spatial_filters=spatial.before,
            tables=self._tables_of(rate, group, "frames"),
        ):
            windows = share_of_windows(start // group.hop + torch.arange(frames.shape[-1]), ends)
            # Frames side by side in memory: products with them take a third of the time.
            yield spatial.split(frames, x.shape[1])[0], windows.to(x.dtype).mT.contiguous().mT

    def _bands(self, oscillators: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Return frequencies and bandwidths in cycles per sample."""
        sfreq = self.sfreq / rate
        return self.frequencies_hz[oscillators] / sfreq, self.bandwidths_hz[oscillators] / sfreq

    def _tables_of(self, rate: float, group: OscillatorGroup, what: str) -> dict[Any, Any]:
        """Return where tables of a group are kept."""
        if len(self._tables) >= _MOST_TABLES:  # recordings of many rates
            self._tables.clear()
        return self._tables.setdefault((rate, group.hop, group.order, what), {})


def feature_blocks(statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flatten finished statistics into blocks of features (n, p) for the regression; segment means are means."""
    means = torch.cat([statistics[name].flatten(1) for name in ("means", "segment means")], 1)
    return {name: means if name == "means" else statistics[name].flatten(1) for name in STATISTICS}


def segment_length(frames: Tensor) -> Tensor:
    """Return how many frames a segment has, a power of two, so that SEGMENTS hold so many frames."""
    powers = 2 ** torch.arange(32)
    return powers[(frames[..., None] > SEGMENTS * powers).sum(-1)]


def share_of_windows(numbers: Tensor, ends: Tensor) -> Tensor:
    """How much of which frame (m,) lies in which window, given the first frame behind each: (n, m, W), 0 to 1.

    A stream keeps sums over at most SEGMENTS equal segments: a segment across a border counts in part in either window.
    """
    frames = ends[:, -1:]
    length = segment_length(frames)
    start = numbers // length * length  # of the segment
    size = torch.minimum(length, frames - start).clamp_min(1)
    before = ((ends[:, None] - start[..., None]) / size[..., None].to(torch.float64)).clamp_(0.0, 1.0)
    inside = (numbers < frames)[..., None]
    return torch.cat([inside, before.diff(dim=-1) * inside], -1)


def _pool(values: Tensor, windows: Tensor) -> Tensor:
    """(n, ..., m), (n, m, W) -> (n, ..., W)."""
    return torch.bmm(values.flatten(1, -2), windows).view(*values.shape[:-1], windows.shape[-1])


def _mean(sums: Tensor, ends: Tensor) -> Tensor:
    """Divide (n, ..., W) by how many frames each window has, once: every weight of 1 is added up exactly."""
    total = torch.cat([ends[:, -1:], ends.diff(dim=1)], 1).to(sums.dtype)
    total = total.view(total.shape[0], *[1] * (sums.ndim - 2), -1)
    # A case too short to have a frame in each window: such a window is the whole case.
    return torch.where(total > 0, sums / total.clamp_min(1), sums[..., :1] / total[..., :1])
