"""The client address of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.gate.decision_log import advise_about_rewritten_peers
from cidrgate.middleware._asgi_requests import peer_of
from cidrgate.service.settings import service_of

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

__all__ = ["client_address"]


def client_address(connection: HTTPConnection) -> str | None:
    """Return the client address of a request, as the service's resolver finds it; None if it is unknown.

    The address is also unknown if the server has rewritten the peer, as it is for a gate.
    """
    peer, port = peer_of(connection.scope)
    client = service_of(connection).resolver.resolve(peer, connection.headers.raw, port=port)
    if client.problem == "rewritten_peer":
        advise_about_rewritten_peers()
    return client.address
