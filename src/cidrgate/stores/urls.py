"""Functions that read the URL or path of a store, and remove passwords from messages that repeat it.

The URL of a database may contain a password, and so may a text that was entered by mistake. Every message that repeats
a part of it must use `redacted`.
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
"""The schemes of PostgreSQL: the two of libpq, and SQLAlchemy's scheme for the driver that cidrgate uses."""

_MASK = "***"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", re.ASCII)

_PASSWORD_OF_USER = re.compile(
    r"((?<!sqlite)://[^:/?#@]*)[:/?#].*@|((?:^|sqlite://)[^:@]*):(?!//).*@", re.ASCII | re.DOTALL
)
"""A user's name, and the text between it and the last `@`. A path of SQLite may contain slashes."""

_PASSWORD_IN_MESSAGE = re.compile(r"(://[^:/?#@\s]*):.*@", re.ASCII | re.DOTALL)
_WORD = re.compile(r"\S+")
"""In a message, a password may contain spaces only in an unambiguous place: after the colon of a user's name."""

_SECRET_SETTING = re.compile(
    r"((?:pass|pwd|secret|credential|token)\w{0,30}\s{0,9}(?:=|%3D)).+", re.ASCII | re.IGNORECASE | re.DOTALL
)
"""The name of a secret setting, such as `sslpassword`, and all text after it."""

_LIBPQ_SETTING = re.compile(
    r"(?:^|\s)(?:host|hostaddr|port|dbname|user|service|\w{0,9}pass\w{0,9})\s{0,9}=", re.ASCII | re.IGNORECASE
)

_SIGN_OF_SETTINGS = re.compile(r"[@=?&:;,\s]")
"""Characters that a plain path does not contain."""

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/](?!/)|\\\\|(?:sqlite:///+|file:/*)[A-Za-z]:[\\/]", re.ASCII)
"""A path with a drive letter or the name of a server."""

_MISSPELT_URL = re.compile(r"\s|:|['\"<]?[A-Za-z][A-Za-z0-9+.-]{0,30}:|//|[^/]{0,300}:[^@]{0,300}@", re.ASCII)
"""The beginning of a text that was probably meant as a URL."""


def redacted(text: str) -> str:
    """Mask everything in a URL, a path or settings of libpq that may be a password.

    If a password is not written correctly, its end is unknown. So everything between the user's name and the last `@`
    is masked, and everything after the name of a secret setting.

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
    """Mask everything that may be a password in a message that repeats a URL or settings among other words.

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
    """Return whether a password in a URL's settings contains an `@`, so that a part of it would be read as the host.

    Example:
        >>> is_ambiguous("postgresql://host/lists?password=my@secret"), is_ambiguous("postgresql://me:a?b@host/lists")
        (True, False)
    """
    return _SECRET_SETTING.search(url.rpartition("@")[0]) is not None


def store_of(url: str | os.PathLike[str]) -> tuple[StoreKind, str]:
    """Return which store a URL or a path names. The library, the commands and Django all use this function.

    Args:
        url: As for `cidrgate.stores.open_store`. A `~/` at the beginning of a text is the user's home, even if no shell
            expanded it. A `pathlib.Path` is used unchanged.

    Returns:
        The kind of the store, and what it is opened with: an empty text, the path of a file, or a URL.

    Raises:
        StoreError: If it names no store. The message contains nothing that may be a password.

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
    """Return the reason why a text names no store, without repeating the text; None if it names a store."""
    scheme, separator, rest = url.partition("://")
    if not url.strip():
        return "it is empty"
    if "\0" in url:
        return "it contains a NUL character"
    if url != url.strip() or url[0] in "'\"<":
        return "it has whitespace, quotes or brackets around it"
    if _WINDOWS_PATH.match(url):
        return "it is a Windows path, and cidrgate runs on Linux and macOS"
    if url in (":memory:", "memory:", "sqlite:///:memory:", "sqlite://:memory:"):
        return "a store in memory is memory://"
    if not separator:
        if _LIBPQ_SETTING.search(url):
            return "PostgreSQL needs a URL"
        if _MISSPELT_URL.match(url):
            return "a URL has :// after its scheme, and a path with a colon begins with ./"
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
        return "for a file, write only its path"
    likely = "postgresql" if scheme.lower().startswith("postgres") else _close_to(scheme)
    return f"did you mean {likely}://?" if likely else "there is no such kind of store"


def _close_to(scheme: str) -> str | None:
    """Return the supported scheme that is most similar to a text, or None."""
    found = get_close_matches(scheme.lower(), ("postgresql", "sqlite", "memory"), n=1, cutoff=0.75)
    return found[0] if found else None


def _from_home(path: str) -> str:
    """Return the path of a file, with the user's home instead of `~/`."""
    if not path.startswith("~/"):
        return path
    found = os.path.expanduser(path)  # noqa: PTH111 - a path that begins with ~ is text until here
    if found.startswith("~"):
        raise StoreError("the user has no home directory: write the whole path of the store instead of ~")
    return found


def _shown(url: str) -> str:
    """Return as much of a text that names no store as cannot contain a password."""
    scheme, separator, rest = url.partition("://")
    if url in (":memory:", "sqlite:///:memory:") or not _SIGN_OF_SETTINGS.search(
        rest if separator else url.rstrip(":").removeprefix("sqlite:")
    ):
        return repr(url)
    return repr(f"{scheme}://…") if separator and _SCHEME.fullmatch(scheme) else "this text"
