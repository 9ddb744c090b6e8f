"""Caches and other middlewares of Django that answer before the view: none may answer for an account unasked."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.cache import cache
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils import translation
from django.utils.decorators import method_decorator, sync_and_async_middleware
from django.views.decorators.cache import cache_page
from werkzeug.test import Client

from cidrgate import FromHeader, FromPath, FromRoute, Gate, Matcher, Verdict
from tests.middleware import django_project

if TYPE_CHECKING:
    from collections.abc import Iterator

assert django_project.urlpatterns
pytest.importorskip("rest_framework", reason="needs Django REST framework: pip install djangorestframework")

from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from cidrgate.middleware.drf import allowlist  # noqa: E402

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"
CALLS = "/v1/accounts/acct-1/calls"
TOLD: list[Verdict] = []
GUARD = "cidrgate.middleware.django.AllowlistMiddleware"
STORE, FETCH = (f"django.middleware.cache.{name}Middleware" for name in ("UpdateCache", "FetchFromCache"))

SOURCES: dict[str, Any] = {
    "route": FromRoute("account"),
    "path": FromPath(r"/v1/accounts/(?P<account>[^/]+)"),
    "header": FromHeader("x-account"),
    "callable": lambda request: "acct-1",
}


def a_gate() -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, unlisted="deny_unknown", require_account=True, log="none", hooks=[TOLD.append])


def calls(request: Any, account: str) -> HttpResponse:
    return HttpResponse(f"the calls of {account}")


async def calls_async(request: Any, account: str) -> HttpResponse:
    return HttpResponse(f"the calls of {account}")


class Handled(APIView):  # type: ignore[misc]  # it has no types
    """A view without a cache of its methods."""

    authentication_classes: ClassVar[list[type]] = []

    def get(self, request: Any, account: str) -> Response:
        """Return what belongs to an account; the view sets other directives itself."""
        return Response({"calls": account}, headers={"Cache-Control": "no-transform"})

    def post(self, request: Any, account: str) -> Response:
        """Make the browsable API ask for one more permission."""
        return Response({})


class Counted(Handled):
    """A view with a cache of its method, behind the permission."""

    ran = 0

    @method_decorator(cache_page(60))  # type: ignore[untyped-decorator]
    def get(self, request: Any, account: str) -> Response:
        """Count how often the method runs."""
        Counted.ran += 1
        return Response({"calls": account})


PAGES = [path("v1/accounts/<account>/calls", calls)]
PER_VIEW = [path("v1/accounts/<account>/calls", cache_page(60)(calls))]
TRANSLATED = i18n_patterns(*PAGES)
OTHER = [path("v1/accounts/<other>/calls", calls)]
SWAPPED = [path("v1/<str:account>/<other>/calls", lambda request, account, other: calls(request, account))]
NO_ROUTES = [path("elsewhere", calls)]


def urls(patterns: list[Any]) -> Any:
    """A middleware that chooses the patterns, as those for several hosts do."""

    @sync_and_async_middleware  # type: ignore[untyped-decorator]
    def choosing(get_response: Any) -> Any:
        if asyncio.iscoroutinefunction(get_response):

            async def asynchronous(request: Any) -> Any:
                request.urlconf = tuple(patterns)
                return await get_response(request)

            return asynchronous

        def synchronous(request: Any) -> Any:
            request.urlconf = tuple(patterns)
            return get_response(request)

        return synchronous

    return choosing


by_pages, by_other, by_translated, by_swapped = (urls(each) for each in (PAGES, OTHER, TRANSLATED, SWAPPED))


@contextmanager
def a_project(patterns: list[Any], middlewares: list[str], source: Any) -> Iterator[None]:
    settings = {
        "ROOT_URLCONF": tuple(patterns),
        "MIDDLEWARE": middlewares,
        "CIDRGATE": {"GATE": a_gate(), "ACCOUNT": source},
        "LANGUAGES": [("en", "English"), ("de", "German")],
        "LANGUAGE_CODE": "en",
        "USE_I18N": True,
    }
    with override_settings(**settings), translation.override("en"):
        cache.clear()
        yield
        cache.clear()


def ask(protocol: str, peer: str, where: str = CALLS, **headers: str) -> tuple[int, str, list[str]]:
    """Return the status, the text, and the reasons of all verdicts."""
    TOLD.clear()
    if protocol == "wsgi":
        answer = Client(WSGIHandler()).get(where, environ_base={"REMOTE_ADDR": peer}, headers=headers)
        return answer.status_code, answer.text, [verdict.reason for verdict in TOLD]

    async def over_asgi() -> httpx.Response:
        transport = httpx.ASGITransport(ASGIHandler(), client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(where, headers=headers)

    found = asyncio.run(over_asgi())
    return found.status_code, found.text, [verdict.reason for verdict in TOLD]


def check_cached(protocol: str, where: str = CALLS) -> None:
    """Ask from a stranger, from a listed address, and again from both: each time the gate is asked once."""
    for peer in (STRANGER, LISTED, STRANGER, LISTED):
        status, text, reasons = ask(protocol, peer, where, **{"X-Account": "acct-1"})
        assert (status, reasons) == ((200, ["matched"]) if peer == LISTED else (403, ["not_listed"])), (peer, text)
        assert ("the calls of acct-1" in text) == (peer == LISTED)


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("patterns", "middlewares"),
    [
        (PAGES, [GUARD, STORE, FETCH]),
        (PAGES, [STORE, GUARD, FETCH]),
        (PER_VIEW, [GUARD]),
        ([path("v1/accounts/<account>/calls", calls_async)], [GUARD, STORE, FETCH]),
    ],
    ids=["the caches inside", "around and inside", "a cached view", "an asynchronous view"],
)
def test_no_cache_gives_a_response_to_a_denied_address(
    protocol: str, name: str, patterns: list[Any], middlewares: list[str]
) -> None:
    with a_project(patterns, middlewares, SOURCES[name]):
        check_cached(protocol)


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("patterns", "middlewares", "where"),
    [
        (NO_ROUTES, [GUARD, STORE, f"{__name__}.by_pages", FETCH], CALLS),
        (OTHER, [GUARD, STORE, f"{__name__}.by_pages", FETCH], CALLS),
        (OTHER, [GUARD, STORE, FETCH, f"{__name__}.by_pages"], CALLS),
        (NO_ROUTES, [GUARD, STORE, FETCH, f"{__name__}.by_pages"], CALLS),
        (TRANSLATED, [GUARD, STORE, "django.middleware.locale.LocaleMiddleware", FETCH], f"/de{CALLS}"),
        (TRANSLATED, [GUARD, STORE, FETCH, "django.middleware.locale.LocaleMiddleware"], f"/de{CALLS}"),
    ],
    ids=["no route", "another route", "a cached route", "cached without a route", "a language", "a cached language"],
)
def test_a_later_middleware_that_chooses_the_route_opens_nothing(
    protocol: str, patterns: list[Any], middlewares: list[str], where: str
) -> None:
    """The route is known only when later middlewares have run; a cached page is refused to everybody before that."""
    with a_project(patterns, middlewares, SOURCES["route"]):
        first = ask(protocol, STRANGER, where)
        assert first[0] == 403
        assert ask(protocol, LISTED, where)[::2] == (200, ["matched"])
        for _ in range(2):
            status, text, reasons = ask(protocol, STRANGER, where)
            assert (status, len(reasons)) == (403, 1)
            assert "the calls" not in text


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
def test_another_account_of_the_route_is_asked_about_too(protocol: str) -> None:
    with a_project(PAGES, [GUARD, f"{__name__}.by_swapped"], SOURCES["route"]):
        assert ask(protocol, LISTED)[::2] == (403, ["matched", "unknown_account"])
    with a_project(PAGES, [GUARD, STORE, f"{__name__}.by_swapped", f"{__name__}.answering"], SOURCES["route"]):
        assert ask(protocol, LISTED)[::2] == (403, ["matched", "unknown_account"])


def answering(get_response: Any) -> Any:
    """A middleware that responds itself."""
    return lambda request: HttpResponse("the calls of acct-1")


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("middlewares", "where", "status", "reasons"),
    [
        ([], "/nowhere", 404, []),
        ([], "/v1/plain", 403, ["no_account"]),
        (["django.middleware.common.CommonMiddleware"], "/slashed", 301, []),
        ([f"{__name__}.answering"], "/nowhere", 403, ["no_account"]),
        ([f"{__name__}.answering"], "/v1/plain", 403, ["no_account"]),
        ([f"{__name__}.answering"], CALLS, 200, ["matched"]),
    ],
)
def test_only_errors_and_redirects_without_a_route_have_no_verdict(
    protocol: str, middlewares: list[str], where: str, status: int, reasons: list[str]
) -> None:
    plain = path("v1/plain", lambda request: HttpResponse("plain"))
    slashed = path("slashed/", lambda request: HttpResponse("slashed"))
    with a_project([*PAGES, plain, slashed], [GUARD, *middlewares], SOURCES["route"]):
        assert ask(protocol, LISTED, where)[::2] == (status, reasons)


def rest_patterns(view: type[Any], source: Any, *, cached: bool) -> list[Any]:
    guarded: Any = type("Guarded", (view,), {"permission_classes": [allowlist(a_gate(), source)]})
    made = guarded.as_view()
    return [path("v1/accounts/<account>/calls", cache_page(60)(made) if cached else made)]


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(("cached", "middlewares"), [(True, []), (False, [STORE, FETCH])])
def test_no_cache_gives_a_response_of_rest_framework_to_a_denied_address(
    protocol: str, name: str, cached: bool, middlewares: list[str]
) -> None:
    with a_project(rest_patterns(Handled, SOURCES[name], cached=cached), middlewares, SOURCES[name]):
        for peer in (STRANGER, LISTED, STRANGER, LISTED):
            status, text, reasons = ask(protocol, peer, **{"X-Account": "acct-1"})
            assert (status, reasons) == ((200, ["matched"]) if peer == LISTED else (403, ["not_listed"]))
            assert (json.loads(text) == {"calls": "acct-1"}) == (peer == LISTED)


def test_a_cache_behind_the_permission_is_used() -> None:
    Counted.ran = 0
    with a_project(rest_patterns(Counted, SOURCES["route"], cached=False), [], SOURCES["route"]):
        for peer in (STRANGER, LISTED, STRANGER, LISTED):
            status, _, reasons = ask("wsgi", peer)
            assert (status, reasons) == ((200, ["matched"]) if peer == LISTED else (403, ["not_listed"]))
    assert Counted.ran == 1


@pytest.mark.parametrize(
    ("source", "directives"),
    [
        (FromRoute("account"), {"no-transform", "private"}),
        (FromRoute("account", exempt=[f"GET {CALLS}"]), {"no-transform"}),
    ],
)
def test_a_response_for_an_account_is_private_and_keeps_its_other_directives(source: Any, directives: set[str]) -> None:
    with a_project(rest_patterns(Handled, source, cached=False), [], source):
        answer = Client(WSGIHandler()).get(CALLS, environ_base={"REMOTE_ADDR": LISTED})
        assert set(answer.headers["Cache-Control"].split(", ")) == directives


@pytest.mark.parametrize("peer", [LISTED, STRANGER])
def test_the_browsable_api_asks_the_gate_once(peer: str) -> None:
    """It asks for the permission of each method that the view has, to show its forms."""
    patterns = rest_patterns(Handled, SOURCES["route"], cached=False)
    templates = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    applications = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"]
    with (
        a_project(patterns, [], SOURCES["route"]),
        override_settings(TEMPLATES=templates, INSTALLED_APPS=applications),
    ):
        status, text, reasons = ask("wsgi", peer, Accept="text/html")
    assert (status, reasons) == ((200, ["matched"]) if peer == LISTED else (403, ["not_listed"]))
    assert ("calls" in text) == (peer == LISTED)
