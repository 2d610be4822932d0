"""An interrupted training goes on to the same weights."""

import os
import pickle

import numpy as np
import pytest
import torch
from small_training import loss, make_network, options_for, tones

from s4signal.errors import ModelFileError
from s4signal.training import fit_network
from s4signal.training.checkpoint import load_checkpoint, save_checkpoint

NAME = "checkpoint.pt"


def train(folder=None, *, precision="64", interrupt_after=None):
    network = make_network(dropout=0.3, precision=precision)

    def on_epoch(line, _):
        if line["epoch"] == interrupt_after:
            raise KeyboardInterrupt("pressed")
        return False

    options = options_for(
        network,
        max_epochs=6,
        batch_size=4,
        precision=precision,
        checkpoint_dir=folder,
        fingerprint="a",
    )
    result = fit_network(network, tones(), loss=loss, options=options, validation=tones(seed=1), on_epoch=on_epoch)
    return network, result


@pytest.mark.parametrize("precision", ["32", "64"])
def test_a_resumed_training_ends_with_the_same_bits(precision, tmp_path):
    expected, whole = train(precision=precision)
    for epoch in (1, 4):
        with pytest.raises(KeyboardInterrupt, match="pressed"):
            train(tmp_path, precision=precision, interrupt_after=epoch)
    resumed, result = train(tmp_path, precision=precision)
    for name, value in expected.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    keys = ("epoch", "loss", "validation_loss")
    assert [[line[k] for k in keys] for line in result.history] == [[line[k] for k in keys] for line in whole.history]
    assert result.best_epoch == whole.best_epoch


def test_a_finished_training_is_not_run_again(tmp_path):
    expected, _ = train(tmp_path)
    again, result = train(tmp_path, interrupt_after=6)
    assert len(result.history) == 6
    assert torch.equal(again.head.weight, expected.head.weight)


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path / "nowhere", "a") is None


def test_no_partial_file_is_left(tmp_path):
    save_checkpoint(tmp_path / "deep" / "folder", {"fingerprint": "a"})
    assert os.listdir(tmp_path / "deep" / "folder") == [NAME]


def test_another_fingerprint_is_refused(tmp_path):
    save_checkpoint(tmp_path, {"fingerprint": "a"})
    with pytest.raises(ModelFileError, match="belongs to a training on other data or with other settings; delete it"):
        load_checkpoint(tmp_path, "b")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(share, tmp_path):
    train(tmp_path)
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=r"is not a readable checkpoint \(\w+\); delete it"):
        load_checkpoint(tmp_path, "a")


def test_random_bytes_are_refused(tmp_path, rng):
    for n_bytes in (1, 100, 10_000):
        (tmp_path / NAME).write_bytes(rng.bytes(n_bytes))
        with pytest.raises(ModelFileError, match="is not a readable checkpoint"):
            load_checkpoint(tmp_path, "a")


@pytest.mark.parametrize("state", [{}, [1, 2], 3])
def test_a_file_of_something_else_is_refused(state, tmp_path):
    torch.save(state, tmp_path / NAME)
    with pytest.raises(ModelFileError, match="is not a readable checkpoint"):
        load_checkpoint(tmp_path, "a")


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_nothing_in_the_file_is_executed(save, tmp_path):
    target = tmp_path / "executed"
    save({"fingerprint": "a", "network": Malicious(target)}, tmp_path / NAME)
    with pytest.raises(ModelFileError, match="is not a readable checkpoint"):
        load_checkpoint(tmp_path, "a")
    assert not target.exists()


def test_a_state_of_numbers_strings_and_tensors_comes_back(tmp_path):
    state = {"fingerprint": "a", "history": [{"loss": 0.5, "score": None}], "weights": {"w": torch.arange(3)}}
    save_checkpoint(tmp_path, state)
    loaded = load_checkpoint(tmp_path, "a")
    assert loaded["history"] == state["history"]
    assert np.array_equal(loaded["weights"]["w"], [0, 1, 2])
