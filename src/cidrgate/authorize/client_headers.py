"""Which headers of a client two readers could read in two ways: the proxy that asks, and the API behind it.

Some proxies pass the client's headers on when they ask: nginx, Caddy, and Traefik unless it is told not to. Of two
lines with an API key a proxy may see one alone, and it may not know that an API takes X_Account for X-Account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.header_names import check_token

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["CREDENTIAL_HEADERS", "ClientHeaders"]

CREDENTIAL_HEADERS = ("authorization", "x-api-key")
"""Headers with a credential, from which an API may find the account."""

_PLAIN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"
"""What a name is made of that no server takes for another one: WSGI folds `_`, CGI and PHP every other character."""


class ClientHeaders:
    """Refuses headers that two readers could read in two ways.

    Args:
        credentials: Names of the headers that may come once at most, without a comma, in any case.
        expected: Names that the proxy writes itself, whatever characters they hold.
        allow_aliases: Whether every name may hold other characters than letters, digits and dashes.

    Raises:
        ValueError: If a name is no token (RFC 9110 section 5.6.2).

    Example:
        >>> headers = ClientHeaders(["X-Api-Key"])
        >>> headers.check([(b"x-api-key", b"key-1")])
        >>> headers.check([(b"x-api-key", b"key-1"), (b"x-api-key", b"key-2")])
        Traceback (most recent call last):
        ...
        cidrgate.errors.UnclearAccountError: the header x-api-key came more than once
    """

    def __init__(
        self,
        credentials: Collection[str] = CREDENTIAL_HEADERS,
        *,
        expected: Collection[str] = (),
        allow_aliases: bool = False,
    ) -> None:
        self._credentials = tuple(_fields(credentials, "a header with a credential"))
        self._expected = _fields(expected, "a header of the proxy")
        self._allow_aliases = allow_aliases

    def check(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Return if the headers of an ASGI scope can be read in one way only.

        Raises:
            UnclearAccountError: If a name is an alias of another one, or a credential came twice or holds a comma.
        """
        names = [name.lower() for name, _ in headers]
        for credential in self._credentials:
            if credential in names:
                if names.count(credential) > 1:
                    raise UnclearAccountError(f"the header {credential.decode()} came more than once")
                if b"," in headers[names.index(credential)][1]:
                    raise UnclearAccountError(f"the header {credential.decode()} holds a comma")
        if not self._allow_aliases and b"".join(names).translate(None, _PLAIN):
            for name in names:
                if name.translate(None, _PLAIN) and name not in self._expected:
                    raise UnclearAccountError(
                        f"the name of the header {name.decode('latin-1')} holds other characters than letters, digits "
                        "and dashes: an API may take it for another one; let the proxy delete such headers"
                    )


def _fields(names: Collection[str], what: str) -> frozenset[bytes]:
    return frozenset(check_token(name, f"the name of {what}").lower().encode() for name in names)
