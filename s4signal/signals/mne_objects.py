"""What MNE-Python holds in memory, turned into cases, and back: nothing here imports it before it is needed."""

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

_NO_SUBJECT = ("", "0", "x", "anonymous", "mne_anonymize", "none", "unknown")  # what anonymised files call everybody
_OWN = ("event", "tmin")  # of the metadata: Epochs keep them elsewhere


def is_epochs(data: Any) -> bool:
    """Whether `data` is an mne.Epochs of any kind: not a spectrum, which has events too."""
    return _of_mne(data) and hasattr(data, "get_data") and hasattr(data, "events") and not hasattr(data, "freqs")


def is_raw(data: Any) -> bool:
    """Whether `data` is an mne.io.Raw of any kind."""
    return _of_mne(data) and hasattr(data, "first_samp") and hasattr(data, "get_data")


def refuse_other_mne(data: Any) -> None:
    """Refuse what MNE made of samples: a spectrum, an average, an estimate of sources."""
    if not type(data).__module__.startswith("mne.") or is_epochs(data) or is_raw(data):
        return
    name = type(data).__name__
    if hasattr(data, "freqs"):
        raise TypeError(
            f"X holds {name}: its values are powers at frequencies, not samples in time. Pass the Epochs or the Raw "
            "that it was computed from."
        )
    raise TypeError(f"X holds {name}; recordings or trials are needed. Pass the Raw, or its mne.Epochs.")


def _of_mne(data: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "mne" for kind in type(data).__mro__)


def common_type(types: Iterable[str]) -> str:
    """Say what channels record: their one type, or "mixed"."""
    kinds = set(types)
    return kinds.pop() if len(kinds) == 1 else "mixed"


