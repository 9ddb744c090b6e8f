"""The port of a server. It is bound before the lists are read, so that a port that is taken is the first error."""

from __future__ import annotations

import errno
import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

__all__ = ["bound_port", "check_socket_path", "url_of"]

_LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
"""The longest path of a Unix socket in bytes (`sun_path` without its end)."""


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


def check_socket_path(path: str) -> None:
    """Check that a Unix socket can be bound at a path. A socket that is left from an earlier process is replaced.

    Raises:
        OSError: If there is no such directory, this user cannot write to it, the path is too long, or something else
            is there.

    Example:
        >>> check_socket_path("no/such/directory/cidrgate.sock")
        Traceback (most recent call last):
        ...
        FileNotFoundError: [Errno 2] No such file or directory: 'no/such/directory'
    """
    place = Path(path)
    if not place.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place.parent))
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place.parent))
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    if place.exists() and not place.is_socket():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


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
