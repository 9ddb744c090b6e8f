"""Attacks as bytes through each proxy of `examples/`, to ASGI and WSGI servers.

No request may act for an account that does not list the client's address.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.rows import rows
from tests.servers.echo_api import APIS, Notes, serve_api
from tests.servers.endpoint import authorize_endpoint, database
from tests.servers.fronts import FRONTS, front
from tests.servers.proxy_attacks import ATTACKER, DENIED, H2_ROWS, NOBODY, OWN, ROWS, SHORT_ROWS, TRAILERS, H2Row, Row
from tests.servers.raw import exchange, exchange_h2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VICTIM = "acct-1"
CARELESS = ["asgi on hypercorn", "wsgi on granian"]

EDITS = {"envoy": {"stat_prefix: api": "stat_prefix: api\n                delayed_close_timeout: 0.01s"}}
"""Envoy keeps a connection for a second after its last answer."""


class Site(NamedTuple):
    """A proxy, and what the API behind it has seen."""

    proxy: str
    port: int
    notes: Notes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacks")


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> Iterator[int]:
    with authorize_endpoint(folder, database(folder), "--unlisted", "deny_unknown") as port:
        yield port


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[int, Notes]]:
    with serve_api(request.param, folder) as served:
        yield served


@pytest.fixture(scope="module", params=FRONTS)
def site(request: pytest.FixtureRequest, folder: Path, endpoint: int, api: tuple[int, Notes]) -> Iterator[Site]:
    api_port, notes = api
    with front(request.param, folder, endpoint=endpoint, api=api_port, edits=EDITS.get(request.param)) as port:
        notes.new()
        yield Site(request.param, port, notes)
        assert not notes.new(), "a request reached the API after its connection had ended"


def outcome(note: dict[str, Any]) -> str:
    """What a request that reached the API came to; fails if a client's headers count for anything else in it."""
    assert note["root"] == ""
    assert note["scheme"] in ("http", "ws")
    assert note["client"] == "127.0.0.1"  # the proxy's
    assert not note.get("user")
    told = {name.lower(): value for name, value in note["headers"]}
    # Waitress drops it, as no proxy is trusted by default.
    assert told.get("x-forwarded-for", ATTACKER).rpartition(",")[2].strip() == ATTACKER
    assert told.get("x-real-ip", ATTACKER) == ATTACKER
    assert told.get("x-forwarded-proto", "http") in ("http", "ws")
    assert not told.keys() & {
        *("forwarded", "proxy", "remote-user", "x-remote-user", "x-script-name", "x-original-url", "x-rewrite-url"),
        *("x-forwarded-prefix", "x-forwarded-ssl", "x-forwarded-protocol", "x-forwarded-scheme"),
    }
    assert note["accounts"] in ([OWN], []), note
    if note["accounts"]:
        assert told["x-account"] == OWN
        return OWN
    assert not told.keys() & {"cookie", "authorization", "x-api-key", "x-account", "x-http-method-override"}
    return NOBODY


def attack(site: Site, row: Row) -> None:
    expected = row.at.get(site.proxy, row.expected)
    patient = DENIED not in expected
    received = exchange(site.port, ATTACKER, row.sent, row.then, later=row.later, patient=patient)
    notes = site.notes.new()
    assert VICTIM not in {account for note in notes for account in note["accounts"]}
    assert b"\nupgrade: h2c" not in received.lower()
    if notes:
        assert {outcome(note) for note in notes} <= expected, notes
    else:
        assert DENIED in expected, received
        assert b'"accounts"' not in received
    if row.body is not None:
        digest = hashlib.sha256(row.body).hexdigest()
        assert [note["body"] for note in notes] == [[len(row.body), digest]] * len(notes)


