"""Which store a URL or a path names, and what of either may be shown.

The URL of a database may hold a password, and so may what somebody typed in its place. Every message that repeats any
of it goes through `redacted`.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from cidrgate.errors import StoreError

__all__ = ["StoreKind", "is_ambiguous", "redacted", "redacted_message", "store_of"]

StoreKind = Literal["memory", "sqlite", "postgresql"]

_SUPPORTED = (
    "a path, memory://, sqlite:///relative/path.db, sqlite:////absolute/path.db, postgresql://user@host:port/database"
)

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
    """Which store a URL or a path names.

    Args:
        url: As for `cidrgate.stores.open_store`.

    Returns:
        The kind of the store, and what it is opened with: nothing, the path of a file, or a URL.

    Raises:
        StoreError: If it names none; the message repeats nothing that may be a password.

    Example:
        >>> store_of("lists.db"), store_of("sqlite:////srv/lists.db"), store_of("memory://")
        (('sqlite', 'lists.db'), ('sqlite', '/srv/lists.db'), ('memory', ''))
    """
    if not isinstance(url, str):
        return "sqlite", os.fspath(url)
    scheme, separator, rest = url.partition("://")
    if not separator:
        if url and not _MISSPELT_URL.match(url) and not _LIBPQ_SETTING.search(url):
            return "sqlite", url
    elif scheme == "memory" and not rest:
        return "memory", ""
    elif scheme == "sqlite":
        path = rest.removeprefix("/")
        if rest.startswith("/") and path and path != ":memory:":
            return "sqlite", path
    elif scheme in ("postgresql", "postgresql+psycopg") and rest:
        return "postgresql", url
    raise StoreError(f"{_shown(url)} names no store cidrgate can open; write one of: {_SUPPORTED}")


def _shown(url: str) -> str:
    """A text that names no store, as far as it can hold no password: nothing says where one is."""
    scheme, separator, rest = url.partition("://")
    if url in (":memory:", "sqlite:///:memory:") or not _SIGN_OF_SETTINGS.search(
        rest if separator else url.rstrip(":").removeprefix("sqlite:")
    ):
        return repr(url)
    return repr(f"{scheme}://…") if separator and _SCHEME.fullmatch(scheme) else "this text"
