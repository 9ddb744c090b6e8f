"""The authorize endpoint: a proxy calls it before it passes a request on to an API.

`AuthorizeApp` is an ASGI app without a framework. An application can mount it, and `serve` runs it as a server.
"""

from cidrgate.authorize.app import AUTHORIZE_PATH, AuthorizeApp
from cidrgate.authorize.client_headers import ClientHeaders

__all__ = ["AUTHORIZE_PATH", "AuthorizeApp", "ClientHeaders"]
