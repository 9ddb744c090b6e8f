"""The Django middleware, set up by `settings.CIDRGATE`, under WSGI and ASGI; needs Django.

    MIDDLEWARE = ["cidrgate.middleware.django.AllowlistMiddleware", ...]
    CIDRGATE = {
        "DATABASE": "postgresql://cidrgate@db.internal/platform",
        "ACCOUNT": "platform.accounts.account_of",
        "UNLISTED": "deny_unknown",
        "TRUSTED_PROXIES": ["10.0.0.0/8"],
    }

What else there is, is in `Settings`. The middleware stands behind the one that authenticates, if the account comes from
the user. Middlewares that answer by themselves stand behind it, unless they may answer everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django import conf
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from cidrgate.errors import StoreError
from cidrgate.gate.account_sources import EXEMPT, Exempt, FromHeader, FromPath, FromRoute, required
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.decision_log import LOG_EVERY
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import Gate, Unlisted, check_unlisted
from cidrgate.manager import RuleManager
from cidrgate.middleware import asgi, wsgi
from cidrgate.middleware._request_account import (
    RequestReader,
    account_finder,
    find_account,
    find_account_async,
    is_exempt,
)
from cidrgate.stores.urls import store_of

if TYPE_CHECKING:
    import os

    from cidrgate.gate.verdict import Verdict

__all__ = ["DJANGO_READER", "AllowlistMiddleware", "Settings", "imported", "verdict_on"]

Account: TypeAlias = Callable[[HttpRequest], str | Exempt | Awaitable[str | Exempt | None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`settings.CIDRGATE`, its keys in capitals. Names of things to be imported are dotted paths.

    Attributes:
        account: The name of a callable, or the callable, from the request to the account it acts for, None for none, or
            `EXEMPT`; or a `FromRoute`, `FromHeader` or `FromPath`, or the name of one.
        database: The store's URL.
        open: More arguments of `RuleManager.open`, such as `max_staleness` and `snapshot`.
        gate: A gate of the application's own, or its name, instead of all that follows and of `database`.
        trusted_proxies: As in `ClientIPResolver`.
        trusted_hops: As in `ClientIPResolver`.
        header: As in `ClientIPResolver`.
        trust_everybody: As in `ClientIPResolver`.
        resolved_by_server: As in `ClientIPResolver`.
        unlisted: As in `Gate`; needed, unless there is a gate.
        report_only: As in `Gate`.
        require_account: As in `Gate`.
        log: As in `Gate`.
        hooks: As in `Gate`, each also by its name.
        log_every: As in `Gate`.
        request_id_header: As in `Gate`.
    """

    account: str | Account | FromHeader | FromRoute | FromPath
    database: str | os.PathLike[str] | None = field(default=None, repr=False)
    open: Mapping[str, Any] = field(default_factory=dict)
    gate: str | Gate | None = None
    trusted_proxies: Sequence[str] | None = None
    trusted_hops: int | None = None
    header: str | None = None
    trust_everybody: bool = False
    resolved_by_server: bool = False
    unlisted: Unlisted | None = None
    report_only: bool = False
    require_account: bool = False
    log: Literal["denials", "all", "none"] = "denials"
    log_every: float = LOG_EVERY
    hooks: Sequence[str | Callable[[Verdict], object]] = ()
    request_id_header: str | None = None

    @classmethod
    def read(cls) -> Settings:
        """The settings of the project.

        Raises:
            ImproperlyConfigured: If they are missing, or hold what there is not.
        """
        given = getattr(conf.settings, "CIDRGATE", None)
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured("set CIDRGATE to a dict with ACCOUNT, and DATABASE or GATE")
        known = {one.name.upper(): one.name for one in fields(cls)}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ImproperlyConfigured(f"CIDRGATE has no {', '.join(unknown)}: there are {', '.join(known)}")
        if "ACCOUNT" not in given or ("DATABASE" in given) == ("GATE" in given):
            raise ImproperlyConfigured("CIDRGATE needs ACCOUNT, and DATABASE or GATE")
        ignored = sorted(set(given) - {"ACCOUNT", "GATE"})
        if "GATE" in given and ignored:
            raise ImproperlyConfigured(
                f"CIDRGATE: the gate decides, so {', '.join(ignored)} would do nothing: give that to the gate"
            )
        return cls(**{known[name]: value for name, value in given.items()})

    def make_gate(self) -> Gate:
        """The gate that they describe.

        Raises:
            ImproperlyConfigured: If the settings do not fit together, or there are no lists.
        """
        if self.gate is not None:
            gate = imported(self.gate)
            if not isinstance(gate, Gate):
                raise ImproperlyConfigured(f"CIDRGATE['GATE'] is {gate!r}, not a cidrgate.Gate")
            return gate
        database: Any = self.database  # `store_of` refuses what is no address
        try:
            store_of(database)
        except StoreError as error:
            raise ImproperlyConfigured(f"CIDRGATE['DATABASE']: {error}") from error
        try:
            resolver = ClientIPResolver(
                trusted_proxies=self.trusted_proxies,
                trusted_hops=self.trusted_hops,
                header=self.header,
                trust_everybody=self.trust_everybody,
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
                "request_id_header": self.request_id_header,
            }
            manager = RuleManager.open(database, **self.open)
            try:
                return Gate(manager, **settings)
            except BaseException:
                manager.close()
                raise
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"CIDRGATE: {error}") from error


