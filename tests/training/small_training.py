"""A small network and cases for the tests of the loop."""

import numpy as np
import torch

from s4signal.nn import S4Network
from s4signal.nn.backbone import StackOptions, state_space_parameters
from s4signal.nn.frontends import LinearFrontend
from s4signal.training import PRECISIONS, Cases, Samples, TrainingOptions

__all__ = ["loss", "make_network", "options_for", "tones"]


def make_network(*, dropout=0.0, precision="64", seed=0, n_outputs=2):
    torch.manual_seed(seed)
    options = StackOptions(
        d_model=6, n_layers=1, d_state=4, dropout=dropout, dt_range=(0.02, 0.2), dropout_axis="batch"
    )
    return S4Network(LinearFrontend(2, 6), n_outputs, options=options).to(PRECISIONS[precision])


def tones(n=12, *, weights=None, seed=0, low=20, high=60):
    """Return cases of two classes and unequal lengths, which a network can learn within a few epochs."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(low, high, n)
    signals = [
        np.sin(np.arange(length) * (0.2 + 0.8 * (i % 2))) + 0.3 * rng.standard_normal((2, length))
        for i, length in enumerate(lengths)
    ]
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    return Cases(lambda i: Samples(signals[i]), lengths, np.ones(n), weights, torch.arange(n) % 2)


def loss(outputs, targets):
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")


def options_for(network, **changes):
    values = {
        "max_epochs": 3,
        "batch_size": None,
        "learning_rate": 1e-2,
        "ssm_learning_rate": 1e-3,
        "weight_decay": 0.05,
        "n_iter_no_change": None,
        "max_samples": 10**6,
        "device": torch.device("cpu"),
        "precision": "64",
        "seed": 0,
        "state_space": state_space_parameters(network),
    }
    return TrainingOptions(**{**values, **changes})
