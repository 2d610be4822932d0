"""A recurrence over time as a prefix sum, for export: plain operations, whose number does not depend on the length.

It takes log2(n) steps, which add the values 1, 2, 4 ... blocks back (Hillis, Steele, "Data Parallel Algorithms",
1986, doi:10.1145/7902.7903). The number of steps bounds the length; all shorter signals run through the same graph.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

BLOCK = 64  # samples of a Toeplitz product


class Carry(nn.Module):
    """Compute the state after each block from the state that each block adds, by a prefix sum over the transition.

    States are rows of real numbers; for modes, all real parts come before all imaginary parts.
    """

    def __init__(self, transition: Tensor, dtype: torch.dtype, n_doublings: int, *, dense: bool) -> None:
        super().__init__()
        self.dense, power = dense, transition  # the powers 1, 2, 4 ... are computed in the precision of the transition
        n = transition.shape[-1] // 2
        self.swap = nn.Buffer(torch.arange(2 * n).roll(n))
        for k in range(n_doublings):
            if dense:
                self.register_buffer(f"power_{k}", power.unsqueeze(1).to(dtype))
                power = power @ power
            else:  # (re, im) times power is (re, im) * (a, a) + (im, re) * (-b, b)
                a, b = power[..., :n], power[..., n:]
                self.register_buffer(f"power_{k}", torch.cat([a, a], -1)[:, None, None].to(dtype))
                self.register_buffer(f"cross_{k}", torch.cat([-b, b], -1)[:, None, None].to(dtype))
                power = torch.cat([a * a - b * b, 2.0 * a * b], -1)
        self.n_doublings = n_doublings

    def forward(self, added: Tensor) -> Tensor:
        """Accumulate (..., rows, n_blocks, S) along the blocks."""
        for k in range(self.n_doublings):
            before, power = shifted(added, 1 << k), getattr(self, f"power_{k}")
            if self.dense:
                added = added + torch.matmul(before, power)
            else:
                added = added + before * power + before[..., self.swap] * getattr(self, f"cross_{k}")
        return added


def doublings(longest: int) -> int:
    """Return the number of steps of a prefix sum over the blocks of ``longest`` samples."""
    return log2(-(-longest // BLOCK))


def log2(n: int) -> int:
    """Return how many doublings of 1 reach n."""
    return max(0, n - 1).bit_length()


def cut(x: Tensor, size: int) -> Tensor:
    """Cut (..., n_times) into pieces of equal size, zero-padded: (..., n_pieces, size)."""
    # By an index: a slice or a view would make the exporter specialise on whether one length is a multiple of another.
    # One piece more than needed, so that there are at least two: the exporter would specialise on a single piece.
    whole = isinstance(x.shape[-1], int) and x.shape[-1] % size == 0
    n_pieces = (x.shape[-1] + size - 1) // size + (not whole)
    index = torch.arange(n_pieces, device=x.device)[:, None] * size + torch.arange(size, device=x.device)
    return pad(x, (0, 2 * size))[..., index]


def first(x: Tensor, n: int) -> Tensor:
    """Return the first n entries of the last axis."""
    return x[..., torch.arange(n, device=x.device)]


def shifted(X: Tensor, n: int) -> Tensor:
    """Shift (..., n_blocks, S) by n blocks, filling with zeros."""
    return pad(X, (0, 0, n, 0))[..., : X.shape[-2], :]
