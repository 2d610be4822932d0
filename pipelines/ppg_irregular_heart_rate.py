"""Read the heart rate from phone-camera video at its true frame times, which are not equally far apart.

Data: Welltory PPG (Neshitov et al., 2021): 14 recordings of 68 to 112 s, mean red, green and blue of each frame, about
30 frames a second, with the heart beats of a chest strap. Set S4SIGNAL_DATA to the folder that holds welltory_ppg/.

Protocol: windows of 10 s, every 2.5 s for training; recordings 01 to 10 train, 11 to 14 test. Volunteers made one or
two recordings and nobody knows which, so one may be on both sides: a smoke test, not an estimate. The same regressor,
defaults but for the fifth of the training recordings that chooses the epoch, hears each window at its frame times, and
interpolated on a grid of 30 Hz. The mean of the training targets shows what guessing scores; the autocorrelation of
green on the grid, which is not trained, takes the strongest lag between 40 and 150 beats per minute.

Command::

    python pipelines/ppg_irregular_heart_rate.py
    python pipelines/ppg_irregular_heart_rate.py --seeds 0 1 2     # mean ± standard deviation over seeds

Output: a table of mean absolute errors on the test windows, in beats per minute.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GroupShuffleSplit

from s4signal import S4Regressor, Signals
from s4signal.errors import S4SignalError
from s4signal.signals import datasets

__all__ = ["main"]

Floats = npt.NDArray[np.float64]
SLOWEST, FASTEST = 40, 150  # beats per minute
SFREQ = 30.0  # Hz, of the grid


def main(argv: Sequence[str] | None = None) -> None:
    """Score both regressors and two baselines on the test windows."""
    parser = argparse.ArgumentParser(description="Heart rate from video: true frame times beside a grid.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="stop earlier than the default")
    args = parser.parse_args(argv)
    try:
        X_train, y_train, groups = datasets.load_welltory_ppg("train", step_s=2.5)
        X_test, y_test, recordings = datasets.load_welltory_ppg("test")
    except S4SignalError as error:
        parser.error(str(error))
    print(f"Welltory PPG, heart rate, test recordings: {len(np.unique(recordings))}, seeds {args.seeds}")
    print(f"train  {X_train}\ntest   {X_test}\n", flush=True)

    grid_train, grid_test = X_train.to_grid(SFREQ), X_test.to_grid(SFREQ)
    rows = {
        "training mean": [np.full(len(y_test), y_train.mean())],
        "autocorrelation": [np.array([autocorrelation_rate(signal.data[1]) for signal in grid_test])],
        "S4Regressor, frame times": [
            fit_predict(X_train, y_train, groups, X_test, seed, args.max_epochs) for seed in args.seeds
        ],
        "S4Regressor, grid of 30 Hz": [
            fit_predict(grid_train, y_train, groups, grid_test, seed, args.max_epochs) for seed in args.seeds
        ],
    }
    print(f"{'mean absolute error [bpm]':30}{f'{len(y_test)} windows':>16}")
    for name, predictions in rows.items():
        errors = [mean_absolute_error(y_test, prediction) for prediction in predictions]
        print(f"{name:30}{summary(errors):>16}")


def fit_predict(
    X: Signals, y: Floats, groups: npt.NDArray[np.str_], X_test: Signals, seed: int, max_epochs: int | None
) -> Floats:
    """Fit a regressor, the epoch chosen on recordings held out, and predict the test windows."""
    model = S4Regressor(random_state=seed, verbose=1)
    if max_epochs is not None:
        model.set_params(max_epochs=max_epochs)
    train, held_out = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(y, groups=groups))
    model.fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out])
    return model.predict(X_test)


def autocorrelation_rate(window: Floats) -> float:
    """Return the heart rate [bpm] at the strongest lag of the autocorrelation."""
    pulse = sosfiltfilt(butter(2, (0.6, 3.5), "bandpass", fs=SFREQ, output="sos"), window)
    correlation = np.correlate(pulse, pulse, mode="full")[len(pulse) - 1 :]
    lags = np.arange(int(60 * SFREQ / FASTEST), int(60 * SFREQ / SLOWEST) + 1)
    return float(60 * SFREQ / lags[np.argmax(correlation[lags])])


def summary(errors: Sequence[float]) -> str:
    """Return the mean over seeds, with the standard deviation if there are several."""
    return f"{np.mean(errors):.2f}" + (f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else "")


if __name__ == "__main__":
    main()
