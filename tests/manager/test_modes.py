"""Modes of accounts and disabled entries: every way to ask answers as a plain dictionary says, after any history."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import (
    Gate,
    InvalidExpiryError,
    InvalidTextError,
    Matcher,
    NewEntry,
    RuleManager,
    SubaccountError,
    VersionConflictError,
    WouldDisableEnforcementError,
    WouldLockOutCallerError,
)
from cidrgate.gate.gate import Unlisted
from cidrgate.values import MODES, Mode
from tests.golden import GoldenTrie
from tests.length import length
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cidrgate.errors import Confirmation

CIDRS = ("8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32")
ADDRESSES = ("8.8.8.8", "1.1.1.1", "9.9.9.9", "2606:4700::1", "::ffff:8.8.8.8")
FAR = datetime(2999, 1, 1, tzinfo=UTC)

CONFIRMED: tuple[Confirmation, ...] = ("disable_enforcement",)

numbers = count()


@dataclass
class Listed:
    """What a person would write down about an account."""

    entries: dict[str, bool] = field(default_factory=dict)
    mode: Mode = "enforce"
    closed: bool = False

    def matches(self, address: str) -> bool:
        return GoldenTrie(cidr for cidr, enabled in self.entries.items() if enabled).match(address) is not None

    @property
    def has_list(self) -> bool:
        return bool(self.entries) or self.closed

    def allows(self, address: str) -> bool:
        return self.mode != "enforce" or not self.has_list or self.matches(address)

    def reason(self, address: str) -> str:
        if self.matches(address):
            return "matched"
        return "not_enforced" if self.mode == "off" or not self.has_list else "not_listed"

    def result(self, address: str, unlisted: Unlisted) -> str:
        if self.mode == "off" or self.matches(address) or (not self.has_list and unlisted != "deny"):
            return "allowed"
        return "would_deny" if self.mode == "report_only" else "denied"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("list"), st.dictionaries(st.sampled_from(CIDRS), st.booleans())),
        st.tuples(st.just("enable"), st.tuples(st.sampled_from(CIDRS), st.booleans())),
        st.tuples(st.just("mode"), st.tuples(st.sampled_from(MODES), st.sampled_from([None, False, True]))),
        st.tuples(st.just("restore"), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=7,
)


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def managers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RuleManager, RuleManager]]:
    """A manager, and one that only follows its store; in memory both are one."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path_factory.mktemp('modes')}/lists.db"}
    url = urls.get(request.param) or request.getfixturevalue("shared_postgres_server").new_database()
    with ExitStack() as stack:
        manager = stack.enter_context(RuleManager.open(url, create=True, follow=False))
        follower = manager
        if request.param != "memory":
            follower = stack.enter_context(RuleManager.open(url, follow=False))
        yield manager, follower


def assert_all_agree(manager: RuleManager, follower: RuleManager, path: Path, name: str, model: Listed) -> None:
    follower._replica.published.catch_up()
    manager.save_snapshot(path)
    opened = Matcher.open(path)
    state = manager.list_states([name])[name]
    assert (state.mode, state.closed) == (model.mode, model.closed)
    assert state.enforced == manager.matcher.enforced(name) == (model.has_list and model.mode == "enforce")
    for address in ADDRESSES:
        allowed = model.allows(address)
        decision = manager.explain(name, address)
        assert (decision.allowed, decision.reason, decision.mode) == (allowed, model.reason(address), model.mode)
        for one in (manager.matcher, follower.matcher, opened):
            assert one.allows(name, address) == allowed
            assert one.allows_many([name], [address]).tolist() == [allowed]
            assert one.mode(name) == model.mode
            for unlisted in get_args(Unlisted):
                gate = Gate(one, unlisted=unlisted, log="none")
                verdict = gate.decide(name, address)
                assert (verdict.result, verdict.reason) == (model.result(address, unlisted), model.reason(address))
                assert verdict.mode == verdict.record()["mode"] == model.mode
                # The fast path is sure of what the list allows, and of nothing else.
                assert gate.allows_peer is not None
                sure = gate.allows_peer(name, address)
                assert sure == (verdict.result == "allowed" and (model.mode == "enforce" or model.matches(address)))
                if sure:
                    late = gate.allowed_verdict(name, address, ())
                    assert (late.result, late.reason, late.mode) == ("allowed", model.reason(address), model.mode)


