"""Front ends: from samples to the frames that the blocks process. To add one, add a file and a line in the table."""

from s4signal.nn.frontends.band_power import BandPowerFrontend
from s4signal.nn.frontends.base import Frames, Frontend
from s4signal.nn.frontends.filter_bank import FilterBankFrontend
from s4signal.nn.frontends.hop_means import HopMeansFrontend
from s4signal.nn.frontends.linear import LinearFrontend
from s4signal.nn.frontends.module import ModuleFrontend

__all__ = [
    "FRONTENDS",
    "BandPowerFrontend",
    "FilterBankFrontend",
    "Frames",
    "Frontend",
    "HopMeansFrontend",
    "LinearFrontend",
    "ModuleFrontend",
]

FRONTENDS: dict[str, type[Frontend]] = {
    "linear": LinearFrontend,
    "hop_means": HopMeansFrontend,
    "band_power": BandPowerFrontend,
    "filterbank": FilterBankFrontend,
    "module": ModuleFrontend,
}
