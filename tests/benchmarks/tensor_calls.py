"""A count of tensor operations, which says more of a small step than seconds on a busy machine."""

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Calls"]


class Calls(TorchDispatchMode):
    """Counts calls of tensor operations, views among them, within a ``with`` statement: ``n``."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += 1
        return function(*args, **(kwargs or {}))
