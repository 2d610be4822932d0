"""The common code of the benchmarks: folds, files of scores, compared models, and distortions of words."""

from functools import partial

import numpy as np
import pytest
import speech_robustness
from benchmarking import runner
from benchmarking.models import MODELS, installed, n_parameters
from benchmarking.nets import log_mel_net, waveforms
from benchmarking.results import Key, Results, Scores, draw, summaries, table, wilson
from benchmarking.sets import SETS, Fold, splits
from scipy.stats import binomtest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from s4signal import S4Classifier, Signals
from s4signal.estimators import S4RidgeClassifier

__all__: list[str] = []

KEY = Key("blink", "test", "archive", "", "S4Classifier", 0, "", "0.1.0")
WORD = np.sin(np.arange(4000) / 4)


@pytest.fixture
def fold(rng):
    y = np.array(["low", "high"] * 10)
    X = Signals(np.where(y == "low", 1, 3)[:, None, None] * rng.standard_normal((20, 2, 64)), sfreq=128)
    return Fold("archive", X, y, X, y)


@pytest.mark.parametrize("name", SETS)
def test_folds_of_the_training_set_do_not_use_the_test_set(name):
    n = 360
    rows, y = np.arange(n), np.array(["a", "b", "c"] * (n // 3))
    train = rows < n // 2
    groups = np.array([f"s{row % 10 if name != 'speech_commands' else row // 12}" for row in rows])
    tested = list(splits(name, y, groups, train))
    assert all(len(np.intersect1d(fit, test)) == 0 for _, fit, test in tested)
    assert {*np.concatenate([test for *_, test in tested])} in ({*rows}, {*rows[~train]})
    inner = list(splits(name, y[train], groups[train], None))
    assert sorted(np.concatenate([test for *_, test in inner])) == [*rows[train]]
    if any(not set(groups[fit]) & set(groups[test]) for _, fit, test in tested):  # folds separate subjects
        assert not any(set(groups[train][fit]) & set(groups[train][test]) for _, fit, test in inner)


def test_scores_are_read_as_written_and_the_last_one_counts(tmp_path):
    results = Results(tmp_path / "scores.csv")
    results.add(KEY, Scores(0.1, 1 / 3, 450, 7e3, 0.5, 10))
    results.add(KEY._replace(fold="archive, again"), Scores(0.2, 0.2, 450, 1.0, 0.5, 0))
    results.add(KEY, Scores(0.5, 0.5, 450, 1.0, 0.5, 10))
    assert Results(tmp_path / "scores.csv").rows == results.rows
    assert results.rows[KEY].score == 0.5


def test_interval_equals_the_wilson_interval():
    interval = binomtest(63, 74).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(63 / 74, 74), (interval.low, interval.high), atol=1e-4)


def test_summary_averages_folds_by_cases_and_has_the_spread_over_seeds(tmp_path):
    results = Results(tmp_path / "scores.csv")
    for seed, (few, many) in enumerate([(0.5, 0.8), (0.5, 0.4)]):
        for name, score, n in (("one", few, 10), ("two", many, 30)):
            results.add(KEY._replace(fold=name, seed=seed), Scores(score, score, n, 2.0, 1.0, 10))
    (line,) = summaries(results, list(results.rows))
    assert line.score == pytest.approx((0.725 + 0.425) / 2)
    assert line.spread == pytest.approx(0.3 / np.sqrt(2))
    assert (line.low, line.high) == wilson(line.score, 40)
    assert "0.575 ± 0.212" in table([line])
    draw([line], tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 5_000


def test_existing_scores_are_not_measured_again(fold, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "folds", lambda name, data: iter([fold]))
    options = ["--sets", "blink", "--models", "S4RidgeClassifier", "--out", str(tmp_path), "--seeds"]
    measure = partial(runner.measure, name="table", sets={"blink": "EEG"})
    parse = runner.parser("", {"blink": "EEG"}).parse_args
    measure(parse([*options, "0"]))
    assert capsys.readouterr().out.count("S4RidgeClassifier") == 1
    (line,), failed = measure(parse([*options, "0", "1"]))
    assert "S4RidgeClassifier 1:" in (output := capsys.readouterr().out)
    assert "S4RidgeClassifier 0:" not in output
    assert (line.n_seeds, failed) == (2, False)
    measure(parse([*options, "0", "--redo"]))
    assert "S4RidgeClassifier 0:" in capsys.readouterr().out


def test_a_model_that_fails_is_left_out_of_the_table(fold, tmp_path, monkeypatch, capsys):
    broken = MODELS["S4Classifier"]._replace(build=lambda *_: LogisticRegression())  # does not accept Signals
    monkeypatch.setitem(MODELS, "S4Classifier", broken)
    monkeypatch.setattr(runner, "folds", lambda name, data: iter([fold]))
    options = [
        "--sets",
        "blink",
        "--models",
        "S4Classifier",
        "S4RidgeClassifier",
        "--seeds",
        "0",
        "--out",
        str(tmp_path),
    ]
    lines, failed = runner.measure(runner.parser("", {"blink": "EEG"}).parse_args(options), "table", {"blink": "EEG"})
    assert failed
    assert [line.model for line in lines] == ["S4RidgeClassifier"]
    assert "S4Classifier 0: " in capsys.readouterr().err


def test_models_that_accept_groups_get_the_groups_of_the_training_cases(fold, monkeypatch):
    class Recording(DummyClassifier):
        def fit(self, X, y, groups=None):
            self.groups = groups
            return super().fit(np.zeros((len(y), 1)), y)

    recording, groups = Recording(), np.repeat(["a", "b"], 10)
    monkeypatch.setitem(MODELS, "S4Classifier", MODELS["S4Classifier"]._replace(build=lambda *_: recording))
    next(runner.fitted(fold._replace(groups=groups), [KEY], runner.AS_RECORDED, None))
    assert recording.groups is groups
    monkeypatch.setitem(MODELS, "S4Classifier", MODELS["S4Classifier"]._replace(build=lambda *_: DummyClassifier()))
    ((_, scores),) = runner.fitted(fold._replace(groups=groups), [KEY], runner.AS_RECORDED, None)
    assert scores.score == 0.5


def test_the_pooled_readout_is_selected_only_by_name(fold):
    selection = runner.parser("", {"blink": "EEG"}).parse_args(["--models", "S4Classifier, pooled"]).models
    assert [name for name in MODELS if runner.selected(name, selection)] == ["S4Classifier, pooled"]
    assert not runner.selected("S4Classifier, pooled", None)
    model = MODELS["S4Classifier, pooled"].build(fold, 0, 1).fit(fold.X_train, fold.y_train)
    assert "readout        pooled" in model.describe()


@pytest.mark.parametrize(
    "name", [name for name in MODELS if MODELS[name].package != "s4signal" and "EEG" in MODELS[name].kinds]
)
def test_each_other_model_for_eeg_predicts_a_class(name, fold):
    if not installed(MODELS[name]):
        pytest.skip(f"{MODELS[name].package} is not installed")
    model = MODELS[name].build(fold, 0, 1).fit(fold.X_train, fold.y_train)
    assert set(model.predict(fold.X_test)) <= {"low", "high"}
    assert n_parameters(model) > 0


def test_log_mel_net_classifies_pitches(rng):
    pytest.importorskip("librosa")
    y = np.array(["low", "high"] * 20)
    phase = 2 * np.pi * np.where(y == "low", 300, 900)[:, None] * np.arange(1000) / 8000
    X = Signals((np.sin(phase) + 0.1 * rng.standard_normal(phase.shape))[:, None], sfreq=8000)
    net = log_mel_net(8000, 1000, seed=0, n_epochs=40).fit(X[:30], y[:30])
    assert (net.predict(Signals(1e-3 * X[30:].to_numpy(), sfreq=8000)) == y[30:]).all()  # at any level
    assert n_parameters(net) == pytest.approx(94_000, rel=0.02)


def test_the_average_model_averages_the_probabilities(fold):
    members = S4RidgeClassifier(random_state=0), S4Classifier(random_state=0, max_epochs=1)
    both = [model.fit(fold.X_train, fold.y_train).predict_proba(fold.X_test) for model in members]
    average = MODELS["S4 average"].build(fold, 0, 1).fit(fold.X_train, fold.y_train)
    np.testing.assert_allclose(average.predict_proba(fold.X_test), np.mean(both, axis=0), atol=1e-6)


def test_n_parameters_counts_the_last_step_of_a_pipeline(rng):
    X, y = rng.standard_normal((20, 3)), np.arange(20) % 2
    assert n_parameters(make_pipeline(LogisticRegression()).fit(X, y)) == 4


@pytest.mark.parametrize("condition", speech_robustness.conditions())
def test_a_distorted_word_correlates_with_the_original(condition, rng):
    words = Signals([WORD[None].astype(np.float32)] * 2, sfreq=8000)
    (word, _) = speech_robustness.conditions()[condition](words, words)
    (waveform,) = waveforms(Signals([word], sfreq=word.sfreq), 8000)
    x = np.pad(WORD, (len(waveform), len(waveform)))
    correlation = max(np.correlate(x, waveform, "valid")) / np.linalg.norm(WORD) / np.linalg.norm(waveform)
    assert np.isfinite(waveform).all()
    assert correlation > (0.35 if "0 dB" in condition or "room" in condition else 0.6) or "15 %" in condition


@pytest.mark.parametrize(("snr", "babble"), [(20, False), (0, True)])
def test_noise_has_the_requested_snr(snr, babble, rng):
    words = Signals([rng.standard_normal((1, 900)) for _ in range(9)], sfreq=8000)
    noise = speech_robustness.noisy(WORD, 8000, rng, words, snr=snr, babble=babble) - WORD
    assert 10 * np.log10(np.mean(WORD**2) / np.mean(noise**2)) == pytest.approx(snr)


def test_fast_words_are_shorter_and_higher():
    fast = speech_robustness.resampled(WORD, 8000, np.random.default_rng(0), Signals([WORD]), up=20, down=23)
    assert len(fast) == pytest.approx(len(WORD) / 1.15, abs=1)
    peaks = [np.abs(np.fft.rfft(x, 8000)).argmax() for x in (WORD, fast)]
    assert peaks[1] / peaks[0] == pytest.approx(1.15, rel=0.01)
