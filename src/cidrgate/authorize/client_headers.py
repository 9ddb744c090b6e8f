"""Detects client headers that the proxy and the API behind it could read in different ways.

nginx, Caddy and, unless configured otherwise, Traefik pass the client's headers on to the authorize endpoint. If a
client repeats the header with its API key, a proxy may see only one of the lines. And a proxy may not know that an API
reads X_Account as X-Account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.header_names import check_token
from cidrgate.values import check_switches, several_texts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["CREDENTIAL_HEADERS", "ClientHeaders"]

CREDENTIAL_HEADERS = ("authorization", "x-api-key")
"""Headers with a credential from which an API may derive the account."""

_PLAIN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"
"""The characters of unambiguous header names: WSGI reads `_` as `-`, CGI and PHP read every other character as `-`."""


class ClientHeaders:
    """Refuses headers that two servers could read in different ways.

    Do not set `allow_aliases` if an API reads names such as X_Account: a client could then name another account.

    Args:
        credentials: Names of headers that must not be repeated and must not contain a comma; in upper or lower case.
        expected: Names that the proxy writes itself; they may contain any character.
        allow_aliases: Whether every name may contain other characters than letters, digits and dashes.

    Raises:
        ValueError: If a name is not a token (RFC 9110 section 5.6.2).

    Example:
        >>> headers = ClientHeaders(["X-Api-Key"])
        >>> headers.check([(b"x-api-key", b"key-1")])
        >>> headers.check([(b"x-api-key", b"key-1"), (b"x-api-key", b"key-2")])
        Traceback (most recent call last):
        ...
        cidrgate.errors.UnclearAccountError: the header x-api-key is repeated
    """

    def __init__(
        self,
        credentials: Collection[str] = CREDENTIAL_HEADERS,
        *,
        expected: Collection[str] = (),
        allow_aliases: bool = False,
    ) -> None:
        check_switches(allow_aliases=allow_aliases)
        self._credentials = tuple(_fields(credentials, "credentials", "a header with a credential"))
        self._expected = _fields(expected, "expected", "a header of the proxy")
        self._allow_aliases = allow_aliases

    def check(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Check that the headers of an ASGI scope are unambiguous.

        Raises:
            UnclearAccountError: If a name could be an alias of another name, or if a credential header is repeated or
                contains a comma.
        """
        names = [name.lower() for name, _ in headers]
        for credential in self._credentials:
            if credential in names:
                if names.count(credential) > 1:
                    raise UnclearAccountError(f"the header {credential.decode()} is repeated")
                if b"," in headers[names.index(credential)][1]:
                    raise UnclearAccountError(f"the header {credential.decode()} contains a comma")
        if not self._allow_aliases and b"".join(names).translate(None, _PLAIN):
            for name in names:
                if name.translate(None, _PLAIN) and name not in self._expected:
                    raise UnclearAccountError(
                        f"the name of the header {name.decode('latin-1')} contains other characters than letters, "
                        "digits and dashes: an API may read it as another header; let the proxy delete such headers"
                    )


def _fields(names: Collection[str], argument: str, what: str) -> frozenset[bytes]:
    listed = several_texts(names, argument, "names")
    return frozenset(check_token(name, f"the name of {what}").lower().encode() for name in listed)
