"""Plots of a fitted model, in the style of scikit-learn's displays."""

from s4signal.inspection.bands import BandImportanceDisplay
from s4signal.inspection.memory import MemoryDisplay
from s4signal.inspection.occlusion import ChannelImportanceDisplay, SaliencyDisplay
from s4signal.inspection.responses import FrequencyResponseDisplay, KernelDisplay, PolesDisplay
from s4signal.inspection.score_displays import GroupScoresDisplay, RobustnessDisplay
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
