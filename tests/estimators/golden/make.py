"""Rewrite the golden files: only when the format of model files changes, which CHANGELOG.md must mention.

`sound_classifier.s4` was written before files stored the floor, which was 50 dB.

Command::

    python tests/estimators/golden/make.py
"""

from pathlib import Path

import numpy as np
import torch

from s4signal import S4Classifier, S4Regressor, S4RidgeClassifier, S4RidgeRegressor

__all__ = ["FOLDER", "MODELS", "recordings"]

FOLDER = Path(__file__).parent
SMALL = {"d_model": 4, "d_state": 4, "n_layers": 1, "max_epochs": 2, "random_state": 0}
FEW = {"n_oscillators": 4, "orders": (1,), "n_spatial_filters": 1, "n_windows": 1, "random_state": 0}
MODELS = {
    "classifier": lambda: S4Classifier(**SMALL),
    "sound_classifier": lambda: S4Classifier(**SMALL, frontend="filterbank", sfreq=480.0),
    "band_classifier": lambda: S4Classifier(**SMALL, frontend="band_power", readout="pooled", learning_rate=0.05),
    "networks_classifier": lambda: S4Classifier(**SMALL, n_networks=2, pooling="attention", readout="pooled"),
    "regressor": lambda: S4Regressor(**SMALL, kernel="s5", bidirectional=False),
    "ridge_classifier": lambda: S4RidgeClassifier(**FEW),
    "lines_classifier": lambda: S4RidgeClassifier(**FEW, sfreq=64.0, band_hz=(1.0, 28.0)),
    "ridge_regressor": lambda: S4RidgeRegressor(**FEW),
}


def recordings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return slow and fast waves (n_samples, n_channels, n_times), equal in any version, their labels and targets."""
    i = np.arange(12)
    phase = np.arange(48) * np.array([1, 3])[i % 2][:, None, None] * 0.125 + i[:, None, None]
    X = np.round(np.sin(phase + np.arange(2)[:, None]), 6)
    return X, np.array(["slow", "fast"])[i % 2], np.stack([i % 2, i / 4.0], axis=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    X, labels, targets = recordings()
    outputs = {}
    for name, build in MODELS.items():
        classifies = name.endswith("classifier")
        model = build().fit(X, labels if classifies else targets)
        model.save(FOLDER / f"{name}.s4")
        outputs[name] = model.predict_proba(X) if classifies else model.predict(X)
    np.savez_compressed(FOLDER / "answers.npz", **outputs)
