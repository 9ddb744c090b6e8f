"""The authorize endpoint: what a proxy asks before it lets a request through to an API.

`AuthorizeApp` is an ASGI app without a framework, to be mounted or served alone; `serve` runs it.
"""

from cidrgate.authorize.app import AUTHORIZE_PATH, AuthorizeApp
from cidrgate.authorize.client_headers import ClientHeaders

__all__ = ["AUTHORIZE_PATH", "AuthorizeApp", "ClientHeaders"]
