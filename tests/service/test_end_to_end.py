"""The behaviour that must be there, point by point, through HTTP on a server of its own."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from tests.service.a_server import a_server
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/lists.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def token(database: str) -> str:
    store = open_store(database, create=True)
    made = Credentials(store).create_token("ops", [Scope("admin")])
    store.close()
    return made.secret


@pytest.fixture
def http(database: str, token: str) -> Iterator[httpx.Client]:
    """An admin, behind a proxy that says where they are."""
    with (
        a_server(database, "--trusted-proxy", "127.0.0.1/32") as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        client.headers["X-Forwarded-For"] = "8.8.4.4"
        yield client


def test_the_lists_behave_as_they_must(http: httpx.Client, database: str, token: str) -> None:
    for account in ("acct-1", "acct-2"):
        made = http.post("/v1/accounts", json={"name": account})
        assert made.status_code == 201
        assert made.json()["entry_count"] == 0
    entries = "/v1/accounts/acct-1/entries"

    # 7. Without entries an account is not enforced; enforcement starts with the first entry.
    assert _allowed(http, "acct-1", "9.9.9.9")
    assert http.get(entries).json()["enforced"] is False
    added = http.post(entries, params={"confirm": "lock_out"}, json={"cidrs": "8.8.8.0/24", "label": "office"})
    assert added.status_code == 201
    assert added.json()["enforced"] is True
    assert not _allowed(http, "acct-1", "9.9.9.9")
    assert _allowed(http, "acct-2", "9.9.9.9")

    # 2. Longest-prefix matching of IPv4 and IPv6, allow entries only.
    _add(http, "acct-1", "2606:4700::/32, 8.8.4.0/25")
    for address, allowed in {
        "8.8.8.0": True,
        "8.8.8.255": True,
        "8.8.9.0": False,
        "8.8.4.127": True,
        "8.8.4.128": False,
        "2606:4700:ffff::1": True,
        "2606:4701::1": False,
        "::ffff:8.8.8.8": True,
        "8.8.8": False,
    }.items():
        assert _allowed(http, "acct-1", address) is allowed, address
    explained = http.get("/v1/accounts/acct-1/explain", params={"address": "8.8.4.9"}).json()
    assert (explained["reason"], explained["entry"]["cidr"]) == ("matched", "8.8.4.0/25")

    # 5. Every rule, with its own code, what it conflicts with, and the way out.
    for text, code, conflicts, hint in (
        ("203.0.113.5", "invalid_format", [], "203.0.113.5/32"),
        ("192.168.1.7/24", "invalid_format", [], "192.168.1.0/24"),
        ("8.8.8.0/24", "duplicate_entry", ["8.8.8.0/24"], "already listed"),
        ("2606:4700:0:0::/32", "duplicate_entry", ["2606:4700::/32"], "already listed"),
        ("8.8.8.8/32", "subset_exists", ["8.8.8.0/24"], "8.8.8.0/24"),
        ("8.8.0.0/16", "superset_conflict", ["8.8.4.0/25", "8.8.8.0/24"], "remove 8.8.4.0/25, 8.8.8.0/24"),
        ("10.0.0.0/8", "special_range", ["10.0.0.0/8"], "RFC 1918"),
    ):
        refused = http.post(entries, json={"cidrs": text})
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"
        [problem] = refused.json()["errors"]
        assert (problem["code"], problem["text"], problem["position"]) == (code, text, 0)
        assert problem["conflicts"] == conflicts
        assert hint in problem["hint"]

    # 5. They hold for an edit too.
    office = http.get(entries).json()["items"][1]
    assert office["cidr"] == "8.8.8.0/24"
    for text, code in {"8.8.4.0/26": "subset_exists", "127.0.0.0/8": "special_range", "x": "invalid_format"}.items():
        refused = http.patch(f"{entries}/{office['id']}", json={"cidr": text})
        assert refused.status_code == 422
        assert code in [problem["code"] for problem in refused.json()["errors"]]

    # 6. A submission is stored whole or not at all; every problem of it is reported, with its position.
    before = http.get(entries).json()
    refused = http.post(entries, json={"cidrs": "1.1.1.1/32, 8.8.8.8/32,\n 1.1.1.0/24 , bad"})
    found = [(problem["position"], problem["code"], problem["conflicts"]) for problem in refused.json()["errors"]]
    assert found == [
        (1, "subset_exists", ["8.8.8.0/24"]),
        (2, "superset_conflict", ["1.1.1.1/32"]),
        (3, "invalid_format", []),
    ]
    assert http.get(entries).json() == before

    # 4. A subaccount inherits its parent's list, and its own cannot be managed.
    assert http.post("/v1/accounts/acct-1/subaccounts", json={"name": "sub-1"}).json()["parent"] == "acct-1"
    assert _allowed(http, "sub-1", "8.8.8.8")
    assert not _allowed(http, "sub-1", "9.9.9.9")
    inherited = http.get("/v1/accounts/sub-1/entries").json()
    assert (inherited["items"], inherited["list_account"], inherited["editable"]) == (before["items"], "acct-1", False)
    sub = "/v1/accounts/sub-1"
    for method, path, body in (
        ("POST", f"{sub}/entries", {"cidrs": "9.9.9.0/24"}),
        ("PUT", f"{sub}/entries", {"cidrs": ""}),
        ("PATCH", f"{sub}/entries/{office['id']}", {"label": "x"}),
        ("DELETE", f"{sub}/entries/{office['id']}", None),
        ("POST", f"{sub}/restore", {"to_sequence": 1}),
        ("POST", f"{sub}/history/1/undo", None),
    ):
        refused = http.request(method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "list_inherited")
        assert "acct-1" in refused.json()["detail"]

    # 3. At most 50 entries an account.
    _add(http, "acct-2", ", ".join(f"9.9.{number}.0/24" for number in range(49)))
    refused = http.post("/v1/accounts/acct-2/entries", json={"cidrs": "9.10.0.0/24, 9.10.1.0/24"})
    [problem] = refused.json()["errors"]
    assert problem["code"] == "limit_reached"
    assert "49 of at most 50" in problem["hint"]
    _add(http, "acct-2", "9.10.0.0/24")
    assert http.post("/v1/accounts/acct-2/entries", json={"cidrs": "9.10.1.0/24"}).status_code == 422

    # 8. All entries with prefix length and subnet mask; any of them can be edited and deleted.
    shown = [(entry["cidr"], entry["prefix_length"], entry["subnet_mask"]) for entry in before["items"]]
    assert shown == [
        ("8.8.4.0/25", 25, "255.255.255.128"),
        ("8.8.8.0/24", 24, "255.255.255.0"),
        ("2606:4700::/32", 32, "/32"),
    ]
    edited = http.patch(f"{entries}/{office['id']}", json={"cidr": "8.8.8.0/23", "label": "offices"})
    [after] = edited.json()["after"]
    assert (after["id"], after["subnet_mask"], after["label"]) == (office["id"], "255.255.254.0", "offices")
    assert _allowed(http, "sub-1", "8.8.9.9")

    # 1. A request from an address outside the list gets 403: here from a service that is guarded by this very list.
    own = {"Authorization": f"Bearer {token}"}
    guarded = ("--trusted-proxy", "127.0.0.1/32", "--allow-account", "acct-1")
    with a_server(database, *guarded) as server, httpx.Client(base_url=server.url, headers=own) as other:

        def status(address: str | None) -> int:
            headers = {} if address is None else {"X-Forwarded-For": address}
            return other.get("/v1/me", headers=headers).status_code

        assert [status(address) for address in ("8.8.9.9", "8.8.10.1", "9.9.9.9", "nonsense", None)] == [
            200,
            403,
            403,
            403,
            403,
        ]
        assert other.get("/healthz").status_code == 200
        # What is changed by one server is enforced by the other.
        _add(http, "acct-1", "9.9.9.9/32")
        eventually(lambda: status("9.9.9.9") == 200)

    # 7. Enforcement ends when the last entry is removed.
    for entry in http.get(entries).json()["items"]:
        assert not _allowed(http, "acct-1", "1.2.3.4")
        removed = http.delete(f"{entries}/{entry['id']}", params={"confirm": ["lock_out", "disable_enforcement"]})
        assert [one["id"] for one in removed.json()["before"]] == [entry["id"]]
    assert removed.json()["enforced"] is False
    assert _allowed(http, "acct-1", "1.2.3.4")
    assert _allowed(http, "sub-1", "1.2.3.4")


@pytest.mark.fault("the terminal of `serve` or `authorize` is closed (SIGHUP)")
def test_a_new_database_gets_a_link_and_the_server_stops_when_it_is_told_to(tmp_path: Path) -> None:
    for number, stop in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        with a_server(f"{tmp_path}/{number}.db") as server:
            assert server.console is not None
            with httpx.Client(headers={"Sec-Fetch-Site": "same-origin"}) as browser:
                assert browser.get(server.console).status_code == 200
                opened = browser.post(server.console)
                assert opened.status_code == 303
                assert "HttpOnly" in opened.headers["set-cookie"]
                assert "SameSite=lax" in opened.headers["set-cookie"]
                home = browser.get(f"{server.url}{opened.headers['location']}")
                assert home.status_code == 200
                assert "Accounts" in home.text
                again = browser.post(server.console)
                assert again.status_code == 401
                assert "already used" in again.text
            server.process.send_signal(stop)
            assert server.process.wait(20) == 0
    database = f"{tmp_path}/0.db"
    store = open_store(f"sqlite:///{database}", create=True)
    Credentials(store).create_token("ops", [Scope("admin")])
    store.close()
    with a_server(database) as server:
        assert server.console is None
    with a_server(database, "--link") as server:
        assert server.console is not None


def _allowed(http: httpx.Client, account: str, address: str) -> bool:
    asked = [
        http.get(f"/v1/accounts/{account}/{how}", params={"address": address}).json()["allowed"]
        for how in ("check", "explain")
    ]
    assert asked[0] is asked[1]
    answer: bool = asked[0]
    return answer


def _add(http: httpx.Client, account: str, cidrs: str) -> Any:
    added = http.post(f"/v1/accounts/{account}/entries", params={"confirm": "lock_out"}, json={"cidrs": cidrs})
    assert added.status_code == 201, added.text
    return added.json()
