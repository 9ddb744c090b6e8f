"""The authorize endpoint in process: what it answers to everything a proxy or an attacker may hand over."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from cidrgate import ClientIPResolver, Gate, Matcher, RuleManager
from cidrgate.authorize import AUTHORIZE_PATH, AuthorizeApp
from cidrgate.authorize.operation import Operation
from tests.authorize.asgi import messages_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.gate.verdict import Verdict

PROXY = "127.0.0.1"
RESOLVER = ClientIPResolver(trusted_proxies=["127.0.0.1/32", "unix:"])
Headers = list[tuple[bytes, bytes]]


class Answer:
    """What an app sent in answer to one request."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start, body = messages
        assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body: bytes = body["body"]

    @property
    def verdict(self) -> tuple[int, str]:
        return self.status, self.headers["x-cidrgate-reason"]


def ask(
    app: AuthorizeApp,
    headers: Headers,
    *,
    path: str = "/v1/authorize",
    method: str = "GET",
    query: bytes = b"",
    client: tuple[str, int] | None = (PROXY, 40000),
) -> Answer:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers,
        "client": client,
    }
    return Answer(messages_of(app, scope))


def gate_of(lists: RuleManager | Matcher, **options: Any) -> Gate:
    return Gate(
        lists,
        **{
            "unlisted": "allow",
            "resolver": RESOLVER,
            "require_account": True,
            "request_id_header": "x-request-id",
            **options,
        },
    )


def app_of(lists: RuleManager | Matcher, **options: Any) -> AuthorizeApp:
    return AuthorizeApp(gate_of(lists, **options))


def lines(account: str | None, address: str | None) -> Headers:
    """The header lines of a well-behaved proxy."""
    made = [] if account is None else [(b"x-account", account.encode())]
    return made if address is None else [*made, (b"x-forwarded-for", address.encode())]


@pytest.fixture(scope="module")
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as opened:
        opened.create_account("acct-1")
        opened.add("acct-1", "8.8.8.0/24, 2606:4700::/32")
        opened.create_account("sub-1", parent="acct-1")
        opened.create_account("empty")
        opened.create_account("wörld")
        opened.add("wörld", "9.9.9.9/32")
        yield opened


@pytest.fixture(scope="module")
def app(manager: RuleManager) -> AuthorizeApp:
    return app_of(manager)


@pytest.mark.parametrize(
    ("account", "address", "verdict"),
    [
        ("acct-1", "8.8.8.8", (200, "matched")),
        ("acct-1", "::ffff:8.8.8.8", (200, "matched")),
        ("acct-1", "2606:4700::1", (200, "matched")),
        ("sub-1", "8.8.8.8", (200, "matched")),
        ("acct-1", "8.8.9.1", (403, "not_listed")),
        ("sub-1", "8.8.9.1", (403, "not_listed")),
        ("acct-1", "8.8.9.1, 8.8.8.8", (200, "matched")),
        ("acct-1", "8.8.8.8, 8.8.9.1", (403, "not_listed")),
        ("acct-1", "010.8.8.8", (403, "invalid_address")),
        ("acct-1", "134744072", (403, "invalid_address")),
        ("acct-1", "", (403, "invalid_address")),
        ("acct-1", None, (403, "invalid_address")),
        ("empty", "9.9.9.9", (200, "not_enforced")),
        ("empty", None, (200, "not_enforced")),
        ("nobody", "9.9.9.9", (200, "not_enforced")),
        (None, "8.8.8.8", (403, "no_account")),
        ("", "8.8.8.8", (403, "no_account")),
        ("acct-1\t", "9.9.9.9", (403, "not_listed")),
    ],
)
def test_what_is_answered(
    app: AuthorizeApp, account: str | None, address: str | None, verdict: tuple[int, str]
) -> None:
    assert ask(app, lines(account, address)).verdict == verdict


def test_a_peer_that_is_no_proxy_is_the_client_itself(app: AuthorizeApp) -> None:
    spoofed = lines("acct-1", "8.8.8.8")
    assert ask(app, spoofed, client=("127.0.0.9", 1)).verdict == (403, "not_listed")
    assert ask(app, spoofed, client=("8.8.8.9", 1)).verdict == (200, "matched")


