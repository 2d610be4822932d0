"""Run a filter bank over consecutive pieces of a signal; everything independent of samples is precomputed."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s4signal.nn.frontends.bank import BankState, FilterBank, hop_blocks
from s4signal.nn.frontends.base import FrontendSteps
from s4signal.nn.frontends.compression import compress, follow, follower_tables
from s4signal.ssm import cascade_tables, construction_dtype
from s4signal.ssm.cascades import CascadeTables

_SHORT = 48  # samples: the tables of 40 bands take 800 kB, with 128 samples 5 MB
_MANY = 4  # hops, times the blocks per hop, from which the tables of long blocks pay
_MOST_CARRIED = 32  # blocks: the table grows with the square of their number


class _Blocks(NamedTuple):
    """Tables of a bank for blocks of T samples, which are hops or parts of a hop; a block has Z outputs."""

    into: Tensor  # (F, T, Z + 2 order): samples to outputs, and to the state they add
    out: Tensor  # (F, 2 order, Z): the state before the block to outputs
    carry: Tensor  # (F, n, n): the state before several blocks and the states they add, to the states before and after
    hops: int  # hops per block
    per_hop: int  # blocks per hop
    per_carry: int  # blocks per product with `carry`

    def run(self, x: Tensor, state: Tensor, n_kept: int) -> tuple[Tensor, Tensor]:
        """Return outputs (F, rows, n_blocks, Z) of x (rows, n_blocks * T), and the state after ``n_kept`` blocks."""
        rows, (F, T, _), (S, Z) = x.shape[0], self.into.shape, self.out.shape[1:]  # rows may be symbolic in an export
        u = x.reshape(-1, T)
        z, all_added = torch.bmm(u.expand(F, *u.shape), self.into).split([Z, S], -1)
        before, entering = [], [state]
        for added in all_added.reshape(F, rows, -1, self.per_carry * S).unbind(2):
            states = torch.bmm(torch.cat([entering[-1], added], -1), self.carry)
            before.append(states[..., :-S])
            entering.append(states[..., -S:])
        all_before = (before[0] if len(before) == 1 else torch.cat(before, -1)).reshape(F, -1, S)
        return torch.baddbmm(z, all_before, self.out).view(F, rows, -1, Z), entering[n_kept // self.per_carry]


class BankSteps(FrontendSteps):
    """A `FilterBank` at one rate, with the same features, for signals without missing samples."""

    def __init__(self, bank: FilterBank, rate: float, dtype: torch.dtype) -> None:
        sfreq = bank.sfreq / rate
        block, per_hop, hops = hop_blocks(bank.hop_s * sfreq)
        self.unit = block * per_hop // hops
        self.rate = self.unit / sfreq / bank.hop_s
        self._output, self._floor = bank.output, bank.floor
        self._size = bank.n_bands, 2 * bank.order
        self._short = _blocks(bank, sfreq, _short_block(self.unit, block // hops), self.unit, dtype)
        self._long = _blocks(bank, sfreq, block, self.unit, dtype)
        self._followers = {}
        for name in ("smooth", "gain"):
            if (logarithm := getattr(bank, f"log_{name}", None)) is not None:
                time_constants = torch.exp(logarithm.to(construction_dtype(logarithm.device)))
                self._followers[name] = follower_tables(time_constants / (self.unit / sfreq), 64, dtype)

    def advance(self, x: Tensor, state: BankState | None, *, keep_last: bool = True) -> tuple[Tensor, BankState]:
        """Return features (n_channels * n_outputs, batch, n_steps) of x (n_channels, batch, n_times), and the state."""
        n_channels, batch, n_times = x.shape
        short = -n_times % self.unit
        x = pad(x, (0, short)) if short else x
        rows, n_steps = n_channels * batch, x.shape[-1] // self.unit
        kept = n_steps if keep_last else n_steps - 1
        if state is None:
            state = BankState(x.new_zeros(self._size[0], rows, self._size[1]))
        bands, filters = self._run(x.reshape(rows, -1), state.filters, kept)
        if self._output == "linear":
            bands = bands.unflatten(1, (n_channels, batch)).permute(1, 3, 0, 2, 4)
            return bands.flatten(0, 2), BankState(filters)
        if short:  # the mean over the available samples
            bands[..., -1] *= self.unit / (self.unit - short)
        bands, smooth = self._follow("smooth", bands, state.smooth, kept)
        slow, gain = self._follow("gain", bands, state.gain, kept)
        bands = compress(self._output, bands, self._floor, slow)
        features = bands.unflatten(1, (n_channels, batch)).transpose(0, 1).flatten(0, 1)
        return features, BankState(filters, smooth, gain)

    def _run(self, x: Tensor, filters: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Return (F, rows, n_steps), or band signals (F, rows, 2, n_steps), of x (rows, n_times)."""
        long, short = self._long, self._short
        # For few hops, reading the long tables would cost more than they save.
        whole = kept // long.hops * long.hops if kept >= _MANY * long.per_hop else 0
        if whole == 0:
            z, filters = short.run(x, filters, kept * short.per_hop)
            return self._read(z, short), filters
        z, filters = long.run(x[:, : whole * self.unit], filters, whole * long.per_hop // long.hops)
        bands = self._read(z, long)
        if whole * self.unit == x.shape[1]:
            return bands, filters
        z, filters = short.run(x[:, whole * self.unit :], filters, (kept - whole) * short.per_hop)
        return torch.cat([bands, self._read(z, short)], -1), filters

    def _read(self, z: Tensor, blocks: _Blocks) -> Tensor:
        """Reduce outputs (F, rows, n_blocks, Z) to one number per hop."""
        if self._output == "linear":
            last = z[:, :, blocks.per_hop - 1 :: blocks.per_hop]
            hops: Tensor = last.unflatten(-1, (2, blocks.hops)).transpose(2, 3).flatten(3)
        elif blocks.hops == 1:
            hops = z.square().view(*z.shape[:2], -1, blocks.per_hop * z.shape[-1]).sum(-1)
        else:
            hops = z.square().unflatten(-1, (2, blocks.hops, -1)).sum((3, 5)).flatten(2)
        return hops

    def _follow(self, name: str, bands: Tensor, level: Tensor | None, kept: int) -> tuple[Tensor, Tensor | None]:
        if name not in self._followers:
            return bands, None
        followed = follow(bands, self._followers[name], level)
        return followed, followed[..., kept - 1 : kept] if kept else level


def _blocks(bank: FilterBank, sfreq: float, length: int, hop: int, dtype: torch.dtype) -> _Blocks:
    """Build the tables of blocks; outputs are scaled so that the sum of squares over a hop is the mean energy."""
    frequencies = bank.frequencies_hz / sfreq
    below_nyquist = frequencies < 0.5
    cascades = torch.where(below_nyquist, frequencies, 0.0), bank.bandwidths_hz / sfreq, bank.order
    tables: CascadeTables = cascade_tables(*cascades, length, frequencies.dtype)
    hops = max(1, length // hop)
    gain = below_nyquist[:, None, None]
    W, Q = tables.W * gain, tables.Q * gain
    if bank.output == "linear":
        read = torch.arange(0, 2 * length, length // hops, device=W.device) + length // hops - 1
        W, Q = W[..., read], Q[..., read]
    else:
        W, Q = W * hop**-0.5, Q * hop**-0.5
        if hops == 1:
            # Only sums of squares are needed: a rotation keeps them, and reduces outputs to the number of inputs.
            W, Q = torch.linalg.qr(torch.cat([W, Q], 1).mT, "r").R.mT.split([length, Q.shape[1]], 1)
    per_hop = max(1, hop // length)
    per_carry = max(n for n in range(1, _MOST_CARRIED + 1) if per_hop % n == 0)
    carry = _carry(tables.transition, per_carry)
    into, out, carry = (x.to(dtype).contiguous() for x in (torch.cat([W, tables.P], -1), Q, carry))
    return _Blocks(into, out, carry, hops, per_hop, per_carry)


def _carry(transition: Tensor, n_blocks: int) -> Tensor:
    """Return (F, S (n + 1), S (n + 1)): from a state and the states that n blocks add, to all states between blocks."""
    S = transition.shape[-1]
    inputs = torch.eye(S * (n_blocks + 1)).to(transition).expand(len(transition), -1, -1).split(S, -1)
    states = [inputs[0]]
    for added in inputs[1:]:
        states.append(states[-1] @ transition + added)
    return torch.cat(states, -1)


def _short_block(unit: int, otherwise: int) -> int:
    """Return a block length whose tables fit into the cache, if at most eight equal blocks make a hop."""
    for per_hop in range(-(-unit // _SHORT), 9):
        if unit % per_hop == 0:
            return unit // per_hop
    return otherwise
