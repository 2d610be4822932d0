"""What a person looks at: plots of a fitted model, in the manner of scikit-learn's displays."""

from s4signal.inspection.bands import BandImportanceDisplay
from s4signal.inspection.training_curve import TrainingCurveDisplay

__all__ = ["BandImportanceDisplay", "TrainingCurveDisplay"]
