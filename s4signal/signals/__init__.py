"""Recordings: collections of cases, readers, windows and data sets; NumPy, no torch."""

from s4signal.signals import datasets
from s4signal.signals.audio import read_audio, read_audio_folder
from s4signal.signals.audio_manifest import read_audio_manifest
from s4signal.signals.biosignal import read_wfdb
from s4signal.signals.case import Annotation, Signal
from s4signal.signals.collection import Signals
from s4signal.signals.eeg import EegRecordings, read_eeg
from s4signal.signals.epochs import epoch_labels
from s4signal.signals.labelled import LabelledSignals
from s4signal.signals.tabular import read_csv, read_events
from s4signal.signals.transforms import decimate, drop_samples
from s4signal.signals.ts import read_ts
from s4signal.signals.windows import epochs_from_events, windows

__all__ = [
    "Annotation",
    "EegRecordings",
    "LabelledSignals",
    "Signal",
    "Signals",
    "datasets",
    "decimate",
    "drop_samples",
    "epoch_labels",
    "epochs_from_events",
    "read_audio",
    "read_audio_folder",
    "read_audio_manifest",
    "read_csv",
    "read_eeg",
    "read_events",
    "read_ts",
    "read_wfdb",
    "windows",
]
