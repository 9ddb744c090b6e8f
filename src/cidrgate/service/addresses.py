"""Which address a request came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.service.settings import service_of

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

__all__ = ["client_address"]


def client_address(connection: HTTPConnection) -> str | None:
    """The address a request came from, as the service's resolver says; None if it cannot be told."""
    peer = None if connection.client is None else connection.client.host
    return service_of(connection).resolver.resolve(peer, connection.headers.raw).address
