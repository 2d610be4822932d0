"""Compile the fused product for GPUs, without needing one; test_fused_product.py runs it. Arguments: PTXAS FOLDER."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget

from s4signal.ssm import blocks
from s4signal.ssm.fused_product import _kernel, tiles

__all__: list[str] = []

MOST_SHARED = {80: 99 * 1024, 90: 227 * 1024}  # bytes of shared memory per thread block, by compute capability


def check(capability: int, T: int, *, tf32: bool, ptxas: str, folder: Path) -> None:
    """Compile for blocks of T samples: no spills, enough concurrent programs, tensor cores where requested."""
    cut = tiles(T, tf32=tf32)
    n_warps = cut.pop("num_warps")
    given = dict.fromkeys(_kernel.arg_names[:5], "*fp32") | dict.fromkeys(_kernel.arg_names[5:8], "i32")
    by_16 = {(i,): [["tt.divisibility", 16]] for i in range(len(given))}
    source = triton.compiler.ASTSource(_kernel, given | dict.fromkeys(cut, "constexpr"), cut, by_16)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": n_warps})
    ptx = compiled.asm["ptx"]
    (folder / "kernel.ptx").write_text(ptx)
    command = [ptxas, "-v", f"--gpu-name={re.search(r'[.]target (sm_[0-9a]+)', ptx)[1]}", "kernel.ptx"]
    report = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr
    registers = 8 * -(-int(re.search(r"Used (\d+) registers", report)[1]) // 8)  # as they are allocated
    programs = min(65_536 // (registers * 32 * n_warps), MOST_SHARED[capability] // compiled.metadata.shared)
    case = (capability, T, tf32, report)
    assert " 0 bytes spill stores" in report, case
    assert n_warps * programs >= 8, case  # concurrent: some multiply while others wait for memory
    assert ("mma" in ptx) == tf32, case  # on tensor cores


if __name__ == "__main__":
    triton.knobs.cache.dir = sys.argv[2]
    for capability, T, tf32 in itertools.product(MOST_SHARED, (5, blocks.LONGEST_BLOCK), (False, True)):
        check(capability, T, tf32=tf32, ptxas=sys.argv[1], folder=Path(sys.argv[2]))
