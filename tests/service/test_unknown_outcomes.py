"""Changes of which the service does not know whether they were stored, and changes that met a lock, over HTTP."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
import uvicorn

from cidrgate import RuleManager
from cidrgate.client import ApiError, Client
from cidrgate.errors import OutcomeUnknownError
from cidrgate.problem_types import problem_details
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.values import Scope
from tests.service.conftest import Api, an_api
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    from tests.postgres import PostgresServer

ENTRIES = "/v1/accounts/acct-1/entries"
REQUESTS: dict[str, Callable[[Api], tuple[str, str, Any]]] = {
    "add": lambda _: ("POST", ENTRIES, {"cidrs": "1.1.1.1/32"}),
    "replace": lambda _: ("PUT", ENTRIES, {"cidrs": "1.1.1.1/32"}),
    "edit": lambda api: ("PATCH", f"{ENTRIES}/{api.manager.entries('acct-1')[0].id}", {"cidr": "8.8.0.0/16"}),
    "delete": lambda api: ("DELETE", f"{ENTRIES}/{api.manager.entries('acct-1')[0].id}", None),
    "restore": lambda api: (
        "POST",
        "/v1/accounts/acct-1/restore",
        {"to_sequence": api.manager.history("acct-1")[-1].sequence},
    ),
    "undo": lambda api: (
        "POST",
        f"/v1/accounts/acct-1/history/{api.manager.history('acct-1')[0].sequence}/undo",
        None,
    ),
    "account": lambda _: ("POST", "/v1/accounts", {"name": "acct-2"}),
    "subaccount": lambda _: ("POST", "/v1/accounts/acct-1/subaccounts", {"name": "sub-2"}),
}


A_CHANGE = (b'INTO "cidrgate".changes', b"COPY ")
"""What a transaction says that changes something; others only read what was changed."""


@pytest.fixture
def proxy(shared_postgres_server: PostgresServer) -> Iterator[TcpProxy]:
    with TcpProxy(("127.0.0.1", shared_postgres_server.port)) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: TcpProxy, postgres_url: str, shared_postgres_server: PostgresServer) -> str:
    return postgres_url.replace(f":{shared_postgres_server.port}/", f":{proxy.port}/")


@pytest.fixture
def distant(behind: str) -> Iterator[Api]:
    """A service whose store is behind the proxy."""
    for api in an_api(behind, Settings(login_failures=10_000)):
        api.manager.create_account("acct-1")
        api.manager.add("acct-1", "8.8.8.0/24")
        yield api


def changes(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM cidrgate.changes").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("deliver", [True, False], ids=["carried out", "never arrived"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_an_outcome_that_nobody_knows_is_said_and_found_out_with_the_key(
    request_: str, deliver: bool, distant: Api, proxy: TcpProxy, postgres_url: str
) -> None:
    admin = distant.caller("admin")
    method, path, body = REQUESTS[request_](distant)
    before = changes(postgres_url)
    proxy.drop_at(b"COMMIT\0", deliver=deliver)
    problem = admin.problem(503, method, path, body)
    assert (problem["code"], problem["outcome"]) == ("outcome_unknown", "unknown")
    assert "nothing was changed" not in problem["detail"]
    assert "Idempotency-Key" in problem["detail"]
    eventually(lambda: changes(postgres_url) == before + deliver)


@pytest.mark.parametrize("deliver", [True, False], ids=["carried out", "never arrived"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_with_a_key_that_is_sent_again_tells_what_happened(
    request_: str, deliver: bool, distant: Api, proxy: TcpProxy, postgres_url: str
) -> None:
    admin = distant.caller("admin")
    method, path, body = REQUESTS[request_](distant)
    before = changes(postgres_url)
    proxy.drop_at(b"COMMIT\0", deliver=deliver, after=A_CHANGE)
    first = admin(method, path, body, Idempotency_Key="k")
    assert proxy.trapped == 1
    if deliver and first.status_code != 503:
        # The service looked, and found it stored.
        assert first.headers["Idempotency-Replayed"] == "true"
    else:
        assert first.json()["code"] == "outcome_unknown"
    again = admin(method, path, body, Idempotency_Key="k")
    assert again.status_code in (200, 201), again.text
    assert changes(postgres_url) == before + 1
    assert admin(method, path, body, Idempotency_Key="k").text == again.text
    assert changes(postgres_url) == before + 1


TOLD: dict[str, tuple[str, str, Any, str]] = {
    "token": ("POST", "/v1/tokens", {"name": "n", "scopes": ["metrics"]}, "list the tokens, and revoke what"),
    "revoke": ("DELETE", "/v1/tokens/{token}", None, "list the tokens, and revoke what"),
    "session": ("DELETE", "/v1/sessions/{session}", None, "list the sessions before"),
    "link": ("POST", "/v1/links", {"name": "Ada", "scopes": ["metrics"]}, "make another link"),
    "policy": ("PUT", "/v1/policy", {"max_entries": 77}, "read the policy before"),
    "list": ("DELETE", "/v1/accounts/acct-1?confirm=disable_enforcement", None, "check the list before"),
}


@pytest.mark.parametrize("request_", TOLD)
def test_it_says_what_to_look_at_without_a_key(request_: str, distant: Api, proxy: TcpProxy) -> None:
    admin = distant.caller("admin")
    token = distant.credentials.create_token("old", [Scope("admin")]).token
    distant.credentials.begin_session(token, lifetime=3600)
    [session] = distant.credentials.sessions()
    method, path, body, told = TOLD[request_]
    proxy.drop_at(b"COMMIT\0", deliver=True, after=(*A_CHANGE, b"INTO cidrgate.changes"))
    problem = admin.problem(503, method, path.format(token=token.id, session=session.id), body)
    assert problem["code"] == "outcome_unknown"
    assert f"if it has no key, {told}" in problem["detail"]
    assert "`" not in problem["detail"], "the command line is not there"


CLIENT_TOLD: list[tuple[Callable[[Client], object], str]] = [
    (lambda client: client.create_token("n", ["metrics"]), "list the tokens"),
    (lambda client: client.revoke_token(1), "list the tokens"),
    (lambda client: client.end_session("a" * 16), "list the sessions"),
    (lambda client: client.create_link("n", ["metrics"]), "make another link"),
    (lambda client: client.set_policy(max_entries=9), "read the policy"),
    (lambda client: client.set_account_policy("acct-1", max_entries=9), "read the policy"),
    (lambda client: client.create_account("policy"), "read the list"),
    (lambda client: client.delete_account("policy"), "read the list"),
    (lambda client: client.delete_account("/v1/tokens"), "read the list"),
]


@pytest.mark.parametrize(("change", "told"), CLIENT_TOLD)
def test_the_client_says_what_to_look_at(change: Callable[[Client], object], told: str) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("the connection is lost")

    with (
        Client("http://service", "t", http=httpx.Client(transport=httpx.MockTransport(fail))) as client,
        pytest.raises(OutcomeUnknownError, match=f"may be made or not: {told}"),
    ):
        change(client)


def test_a_store_that_cannot_be_looked_at_leaves_the_outcome_unknown(distant: Api, proxy: TcpProxy) -> None:
    """What is said of the look is not said of the change."""
    admin = distant.caller("admin")
    answers = distant.app.state.service.answers
    given, looks = answers._given, []

    def fails_after_the_first(key: object) -> object:
        looks.append(key)
        if len(looks) > 1:
            proxy.drop()
            proxy.cut()
        return given(key)

    answers._given = fails_after_the_first
    readers = distant.manager._store._readers  # type: ignore[attr-defined]
    before = readers.pool
    readers.dispose()
    proxy.drop_at(b"COMMIT\0", deliver=True, after=A_CHANGE)
    try:
        problem = admin.problem(503, "POST", ENTRIES, {"cidrs": "1.1.1.1/32"}, Idempotency_Key="k")
    finally:
        proxy.heal()
        before.dispose()  # what a thread of the service had in use went back to it
    assert problem["code"] == "outcome_unknown"


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """An application on a port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started)
        [listening] = server.servers[0].sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


