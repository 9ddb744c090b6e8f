"""The names of files that a caller passes: text, and neither a descriptor nor nothing at all."""

from __future__ import annotations

import errno
import os

__all__ = ["file_name"]


def file_name(path: object, name: str) -> str:
    """Return an argument that names a file as text.

    A number is no name: Python would take it for a descriptor, and close it for its owner.

    Args:
        path: The argument.
        name: Its name, for the message.

    Raises:
        TypeError: If it is neither a `str` nor a path-like object of one.
        FileNotFoundError: If it is empty. `pathlib` would take it for the working directory.
        OSError: If it has a null character, which no name of a file has.

    Example:
        >>> from pathlib import Path
        >>> file_name("lists.snapshot", "path"), file_name(Path("lists.snapshot"), "path")
        ('lists.snapshot', 'lists.snapshot')
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str or a path-like object of one, not {type(path).__name__}")
    if not text:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
    text = str.__str__(text)
    if "\0" in text:
        raise OSError(errno.EINVAL, f"{name} has a null character, which no name of a file has", text)
    return text
