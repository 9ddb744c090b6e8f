"""Files for their owner alone: lists, and hashes of tokens, are nobody else's business on a shared machine.

A file is created with mode 0600 whatever the process's umask is, under a name that nobody can guess, and never through
a symbolic link that somebody has put in the way. Who wants others to read a file changes its mode afterwards: what
replaces it has the mode and the group of the one before.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PRIVATE", "create_empty", "open_lock", "replacement"]

PRIVATE = 0o600
"""The mode of a file that its owner alone reads and writes."""

_DATABASE = b"SQLite format 3\0"
"""How the file of every SQLite database begins."""

_databases: dict[tuple[int, int], int] = {}
"""Databases that were looked at, and descriptors of them, which stay open: closing one would release SQLite's locks."""

_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def replacement(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of another one when the block ends well: in one step, and on the disk.

    It is written beside its place. A symbolic link that stands at the place is replaced and not followed.

    Args:
        path: The place.

    Raises:
        OSError: If it cannot be written, or a database stands there, which somebody has taken for something else; what
            stood at the place stands there still.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     place = Path(folder) / "lists.csv"
        ...     with replacement(place) as file:
        ...         written = file.write(b"account,cidr")
        ...     oct(place.stat().st_mode & 0o777), place.read_bytes()
        ('0o600', b'account,cidr')
    """
    _refuse_database(path)
    beside = path.with_name(f".cidrgate-{secrets.token_hex(12)}")
    descriptor = os.open(beside, os.O_WRONLY | _NEW, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, PRIVATE)  # the umask may have taken some of it away
            yield file
            file.flush()
            _hand_down_mode(path, descriptor)
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    # The new name is on the disk only when the directory is.
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _refuse_database(path: Path) -> None:
    """Keep a database, which may be the store itself, from being replaced by what somebody exports or compiles."""
    try:
        found = path.stat()
        identity = found.st_dev, found.st_ino
        if not stat.S_ISREG(found.st_mode):
            return
        if identity not in _databases:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.read(descriptor, len(_DATABASE)) != _DATABASE:
                os.close(descriptor)
                return
            _databases[identity] = descriptor
    except OSError:
        return  # there is none, or it cannot be read
    raise FileExistsError(errno.EEXIST, "a database is there: choose another file, or remove it first", str(path))


def _hand_down_mode(path: Path, descriptor: int) -> None:
    """Give a new file the mode and the group of the one it replaces, if that one is this user's."""
    try:
        before = path.lstat()
    except OSError:
        return
    if not stat.S_ISREG(before.st_mode) or before.st_uid != os.geteuid():
        return
    mode = before.st_mode & 0o777
    if before.st_gid != os.fstat(descriptor).st_gid:
        try:
            os.fchown(descriptor, -1, before.st_gid)
        except OSError:
            mode &= ~0o070  # it would be another group that may read it
    os.fchmod(descriptor, mode)


def create_empty(path: Path) -> None:
    """Create an empty file, without a descriptor: to close one would release the locks that SQLite has on the file.

    Raises:
        FileExistsError: If anything is there, be it a symbolic link that leads nowhere.
        OSError: If it cannot be created.
    """
    try:
        os.mknod(path, stat.S_IFREG | PRIVATE)
    except PermissionError:  # where only root may do so, as on macOS, or nobody may
        os.close(os.open(path, os.O_RDWR | _NEW, PRIVATE))
    if path.lstat().st_mode & 0o777 != PRIVATE:
        path.chmod(PRIVATE)  # the umask has taken some of it away


def open_lock(path: Path) -> int:
    """The descriptor of a file to lock; it is created when it is not there, and its content is left alone.

    Raises:
        OSError: If it cannot be opened, is a symbolic link, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "something else than a plain file is there", str(path))
    return descriptor
