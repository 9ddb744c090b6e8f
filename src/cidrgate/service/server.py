"""`serve`: runs the service on a port of this machine until it is stopped."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from cidrgate.authorize.connections import END_SECONDS, GuardedConnection, connection_backlog, quiet
from cidrgate.authorize.listening import bound_port, check_socket_path, url_of
from cidrgate.authorize.process import GRACE, run
from cidrgate.event_log import log_to_stderr
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import LINK_LIFETIME, Scope, link_url

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from fastapi import FastAPI

    from cidrgate.manager import RuleManager
    from cidrgate.service.settings import Service
    from cidrgate.values import Origin

__all__ = ["Port", "new_link", "serve"]

_PATIENCE = 3.0
"""Seconds after the stop signal until uncommitted changes are rolled back."""

_WITHDRAWAL = 0.1
"""Seconds until the next rollback, for changes that have begun since."""


@dataclass(frozen=True, slots=True)
class Port:
    """The address at which the service listens.

    Attributes:
        host: The address to bind.
        port: The port; 0 for any free port.
        tls: The settings for TLS; None for no TLS.
        uds: The path of a Unix socket to listen on, instead of a port; None for the port.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: ssl.SSLContext | None = None
    uds: str | None = None

    def bind(self) -> AbstractContextManager[socket.socket | None]:
        """Bind the port. A Unix socket is bound when the service starts; here its path is checked.

        Raises:
            OSError: If the port cannot be bound, or there can be no socket at the path.
        """
        if self.uds is not None:
            check_socket_path(self.uds)
            return nullcontext()
        bound = bound_port(self.host, self.port)
        bound.listen(connection_backlog())
        return bound

    def url(self, bound: socket.socket | None) -> str:
        """Return the URL to open in a browser on this machine; for a Unix socket that of a proxy on this machine."""
        if bound is None:
            return f"{'http' if self.tls is None else 'https'}://localhost"
        return url_of(bound, tls=self.tls is not None)

    @property
    def exposed(self) -> bool:
        """Return whether others can read the traffic: other machines can reach the service, and it has no TLS."""
        if self.tls is not None or self.uds is not None:
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def new_link(manager: RuleManager, url: str, *, origin: Origin, actor: str | None = None) -> str:
    """Create a link that signs its first visitor in to the console as an admin.

    Args:
        manager: The lists.
        url: The address of the service.
        origin: How the actor is known, for the change log.
        actor: Who creates it, for the change log.

    Raises:
        StoreError: If the link cannot be stored.
    """
    credentials = Credentials(manager._store).with_origin(origin)
    secret = credentials.create_link("console", [Scope("admin")], lifetime=LINK_LIFETIME, actor=actor)
    return link_url(url, secret)


def serve(
    app: FastAPI,
    port: Port,
    bound: socket.socket | None,
    *,
    on_start: Callable[[], object] = lambda: None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP ends the process; requests in progress get their responses.

    Args:
        app: The service, from `create_app`; load its manager before, and close it after.
        port: The address at which to listen.
        bound: The bound port; None for a Unix socket.
        on_start: Called when the service is ready.

    Raises:
        OSError: If the Unix socket cannot be bound.
    """
    service: Service = app.state.service
    config = _Config(
        app,
        http=GuardedConnection,
        backlog=connection_backlog(),
        access_log=False,
        log_level="warning",
        log_config=None,
        # The resolver alone decides which header counts.
        proxy_headers=False,
        server_header=False,
        uds=port.uds,
        timeout_graceful_shutdown=GRACE + END_SECONDS,
        ws="none",
    )
    config.tls = port.tls
    log_to_stderr()
    quiet()
    server = _Server(config, on_start, service.manager.withdraw_changes, service.feed.close)
    run(server, None if bound is None else [bound])


class _Config(uvicorn.Config):
    """Return uvicorn's settings. The connections do TLS themselves, because they are counted before the handshake."""

    tls: ssl.SSLContext | None = None


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        on_start: Callable[[], object],
        withdraw: Callable[[], object],
        end_streams: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._withdraw = withdraw
        self._end_streams = end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            self._on_start()
        except BaseException:
            await self.shutdown(sockets)
            raise

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        ended = threading.Event()
        with suppress(RuntimeError):  # no thread is left: changes that wait end at the lock timeout
            threading.Thread(target=self._withdraw_changes, args=(ended,), name="cidrgate-stop", daemon=True).start()
        try:
            await super().shutdown(sockets)
        finally:
            ended.set()

    def _withdraw_changes(self, ended: threading.Event) -> None:
        """Roll back changes that still wait for a lock, so that no change is stored after an error response."""
        wait = _PATIENCE
        while not ended.wait(wait):
            self._withdraw()
            wait = _WITHDRAWAL
