"""Alignment of recordings to the identity covariance: groups, pipelines, streams, missing samples."""

import numpy as np
import pytest
import sklearn
from scipy.linalg import inv, sqrtm
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from s4signal import S4RidgeClassifier, Signals
from s4signal.errors import RecordingError, ShapeError
from s4signal.estimators import AlignRecordings
from s4signal.estimators.alignment import PRIOR_SAMPLES, UPDATED
from s4signal.signals import Signal

__all__: list[str] = []

SUBJECTS = np.repeat(["a", "b", "c"], 8)
Y = np.tile([0, 1], 12)


def mixed(n_times=200, seed=0):
    """Return sources whose power depends on the class, mixed differently in each subject: (24, 3, n_times)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((24, 3, n_times))
    X[:, 0] *= np.where(Y == 1, 2.0, 0.5)[:, None]
    mixings = dict(zip("abc", rng.standard_normal((3, 3, 3)) * np.array([1, 100, 1e-6])[:, None, None], strict=True))
    return np.stack([mixings[subject] @ x for x, subject in zip(X, SUBJECTS, strict=True)])


X = mixed()
CLOSED_FORM = S4RidgeClassifier(n_oscillators=16, sfreq=100.0, random_state=0)


def mean_covariance(cases):
    return np.mean([np.cov(case, bias=True) for case in cases], axis=0)


def test_mean_covariance_of_each_recording_is_the_identity():
    aligned = AlignRecordings().fit_transform(X, groups=SUBJECTS)
    for subject in "abc":
        np.testing.assert_allclose(mean_covariance(aligned[subject == SUBJECTS]), np.eye(3), atol=1e-8)


def test_recording_is_aligned_independently_of_others():
    fitted = AlignRecordings().fit(X[SUBJECTS == "a"])
    alone = fitted.transform(X[SUBJECTS == "b"])
    np.testing.assert_array_equal(fitted.transform(X, groups=SUBJECTS)[SUBJECTS == "b"], alone)
    np.testing.assert_array_equal(AlignRecordings().fit(X).transform(X[SUBJECTS == "b"]), alone)


def test_units_of_a_recording_do_not_matter():
    align = AlignRecordings().fit(X)
    np.testing.assert_allclose(align.transform(1e6 * X), align.transform(X), rtol=1e-7)
    large = (1e25 * X).astype(np.float32)  # their squares exceed single precision
    np.testing.assert_allclose(align.transform(large), align.transform(X), atol=1e-5)


@pytest.mark.parametrize("described", [lambda name: {"metadata": {"subject": name}}, lambda name: {"source": name}])
def test_subjects_or_files_of_signals_are_the_groups_and_metadata_is_kept(described):
    cases = [
        Signal(x, sfreq=100, ch_names=("C3", "Cz", "C4"), **described(subject))
        for x, subject in zip(X, SUBJECTS, strict=True)
    ]
    aligned = AlignRecordings().fit_transform(Signals(cases))
    assert (aligned.sfreq, aligned.ch_names, aligned.groups.tolist()) == (100, ("C3", "Cz", "C4"), SUBJECTS.tolist())
    np.testing.assert_array_equal(aligned.to_numpy(), AlignRecordings().fit_transform(X, groups=SUBJECTS))
    assert AlignRecordings().fit_transform(Signals(X.astype(np.float32)))[0].data.dtype == np.float32


def test_cases_of_any_length_and_rate_and_one_channel_are_aligned():
    cases = Signals([x[:, : 100 + 4 * i] for i, x in enumerate(X)], sfreq=np.where(Y, 100.0, 50.0))
    aligned = AlignRecordings().fit_transform(cases, groups=SUBJECTS)
    assert (aligned.lengths == cases.lengths).all()
    assert (aligned.sfreqs == cases.sfreqs).all()
    assert (AlignRecordings().fit(cases).sfreq_, AlignRecordings().fit(X).sfreq_) == (50.0, None)
    assert AlignRecordings(sfreq=25.0).fit_transform(list(X)).sfreq == 25
    one = AlignRecordings().fit_transform(5.0 * X[:, 0])
    assert one.shape == (24, 200)
    assert np.mean(one.var(1)) == pytest.approx(1.0)


def test_times_with_a_missing_channel_become_missing_and_are_ignored():
    holes = X.copy()
    holes[:, 1, 50:80] = np.nan
    aligned = AlignRecordings().fit_transform(holes, groups=SUBJECTS)
    assert np.isnan(aligned[:, :, 50:80]).all()
    seen = np.r_[0:50, 80:200]
    np.testing.assert_allclose(aligned[..., seen], AlignRecordings().fit_transform(X[..., seen], groups=SUBJECTS))


def test_missing_channel_stays_missing_and_the_others_are_aligned():
    lacking = X.copy()
    lacking[SUBJECTS == "b", 1] = np.nan
    aligned = AlignRecordings().fit_transform(lacking, groups=SUBJECTS)
    others, without = SUBJECTS != "b", AlignRecordings().fit_transform(X[:, [0, 2]], groups=SUBJECTS)
    np.testing.assert_array_equal(aligned[others], AlignRecordings().fit_transform(X, groups=SUBJECTS)[others])
    np.testing.assert_allclose(aligned[~others][:, [0, 2]], without[~others])
    assert np.isnan(aligned[~others, 1]).all()
    lacking = X.copy()
    lacking[3, 1] = np.nan  # a single case
    aligned = AlignRecordings().fit_transform(lacking, groups=SUBJECTS)
    assert np.isnan(aligned[3, 1]).all()
    whitener = inv(sqrtm(mean_covariance(X[SUBJECTS == "a"][:, [0, 2]])))
    np.testing.assert_allclose(aligned[3, [0, 2]], whitener @ X[3, [0, 2]])
    assert np.isfinite(np.delete(aligned, 3, axis=0)).all()


def test_direction_removed_by_the_reference_stays_zero():
    referenced = X - X.mean(1, keepdims=True)
    aligned = AlignRecordings().fit_transform(referenced, groups=SUBJECTS)
    values = np.linalg.eigvalsh(mean_covariance(aligned[SUBJECTS == "b"]))
    np.testing.assert_allclose(values, [0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1e-3, -32.768])
def test_the_level_of_a_flat_channel_is_not_amplified(level):
    volts = 1e-5 * X[:8]
    flat = np.concatenate([volts, np.full_like(volts[:, :1], level)], axis=1)
    aligned, without = AlignRecordings().fit_transform(flat), AlignRecordings().fit_transform(volts)
    np.testing.assert_allclose(aligned[:, :-1], without, atol=1e-6)
    np.testing.assert_allclose(aligned[:, -1], 0, atol=1e-6)
    streamed = AlignRecordings().fit(flat).stream().push(np.concatenate(list(flat), axis=1))
    np.testing.assert_allclose(streamed[-1], 0, atol=1e-6)


@pytest.mark.parametrize("tesla", [1e-13, 1e-11, 1e-18, 1e6])
def test_channels_of_another_unit_are_aligned_as_if_it_were_the_same(tesla):
    cases = np.concatenate([X[:8], X[:8, ::-1, ::-1]], axis=1)
    unit = np.where(np.arange(6) % 2, 1e-6, tesla)[:, None]
    aligned = AlignRecordings().fit_transform(cases * unit)
    np.testing.assert_allclose(mean_covariance(aligned), np.eye(6), atol=1e-6)
    strongest = [np.sqrt(mean_covariance(cases).diagonal()[kind::2].max()) for kind in (0, 1)]
    alike = cases / np.tile(strongest, 3)[:, None]
    np.testing.assert_allclose(aligned, inv(sqrtm(mean_covariance(alike))) @ alike, rtol=1e-5, atol=1e-6)
    other = np.where(np.arange(6) % 2, 1e-6, 1e-14)[:, None]
    streams = [AlignRecordings().fit(cases * each).stream().push(cases[0] * each) for each in (unit, other)]
    np.testing.assert_allclose(*streams, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streams[0][:, :UPDATED], aligned[0][:, :UPDATED], rtol=1e-5, atol=1e-6)


class Powers(ClassifierMixin, BaseEstimator):
    """Nearest-mean classifier on the powers of the principal components (eigenvalues of the covariance)."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.means_ = np.stack([self._powers(X)[y == label].mean(0) for label in self.classes_])
        return self

    def predict(self, X):
        return self.classes_[((self._powers(X)[:, None] - self.means_) ** 2).sum(-1).argmin(1)]

    def _powers(self, X):
        covariances = np.stack([np.cov(x) for x in np.asarray(X)])
        return np.linalg.eigvalsh(covariances)


