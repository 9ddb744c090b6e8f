"""The permission class for Django REST framework: after authentication, always a 403 with our problem."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from typing import Any, ClassVar

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.urls import path
from werkzeug.test import Client

from cidrgate import EXEMPT, FromHeader, FromPath, FromRoute, Gate, Matcher, Verdict
from tests.middleware import django_project

assert django_project.urlpatterns
pytest.importorskip("rest_framework", reason="needs Django REST framework: pip install djangorestframework")

from rest_framework import authentication, exceptions, permissions, views  # noqa: E402
from rest_framework.decorators import api_view, permission_classes  # noqa: E402
from rest_framework.response import Response  # noqa: E402

from cidrgate.middleware.django import with_lifespan  # noqa: E402
from cidrgate.middleware.drf import AddressDeniedError, Allowlisted, allowlist  # noqa: E402

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


def test_a_gate_is_needed_when_the_permission_class_is_made() -> None:
    with pytest.raises(TypeError, match="gate must be an object of the class Gate"):
        allowlist(Matcher(), FromRoute("account"))  # type: ignore[arg-type]


class User:
    """A user of the project, with the account to which it belongs."""

    is_authenticated = True

    def __init__(self, account: str) -> None:
        self.account = account


class Basic(authentication.BasicAuthentication):  # type: ignore[misc]  # it has no types
    """The user's name is the account, the password is `right`."""

    def authenticate_credentials(self, userid: str, password: str, request: Any = None) -> Any:
        if password != "right":
            raise exceptions.AuthenticationFailed
        return User(userid), None


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "deny_unknown", "log": "none", **settings})


GATE = a_gate()


def account_of(request: Any) -> str | None:
    return getattr(request.user, "account", None)


class Calls(views.APIView):  # type: ignore[misc]
    """A view with the permission class of the project's settings."""

    authentication_classes: ClassVar = [Basic]
    permission_classes: ClassVar = [permissions.IsAuthenticated, Allowlisted]

    def get(self, request: Any, **parameters: str) -> Response:
        return Response({"account": request.user.account})


def handled(error: Exception, context: Any) -> Response:
    """An exception handler as projects have them."""
    assert isinstance(error, AddressDeniedError)
    return Response({"errors": [error.verdict.reason]}, status=error.status_code)


PROJECT = """
import django
from django.conf import settings
settings.configure(
    REST_FRAMEWORK={"DEFAULT_PERMISSION_CLASSES": ["cidrgate.middleware.drf.Allowlisted"], "UNAUTHENTICATED_USER": None}
)
django.setup()
FIRST
from rest_framework.views import APIView
from cidrgate.middleware.drf import Allowlisted
assert APIView.permission_classes == [Allowlisted]
"""


@pytest.mark.parametrize("first", ["", "import cidrgate.middleware.drf", "import rest_framework.permissions"])
def test_it_can_be_the_permission_class_of_every_view(first: str) -> None:
    subprocess.run([sys.executable, "-c", PROJECT.replace("FIRST", first)], check=True)


def view_with(permission: type[Any], **attributes: Any) -> Any:
    view: Any = type("AView", (Calls,), {"permission_classes": [permission], **attributes})
    return view.as_view()


@api_view(["GET"])  # type: ignore[untyped-decorator]
@permission_classes([allowlist(GATE, lambda request: "acct-1")])  # type: ignore[untyped-decorator]
def plain(request: Any) -> Response:
    return Response("the view runs")


urlpatterns = [
    path("calls", Calls.as_view()),
    path("plain", plain),
    path("route/<account>", view_with(allowlist(GATE, FromRoute("account", exempt=["GET /route/open"])))),
    path("header", view_with(allowlist(GATE, FromHeader("x-account")))),
    path("v1/<name>", view_with(allowlist(GATE, FromPath(r"/v1/(?P<account>[^/]+)")))),
]


def ask(
    where: str,
    peer: str,
    user: str | None = None,
    password: str = "right",
    framework: Any = None,
    **headers: str,
) -> Any:
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    settings = {
        "ROOT_URLCONF": __name__,
        "MIDDLEWARE": [],
        "CIDRGATE": {"GATE": "tests.middleware.test_drf.GATE", "ACCOUNT": account_of},
        "REST_FRAMEWORK": {"UNAUTHENTICATED_USER": None, **(framework or {})},
    }
    with override_settings(**settings):
        return Client(WSGIHandler()).get(where, environ_base={"REMOTE_ADDR": peer}, headers=headers)


