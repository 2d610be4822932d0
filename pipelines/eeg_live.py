"""Decode the last second of EEG that arrives by LSL, as from an amplifier, eight samples at a time.

Data: synthetic: one minute of noise on 8 channels at 250 Hz, with a rhythm of 10 Hz over the back of the head in every
second segment of 3 s. Only mne-lsl is needed: ``pip install "s4signal[lsl]"``. With an amplifier, leave out the player
and pass the name of its stream to `follow`.

Protocol: a causal pipeline (band-pass, model) is fitted on the first 48 s. The player of mne-lsl sends up to 12 s more
over the loopback in real time. The decoder is scored where its last second lies within one segment.

Command::

    python pipelines/eeg_live.py
    python pipelines/eeg_live.py --model S4Classifier --seconds 6

Output: number of samples received, accuracy, and the median and 99th percentile of the time of a push.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import make_pipeline

from s4signal import S4Classifier, S4RidgeClassifier
from s4signal.estimators import BandPass, stream_pipeline
from s4signal.signals import windows

__all__ = ["accuracy", "decode", "fitted", "follow", "main", "recording"]

SFREQ, SEGMENT_S, WINDOW_S, TRAINING_S, CHUNK = 250, 3, 1.0, 48, 8
MODELS = {
    "S4RidgeClassifier": lambda seed: S4RidgeClassifier(random_state=seed),
    "S4Classifier": lambda seed: S4Classifier(bidirectional=False, random_state=seed),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Fit the decoder, play the recording and decode it."""
    parser = argparse.ArgumentParser(description="A live decoder, with mne-lsl's player on the loopback.")
    parser.add_argument("--model", choices=MODELS, default="S4RidgeClassifier", help="model of the decoder")
    parser.add_argument("--seconds", type=float, default=12.0, help="duration to play")
    parser.add_argument("--seed", type=int, default=0, help="seed of the recording and the model")
    args = parser.parse_args(argv)
    try:
        from mne_lsl.player import PlayerLSL
    except ImportError:
        parser.error('mne-lsl is needed: pip install "s4signal[lsl]"')
    raw = recording(args.seed)
    decoder, classes = fitted(raw, args.model, args.seed)
    played = raw.crop(TRAINING_S, TRAINING_S + args.seconds, include_tmax=False).set_annotations(None)
    with PlayerLSL(played, chunk_size=CHUNK, n_repeat=1, name="s4signal", source_id=f"s4signal-{args.seed}"):
        probabilities, seconds = decode(decoder, follow("s4signal"))
    print(f"{len(probabilities)} of {len(played.times)} samples in {len(seconds)} chunks, model {args.model}")
    print(f"accuracy          {accuracy(probabilities, classes, TRAINING_S + args.seconds):.3f}, chance 0.5")
    print(f"time of a push    median {1e3 * np.median(seconds):.2f} ms, 99 % {1e3 * np.quantile(seconds, 0.99):.2f} ms")


def recording(seed: int) -> Any:
    """Make a `mne.io.RawArray` in volts with annotated segments."""
    import mne

    rng, names = np.random.default_rng(seed), ["Fp1", "Fp2", "C3", "C4", "P3", "P4", "O1", "O2"]
    t = np.arange(60 * SFREQ) / SFREQ
    rhythm = np.sin(2 * np.pi * 10 * t) * (t // SEGMENT_S % 2)
    strength = np.array([0, 0, 0.2, 0.2, 0.6, 0.6, 1, 1])
    data = 1e-5 * (rng.standard_normal((len(names), len(t))) + strength[:, None] * rhythm)
    onsets = np.arange(0, 60, SEGMENT_S)
    marks = mne.Annotations(onsets, [SEGMENT_S] * len(onsets), ["rest", "rhythm"] * (len(onsets) // 2))
    return mne.io.RawArray(data, mne.create_info(names, SFREQ, "eeg"), verbose="error").set_annotations(marks)


def follow(name: str, *, wait_s: float = 2.0) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the chunks (n_times, n_channels) of an LSL stream until none arrives for ``wait_s``."""
    from mne_lsl.lsl import StreamInlet, resolve_streams

    if not (found := resolve_streams(timeout=10, name=name, minimum=1)):
        raise SystemExit(f"found no LSL stream {name!r}. Check that the amplifier is on and its program is streaming.")
    inlet = StreamInlet(found[0], max_buffered=60)
    inlet.open_stream(timeout=10)
    last = time.monotonic()
    while time.monotonic() - last < wait_s:
        chunk, _ = inlet.pull_chunk(timeout=0.05, max_samples=CHUNK)
        if len(chunk):
            last = time.monotonic()
            yield chunk
    inlet.close_stream()


def fitted(raw: Any, model: str, seed: int) -> tuple[Any, npt.NDArray[np.str_]]:
    """Fit on the first part of a recording; return a decoder of chunks, and the classes."""
    X, y, _ = windows(raw, duration_s=WINDOW_S, stop_s=TRAINING_S, labels=["rest", "rhythm"])
    pipeline = make_pipeline(BandPass(1, 40, causal=True), MODELS[model](seed)).fit(X, y)
    return stream_pipeline(pipeline, window_s=WINDOW_S, time_first=True), pipeline.classes_


def decode(decoder: Any, chunks: Iterable[Any]) -> tuple[npt.NDArray[np.floating], list[float]]:
    """Return the probabilities at each sample, (n_times, n_classes), and the seconds of each push."""
    probabilities, seconds = [], []
    for chunk in chunks:
        start = time.perf_counter()
        probabilities += [decoder.push(chunk)] * len(chunk)
        seconds.append(time.perf_counter() - start)
    return np.array(probabilities), seconds


def accuracy(probabilities: npt.NDArray[np.floating], classes: npt.NDArray[np.str_], end_s: float) -> float:
    """Score probabilities (n_times, n_classes) at the samples before ``end_s`` whose window lies within one segment."""
    at = end_s - np.arange(len(probabilities), 0, -1) / SFREQ  # from the end: the first samples may be missed
    whole = at % SEGMENT_S >= WINDOW_S
    truth = np.where(at // SEGMENT_S % 2, "rhythm", "rest")
    return float((classes[probabilities.argmax(1)] == truth)[whole].mean())


if __name__ == "__main__":
    main()