def test_pipeline_routes_groups_to_fit_and_predict():
    train, test = SUBJECTS != "c", SUBJECTS == "c"
    with sklearn.config_context(enable_metadata_routing=True):
        align = AlignRecordings().set_fit_request(groups=True).set_transform_request(groups=True)
        model = clone(make_pipeline(align, Powers())).fit(X[train], Y[train], groups=SUBJECTS[train])
        predicted = model.predict(X[test], groups=SUBJECTS[test])
        with pytest.raises(TypeError, match="people"):
            model.predict(X[test], people=SUBJECTS[test])
    by_hand = Powers().fit(AlignRecordings().fit_transform(X[train], groups=SUBJECTS[train]), Y[train])
    np.testing.assert_array_equal(predicted, by_hand.predict(AlignRecordings().fit_transform(X[test])))
    assert np.mean(predicted == Y[test]) > 0.8


def test_signals_keep_their_groups_in_cross_validation():
    cases = [Signal(x, sfreq=100, metadata={"subject": s}) for x, s in zip(X, SUBJECTS, strict=True)]
    signals = Signals(cases)
    options = {"cv": GroupKFold(3), "groups": signals.groups}
    aligned = np.mean(cross_val_predict(make_pipeline(AlignRecordings(), Powers()), signals, Y, **options) == Y)
    plain = np.mean(cross_val_predict(Powers(), signals, Y, **options) == Y)
    assert aligned > 0.8 > plain + 0.1


