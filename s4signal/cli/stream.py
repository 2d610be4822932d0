"""`s4signal stream`: predictions of a model while a signal arrives."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from s4signal.cli.options import ModelFile, Reading, with_options
from s4signal.cli.predict import label_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RAW = {"s16": ("<i2", 32768.0), "f32": ("<f4", 1.0)}  # type of a sample, and full scale


@with_options
def stream(
    model: ModelFile,
    source: Annotated[str, typer.Argument(help="A recording (audio or EEG), or - for raw samples from a pipe.")],
    reading: Reading,
    chunk: Annotated[float, typer.Option(help="Seconds between predictions.")] = 0.1,
    raw: Annotated[str, typer.Option(help="Pipe: s16 or f32, interleaved channels.")] = "s16",
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON per prediction.")] = False,
) -> None:
    """Follow a recording or a pipe; print predictions for all samples so far, or the last --window seconds.

    A microphone: arecord -t raw -f S16_LE -r 16000 | s4signal stream model.s4 - --sfreq 16000
    """
    from s4signal.estimators.provenance import load_estimator, read_provenance

    if not chunk > 0:
        raise ValueError(f"--chunk {chunk:g} must be more than 0 seconds.")
    if raw not in RAW:
        raise ValueError(f"--raw {raw} is unknown; choose {' or '.join(RAW)}.")
    fitted, provenance = load_estimator(model), read_provenance(model)
    if source == "-":
        sfreq = reading.sfreq or fitted.sfreq_
        chunks = _piped(sys.stdin.buffer, fitted.n_channels_in_, _size(chunk, sfreq), raw)
    else:
        whole = dataclasses.replace(reading, window=None, step=None)
        how = whole.after(provenance.reading, left_out=("pattern", "window", "step", "tmax"))
        sfreq, chunks = _recorded(Path(source), how, chunk, fitted.sfreq_)
    rate = sfreq if fitted.sfreq_ is not None else None
    predictor = fitted.stream(sfreq=rate, window_s=reading.window, step_s=reading.step)
    n_times = 0
    for samples in chunks:
        n_times += samples.shape[1]
        line = _line(fitted, predictor.push(samples), n_times / (sfreq or 1.0), as_json=as_json)
        typer.echo(line)
        sys.stdout.flush()
    if not n_times:
        raise ValueError(f"{'the pipe' if source == '-' else source} ended without a sample; is the source running?")


def _line(fitted: Any, scores: "NDArray[np.floating]", time: float, *, as_json: bool) -> str:
    """Format a prediction as text or JSON."""
    if not hasattr(fitted, "classes_"):
        document = {"prediction": scores.tolist()}
        text = "  ".join(f"{value:.4g}" for value in scores)
    else:
        prediction, best = label_of(fitted, scores), float(scores.max())
        probabilities = dict(zip(map(str, fitted.classes_.tolist()), map(float, scores), strict=True))
        document = {"prediction": prediction, "probabilities": probabilities}
        text = f"{prediction!s:<20} {best:.3f} {'█' * round(20 * best)}"
    return json.dumps({"time": round(time, 6), **document}) if as_json else f"{time:9.3f}  {text}"


def _size(chunk: float, sfreq: float | None) -> int:
    return max(1, round(chunk * (sfreq or 1.0)))


def _recorded(
    path: Path, how: Reading, chunk: float, sfreq: float | None
) -> tuple[float | None, "Iterator[NDArray[np.floating]]"]:
    """Return the rate of a recording and an iterator over its chunks, read one at a time."""
    from s4signal.cli.data import read_cases

    X = read_cases(path, how).X
    if len(X) != 1:
        raise ValueError(f"{path} holds {len(X)} cases; a stream follows one recording.")
    case = X.cases[0]
    rate, size = case.sfreq or sfreq, _size(chunk, case.sfreq or sfreq)
    whole = case.load() if getattr(case, "in_one", False) else case
    edges = range(0, case.length, size)
    return rate, (whole.crop(start, min(start + size, case.length)).load().data for start in edges)


def _piped(pipe: BinaryIO, n_channels: int, size: int, raw: str) -> "Iterator[NDArray[np.floating]]":
    """Yield chunks (n_channels, n_times) of raw samples with interleaved channels; the last can be short."""
    import numpy as np

    dtype, full_scale = RAW[raw]
    frame = np.dtype(dtype).itemsize * n_channels
    while content := pipe.read(size * frame):
        if len(content) % frame:
            n_missing = frame - len(content) % frame
            raise ValueError(f"the pipe ended within a sample: {n_missing} bytes of {n_channels} channels are missing.")
        yield (np.frombuffer(content, dtype).reshape(-1, n_channels).T / full_scale).astype(np.float64)
