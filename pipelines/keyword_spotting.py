"""Spot keywords in long recordings: hits and false alarms per hour of a closed-form and a trained classifier.

Data: Speech Commands (Warden, 2018), ten words of 1 s at 16 kHz. Set S4SIGNAL_DATA to the folder that contains
speech_commands/ with its index.csv. ``--data synthetic`` generates words of two tones instead and needs no data.

Protocol: the classes are the keywords and "other", for all other words and noise. Clips are joined in random order,
with 0.5 to 2 s of faint noise between them. A detection is a segment of `predict_segments` (windows as long as a word,
with a hop of a fifth of it) whose score reaches a threshold. It is a hit if it overlaps a word of its label, otherwise
a false alarm. The threshold is the lowest with at most ``--per-hour`` false alarms on a stream of held-out training
speakers; the table also shows a stream of test speakers.

Command::

    python pipelines/keyword_spotting.py --seeds 0 1 2
    python pipelines/keyword_spotting.py --data synthetic --keywords 0 1

Output: one line per model and seed: threshold; share of hits and false alarms per hour, held-out and test stream.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from data import load_speech_commands
from sklearn.model_selection import GroupShuffleSplit

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.errors import S4SignalError

__all__ = ["main"]

OTHER, LOWEST = "other", 0.3  # the lowest score of a detection
Words = tuple[Signals, npt.NDArray[np.str_], npt.NDArray[np.str_]]  # clips, words, speakers


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, choose thresholds and score every model."""
    parser = argparse.ArgumentParser(description="Spot keywords in streams: hits and false alarms per hour.")
    parser.add_argument("--data", choices=["commands", "synthetic"], default="commands")
    parser.add_argument("--keywords", nargs="+", default=["yes", "no", "stop"], help="words to spot")
    parser.add_argument("--per-hour", type=float, default=20.0, help="false alarms allowed when choosing the threshold")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="random states, one fit each")
    parser.add_argument("--max-epochs", type=int, help="maximum number of epochs")
    args = parser.parse_args(argv)
    try:
        train, test = (synthetic(p) if args.data == "synthetic" else load_speech_commands(p) for p in ("train", "test"))
    except S4SignalError as error:
        parser.error(f"{error} Or try --data synthetic.")
    available = sorted(set(train[1].tolist()))
    if missing := sorted(set(args.keywords) - set(available)):
        parser.error(f"argument --keywords: there is no word {', '.join(missing)}; choose from {', '.join(available)}.")
    heads = (("seed", 6), ("threshold", 11), ("hits, chosen", 14), ("per hour", 9), ("hits, test", 14), ("per hour", 9))
    print(f"{'model':20}" + "".join(f"{name:>{width}}" for name, width in heads))
    for seed in args.seeds:
        trained = S4Classifier(random_state=seed)
        if args.max_epochs is not None:
            trained.set_params(max_epochs=args.max_epochs)
        for model in (S4RidgeClassifier(random_state=seed), trained):
            print(line(model, train, test, args.keywords, args.per_hour, seed), flush=True)


def line(model: Any, train: Words, test: Words, keywords: list[str], per_hour: float, seed: int) -> str:
    """Fit on some of the training speakers, choose the threshold on the others, score on the test speakers."""
    clips, words, speakers = train
    split = GroupShuffleSplit(1, test_size=0.3, random_state=seed)
    fitted, chosen = next(split.split(words, groups=speakers))
    noise = faint_noise(clips, len(fitted) // 5, seed)
    y = np.concatenate([np.where(np.isin(words[fitted], keywords), words[fitted], OTHER), np.full(len(noise), OTHER)])
    model.fit(Signals.concatenate([clips[fitted], noise]), y)
    choice = detect(model, (clips[chosen], words[chosen], speakers[chosen]), keywords, seed)
    scored = detect(model, test, keywords, seed + 1)
    thresholds = np.unique(np.concatenate([[LOWEST, 1.0], choice[2]]))
    threshold = next((t for t in thresholds if count(choice, t)[1] <= per_hour), 1.0)
    cells = [f"{hits:>14.2f}{alarms:>9.0f}" for hits, alarms in (count(part, threshold) for part in (choice, scored))]
    return f"{type(model).__name__:20}{seed:>6}{threshold:>11.2f}{''.join(cells)}"


def detect(model: Any, data: Words, keywords: list[str], seed: int) -> tuple[float, Any, Any, Any]:
    """Return the hours of a stream, the keyword hit by each detection (-1: none), its score, the number of keywords."""
    recording, spoken = stream(data, seed)
    length_s = float(data[0].durations_s.max())
    found = model.predict_segments(recording, window_s=length_s, hop_s=length_s / 5, threshold=LOWEST)
    found = [segment for segment in found if segment.label in keywords]
    targets = [item for item in spoken if item[0] in keywords]
    hit = [
        next((i for i, (w, a, b) in enumerate(targets) if w == s.label and s.onset_s < b and s.offset_s > a), -1)
        for s in found
    ]
    hours = float(recording.durations_s[0]) / 3600
    return hours, np.array(hit, dtype=int), np.array([s.score for s in found]), len(targets)


def count(detections: tuple[float, Any, Any, Any], threshold: float) -> tuple[float, float]:
    """Return the share of keywords with a hit, and the false alarms per hour."""
    hours, hit, scores, n_targets = detections
    kept = hit[scores >= threshold]
    return len(set(kept[kept >= 0].tolist())) / max(1, n_targets), float((kept < 0).sum()) / hours


def stream(data: Words, seed: int) -> tuple[Signals, list[tuple[str, float, float]]]:
    """Join clips with pauses of faint noise; return also each word with its onset and offset in seconds."""
    clips, words, _ = data
    rng, rate = np.random.default_rng(seed), float(clips.sfreq or 1.0)
    parts, spoken, at = [], [], 0
    for i in rng.permutation(len(clips)).tolist():
        pause = round(rng.uniform(0.5, 2.0) * rate)
        clip = clips[i].data[0]
        parts += [np.zeros(pause, np.float32), clip]
        spoken.append((str(words[i]), (at + pause) / rate, (at + pause + len(clip)) / rate))
        at += pause + len(clip)
    joined = np.concatenate(parts)
    return Signals([joined + 1e-3 * rng.standard_normal(len(joined)).astype(np.float32)], sfreq=rate), spoken


def faint_noise(clips: Signals, n: int, seed: int) -> Signals:
    """Make clips of noise, from the level of the pauses to that of a loud room."""
    rng, length = np.random.default_rng(seed), int(clips.lengths.max())
    levels = 10 ** rng.uniform(-3.5, -1.5, (n, 1))
    return Signals((levels * rng.standard_normal((n, length))).astype(np.float32), sfreq=clips.sfreq)


def synthetic(part: str) -> Words:
    """Make six words of two tones, twice for each of six speakers with different pitch."""
    rng, t = np.random.default_rng(part == "test"), np.arange(1000) / 4000
    clips, names = [], []
    for speaker in range(6):
        pitch = rng.uniform(0.85, 1.18)
        for word in range(6):
            for _ in range(2):
                first, second = pitch * (300 + 150 * word), pitch * (1500 - 190 * word)
                tone = np.where(t < 0.12, np.sin(2 * np.pi * first * t), np.sin(2 * np.pi * second * t))
                clips.append((0.3 * tone * np.hanning(len(t)) + 1e-3 * rng.standard_normal(len(t))).astype(np.float32))
                names.append((str(word), f"{part}{speaker}"))
    return Signals(clips, sfreq=4000), np.array([w for w, _ in names]), np.array([s for _, s in names])


if __name__ == "__main__":
    main()
