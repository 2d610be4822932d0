"""Band power as a readout past the blocks: oscillators, their covariances over a case, a linear layer on these."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from s4signal.nn.frontends.bands import space_bands
from s4signal.nn.frontends.bank import BankState, FilterBank
from s4signal.nn.frontends.bank_steps import BankSteps
from s4signal.nn.frontends.base import Frames

LOWEST_HZ, HIGHEST_HZ, OF_THE_RATE = 2.0, 45.0, 0.4  # of the oscillators; a rate below 112.5 Hz lowers the highest
STEP_S = 1 / 64  # from one output of an oscillator to the next
SETTLED = 0.35  # over the bandwidth: the seconds after which an oscillator says what it hears, not how it started
SHRINKAGE = 0.1  # of a covariance towards its mean variance: few steps leave directions empty
SILENT = 1e-12  # variance, of standardised channels, below which a band says nothing
_MOST = 2**24  # numbers of band signals, and of matrices, at once


class CovarianceSums(NamedTuple):
    """Sums over steps, that add up over pieces of a signal; the real part and the imaginary one are two steps.

    Shapes: products (batch, n_bands, n_channels, n_channels), values (batch, n_bands, 2, n_channels), n_steps (batch,).
    """

    products: Tensor
    values: Tensor
    n_steps: Tensor

    def plus(self, more: "CovarianceSums") -> "CovarianceSums":
        """Add those of a further piece."""
        return CovarianceSums(*(a + b for a, b in zip(self, more, strict=True)))

    def covariances(self) -> Tensor:
        """Return (batch, n_bands, n_channels, n_channels); zero where no step was counted."""
        n = self.n_steps.clamp_min(1.0)[:, None, None, None]
        means = self.values / n
        return self.products / n - means.mT @ means


class PowerState(NamedTuple):
    """What the readout remembers of a stream."""

    first: Tensor  # (n_channels, batch, 1): the first sample
    rest: Tensor  # (n_channels, batch, fewer than a unit): samples that wait for more
    bank: BankState | None
    n_steps: int
    sums: CovarianceSums


def covariance_sums(z: Tensor, n_bands: int, mask: Tensor | None = None) -> CovarianceSums:
    """Sum band signals (n_channels * 2 * n_bands, batch, n_steps) and their products; mask (batch, n_steps)."""
    valid = torch.ones_like(z[0]) if mask is None else mask.to(z.dtype)
    parts = (z * valid).unflatten(0, (-1, 2, n_bands)).permute(3, 2, 1, 0, 4)  # batch, bands, parts, channels, steps
    products = (parts @ parts.mT).sum(2)
    # Small eigenvalues do not survive single precision; the CPU has double, and is fast at small matrices.
    return CovarianceSums(*(t.cpu().double() for t in (products, parts.sum(-1), valid.sum(-1))))


class PowerReadout(nn.Module):
    """Covariances of channels in the bands of fixed oscillators over a case, to scores that are added to the head's.

    Features are the tangent vectors at the mean covariance of the training cases, standardised. Nothing is learned by
    gradients: `fit_center` and `set_weights` take what is known of the training cases.

    References
    ----------
    Barachant, Bonnet, Congedo, Jutten, "Multiclass Brain-Computer Interface Classification by Riemannian Geometry",
    2012, doi:10.1109/TBME.2011.2172210; Arsigny, Fillard, Pennec, Ayache, "Log-Euclidean metrics for fast and simple
    calculus on diffusion tensors", 2006, doi:10.1002/mrm.20965: the mean.
    """

    whitener: Tensor
    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    share: Tensor

    def __init__(self, n_channels: int, n_outputs: int, *, n_oscillators: int, sfreq: float) -> None:
        super().__init__()
        if sfreq < 4 * LOWEST_HZ:
            raise ValueError(f"oscillators of {LOWEST_HZ:g} Hz need a rate of at least {4 * LOWEST_HZ:g} Hz.")
        frequencies, bandwidths = space_bands("linear", n_oscillators, LOWEST_HZ, highest_hz(sfreq), order=2)
        self.n_channels, self.n_oscillators = n_channels, n_oscillators
        self.bank = FilterBank(
            frequencies_hz=frequencies,
            bandwidths_hz=bandwidths,
            sfreq=sfreq,
            hop_s=max(STEP_S, 1.0 / sfreq),
            order=2,
            output="linear",
        )
        self.settled_s = SETTLED / float(bandwidths.max())
        n_features = n_oscillators * n_channels * (n_channels + 1) // 2
        self.register_buffer("whitener", torch.eye(n_channels, dtype=torch.float64).repeat(n_oscillators, 1, 1))
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("weight", torch.zeros(n_outputs, n_features))
        self.register_buffer("bias", torch.zeros(n_outputs))
        self.register_buffer("share", torch.ones(()))  # of the head's scores, in the outputs

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Tensor:
        """Score cases.

        Shapes: x (n_channels or more, batch, n_times), mask, gaps (batch, n_times) → (batch, n_outputs).
        """
        return self.scores(self.vectors(self.covariances(x, mask, rate=rate, gaps=gaps)))

    def add(self, scores: Tensor, own: Tensor) -> Tensor:
        """Add one's own scores to those of the head, of which a share counts."""
        return scores * self.share + own

    def scores(self, vectors: Tensor) -> Tensor:
        """Score tangent vectors (batch, n_features)."""
        return vectors.to(self.weight.dtype).to(self.weight.device) @ self.weight.T + self.bias

    def covariances(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Tensor:
        """Return the covariances of whole cases, their upper triangles: (batch, n_bands, n (n + 1) / 2)."""
        # From the first sample on: a step up to an offset would ring for long, in proportion to it.
        x = x[: self.n_channels] - x[: self.n_channels, :, :1]
        x = x if mask is None else x * mask
        n_steps = 1 + int(x.shape[-1] * rate / (self.bank.hop_s * self.bank.sfreq))
        at_once, found = max(1, _MOST // (self.n_channels * self.bank.n_outputs * n_steps)), []
        for first in range(0, x.shape[1], at_once):
            rows = slice(first, first + at_once)
            of_rows = (None if part is None else part[rows] for part in (mask, gaps))
            frames = self._filtered(x[:, rows], *of_rows, rate=rate)
            found.append(self.upper(self._sums(frames).covariances()))
        return torch.cat(found)

    def steps(self, rate: float) -> "PowerSteps":
        """Return what scores a signal as it arrives, at a rate."""
        return PowerSteps(self, rate)

    @torch.no_grad()
    def fit_center(self, covariances: Tensor, case_weights: Tensor) -> None:
        """Fit the point around which logarithms are taken, their log-Euclidean mean, and the standardisation.

        Shapes: covariances of training cases, upper triangles (n, n_bands, m), case_weights (n,).
        """
        weights = case_weights.double()[:, None] * self._audible(covariances)
        total = weights.sum(0).clamp_min(1e-300)
        logs = sum(
            torch.einsum("nk,nkij->kij", w, _map_eigenvalues(self._shrunk(rows), _log))
            for rows, w in zip(self._pieces(covariances), self._pieces(weights), strict=True)
        )
        mean = _map_eigenvalues(logs / total[:, None, None], torch.exp)
        self.whitener.copy_(_map_eigenvalues(mean, torch.rsqrt).to(self.whitener.dtype))
        self.mean.zero_()
        self.scale.fill_(1.0)
        vectors = self.vectors(covariances).unflatten(1, (self.n_oscillators, -1))
        shares = (weights / total)[..., None]
        center = (shares * vectors).sum(0)
        spread = (shares * (vectors - center) ** 2).sum(0).sqrt()
        scale = torch.where(spread > 1e-6, 1.0 / spread.clamp_min(1e-6), 0.0)
        self.mean.copy_(center.flatten().to(self.mean.dtype))
        self.scale.copy_(scale.flatten().to(self.scale.dtype))

    @torch.no_grad()
    def set_weights(self, weight: Tensor, bias: Tensor, *, share: float = 1.0) -> None:
        """Take over the linear layer, (n_outputs, n_features) and (n_outputs,), and the share of the head's scores."""
        self.share.fill_(share)
        self.weight.copy_(weight.to(self.weight.dtype))
        self.bias.copy_(bias.to(self.bias.dtype))

    def vectors(self, covariances: Tensor) -> Tensor:
        """Return standardised tangent vectors (n, n_features) of upper triangles (n, n_bands, m).

        Zero, the mean of the training cases, where a band says nothing: beyond the Nyquist frequency, of a case that
        ends before the oscillators have settled, or of a flat one.
        """
        R, (i, j) = self.whitener.cpu().double(), self._triangle()
        weights = torch.where(i == j, 1.0, math.sqrt(2.0))  # keeps the norm of the matrix
        found = []
        for rows in self._pieces(covariances):
            logs = _map_eigenvalues(R @ self._shrunk(rows) @ R, _log)[..., i, j] * weights
            standard = (logs.flatten(1) - self.mean.cpu()) * self.scale.cpu()
            found.append(standard.unflatten(1, (self.n_oscillators, -1)) * self._audible(rows)[..., None])
        return torch.cat(found).flatten(1)

    def describe(self) -> str:
        """Return a phrase for a person."""
        frequencies = self.bank.frequencies_hz
        bands = f"{self.n_oscillators} oscillators {frequencies.min():.0f} - {frequencies.max():.0f} Hz"
        return f"{bands}, covariances of {self.n_channels} channels"

    def _filtered(self, x: Tensor, mask: Tensor | None, gaps: Tensor | None, *, rate: float) -> Frames:
        frames: Frames = self.bank(x, mask, rate=rate, gaps=gaps)
        return frames

    def settled(self, n_steps: int, rate: float) -> Tensor:
        """Whether the oscillators have settled at the end of each step, (n_steps,), of ``rate`` training periods."""
        ends = torch.arange(1, 1 + n_steps, device=self.share.device)
        return ends * (rate * self.bank.hop_s) > self.settled_s

    def _sums(self, frames: Frames) -> CovarianceSums:
        """Sum over the steps at which the oscillators have settled."""
        settled = self.settled(frames.features.shape[-1], frames.rate).to(frames.features)
        mask = settled.expand(frames.features.shape[1:]) if frames.mask is None else settled * frames.mask
        return covariance_sums(frames.features, self.n_oscillators, mask)

    def _triangle(self) -> tuple[Tensor, Tensor]:
        i, j = torch.triu_indices(self.n_channels, self.n_channels)
        return i, j

    def upper(self, C: Tensor) -> Tensor:
        """Take the upper triangles of matrices (..., n_channels, n_channels), (..., n (n + 1) / 2)."""
        i, j = self._triangle()
        return C[..., i, j]

    def _pieces(self, rows: Tensor) -> list[Tensor]:
        return list(torch.split(rows, max(1, _MOST // (self.n_oscillators * self.n_channels**2))))

    def _audible(self, covariances: Tensor) -> Tensor:
        """Whether a band of a case says anything, 1.0 or 0.0: (n, n_bands)."""
        i, j = self._triangle()
        # A sum that is out of range says nothing either.
        return ((covariances[..., i == j].mean(-1) > SILENT) & covariances.isfinite().all(-1)).double()

    def _shrunk(self, covariances: Tensor) -> Tensor:
        i, j = self._triangle()
        C = covariances.new_empty(*covariances.shape[:-1], self.n_channels, self.n_channels, dtype=torch.float64)
        # What says nothing may be a difference of equal sums, less than zero.
        C[..., i, j] = C[..., j, i] = covariances.double().where(self._audible(covariances)[..., None] > 0, 0.0)
        variance = C.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(SILENT)[..., None, None]
        return C.lerp(variance * torch.eye(self.n_channels, dtype=C.dtype), SHRINKAGE)


class PowerSteps:
    """A power readout at one rate, for inference."""

    def __init__(self, readout: PowerReadout, rate: float) -> None:
        self._readout, self._bank = readout, BankSteps(readout.bank, rate, readout.share.dtype)
        self.add, n_steps = readout.add, 1
        while not readout.settled(n_steps, self._bank.rate)[-1]:
            n_steps *= 2
        self._n_unsettled = int((~readout.settled(n_steps, self._bank.rate)).sum())

    def advance(self, x: Tensor, state: PowerState | None, *, answer: bool = True) -> tuple[Tensor | None, PowerState]:
        """Score all samples so far, (batch, n_outputs), the last of which are x (n_channels or more, batch, n_times).

        Samples that do not fill a hop of the oscillators are heard again with those that follow.
        """
        x = x[: self._readout.n_channels]
        before = self._at_rest(x) if state is None else state
        x = torch.cat([before.rest, x - before.first], -1)
        whole, left = divmod(x.shape[-1], self._bank.unit)
        z, bank = self._bank.advance(x, before.bank, keep_last=not left)
        kept = now = self._plus(before.sums, z[..., :whole], before.n_steps)
        after = PowerState(before.first, x[..., x.shape[-1] - left :], bank, before.n_steps + whole, kept)
        if not answer:
            return None, after
        if left:
            now = self._plus(kept, z[..., whole:], before.n_steps + whole)
        readout = self._readout
        return readout.scores(readout.vectors(readout.upper(now.covariances()))).to(x), after

    def _plus(self, sums: CovarianceSums, z: Tensor, n_before: int) -> CovarianceSums:
        """Add those steps at which the oscillators have settled; n_before steps came before."""
        z = z[..., max(0, self._n_unsettled - n_before) :]
        return sums.plus(covariance_sums(z, self._readout.n_oscillators)) if z.shape[-1] else sums

    def _at_rest(self, x: Tensor) -> PowerState:
        batch, K, c = x.shape[1], self._readout.n_oscillators, self._readout.n_channels
        zeros = (torch.zeros(batch, *shape, dtype=torch.float64) for shape in ((K, c, c), (K, 2, c), ()))
        return PowerState(x[..., :1], x[..., :0], None, 0, CovarianceSums(*zeros))


def highest_hz(sfreq: float) -> float:
    """Return the highest frequency of the oscillators at a sampling rate, both in Hz."""
    return min(HIGHEST_HZ, OF_THE_RATE * sfreq)


def _log(values: Tensor) -> Tensor:
    """Take logarithms of eigenvalues in ascending order, which rounding may have left below zero."""
    return values.maximum(1e-9 * values[..., -1:]).log()


def _map_eigenvalues(C: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    values, vectors = torch.linalg.eigh(C)
    mapped: Tensor = (vectors * function(values).unsqueeze(-2)) @ vectors.mT
    return mapped
