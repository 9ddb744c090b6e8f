"""The management service: an HTTP API for programs and a console for people; `create_app` makes the ASGI application.

`api` has a module for each resource, `console` the pages, `auth` decides who may do what, and `http` holds the rules
for every request. The package needs `cidrgate[server]`, except `auth`, which the command line uses too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import needs_extra
from cidrgate.process.late_names import loaded_late

if TYPE_CHECKING:
    from cidrgate.service.app import create_app
    from cidrgate.service.settings import Settings

__all__ = ["Settings", "create_app"]


if not TYPE_CHECKING:  # a type checker would take every name for one of this module
    _found = loaded_late(__name__, {"create_app": "cidrgate.service.app", "Settings": "cidrgate.service.settings"})

    def __getattr__(name: str) -> object:
        """Load what needs `cidrgate[server]` when it is first used."""
        with needs_extra("server", "cidrgate.service"):
            return _found(name)
