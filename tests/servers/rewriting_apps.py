"""The guarded applications inside of middlewares that put an address out of a header in the peer's place."""

from __future__ import annotations

from typing import Any

from granian.utils.proxies import wrap_asgi_with_proxy_headers, wrap_wsgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.servers.guarded_apps import asgi_application, wsgi_application

__all__ = [
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
werkzeug_fixed: Any = ProxyFix(wsgi_application)
werkzeug_fixed_twice: Any = ProxyFix(ProxyFix(wsgi_application))