def test_a_proxy_on_a_unix_socket_is_believed_if_it_is_named(app: AuthorizeApp, manager: RuleManager) -> None:
    assert ask(app, lines("acct-1", "8.8.8.8"), client=None).verdict == (200, "matched")
    strict = app_of(manager, resolver=ClientIPResolver(trusted_proxies=["127.0.0.1/32"]))
    assert ask(strict, lines("acct-1", "8.8.8.8"), client=None).verdict == (403, "invalid_address")


@pytest.mark.parametrize(
    "accounts",
    [
        [b"acct-1", b"empty"],
        [b"empty", b"acct-1"],
        [b"acct-1", b"acct-1"],
        [b"empty", b""],
        [b"\xff\xfe"],
        [b"w\xf6rld"],
    ],
)
def test_an_account_that_cannot_be_told_is_denied(app: AuthorizeApp, accounts: list[bytes]) -> None:
    headers = [(b"x-account", account) for account in accounts]
    assert ask(app, [*headers, (b"x-forwarded-for", b"8.8.8.8")]).verdict == (403, "unclear_account")


def test_requests_without_an_account_can_be_allowed(manager: RuleManager) -> None:
    app = app_of(manager, require_account=False)
    assert ask(app, lines(None, "9.9.9.9")).verdict == (200, "no_account")
    assert ask(app, lines("acct-1", "9.9.9.9")).verdict == (403, "not_listed")


def test_accounts_without_a_list_can_be_denied(manager: RuleManager) -> None:
    app = app_of(manager, unlisted="deny")
    for account in ("empty", "nobody"):
        reason = "not_enforced" if account == "empty" else "unknown_account"
        for address in ("9.9.9.9", None):
            assert ask(app, lines(account, address)).verdict == (403, reason)
    assert ask(app, lines("acct-1", "8.8.8.8")).verdict == (200, "matched")


def test_the_account_can_come_in_another_header(manager: RuleManager) -> None:
    app = AuthorizeApp(gate_of(manager), account_header="X-Tenant")
    assert ask(app, [(b"x-tenant", b"acct-1"), *lines("empty", "9.9.9.9")]).verdict == (403, "not_listed")
    assert ask(app, lines("acct-1", "8.8.8.8")).verdict == (403, "no_account")


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        (b"account=empty%zz", (403, "unclear_account")),
        (b"account=empty%", (403, "unclear_account")),
        (b"account=empty&other=%4", (403, "unclear_account")),
        (b"account=acct-1", (403, "not_listed")),
        (b"account=empty", (200, "not_enforced")),
        (b"a=b&account=w%C3%B6rld&account2=empty", (403, "not_listed")),
        (b"account=empty&account=acct-1", (403, "unclear_account")),
        (b"account=empty&account=", (403, "unclear_account")),
        (b"Account=empty", (403, "no_account")),
        (b"account=w%F6rld", (403, "unclear_account")),
        ("account=wörld".encode(), (403, "not_listed")),
        (b"account=\xff", (403, "unclear_account")),
        (b"&" * 30 + b"account=empty", (403, "unclear_account")),
        (b"account=", (403, "no_account")),
        (b"", (403, "no_account")),
    ],
)
def test_the_account_can_come_in_the_query(manager: RuleManager, query: bytes, verdict: tuple[int, str]) -> None:
    app = AuthorizeApp(gate_of(manager), account_parameter="account")
    assert ask(app, lines("empty", "8.8.4.4"), query=query).verdict == verdict


def test_a_path_the_client_chose_never_names_the_account(manager: RuleManager, app: AuthorizeApp) -> None:
    """Envoy appends the client's path and query to its own."""
    appended = "/v1/authorize/api/things"
    assert ask(app, lines("acct-1", "9.9.9.9"), path=appended, query=b"account=empty").verdict == (403, "not_listed")
    by_query = AuthorizeApp(gate_of(manager), account_parameter="account")
    assert ask(by_query, lines(None, "9.9.9.9"), path=appended, query=b"account=empty").status == 404


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/authorized", "/V1/authorize", "/x/v1/authorize", ""])
def test_there_is_nothing_elsewhere(app: AuthorizeApp, path: str) -> None:
    assert ask(app, lines("acct-1", "8.8.8.8"), path=path).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_is_answered_alike(app: AuthorizeApp, method: str) -> None:
    assert ask(app, lines("acct-1", "8.8.8.8"), method=method).verdict == (200, "matched")
    denied = ask(app, lines("acct-1", "9.9.9.9"), method=method)
    assert denied.verdict == (403, "not_listed")
    assert bool(denied.body) == (method != "HEAD")


