"""Request paths: which paths are unambiguous, and which requests need not name an account.

Servers, proxies and frameworks decode, fold, strip and cut paths in different ways. A path that two of them could read
differently names no account and is never exempt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cidrgate.errors import UnclearAccountError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["Exemptions", "clear_path", "route_path", "routed_path"]

_LONGEST_PATH = 8_192
"""The longest path that is accepted, in characters."""

# Some parsers start parameters at `;` and end the path at `?` or `#`. A remaining escape was encoded twice.
_UNCLEAR = re.compile(r"[\\;?#\ufffd]|%[0-9A-Fa-f]{2}")
_ENCODED = re.compile(rb"%(?:2[fF]|5[cC]|25)|\\")
_RULE = re.compile(r"(\*|[A-Z]+(?:[-_][A-Z]+)*) (\*|/\S*)")


def clear_path(path: str, raw: bytes | None = None) -> str:
    """Return a path if every parser between the client and the application reads it in the same way.

    Args:
        path: The decoded path.
        raw: The path as the client sent it, still encoded, with or without a query; None if the server does not
            provide it.

    Raises:
        UnclearAccountError: If the path does not begin with `/`, is longer than 8,192 characters, has an empty segment
            before the last segment, has a segment `.` or `..`, or contains a backslash, `;`, `?`, `#`, an escape that
            was encoded twice, a character that is not printable, or bytes that are not UTF-8; or if the raw path
            contains an encoded slash, backslash or percent sign.

    Example:
        >>> clear_path("/v1/accounts/acct-1")
        '/v1/accounts/acct-1'
        >>> clear_path("/v1//accounts/acct-1")
        Traceback (most recent call last):
        ...
        cidrgate.errors.UnclearAccountError: the path '/v1//accounts/acct-1' can be read in more than one way
    """
    segments = path.split("/")
    if (
        path[:1] != "/"
        or len(path) > _LONGEST_PATH
        or not path.isprintable()
        or _UNCLEAR.search(path)
        or "" in segments[1:-1]
        or "." in segments
        or ".." in segments
        or (raw is not None and _ENCODED.search(raw.partition(b"?")[0]))
    ):
        raise UnclearAccountError(f"the path {path[:200]!r} can be read in more than one way")
    return path


def route_path(path: str, root: str) -> str:
    """Return the path that an ASGI application routes by, without the root path.

    A server that is told a root path with a `/` at its end, such as uvicorn, writes it before the `/` of the path.

    Args:
        path: `path` of the scope.
        root: `root_path` of the scope.

    Raises:
        UnclearAccountError: If the path contains the root path but does not begin with it: frameworks read such a path
            in different ways.
    """
    if not root or root not in path:
        return path
    below = path[len(root) :]
    if path.startswith(root) and (below[:1] == "/" or (not below and root[-1] != "/")):
        return below
    if root == "/" and path[:1] == "/":
        return path
    raise UnclearAccountError(
        f"the path {path[:200]!r} contains the root path {root[:200]!r} but does not begin with it"
    )


def routed_path(scope: Mapping[str, Any]) -> str:
    """Return the path by which an application of Starlette routes, wherever it is mounted.

    Starlette routes a path that is unclear for `route_path` as a whole.

    Args:
        scope: An ASGI scope.

    Example:
        >>> routed_path({"path": "/admin/healthz", "root_path": "/admin"}), routed_path({"path": "/healthz"})
        ('/healthz', '/healthz')
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root:
        return path
    try:
        return route_path(path, root)
    except UnclearAccountError:
        return path


class Exemptions:
    """Requests that need no account, such as health checks, CORS preflights and the login page.

    The gate allows every request that a rule matches, from any address. Each rule is a method and a path with one space
    between them: `GET /healthz`.

    - The method is in capitals. `GET` also matches `HEAD` and WebSockets; `*` matches every method.
    - The decoded path by which the application routes is compared as a whole, without the prefix that the application
      is mounted at (`root_path`, `SCRIPT_NAME`), but with that of a sub-application of aiohttp. A last segment `*`
      matches everything below: `GET /static/*`. A single `*` matches every path: `OPTIONS *`.

    Args:
        rules: The rules.

    Raises:
        TypeError: If the rules are one str, or if a rule is not a str.
        ValueError: If a rule is not valid, or if it exempts every request.

    Example:
        >>> exemptions = Exemptions(["GET /healthz", "OPTIONS *", "* /static/*"])
        >>> exemptions.match("HEAD", "/healthz"), exemptions.match("OPTIONS", "/v1/calls")
        (True, True)
        >>> exemptions.match("GET", "/healthz/"), exemptions.match("GET", "/static/../v1/calls")
        (False, False)
    """

    __slots__ = ("_anywhere", "_below", "_exactly")

    def __init__(self, rules: Sequence[str]) -> None:
        if isinstance(rules, str):
            raise TypeError(f"exempt must be a list of rules, not one str: write [{rules!r}]")
        self._anywhere: set[str] = set()
        self._exactly: set[tuple[str, str]] = set()
        self._below: list[tuple[str, str]] = []
        for rule in rules:
            if not isinstance(rule, str):
                raise TypeError(f"a rule of exempt must be a str such as 'GET /healthz', not {rule!r}")
            self._add(rule)

    def _add(self, rule: str) -> None:
        parts = _RULE.fullmatch(rule)
        if parts is None:
            raise ValueError(
                f"exempt {rule!r}: write a method in capitals or *, one space, and a path or *, as in 'GET /healthz'"
            )
        method, path = parts.groups()
        if method == "*" and path in ("*", "/*"):
            raise ValueError(f"exempt {rule!r} exempts every request: name the methods or the paths")
        methods = ("GET", "HEAD") if method == "GET" else (method,)
        if path == "*":
            self._anywhere.update(methods)
            return
        named, below = (path[:-1], True) if path.endswith("/*") else (path, False)
        try:
            clear_path(named)
        except UnclearAccountError as error:
            raise ValueError(f"exempt {rule!r}: {error}; write the decoded path") from error
        if "*" in named:
            raise ValueError(f"exempt {rule!r}: * must be the whole path or the last segment, as in 'GET /static/*'")
        for one in methods:
            if below:
                self._below.append((one, named))
            else:
                self._exactly.add((one, named))

    def match(self, method: str, path: str | None, raw: bytes | None = None) -> bool:
        """Return whether a request is exempt. Only a rule for every path matches a path that is ambiguous.

        Args:
            method: The request's method, as it was received.
            path: The decoded path that the application routes by, or None if it is unknown.
            raw: As in `clear_path`.
        """
        if method in self._anywhere:
            return True
        if path is None or not self._names(method, path):
            return False
        try:
            clear_path(path, raw)
        except UnclearAccountError:
            return False
        return True

    def _names(self, method: str, path: str) -> bool:
        if (method, path) in self._exactly or ("*", path) in self._exactly:
            return True
        return any(one in (method, "*") and path.startswith(prefix) for one, prefix in self._below)
