"""Learned modules for torch users: layers, the backbone and the network that the estimators train."""

from s4signal.nn.backbone import S4Backbone, StackOptions
from s4signal.nn.frontends import FRONTENDS, Frames
from s4signal.nn.frontends.bands import space_bands
from s4signal.nn.frontends.bank import FilterBank
from s4signal.nn.inference import for_inference
from s4signal.nn.kernels import KERNELS, Kernel
from s4signal.nn.layer import S4Layer
from s4signal.nn.network import S4Network

__all__ = [
    "FRONTENDS",
    "KERNELS",
    "FilterBank",
    "Frames",
    "Kernel",
    "S4Backbone",
    "S4Layer",
    "S4Network",
    "StackOptions",
    "for_inference",
    "space_bands",
]
