"""Default values: what "auto" stands for, by the kind, number, channels and duration of the training cases."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.survey import Survey
from s4signal.estimators.units import counted
from s4signal.nn import FilterBank, space_bands
from s4signal.nn.frontends.bands import SPACINGS
from s4signal.signals import Signals
from s4signal.signals.checks import is_audio

# Filter bank for audio; its bands depend on the sampling rate.
LOWEST_HZ = 60.0
HOP_S, N_BANDS = 0.02, 40  # every 10 ms, new speakers were recognised less often
SPEECH_HZ, HIGHEST_HZ = 8000.0, 20000.0  # N_BANDS reach up to the first; higher rates get more, up to the second
BANK_FLOOR = 1e-12  # energy far below any sound; the effective floor is relative to the loudest frame
FEW_CASES = 1000  # a small network was better with 500 cases; between these and 1,800 nothing was measured
BY_HOPS, HOPS_PER_CASE = ("hop_means", "band_power"), 64  # front ends with so many hops in the longest case
MOST_CASES = 4000  # for a closed-form readout, which predicts each case from all others, and for several networks
N_NETWORKS = 4  # for audio
MOST_NUMBERS = 2**27  # values of these cases to keep in memory: half a gigabyte in single precision
LIGHTEST = 1e-30  # weight relative to 1: steps of lighter cases alone would divide by zero in single precision
FEW_MISSING = 0.3  # of the values of observed channels: up to here, interpolation was measured to beat masks
FEWEST_SAMPLES = 32  # of the shortest case, for ten coefficients


class LabelledCases(NamedTuple):
    """Cases of positive weight with their survey; the targets are not standardised.

    Shapes: weights (n,), targets (n,) or (n, n_outputs), groups (n,).
    """

    signals: Signals
    found: Survey
    weights: NDArray[np.float64]
    targets: NDArray[Any]
    groups: NDArray[Any] | None = None

    def take(self, indices: NDArray[np.intp]) -> "LabelledCases":
        """Return some of the cases."""
        signals, found, weights, targets, groups = self
        groups = None if groups is None else groups[indices]
        return LabelledCases(signals[indices], found.take(indices), weights[indices], targets[indices], groups)


class Defaults(NamedTuple):
    """The values of "auto"; a given parameter takes precedence."""

    kind: str  # "audio", "epochs" (several channels on a regular grid, few values missing) or "other"
    frontend: str
    hop_s: float  # of means over hops; samples if the rate is unknown
    size: dict[str, int]
    pooling: str
    readout: str
    max_epochs: int  # or as many as make 200 steps
    to_the_end: str  # why no case is held out for validation; "" if some are
    why: dict[str, str]


def choose_defaults(data: LabelledCases, sfreq: float | None, *, in_batches: bool = False) -> Defaults:
    """Choose the defaults for all training cases, or for the first of several batches.

    Sounds are not locked to the start of a case, so a learned score weights the steps. In epochs of several channels
    the time of a wave matters: Legendre coefficients keep the time course over the case, and a step is a 64th of it.
    """
    signals, found, weights = data.signals, data.found, data.weights
    frontend, why = _frontend(signals, sfreq)
    samples = case_durations(found, sfreq) * (sfreq or 1.0)
    hop = max(1, int(samples.max() + 1e-6) // HOPS_PER_CASE)
    mostly_missing, few = found.mostly_missing(weights), len(signals) < FEW_CASES
    regular = not found.has_times.any() and found.share_missing(weights) <= FEW_MISSING
    size = {"d_model": 64, "n_layers": 4, "d_state": 64, "n_networks": 1}
    pooling, max_epochs, to_the_end = "mean", 20, ""
    count = f"auto, for {'fewer than' if few else 'at least'} {FEW_CASES:,} cases"
    kind, size_why, pooling_why = "other", "auto", "auto"
    if frontend == "filterbank":
        several = len(signals) <= MOST_CASES and not in_batches
        kind, size = "audio", size | {"n_layers": 2, "d_state": 16, "n_networks": N_NETWORKS if several else 1}
        pooling, size_why, pooling_why = "attention", "auto, for audio", "auto, for audio"
    elif signals.n_channels > 1 and regular and samples.min() >= FEWEST_SAMPLES:
        kind, size = "epochs", size | {"d_model": 16 if few else 64, "n_layers": 1 if few else 2, "d_state": 16}
        pooling, size_why, pooling_why = "legs", count, "auto, for several channels"
        frontend = "hop_means" if hop >= 2 else frontend
        if few:
            max_epochs, to_the_end = 40, f"none is held out of fewer than {FEW_CASES:,} cases of several channels"
    if mostly_missing:
        max_epochs, to_the_end = 5, "no mostly missing cases are held out"
    readout, readout_why = _readout(signals, kind, regular=regular, mostly_missing=mostly_missing)
    if in_batches and readout == "closed_form":  # which needs all cases
        readout, readout_why = "pooled", "auto, for batches"
    if frontend == "hop_means" and readout == "pooled":  # which has no band power, and there are enough cases
        frontend, why = "band_power", f"{why}, {readout_why.removeprefix('auto, for ')}"
    reasons = {"frontend": why, "size": size_why, "pooling": pooling_why, "readout": readout_why}
    return Defaults(kind, frontend, hop / (sfreq or 1.0), size, pooling, readout, max_epochs, to_the_end, reasons)


def _readout(signals: Signals, kind: str, *, regular: bool, mostly_missing: bool) -> tuple[str, str]:
    """Choose "closed_form", which needs a regular grid, if interpolation loses nothing or few values are observed."""
    if kind == "audio":
        return "pooled", "auto, for audio"
    if not (regular or mostly_missing):
        return "pooled", "auto, for irregular or many missing samples"
    if len(signals) > MOST_CASES or int(signals.lengths.sum()) * signals.n_channels > MOST_NUMBERS:
        return "pooled", "auto, for many cases"
    return "closed_form", "auto, for mostly missing data" if mostly_missing else "auto, for regular signals"


def _frontend(signals: Signals, sfreq: float | None) -> tuple[str, str]:
    """Choose the front end, the filter bank for audio and else "linear", and return the reason.

    Audio is data of an audio reader, or a plain array of one or two channels at 4 kHz or more.
    """
    if sfreq is None or sfreq < 4 * LOWEST_HZ:
        return "linear", "auto, as the rate is unknown" if sfreq is None else f"auto, for a rate of {sfreq:g} Hz"
    modalities = {case.modality for case in signals.cases}
    audio, why = modalities == {"audio"}, ", ".join(sorted(map(str, modalities - {None})))
    if modalities == {None}:
        audio = is_audio(None, sfreq, signals.n_channels)
        why = f"{counted(signals.n_channels, 'channel')} at {sfreq:g} Hz"
    return ("filterbank" if audio else "linear"), f"auto, for {why}"


def case_durations(found: Survey, sfreq: float | None) -> NDArray[np.float64]:
    """Return the duration of each case, (n,), in seconds; in samples if the rate is unknown."""
    periods = np.where(np.isnan(found.sfreqs), 1.0 / (sfreq or 1.0), 1.0 / found.sfreqs)
    return np.asarray(np.where(found.has_times, found.spans_s + periods, found.lengths * periods))


def trains_to_the_end(frontend: Any, defaults: Defaults) -> str:
    """Return why early_stopping="auto" trains on all cases; "" if it holds out some.

    Validation cases of training speakers cannot select the epoch for other speakers, nor can a few mostly missing cases
    (the mean of the last weights is better), nor a tenth of few cases.
    """
    if frontend == "filterbank" or (isinstance(frontend, str) and frontend == "auto" and defaults.kind == "audio"):
        return "no case is held out with the filter bank"
    # A filter bank or a module gets mostly missing cases on a grid.
    return defaults.to_the_end if defaults.kind == "epochs" or frontend in ("auto", "linear") else ""


def sound_bank(sfreq: float, hop_s: float, band_hz: tuple[float, float] | None = None) -> FilterBank:
    """Return gammatone bands, equally dense on the critical-band scale at every rate, or within a band."""
    lowest_hz, highest_hz = (LOWEST_HZ, HIGHEST_HZ) if band_hz is None else band_hz
    highest_hz = min(highest_hz, 0.475 * sfreq)
    erb_number, _ = SPACINGS["erb"]
    lowest, speech, highest = erb_number(torch.tensor([LOWEST_HZ, SPEECH_HZ, highest_hz], dtype=torch.float64)).tolist()
    n_bands = round(N_BANDS * max(1.0, (highest - lowest) / (speech - lowest)))
    frequencies, bandwidths = space_bands("erb", n_bands, lowest_hz, highest_hz)
    return FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=hop_s, floor=BANK_FLOOR)
