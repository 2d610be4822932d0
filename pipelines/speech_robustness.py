"""Test models of clean spoken digits with silence, noise, reverberation, clipping, and other levels, rates and speeds.

Data: Free Spoken Digit Dataset (Jackson et al., 2018): 10 digits × 50 takes × 4 speakers at 8 kHz, 0.14 to 1 s, cut
tightly. Set S4SIGNAL_DATA to the folder that contains fsdd/.

Protocol: "spoken_digits" tests on takes 0-4 of every speaker, "digits_new_speaker" leaves one speaker out. Training
words are unchanged; each fit is tested on the same words under every condition. Silence consists of zeros. "In 2 s of
noise": the word is in the middle of 2 s, 20 dB above white noise. DC is half of the loudest sample; clipping is at a
tenth of it. Babble is the sum of six training words. A room is a white impulse response with exponential decay (60 dB
in 0.3 or 1 s) and the same energy as the direct sound. Signal-to-noise ratios refer to the length of the word.
``--data cv`` does the same by cross-validation of takes 5-49. All settings are defaults.

Models: S4RidgeClassifier and S4Classifier, which use the rate and know which samples are missing. An SVM on MFCC
averaged over fifths of a word, and a convolutional network on log-mel spectrograms (librosa); for both, missing samples
are interpolated and other rates are resampled to 8 kHz. "S4Classifier, augmented", which is also trained on words in
noise and babble, in rooms, clipped and with missing samples, runs only if ``--models`` names it.

Command::

    python pipelines/speech_robustness.py  # both protocols, seeds 0 1 2
    python pipelines/speech_robustness.py --sets spoken_digits --models S4Classifier  # measures only missing scores

Output: one table per protocol, one line per condition, with mean accuracies over seeds and speakers. * marks scores
within 0.02 of the best of their line; the last lines count these marks and give the seconds of a fit.
OUT/speech_robustness.csv stores the scores of each fold and seed with the package versions. Stored scores are not
measured again, so an interrupted run can be resumed. OUT/speech_robustness_test.png (or _cv.png) shows the table as a
figure.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarking.results import Summary
from benchmarking.runner import measure, parser
from benchmarking.sets import SPEECH_SETS
from matplotlib.figure import Figure
from scipy.signal import fftconvolve, resample_poly

from s4signal import Signals

__all__ = ["main"]

MODELS = ("S4RidgeClassifier", "S4Classifier", "MFCC + SVM", "log-mel net")

Array = npt.NDArray[np.float64]
Change = Callable[[Array, float, np.random.Generator, Signals], Array]  # word, its rate, generator, words for babble


def main(argv: Sequence[str] | None = None) -> None:
    """Fit every model, test it under every condition, print the tables and draw the figure."""
    sets = {name: kind for name, kind in SPEECH_SETS.items() if "digits" in name}
    choices = (*MODELS, "S4Classifier, augmented")
    cli = parser("Robustness on spoken digits: the models of this package compared with others.", sets, choices)
    options = cli.parse_args(argv)
    options.models = options.models or MODELS
    lines, failed = measure(options, "speech_robustness", sets, conditions())
    if not lines:
        cli.error("nothing was measured.")
    for name in dict.fromkeys(line.set for line in lines):
        print(f"\n{table(name, [line for line in lines if line.set == name])}")
    path = options.out / f"speech_robustness_{options.data}.png"
    draw(lines, path)
    print(f"\n{path}")
    cli.exit(int(failed))


def conditions() -> dict[str, Callable[[Signals, Signals], Signals]]:
    """Return the change of the test words for each condition."""
    changes: dict[str, tuple[Change, float]] = {  # each with the factor of the sampling rate
        "clean": (partial(padded), 1),
        "0.3 s of silence before": (partial(padded, before=0.3), 1),
        "0.25 s of silence before and after": (partial(padded, before=0.25, after=0.25), 1),
        "1 s of silence after": (partial(padded, after=1.0), 1),
        "in 2 s of noise": (in_noise, 1),
        "gain +20 dB": (partial(scaled, factor=10.0), 1),
        "gain -20 dB": (partial(scaled, factor=0.1), 1),
        "DC": (partial(scaled, offset=0.5), 1),
        "clipped": (partial(scaled, limit=0.1), 1),
        "room of 0.3 s": (partial(in_room, decay_s=0.3), 1),
        "room of 1 s": (partial(in_room, decay_s=1.0), 1),
        **{f"white noise, {snr} dB": (partial(noisy, snr=snr), 1) for snr in (20, 10, 0)},
        **{f"babble, {snr} dB": (partial(noisy, snr=snr, babble=True), 1) for snr in (20, 10, 0)},
        "half the rate": (partial(resampled, up=1, down=2), 0.5),
        "50 % of samples missing": (thinned, 1),
        "15 % faster": (partial(resampled, up=20, down=23), 1),
        "15 % slower": (partial(resampled, up=20, down=17), 1),
    }
    return {name: partial(changed, change=change, rate=rate) for name, (change, rate) in changes.items()}


def changed(X_train: Signals, X_test: Signals, change: Change, rate: float) -> Signals:
    """Change every test word, with one seed per word."""
    babble = X_train[np.random.default_rng(0).permutation(len(X_train))[:200]]
    sfreq = float(X_test.sfreq or 1.0)
    words = [
        change(word.data[0].astype(np.float64), sfreq, np.random.default_rng(i), babble)
        for i, word in enumerate(X_test)
    ]
    return Signals([word.astype(np.float32)[None] for word in words], sfreq=rate * sfreq)


def padded(
    x: Array, sfreq: float, rng: np.random.Generator, words: Signals, *, before: float = 0, after: float = 0
) -> Array:
    """Add seconds of silence before and after a word."""
    return np.pad(x, (round(before * sfreq), round(after * sfreq)))


def in_noise(x: Array, sfreq: float, rng: np.random.Generator, words: Signals) -> Array:
    """Put a word in the middle of two seconds of white noise, 20 dB below the word."""
    missing = max(round(2 * sfreq) - len(x), 0)
    noise = rng.standard_normal(len(x) + missing) * 0.1 * rms(x)
    return noise + np.pad(x, (missing // 2, missing - missing // 2))


def scaled(
    x: Array,
    sfreq: float,
    rng: np.random.Generator,
    words: Signals,
    *,
    factor: float = 1.0,
    offset: float = 0.0,
    limit: float = np.inf,
) -> Array:
    """Change level, offset and range; the latter two are relative to the loudest sample."""
    loudest = np.abs(x).max()
    return np.clip(factor * x + offset * loudest, -limit * loudest, limit * loudest)


def in_room(x: Array, sfreq: float, rng: np.random.Generator, words: Signals, *, decay_s: float) -> Array:
    """Add reverberation that decays by 60 dB in decay_s, with the energy of the direct sound."""
    times = np.arange(1, round(decay_s * sfreq)) / sfreq
    echoes = rng.standard_normal(len(times)) * 10 ** (-3 * times / decay_s)
    return fftconvolve(x, np.concatenate([[1.0], echoes / np.linalg.norm(echoes)]))


def noisy(
    x: Array, sfreq: float, rng: np.random.Generator, words: Signals, *, snr: float, babble: bool = False
) -> Array:
    """Add white noise, or the sum of six words, at a signal-to-noise ratio in dB."""
    if babble:
        talk = [words[int(i)].data[0] for i in rng.integers(len(words), size=6)]
        noise = np.sum([np.resize(word / (rms(word) or 1.0), len(x)) for word in talk], axis=0)
    else:
        noise = rng.standard_normal(len(x))
    return x + noise / (rms(noise) or 1.0) * rms(x) * 10 ** (-snr / 20)


def resampled(x: Array, sfreq: float, rng: np.random.Generator, words: Signals, *, up: int, down: int) -> Array:
    """Resample by the factor up / down, with a low-pass filter."""
    return np.asarray(resample_poly(x, up, down))


def thinned(x: Array, sfreq: float, rng: np.random.Generator, words: Signals) -> Array:
    """Set half of the samples to NaN, at random."""
    return np.where(rng.random(len(x)) < 0.5, x, np.nan)


def rms(x: Any) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(x))))


def table(name: str, lines: Sequence[Summary]) -> str:
    """Format the table of one protocol."""
    models = list(dict.fromkeys(line.model for line in lines))
    scores = grid(lines, models)
    best = {condition: max(row.values()) for condition, row in scores.items()}
    texts = [f"{name:36}" + "".join(f"{model:>22}" for model in models)]
    for condition, row in scores.items():
        marks = {model: "*" if row[model] >= best[condition] - 0.02 else " " for model in row}
        cells = [f"{row[model]:.3f}{marks[model]}" if model in row else "–" for model in models]
        texts.append(f"{condition:36}" + "".join(f"{cell:>22}" for cell in cells))
    near = {
        model: sum(row.get(model, 0) >= best[condition] - 0.02 for condition, row in scores.items()) for model in models
    }
    seconds = {line.model: line.fit_seconds for line in lines}
    texts.append(f"{'conditions within 0.02 of the best':36}" + "".join(f"{near[model]:>22}" for model in models))
    return "\n".join([*texts, f"{'seconds of a fit':36}" + "".join(f"{seconds[model]:>22.1f}" for model in models)])


def grid(lines: Sequence[Summary], models: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return accuracies by condition and model."""
    found: dict[str, dict[str, float]] = {}
    for line in lines:
        found.setdefault(line.condition, {})[line.model] = line.score
    return found


def draw(lines: Sequence[Summary], path: Any) -> None:
    """Draw one panel per protocol, with one line per condition and one marker per model."""
    names = list(dict.fromkeys(line.set for line in lines))
    models = list(dict.fromkeys(line.model for line in lines))
    figure = Figure(figsize=(2.5 + 3.8 * len(names), 7), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    styles = [("o", "black"), ("s", "0.55"), ("^", "white"), ("D", "white")]
    for axes, name in zip(panels, names, strict=True):
        scores = grid([line for line in lines if line.set == name], models)
        for model, (marker, fill) in zip(models, styles, strict=False):
            places = [(row[model], i) for i, row in enumerate(scores.values()) if model in row]
            axes.plot(
                *zip(*places, strict=True), marker, color="black", markerfacecolor=fill, linestyle="", label=model
            )
        axes.set(title=name.replace("_", " "), xlabel="accuracy", xlim=(0, 1.03))
        axes.set_yticks(range(len(scores)), list(scores))
        axes.grid(color="0.9")
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(models))
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
