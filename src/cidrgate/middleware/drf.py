"""The permission class for Django REST framework; needs Django and djangorestframework.

    class Calls(APIView):
        permission_classes = [IsAuthenticated, Allowlisted]

Django's middleware runs before REST framework authenticates a request. A permission class runs after that, so the
account can come from the authenticated user. `settings.CIDRGATE` configures it: see
`cidrgate.middleware.django.Settings`.
"""

from __future__ import annotations

from functools import cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.core.signals import setting_changed
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.views import exception_handler

from cidrgate.gate.account_sources import EXEMPT, Exempt, FromHeader, FromPath, FromRoute, check_source, required
from cidrgate.gate.denial import Denial, denial_of, problem_of
from cidrgate.middleware.django import Settings, account_of_request, imported, is_exempt, verdict_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rest_framework.request import Request
    from rest_framework.views import APIView

    from cidrgate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["AddressNotAllowed", "Allowlisted", "allowlisted"]

_WRITTEN_BY_DJANGO = ("content-type", "content-length", "vary")
_Account: TypeAlias = "Callable[[Request, Mapping[str, Any]], Any]"


class AddressNotAllowed(PermissionDenied):  # type: ignore[misc]  # it has no types
    """The gate denied the request: status 403 with problem details, whether or not the request was authenticated.

    An `EXCEPTION_HANDLER` of the project gets it like every other error.

    Attributes:
        verdict: What the gate decided.
        detail: The problem details, a dict.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict
        self.detail: Any = problem_of(verdict)


class Allowlisted(BasePermission):  # type: ignore[misc]
    """Allows a request if the allowlist of its account contains the client address; raises `AddressNotAllowed` if not.

    It protects nothing if the account comes from something that a client chooses freely. `CIDRGATE["ACCOUNT"]` finds
    the account: a callable gets REST framework's request, whose `user` and `auth` are authenticated.

    It raises instead of returning False, so a denial is always a 403. Do not combine it with `|`: write it as an item
    of the list, where every item must allow.

    Raises:
        ImproperlyConfigured: At the first request, if `settings.CIDRGATE` is invalid.
    """

    _asked: ClassVar[tuple[Gate, _Account] | None] = None

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Ask the gate about the request.

        Raises:
            AddressNotAllowed: If the gate denies it.
        """
        gate, account = self._asked or _configured()
        found: Any = None
        failure: Exception | None = None
        try:
            found = account(request, view.kwargs)
            if isawaitable(found):
                getattr(found, "close", lambda: None)()
                raise TypeError("the account comes from a coroutine function: give a permission class a plain function")
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate denies
            found, failure = None, error
        verdict = verdict_on(gate, request._request, found, failure)
        if verdict.admitted:
            return True
        denial = denial_of(verdict, request.headers.get("accept", ""))
        view.headers.update({name: value for name, value in denial.headers if name not in _WRITTEN_BY_DJANGO})
        if view.get_exception_handler() is exception_handler:
            request.accepted_renderer = _DenialRenderer(denial)
            request.accepted_media_type = request.accepted_renderer.media_type
        raise AddressNotAllowed(verdict)


def allowlisted(
    gate: Gate, account: Callable[[Request], str | Exempt | None] | FromHeader | FromRoute | FromPath
) -> type[Allowlisted]:
    """A permission class with a gate and an account source, without `settings.CIDRGATE`.

    Args:
        gate: Decides.
        account: A callable from REST framework's request to its account, None for none, or `EXEMPT`; or a `FromRoute`,
            `FromHeader` or `FromPath`.

    Raises:
        TypeError: If the account source is none of these.
    """
    return type("Allowlisted", (Allowlisted,), {"_asked": (gate, _finder(account))})


class _DenialRenderer(BaseRenderer):  # type: ignore[misc]
    """Writes a denial as the other middlewares do, where REST framework's own exception handler would write it."""

    def __init__(self, denial: Denial) -> None:
        self._body = denial.body
        self.media_type, _, charset = dict(denial.headers)["content-type"].partition("; charset=")
        self.charset = charset or None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """The body."""
        return self._body


def _finder(source: Any) -> _Account:
    """What finds the account of a request and the parameters of its route.

    Raises:
        TypeError: If the source cannot be called and is no `FromRoute`, `FromHeader` or `FromPath`.
    """
    if isinstance(source, FromRoute):
        return lambda request, parameters: (
            EXEMPT if is_exempt(source, request._request) else required(source.account(parameters))
        )
    if isinstance(source, (FromHeader, FromPath)):
        of_request = account_of_request(source)
        return lambda request, parameters: of_request(request._request)
    check_source(source)
    return lambda request, parameters: source(request)


@cache
def _configured() -> tuple[Gate, _Account]:
    """The gate and the account source of `settings.CIDRGATE`, made at the first request."""
    configured = Settings.read()
    account = _finder(imported(configured.account))
    return configured.make_gate(), account


def _forget(*, setting: str, **_: object) -> None:
    if setting == "CIDRGATE":
        _configured.cache_clear()


setting_changed.connect(_forget)
