"""Leakage between training and test cases: groups, recordings, overlapping windows, copies."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, cross_val_score
from small_models import classifier

from s4signal import S4RidgeClassifier, Signals
from s4signal.errors import ShapeError
from s4signal.estimators import AlignRecordings, check_leakage
from s4signal.signals import windows

__all__: list[str] = []

SHUFFLED = KFold(4, shuffle=True, random_state=0)


def cut(rng, *, step_s, n=8):
    recordings = Signals(rng.standard_normal((n, 2, 1000)), sfreq=100)
    return windows(recordings, duration_s=2, step_s=step_s, y=np.arange(n) % 2)


def kinds(leaks):
    return sorted({leak.kind for leak in leaks})


def test_whole_groups_are_not_reported(rng):
    X, y, groups = cut(rng, step_s=1)
    assert check_leakage(X, groups, GroupKFold(4)) == []
    assert check_leakage(X, groups, StratifiedGroupKFold(4), y=y) == []
    assert check_leakage(X, cv=GroupKFold(4)) == []


def test_shuffled_windows_are_reported_as_recording_and_overlap(rng):
    X, _, groups = cut(rng, step_s=1)
    leaks = check_leakage(X, groups, SHUFFLED)
    assert kinds(leaks) == ["group", "overlap", "recording"]
    assert sorted({leak.fold for leak in leaks}) == [0, 1, 2, 3]
    assert "on both sides" in str(leaks[0])
    assert kinds(check_leakage(cut(rng, step_s=2)[0], np.arange(40), SHUFFLED)) == ["recording"]
    adjacent, _, _ = windows(Signals(rng.standard_normal((1, 1, 900)), sfreq=30), duration_s=0.1)  # 0.1 + 0.2 > 0.3
    assert kinds(check_leakage(adjacent, np.arange(300), SHUFFLED)) == ["recording"]


def test_windows_within_a_longer_training_window_are_reported(rng):
    X = Signals(rng.standard_normal((1, 2, 1000)), sfreq=100)
    both = Signals.concatenate(windows(X, duration_s=duration_s, step_s=2)[0] for duration_s in (9, 1))
    both = Signals([replace(case, data=rng.standard_normal(case.data.shape)) for case in both])  # found by position
    leaks = check_leakage(both, np.arange(6), [([0, 2], [1, 3, 4, 5])])
    assert [(leak.kind, leak.n_test) for leak in leaks] == [("recording", 4), ("overlap", 4)]


def test_the_folds_are_those_of_cross_val_score(rng):
    X = np.repeat(rng.standard_normal((2, 1, 100)), 2, axis=0)
    assert check_leakage(X, cv=2) == []
    assert [leak.kind for leak in check_leakage(X, cv=2, y=[0, 0, 1, 1])] == ["copy", "copy"]


def test_overlapping_windows_are_found_in_plain_arrays(rng):
    X, _, _ = cut(rng, step_s=1)
    plain = X.to_numpy()
    assert kinds(check_leakage(plain, None, SHUFFLED)) == ["overlap"]
    assert check_leakage(plain, np.repeat(np.arange(8), 9), GroupKFold(4)) == []
    assert check_leakage(cut(rng, step_s=2)[0].to_numpy(), None, SHUFFLED) == []


def test_copies_are_found(rng):
    X = rng.standard_normal((20, 2, 100))
    X[3, 0, 5] = np.nan
    repeated = np.concatenate([X, X[:5].copy()])
    leaks = check_leakage(repeated, None, KFold(5))
    assert kinds(leaks) == ["copy"]
    assert sum(leak.n_test for leak in leaks) == 10
    X, _, _ = cut(rng, step_s=1, n=2)
    assert kinds(check_leakage(Signals.concatenate([X, X]), np.arange(36), KFold(2))) == ["copy", "recording"]


@pytest.mark.parametrize("part", [slice(0, 60), slice(40, 100)])
@pytest.mark.parametrize("folds", [[([0], [1])], [([1], [0])]])
def test_a_part_of_a_case_is_reported_as_overlap(part, folds, rng):
    case = rng.standard_normal((2, 100))
    assert kinds(check_leakage([case, case[:, part]], None, folds)) == ["overlap"]


@pytest.mark.parametrize("quiet", [np.zeros((12, 1, 500)), np.ones((12, 3, 500))])
def test_equal_silence_is_not_reported_as_copies(quiet, rng):
    quiet[:, :, 200:400] = rng.standard_normal((12, quiet.shape[1], 200))
    quiet[:, :, [0, 400]] = 1.0  # each begins and ends with a pulse
    assert check_leakage(quiet, None, KFold(3)) == []


def test_coarse_samples_are_not_reported_as_copies(rng):
    assert check_leakage(rng.integers(0, 2, (400, 1, 2000)).astype(float), None, KFold(3)) == []


def test_subjects_in_metadata_are_groups(rng):
    cases = [Signals(rng.standard_normal((1, 2, 300)), sfreq=100)[0] for _ in range(8)]
    named = Signals([replace(case, metadata={"subject": f"s{i // 2}"}) for i, case in enumerate(cases)])
    assert check_leakage(named, cv=GroupKFold(4)) == []
    assert kinds(check_leakage(named, cv=SHUFFLED)) == ["group"]


def test_groups_must_be_one_per_case(rng):
    with pytest.raises(ShapeError, match=r"groups must have shape \(5,\), one group per case, got \(3,\)"):
        check_leakage(rng.standard_normal((5, 1, 50)), [1, 2, 3])


@pytest.mark.parametrize("missing", [None, np.nan, pandas.NA, pandas.NaT])
def test_missing_groups_are_refused(rng, missing):
    X, y, groups = rng.standard_normal((8, 1, 50)), [0, 1] * 4, ["a", "b"] * 4
    groups[3] = groups[6] = missing
    calls = [lambda g: check_leakage(X, g), lambda g: AlignRecordings().fit(X, groups=g)]
    calls += [lambda g, model=model: clone(model).fit(X, y, groups=g) for model in MODELS.values()]
    for given in (groups, pandas.Series(groups, index=range(2, 10)), np.array(groups, dtype=object)):
        for call in calls:
            with pytest.raises(
                ValueError, match=r"groups holds no group of case 3, but \S+ \(2 such\), as where a merged"
            ):
                call(given)


MODELS = {"closed form": S4RidgeClassifier(n_oscillators=4), "network": classifier(early_stopping=False)}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@each_model
def test_predict_warns_about_windows_that_overlap_training_windows(model, rng):
    X, y, _ = cut(rng, step_s=1)
    model.fit(X[:40:2], y[:40:2])
    with pytest.warns(UserWarning, match=r"20 of 20 cases overlap in time with cases that the model was trained on"):
        model.predict(X[1:40:2])
    with pytest.warns(UserWarning, match=r"recording 0 \[.*their score does not estimate that of new recordings"):
        pickle.loads(pickle.dumps(model)).score(X[1:9:2], y[1:9:2])
    with pytest.warns(UserWarning, match="overlap in time"):
        cross_val_score(model, X, y, cv=SHUFFLED)


@each_model
@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_cross_validation_warns_about_overlapping_mne_epochs(model, overlap, rng):
    mne = pytest.importorskip("mne")
    raw = mne.io.RawArray(rng.standard_normal((2, 4000)), mne.create_info(["C3", "C4"], 100.0, "eeg"), verbose="error")
    epochs = mne.make_fixed_length_epochs(raw, 2.0, overlap=overlap, preload=True, verbose="error")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cross_val_score(model, epochs, np.arange(len(epochs)) % 2, cv=SHUFFLED)
    assert any("overlap in time" in str(warning.message) for warning in caught) == (overlap > 0)


@each_model
def test_no_warning_for_training_cases_and_separate_windows(model, rng):
    X, y, groups = cut(rng, step_s=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X[:40], y[:40])
        model.predict(X[:40])
        model.predict(cut(rng, step_s=1)[0])
        cross_val_score(model, X, y, groups=groups, cv=GroupKFold(4))
        separate, y, _ = cut(rng, step_s=2)
        cross_val_score(model, separate, y, cv=SHUFFLED)
        # A case of weight zero is not a training case.
        weights = np.repeat([1, 0], [18, 18])
        model.fit(X[::2], np.arange(36) % 2, sample_weight=weights).predict(X[37::2])


@each_model
def test_every_batch_of_partial_fit_counts_as_trained_on(model, rng):
    X, _, _ = cut(rng, step_s=1)
    model = clone(model).partial_fit(X[:36:2], np.arange(18) % 2).partial_fit(X[36::2], np.arange(18) % 2)
    with pytest.warns(UserWarning, match=r"36 of 36 cases overlap in time"):
        model.predict(X[1::2])


def test_fit_warns_about_validation_cases_of_training_recordings(rng):
    X, y, _ = cut(rng, step_s=2)
    with pytest.warns(UserWarning, match=r"4 of 5 cases of X_val are from recordings of the training cases"):
        classifier().fit(X[:15], y[:15], X_val=X[:20:4], y_val=y[:20:4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier().fit(X[:20], y[:20], X_val=X[20:], y_val=y[20:])
