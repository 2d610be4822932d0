"""An interrupted training resumes to identical weights; damaged checkpoint files are detected."""

import os
import pickle
import resource
from pathlib import Path

import pytest
import torch
from scripts import run_code
from small_training import loss, make_network, options_for, tones

from s4signal.errors import CheckpointError, ModelFileError
from s4signal.training import TrainingInterrupted, fit_network
from s4signal.training.checkpoint import Checkpoints, Snapshot, check_folder

SNAPSHOT = Snapshot({"history": [{"loss": 0.5, "score": None}]}, {"weights": {"w": torch.arange(3)}})


def train(folder=None, *, precision="64", interrupt_after=None, fingerprint="a", **changes):
    network = make_network(dropout=0.3, precision=precision)

    def on_epoch(line, _):
        if line["epoch"] == interrupt_after:
            raise KeyboardInterrupt("pressed")
        return False

    changes = {"max_epochs": 6, "batch_size": 4, "checkpoint_dir": folder, "fingerprint": fingerprint, **changes}
    options = options_for(network, precision=precision, **changes)
    result = fit_network(network, tones(), loss=loss, options=options, validation=tones(seed=1), on_epoch=on_epoch)
    return result.network, result


def interrupt(folder, epoch, **options):
    with pytest.raises(TrainingInterrupted, match="pressed"):
        train(folder, interrupt_after=epoch, **options)


