"""Mostly missing data: summaries that bypass the blocks, clipped outliers, few epochs; and other data."""

import numpy as np
import pytest
from small_models import classifier, regressor, same_weights, waves

from s4signal import S4Classifier, Signals
from s4signal.estimators.trained import plan
from s4signal.signals import Signal, drop_samples

X, Y = waves(n_channels=4)


def charts(missing=0.7, seed=0):
    """Return the waves at irregular times with most values missing; every time has an observed channel."""
    rng = np.random.default_rng(seed)
    data = np.where(rng.random(X.shape) < missing, np.nan, X)
    data[:, 0, ::2], data[:, 1, 1::2] = X[:, 0, ::2], X[:, 1, 1::2]
    return Signals(data, times=[np.sort(rng.uniform(0, 100, X.shape[-1])) for _ in X])


@pytest.mark.parametrize(
    "dense",
    [
        pytest.param(charts(missing=0.2), id="few values are missing"),
        pytest.param(
            drop_samples(Signals(X, sfreq=10.0), 0.7, random_state=0, as_nan=True), id="whole samples are missing"
        ),
        pytest.param(Signals(X, sfreq=10.0), id="nothing is missing"),
    ],
)
@pytest.mark.parametrize("missing", ["gap", "mask"])
def test_other_data_is_not_mostly_missing(dense, missing):
    model = classifier(missing=missing).fit(dense, Y)
    assert not model._plan.sampling.mostly_missing
    assert "most values missing" not in model.describe()


def test_outliers_are_clipped_to_four_deviations_in_mostly_missing_data():
    signals = charts()
    model = classifier().fit(signals, Y)
    outlier, clipped = signals[0].data.copy(), signals[0].data.copy()
    outlier[0, 2] = 1e6
    clipped[0, 2] = model._standardizer.mean[0] + 4 * model._standardizer.scale[0]
    with pytest.warns(UserWarning, match="times as much as any training case"):
        outputs = [model._outputs(Signals([Signal(data, times=signals[0].times)])) for data in (outlier, clipped)]
    np.testing.assert_allclose(*outputs, rtol=1e-5)


def test_peaks_are_not_clipped_in_other_data():
    model = classifier().fit(X, Y)
    peak = X[:1].copy()
    peak[0, 0, 2] = 1e3
    lower = np.where(peak == 1e3, 1e2, peak)
    with pytest.warns(UserWarning, match="times as much as any training case"):
        outputs = [model._outputs(data) for data in (peak, lower)]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_a_stream_of_mostly_missing_data_is_refused():
    model = classifier(bidirectional=False).fit(charts(), Y)
    with pytest.raises(ValueError, match="fitted on mostly missing data"):
        model.stream(sfreq=1.0)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_summaries_of_mostly_missing_data_bypass_the_blocks(make):
    sparse, dense = make().fit(charts(), Y), make().fit(X, Y)
    assert sparse.network_.summary.weight.shape[1] == 4 * 8
    assert "most values missing" in sparse.describe()
    assert sparse.network_.summary.weight.abs().max() > 0
    assert dense.network_.summary is None


def test_mostly_missing_data_is_trained_for_few_epochs_without_validation(monkeypatch):
    assert plan.FEWEST_STEPS == 200
    monkeypatch.setattr(plan, "FEWEST_STEPS", 40)
    many, labels = Signals([case for _ in range(5) for case in charts()]), np.tile(Y, 5)
    model = classifier(max_epochs="auto").fit(many, labels)
    assert model.n_iter_ == model.best_epoch_ == 10  # 40 steps of 30 cases
    assert model.history_[-1]["validation_loss"] is None
    assert classifier().fit(many, labels).history_[-1]["validation_loss"] is None, "for any number of epochs"


def test_loaded_model_keeps_the_plan_for_mostly_missing_data(tmp_path):
    signals = charts()
    model = classifier().fit(signals, Y)
    model.save(tmp_path / "charts.s4")
    again = S4Classifier.load(tmp_path / "charts.s4")
    assert again._plan == model._plan
    assert np.array_equal(again.predict_proba(signals), model.predict_proba(signals))


class Interruption:
    """Interrupts a fit after its second epoch."""

    def __init__(self):
        self.epochs = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.epochs += context.task_name == "epoch"
        if self.epochs == 2:
            raise KeyboardInterrupt("pressed")


def test_resumed_training_keeps_the_running_mean(tmp_path):
    options = {"max_epochs": 4, "batch_size": 8}
    whole = classifier(**options).fit(charts(), Y)
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        classifier(**options, checkpoint_dir=tmp_path, callbacks=[Interruption()]).fit(charts(), Y)
    assert same_weights(classifier(**options, checkpoint_dir=tmp_path).fit(charts(), Y), whole)