on_careless_servers = pytest.mark.parametrize("api", CARELESS, indirect=True, scope="module")
"""One that takes an upgrade to h2c, and one that takes X_Account for X-Account."""
on_servers_with_trailers = pytest.mark.parametrize(
    "api", ["asgi on uvicorn", "wsgi on gunicorn"], indirect=True, scope="module"
)
"""One that takes trailers for headers, and one that does not."""
on_careful_servers = pytest.mark.parametrize("api", sorted(APIS.keys() - {*CARELESS}), indirect=True, scope="module")


def test_servers_are_as_careless_as_the_attacks_take_them_to_be(folder: Path) -> None:
    """Without a proxy each of these gets through: an attack that no server falls for would show nothing."""
    by_name = {row.name: row for row in ROWS}
    for server, name, seen in (
        ("asgi on hypercorn", "upgrade to h2c, then HTTP/2", lambda note: note["path"] == "/over-h2c"),
        ("wsgi on granian", "X_Account after the key", lambda note: VICTIM in note["accounts"]),
        ("wsgi on gunicorn", "SCRIPT_NAME: /v1/accounts/acct-1", lambda note: note["root"] == "/v1/accounts/acct-1"),
        ("asgi on uvicorn", "trailers", lambda note: VICTIM in note["accounts"]),
    ):
        row = by_name[name]
        sent = row.sent.replace(b"GET / ", b"GET /v1/accounts/acct-1/calls ")
        with serve_api(server, folder) as (port, notes):
            exchange(port, "127.0.0.1", sent, row.then, until=b"over-h2c")
            assert any(seen(note) for note in notes.new()), name


@on_careless_servers
@rows("row", ROWS, name=lambda row: row.name)
def test_an_attack_in_bytes(site: Site, row: Row) -> None:
    attack(site, row)


@on_careful_servers
@rows("row", SHORT_ROWS, name=lambda row: row.name)
def test_an_attack_by_names_or_framing(site: Site, row: Row) -> None:
    attack(site, row)


@on_servers_with_trailers
@rows("row", TRAILERS, name=lambda row: row.name)
def test_an_attack_by_trailers(site: Site, row: Row) -> None:
    attack(site, row)


@on_careless_servers
@rows("row", H2_ROWS, name=lambda row: row.name)
def test_an_attack_over_http2(site: Site, row: H2Row) -> None:
    status = exchange_h2(site.port, ATTACKER, row.fields)
    outcomes = {outcome(note) for note in site.notes.new()}
    assert (outcomes or {DENIED}) <= row.expected
    assert bool(outcomes) is (status == 200)
    if row.name == "own":
        assert (status == 200) is (site.proxy in ("haproxy", "envoy", "traefik"))


@pytest.mark.parametrize("api", ["asgi on hypercorn"], indirect=True, scope="module")
@pytest.mark.parametrize("spelling", ["websocket", "WebSocket"])
def test_a_websocket_is_asked_about_once_and_then_carries_messages(site: Site, spelling: str) -> None:
    handshake = [
        *(b"GET /stream HTTP/1.1", b"Host: 127.0.0.1", b"Connection: Upgrade", f"Upgrade: {spelling}".encode()),
        *(b"Sec-WebSocket-Key: YSBub25jZSBvZiAxNiBieQ==", b"Sec-WebSocket-Version: 13"),
    ]
    message = b"\x81\x85\x00\x00\x00\x00hello"  # a frame of text, masked with zeros, as clients send it
    for key, source, allowed in (
        (b"key-of-acct-2", ATTACKER, True),
        (b"key-of-acct-1", ATTACKER, False),
        (b"key-of-acct-2", "127.0.0.2", False),
        (b"key-of-acct-1", "127.0.0.2", True),
    ):
        sent = b"\r\n".join([*handshake, b"X-Api-Key: " + key, b"", b""])
        received = exchange(site.port, source, sent, message if allowed else b"", until=b"\x81\x05hello")
        assert received.startswith(b"HTTP/1.1 101" if allowed else b"HTTP/1.1 403")
        assert (b"\x81\x05hello" in received) is allowed
        assert len(site.notes.new()) == allowed
