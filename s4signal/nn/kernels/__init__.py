"""Kernels: learnable systems in continuous time. To add one, add a file here and a line in ``KERNELS``."""

from s4signal.nn.kernels.base import Kernel
from s4signal.nn.kernels.lssl import LSSLKernel
from s4signal.nn.kernels.s4 import S4Kernel
from s4signal.nn.kernels.s4d import S4DKernel
from s4signal.nn.kernels.s5 import S5Kernel

__all__ = ["KERNELS", "Kernel", "LSSLKernel", "S4DKernel", "S4Kernel", "S5Kernel"]

KERNELS: dict[str, type[Kernel]] = {"s4d": S4DKernel, "s4": S4Kernel, "lssl": LSSLKernel, "s5": S5Kernel}
