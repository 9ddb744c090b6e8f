"""`create_app`: assembles the ASGI application from its parts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.routing import Route

from cidrgate import __version__
from cidrgate.authorize import AUTHORIZE_PATH, AuthorizeApp
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.gate import Gate, check_unlisted
from cidrgate.manager import RuleManager
from cidrgate.manager.change_feed import ChangeFeed
from cidrgate.middleware.asgi import AllowlistMiddleware
from cidrgate.service.api import (
    accounts,
    change_stream,
    checks as questions,
    entries,
    found_entries,
    health,
    history,
    links,
    lists,
    modes,
    policies,
    problem_pages,
    recommendations,
    sessions,
    tokens,
)
from cidrgate.service.api.account_paths import EncodedSlashes
from cidrgate.service.api.openapi import describe
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.failed_sign_ins import FailedSignInLog
from cidrgate.service.auth.metrics_readers import MetricsReaders
from cidrgate.service.auth.own_allowlist import gate_of_account, gate_of_networks, guarded_account
from cidrgate.service.auth.rate_limit import LoginRateLimit
from cidrgate.service.auth.token_checks import TokenChecks
from cidrgate.service.console import add_console
from cidrgate.service.http.idempotency import IdempotentResponses
from cidrgate.service.http.limits import MOST_STREAMS
from cidrgate.service.http.metrics import Metrics, MetricsMiddleware
from cidrgate.service.http.problems import add_handlers
from cidrgate.service.http.public_url import HostCheck
from cidrgate.service.http.read_requests import ReadRequests
from cidrgate.service.http.request_ids import RequestIds
from cidrgate.service.http.security_headers import BodyLimit, HeadLimit, SecurityHeaders
from cidrgate.service.http.threads import StoreProbe, Threads
from cidrgate.service.settings import Service, Settings
from cidrgate.stores.waits import SILENCE
from cidrgate.values import check_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp


__all__ = ["create_app"]

_CHANGES = 40
"""The most changes that run at the same time."""

_NEW_STREAMS = 8
"""The most streams of changes that find their place in the log at the same time. It takes milliseconds, unless a
transaction that has written to the log does not end."""

_FEED_READERS = 8
"""The most reads of the feed of changes at the same time: pages, streams whose rows are not in memory, and checks of
the tokens of streams. A page may wait for a transaction that has written to the log."""

_DESCRIPTION = """
The IP allowlists of an API platform's accounts: from which addresses each account may be used.

Send a token as `Authorization: Bearer ...`. Every rule checks a change of a list, and the change is stored completely
or not at all. The response reports every problem of a submission. Errors are problem details (RFC 9457), and the `type`
of each leads to a page about it.

