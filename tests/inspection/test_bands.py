"""BandImportanceDisplay: the importance of frequency bands in models in closed form."""

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.exceptions import NotFittedError

from s4signal.errors import ShapeError
from s4signal.estimators import S4RidgeClassifier
from s4signal.estimators.closed_form.feature_names import add_by_oscillator
from s4signal.inspection import BandImportanceDisplay

__all__: list[str] = []


def rhythms(n=80):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    t = np.arange(400) / 100
    rhythm = (0.2 + y[:, None]) * np.sin(2 * np.pi * (10 * t + rng.random((n, 1))))  # 10 Hz, weak or strong
    return rhythm + rng.standard_normal((n, 400)), y


def test_band_that_differs_between_classes_is_most_important():
    X, y = rhythms()
    model = S4RidgeClassifier(sfreq=100.0, random_state=0).fit(X, y)
    display = BandImportanceDisplay.from_estimator(model)
    assert display.importance.sum() == pytest.approx(1.0)
    above_zero = display.frequency > 0
    near = above_zero & (np.abs(np.log2(np.maximum(display.frequency, 1e-9) / 10)) < 0.75)
    assert display.importance[near].mean() > 3 * display.importance[above_zero & ~near].mean()


def test_every_feature_has_an_oscillator():
    X, y = rhythms()
    model = S4RidgeClassifier(n_oscillators=7, sfreq=100.0, random_state=0).fit(np.stack([X, X[::-1]], 1), y)
    owners, names = model.features_.oscillators_, model.features_.get_feature_names_out()
    assert all(f"{model.features_.frequencies_[k]:.4g} Hz" in name for k, name in zip(owners, names, strict=True))


def test_importance_of_a_combination_is_split_equally():
    X, y = rhythms()
    features = S4RidgeClassifier(n_oscillators=7, sfreq=100.0, random_state=0).fit(np.stack([X, X], 1), y).features_
    values = np.random.default_rng(0).random(len(features.oscillators_))
    sums = np.zeros(len(features.frequencies_))
    for name, value in zip(features.get_feature_names_out(), values, strict=True):
        members = [name] if "(" not in name else name.split("(")[1:]
        for member in members:
            owners = [
                k
                for k, f in enumerate(features.frequencies_)
                if f"{f:.4g} Hz, {features.time_constants_[k]:.4g} s" in member
            ]
            sums[owners] += value / len(members)
    np.testing.assert_allclose(add_by_oscillator(features.feature_map_, values), sums)


def test_plot_labels_axes_units_and_low_passes():
    figure, ax = pyplot.subplots()
    display = BandImportanceDisplay(frequency=[0.0, 0.1, 0.2], importance=[0.2, 0.5, 0.3], unit="cycles per sample")
    assert display.plot(ax=ax).figure_ is figure
    assert ax.get_xlabel() == "Frequency (cycles per sample)"
    assert "all low-passes" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_each_frequency_lies_in_the_bar_of_one_octave():
    display = BandImportanceDisplay(frequency=[3.0, 5.0, 7.0, 16.0], importance=[0.1, 0.2, 0.3, 0.4]).plot()
    bars = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in display.ax_.patches]
    expected = [(2.0**1.5, 2.0**2.5, 0.3), (2.0**2.5, 2.0**3.5, 0.3), (2.0**3.5, 2.0**4.5, 0.4)]
    np.testing.assert_allclose(bars, expected)
    for f in (3.0, 5.0, 7.0, 16.0):
        assert sum(low <= f < high for low, high, _ in bars) == 1


def test_bars_sum_to_the_importance_of_all_oscillators():
    X, y = rhythms()
    display = BandImportanceDisplay.from_estimator(S4RidgeClassifier(sfreq=100.0, random_state=0).fit(X, y))
    drawn = sum(bar.get_height() for bar in display.ax_.patches)
    assert drawn == pytest.approx(display.importance[display.frequency > 0].sum())


def test_unfitted_models_and_wrong_shapes_are_refused():
    with pytest.raises(NotFittedError, match=r"S4RidgeClassifier is not a fitted closed-form model\. Pass a fitted"):
        BandImportanceDisplay.from_estimator(S4RidgeClassifier())
    with pytest.raises(ShapeError, match="importance must hold one value for each of 2 oscillators, got 1"):
        BandImportanceDisplay(frequency=[1, 2], importance=[1])
