"""The next batch is loaded while one is computed on: in order, one at a time, and as it would be without."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from small_training import loss, make_network, options_for, tones

from s4signal.training import fit_network
from s4signal.training.loading import WORTH_S, LoadedAhead

__all__: list[str] = []


def test_the_next_one_is_loaded_meanwhile_and_no_other():
    begun = [threading.Event() for _ in range(3)]

    def load(indices):
        begun[indices[0]].set()
        return [(indices, None)]

    with LoadedAhead(load, (np.array([i]) for i in range(3)), worth_s=0.0) as ahead:
        for i in range(3):
            assert ahead(np.array([i]))[0][0] == i
            if i < 2:
                assert begun[i + 1].wait(60)
            assert [event.is_set() for event in begun[i + 2 :]] == [False] * len(begun[i + 2 :])


@pytest.mark.parametrize("worth_s", [0.0, np.inf])
def test_what_was_not_planned_is_loaded_too_and_never_two_at_once(worth_s):
    running, seen = threading.Lock(), []

    def load(indices):
        assert running.acquire(blocking=False)
        seen.append(indices.tolist())
        running.release()
        return [(indices, None)]

    with LoadedAhead(load, (np.arange(4 * i, 4 * i + 4) for i in range(3)), worth_s=worth_s) as ahead:
        for wanted in (np.arange(4), np.arange(4, 6), np.arange(6, 8), np.arange(8, 12)):
            assert np.array_equal(ahead(wanted)[0][0], wanted)
    ahead_of_time = [[4, 5, 6, 7]] if worth_s == 0.0 else []
    assert seen == [[0, 1, 2, 3], *ahead_of_time, [4, 5], [6, 7], [8, 9, 10, 11]]


def test_an_error_of_a_load_is_that_of_the_fit_and_no_thread_is_left():
    def load(index):
        if index == 7:
            raise OSError("clip7.wav is gone")
        time.sleep(WORTH_S)
        return cases.load(index)

    cases, network, n_threads = tones(), make_network(), threading.active_count()
    with pytest.raises(OSError, match=r"clip7\.wav is gone"):
        fit_network(network, replace(cases, load=load), loss=loss, options=options_for(network, batch_size=4))
    assert threading.active_count() == n_threads


def test_cases_that_take_long_to_load_are_loaded_beside_the_computation():
    threads, cases, network = [], tones(), make_network()

    def load(index):
        threads.append(threading.get_ident())
        time.sleep(WORTH_S)
        return cases.load(index)

    fit_network(network, replace(cases, load=load), loss=loss, options=options_for(network, batch_size=4, max_epochs=1))
    assert threads[:4] == [threading.get_ident()] * 4  # of the first batch, to see how long it takes
    assert len(set(threads[4:])) == 1
    assert threads[0] not in threads[4:]
