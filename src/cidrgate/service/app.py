"""`create_app`: the ASGI application, put together from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.routing import Route

from cidrgate import __version__
from cidrgate.authorize import AUTHORIZE_PATH, AuthorizeApp
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.gate import Gate, check_unlisted
from cidrgate.middleware.asgi import AllowlistMiddleware
from cidrgate.service.api import accounts, checks as questions, entries, health, history, sessions, tokens
from cidrgate.service.api.account_paths import EncodedSlashes
from cidrgate.service.api.openapi import describe
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.own_allowlist import gate_of_account, gate_of_networks, guarded_account
from cidrgate.service.auth.rate_limit import FailedLogins
from cidrgate.service.console import add_console
from cidrgate.service.http.idempotency import Answers
from cidrgate.service.http.metrics import Metrics, MetricsMiddleware
from cidrgate.service.http.problems import add_handlers
from cidrgate.service.http.public_url import HostCheck
from cidrgate.service.http.security_headers import BodyLimit, HeadLimit, SecurityHeaders
from cidrgate.service.http.threads import StoreProbe, Threads
from cidrgate.service.settings import Service, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from cidrgate.manager import RuleManager

__all__ = ["create_app"]

_DESCRIPTION = """
The IP allowlists of an API platform's accounts: who may call from where.

Send a token as `Authorization: Bearer ...`. A change of a list is checked by every rule and stored whole or not at all;
every problem of a submission is reported at once. Errors are problem details by RFC 9457.
"""


def create_app(
    manager: RuleManager, settings: Settings | None = None, *, resolver: ClientIPResolver | None = None
) -> FastAPI:
    """The management service of a manager's lists, for any ASGI server.

    Args:
        manager: The lists; loaded, and closed by the caller.
        settings: How the service behaves.
        resolver: Finds the address of a client; believes the connection alone if None.

    Example:
        >>> from cidrgate import RuleManager
        >>> manager = RuleManager.open("memory://")
        >>> create_app(manager).title
        'cidrgate'
        >>> manager.close()
    """
    chosen = Settings() if settings is None else settings
    found = ClientIPResolver() if resolver is None else resolver
    app = _Application(
        title="cidrgate",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        # A redirect would be built from what the request says its host is.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        openapi_tags=[
            {"name": "accounts", "description": "Accounts, and subaccounts that inherit their lists."},
            {"name": "entries", "description": "What a list holds, and every way to change it."},
            {"name": "questions", "description": "What a list says about an address, and what a change would do."},
            {"name": "history", "description": "What changed, when and by whom; and the way back."},
            {"name": "tokens", "description": "Who may use the service."},
            {"name": "sessions", "description": "Who is signed in to the console."},
            {"name": "operation", "description": "For what runs the service."},
        ],
    )
    metrics = Metrics(manager)
    app.state.service = Service(
        manager=manager,
        credentials=Credentials(manager.store),
        settings=chosen,
        resolver=found,
        failures=FailedLogins(chosen.login_failures),
        answers=Answers(manager.store, chosen.answer_lifetime),
        metrics=metrics,
        threads=Threads(manager.store.lock_timeout),
        probe=StoreProbe(manager.store),
    )
    routers = [part.router for part in (accounts, entries, questions, history, tokens, sessions, health)]
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)
    add_console(app)
    if chosen.authorize:
        gate = Gate(
            manager,
            unlisted=check_unlisted(chosen.unlisted),
            resolver=found,
            require_account=True,
            note_matches=chosen.note_matches,
            log_every=chosen.log_every,
            request_id_header="x-request-id",
        )
        metrics.gates.append(gate)
        for path in (AUTHORIZE_PATH, AUTHORIZE_PATH + "/{path:path}"):
            app.router.routes.append(Route(path, AuthorizeApp(gate), include_in_schema=False))
    add_handlers(app)
    describe(app)
    # The last one added is the first to see a request.
    app.add_middleware(EncodedSlashes)
    app.add_middleware(BodyLimit, limit=chosen.max_body, small=("/console/sign-in", "/console/link/"))
    app.add_middleware(HostCheck, public=chosen.public, exempt={*health.PUBLIC, AUTHORIZE_PATH})
    app.add_middleware(HeadLimit)
    if chosen.allow is not None or chosen.allow_account is not None:
        own = (
            gate_of_account(manager, found, chosen.log_every)
            if chosen.allow is None
            else gate_of_networks(chosen.allow, found, chosen.log_every)
        )
        metrics.gates.append(own)
        app.add_middleware(AllowlistMiddleware, gate=own, account=guarded_account(chosen.allow_account))
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    return app


class _Application(FastAPI):
    """An application whose last answers, to what failed unexpectedly, have the security headers too."""

    def build_middleware_stack(self) -> ASGIApp:
        """What a request passes through."""
        public = self.state.service.settings.public
        return SecurityHeaders(super().build_middleware_stack(), secure=public is not None and public.secure)
