"""Models of other libraries and of this one on the same Epochs or Signals: voting, stacking, grid search."""

import mne
import numpy as np
import pytest
from mne.decoding import CSP, Scaler, Vectorizer, XdawnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.estimators import BandPass, ToArray

__all__: list[str] = []

mne.set_log_level("error")


def covariances():
    estimation = pytest.importorskip("pyriemann.estimation")
    tangent = pytest.importorskip("pyriemann.tangentspace")
    return make_pipeline(ToArray(), estimation.Covariances("oas"), tangent.TangentSpace(), LogisticRegression())


OTHERS = {
    "csp": lambda: make_pipeline(ToArray(), CSP(2), LogisticRegression()),
    "scaler": lambda: make_pipeline(ToArray(), Scaler(scalings="median"), Vectorizer(), LogisticRegression()),
    "xdawn": lambda: make_pipeline(ToArray(), XdawnTransformer(2), Vectorizer(), LogisticRegression()),
    "band pass, then csp": lambda: make_pipeline(BandPass(5, 30), ToArray(), CSP(2), LogisticRegression()),
    "pyriemann": covariances,
}
each_other = pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)


def epochs(rng, n=32):
    y = np.arange(n) % 2
    X = rng.standard_normal((n, 3, 100)) * np.where(y[:, None, None], [[1], [3], [1]], [[3], [1], [1]])
    events = np.column_stack([np.arange(n) * 200, np.zeros(n, int), y + 1])
    return mne.EpochsArray(1e-6 * X, mne.create_info(3, 100.0, "eeg"), events), y


FORMS = {"Epochs": lambda given: given, "Signals": Signals}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@each_form
@each_other
def test_voting_stacking_and_cross_validation_combine_both_libraries(make, form, rng):
    given, y = epochs(rng)
    X = form(given)
    members = [("other", make()), ("ours", S4RidgeClassifier(n_oscillators=4, random_state=0))]
    assert VotingClassifier(members, voting="soft").fit(X, y).score(X, y) > 0.8
    stack = StackingClassifier(members, final_estimator=LogisticRegression(), cv=2)
    assert cross_val_score(stack, X, y, cv=2, error_score="raise").mean() > 0.7


@each_form
def test_grid_search_sets_parameters_of_both_libraries(form, rng):
    given, y = epochs(rng)
    members = [("other", make_pipeline(ToArray(), CSP(2), LogisticRegression())), ("ours", S4RidgeClassifier())]
    grid = {"other__csp__n_components": [1, 2], "ours__n_oscillators": [4, 8]}
    search = GridSearchCV(VotingClassifier(members), grid, cv=2, error_score="raise").fit(form(given), y)
    assert search.best_score_ > 0.7


def test_a_list_of_epochs_one_per_subject_is_cross_validated_by_subject(rng):
    parts = [epochs(rng, n=8) for _ in range(4)]
    X = Signals([part for part, _ in parts])
    y = np.concatenate([labels for _, labels in parts])
    model = make_pipeline(BandPass(5, 40), S4RidgeClassifier(n_oscillators=4, random_state=0))
    scores = cross_val_score(model, X, y, groups=X.groups, cv=GroupKFold(4), error_score="raise")
    assert len(set(X.groups)) == len(scores) == 4
    assert scores.mean() > 0.8


def test_describe_reports_an_unknown_rate(rng):
    X, y = rng.standard_normal((12, 2, 80)), np.arange(12) % 2
    small = {"d_model": 4, "d_state": 4, "n_layers": 1, "max_epochs": 1}
    for model in (S4RidgeClassifier(n_oscillators=4), S4Classifier(**small)):
        assert "unknown: durations are in samples; pass sfreq=" in model.fit(X, y).describe()
        assert "unknown" not in model.set_params(sfreq=100.0).fit(X, y).describe().split("\n")[1]
