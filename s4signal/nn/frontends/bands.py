"""Where the bands of a filter bank lie: centre frequencies and widths in Hz."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SPACINGS", "space_bands"]

Scale = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]  # from Hz, and back


def space_bands(
    spacing: str, n_bands: int, lowest_hz: float, highest_hz: float, *, order: int = 4, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Space bands between two frequencies.

    A band is as wide as the ear's (``"erb"``), or as the distance to its neighbours, so that none is left out.

    Parameters
    ----------
    spacing : {"erb", "mel", "log", "linear", "random", "hippo"}
        Scale on which centres are evenly spaced; "random" draws them evenly from the logarithmic scale, with widths
        from an eighth of the centre to the whole. "hippo" is linear with bands of half the width: of order 1 they have
        the poles of S4D-Lin, which remember a window of ``1 / (2 * distance)`` seconds in its Fourier series; between
        two neighbours they are less sensitive.
    n_bands : int, >= 1
        Bands.
    lowest_hz, highest_hz : float, > 0
        Lowest and highest centre frequency.
    order : int, default=4
        Stages of the filters: the bandwidth of a stage is larger, the more of them follow each other.
    seed : int, default=0
        Of the random bands.

    Returns
    -------
    frequencies_hz, bandwidths_hz : Tensor (n_bands,) of float64
        Centre frequencies in rising order, and bandwidths of one stage.

    Raises
    ------
    ValueError
        If the spacing is unknown, or the frequencies are not positive and rising.

    References
    ----------
    Glasberg, Moore, "Derivation of auditory filter shapes from notched-noise data", Hearing Research 47, 1990,
    doi:10.1016/0378-5955(90)90170-T. Patterson, Holdsworth, Nimmo-Smith, Rice, "An efficient auditory filterbank based
    on the gammatone function", APU report 2341, 1988: the bandwidth of a gammatone. Gu, Goel, Gupta, Ré, "On the
    Parameterization and Initialization of Diagonal State Space Models", 2022, doi:10.48550/arXiv.2206.11893: S4D-Lin.

    Examples
    --------
    >>> frequencies_hz, bandwidths_hz = space_bands("linear", 3, 10.0, 30.0)
    >>> frequencies_hz.tolist()
    [10.0, 20.0, 30.0]
    """
    if spacing not in SPACINGS:
        raise ValueError(f"spacing={spacing!r} is unknown; choose one of {', '.join(map(repr, SPACINGS))}.")
    if not 0 < lowest_hz <= highest_hz < math.inf:
        raise ValueError(f"bands must rise from above 0 Hz, got lowest_hz={lowest_hz:g} and highest_hz={highest_hz:g}.")
    forward, back = SPACINGS[spacing]
    low, high = forward(torch.tensor([lowest_hz, highest_hz], dtype=torch.float64)).tolist()
    if spacing == "random":
        generator = torch.Generator().manual_seed(seed)
        places, octaves = torch.rand(2, n_bands, generator=generator, dtype=torch.float64)
        centres = back(low + places.sort().values * (high - low))
        widths = centres * 2.0 ** (-3.0 * octaves)
    else:
        step = (high - low) / max(1, n_bands - 1)
        reach = step / 4 if spacing == "hippo" else step / 2
        places = torch.linspace(low, high, n_bands, dtype=torch.float64)
        centres = back(places)
        widths = _ear_width(centres) if spacing == "erb" or step == 0 else back(places + reach) - back(places - reach)
    return centres, widths / _width_of_unit(order)


def _ear_width(frequencies_hz: Tensor) -> Tensor:
    """Equivalent rectangular bandwidth of the ear, in Hz."""
    return 24.7 * (1.0 + 0.00437 * frequencies_hz)


def _width_of_unit(order: int) -> float:
    """Equivalent rectangular bandwidth of a cascade whose stages have bandwidth one."""
    half = math.factorial(2 * order - 2) / math.factorial(order - 1) ** 2
    return math.pi * half * 4.0 ** (1 - order)


_LINEAR: Scale = (lambda hz: hz, lambda place: place)
_LOG: Scale = (torch.log, torch.exp)

SPACINGS: dict[str, Scale] = {
    "erb": (lambda hz: torch.log1p(0.00437 * hz), lambda place: torch.expm1(place) / 0.00437),
    "mel": (lambda hz: torch.log1p(hz / 700.0), lambda place: 700.0 * torch.expm1(place)),
    "log": _LOG,
    "linear": _LINEAR,
    "random": _LOG,
    "hippo": _LINEAR,
}
