"""Accounts, addresses and networks of subclasses of `str` are their texts for a manager and a gate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import EntryEdit, NewEntry, Observation, Origin, RuleManager
from cidrgate.gate import Gate
from tests.texts import EVERY, HONEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.errors import Confirmation

    Make = Callable[[str], str]

AT = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(hours=1)
CONFIRMED: set[Confirmation] = {"disable_enforcement", "other_list"}

# One after another, on one store.
CALLS: list[Callable[[RuleManager, Make], Any]] = [
    lambda manager, make: manager.create_account(make("a")),
    lambda manager, make: manager.create_account(make("sub"), parent=make("a")),
    lambda manager, make: manager.add(make("a"), make("8.8.8.0/24, 9.9.9.9/32")),
    lambda manager, make: manager.add(make("a"), [make("1.1.1.0/24"), NewEntry(make("2620:fe::/48"))]),
    lambda manager, make: [manager.allows(make("a"), make(address)) for address in ("8.8.8.8", "7.7.7.7")],
    lambda manager, make: [manager.checker()(make("sub"), make(address)) for address in ("8.8.8.8", "7.7.7.7")],
    lambda manager, make: [manager.explain(make("a"), make(address)) for address in ("8.8.8.8", "7.7.7.7", "x")],
    lambda manager, make: (manager.account(make("sub")), manager.entries(make("sub")), manager.listing(make("a"))),
    lambda manager, make: manager.accounts(after=make("a"), parent=make("a"), starting_with=make("s")),
    lambda manager, make: (manager.counts([make("a")]), manager.list_states([make("a"), make("sub")])),
    lambda manager, make: [manager.find(make("8.8.8.8")), manager.find(overlaps=make("8.0.0.0/8"))],
    lambda manager, make: manager.edit(make("a"), make("8.8.8.0/24"), make("8.8.4.0/24")).entry(make("8.8.4.0/24")),
    lambda manager, make: manager.edit(make("a"), make("8.8.4.0/24"), EntryEdit(cidr=make("8.8.8.0/24"))),
    lambda manager, make: manager.remove(make("a"), make("9.9.9.9/32")),
    lambda manager, make: manager.replace(make("a"), [make("8.8.8.0/24")]),
    lambda manager, make: manager.note_match(make("a"), make("8.8.8.8")),
    lambda manager, make: (manager.last_matches(make("a")), manager.traffic(make("a"))),
    lambda manager, make: (manager.set_policy(make("a"), max_entries=40), manager.policy_state(make("a"))),
    lambda manager, make: manager.pause(make("a"), until=LATER, reason="a test", confirmed=CONFIRMED),
    lambda manager, make: (manager.resume(make("a")), manager.set_mode(make("a"), "enforce")),
    lambda manager, make: manager.plan({make("a"): [make("8.8.8.0/25")]}, expect_versions={make("a"): 9}),
    lambda manager, make: manager.apply(
        {make("a"): make("8.8.8.0/25"), make("new"): [make("9.9.9.0/24")]}, create=True
    ),
    lambda manager, make: manager.import_accounts([(make("a"), make("8.8.8.0/24"))], replace=True),
    lambda manager, make: manager.evaluate(
        make("a"), lambda asked: asked.replace(make("a"), make("8.8.8.0/25")), observations=[observed(make)]
    ),
    lambda manager, make: manager.with_origin(Origin(kind="cli", address=make("8.8.8.8"))).add(
        make("new"), make("1.1.1.0/24")
    ),
    lambda manager, make: manager.with_hooks(address=make("8.8.8.8")).replace(make("a"), make("8.8.8.8/32")),
    lambda manager, make: manager.edit_account(make("sub"), parent=make("new"), confirmed=CONFIRMED),
    lambda manager, make: manager.rename_account(make("new"), make("other"), confirmed=CONFIRMED),
    lambda manager, make: [change.action for change in manager.history(make("other"))],
    lambda manager, make: manager.undo(make("a"), manager.history("a")[0].sequence),
    lambda manager, make: manager.erase(timedelta(0), account=make("a")),
    lambda manager, make: manager.delete_account(make("other"), recursive=True, confirmed=CONFIRMED).account.name,
    lambda manager, make: [(account.name, manager.entries(account.name)) for account in manager.accounts()],
    lambda manager, make: [(type(name), name, manager.matcher.prefixes(name)) for name in manager.matcher],
]


def observed(make: Make) -> Observation:
    return Observation(
        account=make("a"), network=make("8.8.8.0/24"), allowed=True, requests=3, first_seen=AT, last_seen=AT
    )


@pytest.fixture
def managers() -> Iterator[tuple[RuleManager, RuleManager]]:
    with RuleManager.open("memory://") as one, RuleManager.open("memory://") as other:
        yield one, other


def without_times(value: Any) -> Any:
    """Return a result as text without what differs between two stores: times, and how the texts print."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Exception):
        return str(value)
    if isinstance(value, datetime):
        return "a time"
    if isinstance(value, dict):
        return {without_times(key): without_times(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [without_times(one) for one in value]
    fields = getattr(type(value), "__dataclass_fields__", None)
    return value if fields is None else {name: without_times(getattr(value, name)) for name in fields}


@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST)
def test_a_manager_reads_the_text(managers: tuple[RuleManager, RuleManager], make: Make) -> None:
    of_text, of_subclass = managers
    for place, call in enumerate(CALLS):
        wanted, found = call(of_text, str), call(of_subclass, make)
        assert without_times(found) == without_times(wanted), place


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_decision_reads_the_text(managers: tuple[RuleManager, RuleManager], make: Make) -> None:
    manager, _ = managers
    manager.create_account("a")
    manager.create_account("sub", parent="a")
    manager.add("a", "8.8.8.0/24")
    gate = Gate(manager, unlisted="deny_unknown")
    for account in ("a", "sub", "unknown"):
        for address in ("8.8.8.8", "9.9.9.9"):
            assert manager.allows(make(account), make(address)) is manager.allows(account, address)
            assert manager.checker()(make(account), make(address)) is manager.allows(account, address)
            assert manager.explain(make(account), make(address)) == manager.explain(account, address)
            for decide in (gate.decide, gate.allowed_verdict):
                wanted, found = decide(account, address, []), decide(make(account), address, [])
                assert (found.result, found.reason, found.matched_cidr) == (
                    *(wanted.result, wanted.reason, wanted.matched_cidr),
                )
                assert [(type(name), name) for name in (found.account, found.list_account)] == [
                    (type(name), name) for name in (wanted.account, wanted.list_account)
                ]
