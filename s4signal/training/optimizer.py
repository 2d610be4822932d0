"""AdamW with groups by name, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import nn

__all__ = ["build_optimizer", "cosine_with_warmup"]


def build_optimizer(
    network: nn.Module,
    *,
    state_space: Collection[str],
    learning_rate: float,
    ssm_learning_rate: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """Group the parameters by name: matrices decay, vectors and systems do not, poles and steps move slowly."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    poles = [p for name, p in named if name in state_space]
    matrices = [p for name, p in named if name not in state_space and name.endswith("weight")]
    rest = [p for name, p in named if name not in state_space and not name.endswith("weight")]
    return torch.optim.AdamW(
        [
            {"params": matrices, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": rest, "lr": learning_rate, "weight_decay": 0.0},
            {"params": poles, "lr": min(ssm_learning_rate, learning_rate), "weight_decay": 0.0},
        ]
    )


def cosine_with_warmup(optimizer: torch.optim.Optimizer, n_steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Rise over the first tenth of the steps, then fall along a cosine to a hundredth of the peak."""
    warmup = max(1, n_steps // 10)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, n_steps - warmup))
        return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