@given(taken=steps)
@settings(max_examples=length(30, 300))
def test_every_way_to_ask_answers_as_the_history_says(
    managers: tuple[RuleManager, RuleManager], tmp_path_factory: pytest.TempPathFactory, taken: list[tuple[str, Any]]
) -> None:
    manager, follower = managers
    path = tmp_path_factory.getbasetemp() / "modes.snapshot"
    account, subaccount = (f"{name}{next(numbers)}" for name in ("acct-", "sub-"))
    manager.create_account(account)
    manager.create_account(subaccount, parent=account)
    model = Listed()
    past: list[tuple[int, dict[str, bool]]] = [(manager.history(account, limit=1)[0].sequence, {})]
    for what, value in taken:
        version = manager.account(account).version
        before = (dict(model.entries), model.mode, model.closed)
        if what == "list":
            manager.replace(account, [NewEntry(c, enabled=e) for c, e in value.items()], allow_empty=True)
            model.entries = dict(value)
        elif what == "enable" and value[0] in model.entries:
            manager.edit(account, value[0], enabled=value[1])
            model.entries[value[0]] = value[1]
        elif what == "mode":
            mode, closed = value
            made = manager.set_mode(account, mode, closed=closed, confirmed=CONFIRMED)
            model.mode = mode
            model.closed = model.closed if closed is None else closed
            assert (made.mode, made.closed) == (model.mode, model.closed)
        elif what == "restore":
            sequence, entries = past[value % len(past)]
            manager.restore(account, to_sequence=sequence, allow_empty=True)
            model.entries = dict(entries)
        changed = before != (model.entries, model.mode, model.closed)
        assert manager.account(account).version == version + changed, "one change, one version"
        past.append((manager.history(account, limit=1)[0].sequence, dict(model.entries)))
        for name in (account, subaccount):
            assert_all_agree(manager, follower, path, name, model)
    log = [row.details for row in manager.history(account)[::-1] if row.details is not None]
    replayed: dict[str, Any] = {"mode": "enforce", "closed": False}
    for details in log:
        assert {name: details["before"][name] for name in replayed} == replayed
        replayed = {name: details["after"][name] for name in replayed}
    assert replayed == {"mode": model.mode, "closed": model.closed}, "the log replays to the store"


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True) as opened:
        opened.create_account("acct-1")
        opened.create_account("sub-1", parent="acct-1")
        opened.add("acct-1", "8.8.8.0/24")
        yield opened


def test_a_pause_ends_on_time_and_the_sweep_stores_that(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "cidrgate")
    paused = manager.pause("acct-1", for_=timedelta(seconds=1), reason="incident 7", confirmed=CONFIRMED, actor="me")
    end = paused.mode_until
    assert end is not None
    allowed = [manager.allows(name, "9.9.9.9") for name in ("acct-1", "sub-1")]
    assert allowed == [True, True] or datetime.now(UTC) >= end
    eventually(lambda: not manager.allows("sub-1", "9.9.9.9"))
    assert datetime.now(UTC) >= end
    assert manager.explain("acct-1", "9.9.9.9").mode == "enforce"
    assert manager.list_states(["sub-1"])["sub-1"].mode_until is None
    assert manager.account("acct-1").mode_at() == "enforce"
    eventually(lambda: manager.sweep() == 0 and manager.account("acct-1").mode == "enforce")
    ended, began = manager.history("acct-1", limit=2)
    assert (ended.action, ended.actor, began.action, began.actor) == ("expire", None, "set_mode", "me")
    assert began.details is not None
    assert began.details["after"]["mode_reason"] == "incident 7"
    assert ended.details is not None
    assert ended.details["after"] == {"mode": "enforce", "mode_until": None, "mode_reason": None}
    manager.sweep()
    assert manager.history("acct-1", limit=1) == [ended], "it is stored once"
    said = [record.cidrgate for record in caplog.records if record.cidrgate["event"] == "cidrgate.mode_changed"]  # type: ignore[attr-defined]
    assert [(one["account"], one["before"], one["mode"]) for one in said] == [
        ("acct-1", "enforce", "off"),
        ("acct-1", "off", "enforce"),
    ]


