"""Which store a URL or a path names, and what of either may be shown.

The URL of a database may hold a password, and so may what somebody typed in its place. Every message that repeats any
of it goes through `redacted`.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from typing import Literal

from cidrgate.errors import StoreError

__all__ = ["StoreKind", "is_ambiguous", "redacted", "redacted_message", "store_of"]

StoreKind = Literal["memory", "sqlite", "postgresql"]

_SUPPORTED = (
    "a path, sqlite:///relative/path.db, sqlite:////absolute/path.db, postgresql://user@host:port/database, or in "
    "Python memory://"
)

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
"""The schemes of PostgreSQL: libpq's two, and SQLAlchemy's for the driver that is used."""

_MASK = "***"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", re.ASCII)

_PASSWORD_OF_USER = re.compile(
    r"((?<!sqlite)://[^:/?#@]*)[:/?#].*@|((?:^|sqlite://)[^:@]*):(?!//).*@", re.ASCII | re.DOTALL
)
"""A user's name, and what stands between it and the last `@`; a path of SQLite may hold slashes."""

_PASSWORD_IN_MESSAGE = re.compile(r"(://[^:/?#@\s]*):.*@", re.ASCII | re.DOTALL)
_WORD = re.compile(r"\S+")
"""In a message a password may hold spaces only where nothing else can be meant: behind the colon of a user's name."""

_SECRET_SETTING = re.compile(
    r"((?:pass|pwd|secret|credential|token)\w{0,30}\s{0,9}(?:=|%3D)).+", re.ASCII | re.IGNORECASE | re.DOTALL
)
"""The name of a setting whose value only the database may see, such as `sslpassword`, and all that follows it."""

_LIBPQ_SETTING = re.compile(
    r"(?:^|\s)(?:host|hostaddr|port|dbname|user|service|\w{0,9}pass\w{0,9})\s{0,9}=", re.ASCII | re.IGNORECASE
)

