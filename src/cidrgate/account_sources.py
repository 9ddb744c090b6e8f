"""Where requests usually say which account they act for: a header, an API key in one, the path.

The edges take any callable as well. Whatever is used has to name the account that the application goes on to act for:
an account that nobody checks against the credentials of the request protects nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cidrgate.errors import UnclearAccountError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FromHeader", "FromPath"]


@dataclass(frozen=True, slots=True)
class FromHeader:
    """The account a header names, or belongs to the API key in it.

    Args:
        name: The header, in any case.
        lookup: From what the header holds to the account, or None where it belongs to none; the account itself is in
            the header when there is no lookup.
        scheme: The scheme before it, as in `Authorization: Bearer …`; anything without it names no account.

    Example:
        >>> keys = {"k-42": "acct-1"}
        >>> source = FromHeader("authorization", keys.get, scheme="Bearer")
        >>> source.account(["bearer k-42"]), source.account(["bearer k-43"]), source.account([])
        ('acct-1', None, None)
    """

    name: str
    lookup: Callable[[str], str | None] | None = None
    scheme: str | None = None

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
            UnclearAccountError: If there is a comma, by which servers join lines, or a character that is not
                printable ASCII.
        """
        text = value.strip(" \t")
        if "," in text or not text.isascii() or not text.isprintable():
            raise UnclearAccountError(f"the header {self.name} holds a comma, or other characters than printable ASCII")
        if self.scheme is not None:
            scheme, _, text = text.partition(" ")
            if scheme.lower() != self.scheme.lower():
                return None
            text = text.strip(" ")
        if not text:
            return None
        return text if self.lookup is None else self.lookup(text)


@dataclass(frozen=True, slots=True)
class FromPath:
    r"""The account that the path of a request names.

    Args:
        pattern: A regular expression with a group `account` that matches from the start of the decoded path, as the
            client asked for it. A path that does not match names no account.

    Raises:
        ValueError: If the pattern has no such group.

    Example:
        >>> FromPath(r"/v1/accounts/(?P<account>[^/]+)").account("/v1/accounts/acct-1/calls")
        'acct-1'
    """

    pattern: str | re.Pattern[str]

    def __post_init__(self) -> None:
        if "account" not in re.compile(self.pattern).groupindex:
            raise ValueError(f"the pattern {self.pattern!r} needs a group named account: (?P<account>[^/]+)")

    def account(self, path: str) -> str | None:
        """The account of a request.

        Args:
            path: Its path, decoded.
        """
        found = re.match(self.pattern, path)
        return None if found is None else found["account"]
