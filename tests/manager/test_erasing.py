"""Erasing personal data: nobody finds it any more, the log still describes the lists, and nothing else goes."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from sqlalchemy import text

from cidrgate import AccountNotFoundError, CidrgateError, NewEntry, Observation, Origin, RuleManager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores.erasing import Erased, erase_personal_data
from cidrgate.stores.observations import add_observations
from cidrgate.stores.schema import accounts
from tests.change_log import Replay, assert_consistent
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORKS = ["8.8.8.0/24", "9.9.9.9/32", "1.1.1.1/32", "2606:4700::/32"]
NAMES = ["a", "b", "c"]
PROBES = ["8.8.8.8", "9.9.9.9", "1.1.1.1", "4.4.4.4", "2606:4700::1"]


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True) as opened:
        yield opened


def act(manager: RuleManager, random: Random, when: str) -> None:
    """Change something, with texts of people that say when they were written, and some that are written twice."""
    word = random.choice([when, f"{when}-other", "old"])
    actor = f"{when}-actor"
    origin = Origin(kind="cli", id=f"{when}-user", on_behalf_of=f"{when}-person", address="198.51.100.7")
    by = manager.with_origin(origin)
    account, network = random.choice(NAMES), random.choice(NETWORKS)
    confirmed = by.with_hooks(confirmed=["disable_enforcement", "lock_out"])
    match random.randrange(9):
        case 0:
            by.create_account(account, display_name=f"{word}-shown", actor=actor)
        case 1 | 2:
            by.add(account, NewEntry(network, label=f"{word}-label"), actor=actor)
        case 3:
            by.edit(account, network, label=f"{word}-label", actor=actor)
        case 4:
            by.remove(account, network, allow_empty=True, actor=actor)
        case 5:
            by.set_mode(account, random.choice(["report_only", "enforce"]), reason=f"{word}-reason", actor=actor)
        case 6:
            confirmed.rename_account(account, random.choice(NAMES), actor=actor)
        case 7:
            by.edit_account(account, display_name=f"{word}-shown", actor=actor)
        case 8:
            confirmed.delete_account(account, actor=actor)


def acted(manager: RuleManager, random: Random, when: str, times: int = 20) -> None:
    for _ in range(times):
        with suppress(CidrgateError):
            act(manager, random, when)


def rows(manager: RuleManager) -> list[dict[str, Any]]:
    """The rows of the log as the table has them."""
    with manager._store.read() as transaction:
        found = transaction.connection.execute(text(f"SELECT * FROM {table(manager, 'changes')} ORDER BY sequence"))
        return [dict(row._mapping) for row in found]


def table(manager: RuleManager, name: str) -> str:
    return f"cidrgate.{name}" if "postgres" in type(manager._store).__name__.lower() else name


def moment_of(row: dict[str, Any]) -> datetime:
    at = row["at"]
    return at if isinstance(at, datetime) else datetime.fromisoformat(at)


def shown(manager: RuleManager) -> set[str]:
    """The texts that lists and accounts still show."""
    accounts = manager.accounts()
    labels = {entry.label for account in accounts for entry in manager.entries(account.name)}
    texts = {one for account in accounts for one in (account.display_name, account.mode_reason)}
    return {one for one in labels | texts if one is not None}


def verdicts(manager: RuleManager) -> list[bool]:
    return [manager.allows(account, probe) for account in NAMES for probe in PROBES]


def now() -> datetime:
    time.sleep(0.002)
    found = datetime.now(UTC)
    time.sleep(0.002)
    return found


def erased_before(manager: RuleManager, moment: datetime) -> Erased:
    with manager._store.write() as transaction:
        return erase_personal_data(transaction, moment)


def check_erasing(manager: RuleManager, random: Random) -> None:
    acted(manager, random, "old")
    moment = now()
    acted(manager, random, "new")
    before, listed, texts = verdicts(manager), everything(manager), shown(manager)
    was = manager.history()
    erased_before(manager, moment)
    # Of old rows, only the texts are left that are shown.
    for row in rows(manager):
        if moment_of(row) < moment:
            assert row["actor"] is None
            said = json.dumps({name: str(value) for name, value in row.items()})
            for secret in ("old-actor", "old-user", "old-person", "198.51.100.7"):
                assert secret not in said
            for kind in ("label", "shown", "reason"):
                for word in ("old", "old-other"):
                    assert f"{word}-{kind}" not in said or f"{word}-{kind}" in texts
    # Nothing else changed.
    assert verdicts(manager) == before
    assert shown(manager) == texts
    assert everything(manager) == {
        name: [replace(one, created_by=None) if one.created_at < moment else one for one in entries]
        for name, entries in listed.items()
    }
    for change, left in zip(was, manager.history(), strict=True):
        assert (left.sequence, left.at, left.account, left.action) == (
            change.sequence,
            change.at,
            change.account,
            change.action,
        )
        if change.at >= moment:
            assert (left.actor, left.origin) == (change.actor, change.origin)
            assert [one.label for one in left.after if one.label and one.label.startswith("new")] == [
                one.label for one in change.after if one.label and one.label.startswith("new")
            ]
        assert [(one.id, one.cidr) for one in left.after] == [(one.id, one.cidr) for one in change.after]
    assert_consistent(manager, Replay())
    assert erased_before(manager, moment) == Erased(0, 0, 0)


def everything(manager: RuleManager) -> dict[str, list[Any]]:
    return {account.name: manager.entries(account.name) for account in manager.accounts()}


@settings(max_examples=length(10, 100))
@given(st.randoms(use_true_random=False))
def test_what_is_old_is_found_nowhere(random: Random) -> None:
    with RuleManager.open("memory://") as manager:
        check_erasing(manager, random)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_old_is_found_in_no_store(manager: RuleManager, seed: int) -> None:
    check_erasing(manager, Random(seed))


def filled(manager: RuleManager) -> None:
    manager.create_account("acct-1", display_name="Mrs Smith", actor="alice")
    manager.create_account("acct-2", actor="alice")
    manager.add("acct-1", NewEntry("8.8.8.0/24", label="Bob's flat"), actor="alice")
    manager.add("acct-1", NewEntry("9.9.9.9/32", label="in use"), actor="alice")
    manager.add("acct-2", NewEntry("9.9.9.9/32", label="other"), actor="alice")
    manager.edit("acct-1", "8.8.8.0/24", label="flat")
    Credentials(manager._store).create_token("alice-token", [Scope("admin")], actor="alice")


def test_an_erasure_is_a_row_and_says_what_it_did(manager: RuleManager) -> None:
    filled(manager)
    dry = manager.with_hooks(dry_run=True).erase(0)
    before = rows(manager)
    assert manager.erase(timedelta(days=1)) == 0
    assert rows(manager) == before
    assert manager.erase(0, actor="ops") == dry > 0
    row = manager.history()[0]
    assert (row.account, row.action, row.actor) == (None, "erase", "ops")
    assert row.details is not None
    assert row.details["after"]["rows"] + row.details["after"]["entries"] == dry
    assert row.details["after"]["entries"] == 3
    said = str(rows(manager)[:-1])
    assert not any(one in said for one in ("alice", "Bob"))
    assert "Mrs Smith" in said
    assert "in use" in said
    manager.edit_account("acct-1", display_name="acct-1 Ltd")
    manager.erase(0)
    assert "Mrs Smith" not in str(rows(manager)), "what was in use goes once it was edited"
    with pytest.raises(ValueError, match="from 0 on"):
        manager.erase(-1)


def test_of_one_account_under_all_its_names(manager: RuleManager) -> None:
    filled(manager)
    sure = manager.with_hooks(confirmed=["disable_enforcement"])
    sure.rename_account("acct-1", "acct-9", actor="alice")
    manager.erase(0, account="acct-9", actor="ops")
    for row in rows(manager)[:-1]:
        assert (row["actor"] is None) == (row["account"] in ("acct-1", "acct-9") or row["action"] == "edit"), row
    assert [entry.created_by for entry in manager.entries("acct-9")] == [None, None]
    assert [entry.created_by for entry in manager.entries("acct-2")] == ["alice"]
    last = manager.history()[0]
    assert last.details is not None
    assert last.details["after"]["account"] == "acct-9"
    assert_consistent(manager, Replay())
    with pytest.raises(AccountNotFoundError):
        manager.erase(0, account="nobody")


REFUSED = [
    "SET actor = 'somebody else'",
    "SET account = 'acct-2'",
    "SET action = 'remove'",
    "SET sequence = 1000 + sequence",
    "SET at = '2020-01-02 03:04:05.000000+00:00'",
    """SET origin = '{"kind": "token"}'""",
    """SET origin = '{"kind": "cli", "id": "somebody else"}'""",
    "SET after = '[]' WHERE action = 'add'",
    "SET before = after WHERE action = 'add'",
    "SET after = {after_with_another_network} WHERE action = 'add'",
    "SET after = {after_with_another_label} WHERE action = 'add'",
    """SET details = '{"after": {"display_name": "Mr Smith"}}'""",
    """SET details = '{"before": {"mode": "off"}}' WHERE action = 'set_mode'""",
    "SET details = NULL WHERE action = 'set_mode'",
]
NEWER = ["SET actor = NULL", """SET origin = '{"kind": "library"}'"""]


GATES = ["NULL", "'2020-01-02T00:00:00.000000+00:00'", "'2999-01-02T00:00:00.000000+00:00'"]
"""Values of `erasing_before`: no transaction that erases, one that erases older rows, and one that erases every row."""


@pytest.mark.parametrize("gate", GATES, ids=["closed", "older", "open"])
def test_no_other_update_of_the_log_is_possible(shared_store_url: str, gate: str) -> None:
    with RuleManager.open(shared_store_url, create=True) as manager:
        sure = manager.with_hooks(confirmed=["disable_enforcement"])
        of_cli = sure.with_origin(Origin(kind="cli", id="root", address="198.51.100.7"))
        of_cli.create_account("acct-1", display_name="Mrs Smith", actor="alice")
        of_cli.add("acct-1", NewEntry("8.8.8.0/24", label="Bob's flat"), actor="alice")
        of_cli.set_mode("acct-1", "report_only", reason="because", actor="alice")
        was = rows(manager)
        [added] = [row["after"] for row in was if row["action"] == "add"]
        added = added if isinstance(added, str) else json.dumps(added)
        others = {}
        for name, old, new in (("network", "8.8.8.0/24", "8.8.0.0/16"), ("label", "Bob's flat", "Eve")):
            assert old in added
            written = added.replace(old, new).replace("'", "''")
            others[f"{{after_with_another_{name}}}"] = f"'{written}'"
        for statement in [*REFUSED, *([] if "2999" in gate else NEWER)]:
            for name, value in others.items():
                statement = statement.replace(name, value)
            with pytest.raises(Exception, match="append-only"):
                updated(manager, statement, gate)
            assert rows(manager) == was, statement
        if "2999" in gate:
            updated(manager, NEWER[0], gate)
            assert {row["actor"] for row in rows(manager)} == {None}


def updated(manager: RuleManager, statement: str, gate: str) -> None:
    """Run an UPDATE of the log as a program that may write would."""
    with manager._store.write() as transaction:
        run = transaction.connection.exec_driver_sql
        if "." in table(manager, "changes"):
            run("SET LOCAL search_path TO cidrgate")
        run(f"UPDATE {table(manager, 'facts')} SET erasing_before = {gate}")
        run(f"UPDATE {table(manager, 'changes')} {statement}")


def test_a_long_list_is_erased_in_a_moment(manager: RuleManager) -> None:
    """Each row is compared as a whole by the database, in a time that does not grow with the square of its entries."""
    manager.set_policy(max_entries=20_000)
    manager.create_account("acct-1")
    cidrs = [f"8.{number >> 8}.{number & 255}.0/24" for number in range(5_000)]
    manager.add("acct-1", [NewEntry(cidr, label=f"label {cidr}") for cidr in cidrs], actor="alice")
    manager.replace("acct-1", "9.9.9.9/32", actor="alice")
    manager.erase(0)
    said = str(rows(manager)[:-1])
    assert "label 8" not in said
    assert "alice" not in said


def test_no_observation_stays_that_is_old_enough_not_even_of_today(manager: RuleManager) -> None:
    for name in ("a", "b"):
        manager.create_account(name)
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        transaction.connection.execute(accounts.update().values(created_at=now - timedelta(days=9)))
        add_observations(
            transaction,
            [
                Observation(account=name, network="8.8.8.8/32", allowed=True, requests=1, first_seen=at, last_seen=at)
                for name in ("a", "b")
                for at in (now - timedelta(days=2), now - timedelta(seconds=1))
            ],
        )
    assert manager.with_hooks(dry_run=True).erase(timedelta(0), account="a") >= 2
    manager.erase(timedelta(days=1), account="a")
    assert len(manager.traffic("a")) == 1
    manager.erase(timedelta(0), account="a")
    assert (manager.traffic("a"), len(manager.traffic("b"))) == ([], 1)
