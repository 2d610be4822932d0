"""A loop over a signal as a prefix sum, in plain operations whose number does not depend on the length: for export.

It takes log2(n) steps that each add what lies 1, 2, 4 ... blocks back (Hillis, Steele, "Data Parallel Algorithms",
1986, doi:10.1145/7902.7903). Any length up to the bound that the number of steps sets runs through the same graph.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

BLOCK = 64  # samples of a Toeplitz product


class Carry(nn.Module):
    """From what each block leaves behind to the state after it: the prefix sum of a system's transition.

    States are rows of real numbers: of modes, all real parts before all imaginary ones.
    """

    def __init__(self, transition: Tensor, dtype: torch.dtype, n_doublings: int, *, dense: bool) -> None:
        super().__init__()
        self.dense, power = dense, transition  # the powers 1, 2, 4 ..., built in its precision
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

    def forward(self, left: Tensor) -> Tensor:
        """Sum (..., rows, n_blocks, S) along the blocks."""
        for k in range(self.n_doublings):
            before, power = shifted(left, 1 << k), getattr(self, f"power_{k}")
            if self.dense:
                left = left + torch.matmul(before, power)
            else:
                left = left + before * power + before[..., self.swap] * getattr(self, f"cross_{k}")
        return left


def doublings(longest: int) -> int:
    """Return the steps of a prefix sum over the blocks of ``longest`` samples."""
    return log2(-(-longest // BLOCK))


def log2(n: int) -> int:
    """Return how often 1 must be doubled to reach n."""
    return max(0, n - 1).bit_length()


def cut(x: Tensor, size: int) -> Tensor:
    """Cut (..., n_times) into pieces of one size, the last one filled with zeros: (..., n_pieces, size)."""
    # By an index: a slice or a view would ask, once and for all lengths, whether one length is a multiple of another.
    # One piece more than is needed, so that there are two of them: the exporter would make a case of its own of one.
    whole = isinstance(x.shape[-1], int) and x.shape[-1] % size == 0
    n_pieces = (x.shape[-1] + size - 1) // size + (not whole)
    index = torch.arange(n_pieces, device=x.device)[:, None] * size + torch.arange(size, device=x.device)
    return pad(x, (0, 2 * size))[..., index]


def first(x: Tensor, n: int) -> Tensor:
    """Return the first n entries of the last axis."""
    return x[..., torch.arange(n, device=x.device)]


def shifted(X: Tensor, n: int) -> Tensor:
    """Move (..., n_blocks, S) by n blocks, zeros first."""
    return pad(X, (0, 0, n, 0))[..., : X.shape[-2], :]
