"""The state of an interrupted training, in one file that is replaced whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from s4signal.errors import ModelFileError

__all__ = ["load_checkpoint", "save_checkpoint"]

_NAME = "checkpoint.pt"


def save_checkpoint(folder: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write the state; a reader sees the old file or the new one, never half of it."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    partial = path / (_NAME + ".partial")
    torch.save(state, partial)
    partial.replace(path / _NAME)


def load_checkpoint(folder: str | os.PathLike[str], fingerprint: str) -> dict[str, Any] | None:
    """Read the state of the same training."""
    path = Path(folder) / _NAME
    if not path.exists():
        return None
    try:
        # weights_only: nothing the file contains is executed.
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["fingerprint"]
    except Exception as error:
        raise ModelFileError(f"{path} is not a readable checkpoint ({type(error).__name__}); delete it.") from error
    if found != fingerprint:
        raise ModelFileError(
            f"{path} belongs to a training on other data or with other settings; delete it or choose another "
            "checkpoint_dir."
        )
    return state