def test_a_denial_says_what_was_seen_and_nothing_of_the_list(app: AuthorizeApp) -> None:
    answer = ask(app, [*lines("acct-1", "8.8.9.1"), (b"x-request-id", b"abc-1")])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == "abc-1"
    record = json.loads(answer.body)
    assert (record["status"], record["address"], record["request_id"]) == (403, "8.8.9.1", "abc-1")
    assert b"8.8.8.0" not in answer.body
    page = ask(app, [*lines("acct-1", "8.8.9.1"), (b"accept", b"text/html")])
    assert page.headers["content-type"].startswith("text/html")


def test_a_request_id_that_could_do_harm_is_replaced(app: AuthorizeApp) -> None:
    seen = set()
    for sent in (b"", b"a\nb", b'"><script>', "ü".encode(), b"a" * 129, b"a b"):
        answer = ask(app, [*lines("acct-1", "9.9.9.9"), (b"x-request-id", sent)])
        assert answer.headers["x-request-id"].encode() != sent
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 6


class Broken:
    """Lists that cannot be asked."""

    def allows(self, account: str, address: str) -> bool:
        raise RuntimeError("broken")

    def enforced(self, account: str) -> bool:
        raise RuntimeError("broken")


def test_what_breaks_is_a_denial(caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(cast("Matcher", Broken()), log_every=0)
    with caplog.at_level(logging.ERROR, "cidrgate"):
        for address in ("8.8.8.8", None):
            answer = ask(app, lines("acct-1", address))
            assert answer.verdict == (403, "error")
            assert b"broken" not in answer.body
    assert len(caplog.records) == 2


def test_a_gate_that_only_reports_denies_nothing(manager: RuleManager) -> None:
    app = app_of(manager, report_only=True)
    assert ask(app, lines("acct-1", "8.8.8.8")).verdict == (200, "matched")
    assert ask(app, lines("acct-1", "9.9.9.9")).verdict == (200, "not_listed")
    assert ask(app, lines(None, None)).verdict == (200, "no_account")


def test_every_verdict_can_be_watched(manager: RuleManager) -> None:
    seen: list[Verdict] = []
    app = app_of(manager, hooks=[seen.append])
    for account, address in (("acct-1", "8.8.8.8"), ("acct-1", "9.9.9.9"), ("empty", "9.9.9.9")):
        assert ask(app, lines(account, address)).headers["x-request-id"] == seen[-1].request_id
    assert [(verdict.result, verdict.reason, verdict.matched_cidr) for verdict in seen] == [
        ("allowed", "matched", "8.8.8.0/24"),
        ("denied", "not_listed", None),
        ("allowed", "not_enforced", None),
    ]
    assert {verdict.client.source for verdict in seen} == {"x-forwarded-for"}


def test_lists_too_old_to_be_trusted_deny(manager: RuleManager) -> None:
    with RuleManager.open("memory://", follow=False, max_staleness=1e-9, on_stale="deny") as stale:
        stale.create_account("acct-1")
        stale.add("acct-1", "8.8.8.0/24")
        app = app_of(stale)
        assert ask(app, lines("acct-1", "8.8.8.8")).verdict == (403, "stale_lists")
        assert ask(app, lines("acct-1", "9.9.9.9")).verdict == (403, "not_listed")
        stale.create_account("empty")
        assert ask(app, lines("created meanwhile", "9.9.9.9")).verdict == (403, "stale_lists")
        assert ask(app, lines("empty", "9.9.9.9")).verdict == (200, "not_enforced")


def test_a_change_counts_at_once(app: AuthorizeApp, manager: RuleManager) -> None:
    manager.add("acct-1", "1.1.1.1/32")
    assert ask(app, lines("acct-1", "1.1.1.1")).verdict == (200, "matched")
    manager.remove("acct-1", "1.1.1.1/32")
    assert ask(app, lines("acct-1", "1.1.1.1")).verdict == (403, "not_listed")


def test_it_starts_and_ends_with_its_server_and_takes_no_websocket(app: AuthorizeApp) -> None:
    started = messages_of(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in started] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert messages_of(app, {"type": "websocket", "path": "/v1/authorize"}) == [
        {"type": "websocket.close", "code": 1008}
    ]


NAMES = st.sampled_from([b"acct-1", b"sub-1", b"empty", b"nobody", b"", b"\xff", b"acct-1 "]) | st.binary(max_size=8)
HOPS = st.sampled_from(
    [b"8.8.8.8", b"9.9.9.9", b"127.0.0.1", b"::ffff:8.8.8.8", b"unknown", b"08.8.8.8", b"", b"2606:4700::1"]
)
VALUES = st.lists(HOPS, max_size=4).map(b", ".join) | st.binary(max_size=16)
HEADERS = st.lists(
    st.tuples(st.just(b"x-account"), NAMES)
    | st.tuples(st.just(b"x-forwarded-for"), VALUES)
    | st.tuples(st.sampled_from([b"forwarded", b"x-real-ip", b"x-request-id", b"host"]), VALUES),
    max_size=5,
)


@given(
    headers=HEADERS,
    peer=st.sampled_from([PROXY, "8.8.8.8", "9.9.9.9", "nonsense"]),
    method=st.sampled_from(["GET", "PUT"]),
)
def test_an_answer_follows_from_the_account_and_the_address_alone(
    app: AuthorizeApp, headers: Headers, peer: str, method: str
) -> None:
    """The golden rule: one account is named, and its list, or that it has none, lets the resolver's client pass."""
    answer = ask(app, headers, method=method, client=(peer, 1))
    accounts = [value.strip(b" \t") for name, value in headers if name == b"x-account"]
    client = RESOLVER.resolve(peer, headers, port=1).address
    named = b"".join(accounts)
    if len(accounts) > 1 or b"," in named or not all(0x20 <= byte < 0x7F for byte in named):
        assert answer.verdict == (403, "unclear_account")
    elif accounts in ([], [b""]):
        assert answer.verdict == (403, "no_account")
    elif accounts not in ([b"acct-1"], [b"sub-1"]):
        assert answer.verdict == (200, "not_enforced")
    elif client is None:
        assert answer.verdict == (403, "invalid_address")
    elif client.startswith(("8.8.8.", "2606:4700:")):
        assert answer.verdict == (200, "matched")
    else:
        assert answer.verdict == (403, "not_listed")


def test_it_can_be_mounted_beside_other_routes(app: AuthorizeApp) -> None:
    around = Starlette(routes=[Route(AUTHORIZE_PATH + "{below:path}", app)])
    scope: dict[str, Any] = {"type": "http", "method": "PUT", "query_string": b"", "client": (PROXY, 4711)}
    for path, address, status in (
        ("/v1/authorize", "8.8.8.8", 200),
        ("/v1/authorize", "9.9.9.9", 403),
        ("/v1/authorize/below", "8.8.8.8", 200),
        ("/v1/authorize/below", "9.9.9.9", 403),
        ("/v1/authorized", "8.8.8.8", 404),
    ):
        asked = {**scope, "path": path, "root_path": "", "headers": lines("acct-1", address)}
        assert Answer(messages_of(around, asked)).status == status


@pytest.mark.parametrize("root", ["/admin", "/admin/", "/v1", "/"])
def test_it_answers_below_the_prefix_at_which_it_is_mounted(app: AuthorizeApp, root: str) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "query_string": b"", "client": (PROXY, 4711)}
    scope |= {"root_path": root, "headers": lines("acct-1", "8.8.8.8")}
    for path, status in (("/v1/authorize", 200), ("/v1/authorize/below", 200), ("/v1/authorized", 404), ("/x", 404)):
        assert Answer(messages_of(app, scope | {"path": f"{root}{path}"})).status == status


@pytest.mark.parametrize(
    ("root", "path", "status"), [("", "/healthz", 200), ("/x", "/x/healthz", 200), ("/x", "/x", 404)]
)
def test_health_is_below_the_prefix_too(manager: RuleManager, root: str, path: str, status: int) -> None:
    operation = Operation(cast("Any", manager), ready_within=None, metrics=None)
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root}
    assert messages_of(operation, scope)[0]["status"] == status
