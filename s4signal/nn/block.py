"""A residual block: norm ▸ state space layer ▸ gated mixing of the channels ▸ dropout ▸ residual."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from s4signal.nn.layer import S4Layer
from s4signal.nn.randomness import dropout_mask
from s4signal.ssm.products import large_products


class ChannelNorm(nn.Module):
    """Scale each time step to unit root mean square over its channels; masked steps become zero.

    The norm uses one time step only: it works on streams, and padding does not affect it.

    References
    ----------
    Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, doi:10.48550/arXiv.1910.07467.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise x (d_model, batch, n_times); mask (batch, n_times) is 1 for valid steps."""
        normed: Tensor = _ChannelNorm.apply(x, mask)
        return normed


class _ChannelNorm(torch.autograd.Function):
    """Save only the input and one scale per time step for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor | None) -> Tensor:
        scale = torch.rsqrt((x * x).mean(0) + 1e-6)
        ctx.save_for_backward(x, scale, mask)
        return x * (scale if mask is None else scale * mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, scale, mask = ctx.saved_tensors
        g = grads[0].contiguous()  # a transposed layout would persist in all residual gradients, at 5 times the cost
        inner = (x * g).sum(0) * (scale**3 / x.shape[0])
        if mask is not None:
            scale, inner = scale * mask, inner * mask
        return torch.addcmul(g * scale, x, inner, value=-1.0), None


class ChannelMask(nn.Module):
    """Set masked steps to zero, without a norm."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the mask, as in `ChannelNorm`."""
        return x if mask is None else x * mask


class ChannelLinear(nn.Module):
    """Affine map of the channels at each time step: one matrix product in the layout (d_model, batch, n_times)."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(d_out, d_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (d_in, batch, n_times) to (d_out, batch, n_times)."""
        y = torch.addmm(self.bias.unsqueeze(-1), self.weight, x.flatten(1))
        return y.view(-1, *x.shape[1:])


class _GatedMix(torch.autograd.Function):
    """Compute keep * a * sigmoid(b) with (a, b) = W gelu(y) + bias, the gate of a block, in few passes over memory.

    Saves y, a and sigmoid(b) for the backward pass, and recomputes the other intermediate results.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
        with large_products(y, len(weight)):
            z = torch.addmm(bias.unsqueeze(-1), weight, F.gelu(y).flatten(1))
        a, b = z.view(2, -1, *y.shape[1:]).unbind(0)
        gate = b.sigmoid_()
        ctx.save_for_backward(y, z, weight, keep)
        mixed = a * gate
        return mixed if keep is None else mixed.mul_(keep)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, z, weight, keep = ctx.saved_tensors
        g = grads[0].contiguous() if keep is None else grads[0] * keep
        a, gate = z.view(2, -1, *y.shape[1:]).unbind(0)
        dz = torch.empty_like(z)
        da, db = dz.view(2, -1, *y.shape[1:]).unbind(0)
        torch.mul(g, gate, out=da)
        # d sigmoid(b) = gate (1 - gate), so that db = da * a - da * a * gate
        torch.mul(da, a, out=db)
        db.addcmul_(db, gate, value=-1.0)
        with large_products(y, len(weight)):
            dy, dweight = weight.t() @ dz, dz @ F.gelu(y).flatten(1).t()
        return torch.ops.aten.gelu_backward(dy.view(y.shape), y), dweight, dz.sum(1), None


class S4Block(nn.Module):
    """Pre-norm residual block around an `S4Layer`."""

    def __init__(self, layer: S4Layer, *, dropout: float = 0.1, dropout_axis: str = "case", norm: bool = True) -> None:
        super().__init__()
        self.norm = ChannelNorm() if norm else ChannelMask()
        self.layer = layer
        self.mix = ChannelLinear(layer.d_model, 2 * layer.d_model)
        self.dropout, self.dropout_axis = dropout, dropout_axis

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        rate: float = 1.0,
        gaps: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Run the block over whole signals (d_model, batch, n_times); dropout uses the generator."""
        y = self.layer(self.norm(x, mask), rate=rate, gaps=gaps)
        return self._mixed(x, y, self._kept_channels(y, generator))

    def advance(self, x: Tensor, state: Tensor | None, *, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Run a causal block over a piece of signal, from a state (n_systems, batch, d_state) to the next."""
        y, state = self.layer(self.norm(x), state=state, return_state=True, rate=rate)
        return self._mixed(x, y), state

    def step(self, x: Tensor, state: Tensor | None, *, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Run a causal block over one sample (d_model, batch, 1)."""
        y, state = self.layer.step(self.norm(x).squeeze(-1), state, rate=rate)
        return self._mixed(x, y.unsqueeze(-1)), state

    def _mixed(self, x: Tensor, y: Tensor, kept: Tensor | None = None) -> Tensor:
        weight: Tensor = self.mix.weight
        bias: Tensor = self.mix.bias
        device = y.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            y, weight, bias = y.to(dtype), weight.to(dtype), bias.to(dtype)
            kept = None if kept is None else kept.to(dtype)
        with torch.autocast(device, enabled=False):
            mixed: Tensor = _GatedMix.apply(y, weight, bias, kept)
        return x + mixed

    def _kept_channels(self, y: Tensor, generator: torch.Generator | None) -> Tensor | None:
        # Dropout of whole channels: a mask over time would need one random number per sample.
        if not self.training or self.dropout == 0.0:
            return None
        shape = (y.shape[0], y.shape[1] if self.dropout_axis == "case" else 1, 1)
        return dropout_mask(shape, self.dropout, y, generator)
