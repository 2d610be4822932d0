"""Count tensor operations: for a small step, this is more reliable than seconds on a busy machine."""

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Calls"]


class Calls(TorchDispatchMode):
    """Count calls of tensor operations, including views, within a ``with`` statement: ``n``."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += 1
        return function(*args, **(kwargs or {}))
