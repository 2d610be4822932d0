"""Tags: multilabel classification with the conventions of scikit-learn."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import cross_val_predict, cross_val_score
from small_models import SMALL

from s4signal import S4Classifier, S4RidgeClassifier
from s4signal.errors import ShapeError
from s4signal.signals import Signals

TRAINED = S4Classifier(**{**SMALL, "d_model": 16, "max_epochs": 60, "learning_rate": 2e-2})
CLOSED_FORM = S4RidgeClassifier(n_oscillators=16, random_state=0)
each_model = pytest.mark.parametrize("model", [TRAINED, CLOSED_FORM], ids=["trained", "closed form"])


def tagged(n=60, n_times=80, seed=0):
    """Return signals with a slow wave, a fast wave, both or neither, and the tags slow, fast and both."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 2))
    t = np.arange(n_times)
    X = y[:, :1] * np.sin(0.3 * t + rng.uniform(0, 6, (n, 1))) + y[:, 1:] * np.sin(1.2 * t + rng.uniform(0, 6, (n, 1)))
    return (X + 0.2 * rng.standard_normal((n, n_times)))[:, None], np.column_stack([y, y[:, 0] & y[:, 1]])


X, Y = tagged()
X_TEST, Y_TEST = tagged(seed=1)


@each_model
def test_tags_are_learned_and_all_outputs_agree(model):
    fitted = clone(model).fit(X, Y)
    tags, probabilities = fitted.predict(X_TEST), fitted.predict_proba(X_TEST)
    assert (tags.shape, probabilities.shape, tags.dtype) == (Y_TEST.shape, Y_TEST.shape, Y_TEST.dtype)
    assert f1_score(Y_TEST, tags, average="macro") > 0.9
    np.testing.assert_array_equal(tags, probabilities > 0.5)
    np.testing.assert_array_equal(tags, fitted.decision_function(X_TEST) > 0)
    np.testing.assert_allclose(fitted.predict_log_proba(X_TEST), np.log(probabilities), rtol=1e-6, atol=1e-9)
    assert fitted.score(X_TEST, Y_TEST) == accuracy_score(Y_TEST, tags)
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.__sklearn_tags__().classifier_tags.multi_label


@each_model
def test_two_tags_give_two_columns_in_all_outputs(model):
    fitted = clone(model).set_params(**{"max_epochs": 2} if model is TRAINED else {}).fit(X, Y[:, :2])
    for method in (fitted.predict, fitted.predict_proba, fitted.predict_log_proba, fitted.decision_function):
        assert method(X_TEST).shape == (len(X_TEST), 2)


@pytest.mark.parametrize("form", [np.ndarray.tolist, csr_matrix, lambda y: y.astype(bool), lambda y: y.astype(float)])
def test_every_form_of_tags_gives_the_same_model(form):
    expected = clone(CLOSED_FORM).fit(X, Y).predict_proba(X_TEST)
    np.testing.assert_array_equal(clone(CLOSED_FORM).fit(X, form(Y)).predict_proba(X_TEST), expected)


def test_data_frame_of_tags_is_accepted():
    frame = pytest.importorskip("pandas").DataFrame(Y, columns=["slow", "fast", "both"])
    expected = clone(CLOSED_FORM).fit(X, Y).predict(X_TEST)
    np.testing.assert_array_equal(clone(CLOSED_FORM).fit(X, frame).predict(X_TEST), expected)


@each_model
def test_tags_work_in_cross_validation(model):
    model = clone(model).set_params(**{"max_epochs": 2} if model is TRAINED else {})
    assert cross_val_score(model, Signals(X), Y, cv=3).shape == (3,)
    assert cross_val_predict(model, X, Y, cv=3, method="predict_proba").shape == Y.shape


