"""Estimate the heart rate from two seconds of finger PPG: an S4 regressor and the autocorrelation.

Data: PPG-BP (Liang et al., 2018): 160 subjects, three segments of 2.1 s at 1 kHz each (two last 4.2 s). The target is
the heart rate of the blood pressure monitor, one integer per subject [beats per minute]. Set S4SIGNAL_DATA to the
folder that contains ppg_bp/.

Protocol: the split of the data set, 116 training and 44 test subjects; nobody is on both sides. The segments are
resampled to 125 Hz, which keeps the whole pulse and makes the fit faster; all settings are defaults. Everything
(standardisation of signal and target, the epoch to stop at) is fitted on training subjects only; the epoch is chosen on
a held-out seventh of them. The mean of the training targets shows the chance level. The autocorrelation takes the
strongest lag between 40 and 180 beats per minute after a 1 to 8 Hz filter, and is not trained.

Command::

    python pipelines/ppg_heart_rate.py
    python pipelines/ppg_heart_rate.py --seeds 0 1 2     # mean ± standard deviation over seeds

Output: a table of mean absolute errors in beats per minute, for single segments and for the median prediction of a
subject's three segments.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from data import load_ppg_bp
from scipy.signal import butter, sosfiltfilt
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GroupShuffleSplit

from s4signal import S4Regressor, Signals
from s4signal.errors import S4SignalError

__all__ = ["main"]

Floats = npt.NDArray[np.float64]
SLOWEST, FASTEST = 40, 180  # beats per minute
SFREQ = 125.0  # Hz


def main(argv: Sequence[str] | None = None) -> None:
    """Score the regressor and two baselines on the test subjects."""
    parser = argparse.ArgumentParser(description="Heart rate from PPG: an S4 regressor and the autocorrelation.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    try:
        X_train, y_train, groups = load_ppg_bp("train")
        X_test, y_test, subjects = load_ppg_bp("test")
    except S4SignalError as error:
        parser.error(str(error))
    print(f"PPG-BP, heart rate, test subjects: {len(np.unique(subjects))}, seeds {args.seeds}")
    print(f"train  {X_train}\ntest   {X_test}\n", flush=True)

    mean = np.full(len(y_test), y_train.mean())
    autocorrelation = np.array([autocorrelation_rate(signal.data[0], signal.sfreq) for signal in X_test])
    fitted = [fit_predict(X_train, y_train, groups, X_test, seed, args.max_epochs) for seed in args.seeds]
    print(f"{'mean absolute error [bpm]':28}{'one segment':>14}{'median of 3':>16}")
    for name, predictions in (
        ("training mean", [mean]),
        ("autocorrelation", [autocorrelation]),
        ("S4Regressor", fitted),
    ):
        single = [mean_absolute_error(y_test, prediction) for prediction in predictions]
        median = [subject_error(y_test, prediction, subjects) for prediction in predictions]
        print(f"{name:28}{summary(single):>14}{summary(median):>16}")


def autocorrelation_rate(segment: Floats, sfreq: float) -> float:
    """Return the heart rate [bpm] at the strongest lag of the autocorrelation."""
    pulse = sosfiltfilt(butter(2, (1, 8), "bandpass", fs=sfreq, output="sos"), segment)
    # The sum is not divided by the overlap: long lags, which have few samples, have a smaller weight.
    correlation = np.correlate(pulse, pulse, mode="full")[len(pulse) - 1 :]
    lags = np.arange(int(60 * sfreq / FASTEST), int(60 * sfreq / SLOWEST) + 1)
    return float(60 * sfreq / lags[np.argmax(correlation[lags])])


def fit_predict(
    X: Signals, y: Floats, groups: npt.NDArray[np.str_], X_test: Signals, seed: int, max_epochs: int | None
) -> Floats:
    """Fit a regressor with default settings, choosing the epoch on held-out subjects; predict the test segments."""
    model = S4Regressor(random_state=seed, verbose=1)
    if max_epochs is not None:
        model.set_params(max_epochs=max_epochs)
    X, X_test = X.resample(SFREQ), X_test.resample(SFREQ)
    train, held_out = next(GroupShuffleSplit(1, test_size=0.15, random_state=seed).split(y, groups=groups))
    model.fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out])
    return model.predict(X_test)


def subject_error(y: Floats, prediction: Floats, subjects: npt.NDArray[np.str_]) -> float:
    """Return the mean absolute error of the median prediction of each subject."""
    rows = [subjects == subject for subject in np.unique(subjects)]
    return float(np.mean([abs(np.median(prediction[row]) - y[row][0]) for row in rows]))


def summary(errors: Sequence[float]) -> str:
    """Return the mean over seeds, with the standard deviation if there are several."""
    return f"{np.mean(errors):.2f}" + (f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else "")


if __name__ == "__main__":
    main()
