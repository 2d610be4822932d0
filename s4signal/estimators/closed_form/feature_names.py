"""Names of the features of frozen oscillators, in Hz and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s4signal.random_features.combinations import Chords

if TYPE_CHECKING:
    from s4signal.estimators.closed_form.transformer import S4RandomFeatures

__all__ = ["add_by_oscillator", "feature_names", "feature_owners"]


def feature_names(features: S4RandomFeatures, input_features: Any = None) -> NDArray[np.object_]:
    """Name every feature, in the order of the columns.

    Shape: (n_features,).
    """
    names = _channel_names(features, input_features)
    statistics = features.statistics_
    known = features.sfreq_ is not None
    oscillators = [
        f"{f:.4g} {'Hz' if known else 'cycles/sample'}, {d:.4g} {'s' if known else 'samples'}"
        for f, d in zip(features.frequencies_, features.decays_, strict=True)
    ]
    drawn, narrow = oscillators[: len(statistics.hops)], oscillators[len(statistics.hops) :]
    mixes = [[_mix(row, names) for row in rows] for rows in statistics.mixes.numpy()]
    n_windows = statistics.n_windows
    windows = ["whole", *(f"part {i + 1} of {n_windows}" for i in range(n_windows))]
    waves = [
        (f"{part}, {oscillator}, {mix}", levels[j, p])
        for oscillator, row, levels in zip(drawn, mixes, statistics.levels.numpy(), strict=True)
        for j, mix in enumerate(row)
        for p, part in enumerate(("cos", "sin"))
    ]
    means = [f"mean of {wave}, whole" for wave, _ in waves]
    slow = np.repeat(statistics.slow.numpy(), 2 * statistics.mixes.shape[1])
    means += [
        f"mean of {wave}, {part}" for (wave, _), there in zip(waves, slow, strict=True) if there for part in windows[1:]
    ]
    shares = [f"share above {level:+.2g} SD of {wave}, {window}" for wave, level in waves for window in windows]
    if len(names) == 1:
        energies = [
            f"log energy, {oscillator}, {names[0]}, {window}" for oscillator in oscillators for window in windows
        ]
    else:
        K = len(statistics.projection)
        components = names if len(names) == K else [f"component {k + 1}" for k in range(K)]
        pairs = [f"{components[i]} x {components[k]}" for i in range(K) for k in range(i, K)]
        weighed = [oscillator for oscillator, there in zip(drawn, statistics.weighed, strict=True) if there]
        energies = [f"log covariance, {oscillator}, {pair}, whole" for oscillator in weighed for pair in pairs]
        energies += [
            f"log covariance within narrow band beside its neighbours, {oscillator}, {pair}, whole"
            for oscillator in narrow
            for pair in pairs
        ]
    levels = [] if features._levels is None else features._levels.names(names)
    chords = _chords(
        [f"{oscillator}, {mix}" for oscillator, row in zip(drawn, mixes, strict=True) for mix in row], statistics.chords
    )
    return np.array([*means, *shares, *chords, *energies, *levels], dtype=object)


def feature_owners(features: S4RandomFeatures) -> NDArray[np.intp]:
    """Say which oscillator every feature is of, in the order of the columns.

    Shape: (n_features,).
    """
    statistics, bands = features.statistics_, features._bands
    every = np.arange(len(statistics.hops))
    narrow = len(every) + np.arange(0 if bands is None else len(bands.hops))
    slow, weighed = every[statistics.slow.numpy()], every[statistics.weighed.numpy()]
    means, *others = features._sizes
    J = statistics.mixes.shape[1]
    course = 2 * J * statistics.n_windows * len(slow)
    # A chord is heard where the highest of its notes is.
    notes = _notes(features)
    highest = np.take_along_axis(notes, features.frequencies_[notes].argmax(1)[:, None], 1)[:, 0]
    owners = (every, slow, every, highest, weighed, narrow, np.array([-1]))
    sizes = (means - course, course, *others)
    return np.concatenate([np.repeat(o, size // max(1, len(o))) for o, size in zip(owners, sizes, strict=True)])


def add_by_oscillator(features: S4RandomFeatures, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Add up what features hold, by oscillator; what a chord holds is shared out to its notes.

    Shapes: values (n_features,) → (n_oscillators,).
    """
    owners, notes = feature_owners(features), _notes(features)
    means, shares, of_chords = features._sizes[:3]
    chords = slice(means + shares, means + shares + of_chords)
    held, owners[chords] = values[chords], -1
    counted = owners >= 0
    sums = np.bincount(owners[counted], values[counted], minlength=len(features.frequencies_))
    np.add.at(sums, notes, held.reshape(len(notes), -1).sum(1, keepdims=True) / notes.shape[1])
    return np.asarray(sums, dtype=np.float64)


def _notes(features: S4RandomFeatures) -> NDArray[np.intp]:
    """Return the numbers of the oscillators in each chord, (Q, k); none in a damaged file."""
    chords, J = features.statistics_.chords, features.statistics_.mixes.shape[1]
    return np.empty((0, 1), dtype=np.intp) if chords is None else np.asarray(chords.notes.numpy() // J, dtype=np.intp)


def _chords(outputs: Sequence[str], chords: Chords | None) -> list[str]:
    if chords is None:
        return []
    names = [" + ".join(f"({outputs[i]})" for i in notes) for notes in chords.notes.tolist()]
    return [
        f"share above {level:+.2g} SD of sum {s + 1} of {name}, whole"
        for name, sums in zip(names, chords.levels.numpy(), strict=True)
        for s, row in enumerate(sums)
        for level in row
    ]


def _channel_names(features: S4RandomFeatures, input_features: Any) -> list[str]:
    C = features.n_channels_in_
    if input_features is not None and len(input_features) == C:
        return [str(name) for name in input_features]
    if input_features is not None and len(input_features) != features.n_features_in_:
        raise ValueError(f"input_features should have length equal to the number of channels {C}.")
    return features.ch_names_ or [f"ch{i}" for i in range(C)]


def _mix(weights: NDArray[np.floating], names: Sequence[str]) -> str:
    used = np.flatnonzero(weights).tolist()
    if len(names) == 1:
        return names[0]
    return "".join(f"{weights[i]:+.2g}*{names[i]}" for i in used)
