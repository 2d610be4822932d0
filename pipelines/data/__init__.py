"""Data sets of the recipes, in the folder S4SIGNAL_DATA."""

from data.index import read_index
from data.irregular import load_physionet2012, load_welltory_ppg
from data.regular import load_eegmat, load_ppg_bp, load_speech_commands, load_ssvep_exo

__all__ = [
    "load_eegmat",
    "load_physionet2012",
    "load_ppg_bp",
    "load_speech_commands",
    "load_ssvep_exo",
    "load_welltory_ppg",
    "read_index",
]
