"""The permission class for Django REST framework; needs Django and djangorestframework.

    class Calls(APIView):
        permission_classes = [IsAuthenticated, Allowlisted]

Django's middleware runs before REST framework authenticates a request. A permission class runs after that, so the
account can come from the authenticated user. `settings.CIDRGATE` configures it: see
`cidrgate.middleware.django.Settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.core.signals import setting_changed
from django.template.response import SimpleTemplateResponse
from django.utils.cache import patch_cache_control
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from cidrgate.gate.account_sources import Exempt, FromHeader, FromPath, FromRoute
from cidrgate.gate.denial import Denial, denial_of, problem_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.verdict import mode_headers
from cidrgate.middleware._django_requests import GATES, READER as DJANGO_READER, verdict_on
from cidrgate.middleware._request_account import RequestReader, account_finder, find_account
from cidrgate.middleware.django import Settings, imported

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from rest_framework.views import APIView

    from cidrgate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["AccountSource", "AddressDeniedError", "Allowlisted", "allowlist"]

AccountSource: TypeAlias = Callable[[Request], str | Exempt | None] | FromHeader | FromRoute | FromPath
"""What names the account of a request: a callable from REST framework's request, or a source."""

_WRITTEN_BY_DJANGO = ("content-type", "content-length", "vary")


class AddressDeniedError(PermissionDenied):  # type: ignore[misc]  # it has no types
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
    """Allows a request if the allowlist of its account contains the client address; raises `AddressDeniedError` if not.

    It protects nothing if the account comes from something that a client chooses freely. `CIDRGATE["ACCOUNT"]` finds
    the account: a callable gets REST framework's request, whose `user` and `auth` are authenticated.

    The view finds the verdict in `request.cidrgate`. Its response for an account gets `Cache-Control: private`, because
    a cache around the view, such as `cache_page`, responds without asking for permissions. A cache around the method of
    the view stores the response nevertheless, and responds to allowed requests only.

    It raises instead of returning False, so a denial is always a 403. Do not combine it with `|`: write it as an item
    of the list, where every item must allow.

    Raises:
        ImproperlyConfigured: At the first request, if `settings.CIDRGATE` is invalid.
    """

    _asked: ClassVar[tuple[Gate, Callable[[Request], Any]] | None] = None

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Ask the gate about the request.

        Raises:
            AddressDeniedError: If the gate denies it.
        """
        gate, finder = self._asked or _configured()
        account, failure = find_account(finder, request)
        verdict = verdict_on(gate, request._request, account, failure)
        if verdict.allowed:
            view.headers.update(mode_headers(verdict))
            if verdict.account is not None:
                _keep_private(view)
            return True
        denial = denial_of(verdict, request.headers.get("accept", ""))
        view.headers.update({name: value for name, value in denial.headers if name not in _WRITTEN_BY_DJANGO})
        view.headers.setdefault("Vary", "Accept")
        # Not before: REST framework's views load the permission classes of the settings, of which this may be one.
        from rest_framework.views import exception_handler

        if view.get_exception_handler() is exception_handler:
            request.accepted_renderer = _DenialRenderer(denial)
            request.accepted_media_type = request.accepted_renderer.media_type
        raise AddressDeniedError(verdict)


def allowlist(gate: Gate, account: AccountSource) -> type[Allowlisted]:
    """A permission class with a gate and an account source, without `settings.CIDRGATE`.

    Args:
        gate: Decides about each request.
        account: A callable from REST framework's request to its account, None for no account, or `EXEMPT`; or a
            `FromRoute`, `FromHeader` or `FromPath`.

    Raises:
        TypeError: If `gate` is not a `Gate`, or `account` is not a valid account source.
    """
    check_gate(gate)
    finder = account_finder(account, _READER)
    GATES.add(gate)
    return type("Allowlisted", (Allowlisted,), {"_asked": (gate, finder)})


def _keep_private(view: APIView) -> None:
    """Mark the response of a view, so that no shared cache around the view gives it to another client.

    `cache_page` and `UpdateCacheMiddleware` answer before the permissions of a view are checked. They do not store a
    response that is private. A cache around a method of the view looks at the response when it is rendered, before the
    callback that is added here, and stores it.
    """
    if "finalize_response" in vars(view):
        return
    finalize = view.finalize_response

    def private(*arguments: Any, **named: Any) -> Any:
        response = finalize(*arguments, **named)
        if isinstance(response, SimpleTemplateResponse):
            response.add_post_render_callback(_make_private)
        else:
            _make_private(response)
        return response

    view.finalize_response = private


def _make_private(response: HttpResponseBase) -> None:
    """Add a directive to those that the response has."""
    patch_cache_control(response, private=True)


class _DenialRenderer(BaseRenderer):  # type: ignore[misc]
    """Write a denial as the other middlewares do, if REST framework's own exception handler would write it."""

    def __init__(self, denial: Denial) -> None:
        self._body = denial.body
        self.media_type, _, charset = dict(denial.headers)["content-type"].partition("; charset=")
        self.charset = charset or None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """The body."""
        return self._body


def _account_of_header(source: FromHeader) -> Callable[[Request], str | None]:
    """Return the function that finds the account in a header."""
    finder = DJANGO_READER.of_header(source)
    return lambda request: finder(request._request)


_READER: RequestReader[Request] = RequestReader(
    method=lambda request: DJANGO_READER.method(request._request),
    path=lambda request: DJANGO_READER.path(request._request),
    raw_path=lambda request: DJANGO_READER.raw_path(request._request),
    of_header=_account_of_header,
    route_parameters=lambda request: request.parser_context["kwargs"],
)


@cache
def _configured() -> tuple[Gate, Callable[[Request], Any]]:
    """Return the gate and the account source of `settings.CIDRGATE`; the first request creates them."""
    configured = Settings.read()
    finder = account_finder(imported(configured.account), _READER)
    gate = configured.make_gate()
    GATES.add(gate)
    return gate, finder


def _forget(*, setting: str, **_: object) -> None:
    if setting == "CIDRGATE":
        _configured.cache_clear()


setting_changed.connect(_forget)
