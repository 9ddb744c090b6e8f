"""Files that only their owner can read: other users of a machine must not see lists or hashes of tokens.

A file is created with mode 0600 whatever the umask of the process is, under a name that cannot be guessed, and never
through a symbolic link. To let others read a file, change its mode afterwards: a replacement takes over the mode and
the group of the file before it.

A process that is killed leaves its unfinished file behind. The next one that writes in the same directory deletes it: a
process has a lock on the file while it writes.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cidrgate.process.database_files import refuse_database

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PRIVATE", "create_empty", "open_lock", "replacement"]

PRIVATE = 0o600
"""The mode of a file that only its owner can read and write."""

_UNFINISHED = re.compile(r"\.cidrgate-[0-9a-f]{24}")

_LEFT_AFTER = 60.0
"""Seconds without a write after which an unfinished file without a lock is left behind. A process locks it at once, but
not every network file system tells other machines of the lock."""

_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def replacement(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file for writing; it replaces the file at `path`, atomically and on disk, if the block succeeds.

    The new file is written in the same directory. A symbolic link at `path` is replaced, not followed.

    Args:
        path: The path of the file to replace.

    Raises:
        OSError: If the file cannot be written, its directory cannot be read, or `path` is a database, a file beside
            one, a pipe or a device. `path` is then unchanged. If the disk fails last, when it stores the new name, the
            new file is there and may be lost when the machine stops.

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
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _refuse_device(path)
    refuse_database(path)
    _delete_left_files(path.parent)
    temporary = path.with_name(f".cidrgate-{secrets.token_hex(12)}")
    # First, because a directory that cannot be read must not be an error after the file was replaced.
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | _NEW, PRIVATE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with suppress(OSError):  # without locks on this file system, nobody takes this file for a left one
                    _lock(descriptor)
                os.fchmod(descriptor, PRIVATE)  # the umask may have removed some permissions
                yield file
                file.flush()
                _hand_down_mode(path, descriptor)
                os.fsync(descriptor)
                temporary.replace(path)  # while it is locked
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        os.fsync(directory)  # the new name is on the disk only when the directory is
    finally:
        os.close(directory)


def _delete_left_files(folder: Path) -> None:
    """Delete the unfinished files of this user's processes that were killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _UNFINISHED.fullmatch(entry.name):
                with suppress(OSError):  # another process has deleted or finished it, or is writing it
                    _delete_if_left(Path(entry.path))


def _delete_if_left(path: Path) -> None:
    """Delete an unfinished file, unless a process may be writing it.

    Raises:
        OSError: If a process is writing it, or it cannot be deleted.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and time.time() - found.st_mtime > _LEFT_AFTER:
            _lock(descriptor)
            path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file until it is closed.

    Raises:
        OSError: If another process has the lock, or the file system has no locks.
    """
    import fcntl  # only POSIX has it

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _refuse_device(path: Path) -> None:
    """Refuse to put a file in the place of a pipe or a device, such as /dev/null, or of a link to one."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return  # it does not exist
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise FileExistsError(errno.EEXIST, "this is not a regular file", str(path))


def _hand_down_mode(path: Path, descriptor: int) -> None:
    """Give a new file the mode and the group of the file it replaces, if this user owns that file."""
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
            mode &= ~0o070  # otherwise a different group could read it
    os.fchmod(descriptor, mode)


def create_empty(path: Path) -> None:
    """Create an empty file without a descriptor: closing one would release the locks that SQLite has on the file.

    Raises:
        FileExistsError: If anything exists at the path, even a dangling symbolic link.
        OSError: If the file cannot be created.
    """
    try:
        os.mknod(path, stat.S_IFREG | PRIVATE)
    except PermissionError:  # only root may call mknod on macOS; some systems refuse it to everyone
        os.close(os.open(path, os.O_RDWR | _NEW, PRIVATE))
    if path.lstat().st_mode & 0o777 != PRIVATE:
        path.chmod(PRIVATE)  # the umask has removed some permissions


def open_lock(path: Path) -> int:
    """Open a lock file and return its descriptor. The file is created if it is missing; its content is not changed.

    Raises:
        OSError: If the file cannot be opened, is a symbolic link or a database, or is not a regular file.
    """
    refuse_database(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "this is not a regular file", str(path))
    return descriptor
