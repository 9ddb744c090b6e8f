"""PostgreSQL holds the no-overlap rule itself: whoever comes second is told what the validator would have said."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import NewEntry, Policy, RuleError, RuleManager, StoreError
from cidrgate.errors import StoreConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INSERT = """
    INSERT INTO cidrgate.entries (id, account_id, cidr, created_at)
    SELECT 1000000, id, %s, now() FROM cidrgate.accounts WHERE name = 'acct-1'
"""


@pytest.fixture
def manager(postgres_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(postgres_url) as opened:
        opened.create_account("acct-1")
        opened.create_account("acct-2")
        opened.add("acct-1", "1.1.1.1/32")
        yield opened


@contextmanager
def another_program_lists(url: str, cidr: str) -> Iterator[psycopg.Connection]:
    """A network in a transaction of another program that takes no lock and has not committed yet: nobody sees it."""
    with psycopg.connect(url) as other:
        other.execute(INSERT, [cidr])
        yield other


def imported(manager: RuleManager, cidr: str) -> None:
    for problem in manager.import_accounts({"acct-1": [NewEntry(cidr)]}).problems.values():
        raise problem


CHANGES: list[Callable[[RuleManager, str], object]] = [
    lambda manager, cidr: manager.add("acct-1", cidr),
    lambda manager, cidr: manager.edit("acct-1", "1.1.1.1/32", cidr),
    lambda manager, cidr: imported(manager, cidr),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("mine", "theirs", "code"),
    [
        ("8.8.8.0/24", "8.8.0.0/16", "subset_exists"),
        ("2606:4700::/32", "2606:4700:4700::/48", "superset_conflict"),
        ("9.9.9.9/32", "9.9.9.9/32", "duplicate_entry"),
    ],
)
def test_what_only_the_database_sees_is_said_as_the_validator_says_it(
    change: Callable[[RuleManager, str], object],
    mine: str,
    theirs: str,
    code: str,
    postgres_url: str,
    manager: RuleManager,
) -> None:
    refused: list[RuleError] = []

    def change_it() -> None:
        try:
            change(manager, mine)
        except RuleError as error:
            refused.append(error)

    with another_program_lists(postgres_url, theirs) as other:
        changing = threading.Thread(target=change_it)
        changing.start()
        changing.join(0.1)
        assert changing.is_alive()  # the validator passed it; it waits for the other transaction to end
        other.commit()
        changing.join()
    [error] = refused
    assert [(problem.code, problem.position, problem.conflicts) for problem in error.problems] == [(code, 0, (theirs,))]
    with pytest.raises(RuleError) as validated:
        change(manager, mine)
    assert validated.value.problems == error.problems
    assert [entry.cidr for entry in manager.entries("acct-1") if entry.id != 1_000_000] == ["1.1.1.1/32"]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_never_committed_is_in_nobodys_way(
    change: Callable[[RuleManager, str], object], postgres_url: str, manager: RuleManager
) -> None:
    with another_program_lists(postgres_url, "8.8.0.0/16") as other:
        changing = threading.Thread(target=change, args=(manager, "8.8.8.0/24"))
        changing.start()
        changing.join(0.1)
        assert changing.is_alive()
        other.rollback()
        changing.join()
    assert "8.8.8.0/24" in [entry.cidr for entry in manager.entries("acct-1")]


def test_a_whole_list_makes_room_for_what_only_the_database_saw(postgres_url: str, manager: RuleManager) -> None:
    """To replace is to say the whole list: what another program listed meanwhile goes, and the log says so."""
    with another_program_lists(postgres_url, "8.8.0.0/16") as other:
        changing = threading.Thread(target=manager.replace, args=("acct-1", "8.8.8.0/24"))
        changing.start()
        changing.join(0.1)
        other.commit()
        changing.join()
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]
    assert [entry.cidr for entry in manager.history("acct-1")[0].before] == ["1.1.1.1/32", "8.8.0.0/16"]


@pytest.mark.parametrize("cidr", ["1.1.1.1/32", "1.0.0.0/8", "0.0.0.0/0"])
def test_the_database_itself_refuses_networks_that_overlap(cidr: str, postgres_url: str, manager: RuleManager) -> None:
    with psycopg.connect(postgres_url) as other, pytest.raises(psycopg.errors.ExclusionViolation):
        other.execute(INSERT, [cidr])


def test_networks_of_other_accounts_and_the_other_family_are_no_conflict(
    postgres_url: str, manager: RuleManager
) -> None:
    manager.add("acct-2", "1.1.1.0/24")
    with psycopg.connect(postgres_url) as other:
        other.execute(INSERT, ["::/0"])


def test_a_conflict_that_does_not_go_away_is_an_error_that_says_so(
    postgres_url: str, manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validator that is blind for good: the database still refuses, and the change is not tried for ever."""
    monkeypatch.setattr(
        "cidrgate.manager.rule_manager.validate_addition", lambda pieces, *_: [piece.cidr for piece in pieces]
    )
    with pytest.raises(StoreConflictError, match="another writer") as refusal:
        manager.add("acct-1", "1.1.1.0/24")
    assert isinstance(refusal.value, StoreError)
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["1.1.1.1/32"]


def test_writers_on_one_list_wait_for_each_other_to_keep_it_within_its_limit(postgres_url: str) -> None:
    with RuleManager.open(postgres_url, policy=Policy(max_entries=5), follow=False) as manager:
        manager.create_account("full")
        refused: list[str] = []

        def add(number: int) -> None:
            try:
                manager.add("full", f"8.8.{number}.0/24")
            except RuleError as error:
                refused.extend(problem.code for problem in error.problems)

        threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(manager.entries("full")) == 5
        assert refused == ["limit_reached"] * 7
