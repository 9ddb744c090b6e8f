"""Where requests usually say which account they act for: a header, an API key in one, the route, the path.

The edges take any callable as well. Whatever is used has to name the account that the application goes on to act for:
an account that nobody checks against the credentials of the request protects nothing.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["EXEMPT", "Exempt", "FromHeader", "FromPath", "FromRoute", "check_source", "required"]


class Exempt(Enum):
    """The type of `EXEMPT`."""

    EXEMPT = "exempt"


EXEMPT: Final = Exempt.EXEMPT
"""In the place of an account: the request acts for none by nature, and passes where others have to name theirs."""


@dataclass(frozen=True, slots=True)
class FromHeader:
    """The account a header names, or belongs to the API key in it.

    Without the header, or with a key that belongs to nobody, a request acts for no account: it passes, for the
    application to refuse, unless the gate has `require_account`.

    Args:
        name: The header, in any case.
        lookup: From what the header holds to the account, or None where it belongs to none; the account itself is in
            the header when there is no lookup.
        scheme: The scheme before it, as in `Authorization: Bearer …`; anything without it names no account.
        exempt: Requests that act for no account by nature, as in `cidrgate.gate.request_paths.Exemptions`.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If the name or the scheme is no token (RFC 9110 section 5.6.2), or a rule does not follow its
            grammar.

    Example:
        >>> keys = {"k-42": "acct-1"}
        >>> source = FromHeader("authorization", keys.get, scheme="Bearer")
        >>> source.account(["bearer k-42"]), source.account(["bearer k-43"]), source.account([])
        ('acct-1', None, None)
    """

    name: str
    lookup: Callable[[str], str | None] | None = None
    scheme: str | None = None
    exempt: Sequence[str] = field(default=(), kw_only=True)
    exemptions: Exemptions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_token(self.name, "the name of a header")
        if self.scheme is not None:
            check_token(self.scheme, "a scheme")
        if self.lookup is not None and not callable(self.lookup):
            raise TypeError(f"lookup is a function from a key to an account, not {self.lookup!r}")
        _keep_exemptions(self)

    def account(self, values: Sequence[str]) -> str | None:
        """The account of a request.

        Args:
            values: The value of each line of the header.

        Raises:
            UnclearAccountError: As `of_value`, and if there are several.
        """
        if not values:
            return None
        if len(values) > 1:
            raise UnclearAccountError(f"the header {self.name} came {len(values)} times")
        return self.of_value(values[0])

    def of_value(self, value: str) -> str | None:
        """The account of a request whose header came once.

        Args:
            value: The header's value.

        Raises:
            UnclearAccountError: If there is a comma, by which servers join lines, a character that is not printable
                ASCII, or a space behind the credential that follows the scheme.
        """
        if _is_plain(value):
            return self.of_text(value)
        text = value.strip(" \t")
        if "," in text or not text.isascii() or not text.isprintable():
            raise UnclearAccountError(f"the header {self.name} holds a comma, or other characters than printable ASCII")
        return self.of_text(text)

    def of_text(self, text: str) -> str | None:
        """The account of a request whose header came once and holds printable ASCII, no comma, and no space around it.

        Args:
            text: The header's value.

        Raises:
            UnclearAccountError: If there is a space behind the credential that follows the scheme.
        """
        if self.scheme is not None:
            scheme, _, text = text.partition(" ")
            if scheme.lower() != self.scheme.lower():
                return None
            text = text.strip(" ")
            if " " in text:
                raise UnclearAccountError(f"the header {self.name} holds more than one credential")
        if not text:
            return None
        return text if self.lookup is None else self.lookup(text)


@dataclass(frozen=True, slots=True)
class FromRoute:
    """The account that a parameter of the framework's own route names: what the framework routes by is what counts.

    For the edges of frameworks, which know the route. A request whose route has no such parameter, or that
    has no route, is denied unless it is exempt.

    Args:
        parameter: The parameter's name, as in `/v1/accounts/{account}`.
        exempt: Requests that act for no account by nature, as in `cidrgate.gate.request_paths.Exemptions`.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If the parameter is no identifier, or a rule does not follow its grammar.

    Example:
        >>> FromRoute("account").account({"account": "acct-1"})
        'acct-1'
    """

    parameter: str
    exempt: Sequence[str] = field(default=(), kw_only=True)
    exemptions: Exemptions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.parameter, str):
            raise TypeError(f"the parameter of a route is a str, not {self.parameter!r}")
        if not self.parameter.isidentifier():
            raise ValueError(f"{self.parameter!r} is no parameter of a route: write its name alone, such as 'account'")
        _keep_exemptions(self)

    def account(self, parameters: Mapping[str, Any] | None) -> str | None:
        """The account of a request.

        Args:
            parameters: What the framework made of the route's parameters; None where there is no route.

        Returns:
            The account, in its canonical text where a converter made a number or a UUID of it; None without the
            parameter.

        Raises:
            TypeError: If a converter made anything else of it.
        """
        value = None if parameters is None else parameters.get(self.parameter)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (int, UUID)) and not isinstance(value, bool):
            return str(value)
        raise TypeError(
            f"the route's parameter {self.parameter} is a {type(value).__name__}, not text: use a callable that names "
            "the account"
        )


@dataclass(frozen=True, slots=True)
class FromPath:
    r"""The account that the path of a request names, for applications that route by the path themselves.

    The pattern is a second parser of what the application routes by. Where a framework routes, use `FromRoute`: then
    there is one parser, and no difference between two for somebody to look for.

    Args:
        pattern: A regular expression with a group `account` that matches from the start of the decoded path, without
            the prefix that the application is mounted at (`root_path`, `SCRIPT_NAME`), and up to a `/` or the end. A
            path that does not match is denied unless it is exempt, as is one that can be read in two ways; see
            `cidrgate.gate.request_paths.clear_path`.
        exempt: Requests that act for no account by nature, as in `cidrgate.gate.request_paths.Exemptions`.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If the pattern is no regular expression, has no such group, or can match no path; or a rule does not
            follow its grammar.

    Example:
        >>> FromPath(r"/v1/accounts/(?P<account>[^/]+)", exempt=["GET /healthz"]).account("/v1/accounts/acct-1/calls")
        'acct-1'
    """

    pattern: str | re.Pattern[str]
    exempt: Sequence[str] = field(default=(), kw_only=True)
    exemptions: Exemptions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(
            self.pattern if isinstance(self.pattern, str) else getattr(self.pattern, "pattern", None), str
        ):
            raise TypeError(f"the pattern is a regular expression of text, not {self.pattern!r}")
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"the pattern {self.pattern!r} is no regular expression: {error}") from error
        if "account" not in compiled.groupindex:
            raise ValueError(f"the pattern {self.pattern!r} needs a group named account: (?P<account>[^/]+)")
        if _RELATIVE.match(compiled.pattern):
            raise ValueError(f"the pattern {self.pattern!r} matches no path: every path begins with /")
        _keep_exemptions(self)

    def account(self, path: str, raw: bytes | None = None) -> str | None:
        """The account of a request; None where the path does not match.

        Args:
            path: The decoded path that the application routes by.
            raw: The path as it came, where the server says it.

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
    """Read the rules once, and keep them as they were when they were read."""
    object.__setattr__(source, "exemptions", Exemptions(source.exempt))
    object.__setattr__(source, "exempt", tuple(source.exempt))


def required(account: str | None) -> str:
    """The account of a source whose requests have to name one.

    Raises:
        MissingAccountError: If there is none.
    """
    if account is None:
        raise MissingAccountError("the request acts for no account, and no exempt rule is for it")
    return account


def check_source(account: object) -> None:
    """Refuse what is no source of accounts, before the first request does.

    Raises:
        TypeError: If it cannot be called.
    """
    if not callable(account):
        raise TypeError(
            f"the account comes from FromHeader, FromRoute, FromPath or a callable that is given the request, "
            f"not from {account!r}"
        )
