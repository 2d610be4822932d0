"""Detect speech in noise for every tenth of a second, for new speakers, compared with an energy threshold.

Data: spoken digits (Jackson et al., 2018), 4 speakers, 8 kHz. Set S4SIGNAL_DATA to the folder that contains fsdd/.
For each speaker, words are placed in coloured noise of 20 s with pauses of 0.2 to 1.5 s. The noise level varies by 6 dB
within a recording, and words are 0 or 10 dB above its average.

Protocol: each speaker is the test set of models trained on the others, with other noise. The score is the balanced
accuracy over epochs of 0.1 s; an epoch is speech if words cover more than half of it. The baseline is a threshold on
the energy of an epoch, relative to the median of its recording, optimised on the training recordings. Chance is 0.5.

Command::

    python pipelines/voice_activity.py --seeds 0 1 2

Output: one line per model and context (seconds before and after an epoch): mean and standard deviation over speakers.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal import S4RidgeClassifier, Signals
from s4signal.errors import S4SignalError
from s4signal.estimators import S4Segmenter
from s4signal.signals import Annotation, Signal, datasets, epoch_labels

__all__ = ["main"]

EPOCH_S, RATE = 0.1, 8000
Labels = npt.NDArray[np.object_]


def main(argv: Sequence[str] | None = None) -> None:
    """Score every model and context by speaker."""
    parser = argparse.ArgumentParser(description="Voice activity in noise, compared with an energy threshold.")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states of noise and fits")
    parser.add_argument("--seconds", type=int, default=20, help="length of a recording")
    args = parser.parse_args(argv)
    try:
        words, _, speakers = datasets.load_spoken_digits()
    except S4SignalError as error:
        parser.error(str(error))
    models: dict[str, Any] = {"energy threshold": None}
    for context_s in ((0.0, 0.0), (0.1, 0.1), (0.2, 0.0)):
        models[f"S4RidgeClassifier {context_s}"] = context_s
    scores: dict[str, list[list[float]]] = {name: [] for name in models}
    for seed in args.seeds:
        made = {
            s: scenes(words[speakers == s], seed + 100 * k, args.seconds) for k, s in enumerate(np.unique(speakers))
        }
        for name, context_s in models.items():
            scores[name].append([score(made, speaker, context_s, seed) for speaker in made])
    print(f"{'model':34}   balanced accuracy over {len(made)} speakers")
    for name, rows in scores.items():
        each = np.mean(rows, axis=0)
        print(f"{name:34}   {each.mean():.3f} ± {each.std():.3f}   {' '.join(f'{value:.3f}' for value in each)}")


def scenes(words: Signals, seed: int, seconds: int) -> tuple[Signals, Labels]:
    """Make recordings of one speaker at two levels, and the labels of their epochs."""
    made = Signals(
        [scene(words, decibels, np.random.default_rng(seed + 10 * decibels), seconds) for decibels in (0, 10)]
    )
    return made, epoch_labels(made, epoch_s=EPOCH_S, otherwise="noise")


def scene(words: Signals, decibels: int, rng: np.random.Generator, seconds: int) -> Signal:
    """Place words in noise with a time-varying level, 1 on average; annotate each word."""
    n = seconds * RATE
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(1, np.arange(n // 2 + 1) / n * RATE / 200) ** 0.5
    noise = np.fft.irfft(spectrum, n)
    swell = 10 ** (0.3 * np.sin(2 * np.pi * (np.arange(n) / n * rng.uniform(1, 3) + rng.uniform())) / 2)
    sound, marks = swell * noise / noise.std(), []
    at = round(rng.uniform(0.2, 1.5) * RATE)
    while True:
        word = words[int(rng.integers(len(words)))].data[0]
        if at + len(word) > n:
            return Signal(sound.astype(np.float32), sfreq=RATE, annotations=tuple(marks))
        sound[at : at + len(word)] += 10 ** (decibels / 20) * word / word.std()
        marks.append(Annotation(at / RATE, len(word) / RATE, "speech"))
        at += len(word) + round(rng.uniform(0.2, 1.5) * RATE)


def score(made: dict[str, tuple[Signals, Labels]], speaker: str, context_s: Any, seed: int) -> float:
    """Fit on the other speakers and score on this one."""
    X = Signals.concatenate([part for name, (part, _) in made.items() if name != speaker])
    y = np.concatenate([labels for name, (_, labels) in made.items() if name != speaker])
    if context_s is None:
        thresholds = np.linspace(-10, 10, 81)
        best = thresholds[int(np.argmax([energy_score(X, y, threshold) for threshold in thresholds]))]
        return energy_score(*made[speaker], best)
    model = S4Segmenter(S4RidgeClassifier(n_oscillators=64, random_state=seed), epoch_s=EPOCH_S, context_s=context_s)
    return model.fit(X, y).score(*made[speaker])


def energy_score(X: Signals, y: Labels, threshold: float) -> float:
    """Return the balanced accuracy of a threshold in dB above the median energy of each recording."""
    epochs = np.stack([case.data[0].reshape(len(labels), -1) for case, labels in zip(X, y, strict=True)])
    energies = 10 * np.log10((epochs**2).mean(-1))
    loud = (energies > np.median(energies, axis=1, keepdims=True) + threshold).ravel()
    speech = np.concatenate(list(y)) == "speech"
    return float(loud[speech].mean() + (~loud[~speech]).mean()) / 2


if __name__ == "__main__":
    main()
