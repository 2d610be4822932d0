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
    """Scale each time step to unit root mean square over its channels, or each of several groups of channels.

    Masked steps become zero. The norm uses one time step only: it works on streams, and padding does not affect it.

    References
    ----------
    Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, doi:10.48550/arXiv.1910.07467.
    """

    def __init__(self, n_groups: int = 1) -> None:
        super().__init__()
        self.n_groups = n_groups

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise x (d_model, batch, n_times); mask (batch, n_times) is 1 for valid steps."""
        normed: Tensor = _ChannelNorm.apply(x.unflatten(0, (self.n_groups, -1)), mask)  # type: ignore[no-untyped-call]
        return normed.flatten(0, 1)


class _ChannelNorm(torch.autograd.Function):
    """Normalise (n_groups, d, batch, n_times); save only the input and its scales for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor | None) -> Tensor:
        scale = torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, scale, mask)
        return x * (scale if mask is None else scale * mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, scale, mask = ctx.saved_tensors
        g = grads[0].contiguous()  # a transposed layout would persist in all residual gradients, at 5 times the cost
        inner = (x * g).sum(1, keepdim=True) * (scale**3 / x.shape[1])
        if mask is not None:
            scale, inner = scale * mask, inner * mask
        return torch.addcmul(g * scale, x, inner, value=-1.0), None


class ChannelMask(nn.Module):
    """Set masked steps to zero, without a norm."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the mask, as in `ChannelNorm`."""
        return x if mask is None else x * mask


class ChannelLinear(nn.Module):
    """Affine map of the channels at each time step: a matrix product in the layout (d_model, batch, n_times).

    With several groups, it maps each group of inputs to a group of outputs; weight (d_out, d_in / n_groups).
    """

    def __init__(self, d_in: int, d_out: int, n_groups: int = 1) -> None:
        super().__init__()
        self.n_groups, d_in = n_groups, d_in // n_groups
        bound = 1.0 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(d_out, d_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (d_in, batch, n_times) to (d_out, batch, n_times)."""
        if self.n_groups == 1:
            y = torch.addmm(self.bias.unsqueeze(-1), self.weight, x.flatten(1))
        else:
            y = torch.baddbmm(*self.by_group(), x.reshape(self.n_groups, self.weight.shape[1], -1))
        return y.view(-1, *x.shape[1:])

    def by_group(self) -> tuple[Tensor, Tensor]:
        """Return bias (n_groups, d_out / n_groups, 1) and weight (n_groups, d_out / n_groups, d_in / n_groups)."""
        return self.bias.view(self.n_groups, -1, 1), self.weight.view(self.n_groups, -1, self.weight.shape[1])


class _GatedMix(torch.autograd.Function):
    """Compute keep * a * sigmoid(b) with (a, b) = W gelu(y) + bias, the gate of a block, in few passes over memory.

    Shapes: y (d_model, batch, n_times); weight (n_groups, 2 d, d) and bias (n_groups, 2 d, 1), d = d_model / n_groups.

    Saves y, a and sigmoid(b) for the backward pass, and recomputes the other intermediate results.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
        with large_products(y, weight.shape[1]):
            z = torch.baddbmm(bias, weight, F.gelu(y).reshape(len(weight), weight.shape[2], -1))
        a, b = z.unflatten(1, (2, -1)).unbind(1)
        gate = b.sigmoid_()
        ctx.save_for_backward(y, z, weight, keep)
        mixed: Tensor = (a * gate).view(y.shape)
        return mixed if keep is None else mixed.mul_(keep)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, z, weight, keep = ctx.saved_tensors
        g = grads[0].contiguous() if keep is None else grads[0] * keep
        a, gate = z.unflatten(1, (2, -1)).unbind(1)
        dz = torch.empty_like(z)
        da, db = dz.unflatten(1, (2, -1)).unbind(1)
        torch.mul(g.reshape(a.shape), gate, out=da)
        # d sigmoid(b) = gate (1 - gate), so that db = da * a - da * a * gate
        torch.mul(da, a, out=db)
        db.addcmul_(db, gate, value=-1.0)
        with large_products(y, weight.shape[1]):
            # One by one: a batched product with the transposed layout takes twice as long in oneDNN.
            dy, dweights = weight.mT @ dz, [u @ v.t() for u, v in zip(dz, F.gelu(y).reshape(a.shape), strict=True)]
        return torch.ops.aten.gelu_backward(dy.view(y.shape), y), torch.stack(dweights), dz.sum(-1, keepdim=True), None


class S4Block(nn.Module):
    """Pre-norm residual block around an `S4Layer`, or side by side one for each group of channels."""

    def __init__(
        self, layer: S4Layer, *, dropout: float = 0.1, dropout_axis: str = "case", norm: bool = True, n_groups: int = 1
    ) -> None:
        super().__init__()
        self.norm = ChannelNorm(n_groups) if norm else ChannelMask()
        self.layer = layer
        self.mix = ChannelLinear(layer.d_model, 2 * layer.d_model, n_groups)
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
        bias, weight = self.mix.by_group()
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