@each_model
def test_loaded_model_gives_the_same_predictions(model, tmp_path):
    fitted = clone(model).fit(X, Y)
    fitted.save(tmp_path / "tags.s4")
    loaded = type(model).load(tmp_path / "tags.s4")
    np.testing.assert_array_equal(loaded.predict_proba(X_TEST), fitted.predict_proba(X_TEST))
    np.testing.assert_array_equal(loaded.predict(X_TEST), fitted.predict(X_TEST))


@each_model
def test_stream_equals_prediction(model):
    fitted = clone(model).set_params(**{"bidirectional": False, "max_epochs": 2} if model is TRAINED else {}).fit(X, Y)
    output = fitted.stream().push(X_TEST[0])
    np.testing.assert_allclose(output, fitted.predict_proba(X_TEST[:1])[0], atol=1e-4)


@each_model
def test_partial_fit_keeps_the_number_of_tags_and_fit_may_change_it(model):
    fitted = clone(model).partial_fit(X[:30], Y[:30]).partial_fit(X[30:], Y[30:], classes=[0, 1, 2])
    assert fitted.predict(X_TEST).shape == Y_TEST.shape
    with pytest.raises(ShapeError, match="y has 2 tags, the model was fitted with 3"):
        fitted.partial_fit(X, Y[:, :2])
    with pytest.raises(ShapeError, match=r"y has shape \(60,\), but the model was fitted with 3 tags"):
        fitted.partial_fit(X, Y[:, 0])
    assert fitted.fit(X, np.where(Y[:, 0], "a", "b")).predict(X_TEST).ndim == 1
    if model is TRAINED:  # the closed form starts over after fit
        with pytest.raises(ValueError, match=r"y should be a 1d array"):
            fitted.partial_fit(X, Y)


def test_validation_scores_are_computed_with_tags():
    model = S4Classifier(**SMALL).fit(X, Y, X_val=X_TEST, y_val=Y_TEST)
    assert 0 <= model.history_[0]["validation_score"] <= 1
    many, tags = tagged(120)
    split = S4Classifier(**{**SMALL, "max_epochs": 1}).fit(many[:, :, :20], tags)
    assert "validation_score" in split.history_[0]


@each_model
def test_constant_tags_are_predicted(model):
    fitted = clone(model).fit(X, np.column_stack([Y[:, 0], np.zeros(len(Y), int), np.ones(len(Y), int)]))
    tags = fitted.predict(X_TEST)
    assert not tags[:, 1].any()
    assert tags[:, 2].all()


@each_model
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y + 1, r"y of shape \(60, 3\) must hold tags, 0 or 1 each, but it holds 2"),
        (2 * Y - 1, "but it holds -1. If a case has one label, pass y of shape"),
        (Y.astype(str), "but it holds '0'"),
        (np.where(Y, np.nan, 0.0), "Input y contains NaN"),
        (Y[:50], "inconsistent numbers of samples: 60 cases and 50 targets"),
        (np.ma.masked_array(Y, Y == 1), "some values of y are masked"),
        ([["a"], ["a", "b"]] * 30, r"y holds \['a'\] \(case 0\); for tags pass MultiLabelBinarizer"),
    ],
)
def test_invalid_tags_raise_an_error(model, y, message):
    with pytest.raises(ValueError, match=message):
        clone(model).fit(X, y)


@each_model
@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0, 1: 1.0}])
def test_class_weights_are_refused_with_tags(model, class_weight):
    with pytest.raises(ValueError, match="weights the classes of one label, but y holds tags; pass class_weight=None"):
        clone(model).set_params(class_weight=class_weight).fit(X, Y)


def test_probabilities_are_less_extreme_with_noisy_tags():
    noisy = Y.copy()
    flipped = np.random.default_rng(3).random(Y.shape) < 0.2
    noisy[flipped] = 1 - noisy[flipped]
    sure = clone(CLOSED_FORM).fit(X, Y).predict_proba(X_TEST)
    unsure = clone(CLOSED_FORM).fit(X, noisy).predict_proba(X_TEST)
    assert np.abs(sure - 0.5).mean() > np.abs(unsure - 0.5).mean()
