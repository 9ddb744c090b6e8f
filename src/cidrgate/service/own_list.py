"""The service's own port, allowlisted: which addresses may use it at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from cidrgate._engine import PrefixTrie
from cidrgate.service.addresses import client_address
from cidrgate.service.health import PUBLIC
from cidrgate.service.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cidrgate.manager import RuleManager
    from cidrgate.service.settings import Settings

__all__ = ["OwnList"]


class OwnList:
    """Denies addresses that are not listed for the service. What cannot be read is denied.

    Args:
        app: The application.
        manager: Has the account's list.
        settings: Name the networks, the account, or both; an address in either may come in.
    """

    def __init__(self, app: ASGIApp, manager: RuleManager, settings: Settings) -> None:
        self._app = app
        self._manager = manager
        self._account = settings.allow_account
        self._networks = None if settings.allow is None else PrefixTrie(settings.allow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, if it comes from where it may."""
        if scope["type"] != "http" or scope["path"] in PUBLIC or self._allows(HTTPConnection(scope)):
            await self._app(scope, receive, send)
            return
        detail = "this address is not listed for the management service"
        await problem_response(403, "address_not_listed", detail)(scope, receive, send)

    def _allows(self, connection: HTTPConnection) -> bool:
        if self._account is None and self._networks is None:
            return True
        address = client_address(connection)
        if address is None:
            return False
        if self._networks is not None and address in self._networks:
            return True
        # An account that is not enforced, or is not there, opens nothing here: somebody asked for a list.
        return (
            self._account is not None
            and self._manager.matcher.enforced(self._account)
            and self._manager.allows(self._account, address)
        )
