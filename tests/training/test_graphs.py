"""A replayed gradient equals the computed one; the recorder for CUDA graphs itself needs a GPU: `make gpu`."""

import numpy as np
import pytest
import torch
from small_training import loss, make_network, options_for, tones

from s4signal.training import fit_network, loop
from s4signal.training.step import EAGER, MOST, Graphs

__all__: list[str] = []


def recorder(counts):
    """Replay as a GPU does: read and write the same memory, and change nothing else."""

    def record(parameters, run):
        counts["recorded"] += 1
        result = run()
        gradients = [p.grad for p in parameters]

        def replay():
            counts["replayed"] += 1
            for p in parameters:
                p.grad = None
            result.copy_(run())
            for p, stored in zip(parameters, gradients, strict=True):
                stored.copy_(p.grad)
                p.grad = torch.full_like(p, torch.nan)  # a caller that ignores the recorded gradient gets NaN

        return replay, result

    return record


@pytest.fixture
def graphs(monkeypatch):
    """Make a training on the CPU replay."""
    counts, own = {"recorded": 0, "replayed": 0}, loop.Gradients

    def gradients(network, **options):
        made = own(network, **options)
        parameters = [p for p in network.parameters() if p.requires_grad]
        made._one_pass = Graphs(made._add, parameters, lambda run: recorder(counts)(parameters, run))
        return made

    return counts, lambda: monkeypatch.setattr(loop, "Gradients", gradients)


@pytest.mark.parametrize("low", [30, 20], ids=["one length", "many lengths"])
def test_training_with_graphs_equals_training_without(graphs, low):
    counts, use = graphs
    network = make_network()
    cases = tones(22, weights=np.random.default_rng(0).uniform(0.5, 2.0, 22), low=low, high=31)
    options = options_for(network, batch_size=4, max_epochs=8)
    plain = fit_network(network, cases, loss=loss, options=options, validation=cases)
    use()
    replayed = fit_network(network, cases, loss=loss, options=options, validation=cases)
    assert counts["recorded"] == (2 if low == 30 else counts["recorded"]) > 0  # for 4 cases, and for the last 2
    assert counts["replayed"] == 8 * 6 - 2 * EAGER if low == 30 else counts["replayed"] > 10
    for one, other in zip(plain.history, replayed.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(replayed.network.state_dict()[name], value, rtol=0, atol=0)


def test_steps_of_several_passes_use_no_graphs(graphs):
    network, cases = make_network(), tones(12, low=30, high=31)
    options = options_for(network, batch_size=6, max_epochs=6, max_samples=4 * 30)
    plain = fit_network(network, cases, loss=loss, options=options)
    graphs[1]()
    assert fit_network(network, cases, loss=loss, options=options).history[-1]["loss"] == plain.history[-1]["loss"]
    assert graphs[0]["recorded"] == 0


def test_the_number_of_graphs_is_bounded(graphs):
    network, cases = make_network(), tones(3 * (MOST + 4), low=20, high=21)
    lengths = np.repeat(np.arange(20, 24 + MOST), 3)
    cases = type(cases).of([np.ones((2, n)) for n in lengths], torch.arange(len(lengths)) % 2)
    graphs[1]()
    options = options_for(network, batch_size=3, max_epochs=EAGER + 2)
    options = type(options)(**{**vars(options), "sampler": lambda cases, rng: np.arange(len(cases)).reshape(-1, 3)})
    fit_network(network, cases, loss=loss, options=options)
    assert graphs[0] == {"recorded": MOST, "replayed": 2 * MOST}


def test_a_step_that_cannot_be_recorded_is_computed_with_a_warning(monkeypatch):
    def record(run):
        run()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    network, cases = make_network(), tones(12, low=30, high=31)
    options = options_for(network, batch_size=4, max_epochs=4)
    plain, own = fit_network(network, cases, loss=loss, options=options), loop.Gradients

    def gradients(network, **how):
        made = own(network, **how)
        made._one_pass = Graphs(made._add, [p for p in network.parameters() if p.requires_grad], record)
        return made

    monkeypatch.setattr(loop, "Gradients", gradients)
    with pytest.warns(UserWarning, match="could not be recorded as a CUDA graph .CUDA error: operation") as caught:
        replayed = fit_network(network, cases, loss=loss, options=options)
    assert len(caught) == 1
    assert [line["loss"] for line in replayed.history] == [line["loss"] for line in plain.history]
