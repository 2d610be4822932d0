"""The loop: device, precision, batches, optimizer, checkpoints; torch alone, no estimators, no signals."""

from s4signal.training.batching import Batch, Cases, Samples, sequential_batches
from s4signal.training.loop import TrainingInterrupted, TrainingResult, evaluate_network, fit_network
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, resolve_device

__all__ = [
    "PRECISIONS",
    "Batch",
    "Cases",
    "Samples",
    "TrainingInterrupted",
    "TrainingOptions",
    "TrainingResult",
    "evaluate_network",
    "fit_network",
    "resolve_device",
    "sequential_batches",
]
