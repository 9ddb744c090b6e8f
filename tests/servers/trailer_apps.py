"""Applications that read the body of a request, and then for which account it acts: a server may have added trailers.

Each is guarded by the edge in its name. It acts for the account of the key that it finds in the headers, and says for
whom, as the applications of `tests.edges` do.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from cidrgate import FromHeader
from cidrgate.middleware.asgi import AllowlistMiddleware
from cidrgate.middleware.fastapi import AllowlistRoute, allowlist
from tests.middleware import django_project
from tests.servers.guarded_apps import OWN, VICTIM, gate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["asgi_application"]

KEYS = {f"key-of-{account}": account for account in (VICTIM, OWN)}
ACCOUNT = FromHeader("x-api-key", KEYS.get)

assert django_project.urlpatterns
assert settings.configured


def _acts_for(headers: Any) -> str | None:
    """The last key counts here: the most careless application that there could be."""
    found = [value.decode("latin-1") for name, value in headers if name == b"x-api-key"]
    return KEYS.get(found[-1]) if found else None


async def _application(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    body = json.dumps({"account": _acts_for(scope["headers"])}).encode()
    size = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", size)]})
    await send({"type": "http.response.body", "body": body})


async def _endpoint(request: Request) -> dict[str, Any]:
    await request.body()
    return {"account": _acts_for(request.scope["headers"])}


async def _endpoint_with_body(request: Request, numbers: list[int]) -> dict[str, Any]:
    return await _endpoint(request)


def _fastapi(route_class: Any) -> FastAPI:
    router = APIRouter(route_class=route_class, dependencies=[Depends(allowlist(gate(), ACCOUNT))])
    router.post("/calls")(_endpoint)
    router.post("/calls-with-body")(_endpoint_with_body)
    app = FastAPI()
    app.include_router(router)
    return app


@csrf_exempt  # type: ignore[untyped-decorator]
def _view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"account": _acts_for(request.scope["headers"])})


urlpatterns = [path("calls", _view), path("calls-with-body", _view)]


@cache
def _django() -> Any:
    """The settings stay as they are here: a process of a server has no other project."""
    override_settings(
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["cidrgate.middleware.django.AllowlistMiddleware"],
        CIDRGATE={"GATE": gate(), "ACCOUNT": ACCOUNT},
    ).enable()
    return ASGIHandler()


_APPLICATIONS: dict[str, Callable[[], Any]] = {
    "asgi": cache(lambda: AllowlistMiddleware(_application, gate(), ACCOUNT)),
    "fastapi": cache(lambda: _fastapi(APIRoute)),
    "fastapi, before the body": cache(lambda: _fastapi(AllowlistRoute)),
    "django": _django,
}


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    """All of them; the header `X-App` says which is asked. Without a lifespan, as no server here needs one."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    asked = next(value.decode() for name, value in scope["headers"] if name == b"x-app")
    await _APPLICATIONS[asked]()(scope, receive, send)
