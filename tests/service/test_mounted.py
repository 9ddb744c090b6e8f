"""The service below a prefix: what it decides by the path, it decides by the path that it routes by."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from cidrgate import ClientIPResolver, RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.limits import LARGEST_SIGN_IN
from tests.app_client import AppClient
from tests.rows import rows

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


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    """The lists, with one account."""
    with RuleManager.open("memory://", create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.4.0/24")
        yield manager


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, manager: RuleManager) -> Iterator[tuple[str, Any]]:
    """Where the service is, and an application that contains it there."""
    prefix, around = PLACES[request.param]
    app = create_app(manager, SETTINGS, resolver=ClientIPResolver(trusted_proxies=["127.0.0.1/32"]))
    try:
        yield prefix, around(app)
    finally:
        app.state.service.close()


@pytest.fixture
def token(manager: RuleManager) -> str:
    """A token for everything."""
    return Credentials(manager._store).create_token("ops", [Scope("admin")]).secret


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


CREATED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/accounts", {"name": "new/one"}),
    ("/v1/accounts/acct-1/subaccounts", {"name": "sub 1"}),
    ("/v1/accounts/acct-1/entries?confirm=lock_out", {"cidrs": "8.8.8.0/24"}),
    ("/v1/tokens", {"name": "ci", "scopes": ["metrics"]}),
]


@rows("created", CREATED)
def test_what_is_created_is_found_where_the_answer_says(
    place: tuple[str, Any], token: str, created: tuple[str, dict[str, Any]]
) -> None:
    """Also where the answer is repeated for the same key."""
    path, body = created
    sent = {"Authorization": f"Bearer {token}", "Idempotency-Key": path}
    for _ in range(2):
        made = ask(place, "POST", path, headers=sent, json=body)
        assert made.status_code == 201, made.text
        assert get_as_told(place, made.headers["Location"], sent).status_code == 200, made.headers["Location"]


def test_a_repeated_answer_has_the_prefix_of_its_request(manager: RuleManager, token: str) -> None:
    app = create_app(manager)
    sent = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
    located = [
        ask((prefix, around), "POST", "/v1/accounts", headers=sent, json={"name": "a"}).headers["Location"]
        for prefix, around in (("/old", mounted(app, "/old")), ("", app), ("/new", mounted(app, "/new")))
    ]
    app.state.service.close()
    assert located == ["/old/v1/accounts/a", "/v1/accounts/a", "/new/v1/accounts/a"]


def get_as_told(place: tuple[str, Any], path: str, headers: dict[str, str]) -> httpx2.Response:
    """Ask for a path that a response contains, as a client sees it."""
    prefix = place[0].rstrip("/") or next(one for one in ("/admin", "") if path.startswith(one))
    assert path.startswith(f"{prefix}/")
    assert not path.startswith("//")
    return ask(place, "GET", path.removeprefix(prefix), headers=headers)


PROBLEMS: list[tuple[str, str, dict[str, str], str]] = [
    ("GET", "/v1/accounts/nobody", {}, "account_not_found"),
    ("GET", "/v1/me", {"Authorization": "Bearer x"}, "unauthorized"),
    ("GET", "/nothing", {}, "not_found"),
    ("PUT", "/v1/me", {}, "method_not_allowed"),
    ("GET", "/v1/me?unknown=1", {}, "invalid_request"),
    ("GET", f"/v1/me?{'a' * 9_000}", {}, "query_too_long"),
    ("GET", "/v1/me", {"Host": "elsewhere"}, "wrong_host"),
]


@rows("problem", PROBLEMS)
def test_the_type_of_a_problem_leads_to_its_page(
    place: tuple[str, Any], token: str, problem: tuple[str, str, dict[str, str], str]
) -> None:
    method, path, headers, code = problem
    told = ask(place, method, path, headers={"Authorization": f"Bearer {token}", **headers})
    assert (told.json()["code"], told.headers["content-length"]) == (code, str(len(told.content)))
    page = get_as_told(place, told.json()["type"], {})
    assert (page.status_code, page.json()["code"], page.json()["type"]) == (200, code, told.json()["type"])


@pytest.mark.parametrize("place", sorted(set(PLACES) - {REMOVED, REMOVED_SLASH}), indirect=True)
def test_the_console_is_found_where_the_answer_says(place: tuple[str, Any]) -> None:
    first = ask(place, "GET", "/")
    assert first.status_code == 303
    accounts = get_as_told(place, first.headers["Location"], {})
    page = get_as_told(place, accounts.headers["Location"], {})
    assert page.status_code == 303, "nobody has signed in"
    assert get_as_told(place, page.headers["Location"], {}).status_code == 200
    [style] = re.findall(r'href="([^"]+console\.css)"', get_as_told(place, page.headers["Location"], {}).text)
    assert get_as_told(place, style, {}).status_code == 200


def test_a_prefix_that_a_client_chose_names_no_other_host(manager: RuleManager) -> None:
    """As below a mount that takes a part of the path."""
    app = create_app(manager)
    for root in ("//evil.example", "/a\r\nX-Evil: 1", "/\\evil.example", "/a b", "/\udc80", "/é"):
        for path in ("/", "/v1/me"):
            response = ask(("", told_root(app, root)), "GET", path)
            assert "x-evil" not in response.headers
            told = response.headers["Location"] if path == "/" else response.json()["type"]
            assert re.fullmatch(r"/[!-\[\]-~]*", told, re.ASCII), told
            assert not told.startswith("//"), told
    app.state.service.close()
