"""Whether an account is enforced: the rule is one, and every layer and edge says the same of every kind of list."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import update

from cidrgate import RuleManager, WouldDisableEnforcementError
from cidrgate.client import Client
from cidrgate.manager.previews import access_change
from cidrgate.rules.decisions import decide, enforced, list_state
from cidrgate.service import create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import migrate_store
from cidrgate.stores.schema import entries
from cidrgate.values import ListState
from tests.app_client import AppClient
from tests.command_line import typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTS = {
    "none": ListState(entries=0, enforced=False),
    "active": ListState(entries=2, enforced=True),
    "expiring": ListState(entries=1, enforced=True),
    "expired": ListState(entries=0, enforced=True),
    "mixed": ListState(entries=1, enforced=True),
}
"""What each list comes to; each has a subaccount too, which says the same."""

STRANGER = "203.0.113.7"


def fill(manager: RuleManager) -> None:
    """Make the lists. What shall have expired is given a time to come, which the store then says is over."""
    now = datetime.now(UTC)
    for name in LISTS:
        manager.create_account(name)
        manager.create_account(f"sub of {name}", parent=name)
    manager.add("active", "8.8.8.0/24, 2606:4700::/32")
    manager.add("expiring", "8.8.8.0/24", expires_at=now + timedelta(days=2))
    manager.add("expired", "8.8.8.0/24, 1.1.1.1/32", expires_at=now + timedelta(days=1))
    manager.add("mixed", "8.8.8.0/24", expires_at=now + timedelta(days=1))
    manager.add("mixed", "9.9.9.0/24")
    over = update(entries).where(entries.c.expires_at < now + timedelta(days=1, hours=12))
    with manager._store.write() as transaction:
        transaction.connection.execute(over.values(expires_at=now - timedelta(seconds=1)))


def expected() -> dict[str, ListState]:
    return {name: state for owner, state in LISTS.items() for name in (owner, f"sub of {owner}")}


def test_the_store_the_rule_and_the_matcher_say_the_same(store_url: str) -> None:
    with RuleManager.open(store_url, follow=False) as manager:
        fill(manager)
        manager.load()
        at = datetime.now(UTC)
        assert manager.list_states() == expected()
        assert manager.list_states(["sub of mixed", "nobody", "no\nname"]) == {"sub of mixed": LISTS["mixed"]}
        assert manager.list_states([]) == {}
        for name, state in expected().items():
            owner, listed = manager.listing(name)
            assert list_state(listed, owner, at) == state
            assert enforced(listed, owner, at) == state.enforced == manager.matcher.enforced(name)
            assert decide(name, listed, STRANGER, at).allowed == (not state.enforced) == manager.allows(name, STRANGER)
            assert (manager.explain(name, STRANGER).reason == "not_enforced") == (not state.enforced)
            to_nothing, from_nothing = access_change(listed, [], at), access_change([], listed, at)
            assert to_nothing.ends == from_nothing.begins == state.enforced
            assert not to_nothing.begins
            assert not from_nothing.ends


@contextmanager
def served(path: Path) -> Iterator[tuple[RuleManager, AppClient, str]]:
    migrate_store(f"sqlite:///{path}")
    with RuleManager.open(f"sqlite:///{path}", follow=False) as manager:
        fill(manager)
        token = Credentials(manager._store).create_token("ops", [Scope("admin")]).secret
        with AppClient(create_app(manager), follow_redirects=False) as client:
            yield manager, client, token


def test_every_edge_says_it_of_every_list(tmp_path: Path) -> None:
    path = tmp_path / "lists.db"
    with served(path) as (manager, client, token):
        manager.load()
        bearer = {"Authorization": f"Bearer {token}"}

        def bridge(request: httpx.Request) -> httpx.Response:
            answer = client.request(request.method, str(request.url), headers=dict(request.headers))
            return httpx.Response(answer.status_code, content=answer.content)

        items = client.get("/v1/accounts", headers=bearer).json()["items"]
        http = httpx.Client(transport=httpx.MockTransport(bridge))
        with Client("http://testserver", token, http=http) as program:
            known = {one.name: one for one in program.list_accounts()}
        assert {
            one["name"]: ListState(entries=one["entry_count"], enforced=one["enforced"]) for one in items
        } == expected()
        assert {
            name: ListState(entries=one.entry_count, enforced=one.enforced) for name, one in known.items()
        } == expected()
        for name, state in expected().items():
            account = client.get(f"/v1/accounts/{name}", headers=bearer).json()
            assert ListState(entries=account["entry_count"], enforced=account["enforced"]) == state
            assert client.get(f"/v1/accounts/{name}/entries", headers=bearer).json()["enforced"] == state.enforced
        created = client.post("/v1/accounts", json={"name": "new", "parent": "expired"}, headers=bearer).json()
        assert (created["entry_count"], created["enforced"]) == (0, True)

        table = typed(["account", "list", "-d", str(path), "--json"])
        assert table.exit_code == 0
        [told] = [one for one in json.loads(table.stdout)["items"] if one["name"] == "expired"]
        assert (told["entry_count"], told["enforced"], told["mode"]) == (0, True, "enforce")
        shown = typed(["account", "list", "-d", str(path)]).stdout.splitlines()
        for name, state in LISTS.items():
            [row] = [line.split() for line in shown if line.startswith(f"{name} ")]
            assert row[1:3] == [f"{state.entries}", "yes" if state.enforced else "no"], row
            told = typed(["list", name, "-d", str(path), "--json"]).stdout
            assert f'"enforced": {str(state.enforced).lower()}' in told
        made = typed(["account", "create", "x", "-p", "expired", "-d", str(path), "--json"])
        assert '"entry_count": 0, "enforced": true' in made.stdout

        client.post("/console/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
        page = client.get("/console/accounts").text
        for name, state in LISTS.items():
            [cells] = [part for part in page.split("<tr>") if f">{name}</a>" in part]
            assert ("Enforced" in cells, "Open to all" in cells) == (state.enforced, not state.enforced), name
            head = client.get(f"/console/list?account={name}").text
            assert ("Not enforced" in head) == (not state.enforced), name


@pytest.mark.parametrize("empties", ["remove", "replace", "restore"])
def test_to_empty_a_list_of_expired_entries_is_a_person_s_decision(store_url: str, empties: str) -> None:
    """It denies everybody; without entries it would allow everybody."""
    with RuleManager.open(store_url, follow=False) as manager:
        fill(manager)
        first = manager.history("expired")[-1].sequence
        before = manager.history()

        def empty(*, allow_empty: bool) -> object:
            if empties == "remove":
                return manager.remove("expired", "8.8.8.0/24", "1.1.1.1/32", allow_empty=allow_empty)
            if empties == "replace":
                return manager.replace("expired", "", allow_empty=allow_empty)
            return manager.restore("expired", to_sequence=first, allow_empty=allow_empty)

        with pytest.raises(WouldDisableEnforcementError):
            empty(allow_empty=False)
        assert manager.sweep() == 1, "only what is beside an entry that counts"
        assert [change.account for change in manager.history()[: -len(before)]] == ["mixed"]
        empty(allow_empty=True)
        assert manager.list_states(["expired"])["expired"] == ListState(entries=0, enforced=False)
        assert manager.allows("expired", STRANGER)


def test_the_last_entry_that_counts_takes_the_expired_ones_along_and_is_guarded(store_url: str) -> None:
    with RuleManager.open(store_url, follow=False) as manager:
        fill(manager)
        before = manager.entries("mixed")
        with pytest.raises(WouldDisableEnforcementError):
            manager.remove("mixed", "9.9.9.0/24")
        assert manager.entries("mixed") == before
        manager.remove("mixed", "9.9.9.0/24", allow_empty=True)
        assert manager.entries("mixed") == []
