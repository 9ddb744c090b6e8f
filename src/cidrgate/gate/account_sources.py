"""Account sources: a header, an API key in a header, a route parameter or the path names the account of a request.

The edges also accept any callable. The source must name the account that the application then acts for. Do not use a
name that a client can choose freely: unless the application checks the account against the request's credentials, the
allowlist protects nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from cidrgate._engine import _is_plain
from cidrgate.errors import MissingAccountError, UnclearAccountError
from cidrgate.gate.header_names import check_token
from cidrgate.gate.request_paths import Exemptions, clear_path
from cidrgate.values import check_switches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["EXEMPT", "Exempt", "FromHeader", "FromPath", "FromRoute", "check_source", "required"]


class Exempt(Enum):
    """The type of `EXEMPT`."""

    EXEMPT = "exempt"


EXEMPT: Final = Exempt.EXEMPT
"""Used in place of an account: the request needs no account, and is allowed where other requests must name one."""


@dataclass(frozen=True, slots=True)
class FromHeader:
    """Reads the account from a header, or looks up the account of the API key in a header.

    A request without the header, or with an unknown key, acts for no account. The gate allows such a request, unless
    `require_account` is set: the application must reject it. Without `lookup`, the client writes the account's name
    into the header: use that only if the application checks the name against the request's credentials.

    Args:
        name: The name of the header, in upper or lower case.
        lookup: A function from the header's value to the account, or to None if there is no such account. Without it,
            the header contains the account itself.
        scheme: The scheme before the value, as in `Authorization: Bearer …`. A value without it names no account.
        exempt: Requests that need no account, as in `cidrgate.gate.request_paths.Exemptions`.
        allow_aliases: Whether to use the header under WSGI servers that may pass the last of `X-Account` and
            `X_Account`, as granian and Tornado do: all but gunicorn (22 or later), waitress and Werkzeug (3 or later),
            which drop the second, and uWSGI, hypercorn and bridges from ASGI, which join the two. Use it only if a
            proxy drops names such as `X_Account`, or if the client itself writes the header, as for an API key. A name
            without `-` and `_`, such as `authorization`, does not need it.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the name or the scheme is not a token (RFC 9110 section 5.6.2), or if a rule in `exempt` is not
            valid.

    Example:
        >>> keys = {"k-42": "acct-1"}
        >>> source = FromHeader("authorization", keys.get, scheme="Bearer")
        >>> source.account(["bearer k-42"]), source.account(["bearer k-43"]), source.account([])
        ('acct-1', None, None)
    """

    name: str
    lookup: Callable[[str], str | None] | None = None
    scheme: str | None = field(default=None, kw_only=True)
    exempt: Sequence[str] = field(default=(), kw_only=True)
    allow_aliases: bool = field(default=False, kw_only=True)
    _exemptions: Exemptions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_token(self.name, "the name of a header")
        check_switches(allow_aliases=self.allow_aliases)
        if self.scheme is not None:
            check_token(self.scheme, "a scheme")
        if self.lookup is not None and not callable(self.lookup):
            raise TypeError(f"lookup must be a function from a key to an account, not {self.lookup!r}")
        _keep_exemptions(self)

    def account(self, values: Sequence[str]) -> str | None:
        """Return the account of a request.

        Args:
            values: The value of each line of the header.

        Raises:
            UnclearAccountError: If the header is repeated, and in the cases of `of_value`.
        """
        if not values:
            return None
        if len(values) > 1:
            raise UnclearAccountError(f"the request contains the header {self.name} {len(values)} times")
        return self.of_value(values[0])

    def of_value(self, value: str) -> str | None:
        """Return the account of a request that contains the header once.

        Args:
            value: The header's value.

        Raises:
            UnclearAccountError: If the value contains a comma (servers join repeated headers with it), a character that
                is not printable ASCII, or a space after the credential that follows the scheme.
        """
        if _is_plain(value):
            return self.of_text(value)
        text = value.strip(" \t")
        if "," in text or not text.isascii() or not text.isprintable():
            raise UnclearAccountError(
                f"the header {self.name} contains a comma or a character that is not printable ASCII"
            )
        return self.of_text(text)

    def of_text(self, text: str) -> str | None:
        """Return the account for a header value of printable ASCII without commas and without surrounding spaces.

        Args:
            text: The header's value.

        Raises:
            UnclearAccountError: If there is a space after the credential that follows the scheme.
        """
        if self.scheme is not None:
            scheme, _, text = text.partition(" ")
            if scheme.lower() != self.scheme.lower():
                return None
            text = text.strip(" ")
            if " " in text:
                raise UnclearAccountError(f"the header {self.name} contains more than one credential")
        if not text:
            return None
        return text if self.lookup is None else self.lookup(text)


@dataclass(frozen=True, slots=True)
class FromRoute:
    """Reads the account from a parameter of the framework's route, so the framework and the gate see the same account.

    Use it only if the application checks this account against the request's credentials. It works with the edge of a
    framework, and not around any ASGI or WSGI application. A request whose route has no such parameter is denied unless
    it is exempt. A request without a route is denied too, or gets the 404 of the framework.

    Args:
        parameter: The parameter's name, as in `/v1/accounts/{account}`.
        exempt: Requests that need no account, as in `cidrgate.gate.request_paths.Exemptions`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the parameter is not an identifier, or if a rule in `exempt` is not valid.

    Example:
        >>> FromRoute("account").account({"account": "acct-1"})
        'acct-1'
    """

    parameter: str
    exempt: Sequence[str] = field(default=(), kw_only=True)
    _exemptions: Exemptions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.parameter, str):
            raise TypeError(f"the parameter of a route must be a str, not {self.parameter!r}")
        if not self.parameter.isidentifier():
            raise ValueError(
                f"{self.parameter!r} is not a parameter of a route: write only its name, such as 'account'"
            )
        _keep_exemptions(self)

    def account(self, parameters: Mapping[str, Any] | None) -> str | None:
        """Return the account of a request.

        Args:
            parameters: The route's parameters as the framework converted them; None if there is no route.

        Returns:
            The account as text, also if the framework converted it to an integer or a UUID; None if the parameter is
            missing.

        Raises:
            TypeError: If the framework converted the parameter to another type, or to an integer that writes another
                text, such as a member of an enumeration.
        """
        value = None if parameters is None else parameters.get(self.parameter)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, UUID) or (isinstance(value, int) and str(value) == int.__repr__(value)):
            return str(value)
        raise TypeError(
            f"the route's parameter {self.parameter} is a {type(value).__name__}, not text: use a callable that "
            "returns the account"
        )


@dataclass(frozen=True, slots=True)
class FromPath:
    r"""Reads the account from the path of a request, for applications that route by the path themselves.

    Do not use it behind a framework's router: the pattern is a second parser of the path, and an attacker can exploit a
    difference between two parsers. Use `FromRoute` there. Use it only if the application checks this account against
    the request's credentials.

    Args:
        pattern: A regular expression with a group `account`. It must match from the start of the decoded path, without
            the prefix that the application is mounted at (`root_path`, `SCRIPT_NAME`; a sub-application of aiohttp
            routes by the whole path), and up to a `/` or the end. A path that does not match, or that can be read in
            two ways, is denied unless it is exempt; see `cidrgate.gate.request_paths.clear_path`.
        exempt: Requests that need no account, as in `cidrgate.gate.request_paths.Exemptions`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the pattern is not a regular expression, has no group `account`, or cannot match any path; or if
            a rule in `exempt` is not valid.

    Example:
        >>> FromPath(r"/v1/accounts/(?P<account>[^/]+)", exempt=["GET /healthz"]).account("/v1/accounts/acct-1/calls")
        'acct-1'
    """

    pattern: str | re.Pattern[str]
    exempt: Sequence[str] = field(default=(), kw_only=True)
    _exemptions: Exemptions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(
            self.pattern if isinstance(self.pattern, str) else getattr(self.pattern, "pattern", None), str
        ):
            raise TypeError(f"the pattern must be a regular expression for text, not {self.pattern!r}")
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"the pattern {self.pattern!r} is not a regular expression: {error}") from error
        if "account" not in compiled.groupindex:
            raise ValueError(f"the pattern {self.pattern!r} needs a group named account: (?P<account>[^/]+)")
        if _RELATIVE.match(compiled.pattern):
            raise ValueError(f"the pattern {self.pattern!r} cannot match a path: every path begins with /")
        _keep_exemptions(self)

    def account(self, path: str, raw: bytes | None = None) -> str | None:
        """Return the account of a request, or None if the path does not match.

        Args:
            path: The decoded path that the application routes by.
            raw: The path as it was received, or None if the server does not provide it.

        Raises:
            UnclearAccountError: If the path can be read in more than one way.
        """
        found = re.match(self.pattern, clear_path(path, raw))
        if found is None or path[found.end() :][:1] not in ("", "/"):
            return None
        account: str | None = found["account"]
        return account


_RELATIVE = re.compile(r"(?:\^|\\A|\(\?[aiLmsux]+\))*[A-Za-z0-9]")


def _keep_exemptions(source: FromHeader | FromRoute | FromPath) -> None:
    """Parse the rules once, and store them so that later changes of the caller's list have no effect."""
    object.__setattr__(source, "_exemptions", Exemptions(source.exempt))
    object.__setattr__(source, "exempt", tuple(source.exempt))


def required(account: str | None) -> str:
    """Return the account from a source that requires one.

    Raises:
        MissingAccountError: If the account is None.
    """
    if account is None:
        raise MissingAccountError("the request acts for no account, and no exempt rule applies to it")
    return account


def check_source(account: object) -> None:
    """Check an account source at startup, before the first request.

    Raises:
        TypeError: If it cannot be called.
    """
    if not callable(account):
        raise TypeError(
            f"the account source must be FromHeader, FromRoute, FromPath or a callable that takes the request, "
            f"not {account!r}"
        )
