"""Estimate the heart rate from phone-camera video at its true, irregular frame times.

Data: Welltory PPG (Neshitov et al., 2021): 14 recordings of 68 to 112 s, mean red, green and blue of each frame, about
30 frames per second, with the heart beats of a chest strap. Set S4SIGNAL_DATA to the folder with welltory_ppg/.

Protocol: only the red channel, since five of the phones recorded no green; windows of 10 s, each standardised, because
the brightness depends on the phone, not on the heart. Seven folds of two held-out recordings, trained on windows every
2.5 s, scored on one every 10 s. Volunteers made one or two recordings, and it is not known which belong together, so a
person may be on both sides of a split: this is a smoke test, not an estimate.

The trained regressor is small and trained briefly, so that the recipe takes minutes (2 causal layers of 32, state 16;
12 epochs, the best of them chosen on a fifth of the training recordings; otherwise default settings). Its input is
either the windows at their frame times, or a linear interpolation on a grid of 30 Hz. The closed form has default
settings and interpolates by itself. The mean of the training targets shows the chance level. The autocorrelation on the
grid, which is not trained, takes the strongest lag between 40 and 150 beats per minute.

Command::

    python pipelines/ppg_irregular_heart_rate.py
    python pipelines/ppg_irregular_heart_rate.py --seeds 0 1 2     # mean ± standard deviation over seeds: 8 minutes

Output: a table of mean absolute errors in beats per minute, over all recordings and of the worst recording (mean over
seeds), and the processor time per seed in seconds.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from data import load_welltory_ppg
from scipy.signal import butter, sosfiltfilt
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from s4signal import S4Regressor, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4RidgeRegressor

__all__ = ["main"]

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
Fit = Callable[[Signals, Floats, Names], Any]
SLOWEST, FASTEST = 40, 150  # beats per minute
SFREQ = 30.0  # Hz, of the grid
STEP_S, SCORED = 2.5, 4  # from window to window; every fourth one is scored
FOLDS = 7


def main(argv: Sequence[str] | None = None) -> None:
    """Score the regressors and two baselines on held-out recordings."""
    parser = argparse.ArgumentParser(description="Heart rate from video: true frame times compared with a grid.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, default=12, help="maximum number of epochs of the trained regressor")
    args = parser.parse_args(argv)
    try:
        recorded, y, recordings = load_welltory_ppg(step_s=STEP_S)
    except S4SignalError as error:
        parser.error(str(error))
    X, grid = red(recorded), red(recorded.to_grid(SFREQ))
    names = list(np.unique(recordings))
    scored = np.concatenate([np.flatnonzero(recordings == name)[::SCORED] for name in names])
    folds = min(FOLDS, len(names))
    print(f"Welltory PPG, heart rate, {len(names)} recordings in {folds} folds, seeds {args.seeds}\n{X}\n", flush=True)

    def trained(seed: int) -> Fit:
        return lambda X, y, groups: fit_regressor(X, y, groups, seed, args.max_epochs)

    def closed_form(seed: int) -> Fit:
        return lambda X, y, groups: S4RidgeRegressor(random_state=seed).fit(X, y)

    rows: dict[str, tuple[Signals, Callable[[int], Fit]]] = {
        "S4RidgeRegressor": (X, closed_form),
        f"S4Regressor, grid of {SFREQ:g} Hz": (grid, trained),
        "S4Regressor, frame times": (X, trained),
    }
    print(f"{'mean absolute error [bpm]':30}{f'{len(scored)} windows':>16}{'worst':>8}{'seconds':>9}")
    constant = leave_recordings_out(X, y, recordings, lambda X, y, groups: Mean(y))
    report("training mean", [constant], y, recordings, scored)
    report("autocorrelation", [np.array([strongest_rate(case.data[0]) for case in grid])], y, recordings, scored)
    for name, (signals, build) in rows.items():
        started = time.process_time()
        predictions = [leave_recordings_out(signals, y, recordings, build(seed)) for seed in args.seeds]
        report(name, predictions, y, recordings, scored, (time.process_time() - started) / len(args.seeds))


class Mean:
    """Baseline that predicts the mean of the training targets."""

    def __init__(self, y: Floats) -> None:
        self.mean = float(y.mean())

    def predict(self, X: Signals) -> Floats:
        """Return the mean for every case."""
        return np.full(len(X), self.mean)


def red(signals: Signals) -> Signals:
    """Return the first channel of every window, standardised."""
    cases = [np.asarray(case.data[:1], dtype=np.float64) for case in signals]
    times = [case.times for case in signals] if signals.has_times else None
    return Signals([(x - x.mean()) / x.std() for x in cases], times=times, sfreq=None if times else SFREQ)


def leave_recordings_out(X: Signals, y: Floats, recordings: Names, fit: Fit) -> Floats:
    """Predict every window with a model fitted on other recordings."""
    predicted = np.empty_like(y)
    for train, test in GroupKFold(min(FOLDS, len(np.unique(recordings)))).split(y, groups=recordings):
        predicted[test] = fit(X[train], y[train], recordings[train]).predict(X[test])
    return predicted


def fit_regressor(X: Signals, y: Floats, recordings: Names, seed: int, max_epochs: int) -> S4Regressor:
    """Fit a small regressor, choosing the epoch on held-out recordings."""
    size = {"d_model": 32, "d_state": 16, "n_layers": 2, "bidirectional": False}
    model = S4Regressor(**size, max_epochs=max_epochs, random_state=seed)
    train, held_out = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(y, groups=recordings))
    return model.fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out])


def strongest_rate(window: Floats) -> float:
    """Return the heart rate [bpm] at the strongest lag of the autocorrelation."""
    pulse = sosfiltfilt(butter(2, (0.6, 3.5), "bandpass", fs=SFREQ, output="sos"), window)
    correlation = np.correlate(pulse, pulse, mode="full")[len(pulse) - 1 :]
    lags = np.arange(int(60 * SFREQ / FASTEST), int(60 * SFREQ / SLOWEST) + 1)
    return float(60 * SFREQ / lags[np.argmax(correlation[lags])])


def report(
    name: str,
    predictions: Sequence[Floats],
    y: Floats,
    recordings: Names,
    scored: npt.NDArray[np.intp],
    seconds: float | None = None,
) -> None:
    """Print one line of the table: mean over seeds, standard deviation if several, worst recording, seconds."""
    errors = np.abs(np.array(predictions) - y)[:, scored]
    means = errors.mean(1)
    worst = max(errors[:, recordings[scored] == recording].mean() for recording in np.unique(recordings))
    spread = f" ± {means.std(ddof=1):.2f}" if len(means) > 1 else ""
    taken = "" if seconds is None else f"{seconds:.0f}"
    print(f"{name:30}{f'{means.mean():.2f}{spread}':>16}{worst:>8.2f}{taken:>9}", flush=True)


if __name__ == "__main__":
    main()
