"""The management service: lists by HTTP for programs, and a console for people; `create_app` makes the ASGI app.

`api` has a module for each resource, `console` the pages, `auth` who may do what, `http` what every request is held to.
It needs `cidrgate[server]`, but for `auth`, which the command line uses too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import needs_extra

if TYPE_CHECKING:
    from cidrgate.service.app import create_app
    from cidrgate.service.settings import Settings

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> object:
    """What `cidrgate[server]` is needed for, loaded when it is asked for."""
    with needs_extra("server", "cidrgate.service"):
        if name == "create_app":
            from cidrgate.service.app import create_app

            return create_app
        if name == "Settings":
            from cidrgate.service.settings import Settings

            return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
