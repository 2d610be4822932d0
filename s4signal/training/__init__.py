"""The training loop: device, precision, batches, optimizer, checkpoints; knows torch and no other part of s4signal."""

from s4signal.training.batching import Batch, Cases, Samples, sequential_batches
from s4signal.training.checkpoint import check_folder
from s4signal.training.distributed import agreed, is_first
from s4signal.training.evaluation import evaluate_network
from s4signal.training.loading import run_in_parts
from s4signal.training.loop import fit_network
from s4signal.training.options import TrainingOptions, call_network
from s4signal.training.result import TrainingInterrupted, TrainingResult
from s4signal.training.runtime import PRECISIONS, resolve_device

__all__ = [
    "PRECISIONS",
    "Batch",
    "Cases",
    "Samples",
    "TrainingInterrupted",
    "TrainingOptions",
    "TrainingResult",
    "agreed",
    "call_network",
    "check_folder",
    "evaluate_network",
    "fit_network",
    "is_first",
    "resolve_device",
    "run_in_parts",
    "sequential_batches",
]
