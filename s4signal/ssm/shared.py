"""The block engine for one system that all channels share: project, run each mode separately, project back.

The modes are first-order filters with complex inputs. Each complex mode takes the place of a channel here, and real and
imaginary parts are separate planes, (2, n_pairs, batch, n_times).
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from s4signal.ssm.carry import carry
from s4signal.ssm.operators import operator
from s4signal.ssm.products import large_products, product
from s4signal.ssm.systems import Pair, SharedSystem
from s4signal.ssm.tables import powers, toeplitz

MODAL_BLOCK = 32  # a state is one complex number: short blocks keep the Toeplitz products, 8 T flops per sample, small


def shared_block_scan(
    system: SharedSystem, u: Tensor, state: Tensor | None = None, *, return_state: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Run a shared system over signals.

    Shapes: u (d_model, batch, n_times), state (1, batch, 2 n_pairs) → (d_model, batch, n_times), (1, batch, 2 n_pairs).
    """
    Lambda_bar = system.Lambda_bar.stacked()
    V = project_in(system.B_bar, u)
    entering = V
    if state is not None:
        carried = torch.stack(system.Lambda_bar.to(u.dtype).unsqueeze(-1).times(modal_state(state.to(u.dtype))))
        entering = torch.cat([V[..., :1] + carried.unsqueeze(-1), V[..., 1:]], -1)
    X = modal_scan(Lambda_bar, entering)
    y = project_out(system.C, X) + system.D.to(u.dtype)[:, None, None] * u
    if system.C_reverse is not None:
        future = modal_scan(Lambda_bar, V, reverse=True)[..., 1:]
        y = y + pad(project_out(system.C_reverse, future), (0, 1))
    return y, last_state(X) if return_state else None


def modal_state(state: Tensor) -> Pair:
    """Convert the state of a system (1, batch, 2 n_pairs) to the state of its modes, (n_pairs, batch)."""
    return Pair.of(state[0].unflatten(-1, (-1, 2)).transpose(0, 1))


def last_state(X: Tensor) -> Tensor:
    """Return the state after the last sample, (2, n_pairs, batch, n_times) -> (1, batch, 2 n_pairs)."""
    return X[..., -1].permute(2, 1, 0).flatten(1).unsqueeze(0)


def project_in(B_bar: Pair, u: Tensor) -> Tensor:
    """Project channels to the inputs of modes, (d_model, batch, n_times) -> (2, n_pairs, batch, n_times)."""
    V: Tensor = product(torch.cat([B_bar.re, B_bar.im]).to(u.dtype), u.flatten(1))
    return V.view(2, B_bar.re.shape[0], *u.shape[1:])


def project_out(C: Pair, X: Tensor) -> Tensor:
    """Project states to channels, 2 Re(C x), (2, n_pairs, batch, n_times) -> (d_model, batch, n_times)."""
    y: Tensor = product(torch.cat([2.0 * C.re, -2.0 * C.im], 1).to(X.dtype), X.flatten(2).flatten(0, 1))
    return y.view(C.re.shape[0], *X.shape[2:])


def modal_scan(Lambda_bar: Tensor, V: Tensor, *, reverse: bool = False) -> Tensor:
    """Return the states x_k = Lambda_bar x_{k-1} + v_k of modes (n_pairs, 2) for V (2, n_pairs, batch, n_times)."""
    return cast(Tensor, _modal_op(Lambda_bar, V, reverse))


def _modal(Lambda_bar: Tensor, V: Tensor, reverse: bool) -> Tensor:
    n_times = V.shape[-1]
    T = min(MODAL_BLOCK, n_times)
    padding = -n_times % T
    # Padding comes last in the direction of the scan, so that it affects no sample.
    V = pad(V, (padding, 0) if reverse else (0, padding))
    K = torch.view_as_real(powers(torch.view_as_complex(Lambda_bar.unsqueeze(1)), T)[..., 0]).to(V.dtype)
    X = _blockwise(K, V.flatten(2), V.shape[2], T, reverse=reverse).view(V.shape)
    return (X[..., padding:] if reverse else X[..., :n_times]).clone() if padding else X


def _blockwise(K: Tensor, V: Tensor, batch: int, T: int, *, reverse: bool) -> Tensor:
    """Return the states for V (2, n, batch * n_blocks * T), given the powers 0 ... T of the poles K (n, T + 1, 2)."""
    re, im = V.unflatten(-1, (-1, T)).unbind(0)
    W_re, W_im = (toeplitz(pad(part[:, :T], (T - 1, 0)), T) for part in K.unbind(-1))
    if reverse:
        W_re, W_im = W_re.mT, W_im.mT
    X = torch.empty(2, *re.shape, dtype=V.dtype, device=V.device)
    with large_products(re, T):
        torch.bmm(re, W_re, out=X[0]).baddbmm_(im, W_im, alpha=-1.0)
        torch.bmm(re, W_im, out=X[1]).baddbmm_(im, W_re)
    end = 0 if reverse else T - 1
    S = X[..., end].permute(1, 2, 0).contiguous().unflatten(1, (batch, -1))  # (n, batch, n_blocks, 2)
    carry(S, K[:, T], reverse=reverse)
    re, im = (K[:, 1:].flip(1) if reverse else K[:, 1:]).unbind(-1)
    X[0].baddbmm_(S.flatten(1, 2), torch.stack([re, -im], 1))
    X[1].baddbmm_(S.flatten(1, 2), torch.stack([im, re], 1))
    return X


def _modal_backward(dX: Tensor, X: Tensor, Lambda_bar: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Return the gradients of poles and inputs, by a scan with conjugate poles in reversed time."""
    conjugate = torch.stack([Lambda_bar[:, 0], -Lambda_bar[:, 1]], -1)
    dV = _modal(conjugate, dX, not reverse)
    before, after = (X[..., 1:], dV[..., :-1]) if reverse else (X[..., :-1], dV[..., 1:])
    re = (before * after).sum((0, 2, 3))
    im = (before[0] * after[1] - before[1] * after[0]).sum((1, 2))
    return torch.stack([re, im], -1).to(Lambda_bar.dtype), dV


_modal_op = operator(
    "modal_scan",
    _modal,
    _modal_backward,
    fake=lambda Lambda_bar, V, reverse: V.new_empty(V.shape),
    fake_backward=lambda dX, X, Lambda_bar, reverse: (Lambda_bar.new_empty(Lambda_bar.shape), X.new_empty(X.shape)),
    keep=lambda inputs, outputs: (outputs[0], inputs[0]),
    options=slice(2, 3),
)
