"""Convert MNE-Python objects to cases and back; MNE is only imported when needed."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Annotation, Signal
from s4signal.signals.checks import FloatArray, few, optional
from s4signal.signals.lazy import Case, LazyCase
from s4signal.signals.montage import match_channels, standard_name

_NO_SUBJECT = ("", "0", "x", "anonymous", "mne_anonymize", "none", "unknown")  # in anonymised files
_OWN = ("event", "tmin")  # metadata that Epochs store elsewhere


def is_epochs(data: Any) -> bool:
    """Return whether `data` is an mne.Epochs of any class, but not a spectrum, which also has events."""
    return _of_mne(data) and hasattr(data, "get_data") and hasattr(data, "events") and not hasattr(data, "freqs")


def is_raw(data: Any) -> bool:
    """Return whether `data` is an mne.io.Raw of any class."""
    return _of_mne(data) and hasattr(data, "first_samp") and hasattr(data, "get_data")


def refuse_other_mne(data: Any) -> None:
    """Refuse other MNE objects: spectra, averages, source estimates."""
    if not type(data).__module__.startswith("mne.") or is_epochs(data) or is_raw(data):
        return
    name = type(data).__name__
    if hasattr(data, "freqs"):
        raise TypeError(
            f"X holds {name}: its values are powers at frequencies, not samples over time. Pass the Epochs or the Raw "
            "that it was computed from."
        )
    raise TypeError(f"X holds {name}; recordings or trials are needed. Pass the Raw, or its mne.Epochs.")


def _of_mne(data: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "mne" for kind in type(data).__mro__)


def common_type(types: Iterable[str]) -> str:
    """Return the common type of channels, or "mixed"."""
    kinds = set(types)
    return kinds.pop() if len(kinds) == 1 else "mixed"


def fingerprint(data: FloatArray) -> str:
    """Return a hash of samples (…, n_times); equal data has the same hash in every run."""
    subset = np.ascontiguousarray(data[..., :: max(1, data.shape[-1] // 64)], dtype=np.float64)
    return hashlib.blake2b(repr(data.shape).encode() + subset.tobytes(), digest_size=4).hexdigest()


def cases_from_epochs(items: Sequence[Any]) -> list[Case]:
    """Convert every trial to a case: volts, rate, names, positions, annotations and metadata.

    Trials of one `Epochs` belong to one recording, also if scikit-learn indexed them one by one.
    """
    cases: list[Case] = []
    for index, (epochs, names) in enumerate(zip(items, _channels([e.info for e in items]), strict=True)):
        fields = _fields(epochs.info, names)
        trials = _without_bads(epochs.get_data(picks=list(names)), epochs.info, names)
        fields["source"] = str(getattr(epochs, "filename", None) or "")
        single = len(trials) == 1 and any("IGNORED" in why for why in epochs.drop_log)
        identity = subject_of(epochs.info)
        if not single and len(trials):
            identity["recording"] = fields["source"] or f"recording {index} [{fingerprint(trials[[0, -1]])}]"
        elif single and not fields["source"]:
            identity["recording"] = f"trials of {len(epochs.drop_log)}"
        counted = type(epochs).__name__ == "Epochs"  # EpochsArray can have arbitrary events
        recorded = float(getattr(epochs, "_raw_sfreq", fields["sfreq"]))  # events keep the numbers before decimation
        first = counted * (epochs.events[:, 0] + round(epochs.tmin * recorded)) * fields["sfreq"] / recorded
        fields["recorded_sfreq"] = (None if recorded == fields["sfreq"] else recorded) if counted else 0.0
        for trial, row, at, marks in zip(trials, _rows(epochs), first.tolist(), _marks(epochs), strict=True):
            cases.append(Signal(trial, first_sample=at, annotations=marks, metadata=identity | row, **fields))
    if not cases:
        raise ShapeError("the Epochs hold no trial (0 sample(s)); at least one is needed. Check epochs.drop_log.")
    return cases


def cases_from_raws(items: Sequence[Any]) -> list[Case]:
    """Convert every recording to a case; those on disk are read on access."""
    cases: list[Case] = []
    for index, (raw, names) in enumerate(zip(items, _channels([r.info for r in items]), strict=True)):
        fields = _fields(raw.info, names)
        fields["source"] = str(raw.filenames[0] or "") if raw.filenames else ""
        fields["annotations"] = raw_annotations(raw)
        fields["first_sample"] = int(raw.first_samp)
        fields["metadata"] = subject_of(raw.info)
        if raw.preload:
            data = _read_raw(raw, names, 0, raw.n_times)
            if not fields["source"]:
                fields["metadata"]["recording"] = f"recording {index} [{fingerprint(data)}]"
            cases.append(Signal(data, **fields))
        else:
            read = partial(_read_raw, raw.copy(), names)
            cases.append(LazyCase(read=read, n_channels=len(names), length=int(raw.n_times), **fields))
    return cases


def raw_annotations(raw: Any) -> tuple[Annotation, ...]:
    """Return annotations and events of stimulus channels, with onsets relative to the first sample."""
    own = raw.annotations
    marks = [
        Annotation(float(onset - raw.first_time), float(duration), str(description))
        for onset, duration, description in zip(own.onset, own.duration, own.description, strict=True)
    ]
    stimulus = [name for name, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True) if kind == "stim"]
    if stimulus:
        from mne import find_events

        events = find_events(raw, stimulus, shortest_event=1, verbose="error")
        seconds = [(float(sample - raw.first_samp) / float(raw.info["sfreq"]), code) for sample, _, code in events]
        marks += [Annotation(onset_s, 0.0, str(code)) for onset_s, code in seconds]
    return tuple(sorted(marks, key=lambda mark: mark.onset_s))


def positions_of(info: Any, names: Sequence[str]) -> FloatArray | None:
    """Return the positions of sensors, (n_channels, 3) in metres; None if all are unknown."""
    by_name = {channel["ch_name"]: np.asarray(channel["loc"][:3], dtype=np.float64) for channel in info["chs"]}
    positions = np.array([by_name[name] for name in names])
    positions[~np.isfinite(positions).all(1) | (positions == 0).all(1)] = np.nan
    return None if np.isnan(positions).all() else positions


def montage_positions(montage: str, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return positions of channels, in any spelling, from an MNE montage, (n_channels, 3) in metres; NaN for others."""
    mne = optional("mne", "Electrode positions", "eeg")
    standard = mne.channels.make_standard_montage(montage)
    info = mne.create_info(standard.ch_names, 1.0, "eeg", verbose="error")
    info.set_montage(standard, verbose="error")  # transforms to head coordinates
    positions = np.array([channel["loc"][:3] for channel in info["chs"]], dtype=np.float64)
    rows = np.array([match_channels([standard_name(name)], standard.ch_names)[0] for name in names])
    return np.where(rows[:, None] < 0, np.nan, positions[rows])


