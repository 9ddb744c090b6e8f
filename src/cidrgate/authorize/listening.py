"""The port of a server. It is bound before the lists are read, so that a port that is taken is the first error."""

from __future__ import annotations

import socket
from ipaddress import ip_address

__all__ = ["bound_port", "url_of"]


def bound_port(host: str, port: int) -> socket.socket:
    """Bind a port. The server listens on it when it can answer.

    Args:
        host: The address, or the name of an address of this machine.
        port: The port; 0 for any free port.

    Raises:
        OSError: If the port cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket, *, tls: bool = False) -> str:
    """Return the URL at which a server is reached from this machine.

    Example:
        >>> with bound_port("127.0.0.1", 0) as bound:
        ...     url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"
        True
    """
    host, port = bound.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "localhost"
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