`HEAD` works wherever `GET` does. Integers are below 2^53. Later versions may add members to responses, and values to
what is marked with `x-extensible-enum`: ignore members and accept values that you do not know.
"""


def create_app(
    manager: RuleManager, settings: Settings | None = None, *, resolver: ClientIPResolver | None = None
) -> FastAPI:
    """Return the management service for a manager's lists, as an ASGI application for any server.

    Args:
        manager: The lists; load it before, and close it after.
        settings: The settings of the service.
        resolver: Finds the client address; None uses only the peer of the connection.

    Raises:
        TypeError: If an argument is of another class.

    Example:
        >>> from cidrgate import RuleManager
        >>> manager = RuleManager.open("memory://")
        >>> create_app(manager).title
        'cidrgate'
        >>> manager.close()
    """
    check_type(manager, RuleManager, "manager")
    check_type(settings, Settings, "settings", or_none=True)
    check_type(resolver, ClientIPResolver, "resolver", or_none=True)
    chosen = Settings() if settings is None else settings
    found = ClientIPResolver() if resolver is None else resolver
    app = _Application(
        title="cidrgate",
        version=__version__,
        summary="The IP allowlists of an API platform's accounts.",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        # A redirect would contain the host name that the request claims.
        redirect_slashes=False,
        lifespan=_closing,
        openapi_tags=[
            {"name": "accounts", "description": "Accounts, and subaccounts that inherit their lists."},
            {"name": "entries", "description": "The entries of a list, and every way to change them."},
            {"name": "questions", "description": "Whether a list allows an address, and what a change would do."},
            {"name": "history", "description": "What changed, when and by whom; and how to restore an earlier list."},
            {"name": "policy", "description": "What lists may contain."},
            {"name": "tokens", "description": "Who may use the service."},
            {"name": "links", "description": "One-time links to the console, for an application's customers."},
            {"name": "sessions", "description": "Who is signed in to the console."},
            {"name": "operation", "description": "For the systems that operate the service."},
            {"name": "problems", "description": "What each type of problem means."},
        ],
    )
    metrics = Metrics(manager)
    credentials = Credentials(manager._store)
    checks = TokenChecks(credentials, manager._store.lock_timeout + SILENCE)
    app.state.service = Service(
        manager=manager,
        credentials=credentials,
        token_checks=checks,
        metrics_readers=MetricsReaders(checks),
        settings=chosen,
        resolver=found,
        failures=LoginRateLimit(chosen.login_failures),
        failed_sign_ins=FailedSignInLog(credentials.log_failures),
        answers=IdempotentResponses(manager._store, chosen.answer_lifetime),
        metrics=metrics,
        threads=Threads("changes", _CHANGES, manager._store.lock_timeout),
        stream_threads=Threads("new streams of changes", _NEW_STREAMS, manager._store.lock_timeout),
        feed_threads=Threads("readers of the feed of changes", _FEED_READERS, manager._store.lock_timeout),
        probe=StoreProbe(manager._store),
        feed=ChangeFeed(manager._store, MOST_STREAMS, metrics.waits.refused),
    )
    lists_and_answers = (accounts, modes, entries, lists, questions, recommendations, history, policies)
    others = (tokens, links, sessions, health, problem_pages)
    routers = [*(part.router for part in (*lists_and_answers, *others)), history.of_all, change_stream.router]
    routers.append(found_entries.router)
    app.state.routes = [route for router in routers for route in router.routes]
    # Not `include_router`: it makes every route again, at the first request.
    app.router.routes.extend(app.state.routes)
    add_console(app)
    if chosen.authorize:
        gate = Gate(
            manager,
            unlisted=check_unlisted(chosen.unlisted),
            resolver=found,
            require_account=chosen.require_account,
            report_only=chosen.report_only,
            note_matches=chosen.note_matches,
            log=chosen.log,
            log_every=chosen.log_every,
            hooks=[metrics.hook],
            request_id_header="x-request-id",
        )
        for path in (AUTHORIZE_PATH, AUTHORIZE_PATH + "/{path:path}"):
            app.router.routes.append(Route(path, AuthorizeApp(gate), include_in_schema=False))
    add_handlers(app)
    describe(app, servers=["/" if chosen._public is None else f"{chosen._public}/"], authorize=chosen.authorize)
    # The middleware that is added last sees a request first.
    app.add_middleware(EncodedSlashes)
    app.add_middleware(BodyLimit, limit=chosen.max_body, small=("/console/sign-in", "/console/link/"))
    app.add_middleware(HostCheck, public=chosen._public, exempt={*health.PUBLIC, health.METRICS, AUTHORIZE_PATH})
    app.add_middleware(HeadLimit)
    if chosen.allow is not None or chosen.allow_account is not None:
        hook = metrics.of_own_allowlist()
        own = (
            gate_of_account(manager, found, chosen.log, chosen.log_every, hook)
            if chosen.allow is None
            else gate_of_networks(chosen.allow, found, chosen.log, chosen.log_every, hook)
        )
        app.add_middleware(AllowlistMiddleware, gate=own, account=guarded_account(chosen.allow_account))
    app.add_middleware(ReadRequests, exempt=(AUTHORIZE_PATH,))
    return app


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    """Close what the application has begun, when its server stops."""
    yield
    service: Service = app.state.service
    # Not in the pool of requests: a store that is silent may have filled it.
    await to_thread.run_sync(service.close, limiter=CapacityLimiter(1))


class _Application(FastAPI):
    """An application with middlewares around its responses to unexpected errors too.

    Such a response has the security headers and the request's id, and the metrics count it.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Return the middlewares that handle a request."""
        service: Service = self.state.service
        public = service.settings._public
        counted = MetricsMiddleware(RequestIds(super().build_middleware_stack()), service.metrics)
        return SecurityHeaders(counted, secure=public is not None and public.secure)