def test_the_authenticated_users_account_decides() -> None:
    allowed = ask("/calls", LISTED, "acct-1")
    assert (allowed.status_code, json.loads(allowed.data)) == (200, {"account": "acct-1"})
    assert ask("/calls", STRANGER, "acct-1").status_code == 403
    assert ask("/calls", LISTED, "acct-9").status_code == 403  # nobody created it
    for peer in (LISTED, STRANGER):  # who has no credentials learns nothing about lists
        assert ask("/calls", peer).status_code == 401
        assert ask("/calls", peer, "acct-1", "wrong").status_code == 401


def test_a_denial_is_that_of_the_other_middlewares() -> None:
    denied = ask("/calls", STRANGER, "acct-1")
    assert denied.headers["content-type"] == "application/problem+json"
    problem = json.loads(denied.data)
    assert (problem["status"], problem["address"]) == (403, STRANGER)
    assert problem["type"] == "/problems/address_not_allowed"
    assert problem["request_id"] == denied.headers["x-request-id"]
    assert denied.headers["cache-control"] == "no-store"
    page = ask("/calls", STRANGER, "acct-1", Accept="text/html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert STRANGER in page.text


def test_a_denial_without_authentication_is_a_403_too() -> None:
    assert ask("/header", STRANGER, **{"X-Account": "acct-1"}).status_code == 403
    assert ask("/plain", STRANGER).status_code == 403
    assert ask("/plain", LISTED).status_code == 200


@pytest.mark.parametrize(
    ("where", "headers"), [("/route/acct-1", {}), ("/header", {"X-Account": "acct-1"}), ("/v1/acct-1", {})]
)
def test_each_source_of_accounts_works(where: str, headers: dict[str, str]) -> None:
    assert ask(where, LISTED, "acct-1", **headers).status_code == 200
    assert ask(where, STRANGER, "acct-1", **headers).status_code == 403


def test_exempt_requests_pass() -> None:
    assert ask("/route/open", STRANGER, "acct-1").status_code == 200
    passes = allowlist(GATE, lambda request: EXEMPT)
    with override_settings(ROOT_URLCONF=__name__):
        urlpatterns.append(path("exempt", view_with(passes)))
    assert ask("/exempt", STRANGER, "acct-1").status_code == 200


def test_a_broken_account_source_denies() -> None:
    async def awaited(request: Any) -> str:
        return "acct-1"

    told: list[Verdict] = []
    for number, broken in enumerate((awaited, lambda request: request.no_such_attribute, lambda request: 42)):
        gate = a_gate(hooks=[told.append])
        urlpatterns.append(path(f"broken/{number}", view_with(allowlist(gate, broken))))
        assert ask(f"/broken/{number}", LISTED, "acct-1").status_code == 403
    assert [verdict.reason for verdict in told] == ["error"] * 3


def test_the_projects_exception_handler_writes_the_denial() -> None:
    handler = {"EXCEPTION_HANDLER": "tests.middleware.test_drf.handled"}
    denied = ask("/calls", STRANGER, "acct-1", framework=handler)
    assert (denied.status_code, json.loads(denied.data)) == (403, {"errors": ["not_listed"]})
    assert denied.headers["content-type"] == "application/json"


def test_invalid_settings_stop_the_first_request() -> None:
    with (
        override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], CIDRGATE={"GATE": GATE, "DATABASES": "memory://"}),
        pytest.raises(ImproperlyConfigured, match="unknown keys: DATABASES; the known keys are"),
    ):
        Allowlisted().has_permission(None, None)


def test_a_source_that_is_none_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="FromHeader, FromRoute, FromPath or a callable"):
        allowlist(GATE, "acct-1")  # type: ignore[arg-type]


def test_the_lifespan_of_a_project_flushes_the_gates_of_permissions_and_middlewares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushed: list[Gate] = []
    sent: list[str] = []
    monkeypatch.setattr(Gate, "_flush", lambda gate: flushed.append(gate))
    known = [a_gate(), a_gate()]
    with override_settings(CIDRGATE={"GATE": known[0], "ACCOUNT": account_of}):
        handler = ASGIHandler()
    application = with_lifespan(handler)
    permission = allowlist(known[1], account_of)  # a view may be imported later
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> Any:
        return {"type": messages.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])
        assert bool(flushed) is (not messages)

    async def live() -> None:
        await application({"type": "lifespan"}, receive, send)

    asyncio.run(live())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert {id(gate) for gate in known} <= {id(gate) for gate in flushed}
    with pytest.raises(TypeError, match="application"):
        with_lifespan(permission.__name__)  # type: ignore[arg-type]