_SIGN_OF_SETTINGS = re.compile(r"[@=?&:;,\s]")
"""What stands in no plain path."""

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/](?!/)|\\\\|(?:sqlite:///+|file:/*)[A-Za-z]:[\\/]", re.ASCII)
"""With the letter of a drive, or the name of a server."""

_MISSPELT_URL = re.compile(r"\s|:|['\"<]?[A-Za-z][A-Za-z0-9+.-]{0,30}:|//|[^/]{0,300}:[^@]{0,300}@", re.ASCII)
"""How a text begins that was meant as a URL."""


def redacted(text: str) -> str:
    """A URL, a path, or settings of libpq, without what may be a password in them.

    Where a password ends cannot be told when it was not written as it should be. So everything is masked between the
    user's name and the last `@`, and everything that follows the name of a secret setting.

    Example:
        >>> redacted("postgresql://me:se@cret@host/lists?sslmode=require")
        'postgresql://me:***@host/lists?sslmode=require'
        >>> redacted("host=db password='my secret' dbname=lists")
        'host=db password=***'
        >>> redacted("/srv/lists.db")
        '/srv/lists.db'
    """
    return _PASSWORD_OF_USER.sub(rf"\1\2:{_MASK}@", _SECRET_SETTING.sub(rf"\1{_MASK}", text), count=1)


def redacted_message(text: str) -> str:
    """A message that may repeat a URL or settings, among other words, without what may be a password in them.

    Example:
        >>> redacted_message("there is no account 'postgresql://me:my secret@host/lists'")
        "there is no account 'postgresql://me:***@host/lists'"
        >>> redacted_message("error: memory://x is no store; write postgresql://user@host:port/database")
        'error: memory://x is no store; write postgresql://user@host:port/database'
    """
    text = _SECRET_SETTING.sub(rf"\1{_MASK}", text)
    text = _PASSWORD_IN_MESSAGE.sub(rf"\1:{_MASK}@", text)
    return _WORD.sub(lambda word: redacted(word[0]) if "@" in word[0] else word[0], text)


def is_ambiguous(url: str) -> bool:
    """Whether a password in the settings of a URL holds an `@`, so that half of it would be taken for the host.

    Example:
        >>> is_ambiguous("postgresql://host/lists?password=my@secret"), is_ambiguous("postgresql://me:a?b@host/lists")
        (True, False)
    """
    return _SECRET_SETTING.search(url.rpartition("@")[0]) is not None


def store_of(url: str | os.PathLike[str]) -> tuple[StoreKind, str]:
    """Which store a URL or a path names: the one reader of what the library, the commands and Django are given.

    Args:
        url: As for `cidrgate.stores.open_store`. A `~/` at the beginning of a text is the user's home, also where no
            shell has seen it; a `pathlib.Path` is taken as it is.

    Returns:
        The kind of the store, and what it is opened with: nothing, the path of a file, or a URL.

    Raises:
        StoreError: If it names none; the message repeats nothing that may be a password.

    Example:
        >>> store_of("lists.db"), store_of("sqlite:////srv/lists.db"), store_of("memory://")
        (('sqlite', 'lists.db'), ('sqlite', '/srv/lists.db'), ('memory', ''))
        >>> store_of("postgres://me@host/lists")
        ('postgresql', 'postgresql://me@host/lists')
    """
    if not isinstance(url, str):
        if isinstance(url, os.PathLike):
            return "sqlite", os.fsdecode(url)
        raise StoreError(f"the address of the store is {type(url).__name__}, not text: write one of: {_SUPPORTED}")
    problem = _problem(url)
    if problem is not None:
        raise StoreError(f"{_shown(url)} names no store cidrgate can open: {problem}; write one of: {_SUPPORTED}")
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator:
        return "memory", ""
    if scheme in _POSTGRESQL and separator:
        return "postgresql", f"postgresql://{rest}" if scheme == "postgres" else url
    return "sqlite", _from_home(rest.removeprefix("/") if separator else url)


def _problem(url: str) -> str | None:
    """Why a text names no store, in words that repeat none of it; None if it names one."""
    scheme, separator, rest = url.partition("://")
    if not url.strip():
        return "it is empty"
    if "\0" in url:
        return "it holds a NUL character"
    if url != url.strip() or url[0] in "'\"<":
        return "it has whitespace, quotes or brackets around it"
    if _WINDOWS_PATH.match(url):
        return "it is a path of Windows, and cidrgate runs on Linux and macOS"
    if url in (":memory:", "memory:", "sqlite:///:memory:", "sqlite://:memory:"):
        return "a store in memory is memory://"
    if not separator:
        if _LIBPQ_SETTING.search(url):
            return "PostgreSQL is named by a URL"
        if _MISSPELT_URL.match(url):
            return "a URL has :// behind its scheme, and a path with a colon begins with ./"
        return None
    if scheme == "memory":
        return "nothing follows memory://" if rest else None
    if scheme == "sqlite":
        if not rest.strip("/"):
            return "it names no file"
        return None if rest.startswith("/") else "the path follows three slashes"
    if scheme in _POSTGRESQL:
        return None if rest else "it names no host and no database"
    if scheme == "file":
        return "a file is named by its path alone"
    likely = "postgresql" if scheme.lower().startswith("postgres") else _close_to(scheme)
    return f"did you mean {likely}://?" if likely else "there is no such kind of store"


def _close_to(scheme: str) -> str | None:
    """The scheme that was meant, if that can be told."""
    found = get_close_matches(scheme.lower(), ("postgresql", "sqlite", "memory"), n=1, cutoff=0.75)
    return found[0] if found else None


def _from_home(path: str) -> str:
    """The path of a file, with the user's home for `~/`."""
    if not path.startswith("~/"):
        return path
    found = os.path.expanduser(path)  # noqa: PTH111 - a path that begins with ~ is text until here
    if found.startswith("~"):
        raise StoreError("the user has no home: write the whole path of the store in the place of ~")
    return found


def _shown(url: str) -> str:
    """A text that names no store, as far as it can hold no password: nothing says where one is."""
    scheme, separator, rest = url.partition("://")
    if url in (":memory:", "sqlite:///:memory:") or not _SIGN_OF_SETTINGS.search(
        rest if separator else url.rstrip(":").removeprefix("sqlite:")
    ):
        return repr(url)
    return repr(f"{scheme}://…") if separator and _SCHEME.fullmatch(scheme) else "this text"
