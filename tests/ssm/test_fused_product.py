"""The fused product is correct in triton's interpreter and compiles within the limits of a GPU."""

import os
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
def test_kernel_equals_the_products() -> None:
    run_in_new_process("product_interpreted.py")


def run_in_new_process(script: str, *arguments: str) -> None:
    """Run a script in a new process: triton chooses its interpreter at import."""
    environment = {**os.environ, "PYTHONPATH": str(Path(s4signal.__file__).parents[1])}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not PTXAS.exists(), reason="triton comes without a compiler for CUDA")
def test_kernel_compiles_within_the_limits_of_a_gpu(tmp_path: Path) -> None:
    run_in_new_process("product_compiled.py", str(PTXAS), str(tmp_path))


def test_option_for_the_kernel_changes_nothing_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    tables = torch.randn(2, 5, 16), torch.randn(2, 31), torch.randn(2, 5, 4), torch.randn(2, 16, 4)
    expected = blocks.block_product(*tables)
    monkeypatch.setenv("S4SIGNAL_FUSED_PRODUCT", "1")
    assert torch.equal(blocks.block_product(*tables), expected)


def test_fake_tensors_get_shapes_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
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
