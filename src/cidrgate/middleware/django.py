"""The Django middleware, set up by `settings.CIDRGATE`, under WSGI and ASGI; needs Django.

    MIDDLEWARE = ["cidrgate.middleware.django.AllowlistMiddleware", ...]
    CIDRGATE = {
        "DATABASE": "postgresql://cidrgate@db.internal/platform",
        "ACCOUNT": "platform.accounts.account_of",
        "TRUSTED_PROXIES": ["10.0.0.0/8"],
    }

What else there is, is in `Settings`. The middleware stands behind the one that authenticates, if the account comes from
the user.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import isawaitable
from typing import Any, Literal, TypeAlias

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django import conf
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.client_ip import ClientIPResolver
from cidrgate.denial import STATUS, denial_of
from cidrgate.gate import Gate, Verdict
from cidrgate.manager import RuleManager
from cidrgate.middleware import asgi, wsgi

__all__ = ["AllowlistMiddleware", "Settings"]

Account: TypeAlias = Callable[[HttpRequest], str | Awaitable[str | None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`settings.CIDRGATE`, its keys in capitals. Names of things to be imported are dotted paths.

    Attributes:
        account: The name of a callable, or the callable, from the request to the account it acts for or None for none;
            or a `FromHeader` or `FromPath`.
        database: The store's URL.
        open: More arguments of `RuleManager.open`, such as `max_staleness` and `snapshot`.
        gate: A gate of the application's own, or its name, instead of all that follows and of `database`.
        trusted_proxies: As in `ClientIPResolver`.
        trusted_hops: As in `ClientIPResolver`.
        header: As in `ClientIPResolver`.
        report_only: As in `Gate`.
        require_account: As in `Gate`.
        require_list: As in `Gate`.
        log: As in `Gate`.
        hooks: As in `Gate`, each also by its name.
        request_id_header: As in `Gate`.
    """

    account: str | Account | FromHeader | FromPath
    database: str | None = field(default=None, repr=False)
    open: Mapping[str, Any] = field(default_factory=dict)
    gate: str | Gate | None = None
    trusted_proxies: Sequence[str] | None = None
    trusted_hops: int | None = None
    header: str | None = None
    report_only: bool = False
    require_account: bool = False
    require_list: bool = False
    log: Literal["denials", "all", "none"] = "denials"
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
        return cls(**{known[name]: value for name, value in given.items()})

    def make_gate(self) -> Gate:
        """The gate that they describe."""
        if self.gate is not None:
            gate = _imported(self.gate)
            if not isinstance(gate, Gate):
                raise ImproperlyConfigured(f"CIDRGATE['GATE'] is {gate!r}, not a cidrgate.Gate")
            return gate
        try:
            resolver = ClientIPResolver(
                trusted_proxies=self.trusted_proxies, trusted_hops=self.trusted_hops, header=self.header
            )
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"CIDRGATE: {error}") from error
        return Gate(
            RuleManager.open(str(self.database), **self.open),
            resolver=resolver,
            report_only=self.report_only,
            require_account=self.require_account,
            require_list=self.require_list,
            log=self.log,
            hooks=[_imported(hook) for hook in self.hooks],
            request_id_header=self.request_id_header,
        )


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
        self._account = _account_of_request(_imported(configured.account))
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Ask the gate; run the view or deny."""
        if self._is_async:
            return self._call_async(request)
        account, failure = self._told(request)
        if isawaitable(account):
            getattr(account, "close", lambda: None)()
            failure = TypeError("the account comes from a coroutine function: that takes ASGI, or a plain function")
        denied = self._denied(request, None if failure else account, failure)
        return self.get_response(request) if denied is None else denied

    async def _call_async(self, request: HttpRequest) -> Any:
        account, failure = self._told(request)
        if isawaitable(account):
            try:
                account = await account
            except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
                account, failure = None, error
        denied = self._denied(request, account, failure)
        return await self.get_response(request) if denied is None else denied

    def _told(self, request: HttpRequest) -> tuple[Any, Exception | None]:
        """The account, or what comes to it later, or what broke."""
        try:
            return self._account(request), None
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            return None, error

    def _denied(self, request: HttpRequest, account: str | None, failure: Exception | None) -> HttpResponse | None:
        """The response to a request that is denied."""
        if hasattr(request, "scope"):
            verdict = asgi.decide(self._gate, account, request.scope, failure)
        else:
            verdict = wsgi.decide(self._gate, account, request.META, failure)
        if verdict.admitted:
            return None
        denial = denial_of(verdict, request.headers.get("accept", ""))
        return HttpResponse(denial.body, status=STATUS, headers=dict(denial.headers))


def _imported(named: Any) -> Any:
    """What a dotted path names; anything else as it is."""
    return import_string(named) if isinstance(named, str) else named


def _account_of_request(account: Account | FromHeader | FromPath) -> Account:
    """What finds the account in a Django request."""
    if isinstance(account, FromPath):
        source = account
        return lambda request: source.account(request.path)
    if isinstance(account, FromHeader):
        of_environ = wsgi.account_of_environ(account)
        of_scope = asgi.account_of_scope(account)
        return lambda request: of_scope(request.scope) if hasattr(request, "scope") else of_environ(request.META)
    return account
