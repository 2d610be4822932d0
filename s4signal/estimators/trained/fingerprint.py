"""What makes a training the same one, so that a checkpoint of another is not taken up."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from torch import nn

from s4signal.training import Cases

if TYPE_CHECKING:
    from s4signal.estimators.trained.base import S4Estimator

__all__ = ["fingerprint_of"]

_FREE = ("checkpoint_dir", "callbacks", "verbose", "device", "random_state")  # the seed stands for random_state


def fingerprint_of(estimator: S4Estimator, cases: Cases, validation: Cases | None, seed: int) -> str:
    """Identify the data and the settings of a training."""
    settings = sorted((k, repr(v)) for k, v in estimator.get_params(deep=False).items() if k not in _FREE)
    module = estimator.network_.frontend if isinstance(estimator.frontend, nn.Module) else nn.Module()
    digest = hashlib.sha256(repr((settings, seed, estimator._plan)).encode())
    digest.update(estimator._standardizer.mean.tobytes() + estimator._standardizer.scale.tobytes())
    for tensor in module.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    for part in (cases, validation):
        if part is not None and part.targets is not None:
            digest.update(
                part.rates.tobytes() + part.lengths.tobytes() + part.weights.tobytes() + part.targets.numpy().tobytes()
            )
    return digest.hexdigest()
