"""Recognise the 35 Speech Commands from raw samples with the recipe of the S4D paper, also at half the rate.

Data: Speech Commands v0.02 (Warden, 2018), 105,829 clips of up to 1 s at 16 kHz, 2.4 GB. Set S4SIGNAL_DATA to the
folder that contains speech_commands/, as downloaded by `datasets.fetch_speech_commands`, or pass the folder of the
words itself as ``--root``.

Protocol: the lists of the set. ``S4Classifier.from_preset("speech-commands-35")`` is fitted on training words, the
epoch is chosen on validation words, and test words are scored once: unchanged, with every second sample (as in the
papers), and low-passed and resampled; the latter two carry their rate of 8 kHz. Clips are padded with silence to the
length of the longest and decoded into memory, 5.4 GB for the training clips. A GPU is recommended.

Command::

    python pipelines/speech_commands_35.py --root speech_commands_v0.02
    python pipelines/speech_commands_35.py --preset speech-small --max-epochs 15

Output: one line per test condition with the accuracy, and the seconds of the fit.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s4signal import S4Classifier, Signals
from s4signal.errors import S4SignalError
from s4signal.signals import datasets, decimate, read_audio_folder

__all__ = ["main"]

PARTS = ("train", "validation", "test")
Words = tuple[Signals, npt.NDArray[np.str_]]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit with the preset and score under every condition."""
    parser = argparse.ArgumentParser(description="35 spoken commands from raw samples: the recipe of the S4D paper.")
    parser.add_argument("--root", type=Path, help="folder of the words, with validation_list.txt and testing_list.txt")
    parser.add_argument("--preset", default="speech-commands-35", help="preset of S4Classifier")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs; default: that of the preset")
    parser.add_argument("--device", default="auto", help="device for training")
    args = parser.parse_args(argv)
    try:
        train, validation, test = (load(args.root, part) for part in PARTS)
        model = S4Classifier.from_preset(args.preset).set_params(device=args.device, verbose=1)
    except (S4SignalError, ValueError) as error:
        parser.error(str(error))
    if args.max_epochs is not None:
        model.set_params(max_epochs=args.max_epochs)
    print(f"{len(set(train[1]))} words: {len(train[1])} clips to train on, {len(test[1])} to test on")
    length = max(int(X.lengths.max()) for X, _ in (train, validation, test))
    (X, y), (X_val, y_val) = (in_memory(part, length) for part in (train, validation))
    X_test, y_test = in_memory(test, length)
    rate = float(X_test.sfreq or 1.0)
    conditions = {
        "as recorded": X_test,
        "half the rate, every second sample": decimate(X_test, 2),
        "half the rate, low-passed": X_test.resample(rate / 2),
    }
    for seed in args.seeds:
        model.set_params(random_state=seed).fit(X, y, X_val=X_val, y_val=y_val)
        print(f"seed {seed}, best of {model.n_iter_} epochs: {model.best_epoch_}, {model.fit_seconds_:.0f} s")
        for name, signals in conditions.items():
            print(f"  {name:36}{model.score(signals, y_test):.4f}", flush=True)


def load(root: Path | None, part: str) -> Words:
    """Open one part of the set, as defined by its lists."""
    signals, y, _ = datasets.load_speech_commands(part) if root is None else read_audio_folder(root, split=part)
    return signals, y


def in_memory(words: Words, length: int) -> Words:
    """Decode all clips, padding shorter ones with silence at the end."""
    signals, y = words
    data = np.zeros((len(signals), length), dtype=np.float32)
    for row, signal in zip(data, signals, strict=True):
        row[: signal.length] = signal.data[0]
    return Signals(data, sfreq=signals.sfreq), y


if __name__ == "__main__":
    main()