def test_a_pause_ends_without_the_store(tmp_path: Path) -> None:
    with RuleManager.open(f"sqlite:///{tmp_path}/lists.db", create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        manager.pause("acct-1", for_=0.4, confirmed=CONFIRMED)
        manager._store.close()
        eventually(lambda: not manager.allows("acct-1", "9.9.9.9"))


def test_leaving_enforce_is_confirmed_and_entering_it_may_lock_out(manager: RuleManager) -> None:
    for mode in MODES[1:]:
        with pytest.raises(WouldDisableEnforcementError, match="pass confirmed="):
            manager.set_mode("acct-1", mode)
    with pytest.raises(WouldDisableEnforcementError, match="pass confirmed="):
        manager.pause("acct-1", for_=60)
    assert manager.account("acct-1").version == 1
    caller = manager.with_hooks(address="9.9.9.9", confirmed={"disable_enforcement"})
    caller.set_mode("acct-1", "report_only")
    with pytest.raises(WouldLockOutCallerError):
        caller.resume("acct-1")
    assert manager.allows("acct-1", "9.9.9.9")
    caller.with_hooks(confirmed={"lock_out"}).resume("acct-1")
    assert not manager.allows("acct-1", "9.9.9.9")


def test_a_list_can_be_changed_while_it_is_paused(manager: RuleManager) -> None:
    manager.set_mode("acct-1", "off", confirmed=CONFIRMED)
    caller = manager.with_hooks(address="8.8.8.8")
    caller.replace("acct-1", "1.1.1.0/24")  # nobody is denied by this now
    with pytest.raises(WouldLockOutCallerError):
        caller.resume("acct-1")


def test_a_closed_account_denies_while_it_is_empty(manager: RuleManager) -> None:
    assert manager.create_account("closed", closed=True).closed
    assert (manager.allows("closed", "8.8.8.8"), manager.explain("closed", "8.8.8.8").reason) == (False, "not_listed")
    manager.add("closed", "8.8.8.0/24")
    manager.remove("closed", "8.8.8.0/24")  # it stays enforced, so nothing is to be confirmed
    assert not manager.allows("closed", "8.8.8.8")
    with pytest.raises(WouldDisableEnforcementError):
        manager.set_mode("closed", "enforce", closed=False)
    manager.set_mode("closed", "enforce", closed=False, confirmed=CONFIRMED)
    assert manager.allows("closed", "8.8.8.8")
    with pytest.raises(SubaccountError, match="close the parent"):
        manager.create_account("sub-2", parent="acct-1", closed=True)


def test_a_mode_is_set_to_the_version_that_was_seen_and_never_of_a_subaccount(manager: RuleManager) -> None:
    with pytest.raises(VersionConflictError):
        manager.set_mode("acct-1", "off", expect_version=0, confirmed=CONFIRMED)
    with pytest.raises(SubaccountError):
        manager.pause("sub-1", for_=60, confirmed=CONFIRMED)
    dry = manager.with_hooks(dry_run=True)
    assert dry.set_mode("acct-1", "off", until=FAR).mode == "off"
    assert manager.account("acct-1").mode == "enforce"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"mode": "OFF"}, ValueError),
        ({"mode": "enforce", "until": FAR}, InvalidExpiryError),
        ({"mode": "off", "until": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidExpiryError),
        ({"mode": "off", "until": datetime(2999, 1, 1)}, InvalidExpiryError),
        ({"mode": "off", "until": "tomorrow"}, TypeError),
        ({"mode": "off", "reason": "a\u202eb"}, InvalidTextError),
        ({"mode": "off", "closed": "no"}, TypeError),
        ({"mode": "off", "confirmed": "disable_enforcement"}, TypeError),
    ],
)
def test_what_no_mode_is_changes_nothing(manager: RuleManager, said: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        manager.set_mode("acct-1", **{"confirmed": CONFIRMED, **said})
    ends: list[dict[str, Any]] = [{}, {"for_": 60, "until": FAR}, {"for_": "1h"}]
    for end in ends:
        with pytest.raises(TypeError):
            manager.pause("acct-1", confirmed=CONFIRMED, **end)
    for duration in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="for_"):
            manager.pause("acct-1", for_=duration, confirmed=CONFIRMED)
    with pytest.raises(InvalidExpiryError):
        manager.pause("acct-1", for_=1e12, confirmed=CONFIRMED)
    assert manager.account("acct-1").version == 1
    assert len(manager.history("acct-1")) == 2


def test_setting_what_is_set_already_changes_nothing(manager: RuleManager) -> None:
    first = manager.set_mode("acct-1", "report_only", until=FAR, reason="trial", confirmed=CONFIRMED)
    assert manager.set_mode("acct-1", "report_only", until=FAR, reason="trial") == first
    assert len(manager.history("acct-1")) == 3


def test_restoring_a_list_leaves_the_mode(manager: RuleManager) -> None:
    sequence = manager.history("acct-1", limit=1)[0].sequence
    manager.set_mode("acct-1", "off", confirmed=CONFIRMED)
    manager.add("acct-1", "1.1.1.1/32")
    manager.restore("acct-1", to_sequence=sequence)
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]
    assert manager.account("acct-1").mode == "off"


def test_an_account_takes_its_mode_to_another_name_and_leaves_it_when_it_inherits(manager: RuleManager) -> None:
    manager.set_mode("acct-1", "off", reason="incident 7", confirmed=CONFIRMED)
    renamed = manager.rename_account("acct-1", "acct-2", confirmed=CONFIRMED)
    assert (renamed.mode, renamed.mode_reason, manager.allows("acct-2", "9.9.9.9")) == ("off", "incident 7", True)
    manager.create_account("parent")
    manager.add("parent", "1.1.1.1/32")
    manager.edit_account("sub-1", parent="parent", confirmed=["other_list"])
    moved = manager.edit_account("acct-2", parent="parent", confirmed=["other_list", "lock_out"])
    assert (moved.mode, moved.mode_reason) == ("enforce", None)
    assert manager.account("acct-2").mode == "enforce"
    assert [manager.allows("acct-2", address) for address in ("1.1.1.1", "9.9.9.9")] == [True, False]
    manager.delete_account("acct-2", confirmed=CONFIRMED)
    assert manager.create_account("acct-2").mode == "enforce"
