"""The public URL of the service, and the check that requests name its host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, cast
from urllib.parse import urlsplit

from cidrgate.gate.request_paths import routed_path
from cidrgate.service.http.problems import problem_response
from cidrgate.stores.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HostCheck", "PublicURL"]

# RFC 3986 section 3.2.2, without escapes: no host name has any.
_HOST = re.compile(r"(?:[a-z0-9._~!$&'()*+,;=-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class PublicURL:
    """The public URL of the service. It comes from the configuration, never from a request.

    Attributes:
        scheme: `http` or `https`.
        host: The host in lower case; IPv6 in brackets.
        port: The port.

    Example:
        >>> public = PublicURL.parse("https://Lists.example.com/")
        >>> str(public), public.port, public.names("lists.example.com:443"), public.names("evil.example")
        ('https://lists.example.com', 443, True, False)
        >>> PublicURL.parse("https://lists.example.com/console")
        Traceback (most recent call last):
        ...
        ValueError: 'https://lists.example.com/console' is no public URL: write scheme://host or scheme://host:port, ...
    """

    scheme: Literal["http", "https"]
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a public URL.

        Raises:
            ValueError: If the text is not a public URL. The message masks a password.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        default = _DEFAULT_PORTS.get(parts.scheme)
        exact = parts.path in ("", "/") and not (parts.query or parts.fragment or "?" in text or "#" in text)
        plain = text.isascii() and text.isprintable() and " " not in text  # `urlsplit` removes some characters
        if default is None or not exact or not plain or not _HOST.fullmatch(parts.netloc) or port == 0:
            # The example stands last, so that no reader takes it for the beginning of a password to mask.
            raise ValueError(
                f"{redacted(text)[:200]!r} is no public URL: write scheme://host or scheme://host:port, without a user "
                "and a path"
            )
        host = parts.netloc.lower()
        if port is not None:
            host = host.rpartition(":")[0]
        return cls(cast("Literal['http', 'https']", parts.scheme), host, port or default)

    def __str__(self) -> str:
        """Return the origin as browsers write it."""
        return f"{self.scheme}://{self.host}{'' if self.port == _DEFAULT_PORTS[self.scheme] else f':{self.port}'}"

    @property
    def secure(self) -> bool:
        """Whether browsers reach the service over TLS."""
        return self.scheme == "https"

    def names(self, host: str) -> bool:
        """Return whether a `Host` header names the service."""
        asked = host.lower()
        with_port = f"{self.host}:{self.port}"
        return asked == with_port or (asked == self.host and self.port == _DEFAULT_PORTS[self.scheme])


class HostCheck:
    """Refuses requests for another host, so that no response contains a host that a client made up.

    Without a public URL, it accepts every valid host: configure one wherever responses contain links.

    Args:
        app: The application.
        public: The public URL of the service; None accepts every valid host.
        exempt: Paths that are not checked, because health checks and Prometheus use the names of machines, or proxies
            send another host. Their responses contain no host and no link, and no cookie opens them.
    """

    def __init__(self, app: ASGIApp, public: PublicURL | None, exempt: Collection[str]) -> None:
        self._app = app
        self._public = public
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or refuse it."""
        if scope["type"] != "http" or self._is_exempt(routed_path(scope)):
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1 or (hosts and not _HOST.fullmatch(hosts[0])):
            response = problem_response("invalid_host", "send one Host header with a valid host name")
        elif self._public is not None and not (hosts and self._public.names(hosts[0])):
            response = problem_response("wrong_host", f"use the public URL of this service: {self._public}")
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)

    def _is_exempt(self, path: str) -> bool:
        return path in self._exempt or any(path.startswith(f"{one}/") for one in self._exempt)
