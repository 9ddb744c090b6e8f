"""Views of Django REST framework with the permission class; several projects stand side by side in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.urls import path

from tests.edges import Edge, told
from tests.middleware import django_project

assert django_project.urlpatterns  # its settings are read when the framework is imported
from rest_framework.renderers import JSONRenderer  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from cidrgate.middleware.drf import allowlist  # noqa: E402

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["EDGE", "guarded"]

EDGE = Edge(
    title="Django REST framework",
    protocols=("asgi", "wsgi"),
    shape="a permission class",
    verdict="`request.cidrgate`",
    requires="djangorestframework>=3.16",
    page="drf.md",
)

assert django_project.urlpatterns


class _Guarded(APIView):  # type: ignore[misc]  # it has no types
    authentication_classes: ClassVar[list[type]] = []
    renderer_classes: ClassVar = [JSONRenderer]

    def get(self, request: Any, account: str | None = None, path: str = "") -> Response:
        """Act for an account, or for none."""
        return Response(told(account, request.cidrgate))

    post = get

    def options(self, request: Any, *_: Any, **named: str) -> Response:
        """Act for none."""
        return Response(told(None, request.cidrgate))


class _Synchronous(WSGIHandler):  # type: ignore[misc]
    """Routes by patterns of its own, where the settings are those of another project of the tests."""

    patterns: tuple[Any, ...] = ()

    def get_response(self, request: Any) -> Any:
        request.urlconf = self.patterns
        return super().get_response(request)


class _Asynchronous(ASGIHandler):  # type: ignore[misc]
    """The same, under ASGI."""

    patterns: tuple[Any, ...] = ()

    async def get_response_async(self, request: Any) -> Any:
        request.urlconf = self.patterns
        return await super().get_response_async(request)


HANDLERS: dict[str, type[Any]] = {"asgi": _Asynchronous, "wsgi": _Synchronous}


def guarded(gate: Gate, account: Any, protocol: str) -> Any:
    act: Any = type("Act", (_Guarded,), {"permission_classes": [allowlist(gate, account)]})
    view = act.as_view()
    with override_settings(MIDDLEWARE=[]):
        handler = HANDLERS[protocol]()
    handler.patterns = tuple(
        path(route, view) for route in ("v1/accounts/<account>/calls", "healthz", "static/<path:path>")
    )
    return handler
