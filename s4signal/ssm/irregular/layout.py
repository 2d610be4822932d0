"""How signals and states lie in memory for a scan, and the pieces that are taken at a time."""

from torch import Tensor


def rows_of(u: Tensor) -> Tensor:
    """Turn a signal (d_model, batch, n_times) into one row per sample, (batch * n_times, d_model)."""
    # Two axes: three at once are turned without regard for the cache, five times as slowly.
    return u.flatten(1).t().contiguous()


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """Turn rows of samples back into a signal of the shape of another."""
    return rows.t().contiguous().view(like.shape)


def pieces(n: int, length: int) -> list[slice]:
    """Cut n steps into pieces of a length, the last of what is left."""
    return [slice(start, min(start + length, n)) for start in range(0, n, length)]


def by_mode(state: Tensor) -> Tensor:
    """(d_model, batch, 2 n) -> (d_model * n, batch, 2)."""
    return state.view(*state.shape[:2], -1, 2).transpose(1, 2).flatten(0, 1)


def by_channel(state: Tensor) -> Tensor:
    """(d_model, n, batch, 2) -> (d_model, batch, 2 n)."""
    return state.transpose(1, 2).flatten(-2)
