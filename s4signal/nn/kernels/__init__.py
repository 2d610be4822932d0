"""Kernels: learnable systems in continuous time. A new one is a file here and a line in ``KERNELS``."""

from s4signal.nn.kernels.s4d import S4DKernel

__all__ = ["KERNELS", "S4DKernel"]

KERNELS = {"s4d": S4DKernel}
