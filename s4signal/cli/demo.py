"""`s4signal demo`: synthetic recordings, and the commands that lead to a report and a stream."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4signal.cli.options import Choice, Reading

if TYPE_CHECKING:  # importing numpy would take a third of the time of --help
    import numpy as np
    from numpy.typing import NDArray

SFREQ, N_TAKES = 8000, 4
SPEAKERS = {"ada": 0.9, "ben": 1.0, "cleo": 1.1, "dan": 0.95, "eve": 1.05, "finn": 1.15}  # pitch
WHISTLES = {"falling": (1400, 600), "rising": (600, 1400), "steady": (1000, 1000)}  # Hz, start and end


def demo(
    folder: Annotated[Path, typer.Argument(help="A new folder for recordings, model and report.")] = Path("s4demo"),
) -> None:
    """Make recordings of whistles by six speakers; evaluate, fit, predict and report, showing each command."""
    import numpy as np

    from s4signal.cli.evaluate import evaluate
    from s4signal.cli.fit import fit
    from s4signal.cli.predict import predict
    from s4signal.cli.report import report

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} already exists and is not empty. Pass a new folder: s4signal demo FOLDER.")
    recordings, model, page = folder / "recordings", folder / "whistles.s4", folder / "report.html"
    new = folder / "new.wav"
    write_whistles(recordings)
    write_wave(new, whistle("rising", 1.02, np.random.default_rng(99)))
    pattern = "{label}_{group}_{take}.wav"
    typer.echo(f"{len(list(recordings.iterdir()))} recordings of {len(SPEAKERS)} speakers written to {recordings}\n")
    options = {f: v for kind in (Reading(pattern=pattern), Choice()) for f, v in vars(kind).items()}
    reading = vars(Reading())
    _announce(f"evaluate {recordings} --pattern '{pattern}'")
    evaluate(data=recordings, folds=3, as_json=False, **options)
    _announce(f"fit {recordings} --pattern '{pattern}' --out {model}")
    fit(data=recordings, out=model, as_json=False, **options)
    _announce(f"predict {model} {new}")
    predict(model=model, data=new, out=None, as_json=False, **reading)
    _announce(f"report {model} {recordings} -o {page}")
    report(model=model, data=recordings, out=page, protocol="auto", folds=3, curve=True, as_json=False, **reading)
    typer.echo(f"\nOpen {page} in a browser, and try:\n  s4signal stream {model} {new}")


def _announce(command: str) -> None:
    typer.echo(f"\n$ s4signal {command}")


def write_whistles(folder: Path) -> None:
    """Write recordings with names of the form {label}_{group}_{take}.wav."""
    import numpy as np

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for speaker, pitch in SPEAKERS.items():
        for name in WHISTLES:
            for take in range(N_TAKES):
                write_wave(folder / f"{name}_{speaker}_{take}.wav", whistle(name, pitch, rng))


def whistle(name: str, pitch: float, rng: "np.random.Generator") -> "NDArray[np.float64]":
    """Return 0.4 to 0.6 s of a falling, rising or steady tone in noise."""
    import numpy as np

    start, stop = (pitch * hertz * rng.uniform(0.9, 1.1) for hertz in WHISTLES[name])
    n_times = round(SFREQ * rng.uniform(0.4, 0.6))
    hertz = np.linspace(start, stop, n_times)
    tone = np.sin(2 * np.pi * np.cumsum(hertz) / SFREQ) * np.hanning(n_times)
    return np.asarray(0.3 * tone + 0.1 * rng.standard_normal(n_times))


def write_wave(path: Path, sound: "NDArray[np.float64]") -> None:
    """Write audio in -1...1 as 16-bit samples."""
    from scipy.io import wavfile

    wavfile.write(path, SFREQ, (sound.clip(-1, 1) * 32767).astype("int16"))
