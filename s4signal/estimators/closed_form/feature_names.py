"""Names of the features of frozen oscillators, in Hz and seconds."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.features.feature_map import FeatureMap
from s4signal.random_features.contrast import NARROW_BANDS


def feature_names(features: FeatureMap, channels: Sequence[str]) -> NDArray[np.object_]:
    """Return a unique name for every feature, in column order (n_features,)."""
    bank = features.oscillators
    frequency, time = ("cycles/sample", "samples") if features.sfreq is None else ("Hz", "s")
    oscillators = [
        f"{f:.4g} {frequency}, {tau:.4g} {time}"
        for f, tau in zip(features.frequencies, features.time_constants, strict=True)
    ]
    F = len(bank.hops)
    windows = ["whole", *(f"part {i + 1} of {bank.n_windows}" for i in range(bank.n_windows))]
    outputs = [
        f"{oscillator}, {_spatial_filter(weights, channels)}"
        for oscillator, filters in zip(oscillators[:F], bank.spatial_filters.numpy(), strict=True)
        for weights in filters
    ]
    parts = [f"{part}, {output}" for output in outputs for part in ("cos", "sin")]
    segmented = np.repeat(bank.has_segment_means.numpy(), 2 * bank.spatial_filters.shape[1])
    names = [f"mean of {part}, whole" for part in parts]
    names += [f"mean of {part}, {w}" for part, slow in zip(parts, segmented, strict=True) if slow for w in windows[1:]]
    quantiles = bank.quantiles.flatten().tolist()
    names += [f"PPV at {q:+.2g} SD of {p}, {w}" for p, q in zip(parts, quantiles, strict=True) for w in windows]
    names += _combinations(features, outputs)
    names += _energies(features, oscillators, channels, windows)
    names += [] if features.summaries is None else features.summaries.names(list(channels))
    return np.array(_unique(names), dtype=object)


def add_by_oscillator(features: FeatureMap, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sum values of features (n_features,) by oscillator; members of a combination share its values equally."""
    owners, members, sizes = features.owners, features.members, features.sizes
    start = sizes["means"] + sizes["ppv"]
    combinations = slice(start, start + sizes["combinations"])
    shared, owners[combinations] = values[combinations], -1
    owned = owners >= 0
    sums = np.bincount(owners[owned], values[owned], minlength=len(features.frequencies))
    np.add.at(sums, members, shared.reshape(len(members), -1).sum(1, keepdims=True) / members.shape[1])
    return np.asarray(sums, dtype=np.float64)


def _combinations(features: FeatureMap, outputs: Sequence[str]) -> list[str]:
    combinations = features.oscillators.combinations
    if combinations is None:
        return []
    sums = [" + ".join(f"({outputs[i]})" for i in members) for members in combinations.members.tolist()]
    return [
        f"PPV at {quantile:+.2g} SD of sum {k + 1} of {name}, whole"
        for name, rows in zip(sums, combinations.quantiles.tolist(), strict=True)
        for k, row in enumerate(rows)
        for quantile in row
    ]


def _energies(
    features: FeatureMap, oscillators: Sequence[str], channels: Sequence[str], windows: Sequence[str]
) -> list[str]:
    bank = features.oscillators
    if len(channels) == 1:
        return [
            f"log energy, {oscillator}, {channels[0]}, {window}" for oscillator in oscillators for window in windows
        ]
    K, F = len(bank.components), len(bank.hops)
    components = channels if len(channels) == K else [f"component {k + 1}" for k in range(K)]
    pairs = [f"{components[i]} x {components[k]}, whole" for i in range(K) for k in range(i, K)]
    n_bands, contrast = len(features.contrasts[NARROW_BANDS].hops), "log covariance relative to neighbouring bands"
    owners = [oscillators[k] for k in np.flatnonzero(bank.has_covariance.numpy()).tolist()]
    names = [f"log covariance, {oscillator}, {pair}" for oscillator in owners for pair in pairs]
    names += [f"{contrast}, {band}, {pair}" for band in oscillators[F : F + n_bands] for pair in pairs]
    return names + [f"power relative to neighbouring lines, {line}, whole" for line in oscillators[F + n_bands :]]


def _spatial_filter(weights: NDArray[np.floating], channels: Sequence[str]) -> str:
    if len(channels) == 1:
        return channels[0]
    return "".join(f"{weights[i]:+.2g}*{channels[i]}" for i in np.flatnonzero(weights).tolist())


def _unique(names: Sequence[str]) -> list[str]:
    """Number the names that rounding made identical."""
    counts, seen, unique = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        unique.append(name if counts[name] == 1 else f"{name} ({seen[name]})")
    return unique
