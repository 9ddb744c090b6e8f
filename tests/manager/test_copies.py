"""Exports and backups: a copy decides like the original, and is written again as the same file."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import update

from cidrgate import (
    AccountExistsError,
    AccountNotFoundError,
    ConflictError,
    InvalidAddressError,
    InvalidCopyError,
    Matcher,
    NewEntry,
    Policy,
    RuleManager,
    StoreNotEmptyError,
    SubaccountError,
    WouldDisableEnforcementError,
)
from cidrgate.stores import open_store
from cidrgate.stores.backups import BACKED_UP, LEFT_OUT
from cidrgate.stores.schema import metadata
from tests.any_stores import StoreRows, addresses_for, any_stores, contents, verdicts
from tests.interruptions import in_another_thread
from tests.length import length
from tests.new_stores import new_file
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate import Entry
    from cidrgate.errors import Confirmation
    from tests.postgres import PostgresServer


class Stores:
    """Makes new stores of both kinds, many in one test."""

    def __init__(self, folders: pytest.TempPathFactory, server: Callable[[], PostgresServer]) -> None:
        self._folders = folders
        self._server = server
        self._databases: list[str] = []
        self._used = 0

    def new(self, kind: str) -> str:
        if kind == "sqlite":
            return new_file(self._folders.mktemp("store") / "lists.db")
        if self._used == len(self._databases):
            self._databases.append(self._server().take_database())
        url = self._databases[self._used]
        self._used += 1
        self._server().empty(url)
        return url

    def start(self) -> None:
        """Let another example use the databases again."""
        self._used = 0

    def close(self) -> None:
        for url in self._databases:
            self._server().give_back(url)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stores]:
    made = Stores(tmp_path_factory, lambda: request.getfixturevalue("shared_postgres_server"))
    yield made
    made.close()


@st.composite
def stores_and_addresses(draw: st.DrawFn) -> tuple[StoreRows, list[str]]:
    rows = draw(any_stores())
    return rows, draw(addresses_for(rows))


def check_copy(
    stores: Stores, first: str, second: str, drawn: tuple[StoreRows, list[str]], way: tuple[str, str], *, keys: bool
) -> None:
    rows, addresses = drawn
    stores.start()
    original, copied = stores.new(first), stores.new(second)
    rows.write(original)
    with RuleManager.open(original, follow=False) as source, RuleManager.open(copied, follow=False) as target:
        lines = list(getattr(source, way[0])())
        getattr(target, way[1])(iter(lines))
        assert list(getattr(target, way[0])()) == lines
        assert verdicts(target, rows.names, addresses) == verdicts(source, rows.names, addresses)
    assert contents(copied, keys=keys) == contents(original, keys=keys)


EXPORT, BACKUP = ("export", "import_export"), ("backup", "restore_backup")


@pytest.mark.parametrize(("way", "keys"), [(EXPORT, False), (BACKUP, True)], ids=["export", "backup"])
@given(drawn=stores_and_addresses())
@settings(max_examples=length(60, 600), suppress_health_check=[HealthCheck.too_slow])
def test_a_copy_is_the_original(stores: Stores, way: tuple[str, str], keys: bool, drawn: Any) -> None:
    check_copy(stores, "sqlite", "sqlite", drawn, way, keys=keys)


@pytest.mark.parametrize(("way", "keys"), [(EXPORT, False), (BACKUP, True)], ids=["export", "backup"])
@pytest.mark.parametrize(
    ("first", "second"), [("sqlite", "postgres"), ("postgres", "sqlite"), ("postgres", "postgres")]
)
@given(drawn=stores_and_addresses())
@settings(max_examples=length(10, 100), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_copy_in_another_kind_of_store_is_the_original(
    stores: Stores, first: str, second: str, way: tuple[str, str], keys: bool, drawn: Any
) -> None:
    check_copy(stores, first, second, drawn, way, keys=keys)


@given(drawn=stores_and_addresses())
@settings(max_examples=length(40, 400), suppress_health_check=[HealthCheck.too_slow])
def test_a_snapshot_decides_like_the_original(stores: Stores, drawn: Any) -> None:
    rows, addresses = drawn
    stores.start()
    url = stores.new("sqlite")
    rows.write(url)
    with RuleManager.open(url, follow=False) as manager:
        snapshot = f"{url.removeprefix('sqlite:///')}.snapshot"
        manager.matcher.save(snapshot)
        copied = Matcher.open(snapshot)
        for name, address in itertools.product((*rows.names, "nobody"), addresses):
            assert _answers(copied, name, address) == _answers(manager.matcher, name, address)


def _answers(matcher: Matcher, name: str, address: str) -> tuple[bool, str | None] | None:
    try:
        return matcher.allows(name, address), matcher.match(name, address)
    except InvalidAddressError:
        return None


@given(drawn=stores_and_addresses())
@settings(max_examples=length(15, 400), suppress_health_check=[HealthCheck.too_slow])
def test_a_restored_list_is_the_original(stores: Stores, drawn: Any) -> None:
    rows, addresses = drawn
    stores.start()
    original, copied = stores.new("sqlite"), stores.new("sqlite")
    rows.write(original)
    anything = Policy(allow_special=True)
    with (
        RuleManager.open(original, follow=False) as source,
        RuleManager.open(copied, policy=anything, follow=False) as target,
    ):
        target.import_export(source.export())
        for account in target.accounts():
            if account.parent is not None:
                continue
            names = [account.name, *(one.name for one in target.accounts(parent=account.name))]
            was, now = verdicts(target, names, addresses), datetime.now(UTC)
            entries = [entry for entry in target.entries(account.name) if entry.counts(now)]
            sequence = target.history(limit=1)[0].sequence
            target.replace(account.name, "9.9.9.0/24")
            try:
                target.restore(account.name, to_sequence=sequence, confirmed=["wide_entry"])
            except WouldDisableEnforcementError:
                assert entries == []
            else:
                assert _as_written(target.entries(account.name)) == _as_written(entries)
                assert verdicts(target, names, addresses) == was


def _as_written(entries: list[Entry]) -> list[NewEntry]:
    return [NewEntry(one.cidr, label=one.label, expires_at=one.expires_at, enabled=one.enabled) for one in entries]


@pytest.fixture
def filled() -> Iterator[RuleManager]:
    """A manager with an account, a subaccount and an empty account."""
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        manager.create_account("empty")
        manager.add("acct-1", [NewEntry("8.8.8.0/24", label="dns"), NewEntry("1.1.1.1/32")])
        yield manager


@pytest.fixture
def other() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as manager:
        yield manager


def exported(manager: RuleManager) -> list[str]:
    return list(manager.export())


def test_an_import_is_logged_and_published(filled: RuleManager, other: RuleManager) -> None:
    report = other.import_export(filled.export(), actor="me")
    assert (report.accounts, report.entries, report.created, report.unchanged) == (3, 2, 3, 0)
    assert [(one.account, one.action, one.actor) for one in other.history("acct-1")] == [
        ("acct-1", "add", "me"),
        ("acct-1", "create_account", "me"),
    ]
    assert not other.allows("sub-1", "9.9.9.9")
    assert other.allows("sub-1", "8.8.8.8")
    other.remove("acct-1", "8.8.8.0/24")
    [_, imported, _] = other.history("acct-1")
    assert len(other.restore("acct-1", to_sequence=imported.sequence).entries) == 2


def test_the_same_export_changes_nothing_again(filled: RuleManager, other: RuleManager) -> None:
    other.import_export(filled.export())
    position = other.history(limit=1)
    report = other.import_export(filled.export())
    assert (report.accounts, report.unchanged, other.history(limit=1)) == (0, 3, position)


def test_an_account_that_differs_is_a_problem_and_nothing_is_imported(filled: RuleManager, other: RuleManager) -> None:
    other.create_account("acct-1")
    other.add("acct-1", "9.9.9.9/32")
    report = other.import_export(filled.export())
    assert {name: type(error) for name, error in report.problems.items()} == {"acct-1": AccountExistsError}
    assert [one.name for one in other.accounts()] == ["acct-1"]


def test_an_account_that_differs_can_be_skipped(filled: RuleManager, other: RuleManager) -> None:
    other.create_account("acct-1")
    other.add("acct-1", "9.9.9.9/32")
    report = other.import_export(filled.export(), skip_existing=True)
    assert (report.accounts, report.unchanged) == (2, 1)
    assert [entry.cidr for entry in other.entries("sub-1")] == ["9.9.9.9/32"]


def test_an_account_that_differs_can_be_replaced(filled: RuleManager, other: RuleManager) -> None:
    other.create_account("acct-1")
    for number in range(3):
        other.replace("acct-1", f"9.9.9.{number}/32")
    report = other.import_export(filled.export(), replace=True)
    assert (report.accounts, report.created) == (3, 2)
    assert other.allows("acct-1", "8.8.8.8")
    assert not other.allows("acct-1", "9.9.9.2")
    assert other.account("acct-1").version == 4, "a version never shrinks, as If-Match relies on it"
    change = other.history("acct-1")[0]
    assert (change.action, [one.cidr for one in change.before], len(change.after)) == ("replace", ["9.9.9.2/32"], 2)


def test_an_imported_account_continues_the_versions_of_the_account_that_had_its_name(
    filled: RuleManager, other: RuleManager
) -> None:
    other.create_account("acct-1")
    for number in range(5):
        other.replace("acct-1", f"9.9.9.{number}/32")
    deleted = other.account("acct-1")
    other.delete_account("acct-1", confirmed=["disable_enforcement"])
    other.import_export(filled.export())
    assert other.account("acct-1").version > deleted.version > filled.account("acct-1").version
    assert other.account("empty").version == filled.account("empty").version


def test_a_copy_that_would_end_enforcement_needs_a_confirmation(filled: RuleManager, other: RuleManager) -> None:
    other.create_account("empty")
    other.add("empty", "9.9.9.9/32")
    report = other.import_export(filled.export(), replace=True)
    assert isinstance(report.problems["empty"], WouldDisableEnforcementError)
    assert not other.allows("empty", "8.8.8.8")
    assert not other.import_export(filled.export(), replace=True, allow_empty=True).problems
    assert other.allows("empty", "8.8.8.8")


def test_a_copy_with_a_mode_that_allows_everything_needs_a_confirmation(
    filled: RuleManager, other: RuleManager
) -> None:
    other.import_export(filled.export())
    lines = exported(filled)
    _with(lambda one: one.update(mode="off"))(lines)
    report = other.import_export(lines, replace=True)
    assert isinstance(report.problems["acct-1"], WouldDisableEnforcementError)
    assert not other.import_export(lines, replace=True, allow_empty=True).problems
    assert other.account("acct-1").mode == "off"


@pytest.mark.parametrize("mode", ["off", "report_only"])
def test_a_dry_run_needs_the_confirmation_too_and_a_name_confirms(
    filled: RuleManager, other: RuleManager, mode: str
) -> None:
    other.import_export(filled.export())
    lines = exported(filled)
    _with(lambda one: one.update(mode=mode))(lines)
    for dry_run in (True, False):
        [problem] = other.import_export(lines, replace=True, dry_run=dry_run).problems.values()
        assert isinstance(problem, WouldDisableEnforcementError)
        assert f"in the mode {mode}" in str(problem)
        assert not other.allows("acct-1", "9.9.9.9")
    assert not other.import_export(lines, replace=True, confirmed=["disable_enforcement"]).problems
    assert other.allows("acct-1", "9.9.9.9")


def test_a_closed_account_that_opens_needs_a_confirmation(filled: RuleManager, other: RuleManager) -> None:
    other.create_account("empty", closed=True)
    assert isinstance(
        other.import_export(filled.export(), replace=True).problems["empty"], WouldDisableEnforcementError
    )
    assert not other.allows("empty", "8.8.8.8")


def test_a_copy_that_is_empty_and_closed_ends_no_enforcement(filled: RuleManager, other: RuleManager) -> None:
    filled.set_mode("empty", "enforce", closed=True)
    other.create_account("empty")
    other.add("empty", "9.9.9.9/32")
    assert not other.import_export(filled.export(), replace=True).problems
    assert not other.allows("empty", "9.9.9.9")


def test_history_says_the_settings_that_an_import_changed_and_undo_sets_them_back(
    filled: RuleManager, other: RuleManager
) -> None:
    other.import_export(filled.export())
    before = exported(other)
    lines = exported(filled)
    new = {"mode": "off", "mode_until": "2999-01-01T00:00:00+00:00", "mode_reason": "trial", "closed": True}
    new |= {"display_name": "Acme", "policy": {"max_entries": 77}}
    for change in (
        lambda one: one.update(new),
        lambda one: one.update(new, entries=[{**one["entries"][0], "cidr": "9.9.9.9/32"}]),
    ):
        _with(change)(lines)
        end = json.loads(lines[-1])
        end["end"]["entry_count"] = len(json.loads(lines[1])["entries"])
        lines[-1] = json.dumps(end)
        other.import_export(lines, replace=True, confirmed=["disable_enforcement"])
        replaced = other.history("acct-1", limit=1)[0]
        assert replaced.details is not None
        assert replaced.details["after"] == new
        assert replaced.details["before"]["mode"] == "enforce"
        other.undo("acct-1", replaced.sequence)
        assert not other.allows("acct-1", "9.9.9.9")
        assert [_settings(line) for line in exported(other)[1:-1]] == [_settings(line) for line in before[1:-1]]
        undone = other.history("acct-1", limit=1)[0]
        with pytest.raises(WouldDisableEnforcementError):
            other.undo("acct-1", undone.sequence)
        other.undo("acct-1", undone.sequence, confirmed=["disable_enforcement"])
        assert other.account("acct-1").display_name == "Acme"
        assert other.policy_state("acct-1").stored == {"max_entries": 77}
        other.undo("acct-1", other.history("acct-1", limit=1)[0].sequence)


def _settings(line: str) -> dict[str, Any]:
    """An account without what each change changes."""
    record = json.loads(line)
    cidrs = [entry["cidr"] for entry in record.pop("entries", [])]
    record.pop("version", None)
    return {**record, "cidrs": cidrs}


def test_history_says_the_settings_of_a_created_account(filled: RuleManager, other: RuleManager) -> None:
    filled.set_mode("acct-1", "off", confirmed=["disable_enforcement"])
    other.import_export(filled.export())
    details = {one.account: one.details for one in other.history() if one.action == "create_account"}
    assert details["acct-1"] == {"before": {"mode": "enforce"}, "after": {"mode": "off"}}
    assert details["empty"] is None


def _without_versions(manager: RuleManager) -> list[dict[str, Any]]:
    return [{name: one for name, one in json.loads(line).items() if name != "version"} for line in exported(manager)]


def test_a_copy_carries_what_people_set_also_into_accounts_that_exist(filled: RuleManager, other: RuleManager) -> None:
    other.import_export(filled.export())
    confirmed: list[Confirmation] = ["disable_enforcement"]
    filled.set_policy("acct-1", max_entries=7)
    filled.edit("acct-1", "1.1.1.1/32", enabled=False, label="off")
    filled.edit_account("acct-1", display_name="Acme Ltd")
    filled.edit_account("sub-1", display_name="Branch")
    filled.set_mode("acct-1", "off", until=datetime(2999, 1, 1, tzinfo=UTC), reason="trial", confirmed=confirmed)
    filled.set_mode("empty", "enforce", closed=True)
    assert not other.import_export(filled.export(), replace=True, allow_empty=True).problems
    with RuleManager.open("memory://") as new, RuleManager.open("memory://") as restored:
        new.import_export(filled.export())
        restored.restore_backup(filled.backup())
        for copied in (other, new, restored):
            assert _without_versions(copied) == _without_versions(filled)
            account, empty = copied.account("acct-1"), copied.account("empty")
            assert (account.mode, account.mode_reason, account.display_name) == ("off", "trial", "Acme Ltd")
            assert account.mode_until == datetime(2999, 1, 1, tzinfo=UTC)
            assert (empty.closed, copied.account("sub-1").display_name) == (True, "Branch")
            assert copied.policy_state("sub-1").effective.max_entries == 7
            assert [entry.enabled for entry in copied.entries("acct-1")] == [False, True]
            for address in ("8.8.8.8", "1.1.1.1", "9.9.9.9"):
                assert (copied.allows("sub-1", address), copied.allows("empty", address)) == (True, False)
            copied.resume("acct-1")
            assert [copied.allows("sub-1", address) for address in ("8.8.8.8", "1.1.1.1")] == [True, False]


def test_the_policy_of_the_store_is_copied(filled: RuleManager, other: RuleManager) -> None:
    lines = exported(filled)
    _with(lambda one: one.update(policy={"max_entries": 77}), 0)(lines)
    other.import_export(lines)
    assert other.policy_state().stored == {"max_entries": 77}
    assert list(map(json.loads, exported(other))) == list(map(json.loads, lines))
    _with(lambda one: one.update(policy={"max_entries": 88}), 0)(lines)
    with pytest.raises(ConflictError):
        other.import_export(lines)
    other.import_export(lines, skip_existing=True)
    assert other.policy_state().stored == {"max_entries": 77}
    other.import_export(lines, replace=True)
    assert other.policy_state().stored == {"max_entries": 88}


def test_a_dry_run_imports_nothing_and_says_the_same(filled: RuleManager, other: RuleManager) -> None:
    tried = other.import_export(filled.export(), dry_run=True)
    assert other.accounts() == []
    assert tried == other.import_export(filled.export())
    assert isinstance(other.import_export(exported(filled), create=False, dry_run=True).problems, dict)


def test_a_part_of_the_accounts_is_exported_with_their_subaccounts(filled: RuleManager, other: RuleManager) -> None:
    other.import_export(filled.export(["acct-1"]))
    assert [(one.name, one.parent) for one in other.accounts()] == [("acct-1", None), ("sub-1", "acct-1")]
    with pytest.raises(SubaccountError, match="acct-1"):
        list(filled.export(["sub-1"]))
    with pytest.raises(AccountNotFoundError):
        list(filled.export(["nobody"]))


def test_without_create_an_unknown_account_is_a_problem(filled: RuleManager, other: RuleManager) -> None:
    assert set(other.import_export(filled.export(), create=False).problems) == {"acct-1", "sub-1", "empty"}
    assert other.accounts() == []


def _with(change: Callable[[dict[str, Any]], object], line: int = 1) -> Callable[[list[str]], None]:
    def changed(lines: list[str]) -> None:
        record = json.loads(lines[line])
        change(record)
        lines[line] = json.dumps(record)

    return changed


DAMAGES: dict[str, Callable[[list[str]], object]] = {
    "cut off at a line": lambda lines: lines.pop(),
    "cut off within a line": lambda lines: lines.__setitem__(slice(1, None), [lines[1][:40]]),
    "a line is missing": lambda lines: lines.pop(2),
    "an account twice": lambda lines: lines.insert(2, lines[1]),
    "more after the end": lambda lines: lines.append(lines[1]),
    "no first line": lambda lines: lines.pop(0),
    "empty": lambda lines: lines.clear(),
    "a newer version": _with(lambda one: one.update(version=2), 0),
    "no version": _with(lambda one: one.pop("version"), 0),
    "no name": _with(lambda one: one.pop("name")),
    "a name that is a number": _with(lambda one: one.update(name=7)),
    "a name that nobody can have": _with(lambda one: one.update(name=" acct-1")),
    "an unknown member": _with(lambda one: one.update(deny=["8.8.8.8/32"])),
    "an unknown member of an entry": _with(lambda one: one["entries"][0].update(deny=True)),
    "no network": _with(lambda one: one["entries"][0].pop("cidr")),
    "bits of the host": _with(lambda one: one["entries"][0].update(cidr="1.1.1.1/24")),
    "another spelling": _with(lambda one: one["entries"].append(one["entries"][0] | {"cidr": "2606:4700:0::/32"})),
    "networks that overlap": _with(lambda one: one["entries"].append(one["entries"][0] | {"cidr": "8.0.0.0/8"})),
    "a network twice": _with(lambda one: one["entries"].append(one["entries"][0])),
    "a time without a zone": _with(lambda one: one["entries"][0].update(expires_at="2030-01-01T00:00:00")),
    "a time that is none": _with(lambda one: one["entries"][0].update(expires_at="soon")),
    "entries that are text": _with(lambda one: one.update(entries="8.8.8.0/24")),
    "a version that is text": _with(lambda one: one.update(version="1")),
    "an unknown mode": _with(lambda one: one.update(mode="open")),
    "a mode that is no text": _with(lambda one: one.update(mode=True)),
    "enforcement with an end": _with(lambda one: one.update(mode_until="2999-01-01T00:00:00+00:00")),
    "an end without a zone": _with(lambda one: one.update(mode="off", mode_until="2999-01-01T00:00:00")),
    "a long reason": _with(lambda one: one.update(mode="off", mode_reason="x" * 2000)),
    "an invisible reason": _with(lambda one: one.update(mode="off", mode_reason="a\u200bb")),
    "an empty reason": _with(lambda one: one.update(mode="off", mode_reason="")),
    "closed as text": _with(lambda one: one.update(closed="no")),
    "an invisible display name": _with(lambda one: one.update(display_name="a\nb")),
    "a long display name": _with(lambda one: one.update(display_name="x" * 2000)),
    "a display name that is a number": _with(lambda one: one.update(display_name=7)),
    "a limit that is too large": _with(lambda one: one.update(policy={"max_entries": 10**6})),
    "an option without a value": _with(lambda one: one.update(policy={"max_entries": None})),
    "a policy that is a list": _with(lambda one: one.update(policy=[])),
    "a policy of the store with a large limit": _with(lambda one: one.update(policy={"max_entries": 10**6}), 0),
    "a parent that nobody can have": _with(lambda one: one.update(parent=" a"), -2),
    "a subaccount with a mode": _with(lambda one: one.update(mode="off"), -2),
    "a closed subaccount": _with(lambda one: one.update(closed=True), -2),
    "a policy that is none": _with(lambda one: one.update(policy={"max_entries": 0})),
    "an unknown option of the policy": _with(lambda one: one.update(policy={"deny": True})),
    "a policy of the store that is none": _with(lambda one: one.update(policy={"max_entries": "all"}), 0),
    "a version below zero": _with(lambda one: one.update(version=-1)),
    "a version beyond all": _with(lambda one: one.update(version=2**31)),
    "entries of a subaccount": _with(lambda one: one.update(entries=[]) or one.update(parent="acct-1"), 2),
    "an account that is a list": lambda lines: lines.__setitem__(1, "[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_was_damaged_is_refused_as_a_whole(
    filled: RuleManager, other: RuleManager, damage: Callable[[list[str]], object]
) -> None:
    lines = exported(filled)
    whole = list(lines)
    damage(lines)
    number = next((place for place, one in enumerate(lines, 1) if place <= len(whole) and one != whole[place - 1]), 0)
    if json.loads(lines[2] if len(lines) > 2 else "{}").get("parent") == "acct-1" and "entries" in lines[2]:
        _with(lambda one: one.update(entries=[json.loads(lines[1])["entries"][0]]), 2)(lines)
    with pytest.raises(InvalidCopyError) as refused:
        other.import_export(lines)
    assert len(lines) != len(whole) or refused.value.line == number
    assert other.accounts() == []


@pytest.mark.parametrize(
    ("parent", "kind"), [("nobody", AccountNotFoundError), ("sub-1", SubaccountError)], ids=["unknown", "a subaccount"]
)
def test_a_parent_that_cannot_be_one(
    filled: RuleManager, other: RuleManager, parent: str, kind: type[Exception]
) -> None:
    filled.create_account("sub-2", parent="acct-1")
    lines = exported(filled)
    [place] = [number for number, line in enumerate(lines) if '"sub-2"' in line]
    _with(lambda one: one.update(parent=parent), place)(lines)
    assert {name: type(error) for name, error in other.import_export(lines).problems.items()} == {"sub-2": kind}
    assert other.accounts() == []


def backed_up(manager: RuleManager) -> list[str]:
    return list(manager.backup())


def test_a_backup_is_restored_to_an_empty_store_only(filled: RuleManager, other: RuleManager) -> None:
    other.create_account("here-first")
    with pytest.raises(StoreNotEmptyError):
        other.restore_backup(filled.backup())
    assert [one.name for one in other.accounts()] == ["here-first"]


BACKUP_DAMAGES: dict[str, Callable[[list[str]], object]] = {
    "cut off at a line": lambda lines: lines.pop(),
    "cut off within a line": lambda lines: lines.__setitem__(slice(1, None), [lines[1][:40]]),
    "empty": lambda lines: lines.clear(),
    "a line is missing": lambda lines: lines.pop(2),
    "a changed label": lambda lines: lines.__setitem__(
        slice(0, None), [one.replace('"dns"', '"dnS"') for one in lines]
    ),
    "an unknown table": lambda lines: lines.insert(1, '{"sessions": []}'),
    "an unknown column": _with(lambda one: one["tables"]["accounts"].append("owner"), 0),
    "a missing column": _with(lambda one: one["tables"]["accounts"].remove("name"), 0),
    "a newer version": _with(lambda one: one.update(version=2), 0),
    "a newer schema": _with(lambda one: one.update(schema="9999.9"), 0),
    "an export": lambda lines: lines.__setitem__(0, '{"format": "cidrgate export", "version": 1}'),
    "a short row": _with(lambda one: one["accounts"][0].pop(), 1),
    "no numbers of ids": _with(lambda one: one.pop("last_ids"), 0),
    "a second backup after it": lambda lines: lines.extend(list(lines)),
    "a line after the last one": lambda lines: lines.append("# written by hand\n"),
}


@pytest.mark.parametrize("damage", BACKUP_DAMAGES.values(), ids=BACKUP_DAMAGES)
def test_a_backup_that_was_damaged_is_refused_as_a_whole(
    filled: RuleManager, other: RuleManager, damage: Callable[[list[str]], object]
) -> None:
    lines = backed_up(filled)
    damage(lines)
    with pytest.raises(InvalidCopyError):
        other.restore_backup(lines)
    assert other.accounts() == []
    assert other.history() == []


def signed(lines: list[str]) -> list[str]:
    """The lines with a digest that fits."""
    digest = hashlib.sha256("".join(lines[:-1]).encode()).hexdigest()
    end = json.loads(lines[-1])
    end["end"]["sha256"] = digest
    return [*lines[:-1], json.dumps(end) + "\n"]


@pytest.mark.parametrize("cidr", ["8.8.8.8/24", "1.1.1.0/24", "2606:4700:0::/32", "word"])
def test_a_backup_that_another_program_wrote_holds_no_list_that_is_none(
    filled: RuleManager, other: RuleManager, cidr: str
) -> None:
    lines = [one.replace('"8.8.8.0/24"', f'"{cidr}"') for one in backed_up(filled)]
    with pytest.raises(InvalidCopyError):
        other.restore_backup(signed(lines))
    assert other.accounts() == []


@st.composite
def damages(draw: st.DrawFn) -> Callable[[list[str]], list[str]]:
    """One damage of some lines: two swapped, one left out or repeated, or a number in one of them changed."""
    kind = draw(st.sampled_from(["swap", "leave out", "repeat", "reverse", "number"]))
    first, second, place = (draw(st.integers(0, 99)) for _ in range(3))
    number = draw(st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31, 2**63, 10**30]))

    def damaged(lines: list[str]) -> list[str]:
        made, one, other = list(lines), first % len(lines), second % len(lines)
        if kind == "swap":
            made[one], made[other] = made[other], made[one]
        elif kind == "leave out":
            del made[one]
        elif kind == "repeat":
            made.insert(other, made[one])
        elif kind == "reverse":
            made[1:-1] = made[-2:0:-1]
        elif found := list(re.finditer(r"\d+", made[one])):
            at = found[place % len(found)]
            made[one] = f"{made[one][: at.start()]}{number}{made[one][at.end() :]}"
        return made

    return damaged


@functools.cache
def to_damage(way: str) -> list[str]:
    """A copy of a store, with one row in each line of a backup."""
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        manager.create_account("acct-2")
        manager.add("acct-1", [NewEntry("8.8.8.0/24", label="dns"), NewEntry("1.1.1.1/32")])
        manager.add("acct-2", [NewEntry("8.8.8.0/25", expires_at=datetime(2999, 1, 1, tzinfo=UTC))])
        manager.set_mode("acct-2", "report_only", confirmed=["disable_enforcement"])
        manager.set_policy("acct-2", max_entries=20)
        lines = list(getattr(manager, way)())
    if way == "export":
        return lines
    rows = [(name, row) for line in lines[1:-1] for name, found in json.loads(line).items() for row in found]
    return signed([lines[0], *(json.dumps({name: [row]}) + "\n" for name, row in rows), lines[-1]])


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("way", [EXPORT, BACKUP], ids=["export", "backup"])
@given(damage=damages(), resign=st.booleans())
@settings(max_examples=length(50, 1_000), suppress_health_check=[HealthCheck.too_slow])
def test_what_is_wrong_with_a_file_is_no_failure_of_the_store(
    stores: Stores, kind: str, way: tuple[str, str], damage: Callable[[list[str]], list[str]], resign: bool
) -> None:
    whole = to_damage(way[0])
    lines = damage(whole)
    if resign and way is BACKUP and json.loads(lines[-1]).get("end"):
        lines = signed(lines)
    stores.start()
    with RuleManager.open(stores.new(kind), follow=False) as target:
        try:
            report = getattr(target, way[1])(lines)
        except InvalidCopyError:
            stored = False
        else:
            stored = not getattr(report, "problems", None)
            assert not stored or way is EXPORT or resign or lines == whole
        assert bool(target.accounts()) is stored


_ROWS = {"no such account": 7, "another account": 2, "a number beyond all": 10**30, "a number of no account": -1}


@pytest.mark.parametrize("resign", [False, True], ids=["damaged", "written by another program"])
@pytest.mark.parametrize("number", _ROWS.values(), ids=_ROWS)
def test_a_row_of_another_account_is_damage(shared_store_url: str, number: int, resign: bool) -> None:
    lines = list(to_damage("backup"))
    columns = json.loads(lines[0])["tables"]["entries"]
    [place] = [number for number, line in enumerate(lines) if '"8.8.8.0/25"' in line and '"entries": [[' in line]
    row = json.loads(lines[place])["entries"][0]
    row[columns.index("account_id")] = 1 if number == 2 else number
    lines[place] = json.dumps({"entries": [row]}) + "\n"
    with RuleManager.open(shared_store_url) as target:
        with pytest.raises(InvalidCopyError, match="nothing was restored"):
            target.restore_backup(signed(lines) if resign else lines)
        assert target.accounts() == []
        assert target.history() == []


SETTINGS: dict[str, dict[str, Any]] = {
    "an unknown mode": {"mode": "open"},
    "enforcement with an end": {"mode_until": "2999-01-01T00:00:00+00:00"},
    "an invisible reason": {"mode": "off", "mode_reason": "a\u200bb"},
    "an invisible display name": {"display_name": "a\nb"},
    "closed as text": {"closed": "no"},
    "a limit of none": {"policy": {"max_entries": 0}},
    "an unknown option": {"policy": {"deny": True}},
    "a policy that is a list": {"policy": [1]},
    "a version below zero": {"version": -1},
}


@pytest.mark.parametrize("said", SETTINGS.values(), ids=SETTINGS)
def test_a_backup_that_another_program_wrote_holds_no_setting_that_is_none(
    filled: RuleManager, other: RuleManager, said: dict[str, Any]
) -> None:
    lines = backed_up(filled)
    columns = json.loads(lines[0])["tables"]["accounts"]
    _with(lambda one: [one["accounts"][0].__setitem__(columns.index(name), value) for name, value in said.items()])(
        lines
    )
    with pytest.raises(InvalidCopyError):
        other.restore_backup(signed(lines))
    assert other.accounts() == []


def test_a_backup_with_a_policy_of_the_store_that_is_none(filled: RuleManager, other: RuleManager) -> None:
    lines = backed_up(filled)
    _with(lambda one: one["facts"].update(policy={"max_entries": 0, "version": 1}), 0)(lines)
    with pytest.raises(InvalidCopyError):
        other.restore_backup(signed(lines))
    assert other.policy_state().stored == {}


def test_a_mode_of_a_newer_version_is_enforced(stores: Stores) -> None:
    stores.start()
    url = stores.new("sqlite")
    with RuleManager.open(url) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
    with closing(open_store(url)) as store, store.write() as transaction:
        transaction.connection.execute(update(metadata.tables["accounts"]).values(mode="open"))
    with RuleManager.open(url) as manager:
        assert not manager.allows("acct-1", "9.9.9.9")
        assert not manager.explain("acct-1", "9.9.9.9").allowed
        assert manager.explain("acct-1", "9.9.9.9").mode == "enforce"
        assert (manager.list_states()["acct-1"].mode, manager.list_states()["acct-1"].enforced) == ("enforce", True)
        manager.add("acct-1", "1.1.1.1/32")
        with pytest.raises(WouldDisableEnforcementError):
            manager.set_mode("acct-1", "off")
        manager.set_mode("acct-1", "enforce")
        assert manager.account("acct-1").mode == "enforce"


def test_every_table_is_backed_up_or_left_out_for_a_reason() -> None:
    assert {*BACKED_UP, *LEFT_OUT} == set(metadata.tables)
    for name, fields in BACKED_UP.items():
        assert [field.name for field in fields] == list(metadata.tables[name].columns.keys())


def test_ids_of_removed_rows_are_never_used_again(stores: Stores) -> None:
    for first, second in itertools.product(["sqlite", "postgres"], repeat=2):
        stores.start()
        with RuleManager.open(stores.new(first)) as source, RuleManager.open(stores.new(second)) as target:
            source.create_account("acct-1")
            removed = source.add("acct-1", "8.8.8.0/24").after[0].id
            source.remove("acct-1", "8.8.8.0/24", allow_empty=True)
            source.prune_history(0)
            source.create_account("acct-2")
            end = source.history(limit=1)[0].sequence
            target.restore_backup(source.backup())
            assert target.history() == source.history()
            assert target.add("acct-1", "9.9.9.9/32").after[0].id > removed
            assert target.history(limit=1)[0].sequence > end


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_follower_notices_that_the_store_is_another_one(stores: Stores, kind: str, filled: RuleManager) -> None:
    """It follows an empty store, in which a backup with the same number of changes appears."""
    stores.start()
    url = stores.new(kind)
    with RuleManager.open(url) as follower, RuleManager.open(url, load=False) as writer:
        writer.restore_backup(filled.backup())
        eventually(lambda: follower.matcher.enforced("acct-1") and not follower.allows("sub-1", "9.9.9.9"))


def test_backups_of_two_stores_are_two_stores(filled: RuleManager, stores: Stores) -> None:
    stores.start()
    first, second = stores.new("sqlite"), stores.new("sqlite")
    positions = []
    for url in (first, second):
        with RuleManager.open(url) as manager:
            manager.restore_backup(filled.backup())
        with closing(open_store(url)) as store, store.read() as transaction:
            positions.append(transaction.position())
    with closing(open_store(first)) as store, store.read() as transaction:
        assert transaction.changed_since(positions[0], 10) == set()
        assert transaction.changed_since(positions[1], 10) is None


@pytest.mark.parametrize("ends", ["taken", "left"])
@pytest.mark.parametrize("way", [EXPORT, BACKUP], ids=["export", "backup"])
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_other_threads_take_the_rest_of_a_copy(stores: Stores, kind: str, way: tuple[str, str], ends: str) -> None:
    """As those of a pool from which a server streams it."""
    stores.start()
    with RuleManager.open("memory://" if kind == "memory" else stores.new(kind), lock_timeout=0.5) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        whole = list(getattr(manager, way[0])())
        lines = getattr(manager, way[0])()
        taken = [in_another_thread(lambda: next(lines))]
        if ends == "taken":
            assert [*taken, *lines] == whole
        else:
            del lines
        manager.add("acct-1", "1.1.1.1/32")
        assert in_another_thread(lambda: len(manager.entries("acct-1"))) == 2


@pytest.mark.parametrize("way", [EXPORT, BACKUP], ids=["export", "backup"])
def test_a_copy_is_of_one_moment(stores: Stores, way: tuple[str, str]) -> None:
    """Changes that are made while it is read are not in it."""
    for kind in ("sqlite", "postgres"):
        stores.start()
        url = stores.new(kind)
        with RuleManager.open(url) as manager, RuleManager.open(url) as writer, RuleManager.open("memory://") as copied:
            for number in range(3):
                manager.create_account(f"acct-{number}")
                manager.add(f"acct-{number}", "8.8.8.0/24")
            lines = getattr(manager, way[0])()
            taken = [next(lines), next(lines)]
            writer.create_account("acct-9")
            writer.remove("acct-2", "8.8.8.0/24", allow_empty=True)
            getattr(copied, way[1])([*taken, *lines])
            assert copied.counts() == {"acct-0": 1, "acct-1": 1, "acct-2": 1}
            assert [one.name for one in copied.accounts()] == ["acct-0", "acct-1", "acct-2"]


@pytest.mark.parametrize("way", [EXPORT, BACKUP], ids=["export", "backup"])
def test_memory_does_not_grow_with_the_number_of_entries(stores: Stores, way: tuple[str, str]) -> None:
    """The peak for many accounts is that for a few; what is measured is Python's memory."""
    peaks = []
    for accounts in (1_200, 3_000):
        stores.start()
        source, target = stores.new("sqlite"), stores.new("sqlite")
        with RuleManager.open(source, load=False) as manager, RuleManager.open(target, load=False) as copied:
            manager.import_accounts(
                (f"acct-{number}", [NewEntry(f"8.8.{part}.0/24") for part in range(10)]) for number in range(accounts)
            )
            tracemalloc.start()
            try:
                getattr(copied, way[1])(getattr(manager, way[0])())
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
            assert copied.counts().keys() == manager.counts().keys()
    assert peaks[1] < 1.5 * peaks[0], peaks
