"""The prefix below which clients see the service: that of a mount, or the one that a proxy removes (`root_path`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["prefix_of"]

_SAFE = ":@!$&'()*+,;=~"
"""Characters of a path's segment that need no escape (RFC 3986, section 3.3), besides those that `quote` keeps."""


def prefix_of(scope: Mapping[str, Any]) -> str:
    """Return the prefix before the paths that a response contains, as part of a URL; empty if there is none.

    A slash at an end, and a slash twice, are left out: a path that begins with two slashes would name another host.

    Args:
        scope: An ASGI scope.

    Example:
        >>> prefix_of({"root_path": "/admin"}), prefix_of({"root_path": "/"}), prefix_of({})
        ('/admin', '', '')
        >>> prefix_of({"root_path": "//evil.example/a b/"})
        '/evil.example/a%20b'
    """
    root: str = scope.get("root_path", "")
    return "".join(f"/{quote(part, safe=_SAFE, errors='replace')}" for part in root.split("/") if part)
