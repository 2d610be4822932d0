"""Signals in searches, cross-validation and pipelines of scikit-learn."""

import numpy as np
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from small_models import classifier, regressor, waves

from s4signal import Signals


def signals():
    X, y = waves(32)
    lengths = np.random.default_rng(0).integers(30, 60, 32)
    return Signals([case[:, :n] for case, n in zip(X, lengths, strict=True)], sfreq=100.0), y


def halved(signals):
    return Signals([2.0 * case.data for case in signals], sfreq=signals.sfreq)


def test_signals_work_with_group_k_fold():
    X, y = signals()
    scores = cross_val_score(classifier(), X, y, cv=GroupKFold(4), groups=np.arange(32) // 2)
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()


def test_a_grid_search_tunes_the_estimator_within_a_pipeline():
    X, y = signals()
    pipeline = Pipeline([("double", FunctionTransformer(halved)), ("s4", classifier())])
    search = GridSearchCV(pipeline, {"s4__d_model": [4, 8], "s4__pooling": ["mean", "last"]}, cv=2).fit(X, y)
    assert set(search.best_params_) == {"s4__d_model", "s4__pooling"}
    assert search.best_estimator_["s4"].sfreq_ == 100.0
    assert search.predict(X).shape == (32,)


def test_cross_val_predict_keeps_the_order_of_the_cases():
    X, y = signals()
    folds = StratifiedKFold(2)
    together = cross_val_predict(classifier(), X, y, cv=folds, method="predict_proba")
    train, test = next(iter(folds.split(np.zeros(32), y)))
    alone = classifier().fit(X[train], y[train]).predict_proba(X[test])
    np.testing.assert_allclose(together[test], alone, atol=1e-6)
    assert cross_val_predict(regressor(), X, y, cv=2).shape == (32,)


def test_signals_work_with_train_test_split():
    X, y = signals()
    X_train, X_test, y_train, _ = train_test_split(X, y, stratify=y, random_state=0)
    assert isinstance(X_test, Signals)
    assert len(classifier().fit(X_train, y_train).predict(X_test)) == 8


def test_parallel_cross_validation_gives_the_same_scores():
    X, y = signals()
    here = cross_val_score(classifier(), X, y, cv=2, scoring="neg_log_loss")
    elsewhere = cross_val_score(classifier(), X, y, cv=2, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_allclose(here, elsewhere, atol=1e-5)
