"""Plots of a fitted model, in the style of scikit-learn's displays."""

from s4signal.inspection.bands import BandImportanceDisplay
from s4signal.inspection.frequency_response import FrequencyResponseDisplay, KernelDisplay
from s4signal.inspection.groups import GroupScoresDisplay
from s4signal.inspection.memory import MemoryDisplay
from s4signal.inspection.occlusion import ChannelImportanceDisplay, SaliencyDisplay
from s4signal.inspection.poles import PolesDisplay
from s4signal.inspection.robustness import RobustnessDisplay
from s4signal.inspection.topography import TopographyDisplay
from s4signal.inspection.training_curve import TrainingCurveDisplay

__all__ = [
    "BandImportanceDisplay",
    "ChannelImportanceDisplay",
    "FrequencyResponseDisplay",
    "GroupScoresDisplay",
    "KernelDisplay",
    "MemoryDisplay",
    "PolesDisplay",
    "RobustnessDisplay",
    "SaliencyDisplay",
    "TopographyDisplay",
    "TrainingCurveDisplay",
]
