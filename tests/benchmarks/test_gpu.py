"""What `make gpu` does on a card, it does here on the CPU, with small sizes."""

import json
from pathlib import Path

import gpu
import pytest
import torch

__all__: list[str] = []


@pytest.mark.skipif(torch.cuda.is_available(), reason="`make gpu` does it on the card")
def test_the_check_of_a_card_runs_without_one_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--out", str(tmp_path)]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())
    assert "There is no CUDA card" in said
    assert {line["form"] for line in found["speed"]} == {form for form in gpu.FORMS if "graph" not in form}
    assert len(found["correctness"]) == 1 + len(gpu.KERNELS) + 2 + 2 * len(gpu.FRONTENDS)
    assert all(line["seconds"] > 0 for line in found["speed"])
    assert (tmp_path / "gpu.png").exists()


class Wrong(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1.1 if x.dtype == torch.float32 else 1.0)


def test_a_wrong_number_is_found() -> None:
    found = gpu.errors(Wrong(3, 3), torch.device("cpu"), "32", torch.randn(5, 3))
    assert all(error > most for error, most in zip(found, gpu.MOST_WRONG["32"], strict=True))
