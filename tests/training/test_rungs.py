"""User functions at every step of the loop: sampler, optimizer, schedule, clipping, losses, forward."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import loss, make_network, options_for, tones

from s4signal.errors import ShapeError
from s4signal.training import TrainingOptions, evaluate_network, fit_network

__all__: list[str] = []


def trained(cases, **changes):
    network = make_network()
    return fit_network(network, cases, loss=loss, options=options_for(network, **changes)).network


def assert_same_weights(one, other, atol):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=atol, msg=name)


def test_forward_optimizer_and_schedule_may_be_user_functions():
    rates, batches = [], []

    def forward(network, batch, generator):
        batches.append(batch.x.shape[1])
        return network(batch.x, batch.mask, generator=generator)

    def schedule(optimizer, n_steps):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates.append(step) or 1.0 / (1 + step))

    trained(
        tones(),
        forward=forward,
        schedule=schedule,
        batch_size=4,
        optimizer=lambda network, options: torch.optim.SGD(
            network.parameters(), lr=options.learning_rate, momentum=0.9
        ),
    )
    assert sum(batches) == 3 * 12
    assert rates == list(range(10))


@pytest.mark.parametrize(
    ("option", "make", "message"),
    [
        ("optimizer", lambda net, _: torch.optim.LBFGS(net.parameters()), "a LBFGS, whose .*'closure'.*; .* AdamW"),
        ("optimizer", lambda *_: None, r"a NoneType, whose step\(\) cannot be called"),
        (
            "schedule",
            lambda made, _: torch.optim.lr_scheduler.ReduceLROnPlateau(made),
            "a ReduceLROnPlateau, .*'metrics'",
        ),
    ],
)
def test_an_optimizer_or_schedule_that_needs_arguments_is_refused_before_training(option, make, message):
    def never(*_):
        raise AssertionError("training began")

    with pytest.raises(ValueError, match=f"{option} returned {message}"):
        trained(tones(), forward=never, **{option: make})


@pytest.mark.stress  # the compiler is slow
def test_forward_may_be_compiled():
    def forward(network, batch, generator):
        return network(batch.x, batch.mask)

    compiled = torch.compile(forward, backend="aot_eager")
    one, other = (trained(tones(), forward=run, max_epochs=2) for run in (forward, compiled))
    assert_same_weights(one, other, atol=1e-12)


def test_user_losses_replace_forward_and_loss():
    def smoothed(network, batch, generator):
        return torch.nn.functional.cross_entropy(
            network(batch.x, batch.mask), batch.target, reduction="none", label_smoothing=0.1
        )

    def never(*_):
        raise AssertionError("training called the loss")

    network = make_network()
    options = options_for(network, batch_size=4, losses=smoothed)
    found = fit_network(network, tones(), loss=never, options=options)
    expected = fit_network(
        network,
        tones(),
        loss=lambda outputs, targets: torch.nn.functional.cross_entropy(
            outputs, targets, reduction="none", label_smoothing=0.1
        ),
        options=replace(options, losses=None),
    )
    assert_same_weights(found.network, expected.network, 1e-12)


def test_a_user_sampler_sets_the_cases_and_the_number_of_steps():
    taken, steps = [], []

    def forward(network, batch, generator):
        taken.append(batch.target.tolist())
        return network(batch.x, batch.mask)

    def schedule(optimizer, n_steps):
        steps.append(n_steps)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

    trained(
        tones(),
        forward=forward,
        schedule=schedule,
        sampler=lambda cases, rng: [rng.permutation(np.flatnonzero(cases.targets.numpy() == k))[:3] for k in (0, 1, 1)],
    )
    assert taken == 3 * [[0] * 3, [1] * 3, [1] * 3]
    assert steps == [9]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_that_is_reduced_over_cases_is_refused(reduction):
    network, wrong = make_network(), torch.nn.CrossEntropyLoss(reduction=reduction)
    with pytest.raises(ShapeError, match=r"one number per case, of shape \(4,\), got \(\)\. .*reduction='none'"):
        fit_network(network, tones(), loss=wrong, options=options_for(network, batch_size=4))


@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer, n_steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=n_steps),
        lambda optimizer, n_steps: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4),
        lambda optimizer, n_steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps),
    ],
)
def test_every_schedule_of_torch_resumes_from_a_checkpoint(schedule, tmp_path, recwarn):
    network = make_network()
    options = options_for(network, schedule=schedule, batch_size=4, max_epochs=4)
    whole = fit_network(network, tones(), loss=loss, options=options)
    with_folder = replace(options, checkpoint_dir=tmp_path)
    fit_network(network, tones(), loss=loss, options=with_folder, on_epoch=lambda line, _: line["epoch"] == 2)
    assert_same_weights(fit_network(network, tones(), loss=loss, options=with_folder).network, whole.network, 0.0)
    assert not recwarn.list


def test_options_check_device_and_precision_at_once():
    assert TrainingOptions(device="cpu").device == torch.device("cpu")
    with pytest.raises(ValueError, match="device='tpu' is unknown; choose"):
        TrainingOptions(device="tpu")
    with pytest.raises(ValueError, match="precision='16' is unknown"):
        TrainingOptions(precision="16")


def test_the_gradient_is_clipped_to_max_norm():
    def change(max_norm):
        network = trained(
            tones(),
            max_epochs=1,
            schedule=None,
            max_norm=max_norm,
            optimizer=lambda net, options: torch.optim.SGD(net.parameters(), lr=1.0),
        )
        before = make_network().state_dict()
        return sum((value - before[name]).square().sum() for name, value in network.state_dict().items()).sqrt().item()

    assert change(1e-3) == pytest.approx(1e-3, rel=1e-3)
    assert change(1e-4) == pytest.approx(1e-4, rel=1e-2)
    assert change(None) == pytest.approx(change(1e9)) != pytest.approx(change(1e-3))


def test_a_network_may_take_samples_mask_and_rate_only():
    class Mean(torch.nn.Module):
        def forward(self, x, mask, *, rate):
            return (x * mask).mean(-1).t() * rate

    options = options_for(make_network())
    assert evaluate_network(Mean(), tones(5), options=options).shape == (5, 2)