def epochs_from(cases: Sequence[Signal], sfreq: float | None, ch_types: Any) -> Any:
    """Return an `mne.EpochsArray` of cases of equal length, rate and channels; see `Signals.to_epochs`."""
    mne = optional("mne", "to_epochs", "eeg")
    if sfreq is None:
        raise RecordingError("mne.Epochs need a rate. Pass sfreq= to Signals.")
    first = cases[0]
    names = list(first.ch_names or map(str, range(first.n_channels)))
    info = mne.create_info(names, sfreq, ch_types or _types(cases))
    if first.positions is not None:
        known = [bool(np.isfinite(xyz).all()) for xyz in first.positions]
        positions = {name: xyz for name, xyz, ok in zip(names, first.positions, known, strict=True) if ok}
        info.set_montage(mne.channels.make_dig_montage(positions, coord_frame="head"), on_missing="ignore")
    subjects = {case.metadata.get("subject") for case in cases} - {None}
    if len(subjects) == 1:
        info["subject_info"] = {"his_id": str(subjects.pop())}
    tmin = float(first.metadata.get("tmin", 0.0))
    event_names = [str(case.metadata.get("event", "1")) for case in cases]
    event_id = {name: code for code, name in enumerate(dict.fromkeys(sorted(event_names)), 1)}
    samples = _event_samples(cases, tmin, sfreq)
    events = np.column_stack([samples, np.zeros(len(cases), int), [event_id[name] for name in event_names]])
    epochs = mne.EpochsArray(
        np.stack([case.data for case in cases]), info, events, tmin, event_id, metadata=_table(cases), verbose="error"
    )
    marks = [(m, s / sfreq + tmin) for case, s in zip(cases, samples, strict=True) for m in case.annotations]
    if marks:
        onsets = [mark.onset_s + start_s for mark, start_s in marks]
        texts = [m.description for m, _ in marks]
        epochs.set_annotations(mne.Annotations(onsets, [m.duration_s for m, _ in marks], texts))
    return epochs


