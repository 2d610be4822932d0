"""A file of arrays is written completely or not at all; damaged files are refused; reading cost is bounded."""

import errno
import json
import os
import resource
import time
import tracemalloc

import numpy as np
import pytest
from scripts import run_code

from s4signal.errors import ModelFileError
from s4signal.training.tensor_file import read_tensor_file, replace_file, write_tensor_file

__all__: list[str] = []

REFUSED = r"is not a model that s4signal saved, or it is damaged|but not a model"
DTYPES = ("?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")


def arrays():
    rng = np.random.default_rng(0)
    found = {f"of {dtype}": rng.integers(0, 2, (3, 5)).astype(dtype) for dtype in DTYPES}
    return {**found, "number": np.array(3.0), "nothing": np.ones((2, 0)), "columns": np.arange(6.0).reshape(2, 3).T}


@pytest.fixture
def written(tmp_path):
    write_tensor_file(tmp_path / "a", arrays(), '{"x": "ä"}', kind="model")
    return tmp_path / "a"


def test_arrays_of_any_dtype_and_shape_are_restored(written):
    found, text = read_tensor_file(written, kind="model")
    assert text == '{"x": "ä"}'
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        found[name][...] = 0  # the arrays are copies and writeable


def test_safetensors_can_read_the_file(written):
    safetensors = pytest.importorskip("safetensors.numpy")
    for name, array in safetensors.load_file(written).items():
        np.testing.assert_array_equal(array, arrays()[name])


def test_a_file_of_the_wrong_kind_is_refused(written):
    with pytest.raises(ModelFileError, match="is a safetensors file, but not a checkpoint of s4signal"):
        read_tensor_file(written, kind="checkpoint")


def test_every_flipped_bit_is_detected(written):
    content = written.read_bytes()
    rng = np.random.default_rng(0)
    spaces = content[: int.from_bytes(content[:8], "little") + 8].rstrip(b" ")
    for bit in rng.choice(8 * len(content), 1000, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        written.write_bytes(changed)
        if len(spaces) <= bit // 8 < int.from_bytes(content[:8], "little") + 8:
            continue  # padding between header and arrays: a tab for a space changes nothing
        with pytest.raises(ModelFileError, match=REFUSED):
            read_tensor_file(written, kind="model")


def test_swapped_arrays_are_detected(tmp_path):
    write_tensor_file(tmp_path / "a", {"one": np.zeros(4), "two": np.ones(4)}, "{}", kind="model")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:-64] + content[-32:] + content[-64:-32])
    with pytest.raises(ModelFileError, match="checksum does not match its content"):
        read_tensor_file(tmp_path / "a", kind="model")


@pytest.mark.parametrize(
    "entries",
    [
        {"a": {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}},
        {"a": {"dtype": "F64", "shape": [2**40, 2**40], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [-1, -1], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [True], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [0.0, 8]}},
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}},
        {"a": {"dtype": "F64", "shape": [1] * 70, "data_offsets": [0, 8]}},
        {"a": {"dtype": "O8", "shape": [1], "data_offsets": [0, 8]}},
        {"a": {"dtype": [], "shape": [1], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": 1, "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": None}},
        {"a": "F64"},
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}, "b": {"dtype": "F64", "shape": [0]}},
        [],
        {},
        {"__metadata__": []},
        {"__metadata__": {"format": "s4signal 1", "kind": "model"}},
        {"__metadata__": {"format": "s4signal 1", "kind": "model", "header": 3, "sha256": None}},
    ],
)
def test_an_invalid_header_is_refused_quickly(entries, tmp_path):
    if isinstance(entries, dict) and "__metadata__" not in entries:
        entries["__metadata__"] = {"format": "s4signal 1", "kind": "model", "header": "{}", "sha256": ""}
    text = json.dumps(entries).encode()
    (tmp_path / "a").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    started = time.perf_counter()
    with pytest.raises(ModelFileError, match=REFUSED):
        read_tensor_file(tmp_path / "a", kind="model")
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize("content", [b"", b"\x08", bytes(8), b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"[" * 10**5])
def test_bytes_without_a_header_are_refused(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a model that s4signal saved, or it is damaged"):
        read_tensor_file(tmp_path / "a", kind="model")
    (tmp_path / "a").write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(ModelFileError, match="is not a model that s4signal saved, or it is damaged"):
        read_tensor_file(tmp_path / "a", kind="model")


def test_reading_needs_no_more_memory_than_the_file(tmp_path):
    write_tensor_file(tmp_path / "a", {"a": np.zeros((1000, 2500)), "b": np.ones(10)}, "{}", kind="model")
    tracemalloc.start()
    read_tensor_file(tmp_path / "a", kind="model")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * (tmp_path / "a").stat().st_size


def test_arrays_do_not_change_with_the_file(written):
    found, _ = read_tensor_file(written, kind="model")
    before = {name: array.copy() for name, array in found.items()}
    with written.open("r+b") as file:
        file.write(bytes(written.stat().st_size))
        file.truncate(10)
    for name, array in found.items():
        np.testing.assert_array_equal(array, before[name])


def test_replacing_a_file_follows_links(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "v1").write_bytes(b"old")
    (tmp_path / "latest").symlink_to("folder/v1")
    replace_file(tmp_path / "latest", b"new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "folder" / "v1").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["/dev/null", "folder", "pipe"])
def test_only_regular_files_are_replaced(name, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="is a folder or a device, not a regular file"):
        replace_file(tmp_path / name, b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_new_file_has_the_default_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    replace_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


FULL = """
import resource, sys
from s4signal.training.tensor_file import replace_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    replace_file(sys.argv[1], bytes(5000))
except OSError as error:
    print(error.errno, error)
"""


def test_a_full_disk_raises_and_keeps_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    output = run_code(FULL, tmp_path / "a")
    assert output.startswith(f"{errno.EFBIG} ")
    assert "a cannot be written (File too large); its old content is unchanged" in output
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (1000, 1000)


# Two processes write continuously, the third reads.
WRITERS = """
import itertools, os, signal, sys, time
from pathlib import Path
from s4signal.training.tensor_file import replace_file
path, writers = Path(sys.argv[1]), []
for _ in range(2):
    writers.append(os.fork())
    if writers[-1] == 0:
        for i in itertools.count():
            replace_file(path, bytes([i % 256]) * 200_000)
seen, until = set(), time.monotonic() + 60
while len(seen) < 20 and time.monotonic() < until:
    content = path.read_bytes() if path.exists() else b""
    if content != content[:1] * 200_000 and content:
        break
    seen |= set(content[:1])
for writer in writers:
    os.kill(writer, signal.SIGKILL)
print(len(seen))
"""


def test_readers_see_only_complete_files(tmp_path):
    assert run_code(WRITERS, tmp_path / "a") == "20\n"
