"""Labels, class weights and outputs of the classifier."""

import numpy as np
import pytest
import torch
from small_models import REFERENCE, classifier, same_weights, waves

from s4signal.estimators.trained import readout
from s4signal.nn import S4Network

LABELS = {
    "str": np.array(["slow", "fast"]),
    "bool": np.array([False, True]),
    "int": np.array([3, -7]),
    "int8": np.array([0, 1], dtype=np.int8),
    "float": np.array([1.0, 2.0]),
    "object": np.array(["slow", "fast"], dtype=object),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_predict_returns_labels_of_the_original_dtype(labels):
    X, y = waves()
    model = classifier().fit(X, labels[y])
    assert model.classes_.dtype == model.predict(X).dtype == labels.dtype
    assert model.classes_.tolist() == sorted(labels.tolist())
    assert set(model.predict(X)) <= set(labels)


def test_slow_and_fast_waves_are_classified():
    X, y = waves(40)
    model = classifier(max_epochs=20, learning_rate=3e-2).fit(X, np.array(["slow", "fast"])[y])
    X_new, y_new = waves(40, seed=1)
    assert model.score(X_new, np.array(["slow", "fast"])[y_new]) > 0.9


def test_probabilities_log_probabilities_and_logits_agree():
    X, y = waves(30)
    y = np.arange(30) % 3
    model = classifier().fit(X, y)
    logits = model.decision_function(X)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), probabilities, atol=1e-12)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(probabilities), atol=1e-12)
    assert (model.predict(X) == model.classes_[logits.argmax(1)]).all()


def test_decision_function_of_two_classes_is_one_logit():
    X, y = waves()
    model = classifier().fit(X, y)
    logit = model.decision_function(X)
    assert logit.shape == (24,)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-logit)), atol=1e-12)


def test_balanced_class_weight_equals_balancing_sample_weights():
    X, y = waves(30)
    y[:10] = 0
    counts = np.bincount(y)
    weights = len(y) / (2 * counts[y])
    balanced = classifier(**REFERENCE, class_weight="balanced").fit(X, y)
    by_hand = classifier(**REFERENCE).fit(X, y, sample_weight=weights)
    assert same_weights(balanced, by_hand)
    assert not same_weights(balanced, classifier(**REFERENCE).fit(X, y))


def test_class_weight_by_label_equals_sample_weights():
    X, y = waves()
    names = np.array(["slow", "fast"])[y]
    weighted = classifier(**REFERENCE, class_weight={"slow": 1.0, "fast": 3.0}).fit(X, names)
    by_hand = classifier(**REFERENCE).fit(X, names, sample_weight=np.where(y == 1, 3.0, 1.0))
    assert same_weights(weighted, by_hand)


@pytest.mark.parametrize("sfreq", [None, 8000.0])
def test_bf16_gives_nearly_the_probabilities_of_float32(sfreq):
    X, y = waves(n_times=400)
    model = classifier(sfreq=sfreq).fit(X, y)
    expected = model.predict_proba(X)
    np.testing.assert_allclose(model.set_params(precision="bf16").predict_proba(X), expected, atol=0.03)
    assert np.isfinite(model.fit(X, y).predict_proba(X)).all()


def test_network_is_a_torch_module_in_evaluation_mode():
    X, y = waves()
    model = classifier().fit(X, y)
    assert isinstance(model.network_, torch.nn.Module)
    assert not model.network_.training
    x = torch.zeros(2, 3, 60)
    assert model.network_(x).shape == (3, 2)


def test_describe_reports_rate_band_and_memory():
    X, y = waves()
    text = classifier(sfreq=100.0, timescale=(0.05, 0.5)).fit(X, y).describe()
    assert text.startswith("S4Classifier: 2 channels to 2 outputs, ")
    for part in ("sampling rate  100 Hz", "linear: each sample", "1 x 8, s4d (legs), d_state 8, both directions"):
        assert part in text
    assert " Hz\n" in text
    assert text.endswith(" s")


def test_describe_uses_samples_if_the_rate_is_unknown():
    X, y = waves()
    text = classifier(bidirectional=False).fit(X, y).describe()
    for part in ("sampling rate  unknown", "causal", "cycles per sample", " samples"):
        assert part in text


def test_describe_reports_bands_and_augmentations_of_a_filter_bank():
    X, y = waves(n_channels=1, n_times=1600)
    text = classifier(max_epochs=1).fit(X, y).describe()
    assert "filterbank" not in text
    text = classifier(max_epochs=1, sfreq=8000.0).fit(X, y).describe()
    assert "filterbank: 40 gammatone energies 60 - 3800 Hz every 20 ms (auto, for 1 channel at 8000 Hz)" in text
    names = "(augmentation: band_shift, band_dropout, silence_padding)"
    changes = "speakers up to 1 band higher or lower, rates from 2000 Hz, up to 0.5 s of silence or noise on both sides"
    assert f"trained for    {changes} {names}\n" in text
    text = classifier(max_epochs=1, sfreq=8000.0, augmentation=("sample_dropout",)).fit(X, y).describe()
    assert "trained for    up to 80% of samples missing (augmentation: sample_dropout)\n" in text


def test_layers_without_a_share_are_not_run(monkeypatch):
    monkeypatch.setattr(readout, "best_shares", lambda *args, **options: readout.Shares(1.0, 0.0))
    X, y = waves(32, n_channels=3)
    model = classifier(readout="closed_form", sfreq=60.0).fit(X, y)
    with monkeypatch.context() as without:
        without.setattr(S4Network, "last_weights", lambda self: [torch.ones(1)])
        expected, embedded = model.predict_proba(X), model.embed(X)
    monkeypatch.setattr(S4Network, "from_features", lambda *args, **how: pytest.fail("the layers are run"))
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_array_equal(model.embed(X), embedded)
    X[1] = np.nan
    with pytest.raises(ValueError, match="case 1 of X has no observation"):
        model.predict(X)
