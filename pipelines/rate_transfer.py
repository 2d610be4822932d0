"""Train at one sampling rate, predict at others or with missing samples, without retraining.

Data: Free Spoken Digit Dataset (Jackson et al., 2018) at 8 kHz, or Speech Commands (Warden, 2018) at 16 kHz. Set
S4SIGNAL_DATA to the folder that contains fsdd/ or speech_commands/.

Protocol: the split of each set (digits: takes 0 to 4 of known speakers; commands: new speakers). All settings except
the augmentation by removed samples are defaults; training recordings are complete and at the full rate. Test recordings
are at lower rates, either low-passed and resampled or every second sample; or a share of their samples is removed at
random, while the others keep their times. For comparison, the same classifier is trained at half the rate.

Command::

    python pipelines/rate_transfer.py
    python pipelines/rate_transfer.py --data commands --seeds 0 1 2     # mean ± standard deviation over seeds
    python pipelines/rate_transfer.py --augmentation auto               # all settings are defaults

Output: a table of test accuracies, also as a percentage of the accuracy at the full rate, and their curves over the
rate and over the share of removed samples in rate_transfer.png in the output folder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from data import load_speech_commands
from matplotlib import pyplot

from s4signal import S4Classifier, Signals
from s4signal.errors import S4SignalError
from s4signal.inspection import RobustnessDisplay
from s4signal.signals import datasets, decimate, drop_samples

__all__ = ["main"]

Labels = npt.NDArray[np.str_]
Scores = npt.NDArray[np.float64]
SETS = {"digits": (datasets.load_spoken_digits, 8000), "commands": (load_speech_commands, 16000)}
RATES = (0.75, 0.5, 0.25)  # of the rate at training
REMOVED = (0.1, 0.3, 0.5, 0.7)
AUGMENTATIONS = {"samples": ("band_shift", "band_dropout", "sample_dropout"), "auto": "auto"}
FULL = "as trained"


def main(argv: Sequence[str] | None = None) -> None:
    """Score one model at several rates, and with removed samples."""
    parser = argparse.ArgumentParser(description="One model at other sampling rates and with missing samples.")
    parser.add_argument("--data", choices=list(SETS), default="digits")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--augmentation", choices=list(AUGMENTATIONS), default="samples", help="samples: also removed")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    args = parser.parse_args(argv)
    load, rate = SETS[args.data]
    try:
        X_train, y_train, _ = load("train")
        X_test, y_test, _ = load("test")
    except S4SignalError as error:
        parser.error(str(error))
    print(
        f"{args.data}, augmentation={args.augmentation!r}, seeds {args.seeds}\ntrain  {X_train}\ntest   {X_test}\n",
        flush=True,
    )

    lower = {share: f"{hertz(share * rate)}, low-passed" for share in RATES}
    half = hertz(rate / 2)
    tests = {
        FULL: X_test,
        **{name: X_test.resample(share * rate) for share, name in lower.items()},
        f"{half}, every second sample": decimate(X_test, 2),
        **{removed(share): drop_samples(X_test, share, random_state=0) for share in REMOVED},
    }
    models = [fit(X_train, y_train, seed, args) for seed in args.seeds]
    print(models[0].describe(), end="\n\n", flush=True)
    scores = {name: np.array([model.score(X, y_test) for model in models]) for name, X in tests.items()}
    slow = [fit(X_train.resample(rate / 2), y_train, seed, args) for seed in args.seeds]
    scores[f"trained at {half}"] = np.array([model.score(tests[lower[0.5]], y_test) for model in slow])

    full = scores[FULL].mean()
    print(f"{'test accuracy, trained at':30}{hertz(rate):>16}{'kept':>8}")
    for name, score in scores.items():
        print(f"{name:30}{summary(score):>16}{score.mean() / full:>8.1%}")
    curves = {
        "sampling rate [kHz], low-passed": {
            rate / 1e3 * share: scores[name] for share, name in {**lower, 1.0: FULL}.items()
        },
        "share of samples removed, times kept": {
            share: scores[name] for share, name in {0.0: FULL, **{s: removed(s) for s in REMOVED}}.items()
        },
    }
    print(draw(curves, args.out))


def fit(X: Signals, y: Labels, seed: int, args: argparse.Namespace) -> S4Classifier:
    """Fit a classifier with or without sample dropout, and default settings otherwise."""
    model = S4Classifier(augmentation=AUGMENTATIONS[args.augmentation], random_state=seed, verbose=1)
    if args.max_epochs is not None:
        model.set_params(max_epochs=args.max_epochs)
    return model.fit(X, y)


def removed(share: float) -> str:
    """Return the name of a line of the table."""
    return f"{share:.0%} of samples removed"


def hertz(rate: float) -> str:
    """Format a sampling rate."""
    return f"{rate / 1e3:g} kHz"


def draw(curves: dict[str, dict[float, Scores]], out: Path) -> Path:
    """Draw the curves, one panel each."""
    matplotlib.use("Agg")  # no display is needed: figures go to files
    figure, panels = pyplot.subplots(1, len(curves), figsize=(9, 3.5), sharey=True)
    for axes, (label, curve) in zip(panels, curves.items(), strict=True):
        places = sorted(curve)
        scores = {"S4Classifier": np.stack([curve[place] for place in places])}
        RobustnessDisplay(levels=places, scores=scores, xlabel=label, ylabel="test accuracy").plot(ax=axes)
        axes.set(ylim=(0, 1.02), xlim=(0, None))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rate_transfer.png"
    figure.savefig(path, dpi=150, bbox_inches="tight")
    pyplot.close(figure)
    return path


def summary(scores: Scores) -> str:
    """Return the mean over seeds, with the standard deviation if there are several."""
    return f"{np.mean(scores):.3f}" + (f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else "")


if __name__ == "__main__":
    main()
