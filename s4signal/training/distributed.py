"""Distributed training: each process computes its share of each batch, and all end with the same network.

One all-reduce per step sums the gradients. torch's DistributedDataParallel does this by hooks on one forward and one
backward pass; here a step has several passes, or none in a process with an empty share, by any forward function.
"""

import atexit
import copy
import hashlib
import json
import multiprocessing
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.errors import DistributedError
from s4signal.training.batching import Cases
from s4signal.training.options import TrainingOptions

Answer = TypeVar("Answer")
Row = TypeVar("Row", bound=np.generic)
LONGEST_WAIT_S = 1800.0  # timeout for another process, as in torch; S4SIGNAL_TIMEOUT_S overrides it


class Ranks:
    """The processes of a training; this base class is for a single process."""

    rank, size = 0, 1

    def share(self, values: NDArray[Row]) -> NDArray[Row]:
        """Return this process's share of values that all processes hold."""
        return values

    def add_up(self, parameters: Sequence[nn.Parameter], total: Tensor) -> None:
        """Replace gradients and a total by their sums over all processes; a missing gradient counts as zero."""

    def from_first(self, make: Callable[[], Answer]) -> Answer:
        """Return the result of ``make`` in the first process, or raise its error; the others do not call it."""
        return make()

    def copy_first(self, module: nn.Module) -> None:
        """Copy the parameters and buffers of a module from the first process."""

    def score(self, cases: Cases, outputs: Callable[[Cases], Tensor]) -> Tensor:
        """Return the outputs (n, n_outputs) of cases, on the CPU; each case is computed by one process."""
        return outputs(cases)

    def spread(self, generator: torch.Generator, *seeds: int) -> None:
        """Seed a generator differently in each process."""

    def check_alike(self, parts: Callable[[], Mapping[str, str]]) -> None:
        """Raise DistributedError if a process has other inputs than the first; ``parts`` returns digests by name."""


class GroupRanks(Ranks):
    """Several processes, which communicate through a group of torch.distributed."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group: dist.ProcessGroup | None = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def share(self, values: NDArray[Row]) -> NDArray[Row]:
        """Return every ``size``-th value: if cases are sorted by length, shares have similar numbers of samples."""
        return values[self.rank :: self.size]

    def add_up(self, parameters: Sequence[nn.Parameter], total: Tensor) -> None:
        """Sum the gradients that any process has; a gradient that no process has stays None, as in one process."""
        # Communication between hosts, without synchronisation of the device.
        used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        with _explained():
            dist.all_reduce(used, dist.ReduceOp.MAX, group=self._group)
        sums = [total]
        for parameter, anywhere in zip(parameters, used.tolist(), strict=True):
            if anywhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                sums.append(parameter.grad)
        for dtype in dict.fromkeys(x.dtype for x in sums):
            self._add([x for x in sums if x.dtype == dtype])

    def _add(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([x.reshape(-1) for x in tensors])
        with _explained():
            dist.all_reduce(flat, group=self._group)
        for x, summed in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
            x.copy_(summed.view_as(x))

    def from_first(self, make: Callable[[], Answer]) -> Answer:
        """Call ``make`` in the first process only, and broadcast its result or its error."""
        box: list[Any] = [None, None]
        if self.rank == 0:
            try:
                box[0] = make()
            except Exception as error:
                box[1] = _sendable(error)
        with _explained():
            dist.broadcast_object_list(box, src=0, group=self._group, device=torch.device("cpu"))
        if box[1] is not None:
            raise box[1]
        return cast(Answer, box[0])

    def copy_first(self, module: nn.Module) -> None:
        """Broadcast a module in one message."""
        weights = self.from_first(lambda: {name: x.detach().cpu() for name, x in module.state_dict().items()})
        if self.rank:
            module.load_state_dict(weights)

    def score(self, cases: Cases, outputs: Callable[[Cases], Tensor]) -> Tensor:
        """Compute the cases in shares; if there are fewer cases than processes, each process computes all."""
        if len(cases) < self.size:
            return outputs(cases)
        own = self.share(np.argsort(cases.lengths, kind="stable"))
        scores = outputs(cases.take(own))
        all_scores = scores.new_zeros(len(cases), *scores.shape[1:])
        all_scores[torch.from_numpy(own)] = scores
        with _explained():
            dist.all_reduce(all_scores, group=self._group)
        return all_scores

    def spread(self, generator: torch.Generator, *seeds: int) -> None:
        """Seed a generator by the seeds and the rank, so that its state need not be stored per process."""
        state = np.random.SeedSequence([*seeds, self.rank]).generate_state(2)
        generator.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)

    def check_alike(self, parts: Callable[[], Mapping[str, str]]) -> None:
        """Compare the inputs of all processes with those of the first."""
        gathered: list[Any] = [None] * self.size
        with _explained():
            dist.all_gather_object(gathered, dict(parts()), group=self._group)
        for rank, own in enumerate(gathered):
            if other := [name for name in gathered[0] if own.get(name) != gathered[0][name]]:
                raise DistributedError(
                    f"rank {rank} was given other {' and '.join(other)} than rank 0. Pass the same X, y and parameters "
                    f"in each of the {self.size} processes: fit distributes the cases itself."
                )

    def close(self) -> None:
        """Close the group; a process that waits for this one fails immediately."""
        group, self._group = self._group, None
        if group is not None:
            dist.destroy_process_group(group)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes of a torchrun job, or of an initialised group; without either, use this process alone.

    The default group stays open for the next fit, until the process exits.
    """
    if world_size() == 1:
        yield Ranks()
        return
    if threading.current_thread() is not threading.main_thread():
        raise DistributedError(
            "distributed training fits one model after the other: fit in the main thread, with n_jobs=None."
        )
    if device.type not in ("cpu", "cuda"):
        raise DistributedError(f"distributed training is not supported on {device}; set device='cpu'.")
    backend, timeout = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timedelta(seconds=_longest_wait())
    with _explained():
        if not dist.is_initialized():
            from torch.distributed.rendezvous import rendezvous  # not on every platform

            store, rank, size = next(rendezvous("env://", timeout=timeout))
            store = dist.PrefixStore(_session(store, rank, size, timeout), store)  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
            atexit.register(_leave)
        ranks = GroupRanks(cast(dist.ProcessGroup, dist.new_group(backend=backend, timeout=timeout)))
    try:
        yield ranks
    finally:
        ranks.close()


