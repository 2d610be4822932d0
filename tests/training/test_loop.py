"""The loop: pieces, weights, the best epoch and the optimizer."""

import copy

import numpy as np
import pytest
import torch
from small_training import loss, make_network, options_for, tones

from s4signal.nn.backbone import state_space_parameters
from s4signal.training import Cases, evaluate_network, fit_network
from s4signal.training.optimizer import build_optimizer, cosine_with_warmup


def trained(cases, *, seed=0, dropout=0.0, **changes):
    network = make_network(seed=seed, dropout=dropout)
    result = fit_network(network, cases, loss=loss, options=options_for(network, **changes))
    return network, result


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


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_small_pieces_take_the_same_steps_as_one_piece(dropout):
    cases = tones()
    whole, result = trained(cases, dropout=0.0)
    pieces, other = trained(cases, max_samples=130)
    assert_same_weights(whole, pieces, 1e-10)
    assert [line["loss"] for line in result.history] == pytest.approx([line["loss"] for line in other.history])


def test_weight_two_is_the_case_twice():
    indices = [0, 0, *range(1, 12)]
    weighted, _ = trained(tones(weights=[2, *[1] * 11]))
    repeated, _ = trained(subset(tones(), indices))
    assert_same_weights(weighted, repeated, 1e-10)


def test_weight_zero_is_the_case_left_out():
    weighted, _ = trained(tones(weights=[0, *[1] * 11]))
    without, _ = trained(subset(tones(), list(range(1, 12))))
    assert_same_weights(weighted, without, 1e-10)


def test_training_lowers_the_loss():
    _, result = trained(tones(), max_epochs=20, batch_size=4, learning_rate=0.05)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    assert [line["epoch"] for line in result.history] == list(range(1, 21))


def test_the_weights_of_the_best_epoch_are_restored():
    network = make_network()
    kept = {}

    def keep(line, scored):
        kept[line["epoch"]] = copy.deepcopy(scored.state_dict())
        return False

    # Validation targets are swapped: what is learned makes it worse, so an early epoch is the best.
    validation = tones(seed=1)
    swapped = Cases(validation.load, validation.lengths, validation.rates, validation.weights, 1 - validation.targets)
    result = fit_network(
        network, tones(), loss=loss, options=options_for(network, max_epochs=6), validation=swapped, on_epoch=keep
    )
    losses = [line["validation_loss"] for line in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < 6
    for name, value in network.state_dict().items():
        assert torch.equal(value, kept[result.best_epoch][name])
    assert not network.training


def test_training_stops_after_epochs_without_a_better_validation_loss():
    network = make_network()
    validation = tones(seed=1)
    swapped = Cases(validation.load, validation.lengths, validation.rates, validation.weights, 1 - validation.targets)
    options = options_for(network, max_epochs=50, n_iter_no_change=2, learning_rate=0.05)
    result = fit_network(network, tones(), loss=loss, options=options, validation=swapped)
    assert len(result.history) == result.best_epoch + 2


def test_without_validation_the_last_epoch_is_kept():
    _, result = trained(tones())
    assert result.best_epoch == 3
    assert result.history[0]["validation_loss"] is None


def test_a_true_from_on_epoch_stops():
    network = make_network()
    options = options_for(network, max_epochs=9)
    result = fit_network(network, tones(), loss=loss, options=options, on_epoch=lambda line, scored: line["epoch"] == 2)
    assert len(result.history) == 2


def test_moments_are_taken_up_and_learning_rates_are_not():
    network, first = trained(tones(), max_epochs=5)
    options = options_for(network, max_epochs=1, schedule=False, learning_rate=3e-3)
    second = fit_network(network, tones(), loss=loss, options=options, optimizer_state=first.optimizer_state)
    assert second.optimizer_state["param_groups"][0]["lr"] == 3e-3
    assert {int(state["step"]) for state in second.optimizer_state["state"].values()} == {6}


def test_the_same_seed_gives_the_same_bits():
    one, _ = trained(tones(), dropout=0.3, batch_size=4)
    other, _ = trained(tones(), dropout=0.3, batch_size=4)
    assert_same_weights(one, other, 0.0)


def test_scores_come_in_the_order_of_the_cases():
    network = make_network()
    cases = tones(20)
    options = options_for(network, max_samples=30)
    together = evaluate_network(network, cases, options=options)
    alone = torch.cat([evaluate_network(network, subset(cases, [i]), options=options) for i in range(20)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_no_cases_are_refused():
    network = make_network()
    with pytest.raises(ValueError, match="no cases or no targets"):
        evaluate_network(network, subset(tones(), []), options=options_for(network))


def optimizer_of(network):
    return build_optimizer(
        network,
        state_space=state_space_parameters(network),
        learning_rate=1e-2,
        ssm_learning_rate=1e-3,
        weight_decay=0.05,
    )


def test_groups_by_name_survive_deepcopy():
    network = make_network()
    names = {id(p): name for name, p in network.named_parameters()}
    copied = copy.deepcopy(network)
    names_of_copy = {id(p): name for name, p in copied.named_parameters()}
    for group, copied_group in zip(optimizer_of(network).param_groups, optimizer_of(copied).param_groups, strict=True):
        assert [names[id(p)] for p in group["params"]] == [names_of_copy[id(p)] for p in copied_group["params"]]
        assert (group["lr"], group["weight_decay"]) == (copied_group["lr"], copied_group["weight_decay"])


def test_matrices_decay_and_poles_move_slowly():
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


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_a_hundredth():
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


def test_the_running_mean_of_the_weights_is_what_is_kept():
    cases = tones()
    steps = [trained(cases, max_epochs=n, schedule=False)[0] for n in (1, 2, 3, 4)]
    averaged, _ = trained(cases, max_epochs=4, schedule=False, averaging=0.6)
    kept = averaged.state_dict()
    for name in dict(averaged.named_parameters()):
        first, second, third, fourth = (step.state_dict()[name] for step in steps)
        mean = 0.6 * (0.6 * (first + second) / 2 + 0.4 * third) + 0.4 * fourth
        torch.testing.assert_close(kept[name], mean, rtol=0, atol=1e-12)


def test_the_running_mean_is_what_is_scored():
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
    torch.testing.assert_close(evaluate_network(network, cases, options=options), best)
