"""The guarded applications inside of bridges, and of middlewares that replace the peer by an address from a header."""

from __future__ import annotations

from typing import Any

from a2wsgi import ASGIMiddleware
from granian.utils.proxies import wrap_asgi_with_proxy_headers, wrap_wsgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.servers.guarded_apps import asgi_application, wsgi_application

__all__ = [
    "bridged",
    "granian_asgi",
    "granian_asgi_of_proxies",
    "granian_wsgi",
    "hypercorn_forwarded",
    "hypercorn_x_forwarded_for",
    "werkzeug_fixed",
    "werkzeug_fixed_twice",
]

hypercorn_x_forwarded_for: Any = ProxyFixMiddleware(asgi_application, mode="legacy", trusted_hops=1)
hypercorn_forwarded: Any = ProxyFixMiddleware(asgi_application, mode="modern", trusted_hops=1)
granian_asgi: Any = wrap_asgi_with_proxy_headers(asgi_application, trusted_hosts="*")
granian_asgi_of_proxies: Any = wrap_asgi_with_proxy_headers(asgi_application, trusted_hosts="127.0.0.1")
granian_wsgi: Any = wrap_wsgi_with_proxy_headers(wsgi_application, trusted_hosts="*")
bridged: Any = ASGIMiddleware(asgi_application)
werkzeug_fixed: Any = ProxyFix(wsgi_application)
werkzeug_fixed_twice: Any = ProxyFix(ProxyFix(wsgi_application))
