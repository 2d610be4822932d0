"""The next batch is loaded during the computation: in order, one at a time, with the same result."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from small_training import loss, make_network, options_for, tones

from s4signal.training import fit_network
from s4signal.training.loading import WORTH_S, LoadedAhead

__all__: list[str] = []


def test_only_the_next_batch_is_loaded_ahead():
    started = [threading.Event() for _ in range(3)]

    def load(indices):
        started[indices[0]].set()
        return [(indices, None)]

    with LoadedAhead(load, (np.array([i]) for i in range(3)), worth_s=0.0) as ahead:
        for i in range(3):
            assert ahead(np.array([i]))[0][0] == i
            if i < 2:
                assert started[i + 1].wait(60)
            assert [event.is_set() for event in started[i + 2 :]] == [False] * len(started[i + 2 :])


@pytest.mark.parametrize("worth_s", [0.0, np.inf])
def test_unplanned_batches_are_loaded_and_only_one_at_a_time(worth_s):
    running, seen = threading.Lock(), []

    def load(indices):
        assert running.acquire(blocking=False)
        seen.append(indices.tolist())
        running.release()
        return [(indices, None)]

    with LoadedAhead(load, (np.arange(4 * i, 4 * i + 4) for i in range(3)), worth_s=worth_s) as ahead:
        for requested in (np.arange(4), np.arange(4, 6), np.arange(6, 8), np.arange(8, 12)):
            assert np.array_equal(ahead(requested)[0][0], requested)
    ahead_of_time = [[4, 5, 6, 7]] if worth_s == 0.0 else []
    assert seen == [[0, 1, 2, 3], *ahead_of_time, [4, 5], [6, 7], [8, 9, 10, 11]]


def test_fit_raises_errors_of_loading_and_leaves_no_thread():
    def load(index):
        if index == 7:
            raise OSError("clip7.wav is gone")
        time.sleep(WORTH_S)
        return cases.load(index)

    cases, network, n_threads = tones(), make_network(), threading.active_count()
    with pytest.raises(OSError, match=r"clip7\.wav is gone"):
        fit_network(network, replace(cases, load=load), loss=loss, options=options_for(network, batch_size=4))
    assert threading.active_count() == n_threads


def test_slow_cases_are_loaded_in_a_second_thread():
    threads, cases, network = [], tones(), make_network()

    def load(index):
        threads.append(threading.get_ident())
        time.sleep(WORTH_S)
        return cases.load(index)

    fit_network(network, replace(cases, load=load), loss=loss, options=options_for(network, batch_size=4, max_epochs=1))
    assert threads[:4] == [threading.get_ident()] * 4  # the first batch, to measure its time
    assert len(set(threads[4:])) == 1
    assert threads[0] not in threads[4:]
