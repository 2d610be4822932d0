"""2-D convolutions over frequency and time, with weights shared along frequency."""

import copy
import math
from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s4signal.nn.block import ChannelLinear

N_BANDS, N_STEPS = 5, 3  # kernel size of a convolution
STRIDE = 2  # along the bands; the stride along time is 1, so that the blocks keep the rate of the hops


class TimeFrequencyConv(nn.Module):
    """Convolutions over neighbouring bands and steps, then a linear map of all bands.

    Another speaker has the same sounds shifted along the bands: with weights shared along frequency, the network need
    not learn them again for each speaker. Groups of ``width`` planes and of outputs share nothing but the input.
    """

    scaled = False

    def __init__(
        self, n_planes: int, n_bands: int, d_model: int, *, width: int = 16, n_groups: int = 1, causal: bool = False
    ) -> None:
        super().__init__()
        self.n_planes, self.causal = n_planes, causal
        width, halves = width * n_groups, (N_BANDS // 2, 0)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(n_in, width, (N_BANDS, N_STEPS), (STRIDE, 1), halves, groups=n)
            for n_in, n in ((n_planes, 1), (width, n_groups))
        )
        n_places = n_bands
        for _ in self.convolutions:
            n_places = -(-n_places // STRIDE)
        self.mix = ChannelLinear(width * n_places, d_model, n_groups)

    def for_steps(self) -> Self:
        """Copy with the factors of the GELU, sqrt(2) v -> (v + v erf v) / sqrt(2), in the weights; faster if small."""
        own = copy.deepcopy(self)
        own.scaled = True
        with torch.no_grad():
            last = cast(nn.Conv2d, own.convolutions[-1])
            grouped = last.weight.view(last.groups, -1, *last.weight.shape[1:])
            # Weights of all planes, zero between groups, are one product in NumPy.
            whole = torch.einsum("goift,gh->gohift", grouped, torch.eye(last.groups).to(grouped))
            last.weight, last.groups = nn.Parameter(whole.flatten(2, 3).flatten(0, 1)), 1
            for index, convolution in enumerate(own.convolutions):
                for parameter in convolution.parameters():
                    parameter.mul_(0.5 if index and parameter.dim() > 1 else math.sqrt(0.5))
            own.mix.weight.mul_(math.sqrt(0.5))
        return own

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map whole cases (n_planes * n_bands, batch, n_steps) to (d_model, batch, n_steps)."""
        return self._run(x, None, mask)[0]

    def advance(
        self, x: Tensor, state: Sequence[Tensor] | None, *, keep_last: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Map a piece of the cases, given the state before it; ``keep_last`` as in `FrontendSteps.advance`."""
        if not self.causal:
            raise ValueError("pieces need causal=True: otherwise a step depends on the next steps.")
        return self._run(x, state, None, keep_last=keep_last)

    def _run(
        self, x: Tensor, state: Sequence[Tensor] | None, mask: Tensor | None, *, keep_last: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        n_after = 0 if self.causal else N_STEPS // 2
        h: Tensor = x.unflatten(0, (self.n_planes, -1)).permute(2, 0, 1, 3)  # type: ignore[no-untyped-call]
        after = []
        for index, convolution in enumerate(self.convolutions):
            rest = h.new_zeros(*h.shape[:-1], N_STEPS - 1 - n_after) if state is None else state[index]
            h = torch.cat([rest, h], -1)
            after.append(h[..., 1 - N_STEPS :] if keep_last else h[..., -N_STEPS:-1])
            h = convolution(F.pad(h, (0, n_after)) if n_after else h)
            h = torch.addcmul(h, h, torch.erf(h)) if self.scaled else F.gelu(h)
            # After the end of a case, the next convolution needs the zeros of a case without padding.
            h = h if mask is None else h * mask[:, None, None]
        return self.mix(h.permute(1, 2, 0, 3).flatten(0, 1)), after