def _channels(infos: Sequence[Any]) -> list[tuple[str, ...]]:
    """Select data channels of each object that are not bad; one that is bad in only some objects is kept in all."""
    layouts: dict[Any, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    found = []
    for info in infos:
        layout = (*info["ch_names"], *info["bads"], *info.get_channel_types())
        if layout not in layouts:
            layouts[layout] = _data_channels(info, "bads"), _data_channels(info, ())
        found.append(layouts[layout])
    _, every = next(iter(layouts.values()))
    somewhere = {name for names, _ in layouts.values() for name in names}
    if len(layouts) > 1 and all(set(names) == set(every) for _, names in layouts.values()):
        return [tuple(name for name in every if name in somewhere)] * len(found)
    return [names for names, _ in found]


def _data_channels(info: Any, exclude: Any) -> tuple[str, ...]:
    from mne import EvokedArray

    template = EvokedArray(np.zeros((len(info["ch_names"]), 1)), info, verbose="error")
    try:
        return tuple(template.pick("data", exclude=exclude, verbose="error").ch_names)
    except ValueError:  # without data channels, use all
        return tuple(info["ch_names"])


def _fields(info: Any, names: Sequence[str]) -> dict[str, Any]:
    if set(names) <= set(info["bads"]):
        raise RecordingError(f"all channels are marked as bad ({few(names)}). Leave it out, or correct info['bads'].")
    kinds = dict(zip(info["ch_names"], info.get_channel_types(), strict=True))
    return {
        "sfreq": float(info["sfreq"]),
        "ch_names": tuple(names),
        "modality": common_type(kinds[name] for name in names),
        "positions": positions_of(info, names),
    }


def _without_bads(data: FloatArray, info: Any, names: Sequence[str]) -> FloatArray:
    """Set bad channels of (…, n_channels, n_times) to NaN."""
    bad = np.isin(names, info["bads"])
    if bad.any():
        data = data.copy()
        data[..., bad, :] = np.nan
    return data


def _read_raw(raw: Any, names: Sequence[str], start: int, stop: int) -> FloatArray:
    return _without_bads(raw.get_data(list(names), start, stop, verbose="error"), raw.info, names)


def subject_of(info: Any) -> dict[str, Any]:
    """Return the subject as metadata; empty if unknown."""
    subject = str((info["subject_info"] or {}).get("his_id") or "").strip()
    return {} if subject.lower() in _NO_SUBJECT else {"subject": subject}


def _rows(epochs: Any) -> list[dict[str, Any]]:
    """Return the event, `tmin` [s] and metadata row of every trial."""
    names = {code: name for name, code in epochs.event_id.items()}
    rows = [{"event": names.get(code, str(code)), "tmin": float(epochs.tmin)} for code in epochs.events[:, 2]]
    table = [{}] * len(rows) if epochs.metadata is None else epochs.metadata
    lines = table.to_dict("records") if hasattr(table, "to_dict") else table
    return [{**{str(key): value for key, value in line.items()}, **row} for row, line in zip(rows, lines, strict=True)]


def _marks(epochs: Any) -> list[tuple[Annotation, ...]]:
    return [
        tuple(Annotation(float(onset - epochs.tmin), float(length), str(text)) for onset, length, text, *_ in marks)
        for marks in epochs.get_annotations_per_epoch()
    ]


def _types(cases: Sequence[Signal]) -> str:
    kind = common_type(str(case.modality or "eeg") for case in cases)
    if kind == "mixed":
        raise RecordingError("the channels are of several types. Pass ch_types=, one of MNE's types for each channel.")
    return "misc" if kind in ("audio", "biosignal") else kind


def _event_samples(cases: Sequence[Signal], tmin: float, sfreq: float) -> npt.NDArray[np.int64]:
    """Return sample numbers of events in the recording if all cases have them, else consecutive numbers."""
    counted = np.array([round(case.first_sample - tmin * sfreq) for case in cases], dtype=np.int64)
    known = all(case.recorded_sfreq != 0 for case in cases) and (np.diff(counted) > 0).all()
    return counted if known else np.arange(len(cases), dtype=np.int64) * cases[0].length


def _table(cases: Sequence[Signal]) -> Any:
    columns = dict.fromkeys(key for case in cases for key in case.metadata if key not in _OWN)
    if not columns:
        return None
    try:
        import pandas
    except ImportError:  # Epochs need pandas for metadata
        return None
    return pandas.DataFrame({key: [case.metadata.get(key) for case in cases] for key in columns})
