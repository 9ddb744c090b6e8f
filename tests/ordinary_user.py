"""A user whom the permissions of files bind, as they do not bind root."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["NOBODY", "an_ordinary_user", "hand_over"]

NOBODY = 65_534


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Nobody's rights for root, who may write everywhere; everybody else is ordinary."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def hand_over(*paths: Path) -> None:
    """Give files and folders to the ordinary user, if that is another one."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)
