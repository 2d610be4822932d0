"""The learned parts, for torch users: layers, the backbone and the network that the estimators train."""

from s4signal.nn.frontends.bands import SPACINGS, space_bands
from s4signal.nn.frontends.bank import S4FilterBank
from s4signal.nn.inference import fixed
from s4signal.nn.kernels import KERNELS
from s4signal.nn.layer import S4Layer
from s4signal.nn.network import S4Backbone, S4Network

__all__ = ["KERNELS", "SPACINGS", "S4Backbone", "S4FilterBank", "S4Layer", "S4Network", "fixed", "space_bands"]
