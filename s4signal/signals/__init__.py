"""The recordings: collections of cases, readers, windows and data sets; numpy, never torch."""

from s4signal.signals.case import Annotation, Signal
from s4signal.signals.collection import Signals

__all__ = ["Annotation", "Signal", "Signals"]