def agreed(make: Callable[[], Answer], device: torch.device) -> Answer:
    """Return the result of the first process in all processes, for example a random seed, or raise its error."""
    with joined(device) as ranks:
        return ranks.from_first(make)


def digests(network: nn.Module, cases: Cases, options: TrainingOptions) -> dict[str, str]:
    """Return digests of network, cases and options by name, without device and folder, which may differ by machine."""
    data = hashlib.sha256(cases.lengths.tobytes() + cases.rates.tobytes() + cases.weights.tobytes())
    data.update(b"" if cases.targets is None else np.ascontiguousarray(cases.targets.cpu().numpy()).tobytes())
    plain = {k: v for k, v in vars(options).items() if k not in ("device", "checkpoint_dir") and not callable(v)}
    shapes = [(name, tuple(x.shape)) for name, x in network.state_dict().items()]
    return {"cases": data.hexdigest(), "options": json.dumps(plain, default=str), "networks": str(shapes)}


def is_first() -> bool:
    """Return whether this process is the first, which writes files and shows progress."""
    return world_size() == 1 or int(os.environ["RANK"] if not dist.is_initialized() else dist.get_rank()) == 0


def world_size() -> int:
    """Return the number of processes of a distributed training, from an initialised group or torchrun's variables.

    A worker of joblib or of a pool inherits these variables, but is not one of the processes.
    """
    process = multiprocessing.current_process()
    if not dist.is_available() or process.daemon or type(process).__name__ == "LokyProcess":
        return 1
    if dist.is_initialized():
        return dist.get_world_size()
    size = os.environ.get("WORLD_SIZE", "1")
    if "RANK" not in os.environ or size == "1":
        return 1
    absent = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if absent or not size.isdigit():
        raise DistributedError(
            f"RANK and WORLD_SIZE={size} are set for several processes, but {' and '.join(absent)} missing. Start the "
            "processes with torchrun, or unset RANK and WORLD_SIZE."
        )
    return int(size)


def _session(store: Any, rank: int, size: int, timeout: timedelta) -> str:
    """Agree on a name for this start of the job: after a restart, torchrun's store still has the old addresses.

    Each process publishes a random token, and waits for the reply to this token.
    """
    if rank:
        hello = secrets.token_hex(8)
        store.set(f"hello {rank}", hello)
        store.wait([f"answer {hello}"], timeout)
        session: str = store.get(f"answer {hello}").decode()
        store.set(f"{session} {rank}", "here")
        return session
    session, missing, end = secrets.token_hex(8), set(range(1, size)), time.monotonic() + timeout.total_seconds()
    while missing and time.monotonic() < end:
        for other in sorted(missing):
            if store.check([f"{session} {other}"]):
                missing.remove(other)
            elif store.check([f"hello {other}"]):
                store.set(f"answer {store.get(f'hello {other}').decode()}", session)
        time.sleep(0.02)
    return session


def _longest_wait() -> float:
    text = os.environ.get("S4SIGNAL_TIMEOUT_S", str(LONGEST_WAIT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e8:
        raise DistributedError(f"S4SIGNAL_TIMEOUT_S={text!r} must be a positive number of seconds.")
    return seconds


@contextmanager
def _explained() -> Iterator[None]:
    """Convert communication errors to a DistributedError with an explanation in one line."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("] ")[2] or str(error)
        raise DistributedError(
            "another process of this training has ended, or did not respond in time "
            f"({_longest_wait():g} s, S4SIGNAL_TIMEOUT_S): see its output. With checkpoint_dir, the same command "
            f"resumes from the last epoch. [{reason.splitlines()[0].split('. ')[0][:160]}]"
        ) from None


def _sendable(error: Exception) -> Exception:
    try:
        copy.deepcopy(error)  # uses the same protocol as pickling
    except Exception:
        return DistributedError(f"the first process stopped: {type(error).__name__}: {error}")
    return error


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
