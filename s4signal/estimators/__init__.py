"""The estimators: networks, the training loop and signals behind the scikit-learn interface."""

from s4signal.estimators.alignment import AlignRecordings
from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.closed_form.regressor import S4RidgeRegressor
from s4signal.estimators.closed_form.transformer import S4RandomFeatures
from s4signal.estimators.filter_bank import S4FilterBank
from s4signal.estimators.leakage import check_leakage
from s4signal.estimators.pipelines import load_pipeline, save_pipeline, stream_pipeline
from s4signal.estimators.preprocessing.amplitude import Baseline, Clip, RobustScale
from s4signal.estimators.preprocessing.channels import InterpolateBads, Rereference
from s4signal.estimators.preprocessing.filters import BandPass, Notch, Resample
from s4signal.estimators.preprocessing.to_array import ToArray
from s4signal.estimators.segmenter import S4Segmenter
from s4signal.estimators.segments import Segment
from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.regressor import S4Regressor
from s4signal.estimators.trained.transformer import S4Features

__all__ = [
    "AlignRecordings",
    "BandPass",
    "Baseline",
    "Clip",
    "InterpolateBads",
    "Notch",
    "Rereference",
    "Resample",
    "RobustScale",
    "S4Classifier",
    "S4Features",
    "S4FilterBank",
    "S4RandomFeatures",
    "S4Regressor",
    "S4RidgeClassifier",
    "S4RidgeRegressor",
    "S4Segmenter",
    "Segment",
    "ToArray",
    "check_leakage",
    "load_pipeline",
    "save_pipeline",
    "stream_pipeline",
]
