"""Two processes of a torchrun job train the same model as one, and end together when one of them ends."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from joint_training import TRAININGS, numbers, train
from scripts import run_script

from s4signal.errors import DistributedError
from s4signal.training.distributed import joined, world_size
from s4signal.training.runtime import resolve_device
from s4signal.training.tensor_file import read_tensor_file

__all__: list[str] = []

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("joint_training.py")


def torchrun(work, folder, *options):
    """Run a function of the script in two processes; return their files and the finished process."""
    launcher = Path(find_spec("torch.distributed.run").origin)
    given = ["--standalone", "--nproc-per-node", "2", *options, str(SCRIPT), work, str(folder)]
    done = run_script(launcher, *given, safe_path=True, starts=True)
    files = [folder / f"{work}.{rank}.json" for rank in range(2)]
    assert all(file.exists() for file in files), done.stdout[-4000:] + done.stderr[-4000:]
    return [json.loads(file.read_text()) for file in files], done


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Train everything with two processes; they resume a checkpoint that one process has written."""
    folder = tmp_path_factory.mktemp("job")
    train("uneven", checkpoint_dir=folder / "one", max_epochs=2, schedule=None)
    ranks, done = torchrun("together", folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, ranks


def assert_close(found, expected, atol=1e-9):
    assert found["best_epoch"] == expected["best_epoch"]
    for name, value in expected["weights"].items():
        np.testing.assert_allclose(found["weights"][name], value, rtol=0, atol=atol, err_msg=name)
    assert len(found["history"]) == len(expected["history"])
    for line, other in zip(found["history"], expected["history"], strict=True):
        for key in ("epoch", "loss", "validation_loss", "validation_score"):
            assert line[key] == (None if other[key] is None else pytest.approx(other[key], abs=1e-9)), key


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_train_the_same_as_one(name, job):
    expected = numbers(train(name))
    if name == "partly used":  # the buffer counts passes: it is not averaged, but taken from the first process
        expected["weights"].pop("seen")
    assert_close(job[1][0][name], expected)


def test_all_processes_end_with_identical_models_and_histories(job):
    first, second = job[1]
    for name in (*TRAININGS, "resumed"):
        assert first[name] == second[name]
    assert first["estimators"]["histories"] == second["estimators"]["histories"]
    for name in ("epochs", "speech", "further"):
        one, other = (job[0] / f"{name}.{rank}.s4" for rank in range(2))
        (arrays, text), (others, its) = (read_tensor_file(file, kind="model") for file in (one, other))
        assert text == its
        assert {key: x.tobytes() for key, x in arrays.items()} == {key: x.tobytes() for key, x in others.items()}


def test_processes_draw_different_dropout_masks(job):
    first, second = job[1]
    assert first["seed"] != second["seed"]


def test_early_stopping_stops_both_processes(job):
    assert 3 <= len(job[1][0]["validated"]["history"]) < 30


def test_only_one_process_writes_and_shows_progress(job):
    first, second = job[1]
    assert (first["first"], second["first"]) == (True, False)
    assert first["estimators"]["calls"] > 3
    assert second["estimators"]["calls"] == 0
    assert len(list((job[0] / "epochs").glob("*/*.checkpoint"))) == 2
    assert not list((job[0] / "epochs").glob("*/.*.partial"))


def test_a_checkpoint_resumes_with_another_number_of_processes(job):
    expected = numbers(train("uneven", max_epochs=4, schedule=None))
    assert_close(job[1][0]["resumed"], expected)
    assert_close(numbers(train("uneven", checkpoint_dir=job[0] / "two", max_epochs=4, schedule=None)), expected)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("other cases", "DistributedError: rank 1 was given other cases than rank 0. Pass the same X, y"),
        ("no folder", "CheckpointError: checkpoint_dir cannot be used: .*Free space or choose another folder"),
        ("thread", "DistributedError: distributed training fits one model .*fit in the main thread"),
        ("diverged", "DivergenceError: the .* training has diverged"),
    ],
)
def test_every_process_raises_the_same_error(what, text, job):
    first, second = (rank[what]["error"] for rank in job[1])
    assert re.match(text, first)
    assert first == second


def test_a_failed_process_ends_the_others_at_once(job):
    first, second = (rank["one fails"] for rank in job[1])
    assert second["error"] == "ValueError: the loss of this process fails"
    assert re.match(
        "DistributedError: another process of this training has ended, .*from the last epoch", first["error"]
    )
    assert "\n" not in first["error"]
    assert first["seconds"] < 60  # the timeout is half an hour


def test_a_hanging_process_ends_the_others_after_the_timeout(job):
    first, second = (rank["one hangs"] for rank in job[1])
    assert re.match(r"DistributedError: another process .* \(2 s, S4SIGNAL_TIMEOUT_S\)", first["error"])
    assert second["error"].startswith("DistributedError")


def test_a_job_restarts_from_the_checkpoint_after_a_process_is_killed(tmp_path):
    ranks, done = torchrun("killed", tmp_path, "--max-restarts", "1")
    assert done.returncode == 0
    assert "Signal 9" in done.stderr or "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr
    assert ranks[0]["epochs"] == [3, 4, 5]
    assert ranks[1]["epochs"] == []
    for rank in ranks:
        assert rank["result"]["weights"] == rank["expected"]["weights"]


def world_of_worker(_):
    return world_size(), os.environ["WORLD_SIZE"]


def test_a_joblib_worker_does_not_join_the_training(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert world_size() == 2
    assert Parallel(n_jobs=2)(delayed(world_of_worker)(i) for i in range(2)) == [(1, "2")] * 2


def test_missing_environment_variables_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DistributedError, match=r"MASTER_ADDR and MASTER_PORT missing\. Start the proc"):
        world_size()


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_the_timeout_must_be_a_positive_number(text, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S4SIGNAL_TIMEOUT_S", text)
    with pytest.raises(DistributedError, match=rf"S4SIGNAL_TIMEOUT_S='{text}' must be"), joined(resolve_device("cpu")):
        pass


def test_each_process_uses_its_own_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert str(resolve_device("auto")) == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(resolve_device("auto")) == str(resolve_device("cuda")) == "cuda:1"
    assert str(resolve_device("cuda:0")) == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU of its own: there are 2"):
        resolve_device("cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert str(resolve_device("cuda")) == "cuda"
