"""The validation split: every class stays in training, groups stay whole, and a warning names split groups."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GroupKFold, cross_validate
from small_models import classifier, regressor, waves

from s4signal import Signals
from s4signal.errors import ShapeError
from s4signal.estimators.leakage import check_groups
from s4signal.estimators.trained.splitting import split_cases
from s4signal.signals import Signal

N = 120


def split(labels, groups=None, *, early_stopping="auto", to_the_end="", fraction=0.1, seed=0):
    n = N if labels is None else len(labels)
    return split_cases(
        labels, groups, n=n, early_stopping=early_stopping, to_the_end=to_the_end, fraction=fraction, seed=seed
    )


def recordings(X, names):
    return Signals([Signal(case, source=name) for case, name in zip(X, names, strict=True)])


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_groups_whole(labelled, seed):
    groups = np.arange(N) // 12
    labels = np.arange(N) % 2 if labelled else None
    train, held_out, why = split(labels, groups, seed=seed)
    assert set(groups[train]).isdisjoint(groups[held_out])
    assert sorted([*train, *held_out]) == list(range(N))
    assert len(set(groups[held_out])) == 1
    assert why == "12 cases of 1 of 10 groups are held out to choose the epoch"


def test_split_is_stratified():
    labels = (np.arange(N) % 4 == 0).astype(int)
    _, held_out, _ = split(labels)
    assert labels[held_out].sum() == 3
    assert len(held_out) == 12
    assert not np.array_equal(split(labels, seed=1)[1], held_out)
    assert len(split(labels[:100])[1]) == 10
    assert split(labels[:99])[1] is None


@pytest.mark.parametrize("seed", range(20))
def test_split_of_groups_has_every_class_in_both_parts(seed):
    # 300 cases of 18 subjects; every subject has one class.
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 18, 300)
    labels = np.where(groups < 12, 0, 2)  # a class without cases may lie between them
    train, held_out, _ = split(labels, groups, seed=seed)
    assert set(labels[train]) == set(labels[held_out]) == {0, 2}
    assert set(groups[train]).isdisjoint(groups[held_out])


@pytest.mark.parametrize(
    ("counts", "fraction", "chosen"),
    [
        ([(10, 8, 0), (10, 8, 0), (10, 8, 0), (2, 2, 6), (0, 0, 4)], 0.2, 3),  # every class
        ([(8, 2), (2, 8), (9, 1), (1, 9), (5, 5)], 0.2, 4),  # the proportions of all cases
        ([(2, 2), (30, 30), (8, 8), (7, 7), (10, 10)], 0.18, 4),  # 0.18 of the cases
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_held_out_group_is_the_one_most_like_all_cases(counts, fraction, chosen, seed):
    groups = np.repeat(np.arange(5), [sum(of_group) for of_group in counts])
    labels = np.concatenate([np.repeat(np.arange(len(of_group)), of_group) for of_group in counts])
    _, held_out, _ = split(labels, groups, early_stopping=True, fraction=fraction, seed=seed)
    assert set(groups[held_out]) == {chosen}


def test_auto_trains_on_all_cases_if_no_group_can_be_held_out():
    groups = np.arange(N) // 60
    everything, none, why = split(groups, groups)
    assert everything.tolist() == list(range(N))
    assert none is None
    assert why == "auto, no split keeps groups whole and every class on both sides"
    assert split(np.arange(N) % 2, np.zeros(N)).held_out is None
    groups = np.arange(N) // 30  # one of them is held out, which has one class
    assert split(groups // 2, groups).held_out is None


@pytest.mark.parametrize("seed", range(5))
def test_a_group_that_alone_has_a_class_is_not_held_out(seed):
    groups, labels = np.arange(N) // 60, np.arange(N) % 2
    labels[:5] = 2
    assert set(groups[split(labels, groups, fraction=0.5, seed=seed).held_out]) == {1}


def test_warning_names_groups_that_had_to_be_split():
    names = np.array(["rest.edf", "task.edf"])[np.arange(N) // 60]
    with pytest.warns(UserWarning, match=r"the groups rest\.edf, task\.edf have cases in training and in validation"):
        train, held_out, _ = split(np.arange(N) // 60, names, early_stopping=True)
    assert np.bincount((np.arange(N) // 60)[held_out]).tolist() == [6, 6]
    assert len(train) == 108


@pytest.mark.parametrize(
    ("labels", "options", "why"),
    [
        (np.arange(99) % 2, {}, "auto, none is held out of fewer than 100 cases"),
        (np.arange(N) % 20, {}, "auto, a class has too few cases to hold out some"),
        (np.minimum(np.arange(N), 1), {}, "auto, a class has too few cases to hold out some"),
        (np.arange(N) % 2, {"to_the_end": "because"}, "auto, because"),
        (np.arange(N) % 2, {"early_stopping": False}, "early_stopping=False"),
    ],
)
def test_split_returns_the_reason_if_no_case_is_held_out(labels, options, why):
    assert split(labels, **options)[1:] == (None, why)


def named(sources, subjects=None):
    subjects = subjects or [None] * len(sources)
    return Signals.from_cases(
        Signal(np.zeros((1, 4)), source=source, metadata={"subject": subject} if subject else {})
        for source, subject in zip(sources, subjects, strict=True)
    )


def test_groups_default_to_subjects_or_recordings_of_several_cases():
    assert check_groups(None, named(("a", "b", "c"))) is None
    assert check_groups(None, named(("a", "a", "a"))) is None
    assert check_groups(None, named(("", "", ""))) is None
    assert check_groups(None, named(("a", "a", "b"))).tolist() == ["a", "a", "b"]
    assert check_groups(None, named("abcd", "ppqq")).tolist() == ["p", "p", "q", "q"]  # subjects come first
    assert check_groups(None, named("aabb", "pppp")).tolist() == ["a", "a", "b", "b"]  # unless there is only one
    assert check_groups(None, named(("a", "a", "", ""), "pppp")).tolist() == ["a", "a", "case 2", "case 3"]
    assert check_groups([3, 3, 1], named(("a", "a", "b"))).tolist() == ["3", "3", "1"]
    with pytest.raises(ShapeError, match=r"groups must have shape \(2,\), one group per case, got \(3,\)"):
        check_groups([3, 3, 1], named(("a", "a")))


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_fit_keeps_subjects_together(make, monkeypatch):
    X, y = waves(N, n_times=20)
    subjects, seen = np.arange(N) // 10, []

    def spy(self, cases, validation, *args, **options):
        first = ([part.load(i).data[0, 0] for i in range(len(part))] for part in (cases, validation))
        seen.append([set(np.round(np.array(values), 6).tolist()) for values in first])
        return real(self, cases, validation, *args, **options)

    real = make()._train.__func__
    monkeypatch.setattr(type(make()), "_train", spy)
    X[:, 0] = subjects[:, None]  # each case contains the number of its subject
    X[:, 0] += 1e-3 * np.arange(20)
    make().fit(recordings(X, [f"{i // 5}.edf" for i in range(N)]), y, groups=subjects)
    train, held_out = seen[0]
    assert len(train | held_out) == 12
    assert train.isdisjoint(held_out)


def test_recordings_of_one_class_each_are_all_used_for_training():
    X, y = waves(N, n_times=20)
    order = np.argsort(y, kind="stable")
    model = classifier().fit(recordings(X[order], [f"{label}.edf" for label in y[order]]), y[order])
    assert model.history_[0]["validation_loss"] is None
    assert "no split keeps groups whole and every class on both sides" in model.describe()


def test_groups_are_passed_by_metadata_routing():
    X, y = waves(N, n_times=20)
    subjects = np.arange(N) // 4
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier(early_stopping=True).set_fit_request(groups=True)
        found = cross_validate(model, X, y, cv=GroupKFold(2), params={"groups": subjects}, return_estimator=True)
    assert all("groups are held out" in fitted.describe() for fitted in found["estimator"])
