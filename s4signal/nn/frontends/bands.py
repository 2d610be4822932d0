"""Bands of a filter bank: centre frequencies and bandwidths in Hz."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from s4signal.errors import check_choice

Scale = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]  # from Hz, and back


def space_bands(
    spacing: str, n_bands: int, lowest_hz: float, highest_hz: float, *, order: int = 4, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Space bands between two frequencies.

    The bandwidth is that of an auditory filter (``"erb"``), or the distance between neighbours, so that no gaps remain.

    Parameters
    ----------
    spacing : {"erb", "mel", "log", "linear", "random", "hippo"}
        Scale on which centres are evenly spaced. "mel" is the scale of HTK, 2595 log10(1 + f / 700 Hz), not librosa's
        default, Slaney's scale. "random" draws centres uniformly on the logarithmic scale, and bandwidths from 1/8 to 1
        of the centre. "hippo" is linear with half the bandwidth: with order=1, the bands have the poles of S4D-Lin,
        which store a window of ``1 / (2 * distance)`` seconds as a Fourier series.
    n_bands : int, >= 1
        Number of bands.
    lowest_hz, highest_hz : float, > 0
        Lowest and highest centre frequency.
    order : int, default=4
        Number of stages of the filters; more stages need a larger bandwidth of one stage for the same band.
    seed : int, default=0
        Seed for ``spacing="random"``.

    Returns
    -------
    frequencies_hz, bandwidths_hz : Tensor (n_bands,) of float64
        Centre frequencies in increasing order, and bandwidths of one stage.

    Raises
    ------
    ValueError
        If the spacing is unknown, or the frequencies are not positive and increasing.

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
    check_choice("spacing", spacing, SPACINGS)
    if not 0 < lowest_hz <= highest_hz < math.inf:
        raise ValueError(f"lowest_hz={lowest_hz:g} must be above 0 and at most highest_hz={highest_hz:g}, and finite.")
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
        auditory = spacing == "erb" or step == 0
        widths = 24.7 * (1.0 + 0.00437 * centres) if auditory else back(places + reach) - back(places - reach)
    # n stages of bandwidth b have the gain |H(f)|^2 = (1 + (f / b)^2)^-n at a distance f from the centre. The width of
    # the equivalent rectangle is the integral: ERB = b sqrt(pi) Gamma(n - 1/2) / Gamma(n)
    # = b pi (2n - 2)! 4^(1 - n) / ((n - 1)!)^2. For n = 4, ERB = b / 1.019 (Patterson et al.).
    unit_width = math.pi * math.factorial(2 * order - 2) * 4.0 ** (1 - order) / math.factorial(order - 1) ** 2
    return centres, widths / unit_width


def check_bands(frequencies_hz: Tensor, bandwidths_hz: Tensor, sfreq: float) -> None:
    """Raise ValueError if bands (n_bands,) are invalid at a sampling rate."""
    if frequencies_hz.ndim != 1 or frequencies_hz.shape != bandwidths_hz.shape or len(frequencies_hz) == 0:
        raise ValueError(
            "frequencies_hz and bandwidths_hz must both have shape (n_bands,), n_bands at least 1, got "
            f"{tuple(frequencies_hz.shape)} and {tuple(bandwidths_hz.shape)}."
        )
    lowest, highest = frequencies_hz.min().item(), frequencies_hz.max().item()
    if not 0 <= lowest <= highest < sfreq / 2:
        raise ValueError(
            f"bands lie at {lowest:g} to {highest:g} Hz; at a sampling rate of {sfreq:g} Hz they must be at least 0 Hz "
            f"and below the Nyquist frequency, {sfreq / 2:g} Hz. Choose other bands."
        )
    if not bandwidths_hz.min() > 0:
        raise ValueError(f"bandwidths_hz must be positive, the smallest is {bandwidths_hz.min().item():g} Hz.")


_LINEAR: Scale = (lambda hz: hz, lambda place: place)
_LOG: Scale = (torch.log, torch.exp)

SPACINGS: dict[str, Scale] = {
    "erb": (lambda hz: torch.log1p(0.00437 * hz), lambda place: torch.expm1(place) / 0.00437),
    # HTK: any multiple of this logarithm gives the same spacing.
    "mel": (lambda hz: torch.log1p(hz / 700.0), lambda place: 700.0 * torch.expm1(place)),
    "log": _LOG,
    "linear": _LINEAR,
    "random": _LOG,
    "hippo": _LINEAR,
}
