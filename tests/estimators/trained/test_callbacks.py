"""scikit-learn's callbacks, the progress bar, and checkpoints of an interrupted fit."""

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from small_models import SMALL, classifier, regressor, same_weights, waves

from s4signal import Signals


class Counter:
    """Counts tasks; stops training after ``stop`` epochs, or interrupts it after ``interrupt``."""

    def __init__(self, stop=None, interrupt=None):
        self.stop, self.interrupt = stop, interrupt
        self.calls, self.epochs, self.fitted = [], 0, []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.calls.append(context.task_name)
        if context.task_name != "epoch":
            return False
        self.epochs += 1
        self.fitted.append(fitted_estimator)
        if self.epochs == self.interrupt:
            raise KeyboardInterrupt("pressed")
        return self.epochs == self.stop


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("set_by", ["parameter", "set_callbacks"])
def test_callback_is_called_after_every_epoch(make, set_by):
    X, y = waves()
    counter = Counter()
    model = make(max_epochs=3, callbacks=[counter]) if set_by == "parameter" else make(max_epochs=3)
    if set_by == "set_callbacks":
        model.set_callbacks(counter)
    model.fit(X, y)
    assert counter.calls == ["setup", "epoch", "epoch", "epoch", "fit", "teardown"]
    assert [fitted.n_iter_ for fitted in counter.fitted] == [1, 2, 3]
    np.testing.assert_array_equal(counter.fitted[-1].predict(X), model.predict(X))


def test_callback_receives_the_model_of_its_epoch():
    X, y = waves()
    counter = Counter()
    classifier(max_epochs=3, callbacks=[counter]).fit(X, y)
    assert not same_weights(counter.fitted[0], counter.fitted[1])


def test_callbacks_do_not_change_the_training():
    X, y = waves()
    assert same_weights(classifier(callbacks=[Counter()]).fit(X, y), classifier().fit(X, y))


def test_callback_can_stop_the_training():
    X, y = waves()
    model = classifier(max_epochs=9, callbacks=[Counter(stop=2)]).fit(X, y)
    assert model.n_iter_ == len(model.history_) == 2


def test_callbacks_leave_no_attributes_after_an_interrupt():
    X, y = waves()
    counter = Counter(interrupt=1)
    model = classifier(callbacks=[counter])
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        model.fit(X, y)
    assert counter.calls[-1] == "teardown"
    assert [name for name in vars(model) if "callback" in name] == ["callbacks"]
    model.set_params(callbacks=None).fit(X, y)
    assert counter.calls.count("setup") == 1


def test_set_callbacks_and_the_parameter_are_combined():
    X, y = waves()
    stays, own = Counter(), Counter()
    model = classifier(callbacks=[own]).set_callbacks(stays)
    model.fit(X, y).fit(X, y)
    assert (stays.epochs, own.epochs) == (4, 4)
    assert model._skl_callbacks == [stays]
    assert clone(model).callbacks[0] is not own


def test_the_scoring_monitor_scores_every_epoch():
    X, y = waves()
    monitor = ScoringMonitor(scoring="accuracy")
    model = classifier(max_epochs=3).set_callbacks(monitor).fit(X, y)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit", "epoch", "epoch", "epoch"]
    assert rows[0]["accuracy"] == rows[-1]["accuracy"] == model.score(X, y)


def test_verbose_shows_a_progress_bar(capsys):
    X, y = waves()
    classifier(verbose=1).fit(X, y)
    assert "S4Classifier - fit" in capsys.readouterr().out
    classifier(verbose=0).fit(X, y)
    assert capsys.readouterr().out == ""


def test_progress_bar_is_left_to_the_search(capsys):
    X, y = waves()
    model = classifier(verbose=1)
    search = GridSearchCV(model, {"d_model": [4, 8]}, cv=2).set_callbacks(ProgressBar())
    search.fit(X, y)
    assert "GridSearchCV - fit" in capsys.readouterr().out


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("precision", ["32", "64"])
def test_resumed_fit_is_bit_identical(make, precision, tmp_path):
    X, y = waves()
    options = {"max_epochs": 5, "precision": precision, "batch_size": 8}
    expected = make(**options).fit(X, y, X_val=X[:6], y_val=y[:6])
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        make(**options, checkpoint_dir=tmp_path, callbacks=[Counter(interrupt=3)]).fit(X, y, X_val=X[:6], y_val=y[:6])
    counter = Counter()
    resumed = make(**options, checkpoint_dir=tmp_path, callbacks=[counter]).fit(X, y, X_val=X[:6], y_val=y[:6])
    assert counter.epochs == 2
    assert resumed.n_iter_ == 5
    assert resumed.best_epoch_ == expected.best_epoch_
    assert same_weights(resumed, expected)


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.1}, {"random_state": 1}, {"d_model": 4}, {"class_weight": "balanced"}]
)
def test_checkpoint_of_other_settings_is_not_resumed(change, tmp_path):
    X, y = waves()
    classifier(checkpoint_dir=tmp_path).fit(X, y)
    counter = Counter()
    other = classifier(**change, checkpoint_dir=tmp_path, callbacks=[counter]).fit(X, y)
    assert counter.epochs == 2
    assert same_weights(other, classifier(**change).fit(X, y))


