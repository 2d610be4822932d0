"""The loop: pieces, weights, best epoch, optimizer, unchanged inputs and global state, early ends."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import loss, make_network, options_for, tones

from s4signal.errors import DivergenceError
from s4signal.nn import FilterBank, Frames, S4Network, StackOptions, space_bands
from s4signal.nn.frontends import FilterBankFrontend
from s4signal.nn.frontends.augmentation import BandDropout, BandShift
from s4signal.training import Cases, Samples, TrainingInterrupted, evaluate_network, fit_network
from s4signal.training.loop import _Training
from s4signal.training.options import adamw, cosine_with_warmup
from s4signal.training.step import RunningMean


def trained(cases, *, seed=0, dropout=0.0, **changes):
    network = make_network(seed=seed, dropout=dropout)
    result = fit_network(network, cases, loss=loss, options=options_for(network, **changes))
    return result.network, result


def assert_same_weights(one, other, atol):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=atol, msg=name)


def subset(cases, indices):
    return Cases(
        lambda i: cases.load(indices[i]),
        cases.lengths[indices],
        cases.rates[indices],
        cases.weights[indices],
        cases.targets[indices],
    )


def test_small_pieces_give_the_same_steps_as_one_piece():
    whole, result = trained(tones())
    pieces, other = trained(tones(), max_samples=130)
    assert_same_weights(whole, pieces, 1e-10)
    assert [line["loss"] for line in result.history] == pytest.approx([line["loss"] for line in other.history])


def test_weight_two_equals_the_case_twice():
    indices = [0, 0, *range(1, 12)]
    weighted, _ = trained(tones(weights=[2, *[1] * 11]))
    repeated, _ = trained(subset(tones(), indices))
    assert_same_weights(weighted, repeated, 1e-10)


def test_weight_zero_equals_leaving_the_case_out():
    weighted, _ = trained(tones(weights=[0, *[1] * 11]))
    without, _ = trained(subset(tones(), list(range(1, 12))))
    assert_same_weights(weighted, without, 1e-10)


def test_training_lowers_the_loss():
    started = time.perf_counter()
    _, result = trained(tones(), max_epochs=20, batch_size=4, learning_rate=0.05)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    assert sum(line["seconds"] for line in result.history) <= result.seconds <= time.perf_counter() - started
    assert [line["epoch"] for line in result.history] == list(range(1, 21))


def test_the_weights_of_the_best_epoch_are_restored():
    network = make_network()
    kept = {}

    def keep(line, scored):
        kept[line["epoch"]] = copy.deepcopy(scored.state_dict())
        return False

    # Validation targets are swapped: training makes them worse, so an early epoch is the best.
    validation = tones(seed=1)
    swapped = Cases(validation.load, validation.lengths, validation.rates, validation.weights, 1 - validation.targets)
    result = fit_network(
        network, tones(), loss=loss, options=options_for(network, max_epochs=6), validation=swapped, on_epoch=keep
    )
    losses = [line["validation_loss"] for line in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < 6
    for name, value in result.network.state_dict().items():
        assert torch.equal(value, kept[result.best_epoch][name])
    assert not any(module.training for module in result.network.modules())


def test_training_stops_after_epochs_without_a_better_validation_loss():
    network = make_network()
    validation = tones(seed=1)
    swapped = Cases(validation.load, validation.lengths, validation.rates, validation.weights, 1 - validation.targets)
    options = options_for(network, max_epochs=50, n_iter_no_change=2, learning_rate=0.05)
    result = fit_network(network, tones(), loss=loss, options=options, validation=swapped)
    assert len(result.history) == result.best_epoch + 2


def test_validation_loss_and_score_are_weighted():
    def score(outputs, targets, weights):
        return float((outputs[:, 0] * targets) @ weights)

    network, validation = make_network(), tones(5, weights=[1, 2, 0, 3, 1], seed=1)
    options = options_for(network, max_epochs=1)
    result = fit_network(network, tones(), loss=loss, options=options, validation=validation, score=score)
    outputs = evaluate_network(result.network, validation, options=options)
    expected = np.average(loss(outputs, validation.targets), weights=validation.weights)
    assert result.history[0]["validation_loss"] == pytest.approx(expected)
    expected = score(outputs, validation.targets, torch.from_numpy(validation.weights))
    assert result.history[0]["validation_score"] == pytest.approx(expected)


def test_the_last_epoch_is_kept_without_validation():
    _, result = trained(tones())
    assert result.best_epoch == 3
    assert result.history[0]["validation_loss"] is None


def test_training_stops_when_on_epoch_returns_true():
    network = make_network()
    options = options_for(network, max_epochs=9)
    result = fit_network(network, tones(), loss=loss, options=options, on_epoch=lambda line, scored: line["epoch"] == 2)
    assert len(result.history) == 2


def test_optimizer_state_restores_moments_but_not_learning_rates():
    network, first = trained(tones(), max_epochs=5)
    options = options_for(network, max_epochs=1, schedule=None, learning_rate=3e-3)
    second = fit_network(network, tones(), loss=loss, options=options, optimizer_state=first.optimizer_state)
    assert second.optimizer_state["param_groups"][0]["lr"] == 3e-3
    assert {int(state["step"]) for state in second.optimizer_state["state"].values()} == {6}


def test_the_same_seed_gives_identical_weights():
    one, _ = trained(tones(), dropout=0.3, batch_size=4)
    other, _ = trained(tones(), dropout=0.3, batch_size=4)
    assert_same_weights(one, other, 0.0)


def test_a_network_in_evaluation_mode_is_trained_like_others():
    networks = make_network(dropout=0.3), make_network(dropout=0.3).eval()
    one, other = (fit_network(net, tones(), loss=loss, options=options_for(net)).network for net in networks)
    assert_same_weights(one, other, 0.0)


def test_scores_are_in_the_order_of_the_cases():
    network = make_network()
    cases = tones(20)
    options = options_for(network, max_samples=30)
    together = evaluate_network(network, cases, options=options)
    alone = torch.cat([evaluate_network(network, subset(cases, [i]), options=options) for i in range(20)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_an_empty_collection_is_refused():
    network = make_network()
    with pytest.raises(ValueError, match="no cases or no targets"):
        evaluate_network(network, subset(tones(), []), options=options_for(network))


def optimizer_of(network):
    return adamw(network, options_for(network))


def test_parameter_groups_survive_deepcopy():
    network = make_network()
    names = {id(p): name for name, p in network.named_parameters()}
    copied = copy.deepcopy(network)
    names_of_copy = {id(p): name for name, p in copied.named_parameters()}
    for group, copied_group in zip(optimizer_of(network).param_groups, optimizer_of(copied).param_groups, strict=True):
        assert [names[id(p)] for p in group["params"]] == [names_of_copy[id(p)] for p in copied_group["params"]]
        assert (group["lr"], group["weight_decay"]) == (copied_group["lr"], copied_group["weight_decay"])


def test_only_matrices_decay_and_poles_have_a_smaller_learning_rate():
    network = make_network()
    matrices, rest, poles = optimizer_of(network).param_groups
    assert (matrices["lr"], matrices["weight_decay"]) == (1e-2, 0.05)
    assert (rest["lr"], rest["weight_decay"]) == (1e-2, 0.0)
    assert (poles["lr"], poles["weight_decay"]) == (1e-3, 0.0)
    by_name = dict(network.named_parameters())
    assert {id(p) for p in poles["params"]} == {
        id(by_name[f"blocks.0.layer.kernel.{name}"]) for name in ("log_dt", "log_decay", "frequency")
    }
    assert any(p is network.head.weight for p in matrices["params"])
    assert any(p is network.head.bias for p in rest["params"])
    assert sum(len(group["params"]) for group in (matrices, rest, poles)) == len(by_name)


def test_the_schedule_warms_up_and_decays_to_a_hundredth():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = cosine_with_warmup(optimizer, 100)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:10] == pytest.approx(np.arange(1, 11) * 0.2)
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[55] == pytest.approx(2.0 * 0.505)
    assert rates[100] == pytest.approx(0.02)


def test_the_result_has_the_running_mean_of_the_weights():
    cases = tones()
    steps = [trained(cases, max_epochs=n, schedule=None)[0] for n in (1, 2, 3, 4)]
    averaged, _ = trained(cases, max_epochs=4, schedule=None, averaging=0.6)
    kept = averaged.state_dict()
    for name in dict(averaged.named_parameters()):
        first, second, third, fourth = (step.state_dict()[name] for step in steps)
        mean = 0.6 * (0.6 * (first + second) / 2 + 0.4 * third) + 0.4 * fourth
        torch.testing.assert_close(kept[name], mean, rtol=0, atol=1e-12)


def test_the_running_mean_has_the_buffers_of_the_network():
    network = torch.nn.BatchNorm1d(2)
    mean = RunningMean(network, 0.9)
    network(torch.randn(5, 2) + 3.0)
    mean.follow()
    assert mean.module.running_mean.abs().min() > 0
    assert torch.equal(mean.module.running_mean, network.running_mean)


def test_validation_scores_the_running_mean():
    cases = tones()
    network = make_network()
    options, scored = options_for(network, max_epochs=4, averaging=0.9), []
    result = fit_network(
        network,
        cases,
        loss=loss,
        options=options,
        validation=cases,
        on_epoch=lambda line, net: scored.append(evaluate_network(net, cases, options=options)),
    )
    for line, outputs in zip(result.history, scored, strict=True):
        assert line["validation_loss"] == pytest.approx(float(loss(outputs, cases.targets).mean()))
    best = scored[result.best_epoch - 1]
    torch.testing.assert_close(evaluate_network(result.network, cases, options=options), best)


def test_inputs_and_global_state_are_unchanged():
    network = make_network(dropout=0.3).train()
    first = fit_network(network, tones(), loss=loss, options=options_for(network))
    weights, moments = copy.deepcopy(network.state_dict()), copy.deepcopy(first.optimizer_state)
    random = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    settings = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    options = options_for(network, batch_size=4)
    fit_network(network, tones(), loss=loss, options=options, validation=tones(), optimizer_state=first.optimizer_state)
    assert_same_weights_as(network, weights)
    for index, entry in moments["state"].items():
        assert all(torch.equal(first.optimizer_state["state"][index][key], value) for key, value in entry.items())
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.random.get_state()[1].tolist() == random[1]  # noqa: NPY002
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == settings
    assert network.training
    assert all(module.training for module in network.modules())


def assert_same_weights_as(network, weights):
    assert all(torch.equal(network.state_dict()[name], value) for name, value in weights.items())


def test_evaluation_keeps_the_mode_of_every_module():
    network = make_network().train()
    network.head.eval()
    before = [module.training for module in network.modules()]
    evaluate_network(network, tones(), options=options_for(network))
    assert [module.training for module in network.modules()] == before


def bands_network(*, learnable=False):
    """Return a network behind a filter bank, with augmentation and dropout."""
    torch.manual_seed(0)
    frequencies, bandwidths = space_bands("linear", 6, 0.02, 0.4)
    bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=1.0, hop_s=4.0, learnable=learnable)
    augmentations = [BandShift(), BandDropout()]
    front = FilterBankFrontend(2, 6, bank=bank, mean_subtraction="case", augmentations=augmentations)
    return S4Network(front, 2, options=StackOptions(d_model=6, n_layers=1, d_state=4, dropout=0.3)).double()


def test_fits_in_threads_equal_sequential_fits():
    network = bands_network()
    options = options_for(network, batch_size=4, averaging=0.9)

    def fit(seed):
        augmented = Cases(**{**vars(tones()), "augment": lambda i, chance: Samples(chance * tones().load(i).data)})
        return fit_network(network, augmented, loss=loss, options=replace(options, seed=seed)).network

    sequential = [fit(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(fit, range(4)))
    for one, other in zip(sequential, threaded, strict=True):
        assert_same_weights(one, other, 0.0)
    assert not torch.equal(threaded[0].head.weight, threaded[1].head.weight)


def from_features(network, batch, generator):
    return network.from_features(Frames(batch.x, batch.mask, batch.rate, batch.gaps), generator=generator)


@pytest.mark.parametrize("make", [make_network, bands_network])
def test_no_step_waits_for_the_device(make, monkeypatch):
    network, features = make(), np.random.default_rng(0).standard_normal((12, 12, 50))
    options = options_for(network, batch_size=4, averaging=0.9, forward=from_features)
    n_features = 12 if make is bands_network else 2
    cases = replace(tones(), load=lambda i: Samples(features[i, :n_features, : 50 - i]), lengths=50 - np.arange(12))
    training = _Training(network, cases, loss, options, None)
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__", "__index__", "__array__"):

        def refuse(*args, name=name):
            raise AssertionError(f"a step calls Tensor.{name}")

        monkeypatch.setattr(torch.Tensor, name, refuse)
    training.network.train()
    for pieces in ([np.arange(4)], [np.arange(4, 8), np.arange(8, 12)]):
        training._step(pieces)


def test_a_non_finite_loss_raises_with_epoch_batch_and_advice():
    network = make_network()
    calls = []

    def failing(outputs, targets):
        calls.append(1)
        return loss(outputs, targets) * (torch.nan if len(calls) == 5 else 1.0)

    with pytest.raises(
        DivergenceError, match=r"the loss is nan in batch 2 of 3 of epoch 2: .*Lower learning_rate \(now"
    ):
        fit_network(network, tones(), loss=failing, options=options_for(network, batch_size=4))


def test_a_non_finite_gradient_raises():
    network = make_network()

    def failing(outputs, targets):
        return (outputs[:, 0] - outputs[:, 0].detach()).abs().sqrt()  # zero, with an infinite slope

    with pytest.raises(DivergenceError, match="the norm of the gradient is nan in batch 1 of 1 of epoch 1"):
        fit_network(network, tones(), loss=failing, options=options_for(network))


def test_diverged_training_raises():
    with pytest.raises(DivergenceError, match=r"training has diverged. Lower learning_rate \(now 1e\+30\)"):
        trained(tones(), learning_rate=1e30, ssm_learning_rate=1e30, max_epochs=20, schedule=None)


def interrupted(in_epoch, **changes):
    """Interrupt a fit within an epoch; return the exception."""
    network, calls = make_network(dropout=0.3), []

    def pressed(outputs, targets):
        calls.append(1)
        if len(calls) == 3 * in_epoch:
            raise KeyboardInterrupt("pressed")
        return loss(outputs, targets)

    options = options_for(network, batch_size=4, max_epochs=9, schedule=None, **changes)
    with pytest.raises(KeyboardInterrupt, match="pressed") as caught:
        fit_network(network, tones(), loss=pressed, options=options)
    return caught.value


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_an_interrupt_carries_the_result_of_the_epochs_before_it(averaging):
    result = interrupted(in_epoch=3, averaging=averaging).result
    expected, _ = trained(tones(), dropout=0.3, batch_size=4, max_epochs=2, schedule=None, averaging=averaging)
    assert_same_weights(result.network, expected, 0.0)
    assert [line["epoch"] for line in result.history] == [1, 2]
    assert result.best_epoch == 2
    assert not result.network.training


def test_an_interrupt_in_the_first_epoch_carries_no_result():
    assert not isinstance(interrupted(in_epoch=1), TrainingInterrupted)


def test_cases_are_augmented_only_in_training():
    chances = []

    def augment(index, chance):
        chances.append(chance)
        return tones().load(index)

    cases = Cases(**{**vars(tones()), "augment": augment})
    network = make_network()
    evaluate_network(network, cases, options=options_for(network))
    assert chances == []
    fit_network(network, cases, loss=loss, options=options_for(network, max_epochs=4))
    assert len(chances) == 4 * 12
    assert 0 <= min(chances) < 0.3
    assert 0.7 < max(chances) < 1