def test_alignment_works_in_a_pipeline_with_the_ridge_classifier():
    model = make_pipeline(AlignRecordings(), CLOSED_FORM).fit(X[SUBJECTS == "a"], Y[SUBJECTS == "a"])
    assert model.score(X[SUBJECTS == "c"], Y[SUBJECTS == "c"]) > 0.6


@pytest.mark.parametrize("sizes", [[1] * 90, [200], [31, 1, 0, 64, 5]], ids=["samples", "whole", "uneven"])
def test_stream_is_causal_and_independent_of_chunk_sizes(sizes):
    align = AlignRecordings().fit(X[SUBJECTS == "a"])
    stream, signal = align.stream(), X[SUBJECTS == "b"][0]
    n_pushed, pieces = 0, []
    for size in sizes:
        pieces.append(stream.push(signal[:, n_pushed : n_pushed + size]))
        n_pushed += size
    whole = align.stream().push(np.concatenate([signal[:, :n_pushed], 1e9 * np.ones((3, 5))], axis=1))[:, :n_pushed]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole)
    stream.reset()
    np.testing.assert_array_equal(stream.push(signal[:, :10]), align.stream().push(signal[:, :10]))


def test_stream_converges_to_the_alignment_of_the_whole_recording():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((3, 3))
    signal = mixing @ rng.standard_normal((3, 20_000)) + 3.0
    stream = AlignRecordings().fit(X[:8] / 10.0).stream()
    streamed = stream.push(signal)
    np.testing.assert_allclose(np.cov(streamed[:, 10_000:]), np.eye(3), atol=0.1)
    offline = AlignRecordings().fit(signal[None]).transform(signal[None])[0]
    np.testing.assert_allclose(streamed[:, -100:], offline[:, -100:], atol=0.3)


def test_stream_whitens_by_the_prior_and_the_samples_so_far():
    align, signal = AlignRecordings().fit(X[SUBJECTS == "a"]), X[0] + np.linspace(0, 9, 200)
    whole, weight = align.stream().push(signal), PRIOR_SAMPLES * 3
    for n in (UPDATED, 3 * UPDATED):
        covariance = (weight * align.covariance_ + n * np.cov(signal[:, :n], bias=True)) / (weight + n)
        np.testing.assert_allclose(whole[:, n : n + 9], inv(sqrtm(covariance)) @ signal[:, n : n + 9])


def test_recordings_of_a_subject_of_number_zero_are_aligned_together():
    numbered = [
        Signal(x, metadata={"subject": number, "recording": f"run {i}"})
        for i, (x, number) in enumerate(zip(X, [0, 1, 2] * 8, strict=True))
    ]
    aligned = AlignRecordings().fit_transform(Signals(numbered))
    np.testing.assert_array_equal(aligned, AlignRecordings().fit_transform(X, groups=[0, 1, 2] * 8))


def test_invalid_input_is_refused():
    with pytest.raises(NotFittedError, match="This AlignRecordings instance is not fitted yet"):
        AlignRecordings().transform(X)
    align = AlignRecordings().fit(X)
    with pytest.raises(ShapeError, match="X has 2 channels, but AlignRecordings was fitted with 3"):
        align.transform(X[:, :2])
    for groups in (SUBJECTS[:5], SUBJECTS[None]):
        with pytest.raises(ShapeError, match=r"groups must have shape \(24,\), one group per case, got"):
            align.transform(X, groups=groups)
    with pytest.raises(RecordingError, match="the recording 'b' has 2 samples at which all 3 channels are observed"):
        align.transform([*X[:8], X[8][:, :2]], groups=["a"] * 8 + ["b"])
    never = np.where(np.arange(200) % 3 == np.arange(3)[:, None], np.nan, X)
    with pytest.raises(RecordingError, match="the recording has 0 samples at which all 3 channels are observed"):
        align.transform(never)
    with pytest.raises(RecordingError, match="the recording does not vary in any channel; leave it out"):
        align.transform(np.ones((2, 3, 50)))
    with pytest.raises(ValueError, match=r"case 0 has values up to .*, whose squares overflow; scale X"):
        align.transform(1e200 * np.asarray(X * [[[1e0], [1e6], [1e6]]]))
    with pytest.raises(ShapeError, match=r"chunk must have shape \(3, n_times\)"):
        align.stream().push(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="NaN"):
        align.stream().push(np.full((3, 5), np.nan))
