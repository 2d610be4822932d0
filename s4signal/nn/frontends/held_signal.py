"""Zero-order hold of irregular and missing samples, on the regular grid of a filter bank."""

from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.errors import ShapeError
from s4signal.ssm import construction_dtype
from s4signal.ssm.cascades import held_response

TOLERANCE = 1e-6  # largest distance of a time to a grid point that it is rounded to, in periods


class Jumps(NamedTuple):
    """Changes of a held signal within periods of the grid, sorted by grid point; J changes."""

    point: Tensor  # (J,) of int: index of the point that ends the period, from 0
    case: Tensor  # (J,) of int: index in the batch
    ahead: Tensor  # (J,) of float64: periods from the change to that point, in (0, 1)
    change: Tensor  # (n_channels, J): step of the signal

    def states(
        self, first: int, length: int, batch: int, frequencies: Tensor, bandwidths: Tensor, order: int
    ) -> Tensor | None:
        """Return what the changes add to cascade states, (n_bands, n_channels * batch, length * 2 * order)."""
        edges = torch.tensor([first, first + length], device=self.point.device)
        inside = slice(*torch.searchsorted(self.point, edges).tolist())
        if inside.start == inside.stop:
            return None
        change = self.change[:, inside]
        response = held_response(frequencies, bandwidths, order, self.ahead[inside]).mT.to(change.dtype)
        added = response.unsqueeze(2) * change.mT.unsqueeze(-1)  # (n_bands, J, n_channels, 2 order)
        index = self.case[inside] * length + self.point[inside] - first
        states = added.new_zeros(len(frequencies), batch * length, *added.shape[2:]).index_add(1, index, added)
        rows: Tensor = states.unflatten(1, (batch, length)).permute(0, 3, 1, 2, 4).flatten(3).flatten(1, 2)
        return rows


class HeldSignal(NamedTuple):
    """A held signal on a regular grid; the first point is one period after time 0."""

    x: Tensor  # (n_channels, batch, n_points): the value just after the previous point, zero after the end of a case
    mask: Tensor | None  # (batch, n_points), 1 for points within a case
    jumps: Jumps | None  # None if every sample lies on the grid


def fill_from_next(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Fill missing samples with the next observation of the channel (NOCB), at the end with the last observation.

    A sample is held over the time since the one before it, so that this equals leaving out the missing samples.
    Shapes: x (n_channels, batch, n_times), mask (batch, n_times) → (n_channels, batch, n_times).
    """
    missing = torch.isnan(x)
    if x.is_cpu and not bool(missing.any()):  # on other devices, the test would force a synchronisation
        return x
    observed = ~missing if mask is None else ~missing & (mask > 0)
    n_times, index = x.shape[-1], torch.arange(x.shape[-1], device=x.device)
    after = torch.where(observed, index, n_times).flip(-1).cummin(-1).values.flip(-1)
    before = torch.where(observed, index, -1).cummax(-1).values
    source = torch.where(after < n_times, after, before)
    filled = torch.where(source < 0, 0.0, x.gather(-1, source.clamp_min(0)))
    return filled if mask is None else torch.where(mask > 0, filled, 0.0)


def hold_on_grid(x: Tensor, gaps: Tensor, mask: Tensor | None = None) -> HeldSignal:
    """Convert irregular samples to a held signal: x(t) = x_k between the times of samples k - 1 and k.

    The last sample is held until the next grid point.

    Shapes: x (n_channels, batch, n_times), gaps (batch, n_times), mask (batch, n_times).
    """
    if gaps.shape != x.shape[1:]:
        raise ShapeError(f"gaps must have shape {tuple(x.shape[1:])}, like a channel of x, got {tuple(gaps.shape)}.")
    gaps = gaps.to(construction_dtype(gaps.device))
    gaps = gaps if mask is None else gaps.masked_fill(mask == 0, 0.0)
    ends = gaps.cumsum(1)
    if not bool(((gaps >= 0) & ends.isfinite()).all()) or not bool((ends[:, -1] > 0).all()):
        raise ValueError("gaps must be finite and at least 0, with at least one above 0 in each case; check the times.")
    ends = torch.where((ends - ends.round()).abs() < TOLERANCE, ends.round(), ends)
    batch, n_times = gaps.shape
    n_points = ends[:, -1].ceil()
    begins = torch.arange(int(n_points.max()), device=x.device, dtype=ends.dtype).expand(batch, -1).contiguous()
    source = torch.searchsorted(ends, begins, right=True).clamp_max(n_times - 1)
    inside = (begins < n_points[:, None]).to(x.dtype)
    held = x.gather(-1, source.expand(len(x), -1, -1)) * inside
    return HeldSignal(held, None if bool(inside.all()) else inside, _jumps(x, ends))


def _jumps(x: Tensor, ends: Tensor) -> Jumps | None:
    """Find the changes between samples whose times (batch, n_times) are not grid points."""
    # Exclude the last sample of a case; padding has the same end time.
    off = (ends[:, :-1] != ends[:, :-1].floor()) & (ends[:, :-1] < ends[:, -1:])
    case, sample = off.nonzero(as_tuple=True)
    if not len(case):
        return None
    order = ends[case, sample].sort(stable=True).indices
    case, sample = case[order], sample[order]
    times = ends[case, sample]
    change = x[:, case, sample + 1] - x[:, case, sample]
    return Jumps(times.floor().long(), case, times.floor() + 1.0 - times, change)