def fingerprint(data: FloatArray) -> str:
    """Name samples (…, n_times) by what they are: equal data has one name, in every run."""
    n_times = data.shape[-1]
    few = np.ascontiguousarray(data[..., :: max(1, n_times // 64)], dtype=np.float64)
    return hashlib.blake2b(repr(data.shape).encode() + few.tobytes(), digest_size=4).hexdigest()


def cases_from_epochs(items: Sequence[Any]) -> list[Case]:
    """Make a case of every trial: volts, rate, names, positions, marks, and as metadata what is known of it.

    Trials of one `Epochs` are one recording; so are those that scikit-learn took out of one, one by one.
    """
    cases: list[Case] = []
    for index, (epochs, names) in enumerate(zip(items, _channels([e.info for e in items]), strict=True)):
        known = _known(epochs.info, names)
        trials = _without_bads(epochs.get_data(picks=list(names)), epochs.info, names)
        known["source"] = str(getattr(epochs, "filename", None) or "")
        single = len(trials) == 1 and any("IGNORED" in why for why in epochs.drop_log)
        whose = subject_of(epochs.info)
        if not single and len(trials):
            whose["recording"] = known["source"] or f"recording {index} [{fingerprint(trials[[0, -1]])}]"
        elif single and not known["source"]:
            whose["recording"] = f"trials of {len(epochs.drop_log)}"
        counted = type(epochs).__name__ == "Epochs"  # events of arrays may be made up
        first = epochs.events[:, 0] + round(epochs.tmin * epochs.info["sfreq"])
        rows, marks = _rows(epochs), _marks(epochs)
        for i, trial in enumerate(trials):
            where = {"first_sample": int(first[i])} if counted else {"recorded_sfreq": 0.0}
            cases.append(Signal(trial, metadata={**whose, **rows[i]}, annotations=marks[i], **known, **where))
    if not cases:
        raise ShapeError("the Epochs hold no trial (0 sample(s)); at least one is needed. Look at epochs.drop_log.")
    return cases


def cases_from_raws(items: Sequence[Any]) -> list[Case]:
    """Make a case of every recording; those on disk are read when they are asked for."""
    cases: list[Case] = []
    for index, (raw, names) in enumerate(zip(items, _channels([r.info for r in items]), strict=True)):
        known = _known(raw.info, names)
        known["source"] = str(raw.filenames[0] or "") if raw.filenames else ""
        known["annotations"] = raw_annotations(raw)
        known["first_sample"] = int(raw.first_samp)
        known["metadata"] = subject_of(raw.info)
        if raw.preload:
            data = _read_raw(raw, names, 0, raw.n_times)
            if not known["source"]:
                known["metadata"]["recording"] = f"recording {index} [{fingerprint(data)}]"
            cases.append(Signal(data, **known))
        else:
            read = partial(_read_raw, raw.copy(), names)
            cases.append(LazyCase(read=read, n_channels=len(names), length=int(raw.n_times), **known))
    return cases


def raw_annotations(raw: Any) -> tuple[Annotation, ...]:
    """Count the marks of a recording, those of its stimulus channels too, from its first sample."""
    given = raw.annotations
    marks = [
        Annotation(float(onset - raw.first_time), float(duration), str(description))
        for onset, duration, description in zip(given.onset, given.duration, given.description, strict=True)
    ]
    stimulus = [name for name, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True) if kind == "stim"]
    if stimulus:
        from mne import find_events

        events = find_events(raw, stimulus, shortest_event=1, verbose="error")
        seconds = [(float(sample - raw.first_samp) / float(raw.info["sfreq"]), code) for sample, _, code in events]
        marks += [Annotation(onset_s, 0.0, str(code)) for onset_s, code in seconds]
    return tuple(sorted(marks, key=lambda mark: mark.onset_s))


def positions_of(info: Any, names: Sequence[str]) -> FloatArray | None:
    """Return where the sensors are, (n_channels, 3) in metres; None if no position is known."""
    where = {channel["ch_name"]: np.asarray(channel["loc"][:3], dtype=np.float64) for channel in info["chs"]}
    positions = np.array([where[name] for name in names])
    positions[~np.isfinite(positions).all(1) | (positions == 0).all(1)] = np.nan
    return None if np.isnan(positions).all() else positions


def montage_positions(montage: str, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return where a montage of MNE has channels, by any spelling, (n_channels, 3) in metres; NaN for others."""
    mne = optional("mne", "Places of electrodes", "eeg")
    whole = mne.channels.make_standard_montage(montage)
    info = mne.create_info(whole.ch_names, 1.0, "eeg", verbose="error")
    info.set_montage(whole, verbose="error")  # which turns it to the head
    places = np.array([channel["loc"][:3] for channel in info["chs"]], dtype=np.float64)
    rows = np.array([match_channels([standard_name(name)], whole.ch_names)[0] for name in names])
    return np.where(rows[:, None] < 0, np.nan, places[rows])


def epochs_from(cases: Sequence[Signal], sfreq: float | None, ch_types: Any) -> Any:
    """Make an `mne.EpochsArray` of cases of one length, rate and channels; see `Signals.to_epochs`."""
    mne = optional("mne", "to_epochs", "eeg")
    if sfreq is None:
        raise RecordingError("mne.Epochs need a rate. Pass sfreq= to Signals.")
    first = cases[0]
    names = list(first.ch_names or map(str, range(first.n_channels)))
    info = mne.create_info(names, sfreq, ch_types or _types(cases))
    if first.positions is not None:
        known = [bool(np.isfinite(xyz).all()) for xyz in first.positions]
        where = {name: xyz for name, xyz, there in zip(names, first.positions, known, strict=True) if there}
        info.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"), on_missing="ignore")
    subjects = {case.metadata.get("subject") for case in cases} - {None}
    if len(subjects) == 1:
        info["subject_info"] = {"his_id": str(subjects.pop())}
    tmin = float(first.metadata.get("tmin", 0.0))
    named = [str(case.metadata.get("event", "1")) for case in cases]
    event_id = {name: code for code, name in enumerate(dict.fromkeys(sorted(named)), 1)}
    samples = _event_samples(cases, tmin, sfreq)
    events = np.column_stack([samples, np.zeros(len(cases), int), [event_id[name] for name in named]])
    epochs = mne.EpochsArray(
        np.stack([case.data for case in cases]), info, events, tmin, event_id, metadata=_table(cases), verbose="error"
    )
    marks = [(m, s / sfreq + tmin) for case, s in zip(cases, samples, strict=True) for m in case.annotations]
    if marks:
        onsets = [mark.onset_s + start_s for mark, start_s in marks]
        given = mne.Annotations(onsets, [m.duration_s for m, _ in marks], [m.description for m, _ in marks])
        epochs.set_annotations(given)
    return epochs


def _channels(infos: Sequence[Any]) -> list[tuple[str, ...]]:
    """Choose the channels of each object: data, not bad; what is bad in some alone is kept in all."""
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
    except ValueError:  # none of the channels is data: take them all
        return tuple(info["ch_names"])


def _known(info: Any, names: Sequence[str]) -> dict[str, Any]:
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
    """Make missing what is marked as bad, (…, n_channels, n_times)."""
    bad = np.isin(names, info["bads"])
    if bad.any():
        data = data.copy()
        data[..., bad, :] = np.nan
    return data


def _read_raw(raw: Any, names: Sequence[str], start: int, stop: int) -> FloatArray:
    return _without_bads(raw.get_data(list(names), start, stop, verbose="error"), raw.info, names)


def subject_of(info: Any) -> dict[str, Any]:
    """Say whose recording it is, as metadata; nothing where a file names nobody."""
    subject = str((info["subject_info"] or {}).get("his_id") or "").strip()
    return {} if subject.lower() in _NO_SUBJECT else {"subject": subject}


def _rows(epochs: Any) -> list[dict[str, Any]]:
    """Say of every trial its event, the time of its first sample after that [s], and its row of the metadata."""
    names = {code: name for name, code in epochs.event_id.items()}
    rows = [{"event": names.get(code, str(code)), "tmin": float(epochs.tmin)} for code in epochs.events[:, 2]]
    given = epochs.metadata
    if given is None:
        return rows
    lines = given.to_dict("records") if hasattr(given, "to_dict") else [dict(line) for line in given]
    return [{**row, **{str(key): value for key, value in line.items()}} for row, line in zip(rows, lines, strict=True)]


def _marks(epochs: Any) -> list[tuple[Annotation, ...]]:
    if epochs.annotations is None or not len(epochs.annotations):
        return [()] * len(epochs.events)
    return [
        tuple(Annotation(float(onset - epochs.tmin), float(lasting), str(text)) for onset, lasting, text, *_ in marks)
        for marks in epochs.get_annotations_per_epoch()
    ]


def _types(cases: Sequence[Signal]) -> str:
    kind = common_type(str(case.modality or "eeg") for case in cases)
    if kind == "mixed":
        raise RecordingError("the channels are of several types. Pass ch_types=, one of MNE's types for each channel.")
    return "misc" if kind in ("audio", "biosignal") else kind


def _event_samples(cases: Sequence[Signal], tmin: float, sfreq: float) -> npt.NDArray[np.int64]:
    """Count events in the samples of the recording, where each case knows its own; else one after the other."""
    counted = np.array([round(case.first_sample - tmin * sfreq) for case in cases], dtype=np.int64)
    known = all(case.recorded_sfreq is None for case in cases) and (np.diff(counted) > 0).all()
    return counted if known else np.arange(len(cases), dtype=np.int64) * cases[0].length


def _table(cases: Sequence[Signal]) -> Any:
    columns = dict.fromkeys(key for case in cases for key in case.metadata if key not in _OWN)
    if not columns:
        return None
    try:
        import pandas
    except ImportError:  # Epochs hold no other table
        return None
    return pandas.DataFrame({key: [case.metadata.get(key) for case in cases] for key in columns})
