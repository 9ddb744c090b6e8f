"""What a change would do to past requests: changes of every kind, of one list and of many, and who inherits them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import NewEntry, NoTrafficError, RuleError, RuleManager
from cidrgate.errors import AccountNotFoundError, SubaccountError
from cidrgate.foresight.sentences import sentences
from cidrgate.manager import DeclaredAccount
from cidrgate.manager.evaluations import collector
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.stores.incomplete_days import mark_incomplete_days
from cidrgate.stores.observations import add_observations
from cidrgate.stores.schema import accounts
from cidrgate.traffic import Traffic
from cidrgate.values import Observation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cidrgate.errors import Confirmation
    from cidrgate.foresight import ChangedList, Evaluation

NOW = datetime.now(UTC)


def seen(account: str, address: str, requests: int) -> Observation:
    return Observation(
        account=account,
        network=address if "/" in address else f"{address}/32",
        allowed=True,
        requests=requests,
        first_seen=NOW,
        last_seen=NOW,
    )


SEEN = [
    seen("acct-1", "8.8.8.8", 10),
    seen("acct-1", "1.1.1.1", 20),
    seen("sub-1", "8.8.8.8", 300),
    seen("sub-2", "8.8.8.0/24", 4000),
    seen("acct-2", "9.9.9.9", 50_000),
    seen("unknown", "8.8.8.8", 600_000),
]


@pytest.fixture
def manager(store_url: str) -> RuleManager:
    """An account with two subaccounts, and another account."""
    manager = RuleManager.open(store_url, create=True, load=False)
    manager.create_account("acct-1")
    for name in ("sub-1", "sub-2"):
        manager.create_account(name, parent="acct-1")
    manager.create_account("acct-2")
    manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
    manager.add("acct-2", "9.9.9.9/32")
    with manager._store.write() as transaction:  # requests of an account that is younger are those of another one
        transaction.connection.execute(accounts.update().values(created_at=NOW - timedelta(days=90)))
    return manager


def denied(evaluation: Evaluation) -> dict[str, int]:
    assert evaluation.newly_denied.requests == sum(one.newly_denied.requests for one in evaluation.accounts)
    return {one.account: one.newly_denied.requests for one in evaluation.accounts if one.newly_denied.requests}


def test_a_list_decides_for_everybody_who_inherits_it(manager: RuleManager) -> None:
    def remove(dry: RuleManager) -> object:
        return dry.remove("acct-1", "8.8.8.0/24")

    every = manager.evaluate("acct-1", remove, observations=iter(SEEN))
    assert denied(every) == {"acct-1": 10, "sub-1": 300, "sub-2": 4000}
    again = manager.evaluate(None, remove, observations=SEEN)
    assert replace(again, until=every.until) == every
    assert (every.newly_denied.addresses, every.newly_denied.networks, every.lists) == (2, 1, 1)
    assert every.still_allowed.requests == 20
    one = manager.evaluate("sub-1", remove, observations=SEEN)
    assert denied(one) == {"sub-1": 300}
    assert one.unknown == ()
    with pytest.raises(ValueError, match="does not change the list of account 'acct-2'"):
        manager.evaluate("acct-2", remove, observations=SEEN)
    with pytest.raises(AccountNotFoundError):
        manager.evaluate("acct-3", remove, observations=SEEN)
    assert len(manager.entries("acct-1")) == 2


CHANGES: dict[str, tuple[Callable[[RuleManager], object], dict[str, int]]] = {
    "add": (lambda dry: dry.add("acct-2", "8.8.4.4/32"), {}),
    "edit": (lambda dry: dry.edit("acct-1", "8.8.8.0/24", "8.8.8.8/32"), {}),
    "edit a label": (lambda dry: dry.edit("acct-1", "8.8.8.0/24", label="x"), {}),
    "disable": (lambda dry: dry.edit("acct-1", "1.1.1.1/32", enabled=False), {"acct-1": 20}),
    "replace": (lambda dry: dry.replace("acct-2", "9.9.9.0/25"), {}),
    "restore": (lambda dry: dry.restore("acct-1", to_sequence=4), {}),
    "turn off": (lambda dry: dry.set_mode("acct-2", "off"), {}),
    "move": (lambda dry: dry.edit_account("sub-1", parent=None), {}),
    "move to others": (lambda dry: dry.edit_account("sub-1", parent="acct-2"), {"sub-1": 300}),
    "apply": (
        lambda dry: dry.apply({"acct-1": "1.1.1.1/32", "acct-2": "4.4.4.4/32", "new": "7.7.7.7/32"}, prune=True),
        {"acct-1": 10, "sub-1": 300, "sub-2": 4000, "acct-2": 50_000},
    ),
    "import": (
        lambda dry: dry.import_accounts({"acct-2": "4.4.4.4/32", "unknown": "7.7.7.7/32", "sub-1": "7.7.7.7/32"}),
        {"unknown": 600_000},
    ),
    "import what replaces": (
        lambda dry: dry.import_accounts({"acct-1": "1.1.1.1/32", "acct-2": "9.9.9.9/32"}, replace=True),
        {"acct-1": 10, "sub-1": 300, "sub-2": 4000},
    ),
    "import what empties": (lambda dry: dry.import_accounts({"acct-2": []}, replace=True), {}),
    "import what is refused": (
        lambda dry: dry.import_accounts({"acct-2": "10.0.0.0/8", "unknown": "10.0.0.0/8"}, close=True),
        {"unknown": 600_000},
    ),
    "import all or nothing": (
        lambda dry: dry.import_accounts({"acct-2": "10.0.0.0/8", "unknown": "7.7.7.7/32"}, strict=True),
        {},
    ),
    "import an export": (
        lambda dry: dry.import_export(exported(), replace=True),
        {"acct-1": 10, "sub-1": 300, "sub-2": 4000, "unknown": 600_000},
    ),
    "import an export beside others": (lambda dry: dry.import_export(exported()), {}),
}
LISTS = {
    "edit a label": 0,
    "apply": 3,
    "import": 2,
    "import all or nothing": 0,
    "import an export": 3,
    "import an export beside others": 0,
}


def exported() -> list[str]:
    with RuleManager.open("memory://") as other:
        for account, cidr in (("acct-1", "1.1.1.1/32"), ("unknown", "7.7.7.7/32")):
            other.create_account(account)
            other.add(account, cidr)
        other.create_account("sub-3", parent="acct-1")
        return list(other.export())


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_can_be_evaluated(manager: RuleManager, name: str) -> None:
    change, wanted = CHANGES[name]
    evaluation = manager.evaluate(None, change, observations=SEEN)
    assert denied(evaluation) == wanted
    assert evaluation.lists == LISTS.get(name, 1)
    assert manager.history("acct-1", limit=1)[0].action == "add"


def test_what_is_denied_now_would_be_allowed(manager: RuleManager) -> None:
    others = [seen("acct-2", "8.8.4.4", 7), seen("acct-2", "9.9.9.9", 8)]
    added = manager.evaluate("acct-2", lambda dry: dry.add("acct-2", "8.8.4.0/24"), observations=others)
    assert (added.newly_allowed.requests, added.newly_denied.requests, added.still_allowed.requests) == (7, 0, 8)
    paused = manager.evaluate("acct-2", lambda dry: dry.pause("acct-2", for_=60), observations=others)
    assert (paused.newly_allowed.requests, paused.newly_allowed.named[0].network) == (7, "8.8.4.4/32")
    manager.set_mode("acct-2", "report_only", confirmed=["disable_enforcement"])
    resumed = manager.evaluate("acct-2", lambda dry: dry.resume("acct-2"), observations=others)
    assert (resumed.newly_denied.requests, resumed.still_allowed.requests) == (7, 8)


def test_a_part_of_a_network_is_not_guessed(manager: RuleManager) -> None:
    halved = manager.evaluate("sub-2", lambda dry: dry.edit("acct-1", "8.8.8.0/24", "8.8.8.0/25"), observations=SEEN)
    assert (halved.newly_denied.requests, halved.partly_denied.requests, halved.still_allowed.requests) == (0, 4000, 0)
    assert [one.code for one in halved.unknown] == ["truncated"]


def test_accounts_without_a_request_are_not_said_to_be_unaffected(manager: RuleManager) -> None:
    evaluation = manager.evaluate("acct-1", lambda dry: dry.remove("acct-1", "1.1.1.1/32"), observations=[])
    assert [one.code for one in evaluation.unknown] == ["no_traffic"]
    assert evaluation.since is None


def test_a_change_that_allows_the_same_needs_no_traffic(manager: RuleManager) -> None:
    for change in CHANGES["edit a label"][0], lambda dry: dry.set_mode("acct-1", "enforce", closed=True):
        evaluation = manager.evaluate("acct-1", change)
        assert (evaluation.lists, evaluation.unknown, evaluation.newly_denied.requests) == (0, (), 0)


def test_what_cannot_be_evaluated_is_refused(manager: RuleManager) -> None:
    with pytest.raises(NoTrafficError, match="--traffic"):
        manager.evaluate("acct-1", lambda dry: dry.remove("acct-1", "1.1.1.1/32"))
    with pytest.raises(RuleError):
        manager.evaluate("acct-1", lambda dry: dry.add("acct-1", "10.0.0.0/8"), observations=SEEN)
    with pytest.raises(AccountNotFoundError, match="nobody"):
        manager.evaluate("nobody", lambda dry: dry.remove("acct-1", "1.1.1.1/32"), observations=SEEN)
    with pytest.raises(AccountNotFoundError, match="nobody"):
        manager.evaluate(None, lambda dry: dry.delete_account("nobody"), observations=SEEN)
    with pytest.raises(ValueError, match="twice"):
        manager.evaluate(
            "acct-1",
            lambda dry: [dry.remove("acct-1", "1.1.1.1/32"), dry.add("acct-1", "4.4.4.4/32")],
            observations=SEEN,
        )
    for days in (0, -1):
        with pytest.raises(ValueError, match="days"):
            manager.evaluate("acct-1", lambda dry: None, days, observations=SEEN)
    with pytest.raises(TypeError, match="days"):
        manager.evaluate("acct-1", lambda dry: None, 1.5, observations=SEEN)  # type: ignore[arg-type]


def store(manager: RuleManager, *observations: Observation) -> None:
    with manager._store.write() as transaction:
        add_observations(transaction, observations)


def test_the_stored_traffic_is_what_is_evaluated(manager: RuleManager) -> None:
    def remove(dry: RuleManager) -> object:
        return dry.remove("acct-1", "8.8.8.0/24")

    store(manager, *SEEN)
    given = manager.evaluate(None, remove, observations=SEEN)
    stored = manager.evaluate(None, remove)
    assert replace(stored, until=given.until, since=given.since, days=None, unknown=()) == given
    assert [one.code for one in stored.unknown] == ["short_window"]  # nothing is known of the days before
    assert denied(manager.evaluate("sub-1", remove)) == {"sub-1": 300}
    both = {"acct-1": "1.1.1.1/32", "acct-2": "4.4.4.4/32", "new": "7.7.7.7/32"}
    planned = manager.evaluate(None, lambda dry: dry.apply(both, prune=True))
    assert denied(planned) == {"acct-1": 10, "sub-1": 300, "sub-2": 4000, "acct-2": 50_000}
    assert "account 'new'" in next(one.text for one in planned.unknown if one.code == "no_traffic")
    assert manager.evaluate("acct-1", remove, 10**9).newly_denied == given.newly_denied


def test_traffic_of_the_days_that_are_asked_for_counts(manager: RuleManager) -> None:
    def remove(dry: RuleManager) -> object:
        return dry.remove("acct-2", "9.9.9.9/32")

    now = datetime.now(UTC)  # of this day, not of the one on which the tests began
    times = [now - timedelta(days=days) for days in (60, 5, 0)]
    store(
        manager,
        *(replace(seen("acct-2", "9.9.9.9", 10**place), first_seen=at, last_seen=at) for place, at in enumerate(times)),
    )
    confirmed = {
        days: manager.evaluate("acct-2", lambda dry: dry.replace("acct-2", "4.4.4.4/32"), days)
        for days in (1, 6, 61, 99)
    }
    assert {days: one.newly_denied.requests for days, one in confirmed.items()} == {1: 100, 6: 110, 61: 111, 99: 111}
    assert {days: [each.code for each in one.unknown] for days, one in confirmed.items()} == {
        1: [],
        6: [],
        61: ["short_window"],  # of its first day, only a part may have been observed
        99: ["short_window"],
    }
    # When another account was first seen is not told: only the day.
    assert all(one.since is None or one.since.time() == time() for one in confirmed.values())
    assert manager.evaluate("acct-2", remove).newly_allowed.requests == 0
    # Somebody who records traffic knows that nobody called.
    silent = manager.evaluate("acct-1", lambda dry: dry.remove("acct-1", "1.1.1.1/32"))
    assert [one.code for one in silent.unknown] == ["no_traffic"]


def test_requests_that_a_matcher_decided_are_evaluated(tmp_path: Path) -> None:
    pytest.importorskip("datasketches", reason="pip install 'cidrgate[traffic]'")
    for settings, wanted in ((Traffic(), (2, 0)), (Traffic.networks(), (0, 2))):
        with RuleManager.open(tmp_path / f"{settings.ipv4_length}.db", create=True, traffic=settings) as manager:
            manager.create_account("acct-1")
            manager.create_account("sub-1", parent="acct-1")
            manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
            for account, address in (
                ("acct-1", "8.8.8.8"),
                ("sub-1", "8.8.8.9"),
                ("sub-1", "8.8.8.9"),
                ("acct-1", "9.9.9.9"),
            ):
                manager.allows(account, address)
            assert manager._recorder is not None
            manager._recorder.store()
            found = manager.evaluate("acct-1", lambda dry: dry.remove("acct-1", "8.8.8.0/24"))
        total = found.newly_denied
        assert total.requests == 3
        assert (total.addresses, total.networks) == wanted
        assert denied(found) == {"acct-1": 1, "sub-1": 2}


def test_accounts_of_which_not_every_address_is_kept_are_named(manager: RuleManager) -> None:
    def remove(dry: RuleManager) -> object:
        return dry.remove("acct-1", "8.8.8.0/24")

    many = [seen("sub-1", f"8.8.8.{host}", host) for host in (1, 2, 3)]
    many += [seen("sub-2", f"8.8.8.{host}", host) for host in (1, 2)]
    denials = [replace(seen("sub-2", "8.8.4.4", 5), allowed=False), seen("acct-1", "8.8.8.8", 1)]
    old = NOW - timedelta(days=40)
    store(manager, *many, *denials, replace(seen("acct-2", "9.9.9.9", 1), first_seen=old, last_seen=old))
    today, last_month = NOW.date(), old.date()
    with manager._store.write() as transaction:
        mark_incomplete_days(transaction, [("acct-1", last_month), ("acct-2", today)])
    assert manager.evaluate("acct-1", remove).unknown == ()
    with manager._store.write() as transaction:
        mark_incomplete_days(transaction, [("sub-1", today), ("sub-1", today - timedelta(days=1))])
    [unknown] = manager.evaluate("acct-1", remove).unknown
    assert (unknown.code, "of account 'sub-1'," in unknown.text) == ("incomplete", True)


def test_what_is_decided_after_a_pause_or_an_end_is_not_known(manager: RuleManager) -> None:
    confirmed: list[Confirmation] = ["disable_enforcement"]
    manager.create_account("later")
    manager.create_account("below", parent="later")
    manager.create_account("empty")
    manager.create_account("other")
    manager.add("later", "8.8.8.0/24, 9.9.9.0/24")

    def said(change: Callable[[RuleManager], object], account: str | None = "later") -> list[str]:
        return [one.code for one in manager.evaluate(account, change, observations=[]).unknown if one.code == "later"]

    end = datetime.now(UTC) + timedelta(hours=1)
    assert said(lambda dry: dry.edit("later", "9.9.9.0/24", label="office")) == []
    assert said(lambda dry: dry.edit("later", "9.9.9.0/24", expires_at=end)) == ["later"]
    manager.edit("later", "8.8.8.0/24", expires_at=end)
    assert said(lambda dry: dry.edit("later", "8.8.8.0/24", expires_at=None)) == ["later"]
    for mode in ("off", "report_only"):
        manager.set_mode("later", mode, confirmed=confirmed)
        manager.set_mode("empty", mode, confirmed=confirmed)
        assert said(lambda dry: dry.remove("later", "9.9.9.0/24")) == ["later"]
        assert said(lambda dry: dry.remove("later", "9.9.9.0/24"), "below") == ["later"]
        assert said(lambda dry: dry.edit("later", "9.9.9.0/24", enabled=False)) == ["later"]
        assert said(lambda dry: dry.edit("later", "9.9.9.0/24", label="office")) == []
        assert said(lambda dry, mode=mode: dry.set_mode("empty", mode, closed=True), "empty") == ["later"]  # type: ignore[misc]

    def both(dry: RuleManager) -> None:
        dry.remove("later", "9.9.9.0/24")
        dry.add("other", "7.7.7.0/24")

    # Of other lists than that of the account that was asked for, nothing is said.
    assert said(both, "other") == []
    assert said(both, None) == ["later"]


def test_a_deletion_says_what_each_setting_of_gates_would_do(manager: RuleManager) -> None:
    def delete(dry: RuleManager) -> object:
        return dry.delete_account("acct-1", recursive=True)

    found = manager.evaluate(None, delete, observations=[*SEEN, seen("sub-1", "4.4.4.4", 7)])
    assert (found.lists, found.newly_denied.requests, found.newly_allowed.requests) == (1, 0, 0)
    assert (found.denied_if_unlisted.requests, found.denied_if_unlisted.accounts) == (4330, 3)
    assert [(one.account, one.network) for one in found.allowed_if_unlisted.named] == [("sub-1", "4.4.4.4/32")]
    assert [(one.account, one.denied_if_unlisted.requests) for one in found.accounts] == [
        ("sub-2", 4000),
        ("sub-1", 300),
        ("acct-1", 30),
    ]
    [unknown] = found.unknown
    assert (unknown.code, "unlisted" in unknown.text) == ("unlisted", True)
    # An account without a list allows every address until it is deleted.
    manager.remove("acct-2", "9.9.9.9/32", allow_empty=True)
    found = manager.evaluate("acct-2", lambda dry: dry.delete_account("acct-2"), observations=SEEN)
    assert (found.denied_if_unlisted.requests, found.allowed_if_unlisted.requests) == (50_000, 0)


def test_a_subaccount_that_is_deleted_or_moved_does_not_count_for_its_parent(manager: RuleManager) -> None:
    def delete(dry: RuleManager) -> object:
        return [dry.delete_account("sub-1"), dry.remove("acct-1", "8.8.8.0/24")]

    found = manager.evaluate(None, delete, observations=SEEN)
    assert [(one.account, one.requests) for one in found.denied_if_unlisted.named] == [("sub-1", 300)]
    assert [(one.account, one.requests) for one in found.newly_denied.named] == [("sub-2", 4000), ("acct-1", 10)]

    def move(dry: RuleManager) -> object:
        return [dry.edit_account("sub-1", parent="acct-2"), dry.remove("acct-1", "8.8.8.0/24")]

    found = manager.evaluate(None, move, observations=SEEN)
    assert [(one.account, one.requests) for one in found.newly_denied.named] == [
        ("sub-2", 4000),
        ("sub-1", 300),
        ("acct-1", 10),
    ]


def test_a_renaming_counts_the_requests_with_the_old_name(manager: RuleManager) -> None:
    found = manager.evaluate("acct-2", lambda dry: dry.rename_account("acct-2", "new"), observations=SEEN)
    [unknown] = found.unknown
    assert (found.lists, unknown.code, "the old name 'acct-2'" in unknown.text) == (1, "unlisted", True)
    deleted = manager.evaluate("acct-2", lambda dry: dry.delete_account("acct-2"), observations=SEEN)
    for name in ("denied_if_unlisted", "allowed_if_unlisted", "accounts"):
        assert getattr(found, name) == getattr(deleted, name)
    # Subaccounts keep their names and the list.
    found = manager.evaluate("acct-1", lambda dry: dry.rename_account("acct-1", "new"), observations=SEEN)
    assert {one.account for one in found.denied_if_unlisted.named} == {"acct-1"}
    assert (found.newly_denied.requests, found.still_allowed.requests) == (0, 0)
    # Nobody was seen to use the name: then that is said.
    found = manager.evaluate("acct-1", lambda dry: dry.rename_account("acct-1", "new"), observations=[])
    assert [one.code for one in found.unknown] == ["no_traffic", "unlisted"]
    assert "same" not in {one.kind for one in sentences(found)}

    def move_too(dry: RuleManager) -> object:
        return dry.edit_account("acct-2", name="new", parent="acct-1")

    found = manager.evaluate("acct-2", move_too, observations=SEEN)
    assert [(one.account, one.requests) for one in found.denied_if_unlisted.named] == [("acct-2", 50_000)]
    assert found.newly_denied.requests == 0


def new_ones() -> list[Observation]:
    return [seen("new", "9.9.9.9", 5), seen("new", "7.7.7.7", 3)]


CREATIONS: dict[str, Callable[[RuleManager], object]] = {
    "import": lambda dry: dry.import_accounts({"new": ["9.9.9.0/24"]}),
    "import what is refused": lambda dry: dry.import_accounts({"new": ["9.9.9.9/32"], "b": "10.0.0.0/8"}),
    "apply": lambda dry: dry.apply({"new": "9.9.9.0/24"}),
    "import an export": lambda dry: dry.import_export(export_of_new()),
}


def export_of_new() -> list[str]:
    with RuleManager.open("memory://") as other:
        other.create_account("new")
        other.add("new", "9.9.9.0/24")
        return list(other.export())


@pytest.mark.parametrize("name", CREATIONS)
def test_a_creation_says_what_each_setting_of_gates_would_do(manager: RuleManager, name: str) -> None:
    found = manager.evaluate(None, CREATIONS[name], observations=new_ones())
    # Gates that allow unknown accounts allow both addresses now, and gates that deny them neither.
    assert (found.newly_denied.requests, found.still_allowed.requests) == (3, 5)
    assert [(one.account, one.network, one.requests) for one in found.allowed_if_created.named] == [
        ("new", "9.9.9.9/32", 5)
    ]
    assert [(one.account, one.allowed_if_created.requests) for one in found.accounts] == [("new", 5)]
    [unknown] = found.unknown
    assert (unknown.code, "for account 'new' now, before the creation" in unknown.text) == ("unlisted", True)
    said = [one.text for one in sentences(found)]
    assert any(
        one.endswith("5 requests would be allowed that gates deny now if they deny unknown accounts") for one in said
    )


@pytest.mark.parametrize(
    "settings", [{}, {"closed": True}, {"parent": "acct-2"}, {"parent": "paused"}, {"parent": "acct-1"}], ids=str
)
def test_a_new_account_decides_by_its_settings_or_by_the_list_of_its_parent(
    manager: RuleManager, settings: dict[str, Any]
) -> None:
    manager.create_account("paused")
    manager.add("paused", "9.9.9.9/32")
    manager.set_mode("paused", "off", confirmed=["disable_enforcement"])
    everything = list(manager.export())

    def evaluated(account: str | None) -> Evaluation:
        return manager.evaluate(
            account, lambda dry: dry.create_account("new", **settings), observations=[*SEEN, *new_ones()]
        )

    found, of_all = evaluated("new"), evaluated(None)
    assert list(manager.export()) == everything
    manager.create_account("new", **settings)
    allowed = sum(one.requests for one in new_ones() if manager.explain("new", one.network.partition("/")[0]).allowed)
    for one in (found, of_all):
        assert (one.lists, one.newly_denied.requests, one.newly_allowed.requests) == (1, 8 - allowed, 0)
        assert (one.still_allowed.requests, one.allowed_if_created.requests) == (allowed, allowed)
    codes = ["unlisted", "later"] if settings.get("parent") == "paused" else ["unlisted"]
    assert [one.code for one in found.unknown] == codes


def test_a_creation_without_a_list_changes_something_too(manager: RuleManager) -> None:
    found = manager.evaluate(None, lambda dry: dry.apply({"new": []}), observations=new_ones())
    assert (found.lists, found.allowed_if_created.requests, found.newly_denied.requests) == (1, 8, 0)
    assert [one.code for one in found.unknown] == ["unlisted"]
    # An account that exists is not created, whatever its version is.
    manager.create_account("new")
    found = manager.evaluate(None, lambda dry: dry.add("new", "9.9.9.0/24"), observations=new_ones())
    assert (found.allowed_if_created.requests, found.newly_denied.requests, found.unknown) == (0, 3, ())


def of_subaccounts() -> list[Observation]:
    return [seen(name, address, 1) for name in ("new", "sub-3", "sub-new") for address in ("8.8.8.8", "9.9.9.9")]


def export_of_subaccounts() -> list[str]:
    """An export in which a subaccount comes before a parent that the store has with another list."""
    with RuleManager.open("memory://") as other:
        for account in ("acct-1", "new"):
            other.create_account(account)
            other.add(account, "9.9.9.0/24")
        for account, parent in (("sub-1", "acct-1"), ("sub-2", "acct-1"), ("sub-3", "acct-1"), ("sub-new", "new")):
            other.create_account(account, parent=parent)
        head, acct_1, new, sub_1, sub_2, sub_3, sub_new, end = other.export()
        return [head, sub_3, new, sub_new, acct_1, sub_1, sub_2, end]


WITH_SUBACCOUNTS: dict[str, tuple[Callable[[RuleManager], object], set[tuple[str, str]]]] = {
    "apply": (
        lambda dry: dry.apply({"sub-3": DeclaredAccount(parent="acct-1")}),
        {("sub-3", "9.9.9.9/32")},
    ),
    "apply with a changed and a new parent": (
        lambda dry: dry.apply(
            {
                "sub-3": DeclaredAccount(parent="acct-1"),
                "sub-new": DeclaredAccount(parent="new"),
                "new": "9.9.9.0/24",
                "acct-1": "9.9.9.0/24",
            },
            prune=True,
        ),
        {("sub-3", "8.8.8.8/32"), ("sub-new", "8.8.8.8/32"), ("new", "8.8.8.8/32")},
    ),
    "apply with a parent that cannot be changed": (
        lambda dry: dry.apply({"sub-3": DeclaredAccount(parent="acct-1"), "acct-1": "10.0.0.0/8"}, prune=True),
        {("sub-3", "9.9.9.9/32")},
    ),
    "apply what says nothing about the list": (lambda dry: dry.apply({"new": DeclaredAccount()}), set()),
    "import an export": (
        lambda dry: dry.import_export(export_of_subaccounts(), replace=True),
        {("sub-3", "8.8.8.8/32"), ("sub-new", "8.8.8.8/32"), ("new", "8.8.8.8/32")},
    ),
    "import an export beside others": (
        lambda dry: dry.import_export(export_of_subaccounts(), skip_existing=True),
        {("sub-3", "9.9.9.9/32"), ("sub-new", "8.8.8.8/32"), ("new", "8.8.8.8/32")},
    ),
}


@pytest.mark.parametrize("name", WITH_SUBACCOUNTS)
def test_new_subaccounts_inherit_the_list_as_the_change_leaves_it(manager: RuleManager, name: str) -> None:
    change, wanted = WITH_SUBACCOUNTS[name]
    found = manager.evaluate(None, change, observations=of_subaccounts())
    assert {(one.account, one.network) for one in found.newly_denied.named} == wanted
    change(manager.with_hooks(confirmed=tuple(Guard)))
    there = [one for one in of_subaccounts() if one.account in {each.name for each in manager.accounts()}]
    allowed = {(one.account, one.network) for one in there if manager.explain(one.account, one.network[:7]).allowed}
    assert {(one.account, one.network) for one in found.allowed_if_created.named} == allowed


def test_what_is_declared_does_not_move_an_account(manager: RuleManager) -> None:
    for declared in ({"sub-1": DeclaredAccount(parent="acct-2")}, {"acct-2": DeclaredAccount(parent="acct-1")}):
        outcomes: list[ListOutcome] = []
        report = manager.with_hooks(before_store=outcomes.append, dry_run=True).apply(declared)
        assert [*report.problems] == [*declared]
        assert outcomes == []


def test_all_or_nothing_tells_of_nothing_if_one_account_fails(manager: RuleManager) -> None:
    declared: dict[str, Any] = {
        "acct-1": "1.1.1.1/32",
        "acct-2": "10.0.0.0/8",
        "sub-3": DeclaredAccount(parent="acct-1"),
    }
    for strict, lists in ((True, 0), (False, 2)):
        found = manager.evaluate(
            None,
            lambda dry, strict=strict: dry.apply(declared, prune=True, strict=strict),  # type: ignore[misc]
            observations=SEEN,
        )
        assert (found.lists, found.newly_denied.requests) == (lists, 0 if strict else 4310)


def test_a_hook_that_refuses_an_account_refuses_its_new_subaccounts(manager: RuleManager) -> None:
    def refuse(outcome: ListOutcome) -> None:
        if outcome.account.name in ("new", "acct-1"):
            raise SubaccountError("no", account=outcome.account.name)

    declared: dict[str, Any] = {
        "new": "9.9.9.0/24",
        "acct-1": "9.9.9.0/24",
        "sub-new": DeclaredAccount(parent="new"),
        "sub-3": DeclaredAccount(parent="acct-1"),
    }
    told: list[ListOutcome] = []
    for strict in (False, True):
        told.clear()
        dry = manager.with_hooks(before_store=refuse, dry_run=True).with_hooks(before_store=told.append)
        report = dry.apply(declared, strict=strict)
        assert {name: error.code for name, error in report.problems.items()} == {
            "new": "list_inherited",
            "acct-1": "list_inherited",
            "sub-new": "account_not_found",
        }
        assert [one.account for one in report.changes] == ["sub-3"]
        assert [one.account.name for one in told] == ["sub-3"]
    assert {entry.cidr for entry in told[0].after} >= {"8.8.8.0/24"}


def test_many_subaccounts_of_one_parent_share_its_list(manager: RuleManager) -> None:
    changes: list[ChangedList] = []
    dry = manager.with_hooks(before_store=collector(changes), dry_run=True)
    dry.apply({f"new-{number}": DeclaredAccount(parent="acct-1") for number in range(3)})
    assert [one.accounts for one in changes] == [("new-0",), ("new-1",), ("new-2",)]
    assert len({id(one.after) for one in changes}) == 1


def test_changes_that_meet_in_one_list_are_evaluated_together(manager: RuleManager) -> None:
    def change(dry: RuleManager) -> object:
        return [
            dry.create_account("new", parent="acct-2"),
            dry.edit_account("sub-1", parent="acct-2"),
            dry.replace("acct-2", "8.8.8.0/24"),
        ]

    found = manager.evaluate(None, change, observations=[*SEEN, *new_ones()])
    assert denied(found) == {"acct-2": 50_000, "new": 8}
    assert found.still_allowed.requests == 300


def test_requests_with_the_new_name_of_an_account_are_decided_by_its_list(manager: RuleManager) -> None:
    """Gates that allow unknown accounts allow them now, such as those of a client that has a new name already."""
    found = manager.evaluate("acct-2", lambda dry: dry.rename_account("acct-2", "new"), observations=new_ones())
    assert denied(found) == {"new": 3}
    assert [(one.account, one.requests) for one in found.allowed_if_created.named] == [("new", 5)]
    assert "account 'new' now, before the change" in [one.text for one in found.unknown if one.code == "unlisted"][-1]


IN_AN_HOUR, IN_A_DAY = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 24))


@pytest.mark.parametrize(
    ("mode", "change", "later"),
    [
        (("off", None), lambda dry: dry.pause("acct-1", until=IN_AN_HOUR), True),
        (("report_only", None), lambda dry: dry.set_mode("acct-1", "report_only", until=IN_AN_HOUR), True),
        (("off", IN_A_DAY), lambda dry: dry.pause("acct-1", until=IN_AN_HOUR), True),
        (("off", IN_AN_HOUR), lambda dry: dry.pause("acct-1", until=IN_A_DAY), True),
        (("off", IN_AN_HOUR), lambda dry: dry.set_mode("acct-1", "off"), True),
        (("off", IN_AN_HOUR), lambda dry: dry.pause("acct-1", until=IN_AN_HOUR, reason="x"), False),
        (("off", None), lambda dry: dry.set_mode("acct-1", "report_only"), False),
        # The evaluation says what the change does now, and after its end it does nothing.
        (("enforce", None), lambda dry: dry.pause("acct-1", until=IN_AN_HOUR), False),
        (("enforce", None), lambda dry: dry.add("acct-1", "9.9.9.9/32", expires_at=IN_AN_HOUR), False),
        (("enforce", None), lambda dry: dry.add("acct-2", "9.9.9.8/32", expires_at=IN_AN_HOUR), False),
        (("enforce", None), lambda dry: dry.replace("acct-1", halves(IN_AN_HOUR)), True),
        (("enforce", None), lambda dry: dry.replace("acct-1", halves(None)), False),
        # A first list goes on to deny when its entries have expired, and so does that of a new account.
        (("enforce", None), lambda dry: dry.add("empty", "9.9.9.9/32", expires_at=IN_AN_HOUR), True),
        (("enforce", None), lambda dry: dry.apply({"new": [NewEntry("9.9.9.9/32", expires_at=IN_AN_HOUR)]}), True),
        (("off", IN_AN_HOUR), lambda dry: dry.create_account("new", parent="acct-1"), True),
        # Of what both lists allow now, one goes on to allow what the other does not.
        (("off", IN_AN_HOUR), lambda dry: dry.edit_account("sub-1", parent="acct-2"), True),
        (("off", IN_AN_HOUR), lambda dry: dry.edit_account("acct-2", parent="acct-1"), True),
    ],
)
def test_what_the_change_also_alters_later_is_not_known(
    manager: RuleManager, mode: tuple[Any, datetime | None], change: Callable[[RuleManager], object], later: bool
) -> None:
    manager.create_account("empty")
    manager.set_mode("acct-1", mode[0], until=mode[1], confirmed=["disable_enforcement"])
    found = manager.evaluate(None, change, observations=SEEN)
    assert [one.code for one in found.unknown].count("later") == later


def halves(expires_at: datetime | None) -> list[NewEntry]:
    cidrs = ("8.8.8.0/25", "8.8.8.128/25", "1.1.1.1/32")
    return [NewEntry(cidr, expires_at=expires_at) for cidr in cidrs]
