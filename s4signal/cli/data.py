"""Read cases, labels and groups from a folder, a manifest or a file, and describe them."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer

from s4signal.cli.listing import Listing, header_of, is_manifest, kind_of, list_manifest, list_recordings, unlabelled
from s4signal.cli.options import Reading
from s4signal.errors import RecordingError
from s4signal.signals import Signals, epochs_from_events, read_csv, read_eeg, read_ts, windows
from s4signal.signals.audio_file import Skipped
from s4signal.signals.audio_layout import Layout, Row
from s4signal.signals.checks import few
from s4signal.signals.labelled import LabelledSignals, assemble, labelled, of_split
from s4signal.signals.table import Table

_SHOWN = 12  # classes or events listed in one line


@dataclass(frozen=True)
class Cases:
    """Cases, with their labels and groups if known."""

    X: Signals
    y: NDArray[Any] | None
    groups: NDArray[Any] | None  # None: every case is its own group
    source: str  # description of the input
    by: str = ""  # where labels and groups come from
    splits: NDArray[Any] | None = None  # the part of the data set of each recording
    skipped: tuple[Skipped, ...] = ()
    tags: NDArray[np.str_] | None = None  # names of the columns of y, if a case may have several labels
    aside: tuple[str, ...] = ()  # descriptions of ignored files

    @property
    def is_regression(self) -> bool:
        """Whether the labels are numeric targets."""
        return self.y is not None and self.y.dtype.kind == "f"

    @property
    def counts(self) -> Counter[str]:
        """Number of cases with each label or tag."""
        names = self.labels if self.tags is None else self.tags[np.nonzero(self.labels)[1]]
        return Counter(map(str, names.tolist()))

    @property
    def labels(self) -> NDArray[Any]:
        """The labels, which `labelled` has checked."""
        return np.asarray(self.y)

    @property
    def split_by(self) -> NDArray[Any]:
        """The groups, or one group per case if unknown."""
        return np.arange(len(self.X)) if self.groups is None else self.groups

    def facts(self) -> dict[str, str]:
        """Describe the cases, as names and texts."""
        facts = {"read": self.source, "cases": repr(self.X).removeprefix("Signals: ").partition("\n")[0]}
        if self.y is not None and self.is_regression:
            facts["targets"] = f"numbers from {self.y.min():g} to {self.y.max():g}"
        elif self.y is not None:
            counts = [f"{label} ({n})" for label, n in self.counts.most_common()]
            facts["classes" if self.tags is None else "tags"] = f"{len(counts)}: {few(counts, _SHOWN)}"
        if self.y is not None and self.by:
            facts["labels from"] = self.by
        n = 0 if self.groups is None else len(set(self.groups.tolist()))
        facts["groups"] = f"{n}, never split" if n else "none known: each case is treated as independent"
        if self.splits is not None:
            facts["parts"] = ", ".join(f"{part} ({k})" for part, k in sorted(Counter(self.splits.tolist()).items()))
        if self.aside:
            facts["ignored"] = "; ".join(self.aside)
        return facts

    def document(self) -> dict[str, Any]:
        """Describe the cases in the form of JSON."""
        n_groups = None if self.groups is None else len(set(self.groups.tolist()))
        classes = None if self.y is None or self.is_regression else dict(self.counts)
        facts = {"source": self.source, "n_cases": len(self.X), "n_groups": n_groups, "classes": classes}
        return facts | {"skipped": [file._asdict() for file in self.skipped]}

    def labelled(self, tags: str | None = None) -> "Cases":
        """Return the cases, `tags` between several labels of one; RecordingError if there are none."""
        if self.y is None:
            raise RecordingError(
                f"{self.source}: no label is known. Sort the files into a folder per class, or pass --pattern (with "
                "folders {label}/{group}_{take}.wav), --manifest and --label-column, or --tmax to cut around events."
            )
        if tags is not None:
            columns = MultiLabelBinarizer()
            y = columns.fit_transform([{*map(str.strip, str(label).split(tags))} - {""} for label in self.y.tolist()])
            return replace(self, y=y, tags=np.array(columns.classes_.tolist())).labelled()
        if not self.is_regression and len(self.counts) < 2:
            raise RecordingError(
                f"{self.source}: all cases have the label {str(self.y[0])!r}; at least two labels are needed."
            )
        return self


def read_cases(path: Path, how: Reading) -> Cases:
    """Read cases from a folder, a manifest or a file."""
    if not path.exists():
        raise RecordingError(f"{path} does not exist. Check the path.")
    if path.is_dir():
        return _from_listing(list_recordings(path, how), str(path), how)
    kind = kind_of(path)
    if kind == "ts":
        X, y = read_ts(path, sfreq=how.sfreq)
        return Cases(X, y, None, f"{path}, a .ts file", "" if y is None else "the file")
    if is_manifest(path, how):
        return _from_listing(list_manifest(path, path.parent, how), str(path), how)
    if kind == "CSV":
        return _from_table(path, how)
    if kind is None:
        raise RecordingError(f"{path} has no known extension of a recording; audio, EEG, .csv or .ts is needed.")
    return _from_listing(unlabelled(kind, [path]), str(path), how)


def _from_listing(listing: Listing, name: str, how: Reading) -> Cases:
    kind, layout, by = listing
    if kind == "ts":
        advice = f"pass one of them, such as {layout.rows[0].path}"
        raise RecordingError(f"{name} holds {len(layout.rows)} .ts files; {advice}.")
    X, labels, groups = data = _read(kind, layout, how)
    y = labels if all(labels) or (how.tags is not None and any(labels)) else None  # a case may have no tag
    grouped = not {str(row.path) for row in layout.rows} >= (owners := set(groups.tolist())) or len(owners) < len(X)
    source = f"{name}, {len(X)} {'recordings' if len(X) > 1 else 'recording'} ({kind})"
    report: dict[str, Any] = {"splits": data.splits, "skipped": data.skipped, "aside": data.aside}
    if how.tmax is not None:
        if y is not None:
            raise ValueError(f"--tmax cuts around events, but labels come from {by}; leave one of them out.")
        X, y, groups = epochs_from_events(X, event_id=how.event or None, tmin=how.tmin, tmax=how.tmax, groups=groups)
        names = by.rpartition("groups in ")[2] if grouped else "recordings"
        by = f"events, {how.tmin:g} to {how.tmax:g} s after each; groups: {names}"
        return Cases(X, y, groups, source, by, **report)
    if how.window is not None:
        X, y, groups = windows(X, duration_s=how.window, step_s=how.step, y=y, groups=groups)
        by += f"; windows of {how.window:g} s, groups: " + ("as given" if grouped else "recordings")
        return Cases(X, _targets(y, how), groups, source, by.removeprefix("; "), **report)
    events = Counter(mark.description for case in X.cases for mark in case.annotations)
    if events and y is None:
        source += "; events: " + ", ".join(f"{name} ({n})" for name, n in events.most_common(_SHOWN))
    return Cases(X, _targets(y, how), groups if grouped else None, source, by, **report)


def _read(kind: str, layout: Layout, how: Reading) -> LabelledSignals:
    """Open recordings of one kind, which must have one rate."""
    if kind == "audio":
        return assemble(layout, split=how.split, sfreq=how.sfreq, mono=True, on_error=how.on_error)
    rows = of_split(layout.rows, how.split)
    paths = [row.path for row in rows]
    names = None if how.picks is None else [name.strip() for name in how.picks.split(",")]
    if kind == "EEG":
        picks: Any = "eeg" if names is None else names[0] if names in (["eeg"], ["data"], ["all"]) else names
        options: Any = {name: getattr(how, name) for name in ("l_freq", "h_freq", "sfreq", "on_error")}
        X = read_eeg(paths[0] if paths[0].is_dir() else paths, picks=picks, **options)
        known = {str(row.path): row for row in rows}  # without the files of a BIDS data set, which have subjects
        rows = [known.get(name, Row(Path(name), "", group)) for name, group in zip(X.sources, X.groups, strict=True)]
    else:
        X = read_csv(paths, time=how.time_column, sfreq=how.sfreq, picks=names)[0]
    if len(rates := sorted(set(X.sfreqs.tolist()))) > 1 and kind != "CSV":
        raise RecordingError(f"recordings have rates of {rates[0]:g} to {rates[-1]:g} Hz; pass --sfreq to resample.")
    data = labelled(X, rows, layout)
    data.skipped += tuple(getattr(X, "skipped", ()))
    return data


def _from_table(path: Path, how: Reading) -> Cases:
    """Read one CSV of samples, with optional columns for the case, label and group of each row."""
    header = header_of(path)
    case = how.case_column or ("case" if "case" in header else None)
    label = how.label_column if how.label_column in header else None
    group = how.group_column or ("group" if "group" in header else None)
    time = how.time_column or ("time" if "time" in header else None)
    others = [name for name in header if name not in (case, label, group, time)]
    names = others if how.picks is None else [name.strip() for name in how.picks.split(",")]
    X, y = read_csv(path, time=time, sfreq=how.sfreq, picks=names, case=case, label=label)
    if group is not None and group not in header:
        raise RecordingError(f"{path} has no column {group}; it has {', '.join(header)}.")
    groups = None
    if group is not None and case is not None:
        pairs = list(dict.fromkeys(zip(*map(Table(path).names, (case, group)), strict=True)))
        if len(pairs) > len(X):
            raise RecordingError(f"{path}: a case of column {case} has several groups in column {group}.")
        groups = np.array([name for _, name in pairs])
    source = f"{path}, a table of samples with the channels {', '.join(names[:_SHOWN])}"
    source += f" and no column {how.label_column}" if label is None else ""
    return Cases(X, _targets(y, how), groups, source, f"column {label}" if label else "")


def _targets(y: NDArray[Any] | None, how: Reading) -> NDArray[Any] | None:
    if y is None or not how.regression:
        return y
    try:
        return y.astype(np.float64)
    except ValueError as error:
        raise RecordingError(f"--regression needs numeric labels: {error}.") from None