def assert_same_weights(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def snapshots(folder):
    """Return the files of the only training in a folder, the newest first."""
    return sorted(Path(folder).glob("*/*.checkpoint"), reverse=True)


@pytest.mark.parametrize("changes", [{"precision": "32"}, {"precision": "64"}, {"averaging": 0.9}, {"schedule": None}])
def test_a_resumed_training_is_bit_identical(changes, tmp_path):
    expected, whole = train(**changes)
    for epoch in (1, 4):
        interrupt(tmp_path, epoch, **changes)
    resumed, result = train(tmp_path, **changes)
    assert_same_weights(expected, resumed)
    keys = ("epoch", "loss", "validation_loss")
    assert [[line[k] for k in keys] for line in result.history] == [[line[k] for k in keys] for line in whole.history]
    assert result.best_epoch == whole.best_epoch


def test_a_finished_training_is_not_run_again(tmp_path):
    expected, _ = train(tmp_path)
    again, result = train(tmp_path, interrupt_after=6)
    assert len(result.history) == 6
    assert_same_weights(expected, again)


def test_only_the_two_newest_snapshots_are_kept(tmp_path):
    train(tmp_path)
    assert [path.name[:8] for path in snapshots(tmp_path)] == ["00000006", "00000005"]
    assert {path.name for path in snapshots(tmp_path)[0].parent.iterdir()} - {"lock"} == {
        path.name for path in snapshots(tmp_path)
    }


def test_every_fingerprint_has_its_own_folder(tmp_path):
    train(tmp_path, fingerprint="a", max_epochs=2)
    train(tmp_path, fingerprint="b", max_epochs=3)
    assert len(list(tmp_path.iterdir())) == 2
    assert [len(train(tmp_path, fingerprint=f, max_epochs=m)[1].history) for f, m in (("a", 2), ("b", 3))] == [2, 3]


def test_a_state_of_numbers_strings_and_tensors_is_restored(tmp_path):
    checkpoints = Checkpoints(tmp_path, "a")
    assert checkpoints.load() is None
    checkpoints.save(1, SNAPSHOT)
    loaded = Checkpoints(tmp_path, "a").load()
    assert loaded.plain == SNAPSHOT.plain
    assert loaded.parts["weights"]["w"].tolist() == [0, 1, 2]


def damage(path, kind, rng):
    content = bytearray(path.read_bytes())
    if kind == "bit":
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    elif kind == "cut":
        content = content[: rng.integers(len(content))]
    else:
        content = rng.bytes(rng.integers(1, 10_000))
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("n_files", [60, pytest.param(2000, marks=pytest.mark.stress)])
def test_any_change_in_a_file_is_detected(n_files, tmp_path, rng):
    interrupt(tmp_path, 2)
    newest = snapshots(tmp_path)[0]
    intact, before = newest.read_bytes(), None
    for index in range(n_files):
        damage(newest, ("bit", "bit", "bit", "cut", "noise")[index % 5], rng)
        with pytest.warns(UserWarning, match="is damaged; resuming from the previous one"):
            loaded = Checkpoints(tmp_path, "a").load()
        assert [line["epoch"] for line in loaded.plain["history"]] == [1]
        for part, tensors in loaded.parts.items():
            assert before is None or all(torch.equal(x, before.parts[part][name]) for name, x in tensors.items())
        before = loaded
        newest.write_bytes(intact)


@pytest.mark.parametrize("kind", ["bit", "cut", "noise"])
def test_training_resumes_from_the_file_before_a_damaged_one(kind, tmp_path, rng):
    expected, _ = train()
    interrupt(tmp_path, 3)
    damage(snapshots(tmp_path)[0], kind, rng)
    with pytest.warns(UserWarning, match=r"00000003.* is damaged; resuming from the previous one, .*00000002"):
        resumed, _ = train(tmp_path)
    assert_same_weights(expected, resumed)


def test_two_damaged_files_are_refused(tmp_path, rng):
    interrupt(tmp_path, 3)
    for path in snapshots(tmp_path):
        damage(path, "bit", rng)
    with pytest.raises(ModelFileError, match="is damaged, and no earlier checkpoint is intact; delete "):
        train(tmp_path)


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_nothing_in_a_file_is_executed(save, tmp_path):
    interrupt(tmp_path, 2)
    for path in snapshots(tmp_path):
        save({"network": Malicious(tmp_path / "executed")}, path)
    with pytest.raises(ModelFileError, match="is damaged"):
        train(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_partial_files_of_a_killed_process_are_removed(tmp_path):
    interrupt(tmp_path, 2)
    stale = snapshots(tmp_path)[0].with_name(".0123456789abcdef.partial")
    stale.write_bytes(b"half a file")
    train(tmp_path)
    assert not stale.exists()


def test_a_planted_link_is_not_followed(tmp_path):
    other = tmp_path / "of another user"
    other.write_text("untouched")
    interrupt(tmp_path / "kept", 1)
    folder = snapshots(tmp_path / "kept")[0].parent
    (folder / "lock").unlink()
    (folder / "lock").symlink_to(other)
    with pytest.raises(CheckpointError, match="checkpoint_dir cannot be used"):
        train(tmp_path / "kept")
    moved = folder.rename(tmp_path / "moved")
    folder.symlink_to(moved)
    with pytest.raises(CheckpointError, match="it is a link"):
        train(tmp_path / "kept")
    assert other.read_text() == "untouched"


def never(*_):
    raise AssertionError("a step was taken")


def test_a_missing_folder_is_created(tmp_path):
    for _ in range(2):
        check_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_an_unusable_folder_is_refused_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("s4signal.training.loop._Training._step", never)
    with pytest.raises(CheckpointError, match=r"file.*: Not a directory. Free space or choose another folder"):
        train(tmp_path / "file" / "folder")


def test_a_full_disk_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("s4signal.training.loop._Training._step", never)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written .*File too large.* the training can resume"):
            train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in tmp_path.glob("*/*")} == {"lock"}


def test_a_disk_that_fills_up_keeps_the_earlier_snapshots(tmp_path, monkeypatch):
    expected, _ = train()
    real, calls = os.fsync, []

    def full(file):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        real(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            train(tmp_path)
    assert [path.name[:8] for path in snapshots(tmp_path)] == ["00000002", "00000001"]
    assert_same_weights(expected, train(tmp_path)[0])


TWICE = """
import os, sys; sys.path.insert(0, sys.argv[1])
import torch; torch.set_num_threads(1)
from test_checkpoint import train
child = os.fork()
network, result = train(sys.argv[2], max_epochs=6)
print(len(result.history), network.head.weight.double().sum().item().hex(), flush=True)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_two_processes_can_train_in_one_folder(tmp_path):
    output = run_code(TWICE, Path(__file__).parent, tmp_path)
    expected, _ = train()
    assert output.splitlines() == [f"6 {expected.head.weight.double().sum().item().hex()}"] * 2
    assert {path.name[:8] for path in snapshots(tmp_path)} <= {"00000006", "00000005"}


KILLS = """
import os, signal, sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch; torch.set_num_threads(1)
from test_checkpoint import Path, train
from s4signal.training.loop import _Training

def kill_at(point):
    count = 0
    def watched(function):
        def run(*args, **options):
            nonlocal count
            for moment in ("before", "after"):
                count += 1
                if count == point: os.kill(os.getpid(), signal.SIGKILL)
                if moment == "before": result = function(*args, **options)
            return result
        return run
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (_Training, "_step")):
        setattr(owner, name, watched(getattr(owner, name)))

def bits(network):
    return [x.numpy().tobytes() for x in network.state_dict().values()]

expected = bits(train(averaging=0.9)[0])
for point in range(1, 1000, int(sys.argv[3])):
    folder = Path(sys.argv[2]) / str(point)
    child = os.fork()
    if child == 0:
        kill_at(point)
        train(folder, averaging=0.9)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    network, result = train(folder, averaging=0.9)
    assert bits(network) == expected, point
    remaining = [path.name for path in folder.glob("*/*") if path.name != "lock"]
    assert len(remaining) == 2 and all(name.endswith(".checkpoint") for name in remaining), remaining
    if status == 0: break
print(point)
"""


@pytest.mark.parametrize("every", [17, pytest.param(1, marks=pytest.mark.stress)])
def test_a_training_that_is_killed_anywhere_resumes_bit_identically(every, tmp_path):
    last = run_code(KILLS, Path(__file__).parent, tmp_path, every)
    # Two points for each of three steps per epoch, for each write and for each removal after it.
    assert int(last) > 60