CALLS: dict[str, Callable[[Client, int], object]] = {
    "add": lambda client, _: client.add_entries("acct-1", "1.1.1.1/32", confirm=["lock_out"]),
    "replace": lambda client, _: client.replace_entries("acct-1", "1.1.1.1/32", confirm=["lock_out"]),
    "edit": lambda client, entry: client.edit_entry("acct-1", entry, "8.8.0.0/16", confirm=["lock_out"]),
    "delete": lambda client, entry: client.remove_entry("acct-1", entry, confirm=["lock_out", "disable_enforcement"]),
    "account": lambda client, _: client.create_account("acct-2"),
}


@pytest.mark.parametrize("deliver", [True, False], ids=["carried out", "never arrived"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("broken", ["store", "service"])
def test_the_client_finds_out_by_itself(
    broken: str, call: str, deliver: bool, distant: Api, proxy: TcpProxy, postgres_url: str
) -> None:
    """The connection breaks behind the service, or before it."""
    token = distant.token("admin")
    entry = distant.manager.entries("acct-1")[0].id
    before = changes(postgres_url)
    with (
        served(distant.app) as url,
        TcpProxy(("127.0.0.1", int(url.rpartition(":")[2]))) as front,
        Client(f"http://127.0.0.1:{front.port}", token) as client,
    ):
        if broken == "store":
            cut = proxy
            cut.drop_at(b"COMMIT\0", deliver=deliver, after=A_CHANGE)
        else:
            cut = front
            cut.drop_at(b"Idempotency-Key", deliver=deliver)
        CALLS[call](client, entry)
    assert cut.trapped == 1
    assert changes(postgres_url) == before + 1


def test_the_client_tries_once_more_and_not_for_ever(distant: Api) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Idempotency-Key"])
        return httpx.Response(503, json=problem_details("outcome_unknown", "unknown"))

    with Client("http://service", "t", http=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        with pytest.raises(OutcomeUnknownError) as failure:
            client.create_account("a")
        assert failure.value.code == "outcome_unknown"
        assert len(seen) == 2
        assert seen[0] == seen[1]
        with pytest.raises(ApiError):
            client.create_account("b", idempotency_key="mine")
        assert seen[2:] == ["mine", "mine"]


def test_a_locked_list_is_told_of_over_http(postgres_url: str) -> None:
    with RuleManager.open(postgres_url, lock_timeout=0.3) as manager:
        manager.create_account("acct-1")
        api = Api(manager, create_app(manager), None)  # type: ignore[arg-type]
        admin = api.at("198.51.100.7", api.token("admin"))
        with psycopg.connect(postgres_url, application_name="secret plans") as other:
            other.execute("SELECT FROM cidrgate.accounts FOR UPDATE")
            response = admin("PUT", ENTRIES, {"cidrs": "8.8.8.0/24"})
            assert admin.ok("GET", ENTRIES)["items"] == []
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert response.json()["code"] == "store_busy"
        assert "nothing was changed" in response.json()["detail"]
        assert "secret plans" not in response.text  # who it is, is for the log
        assert admin.ok("PUT", ENTRIES, {"cidrs": "8.8.8.0/24"})["version"] == 1
