"""Writing a file whole, and letting one program at a time change a directory.

Owns the lock file; must not know what is written. Read next: daemons.py.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "lock"
"""The file that marks a directory as one of these programs', from before it is filled."""


def write(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole, with its mode from the start."""
    temporary = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    temporary.rename(path)


@contextmanager
def locked(top: Path) -> Iterator[None]:
    """Let one call at a time change what is in this directory."""
    with (top / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
