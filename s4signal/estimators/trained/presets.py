"""Named settings: plain parameters of `S4Classifier`."""

from collections.abc import Mapping
from typing import Any

from s4signal.errors import check_choice

_SAMPLE_S = 1 / 16000  # of Speech Commands


def _for_sound(**more: Any) -> Mapping[str, Any]:
    """Return the sizes of small networks with the filter bank, and further parameters."""
    return {"frontend": "filterbank", "d_model": 64, "n_layers": 2, "d_state": 16, "pooling": "attention", **more}


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # A few hundred words and speakers: the values of "auto" for audio.
    "speech-small": _for_sound(augmentation=("band_shift", "band_dropout", "silence_padding")),
    # 35 words of Speech Commands from raw samples [1]_: six layers of 128, steps dt of 1e-3 to 0.1 samples, 40 epochs.
    #
    # .. [1] A. Gu, K. Goel, A. Gupta, C. Ré, "On the Parameterization and Initialization of Diagonal State Space
    #    Models", 2022, doi:10.48550/arXiv.2206.11893.
    "speech-commands-35": {
        "frontend": "linear",
        "kernel": "s4d",
        "init": "lin",
        "d_model": 128,
        "d_state": 64,
        "n_layers": 6,
        "bidirectional": True,
        "dropout": 0.1,
        "pooling": "mean",
        "timescale": (10 * _SAMPLE_S, 1000 * _SAMPLE_S),
        "augmentation": None,
        "max_epochs": 40,
        "batch_size": 16,
        "learning_rate": 0.01,
        "ssm_learning_rate": 1e-3,
        "weight_decay": 0.05,
    },
    # Sounds of a few seconds that start at any moment: no speaker whose bands could shift, no silence to pad.
    "audio-events": _for_sound(augmentation=("band_dropout",), max_epochs=30),
    # Some hundred event-locked trials.
    "eeg": {
        "frontend": "hop_means",
        "d_model": 16,
        "n_layers": 1,
        "d_state": 16,
        "pooling": "legs",
        "augmentation": None,
        "max_epochs": 40,
        "early_stopping": False,
    },
}


def preset(name: str) -> dict[str, Any]:
    """Return the parameters of a preset; ValueError lists the names."""
    check_choice("preset", name, PRESETS)
    return dict(PRESETS[name])
