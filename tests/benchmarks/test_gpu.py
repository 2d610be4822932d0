"""The script of `make gpu`, run on the CPU with small sizes."""

import json
import os
from pathlib import Path

import gpu
import pytest
import torch

__all__: list[str] = []


@pytest.mark.skipif(torch.cuda.is_available(), reason="`make gpu` tests this on the GPU")
def test_the_gpu_check_runs_on_the_cpu_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu = {form for form in (*gpu.FORMS, *gpu.PRODUCTS) if gpu.available(form, torch.device("cpu"))}
    assert not any(word in form for form in on_cpu for word in ("graph", "fused", "TF32"))
    # As if there were a GPU; on a CPU the products of all forms are the same.
    monkeypatch.setattr(gpu, "available", lambda form, device: "graph" not in form)
    assert gpu.main(["--out", str(tmp_path)]) == 0
    output, found = capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())
    assert "There is no CUDA card" in output
    assert {line["form"] for line in found["speed"]} == {form for form in gpu.FORMS if "graph" not in form}
    assert len(found["correctness"]) == 1 + len(gpu.KERNELS) + 4 + 2 + 2 * len(gpu.FRONTENDS)
    assert len(found["products"]) == 2 * len(gpu.PRODUCTS)
    assert all(line["seconds"] > 0 for line in found["speed"])
    assert (tmp_path / "gpu.png").exists()


class Wrong(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1.1 if x.dtype == torch.float32 else 1.0)


def test_wrong_results_are_detected() -> None:
    found = gpu.errors(Wrong(3, 3), torch.device("cpu"), "32", torch.randn(5, 3))
    assert all(error > most for error, most in zip(found, gpu.MOST_WRONG["32"], strict=True))


def test_switches_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S4SIGNAL_FUSED_PRODUCT", raising=False)
    with gpu.switches("s4d, fused, TF32"):
        assert os.environ["S4SIGNAL_FUSED_PRODUCT"] == "1"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert "S4SIGNAL_FUSED_PRODUCT" not in os.environ
    assert torch.backends.cuda.matmul.fp32_precision != "tf32"
