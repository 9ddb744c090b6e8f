"""The Django middleware, set up by `settings.CIDRGATE`, under WSGI and ASGI; needs Django.

    MIDDLEWARE = ["cidrgate.middleware.django.AllowlistMiddleware", ...]
    CIDRGATE = {
        "DATABASE": "postgresql://cidrgate@db.internal/platform",
        "ACCOUNT": "platform.accounts.account_of",
        "UNLISTED": "deny_unknown",
        "TRUSTED_PROXIES": ["10.0.0.10/32"],
    }

`Settings` describes all keys. If the account comes from the user, place this middleware after the one that
authenticates. Place it before every middleware that responds itself, such as `FetchFromCacheMiddleware`, unless that
middleware may respond to everyone.

With a `FromRoute` the gate is asked before the later middlewares run, and again before the view runs if a later
middleware has chosen another URLconf or language and the route then names another account. A 404 and a redirect of a
URL without a route have no verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django import conf
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import get_resolver
from django.utils.module_loading import import_string

from cidrgate.errors import StoreError
from cidrgate.gate.account_sources import EXEMPT, Exempt, FromHeader, FromPath, FromRoute, required
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.decision_log import LOG_EVERY
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import Gate, Unlisted, check_unlisted
from cidrgate.gate.verdict import mode_headers
from cidrgate.manager import RuleManager
from cidrgate.middleware._asgi_lifespan import answer_lifespan
from cidrgate.middleware._django_requests import GATES, READER, verdict_on
from cidrgate.middleware._request_account import account_finder, find_account, find_account_async, is_exempt
from cidrgate.stores.urls import store_of
from cidrgate.values import check_callable, seconds

if TYPE_CHECKING:
    import os

    from cidrgate.gate.hooks import DecisionHook
    from cidrgate.gate.verdict import Verdict
    from cidrgate.middleware._asgi_requests import App, Receive, Scope, Send
    from cidrgate.values import Duration, Prefix

__all__ = ["AccountSource", "AllowlistMiddleware", "Settings", "with_lifespan"]

AccountSource: TypeAlias = (
    Callable[[HttpRequest], str | Exempt | Awaitable[str | Exempt | None] | None] | FromHeader | FromRoute | FromPath
)
"""What names the account: a source, or a callable from the request, which may be a coroutine function under ASGI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The keys of `settings.CIDRGATE`, which are written in capitals. Values to import are named by dotted paths.

    Attributes:
        account: A callable from the request to its account, None for no account, or `EXEMPT`; or a `FromRoute`,
            `FromHeader` or `FromPath`; or the dotted path of one of these.
        database: The store's URL.
        max_staleness: As in `RuleManager.open`.
        on_stale: As in `RuleManager.open`.
        open: Further arguments of `RuleManager.open`, such as `snapshot`.
        gate: The application's own gate, or its dotted path; it replaces `database` and all keys that follow.
        trusted_proxies: As in `ClientIPResolver`.
        trusted_hops: As in `ClientIPResolver`.
        client_header: As in `ClientIPResolver`.
        trust_everybody: As in `ClientIPResolver`.
        allow_aliases: As in `ClientIPResolver`.
        resolved_by_server: As in `ClientIPResolver`.
        unlisted: As in `Gate`; required, unless `gate` is set.
        report_only: As in `Gate`.
        require_account: As in `Gate`.
        log: As in `Gate`.
        hooks: As in `Gate`; each hook may also be a dotted path.
        log_every: As in `Gate`.
        note_matches: As in `Gate`.
        request_id_header: As in `Gate`.
    """

    account: str | AccountSource
    database: str | os.PathLike[str] | None = field(default=None, repr=False)
    max_staleness: Duration | None = None
    on_stale: Literal["serve", "deny"] = "serve"
    open: Mapping[str, Any] = field(default_factory=dict)
    gate: str | Gate | None = None
    trusted_proxies: Sequence[Prefix] | None = None
    trusted_hops: int | None = None
    client_header: str | None = None
    trust_everybody: bool = False
    allow_aliases: bool = False
    resolved_by_server: bool = False
    unlisted: Unlisted | None = None
    report_only: bool = False
    require_account: bool = False
    log: Literal["denials", "all", "none"] = "denials"
    log_every: Duration = LOG_EVERY
    hooks: Sequence[str | DecisionHook] = ()
    note_matches: bool = False
    request_id_header: str | None = None

    @classmethod
    def read(cls) -> Settings:
        """Read the settings of the project.

        Raises:
            ImproperlyConfigured: If the setting is missing, or contains an unknown key.
        """
        given = getattr(conf.settings, "CIDRGATE", None)
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured("set CIDRGATE to a dict with ACCOUNT, and DATABASE or GATE")
        known = {one.name.upper(): one.name for one in fields(cls)}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ImproperlyConfigured(
                f"CIDRGATE has unknown keys: {', '.join(unknown)}; the known keys are {', '.join(known)}"
            )
        if "ACCOUNT" not in given or ("DATABASE" in given) == ("GATE" in given):
            raise ImproperlyConfigured("CIDRGATE needs ACCOUNT, and DATABASE or GATE")
        ignored = sorted(set(given) - {"ACCOUNT", "GATE"})
        if "GATE" in given and ignored:
            raise ImproperlyConfigured(
                f"CIDRGATE: with GATE, {', '.join(ignored)} would have no effect: configure that in the gate itself"
            )
        return cls(**{known[name]: value for name, value in given.items()})

    def make_gate(self) -> Gate:
        """Return the gate that the settings describe.

        Raises:
            ImproperlyConfigured: If the settings contradict each other, or the lists cannot be read.
        """
        if self.gate is not None:
            gate = imported(self.gate)
            if not isinstance(gate, Gate):
                raise ImproperlyConfigured(f"CIDRGATE['GATE'] is {gate!r}, not a cidrgate.Gate")
            return gate
        database: Any = self.database  # `store_of` rejects an invalid URL
        try:
            store_of(database)
        except StoreError as error:
            raise ImproperlyConfigured(f"CIDRGATE['DATABASE']: {error}") from error
        try:
            resolver = ClientIPResolver(
                trusted_proxies=self.trusted_proxies,
                trusted_hops=self.trusted_hops,
                client_header=self.client_header,
                trust_everybody=self.trust_everybody,
                allow_aliases=self.allow_aliases,
                resolved_by_server=self.resolved_by_server,
            )
            settings: dict[str, Any] = {
                "unlisted": check_unlisted(self.unlisted),
                "resolver": resolver,
                "report_only": self.report_only,
                "require_account": self.require_account,
                "log": self.log,
                "log_every": self.log_every,
                "hooks": [imported(hook) for hook in self.hooks],
                "note_matches": self.note_matches,
                "request_id_header": self.request_id_header,
            }
            limit = (
                None if self.max_staleness is None else seconds(self.max_staleness, "max_staleness", above_zero=True)
            )
            own: dict[str, Any] = {"max_staleness": limit, "on_stale": self.on_stale}
            twice = sorted(own.keys() & self.open.keys())
            if twice:
                raise ImproperlyConfigured(f"CIDRGATE['OPEN'] has {', '.join(twice)}: set the keys of CIDRGATE instead")
            manager = RuleManager.open(database, **own, **self.open)
            try:
                return Gate(manager, **settings)
            except BaseException:
                manager.close()
                raise
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"CIDRGATE: {error}") from error


def with_lifespan(application: App) -> App:
    """Return a project's ASGI application with a lifespan, which Django's application does not have.

    uvicorn ends at a signal without the end of the interpreter. When the lifespan ends, the counts of the decision log
    are written, and the managers store their last matches and their traffic, for which each waits some seconds at most.
    It does this for the gates of `AllowlistMiddleware` and of REST framework's permissions.

    Args:
        application: The result of `get_asgi_application`, or another application without a lifespan.

    Raises:
        TypeError: If the application cannot be called.

    In `asgi.py`:

        application = with_lifespan(get_asgi_application())
    """
    check_callable(application, "application")

    async def with_both(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(GATES, receive, send)
        else:
            await application(scope, receive, send)

    return with_both


class AllowlistMiddleware:
    """Runs the view for requests that the gate allows, and answers 403 to the others.

    It protects nothing if a client can choose the account freely: the gate trusts the account that
    `CIDRGATE["ACCOUNT"]` names. It also protects nothing that an earlier middleware answers itself.

    The view finds the verdict in `request.cidrgate`.

    Args:
        get_response: The next middleware or the view; under ASGI a coroutine function.

    Raises:
        ImproperlyConfigured: If `settings.CIDRGATE` is missing or invalid.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        configured = Settings.read()
        self.get_response = get_response
        self._gate = configured.make_gate()
        GATES.add(self._gate)
        account = imported(configured.account)
        self._route = account if isinstance(account, FromRoute) else None
        self._account = self._of_url if self._route is not None else account_finder(account, READER)
        self._is_async = iscoroutinefunction(get_response)
        if self._route is not None:
            # Django looks for this method when it assembles the middlewares.
            self.process_view = self._process_view_async if self._is_async else self._process_view
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Ask the gate, then run the view or deny."""
        if self._is_async:
            return self._call_async(request)
        denied = self._denied_before(request, *find_account(self._account, request))
        return self._checked(request, self.get_response(request)) if denied is None else denied

    async def _call_async(self, request: HttpRequest) -> Any:
        denied = self._denied_before(request, *await find_account_async(self._account, request))
        return self._checked(request, await self.get_response(request)) if denied is None else denied

    def _denied_before(
        self, request: HttpRequest, account: str | Exempt | None, failure: Exception | None
    ) -> HttpResponse | None:
        """Return the response to a request that is denied before a later middleware can answer it.

        If the URL names no account yet, the decision comes later: a middleware may choose another URLconf or language.
        """
        if self._route is not None and account is None and failure is None:
            return None
        return self._denied(request, account, failure)

    def _process_view(
        self, request: HttpRequest, view: object, positional: object, parameters: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Ask the gate before the view runs, unless it was asked about the same account already."""
        vars(request)[_VIEW] = True
        return self._denied(request, *find_account(lambda request: self._of_route(request, parameters), request))

    async def _process_view_async(
        self, request: HttpRequest, view: object, positional: object, parameters: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Do the same as `process_view`, without the cost of a thread."""
        return self._process_view(request, view, positional, parameters)

    def _checked(self, request: HttpRequest, response: Any) -> Any:
        """Return the response, or a denial instead of what a later middleware answered for the view."""
        if self._route is not None and _VIEW not in vars(request):
            parameters = _parameters(request)
            # A redirect and an error, such as a 404, tell nothing about an account.
            if parameters is not None or response.status_code < HTTPStatus.MULTIPLE_CHOICES:
                found = find_account(lambda request: self._of_route(request, parameters), request)
                denied = self._denied(request, *found)
                if denied is not None:
                    return denied
        return _with_mode(request, response)

    def _of_url(self, request: HttpRequest) -> str | Exempt | None:
        """Return the account that the URL names, before Django resolves it; None if it names none."""
        if self._route is None or is_exempt(self._route, READER, request):
            return EXEMPT
        return self._route.account(_parameters(request))

    def _of_route(self, request: HttpRequest, parameters: Mapping[str, Any] | None) -> str | Exempt:
        """Return the account that the resolved route names."""
        if self._route is None or is_exempt(self._route, READER, request):
            return EXEMPT
        return required(self._route.account(parameters))

    def _denied(
        self, request: HttpRequest, account: str | Exempt | None, failure: Exception | None
    ) -> HttpResponse | None:
        """Return the response to a denied request."""
        verdict = verdict_on(self._gate, request, account, failure)
        if verdict.allowed:
            return None
        denial = denial_of(verdict, request.headers.get("accept", ""))
        return HttpResponse(denial.body, status=STATUS, headers=dict(denial.headers))


_VIEW = "cidrgate.view"
"""The key of a request for which Django has resolved a view."""


def _parameters(request: HttpRequest) -> Mapping[str, Any] | None:
    """Return the parameters of the route to which the request's URL belongs now; None if it has no route."""
    try:
        resolved = get_resolver(getattr(request, "urlconf", None)).resolve(request.path_info)
    except Http404:
        return None
    parameters: Mapping[str, Any] = resolved.kwargs
    return parameters


def _with_mode(request: HttpRequest, response: Any) -> Any:
    """Add the mode to the response, if only it allows the request."""
    verdict: Verdict | None = getattr(request, "cidrgate", None)
    if verdict is not None and verdict.allowed:
        for name, value in mode_headers(verdict):
            response[name] = value
    return response


def imported(named: Any) -> Any:
    """Import the object that a dotted path names; return any other value unchanged."""
    return import_string(named) if isinstance(named, str) else named