class AllowlistMiddleware:
    """Lets requests through that the gate admits, and answers 403 for the others.

    Args:
        get_response: The next middleware or the view; a coroutine function under ASGI.

    Raises:
        ImproperlyConfigured: If `settings.CIDRGATE` cannot be used.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        configured = Settings.read()
        self.get_response = get_response
        self._gate = configured.make_gate()
        account = imported(configured.account)
        self._route = account if isinstance(account, FromRoute) else None
        self._account = (lambda request: None) if self._route is not None else account_finder(account, DJANGO_READER)
        self._is_async = iscoroutinefunction(get_response)
        if self._route is not None:
            # Django looks for the method when it puts the middlewares together.
            self.process_view = self._process_view_async if self._is_async else self._process_view
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Ask the gate; run the view or deny."""
        if self._route is not None:
            return self.get_response(request)  # the route is known in `process_view`
        if self._is_async:
            return self._call_async(request)
        denied = self._denied(request, *find_account(self._account, request))
        return self.get_response(request) if denied is None else denied

    async def _call_async(self, request: HttpRequest) -> Any:
        denied = self._denied(request, *await find_account_async(self._account, request))
        return await self.get_response(request) if denied is None else denied

    def _process_view(
        self, request: HttpRequest, view: object, positional: object, parameters: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Ask the gate when Django has resolved the route, before the view runs."""
        return self._denied(request, *find_account(lambda request: self._of_route(request, parameters), request))

    async def _process_view_async(
        self, request: HttpRequest, view: object, positional: object, parameters: Mapping[str, Any]
    ) -> HttpResponse | None:
        """The same, where a thread for it would only cost time."""
        return self._process_view(request, view, positional, parameters)

    def _of_route(self, request: HttpRequest, parameters: Mapping[str, Any]) -> str | Exempt:
        """The account that the resolved route names."""
        if self._route is None or is_exempt(self._route, DJANGO_READER, request):
            return EXEMPT
        return required(self._route.account(parameters))

    def _denied(
        self, request: HttpRequest, account: str | Exempt | None, failure: Exception | None
    ) -> HttpResponse | None:
        """The response to a request that is denied."""
        verdict = verdict_on(self._gate, request, account, failure)
        if verdict.admitted:
            return None
        denial = denial_of(verdict, request.headers.get("accept", ""))
        return HttpResponse(denial.body, status=STATUS, headers=dict(denial.headers))


def verdict_on(
    gate: Gate, request: HttpRequest, account: str | Exempt | None, failure: Exception | None = None
) -> Verdict:
    """Ask the gate about a Django request that acts for an account, under WSGI or ASGI."""
    if hasattr(request, "scope"):
        return asgi.decide(gate, account, request.scope, failure)
    return wsgi.decide(gate, account, request.META, failure)


def imported(named: Any) -> Any:
    """What a dotted path names; anything else as it is."""
    return import_string(named) if isinstance(named, str) else named


def _account_of_headers(source: FromHeader) -> Callable[[HttpRequest], str | None]:
    """What finds the account in the headers, as the server's protocol has them."""
    of_scope, of_environ = asgi.account_of_headers(source), wsgi.account_of_headers(source)
    return lambda request: of_scope(request.scope) if hasattr(request, "scope") else of_environ(request.META)


def _raw_path_of(request: HttpRequest) -> bytes | None:
    """The path as it came, where the server says it."""
    if hasattr(request, "scope"):
        raw: bytes | None = request.scope.get("raw_path")
        return raw
    return wsgi.raw_path_of(request.META)


DJANGO_READER: RequestReader[HttpRequest] = RequestReader(
    method=lambda request: request.method or "",
    path=lambda request: request.path_info,
    raw_path=_raw_path_of,
    of_header=_account_of_headers,
)
"""How Django's requests are read, before their route is known."""
