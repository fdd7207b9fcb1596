"""Writing files atomically."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_atomically(
    path: str | Path, write: Callable[[IO[bytes]], Any], new: bool = False
) -> None:
    """Write a file under a temporary name beside it, then rename it.

    A reader sees the whole old file or the whole new one, and an error leaves the old
    one in place. Temporary names differ between processes, machines and containers.

    Args:
        path: the file.
        write: called with the open temporary file.
        new: whether the file must not be there yet.

    Raises:
        FileExistsError: it is there, and ``new`` is set.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _keep_names(path.parent)


TEMPORARY = ".tmp"


def sweep_away(folder: Path) -> None:
    """Delete temporary files that processes left in a folder when they were killed.

    Nothing else may be writing to it.
    """
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def _keep_names(folder):
    """Make a renaming survive a loss of power, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
