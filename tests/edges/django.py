"""A project of Django, guarded by settings; several stand side by side in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_and_async_middleware

from tests.edges import Edge, told
from tests.middleware import django_project

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["EDGE", "MIDDLEWARE", "guarded", "urlpatterns"]

EDGE = Edge(
    title="Django",
    protocols=("asgi", "wsgi"),
    shape="a middleware, set up in `settings.py`",
    verdict="`request.cidrgate`",
    requires="Django>=5.2",
    page="django.md",
)

assert django_project.urlpatterns

MIDDLEWARE = [f"{__name__}.with_urls", "cidrgate.middleware.django.AllowlistMiddleware"]


def act(request: HttpRequest, account: str) -> JsonResponse:
    """Act for an account."""
    return JsonResponse(told(None if request.method == "OPTIONS" else account, request.cidrgate))


def act_for_none(request: HttpRequest, **named: str) -> JsonResponse:
    """Act for none."""
    return JsonResponse(told(None, request.cidrgate))


urlpatterns = [
    path("v1/accounts/<account>/calls", act),
    path("healthz", act_for_none),
    path("static/<path:path>", act_for_none),
]


@sync_and_async_middleware  # type: ignore[untyped-decorator]
def with_urls(get_response: Any) -> Any:
    """Let a request be routed by the patterns here: the settings are those of another project of the tests."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: Any) -> Any:
            request.urlconf = __name__
            return await get_response(request)

        return asynchronous

    def synchronous(request: Any) -> Any:
        request.urlconf = __name__
        return get_response(request)

    return synchronous


HANDLERS: dict[str, type[Any]] = {"asgi": ASGIHandler, "wsgi": WSGIHandler}


def guarded(gate: Gate, account: Any, protocol: str) -> Any:
    with override_settings(MIDDLEWARE=MIDDLEWARE, CIDRGATE={"GATE": gate, "ACCOUNT": account}):
        return HANDLERS[protocol]()
