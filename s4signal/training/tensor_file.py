"""Arrays and a text in one safetensors file, written atomically and verified by a checksum when read."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from s4signal.errors import ModelFileError

_FORMAT = "s4signal 1"
_LONGEST_HEADER = 2**24  # bytes; safetensors reads no more than 100 MB


def write_tensor_file(path: Any, arrays: Mapping[str, NDArray[Any]], text: str, *, kind: str) -> None:
    """Write arrays and a text with their SHA-256; ``kind`` is the type of the file, such as "model"."""
    packed = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    metadata = {"format": _FORMAT, "kind": kind, "header": text, "sha256": _digest(text, packed)}
    content = save(packed, metadata=metadata)
    if int.from_bytes(content[:8], "little") > _LONGEST_HEADER:
        raise ValueError(f"the header of {path} would be longer than {_LONGEST_HEADER >> 20} MiB.")
    replace_file(path, content)


def read_tensor_file(path: Any, *, kind: str) -> tuple[dict[str, NDArray[Any]], str]:
    """Read a file of `write_tensor_file`; the arrays are copies, independent of the file.

    Memory and time are bounded by the size of the file, even with a malicious header.
    """
    if not Path(path).is_file():
        raise ModelFileError(f"{path} does not exist or is no file.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if (metadata.get("format"), metadata.get("kind")) != (_FORMAT, kind):
                raise ModelFileError(f"{path} is a safetensors file, but not a {kind} of s4signal.")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  file is not a mapping
        if metadata["sha256"] != _digest(metadata["header"], arrays):
            raise ValueError("its checksum does not match its content")
    except ModelFileError:
        raise
    except Exception as error:  # any error of the parser
        raise ModelFileError(f"{path} is not a {kind} that s4signal saved, or it is damaged: {error}") from error
    return arrays, metadata["header"]


def replace_file(path: Any, content: bytes) -> None:
    """Write a file atomically: a reader sees the old or the new content, and a failure keeps the old content.

    Links are resolved to their target; the temporary file in the same folder is new, and never a link.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent} does not exist; create the folder first.")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{path} is a folder or a device, not a regular file; choose another name.")
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise OSError(
            error.errno, f"{path} cannot be written ({error.strerror}); its old content is unchanged"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
