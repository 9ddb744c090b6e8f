"""The standard streams of a process, of which some may be closed, full, or a pipe that nobody reads.

A process that starts with a closed standard stream gives its number to the next file that it opens: a message would be
written into a database.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

__all__ = ["can_be_written", "is_stdin", "leave", "open_missing_streams", "stderr_was_closed", "stdin_was_closed"]

_STREAMS = {"stdin": ("r", os.O_WRONLY), "stdout": ("w", os.O_RDONLY), "stderr": ("w", os.O_WRONLY)}
"""What the process does with each stream, and how the null device is opened in its place.

Nothing can be read from stdin or written to stdout: both are errors, as they are for a closed stream. What is written
to stderr is lost.
"""

_STDIN = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})

_missing: set[str] = set()
"""The streams that were closed when the process started."""


def open_missing_streams() -> None:
    """Open the null device in place of each standard stream that is closed. Call it before a file is opened.

    Raises:
        OSError: If there is no null device.
    """
    for name, (use, mode) in _STREAMS.items():
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)  # the lowest number that is free, so that of the stream
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only
            setattr(sys, name, open(descriptor, use, encoding="utf-8", closefd=False))  # noqa: SIM115
            _missing.add(name)


def is_stdin(name: str | os.PathLike[str]) -> bool:
    """Return whether the name of a file means stdin.

    What is left to read is behind its descriptor. To open the name would begin a file again, and cannot open a socket.

    Example:
        >>> is_stdin("-"), is_stdin(Path("/dev/stdin")), is_stdin("stdin")
        (True, True, False)
    """
    return os.fspath(name) in _STDIN


def stdin_was_closed() -> bool:
    """Return whether the process started without stdin: nothing can be read."""
    return "stdin" in _missing


def stderr_was_closed() -> bool:
    """Return whether the process started without stderr: nobody sees a message or a question."""
    return "stderr" in _missing


def can_be_written(stream: TextIO) -> bool:
    """Return whether a stream is open for writing; its disk may be full nevertheless.

    Example:
        >>> with open(os.devnull) as stream:
        ...     can_be_written(stream)
        False
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return True  # it is in memory
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False


def leave(stream: TextIO) -> None:
    """Stop writing to a pipe that nobody reads, or to a full disk.

    What is left in the buffer would fail again when Python ends, with an exit status of Python's own.
    """
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
