"""The management service: lists by HTTP for programs, and a console for people.

It needs `cidrgate[server]`. `cidrgate serve` runs it; `create_app` makes the ASGI application for any other server.
"""

from cidrgate.errors import needs_extra

with needs_extra("server", "cidrgate.service"):
    from cidrgate.service.app import create_app
    from cidrgate.service.settings import Settings

__all__ = ["Settings", "create_app"]
