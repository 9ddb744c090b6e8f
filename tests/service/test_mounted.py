"""The service below a prefix: what it decides by the path, it decides by the path that it routes by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from cidrgate import ClientIPResolver, RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.http.limits import LARGEST_SIGN_IN
from tests.app_client import AppClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

INSIDE, OUTSIDE = "8.8.8.8", "9.9.9.9"
SETTINGS = Settings(
    authorize=True, unlisted="deny_unknown", allow=("8.8.8.0/24",), public_url="https://lists.example.com"
)


def told_root(app: Any, root: str) -> Any:
    """An application that a server gives a root path, as uvicorn does, which writes it before the path."""

    async def with_root(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": root}, receive, send)

    return with_root


def mounted(app: Any, prefix: str) -> Any:
    return Starlette(routes=[Mount(prefix, app)])


REMOVED, REMOVED_SLASH = "a prefix that a proxy removes", "a slash that a proxy removes"
PLACES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a mount": ("/admin", lambda app: mounted(app, "/admin")),
    "a mount in a mount": ("/a/b", lambda app: mounted(mounted(app, "/b"), "/a")),
    "a mount with the name of a public path": ("/problems", lambda app: mounted(app, "/problems")),
    "a mount with the name of the console": ("/console", lambda app: mounted(app, "/console")),
    "a mount with the name of the API": ("/v1", lambda app: mounted(app, "/v1")),
    "a server's prefix": ("/admin", lambda app: told_root(app, "/admin")),
    REMOVED: ("", lambda app: told_root(app, "/admin")),
    "a prefix with a slash": ("/admin/", lambda app: told_root(app, "/admin/")),
    "a slash that the server writes": ("/", lambda app: told_root(app, "/")),
    REMOVED_SLASH: ("", lambda app: told_root(app, "/")),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """Where the service is, and an application that contains it there."""
    prefix, around = PLACES[request.param]
    with RuleManager.open("memory://", create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.4.0/24")
        resolver = ClientIPResolver(trusted_proxies=["127.0.0.1/32"])
        app = create_app(manager, SETTINGS, resolver=resolver)
        try:
            yield prefix, around(app)
        finally:
            app.state.service.close()


def ask(place: tuple[str, Any], method: str, path: str, address: str = INSIDE, **asked: Any) -> httpx2.Response:
    prefix, app = place
    host = asked.pop("host", "lists.example.com")
    with AppClient(app, client=(address, 4711), follow_redirects=False) as client:
        return client.request(method, f"https://{host}{prefix}{path}", **asked)


@pytest.mark.parametrize(
    ("method", "path", "inside", "outside"),
    [
        ("GET", "/healthz", 200, 200),
        ("GET", "/readyz", 200, 200),
        ("GET", "/problems/no_account", 200, 200),
        ("GET", "/v1/me", 401, 403),
        ("GET", "/metrics", 401, 403),
        ("GET", "/openapi.json", 200, 403),
        ("GET", "/nothing", 404, 403),
    ],
)
def test_its_own_allowlist_decides_by_the_path_below_the_prefix(
    place: tuple[str, Any], method: str, path: str, inside: int, outside: int
) -> None:
    for address, status in ((INSIDE, inside), (OUTSIDE, outside)):
        assert ask(place, method, path, address).status_code == status, address


def test_only_open_paths_are_answered_under_another_host(place: tuple[str, Any]) -> None:
    for path, status in (("/healthz", 200), ("/problems/no_account", 200), ("/v1/me", 421)):
        assert ask(place, "GET", path, host="10.0.0.7").status_code == status, path


def test_it_answers_proxies_for_every_method(place: tuple[str, Any]) -> None:
    for method in ("GET", "HEAD", "POST"):
        for path in ("/v1/authorize", "/v1/authorize/v1/calls"):
            response = ask(place, method, path, host="10.0.0.7", headers={"X-Account": "acct-1"})
            assert (response.status_code, response.headers["x-cidrgate-reason"]) == (403, "not_listed"), path


# Starlette finds no mount, as the console is one, in a path that lacks the prefix.
@pytest.mark.parametrize("place", sorted(set(PLACES) - {REMOVED, REMOVED_SLASH}), indirect=True)
def test_who_has_not_signed_in_sends_only_small_bodies(place: tuple[str, Any]) -> None:
    headers = {"Origin": "https://lists.example.com", "Content-Type": "application/x-www-form-urlencoded"}
    for size, status in ((LARGEST_SIGN_IN, 413), (100, 200)):
        content = b"token=" + b"a" * size
        response = ask(place, "POST", "/console/sign-in", headers=headers, content=content)
        assert (response.status_code == 413) == (status == 413), response.text
    assert ask(place, "GET", "/console/sign-in").status_code == 200
    assert ask(place, "GET", "/console/sign-in", OUTSIDE).status_code == 403


def test_it_names_all_methods_of_a_path(place: tuple[str, Any]) -> None:
    assert ask(place, "DELETE", "/v1/accounts").headers["allow"] == "GET, HEAD, POST"
