"""Which headers of a client two readers could read in two ways: the proxy that asks, and the API behind it.

Some proxies pass the client's headers on when they ask (nginx, Caddy, and Traefik unless it is told not to). A proxy may
see one of two lines alone, or no header that is spelt with an underscore, where the API sees more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import UnclearAccountError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["CREDENTIAL_HEADERS", "ClientHeaders"]

CREDENTIAL_HEADERS = ("authorization", "x-api-key")
"""Headers with a credential, from which an API may find the account."""

_PLAIN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"
"""What names are made of that no server takes for another one; WSGI folds `_` to `-`, CGI and PHP fold all others too."""


class ClientHeaders:
    """Refuses headers that two readers could read in two ways.

    Args:
        credentials: Names of the headers that may come once at most, without a comma, in any case.
        allow_aliases: Whether names may hold other characters than letters, digits and dashes.

    Example:
        >>> headers = ClientHeaders(["x-api-key"])
        >>> headers.check([(b"x-api-key", b"key-1")])
        >>> headers.check([(b"x-api-key", b"key-1"), (b"x-api-key", b"key-2")])
        Traceback (most recent call last):
        ...
        cidrgate.errors.UnclearAccountError: the header x-api-key came more than once
    """

    def __init__(self, credentials: Collection[str] = CREDENTIAL_HEADERS, *, allow_aliases: bool = False) -> None:
        self._credentials = frozenset(name.lower().encode("latin-1") for name in credentials)
        self._allow_aliases = allow_aliases

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Return if the headers of an ASGI scope can be read in one way only.

        Raises:
            UnclearAccountError: If a name is an alias of another one, or a credential came twice or holds a comma.
        """
        seen = None
        names = []
        for name, value in headers:
            names.append(name)
            name = name.lower()  # noqa: PLW2901
            if name in self._credentials:
                if b"," in value:
                    raise UnclearAccountError(f"the header {name.decode('latin-1')} holds a comma")
                if seen is None:
                    seen = {name}
                elif name in seen:
                    raise UnclearAccountError(f"the header {name.decode('latin-1')} came more than once")
                else:
                    seen.add(name)
        if not self._allow_aliases and b"".join(names).translate(None, _PLAIN):
            raise UnclearAccountError(
                "a header's name holds other characters than letters, digits and dashes: an API may take X_Account for "
                "X-Account; let the proxy delete such headers"
            )
