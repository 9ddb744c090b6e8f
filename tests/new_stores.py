"""New SQLite stores for tests: copies of files that are made once in a process, which is faster than to make each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cidrgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["copy_of", "new_file"]


def _empty(path: Path) -> None:
    open_store(f"sqlite:///{path}", create=True).close()


@cache
def _made_by(make: Callable[[Path], None]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lists.db"
        make(path)
        return path.read_bytes()


def copy_of(make: Callable[[Path], None], path: Path) -> str:
    """The URL of a store as `make` leaves it at a path; `make` closes it, and is called once in a process."""
    pages = _made_by(make)
    path.touch(0o600)
    path.write_bytes(pages)
    return f"sqlite:///{path}"


def new_file(path: Path) -> str:
    """The URL of a store without accounts."""
    return copy_of(_empty, path)
