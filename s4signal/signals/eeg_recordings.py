"""EEG recordings that were read together, and a word on what was done and left out."""

from collections.abc import Iterable, Sequence

from s4signal.signals.audio_file import Skipped
from s4signal.signals.collection import Signals
from s4signal.signals.lazy import Case


class EegRecordings(Signals):
    """`Signals` of several EEG recordings of one montage, as `read_eeg` gives them; printed, they say what was done.

    What is known of each recording stands in `metadata`: subject, session, task and run, where names, headers or the
    data set say them. A part of it, and what is made of it, are `Signals`.

    Parameters
    ----------
    cases : iterable of Case
        A case per recording.
    skipped : sequence of (path, reason)
        What was left out, and why.
    changes : sequence of str
        What was done so that all have the same channels.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from s4signal import read_eeg
    >>> info = mne.create_info(["Oz", "O1"], sfreq=250.0, ch_types="eeg")
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("anna_1", "anna_2", "ben_1"):
    ...         raw = mne.io.RawArray(np.zeros((2, 500)), info, verbose="error")
    ...         raw.save(f"{folder}/{name}_raw.fif", verbose="error")
    ...     recordings = read_eeg(folder, pattern="{subject}_{session}_raw.fif")
    [...]
    >>> recordings
    Signals: 3 cases × 2 channels, 500 samples, 250 Hz (2 s)
    3 recordings of 2 subjects
    >>> recordings.metadata["session"], recordings.groups
    (array(['1', '2', '1'], dtype='<U1'), array(['anna', 'anna', 'ben'], dtype='<U4'))
    >>> recordings.skipped, recordings.changes
    ((), ())
    """

    def __init__(self, cases: Iterable[Case], *, skipped: Sequence[Skipped] = (), changes: Sequence[str] = ()) -> None:
        super().__init__(list(cases))
        self.skipped, self.changes = tuple(skipped), tuple(changes)

    @classmethod
    def from_cases(cls, cases: Iterable[Case]) -> Signals:  # type: ignore[override]  # a part says nothing of files
        """Collect cases as `Signals`: what was done and left out is said of the whole.

        Parameters
        ----------
        cases : iterable of Case
            `Signal` objects or lazy cases; may be empty.
        """
        return Signals.from_cases(cases)

    def __repr__(self) -> str:
        """Say what is held, of whom, what was done, and what was left out."""
        lines = [super().__repr__()]
        subjects = self.metadata.get("subject")
        if subjects is not None:
            n = len(set(subjects.tolist()) - {None})
            lines.append(f"{len(self)} recordings of {n} subject{'s' * (n != 1)}")
        lines += self.changes
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped)}, the first: {self.skipped[0].reason}")
        return "\n".join(lines)
