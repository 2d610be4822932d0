"""Run a discrete system over consecutive short pieces of a signal; everything independent of samples is precomputed.

For a piece of n <= N samples, in real arithmetic, with the `tables` for blocks of N truncated to n:

    Y = U K + X Q,   X' = X a^n + U P

The last samples of a piece may be dropped: they give outputs but leave the state unchanged, as they will come again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from s4signal.ssm.recurrence import step
from s4signal.ssm.shared import shared_block_scan
from s4signal.ssm.systems import DenseSystem, DiagonalSystem, SharedSystem, System
from s4signal.ssm.tables import block_tables, powers, toeplitz

LONGEST = 32  # samples at once: the tables of a layer of 64 by 64 take a megabyte, and stay in the cache
_STEPS = 8  # samples up to which a shared system runs step by step


class Pieces(ABC):
    """A causal system with precomputed tables in one precision; a state is (n_systems, batch, d_state)."""

    def __init__(self, system: System, dtype: torch.dtype) -> None:
        if system.C_reverse is not None or system.ahead is not None:
            raise ValueError("pieces need a causal system; build the layer with bidirectional=False.")
        self._size, self._like = system.state_size, system.D.new_empty(0, dtype=dtype)

    def at_rest(self, batch: int) -> Tensor:
        """Return the zero state before the first sample."""
        return self._like.new_zeros(self._size[0], batch, self._size[1])

    @abstractmethod
    def advance(self, u: Tensor, state: Tensor, *, dropped: int = 0) -> tuple[Tensor, Tensor]:
        """Return the output for u (d_model, batch, n_times), and the state before the last ``dropped`` samples."""


class _TablePieces(Pieces):
    """Pieces by tables for blocks of N samples: K (d_model, N, N), P (N, d_state), Q (d_state, N) per channel."""

    def __init__(self, system: System, dtype: torch.dtype, tables: tuple[Tensor, ...]) -> None:
        super().__init__(system, dtype)
        self._tables = [table.to(dtype).contiguous() for table in tables]
        self._cut()

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the views: each would be pickled as a separate tensor."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_K", "_P", "_Q")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._cut()

    def _cut(self) -> None:
        K, P, Q = self._tables[:3]
        N = self._longest = K.shape[1]
        self._K, self._Q = ([table[..., :n] for n in range(N + 1)] for table in (K, Q))
        self._K = [table[:, :n] for n, table in enumerate(self._K)]
        self._P = [P[:, N - n :] for n in range(N + 1)]

    def advance(self, u: Tensor, state: Tensor, *, dropped: int = 0) -> tuple[Tensor, Tensor]:
        """Run full blocks in one product, then the remaining samples."""
        n, N = u.shape[-1], self._longest
        kept = n - dropped
        if n <= N:
            return self._piece(u, state, kept)
        if whole := kept // N * N:
            y, state = self._blocks(u[..., :whole], state)
            if whole == n:
                return y, state
            rest, state = self.advance(u[..., whole:], state, dropped=dropped)
        else:
            y, state = self._piece(u[..., :kept], state, kept)
            rest, _ = self.advance(u[..., kept:], state)
        return torch.cat([y, rest], -1), state

    def _piece(self, u: Tensor, X: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        n = u.shape[-1]
        # For one sample the product is a number times a row; a matrix product would take ten times as long.
        y = torch.baddbmm(u * self._K[1] if n == 1 else torch.bmm(u, self._K[n]), X, self._Q[n])
        if kept == 0:
            return y, X
        last = u if kept == n else u[..., :kept]
        added = last * self._P[1] if kept == 1 else torch.bmm(last, self._P[kept])
        return y, self._real(self._moved(self._numbers(X), kept, self._numbers(added)))

    def _blocks(self, u: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
        N = self._longest
        U = u.reshape(len(u), -1, N)
        blocks = torch.bmm(U, self._P[N]).unflatten(1, (u.shape[1], -1))  # type: ignore[no-untyped-call]
        X, entering = self._numbers(X), []
        for added in self._numbers(blocks).unbind(2):
            entering.append(X)
            X = self._moved(X, N, added)
        states = self._real(torch.stack(entering, 2).flatten(1, 2))
        return torch.baddbmm(torch.bmm(U, self._K[N]), states, self._Q[N]).view(u.shape), self._real(X)

    def _numbers(self, X: Tensor) -> Tensor:
        """View a state as the numbers of the system, complex for a diagonal one."""
        return X

    def _real(self, X: Tensor) -> Tensor:
        """Undo `_numbers`."""
        return X

    @abstractmethod
    def _moved(self, X: Tensor, n: int, added: Tensor) -> Tensor:
        """Return the state n samples later, given the contribution ``added`` of the input."""


class _DiagonalPieces(_TablePieces):
    """Pieces of a system of conjugate pairs; real and imaginary parts alternate in the state."""

    def __init__(self, system: DiagonalSystem, dtype: torch.dtype, N: int) -> None:
        Lambda, B, C = (torch.view_as_complex(z.stacked()) for z in system[:3])
        V = powers(Lambda, N)
        C = 2.0 * C.unsqueeze(1)
        P, Q = V[:, :N] * B.unsqueeze(1), C * V[:, 1:]
        kernel = (C * P).real.sum(-1)
        kernel[:, 0] += system.D
        K = toeplitz(pad(kernel, (N - 1, 0)), N)
        # (re, im) of a state times the first, and (im, re) times the second
        factors = torch.stack([V.real, V.real], -1), torch.stack([-V.imag, V.imag], -1)
        P, Q = (torch.view_as_real(z.resolve_conj()).flatten(-2) for z in (P.flip(1), Q.conj()))
        super().__init__(system, dtype, (K, P, Q.mT, *(z.flatten(-2).transpose(0, 1).unsqueeze(2) for z in factors)))

    def _cut(self) -> None:
        super()._cut()
        self._factors = [table.unbind(0) for table in self._tables[3:]]
        own, other = (table[..., 1::2] for table in self._tables[3:])
        self._factor = torch.complex(own.contiguous(), other.contiguous()).unbind(0)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_factors"], state["_factor"]
        return state

    def _numbers(self, X: Tensor) -> Tensor:
        # The compiler does not support complex numbers.
        return X if torch.compiler.is_compiling() else torch.view_as_complex(X.unflatten(-1, (-1, 2)))

    def _real(self, X: Tensor) -> Tensor:
        return X if torch.compiler.is_compiling() else torch.view_as_real(X).flatten(-2)

    def _moved(self, X: Tensor, n: int, added: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return torch.addcmul(added, X, self._factor[n])
        own, other = self._factors
        return added.addcmul(X, own[n]).addcmul(X.unflatten(-1, (-1, 2)).flip(-1).flatten(-2), other[n])


class _DensePieces(_TablePieces):
    """Pieces of a dense system, with the powers 1, 2, 4, ... of its matrices."""

    def __init__(self, system: DenseSystem, dtype: torch.dtype, N: int) -> None:
        kernel, P, Q, _ = block_tables(system, N, system.A_bar.dtype)
        squares = [system.A_bar.mT]
        while 1 << len(squares) <= N:
            squares.append(squares[-1] @ squares[-1])
        super().__init__(system, dtype, (toeplitz(kernel, N), P, Q.mT, *squares))

    def _moved(self, X: Tensor, n: int, added: Tensor) -> Tensor:
        for exponent, square in enumerate(self._tables[3:]):
            if n >> exponent & 1:
                X = torch.bmm(X, square)
        return X + added


class _SharedPieces(Pieces):
    """Pieces of a system that all channels share: short ones step by step, longer ones block by block."""

    def __init__(self, system: SharedSystem, dtype: torch.dtype) -> None:
        super().__init__(system, dtype)
        parts: Any = (part.to(dtype) for part in system[:4])
        self._steps, self._system = SharedSystem(*parts), system

    def advance(self, u: Tensor, state: Tensor, *, dropped: int = 0) -> tuple[Tensor, Tensor]:
        """Run over a piece."""
        kept = u.shape[-1] - dropped
        ys, after = self._run(u[..., :kept], state)
        if dropped:
            ys += self._run(u[..., kept:], after)[0]
        return (ys[0] if len(ys) == 1 else torch.cat(ys, -1)), after

    def _run(self, u: Tensor, state: Tensor) -> tuple[list[Tensor], Tensor]:
        if u.shape[-1] > _STEPS:
            y, after = shared_block_scan(self._system, u, state)
            return [y], cast(Tensor, after)
        ys = []
        for u_t in u.unbind(-1):
            y_t, state = step(self._steps, u_t, state)
            ys.append(y_t.unsqueeze(-1))
        return ys, state


@torch.no_grad()
def make_pieces(system: System, dtype: torch.dtype, *, longest: int = LONGEST) -> Pieces:
    """Precompute a causal system for pieces of any length, with tables for ``longest`` samples at once."""
    if isinstance(system, SharedSystem):
        return _SharedPieces(system, dtype)
    if isinstance(system, DenseSystem):
        return _DensePieces(system, dtype, longest)
    return _DiagonalPieces(system, dtype, longest)


def amplified(system: System, gain: float) -> System:
    """Return the system whose input is ``gain`` times as large."""
    B_bar: Any = system.B_bar * gain if isinstance(system, DenseSystem) else system.B_bar.scaled(gain)
    changes: dict[str, Any] = {"B_bar": B_bar, "D": system.D * gain}
    changes["ahead"] = None if system.ahead is None else system.ahead * gain
    return system._replace(**changes)
