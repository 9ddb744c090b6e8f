"""Questions about the past that take long: few at a time, and nobody else waits for them."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cidrgate import NewEntry, RuleManager, StoreBusyError
from cidrgate.manager import rule_manager
from cidrgate.manager.evaluations import changed_lists
from cidrgate.manager.turns import Turns
from cidrgate.service.console.changing import Agreement, NeedsConfirmationError, make_asked_change
from cidrgate.service.console.formatting import DENY_TRAFFIC
from tests.observed import store_observed
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.manager.outcomes import ListOutcome


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True, follow=False) as manager:
        for account in ("acct-1", "acct-2"):
            manager.create_account(account)
            manager.add(account, [NewEntry("8.8.8.0/24")])
            store_observed(manager, (account, "8.8.8.8/32", 3))
        yield manager


@contextmanager
def taken(turns: Turns, count: int) -> Iterator[None]:
    """Other threads that keep turns."""
    end, begun = threading.Event(), []

    def keep() -> None:
        with turns.turn():
            begun.append(True)
            end.wait(60)

    threads = [threading.Thread(target=keep) for _ in range(count)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(begun) == count)
    yield
    end.set()
    for thread in threads:
        thread.join()


def test_a_recommendation_waits_for_few_others_only(manager: RuleManager) -> None:
    with taken(manager._recommending, rule_manager._RECOMMENDING):
        with pytest.raises(StoreBusyError, match="ask again"):
            manager.recommend("acct-1")
        assert [entry.cidr for entry in manager.entries("acct-2")] == ["8.8.8.0/24"]
    assert manager.recommend("acct-1").recommendation.networks


def test_a_dry_run_is_answered_without_its_past(manager: RuleManager) -> None:
    seen: list[ListOutcome] = []
    manager.with_hooks(before_store=seen.append, dry_run=True).remove("acct-1", "8.8.8.0/24", allow_empty=True)
    with taken(manager._evaluating, rule_manager._EVALUATING):
        busy = manager._foresight(changed_lists(seen))
    assert busy.evaluation is None
    assert "ask again" in str(busy.missing)
    assert manager._foresight(changed_lists(seen)).evaluation is not None


def test_a_person_is_asked_only_when_it_is_known_who_would_be_denied(manager: RuleManager) -> None:
    def change(manager: RuleManager) -> None:
        manager.remove("acct-1", "8.8.8.0/24")

    manager.add("acct-1", [NewEntry("9.9.9.9/32")])
    unconfirmed = Agreement("list/remove", {})
    with taken(manager._evaluating, rule_manager._EVALUATING), pytest.raises(StoreBusyError, match="was changed"):
        make_asked_change(manager, change, None, unconfirmed)
    with pytest.raises(NeedsConfirmationError) as asked:
        make_asked_change(manager, change, None, unconfirmed)
    assert asked.value.preview is not None
    confirmed = replace(
        unconfirmed, confirmed=(DENY_TRAFFIC,), shown_for=unconfirmed.proof(asked.value.preview.outcome)
    )
    with taken(manager._evaluating, rule_manager._EVALUATING):
        make_asked_change(manager, change, None, confirmed)
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["9.9.9.9/32"]


def test_an_error_gives_the_turn_back(manager: RuleManager) -> None:
    for _ in range(rule_manager._RECOMMENDING + 1):
        with pytest.raises(LookupError):
            manager.recommend("nobody")
    assert manager.recommend("acct-1").recommendation.networks


def test_turns_of_a_parent_are_none_of_its_child() -> None:
    turns = Turns(1)
    with taken(turns, 1):
        child = os.fork()
        if child == 0:
            try:
                with turns.turn():
                    os._exit(0)
            except StoreBusyError:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
