"""`serve`: the service on a port of this machine, until it is told to stop."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from cidrgate.authorize.connections import GuardedConnection, connection_backlog, quiet
from cidrgate.authorize.process import GRACE, run
from cidrgate.event_log import log_to_stderr
from cidrgate.service.app import create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from cidrgate.gate.client_ip import ClientIPResolver
    from cidrgate.manager import RuleManager
    from cidrgate.service.settings import Settings

__all__ = ["LINK_LIFETIME", "Port", "new_link", "serve"]

LINK_LIFETIME = timedelta(hours=1)
"""How long a one-time link to the console can be used."""

_PATIENCE = 3.0
"""Seconds of these after which changes that are not committed are taken back."""

_WITHDRAWAL = 0.1
"""Seconds until that is done again, for changes that began since."""


@dataclass(frozen=True, slots=True)
class Port:
    """Where the service is reached.

    Attributes:
        host: The address it is bound to.
        port: The port; 0 for a free one.
        certificate: File of the certificates for TLS; None for none.
        key: File of its key.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    key: Path | None = None

    def bind(self) -> socket.socket:
        """The port, taken.

        Raises:
            OSError: If it cannot be.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return socket.create_server((self.host, self.port), family=family, backlog=connection_backlog())

    def url(self, bound: socket.socket) -> str:
        """What to type into a browser on this machine."""
        host, port = bound.getsockname()[:2]
        if ip_address(host).is_unspecified:
            host = "localhost"
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def exposed(self) -> bool:
        """Whether others can read along: it is reached from other machines, without TLS."""
        if self.certificate is not None:
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def new_link(manager: RuleManager, url: str) -> str:
    """A link that signs its first visitor in to the console as an admin.

    Args:
        manager: The lists.
        url: Where the service is.

    Raises:
        StoreError: If it cannot be stored.
    """
    secret = Credentials(manager.store).create_link("console", [Scope("admin")], lifetime=LINK_LIFETIME)
    return f"{url}/console/link/{secret}"


def serve(
    manager: RuleManager,
    settings: Settings,
    resolver: ClientIPResolver,
    port: Port,
    bound: socket.socket,
    *,
    on_start: Callable[[], object] = lambda: None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP ends the process; requests that are under way are answered.

    Args:
        manager: The lists; loaded, and closed by the caller.
        settings: How the service behaves.
        resolver: Finds the address of a client.
        port: Where.
        bound: The port, taken.
        on_start: Called when it answers.
    """
    config = _Config(
        create_app(manager, settings, resolver=resolver),
        http=GuardedConnection,
        backlog=connection_backlog(),
        access_log=False,
        log_level="warning",
        log_config=None,
        # Which header to believe is decided in one place, by the resolver.
        proxy_headers=False,
        server_header=False,
        ssl_certfile=port.certificate,
        ssl_keyfile=port.key,
        timeout_graceful_shutdown=GRACE,
        ws="none",
    )
    log_to_stderr()
    quiet()
    run(_Server(config, on_start, manager.withdraw_changes), sockets=[bound])


class _Config(uvicorn.Config):
    """Uvicorn's settings, with TLS left to the connections, which are counted before their handshake."""

    tls: ssl.SSLContext | None = None

    def load(self) -> None:
        super().load()
        self.tls, self.ssl = self.ssl, None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[], object], withdraw: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._withdraw = withdraw

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ended = threading.Event()
        threading.Thread(target=self._withdraw_changes, args=(ended,), name="cidrgate-stop", daemon=True).start()
        try:
            await super().shutdown(sockets)
        finally:
            ended.set()

    def _withdraw_changes(self, ended: threading.Event) -> None:
        """Take back what still waits for a lock, so that no change is stored after it was answered with an error."""
        wait = _PATIENCE
        while not ended.wait(wait):
            self._withdraw()
            wait = _WITHDRAWAL
