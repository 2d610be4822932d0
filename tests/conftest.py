"""Fixtures of all tests: fixed seeds, one thread, and the folder of recorded data if there is one."""

import gc
import os
import random
import sys
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for numpy and programs that tests start: one worker per core

import numpy as np
import pytest
import torch

__all__: list[str] = []

sys.path.insert(0, str(Path(__file__).parent))  # makes scripts.py importable
# Figures are drawn to memory: a machine without a screen runs the same tests.
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with slow files, so that none runs them at the end while the others are idle."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))  # each takes the same number of items, in order
    slow, others = ([i for i in items if bool(i.get_closest_marker("slow")) == is_slow] for is_slow in (True, False))
    files, rest, size = list(dict.fromkeys(item.path for item in slow)), iter(others), len(items) // workers
    shares = [[item for item in slow if files.index(item.path) % workers == worker] for worker in range(workers)]
    items[:] = [item for share in shares for item in (*share, *islice(rest, max(0, size - len(share))))]
    items += rest


def pytest_collection_finish() -> None:
    """Exclude modules and tests from garbage collection: half a million objects, which stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sum in one order, so that results do not depend on the number of cores or OMP_NUM_THREADS."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same global random state, whichever tests ran before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the libraries under test draw from the global state
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with the same seed in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of recorded data, or skip the test that needs it."""
    folder = Path(os.environ.get("S4SIGNAL_DATA", ""))
    if not os.environ.get("S4SIGNAL_DATA") or not folder.is_dir():
        pytest.skip("needs recorded data: set S4SIGNAL_DATA to the folder that holds it")
    return folder
