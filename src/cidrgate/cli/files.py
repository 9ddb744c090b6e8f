"""Files that a command reads and writes; `-` is stdin or stdout, and a name that ends with .gz is compressed.

Errors of the system become a `CommandError`.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from cidrgate.cli.errors import CommandError
from cidrgate.cli.output import unwritten
from cidrgate.process.database_files import open_no_database
from cidrgate.process.private_files import replacement
from cidrgate.process.streams import is_stdin, stdin_was_closed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["STANDARD_STREAM", "check_readable", "check_written", "lines_of", "opened", "read_text", "write_text"]

_QUICKLY = 3
"""The level of compression: higher levels take many times as long for lists, and save little."""

STANDARD_STREAM = Path("-")
"""The name for stdin when a file is read, and for stdout when one is written."""


def read_text(path: Path) -> str:
    """Return the text of a whole file.

    Raises:
        CommandError: If it cannot be read, or is not UTF-8.
    """
    with opened(path) as stream:
        try:
            return stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CommandError(f"{_name(path)} is not UTF-8 at byte {error.start}: save it as UTF-8") from None


@contextmanager
def lines_of(path: Path) -> Iterator[Iterator[str]]:
    """Yield the lines of a file with their ends; bytes that are not UTF-8 become lone surrogates.

    Raises:
        CommandError: If it cannot be read.
    """
    with opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            yield iter(text)
        finally:
            text.detach()


def check_written(option: str, path: Path | None, others: Iterable[Path | None]) -> None:
    """Refuse to write a file that the command reads or writes besides, and to write through a symbolic link.

    Args:
        option: The option that names the file.
        path: The file; None for none.
        others: The other files of the command.

    Raises:
        CommandError: If it is one of them, or a symbolic link.
    """
    if path is None or path == STANDARD_STREAM:
        return
    _refuse_link(path)
    for other in others:
        if other is not None and (path.resolve() == other.resolve() or _is_same_file(path, other)):
            raise CommandError(f"{option} {path} is another file of this command too: name a new one")


def _refuse_link(path: Path) -> None:
    """Refuse a symbolic link, except one to a pipe or a device, such as /dev/stdout."""
    if path.is_symlink() and not _is_device(path):
        raise CommandError(
            f"cannot write {path}: it is a symbolic link; name the file that it points to, or - for stdout"
        )


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def write_text(path: Path, pieces: Iterable[str]) -> None:
    """Write a file as UTF-8, for its owner only. An existing file is replaced at the end, and stays after a failure.

    A pipe or a device is written directly. A symbolic link to a file is rejected: anyone who can change the link could
    choose which file is overwritten.

    Raises:
        CommandError: If it cannot be written.
    """
    if path == STANDARD_STREAM:
        try:
            _write(sys.stdout.buffer, pieces)
        except BrokenPipeError:
            raise  # nobody reads any more
        except OSError as error:
            raise unwritten(error) from error
        return
    try:
        compressed = _is_compressed(path)
        if _is_device(path):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC), "wb") as stream:
                _write(stream, pieces, compressed=compressed)
            return
        _refuse_link(path)
        with replacement(path) as stream:
            _write(stream, pieces, compressed=compressed)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error


def _write(stream: IO[bytes], pieces: Iterable[str], *, compressed: bool = False) -> None:
    if compressed:
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=_QUICKLY, mtime=0) as packed:
            for piece in pieces:
                packed.write(piece.encode())
    else:
        for piece in pieces:
            stream.write(piece.encode())
    stream.flush()


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def check_readable(path: Path) -> None:
    """Refuse to read a stdin that is closed.

    Raises:
        CommandError: If the path means stdin, and the process started without it.
    """
    if is_stdin(path) and stdin_was_closed():
        raise CommandError(f"cannot read {_name(path)}: it is closed")


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Yield the bytes of a file.

    Raises:
        CommandError: If it cannot be read.
    """
    check_readable(path)
    try:
        if is_stdin(path):
            yield cast("io.BufferedReader", sys.stdin.buffer)
        else:
            with open(path, "rb", opener=open_no_database) as stream:
                if _is_compressed(path):
                    with gzip.GzipFile(fileobj=stream) as unpacked:
                        yield cast("io.BufferedReader", unpacked)
                else:
                    yield stream
    except (EOFError, zlib.error) as error:
        raise CommandError(f"{_name(path)} is damaged or was cut off: {error}") from error
    except BrokenPipeError:
        raise  # of the answer, which nobody reads any more
    except OSError as error:
        raise CommandError(f"cannot read {_name(path)}: {error.strerror or error}") from error


def _name(path: Path) -> str:
    return "stdin" if path == STANDARD_STREAM else str(path)
