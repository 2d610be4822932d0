"""Marked stretches of a case."""

from dataclasses import dataclass, replace

__all__ = ["Annotation", "crop_annotations"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A marked stretch of a case.

    Parameters
    ----------
    onset_s : float
        Seconds after the first sample of the case.
    duration_s : float, at least 0
        Zero marks an instant.
    description : str
        What happened there.

    Examples
    --------
    >>> Annotation(1.5, 0.0, "stimulus/left").description
    'stimulus/left'
    """

    onset_s: float
    duration_s: float
    description: str


def crop_annotations(annotations: tuple[Annotation, ...], first_s: float, end_s: float) -> tuple[Annotation, ...]:
    """Keep what reaches into a stretch, counted from its first sample."""
    return tuple(
        replace(mark, onset_s=mark.onset_s - first_s)
        for mark in annotations
        if mark.onset_s < end_s and (mark.onset_s >= first_s or mark.onset_s + mark.duration_s > first_s)
    )