# Every change of the data counts; without standardisation the checkpoint contains nothing else about the data.
OTHERS = {
    "other values": lambda X, y: ((X * 2, y), (X, y)),
    "reversed in time": lambda X, y: ((X[:, :, ::-1], y), (X, y)),
    "in another order": lambda X, y: ((X[::-1], y[::-1]), (X, y)),
    "fewer": lambda X, y: ((X[:-1], y[:-1]), (X, y)),
    "other labels": lambda X, y: ((X, 1 - y), (X, y)),
    "other validation cases": lambda X, y: ((X, y), (X * 2, y)),
    "other validation labels": lambda X, y: ((X, y), (X, 1 - y)),
    "at another rate": lambda X, y: ((Signals(X, sfreq=7.0), y), (X, y)),
    "no validation": lambda X, y: ((X, y), (None, None)),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("standardize", [True, False])
def test_checkpoint_of_other_data_is_not_resumed(change, standardize, tmp_path):
    X, y = waves()
    options = {"checkpoint_dir": tmp_path, "standardize": standardize, "max_epochs": 3, "batch_size": 8}
    classifier(**options).fit(X, y, X_val=X, y_val=y)
    (X_other, y_other), (X_val, y_val) = change(X, y)
    counter = Counter()
    classifier(**options, callbacks=[counter]).fit(X_other, y_other, X_val=X_val, y_val=y_val)
    assert counter.epochs == 3


def test_repeated_fit_resumes_from_the_final_checkpoint(tmp_path):
    X, y = waves()
    first, counter = classifier(checkpoint_dir=tmp_path).fit(X, y), Counter()
    again = classifier(checkpoint_dir=tmp_path, callbacks=[counter]).fit(X.tolist(), y.tolist())
    assert counter.epochs == 0
    assert same_weights(again, first)


def test_folds_and_searches_share_a_folder_without_leakage(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((24, 2, 40)), np.arange(24) % 2
    plain = cross_val_score(classifier(standardize=False), X, y, cv=KFold(4))
    kept = classifier(standardize=False, checkpoint_dir=tmp_path)
    for _ in range(2):
        assert cross_val_score(kept, X, y, cv=KFold(4)).tolist() == plain.tolist()
    assert len(list(tmp_path.iterdir())) == 4
    search = GridSearchCV(kept, {"d_model": [4, 8]}, cv=2).fit(X, y)
    assert (
        search.cv_results_["mean_test_score"].tolist()
        == (GridSearchCV(classifier(standardize=False), {"d_model": [4, 8]}, cv=2).fit(X, y))
        .cv_results_["mean_test_score"]
        .tolist()
    )


def test_warm_start_resumes_from_its_own_checkpoint(tmp_path):
    X, y = waves()
    options = {"max_epochs": 4, "warm_start": True}
    start = classifier(**options).fit(X, y)
    expected = copy.deepcopy(start).fit(X, y)
    stopped = copy.deepcopy(start).set_params(checkpoint_dir=tmp_path, callbacks=[Counter(interrupt=2)])
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        stopped.fit(X, y)
    assert same_weights(stopped, start)
    counter = Counter()
    assert same_weights(stopped.set_params(callbacks=[counter]).fit(X, y), expected)
    assert counter.epochs == 2
    counter = Counter()
    assert not same_weights(stopped.set_params(callbacks=[counter]).fit(X, y), expected)
    assert counter.epochs == 4, "other initial weights start another training"


def test_partial_fit_refuses_checkpoint_dir(tmp_path):
    X, y = waves()
    with pytest.raises(ValueError, match="partial_fit writes no checkpoints; set checkpoint_dir=None, and save"):
        classifier(checkpoint_dir=tmp_path).partial_fit(X, y)


def test_checkpoints_need_a_seed(tmp_path):
    X, y = waves()
    for seed in (None, np.random.RandomState(0)):
        with pytest.raises(ValueError, match="checkpoint_dir needs random_state to be a whole number"):
            classifier(**{**SMALL, "random_state": seed}, checkpoint_dir=tmp_path).fit(X, y)
