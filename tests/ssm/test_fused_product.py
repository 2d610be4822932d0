"""The kernel for outputs of blocks is right, as its interpreter says, and fits a card, as its compiler says."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import s4signal
from s4signal.ssm import blocks

__all__: list[str] = []

TRITON = find_spec("triton")
PTXAS = Path(TRITON.origin or "").parent / "backends/nvidia/bin/ptxas" if TRITON else Path("none")


@pytest.mark.skipif(TRITON is None, reason="triton is not installed: it comes with torch on Linux")
def test_the_kernel_equals_the_products() -> None:
    # In a process of its own: triton decides when it is imported whether it interprets.
    script = Path(__file__).with_name("product_interpreted.py")
    checkout = {"PYTHONPATH": str(Path(s4signal.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", script]
    done = subprocess.run(command, env={**os.environ, **checkout}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not PTXAS.exists(), reason="there is no triton with a compiler for CUDA")
@pytest.mark.parametrize("T", [5, blocks.LONGEST_BLOCK])
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize(("capability", "most_shared"), [(80, 99 * 1024), (90, 227 * 1024)])
def test_the_kernel_fits_a_card(
    capability: int, most_shared: int, tf32: bool, T: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import triton
    from triton.backends.compiler import GPUTarget

    from s4signal.ssm.fused_product import _kernel, tiles

    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    cut = tiles(T, tf32=tf32)
    n_warps = cut.pop("num_warps")
    given = dict.fromkeys(_kernel.arg_names[:5], "*fp32") | dict.fromkeys(_kernel.arg_names[5:8], "i32")
    by_16 = {(i,): [["tt.divisibility", 16]] for i in range(len(given))}
    source = triton.compiler.ASTSource(_kernel, given | dict.fromkeys(cut, "constexpr"), cut, by_16)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": n_warps})
    ptx = compiled.asm["ptx"]
    (tmp_path / "kernel.ptx").write_text(ptx)
    command = [PTXAS, "-v", f"--gpu-name={re.search(r'[.]target (sm_[0-9a]+)', ptx)[1]}", "kernel.ptx"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    registers = 8 * -(-int(re.search(r"Used (\d+) registers", said)[1]) // 8)  # as they are given out
    programs = min(65_536 // (registers * 32 * n_warps), most_shared // compiled.metadata.shared)
    assert " 0 bytes spill stores" in said
    assert n_warps * programs >= 8  # at once, so that some multiply while others wait for memory
    assert ("mma" in ptx) == tf32  # on tensor cores


def test_who_asks_for_the_kernel_on_a_cpu_gets_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    tables = torch.randn(2, 5, 16), torch.randn(2, 31), torch.randn(2, 5, 4), torch.randn(2, 16, 4)
    expected = blocks.block_product(*tables)
    monkeypatch.setenv("S4SIGNAL_FUSED_PRODUCT", "1")
    assert torch.equal(blocks.block_product(*tables), expected)


def test_a_compiler_learns_shapes_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S4SIGNAL_FUSED_PRODUCT", "1")
    monkeypatch.setattr(blocks, "runs_triton", lambda x: True)
    with FakeTensorMode():
        u, kernel, P, Q, transition = (
            torch.randn(shape, device="cuda:0") for shape in ((2, 3, 16), (2, 31), (2, 16, 4), (2, 16, 4), (2, 4))
        )
        for y in (
            torch.ops.s4signal.one_block(u, kernel),
            torch.ops.s4signal.block_scan(u, kernel, P, Q, transition, None)[0],
        ):
            assert y.shape == u.shape
            assert y.device == u.device
        du, dkernel = torch.ops.s4signal.one_block_backward(u, u, kernel)
        assert (du.shape, dkernel.shape) == (u.shape, kernel.shape)
