"""Golden model files: every later version reads them and gives the same predictions."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

__all__: list[str] = []

FOLDER = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("golden_make", FOLDER / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
TOLERANCE = 1e-5  # float32, and another processor or version of torch


@pytest.mark.parametrize("name", make.MODELS)
def test_golden_file_gives_the_stored_predictions(name):
    X, labels, targets = make.recordings()
    model = type(make.MODELS[name]()).load(FOLDER / f"{name}.s4")
    classifies = hasattr(model, "predict_proba")
    outputs = model.predict_proba(X) if classifies else model.predict(X)
    np.testing.assert_allclose(outputs, np.load(FOLDER / "answers.npz")[name], atol=TOLERANCE)
    assert model.get_params() == make.MODELS[name]().get_params()
    assert np.isfinite(model.fit(X, labels if classifies else targets).score(X, labels if classifies else targets))


def test_golden_files_stay_small():
    assert max(path.stat().st_size for path in FOLDER.iterdir()) < 30_000
