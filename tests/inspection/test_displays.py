"""Displays: the values, positions and units that they draw."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from scipy import signal as scipy_signal
from sklearn.exceptions import NotFittedError

from s4signal import S4Classifier, S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.errors import ShapeError
from s4signal.inspection import (
    BandImportanceDisplay,
    ChannelImportanceDisplay,
    FrequencyResponseDisplay,
    GroupScoresDisplay,
    KernelDisplay,
    MemoryDisplay,
    PolesDisplay,
    RobustnessDisplay,
    SaliencyDisplay,
    TopographyDisplay,
)
from s4signal.nn import FilterBank
from s4signal.signals import Signal

__all__: list[str] = []

NAMES = ("Fz", "C3", "C4", "Pz", "Oz")


def bursts(n: int = 40) -> tuple[Signals, np.ndarray]:
    """Make noise with a burst of 10 Hz in the third quarter of channel Oz, in every other case."""
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    data, t = rng.standard_normal((n, 5, 400)), np.arange(100) / 100
    data[y == 1, 4, 200:300] += 4 * np.sin(2 * np.pi * 10 * t)
    return Signals(data, sfreq=100.0, ch_names=NAMES), y


@pytest.fixture(scope="module")
def ridge() -> S4RidgeClassifier:
    return S4RidgeClassifier(n_oscillators=16, random_state=0).fit(*bursts())


@pytest.fixture(scope="module")
def network() -> S4Classifier:
    X, y = bursts()
    return S4Classifier(
        d_model=4, d_state=4, n_layers=2, max_epochs=1, frontend="linear", readout="pooled", random_state=0
    ).fit(X, y)


def test_every_display_draws_into_given_axes(ridge: S4RidgeClassifier, network: S4Classifier) -> None:
    X, y = bursts(8)
    draw: list[Any] = [
        lambda ax: BandImportanceDisplay.from_estimator(ridge, ax=ax),
        lambda ax: ChannelImportanceDisplay.from_estimator(ridge, X, y, ax=ax),
        lambda ax: ChannelImportanceDisplay(importance=np.ones((5, 2)), ch_names=NAMES).topography(ax=ax),
        lambda ax: FrequencyResponseDisplay.from_estimator(network, ax=ax),
        lambda ax: GroupScoresDisplay.from_estimator(ridge, X, y, groups=y, ax=ax),
        lambda ax: KernelDisplay.from_estimator(network, ax=ax),
        lambda ax: MemoryDisplay.from_signal(X[0].data[0], ax=ax),
        lambda ax: PolesDisplay.from_estimator(ridge, ax=ax),
        lambda ax: RobustnessDisplay(levels=[0, 1], scores={"a": [1, 0.5], "b": [1, 0.7]}).plot(ax=ax),
        lambda ax: SaliencyDisplay.from_estimator(ridge, X[0], ax=ax),
        lambda ax: TopographyDisplay(values=np.arange(5), ch_names=NAMES).plot(ax=ax),
    ]
    for one in draw:
        figure, ax = pyplot.subplots()
        display = one(ax)
        assert (display.ax_, display.figure_) == (ax, figure)
        figure.canvas.draw()


def test_saliency_finds_the_decisive_window_in_seconds(ridge: S4RidgeClassifier) -> None:
    X, _ = bursts(4)
    for case in (X[1], Signals([X[1]]).resample(200.0)[0]):
        display = SaliencyDisplay.from_estimator(ridge, case, target=1, n_windows=4)
        np.testing.assert_allclose(display.edges, [0, 1, 2, 3, 4], atol=0.02)
        assert display.importance.argmax() == 2


def test_saliency_finds_the_decisive_window_at_irregular_times(ridge: S4RidgeClassifier) -> None:
    data = bursts(4)[0][1].data
    kept = np.sort(np.random.default_rng(0).permutation(400)[:300])
    case = Signal(data[:, kept], times=7.0 + kept / 100, ch_names=NAMES)
    display = SaliencyDisplay.from_estimator(ridge, case, target=1, n_windows=4)
    assert display.importance.argmax() == 2
    mean_gap = (kept[-1] - kept[0]) / 100 / 299
    np.testing.assert_allclose(display.edges[[0, -1]], 7.0 + kept[[0, -1]] / 100 + [0.0, mean_gap])


def test_saliency_is_the_difference_to_the_prediction_without_the_window() -> None:
    X, y = bursts(20)
    model = S4RidgeRegressor(n_oscillators=8, random_state=0).fit(X, y.astype(float))
    display = SaliencyDisplay.from_estimator(model, X[1], n_windows=2)
    half = X[1].data.copy()
    half[:, :200] = np.nan
    whole, without = model.predict(Signals([X[1].data, half], sfreq=100.0, ch_names=NAMES))
    assert display.importance[0] == pytest.approx(whole - without, abs=1e-6)


def test_spectrogram_has_its_maximum_at_the_frequency_of_the_tone() -> None:
    tone = Signal(np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000), sfreq=8000.0)
    ax = SaliencyDisplay(case=tone, edges=[0, 1], importance=[1.0], spectrogram=True).plot().ax_
    (image,) = ax.get_images()
    left, right, bottom, top = image.get_extent()
    power = np.asarray(image.get_array())
    height = bottom + (power.mean(1).argmax() + 0.5) / len(power) * (top - bottom)
    assert abs(height - 1000) < 50
    assert left <= 0.0 < 0.99 < right


def test_most_important_channel_comes_first(ridge: S4RidgeClassifier) -> None:
    display = ChannelImportanceDisplay.from_estimator(ridge, *bursts(10))
    assert display.importance.shape == (5, 10)
    assert display.ax_.get_xticklabels()[0].get_text() == "Oz"
    means = [float(line.get_ydata()[0]) for line in display.ax_.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(means, sorted(display.importance.mean(1), reverse=True))
    np.testing.assert_allclose(display.topography().values, display.importance.mean(1))


def test_displays_accept_epochs_and_arrays(ridge: S4RidgeClassifier, network: S4Classifier) -> None:
    mne = pytest.importorskip("mne")
    X, y = bursts(10)
    epochs = mne.EpochsArray(np.asarray(X), mne.create_info(list(NAMES), 100.0, "eeg"), verbose="error")
    expected = ChannelImportanceDisplay.from_estimator(ridge, X, y).importance
    for given in (epochs, np.asarray(X)):
        display = ChannelImportanceDisplay.from_estimator(ridge, given, y)
        np.testing.assert_allclose(display.importance, expected)
    head = TopographyDisplay.from_estimator(network, epochs)
    np.testing.assert_allclose(head.values, TopographyDisplay.from_estimator(network, X).values)
    with pytest.raises(TypeError, match=r"case is of type EpochsArray; pass one case, such as Signals\(X\)\[0\]"):
        SaliencyDisplay.from_estimator(ridge, epochs[0])


def test_topography_uses_given_positions_or_channel_names() -> None:
    coordinates = np.array([[0.05, 0, 0.08], [0, 0.05, 0.08], [-0.05, 0, 0.08], [0, -0.05, 0.08], [np.nan] * 3])
    display = TopographyDisplay(values=[0, 1, 2, 3, 9], ch_names=list("abcde"), positions=coordinates)
    assert display.known.tolist() == [True] * 4 + [False]
    display.plot()
    named = TopographyDisplay(values=np.zeros(3), ch_names=["EEG T3-REF", "t7", "marker"])
    np.testing.assert_array_equal(named.positions[0], named.positions[1])  # one electrode, two names
    assert named.positions[0][0] < -0.07  # on the left
    assert named.known.tolist() == [True, True, False]
    with pytest.raises(ValueError, match="2 of 3 channels have a position, 4 are needed; pass positions="):
        named.plot()


def test_topography_of_a_filter_is_the_pattern_of_its_source() -> None:
    rng = np.random.default_rng(0)
    mixing, sources = rng.standard_normal((5, 5)), rng.standard_normal((4, 5, 20_000))
    X = Signals(mixing @ sources, sfreq=100.0, ch_names=NAMES)
    display = TopographyDisplay.from_filter(np.linalg.inv(mixing)[2], X)
    np.testing.assert_allclose(display.values, mixing[:, 2], atol=0.05)
    positions = 0.1 * rng.standard_normal((5, 3))
    placed = Signals([Signal(case.data, sfreq=100.0, positions=positions) for case in X])
    display = TopographyDisplay.from_filter(np.ones(5), placed, label="Source")
    np.testing.assert_array_equal(display.positions, positions)
    assert display.label == "Source"


def test_topography_of_a_network_is_the_direction_of_greatest_gain(network: S4Classifier) -> None:
    X, _ = bursts()
    with torch.no_grad():
        network.network_.frontend.mix.weight[:] = 1e-3 * torch.eye(4, 5)
        network.network_.frontend.mix.weight[0, 1:3] = torch.tensor([1.0, -1.0])
    display = TopographyDisplay.from_estimator(network, X)
    assert np.abs(display.values).argsort()[-2:].tolist() in ([1, 2], [2, 1])
    assert display.values[1] * display.values[2] < 0
    with pytest.raises(ValueError, match="S4RidgeClassifier has no front end that mixes 5 channels; fit S4Classifier"):
        TopographyDisplay.from_estimator(S4RidgeClassifier(n_oscillators=4), X)


def test_frequency_response_of_a_filter_bank_equals_its_measured_gain() -> None:
    bank = FilterBank(
        frequencies_hz=torch.tensor([100.0]),
        bandwidths_hz=torch.tensor([20.0]),
        sfreq=8000.0,
        hop_s=0.01,
        order=3,
        output="power",
    )
    frontend = type("Frontend", (), {"bank": bank})()
    model = type("Model", (), {"network_": type("Net", (), {"frontend": frontend}), "sfreq_": 8000.0})()
    display = FrequencyResponseDisplay.from_estimator(model, part="bank")
    t = torch.arange(8000) / 8000
    tones = torch.stack([torch.sin(2 * torch.pi * f * t) for f in (100.0, 130.0, 60.0)])[None]
    energy = 10 * np.log10(np.asarray(bank(tones.float()).features[0, :, -20:].double() ** (1 / 0.3)).mean(1))
    drawn = np.interp([100.0, 130.0, 60.0], display.frequency, display.gain["bank"][0])
    np.testing.assert_allclose(energy - energy[0], drawn - drawn[0], atol=0.3)
    assert len(FrequencyResponseDisplay(frequency=[1, 2], gain={"bank": np.eye(40, 2)}).plot().ax_.lines) == 32


def test_frequencies_are_plain_numbers_that_do_not_overlap(ridge: S4RidgeClassifier, network: S4Classifier) -> None:
    for display in (FrequencyResponseDisplay, BandImportanceDisplay):
        axes = display.from_estimator(ridge).ax_
        axes.figure.canvas.draw()
        low, high = axes.get_xlim()
        shown = [t.get_text() for t in axes.get_xticklabels(which="both") if low <= t.get_position()[0] <= high]
        boxes = [t.get_window_extent() for t in axes.get_xticklabels(which="both") if t.get_text()]
        assert [float(text) for text in shown if text]
        assert all(a.x1 < b.x0 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)))


def test_frequency_responses_of_blocks_equal_those_of_their_kernels(network: S4Classifier) -> None:
    responses, kernels = FrequencyResponseDisplay.from_estimator(network), KernelDisplay.from_estimator(network)
    assert list(responses.gain) == list(kernels.kernels) == ["block 1", "block 2"]
    step = kernels.times[1]
    assert responses.frequency[-1] == pytest.approx(0.5 / step)
    _, expected = scipy_signal.freqz(kernels.kernels["block 2"][0], worN=responses.frequency, fs=1 / step)
    np.testing.assert_allclose(responses.gain["block 2"][0], 20 * np.log10(np.abs(expected) + 1e-6), atol=1e-4)


def test_poles_are_in_hertz_and_seconds(ridge: S4RidgeClassifier, network: S4Classifier) -> None:
    display = PolesDisplay.from_estimator(ridge)
    np.testing.assert_allclose(display.frequency, ridge.features_.frequencies_)
    poles = PolesDisplay.from_estimator(network)
    assert set(poles.part) == {"block 1", "block 2"}
    assert poles.frequency.max() <= 50
    assert poles.ax_.get_xlabel() == "Frequency (Hz)"
    # A kernel of one block decays no slower than its slowest pole.
    kernel = KernelDisplay.from_estimator(network).kernels["block 1"]
    assert np.abs(kernel[:, -1]).max() < np.abs(kernel).max() * np.exp(-0.5 * 2048 / 100 / poles.time_constant.max())


def test_models_without_the_displayed_part_are_refused(ridge: S4RidgeClassifier, network: S4Classifier) -> None:
    with pytest.raises(ValueError, match="S4RidgeClassifier has no blocks; a fitted S4Classifier"):
        KernelDisplay.from_estimator(ridge)
    layers = {"d_model": 4, "n_layers": 1, "max_epochs": 1, "readout": "closed_form"}
    with pytest.raises(NotFittedError, match=r"S4Classifier is not a fitted closed-form model\. Pass a fitted"):
        BandImportanceDisplay.from_estimator(S4Classifier(**layers, random_state=0).fit(*bursts()))
    with pytest.raises(ValueError, match="front end of this model is not a filter bank; use part='blocks'"):
        FrequencyResponseDisplay.from_estimator(network, part="bank")


def test_larger_state_reconstructs_the_past_better() -> None:
    wave = np.sin(np.arange(600) ** 1.3 / 40)
    for measure in ("legs", "legt"):
        display = MemoryDisplay.from_signal(wave, measure=measure, d_states=(4, 16, 64), sfreq=100.0)
        errors = [np.abs(past - wave).mean() for past in display.reconstructions.values()]
        assert errors == sorted(errors, reverse=True)
        assert display.times[-1] == pytest.approx(5.995)


def test_groups_are_sorted_from_worst_to_best() -> None:
    y, predicted = np.array(list("aabbaabb")), np.array(list("aabbaaaa"))
    display = GroupScoresDisplay.from_predictions(y, predicted, groups=[1, 1, 1, 1, 2, 2, 2, 2])
    assert display.groups == ["2", "1"]
    assert display.columns == ["accuracy", "a", "b"]
    np.testing.assert_array_equal(display.scores, [[0.5, 1, 0], [1, 1, 1]])
    assert [text.get_text() for text in display.ax_.texts] == ["0.50", "1.00", "0.00", "1.00", "1.00", "1.00"]
    absent = GroupScoresDisplay.from_predictions(["a", "b"], ["a", "b"], groups=[1, 2])
    assert [text.get_text() for text in absent.ax_.texts] == ["1.00", "1.00", "–", "1.00", "–", "1.00"]
    numbers = GroupScoresDisplay.from_predictions([1.0, 2.0, 3.0], [1.0, 2.5, 4.0], groups=["x", "y", "y"])
    np.testing.assert_allclose(numbers.scores, [[0.75], [0.0]])


def test_all_models_get_the_same_disturbed_cases(ridge: S4RidgeClassifier) -> None:
    X, y = bursts(10)
    calls: list[float] = []

    def disturb(X: Signals, level: float) -> Signals:
        calls.append(level)
        return Signals([level * case.data for case in X], sfreq=100.0, ch_names=NAMES)

    models = {"a": ridge, "b": ridge}
    with pytest.warns(UserWarning, match="flat in case 0 and 9 more, but in no training case"):
        display = RobustnessDisplay.from_estimators(models, X, y, disturb=disturb, levels=[1.0, 0.0], ylabel="Recall")
    assert calls == [1.0, 0.0]
    assert display.ax_.get_ylabel() == "Recall"
    np.testing.assert_array_equal(display.scores["a"], [[ridge.score(X, y)], [0.5]])
    lines = display.ax_.get_lines()
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines if len(line.get_xdata()) == 2}) >= 2
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["a", "b"]
    repeated = RobustnessDisplay(levels=[0], scores={"a": [[0.5, 0.7]]}).plot().ax_
    (bar,) = repeated.containers[0][2][0].get_segments()
    np.testing.assert_allclose(bar[:, 1], 0.6 + np.std([0.5, 0.7], ddof=1) * np.array([-1, 1]))
    assert repeated.get_legend() is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RobustnessDisplay(levels=[0, 1], scores={"a": [1]}), "a has 1 scores, but there are 2 levels"),
        (lambda: PolesDisplay(frequency=[1, 2], time_constant=[1]), "must be of one length, got 2, 1 and 2"),
        (lambda: TopographyDisplay(values=[1], ch_names=NAMES), r"values \(1,\) and positions \(5, 3\)"),
        (
            lambda: GroupScoresDisplay(groups=["a"], n_cases=[1], scores=[[1, 2]], columns=["x"]),
            r"scores must have shape \(n_groups, n_columns\), \(1, 1\), got \(1, 2\)",
        ),
        (
            lambda: GroupScoresDisplay.from_predictions([1], [1, 2], groups=[1]),
            "y_true, y_pred and groups must be of one length, got 1, 2 and 1",
        ),
    ],
)
def test_inconsistent_shapes_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()


def test_invalid_arguments_are_refused(ridge: S4RidgeClassifier) -> None:
    X, y = bursts(4)
    with pytest.raises(ValueError, match="groups holds no group of case 1, but None"):
        GroupScoresDisplay.from_predictions([1, 1], [1, 2], groups=["a", None])
    with pytest.raises(ValueError, match=r"7 is none of the classes, \[0, 1\]"):
        SaliencyDisplay.from_estimator(ridge, X[0], target=7)
    with pytest.raises(ValueError, match="a spectrogram needs samples at a rate"):
        SaliencyDisplay.from_estimator(ridge, Signal(X[0].data), spectrogram=True)
    with pytest.raises(ValueError, match="X has one channel, without which nothing is left"):
        ChannelImportanceDisplay.from_estimator(ridge, Signals(np.zeros((4, 1, 400))), y)
