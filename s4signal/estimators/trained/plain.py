"""The modules that are exported: from samples to probabilities or targets, in original units."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.readout import Readout
from s4signal.nn import S4Network


class Parts(NamedTuple):
    """Everything a prediction needs; ``scale`` and ``mean`` restore the units of targets, or there are ``classes``."""

    plan: Plan
    standardizer: Standardizer
    network: S4Network
    readout: Readout | None  # its outputs are added
    classes: NDArray[Any] | None
    tags: bool  # whether classes are independent tags
    scale: NDArray[np.float64]
    mean: NDArray[np.float64]
    ch_names: list[str] | None


class Offline(nn.Module):
    """Standardise, run the network, and convert the outputs to probabilities or to the units of the targets."""

    network: Any
    readout: Any

    def __init__(self, parts: Parts, network: nn.Module, readout: nn.Module | None) -> None:
        super().__init__()
        self.network, self.readout, self.n_masks = network, readout, len(parts.plan.sampling.masked)
        self.classifies, self.tags = parts.classes is not None, parts.tags
        self.dtype, self.kept = parts.network.head.weight.dtype, parts.standardizer.kept
        arrays = (parts.standardizer.mean, 1.0 / parts.standardizer.scale, parts.scale, parts.mean)
        self.center, self.gain, self.scale, self.mean = (
            nn.Buffer(torch.tensor(x, dtype=torch.float64)) for x in arrays
        )

    def forward(self, x: Tensor) -> Tensor:
        """Predict cases (batch, n_channels, n_times)."""
        standard = self.standardised(x)
        outputs = self.network(self.with_masks(standard))
        return self.finished(outputs if self.readout is None else outputs + self.readout(standard))

    def standardised(self, x: Tensor) -> Tensor:
        """Return the channels (n_channels, batch, n_times)."""
        x, center = x.double(), self.center[:, None]
        if self.kept is not None:
            mean = x.mean(-1, keepdim=True)
            center = mean - (mean - center) * torch.from_numpy(self.kept)[:, None]
        return ((x - center) * self.gain[:, None]).to(self.dtype).transpose(0, 1)

    def with_masks(self, standard: Tensor) -> Tensor:
        """Append masks in which all samples are observed."""
        if not self.n_masks:
            return standard
        return torch.cat([standard, torch.ones_like(standard[:1]).expand(self.n_masks, -1, -1)])

    def finished(self, outputs: Tensor) -> Tensor:
        """Return probabilities, or targets in original units."""
        if self.classifies:
            return (outputs.sigmoid() if self.tags else outputs.softmax(-1)).to(self.dtype)
        return (outputs.double() * self.scale + self.mean).float()


class Step(Offline):
    """The same model for the next samples of a stream; it takes a state and returns the next."""

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Predict from all samples so far; x (batch, n_channels, unit)."""
        standard, n = self.standardised(x), len(self.network.at_rest(1))
        outputs, after = self.network(self.with_masks(standard), list(state[:n]))
        if self.readout is not None:
            scores, more = self.readout(standard, list(state[n:]))
            outputs, after = outputs + scores, after + more
        return self.finished(outputs), *after

    def at_rest(self, batch: int) -> list[Tensor]:
        """Return the state before the first sample."""
        return [tensor for part in (self.network, self.readout) if part is not None for tensor in part.at_rest(batch)]
