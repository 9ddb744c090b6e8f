"""What stops enforcement must be confirmed during a pause too: the pause ends, and the list would be gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.errors import WouldDisableEnforcementError, WouldUseOtherListError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STOPPING: dict[str, Callable[[RuleManager], object]] = {
    "remove": lambda manager: manager.remove("acct-1", "8.8.8.0/24"),
    "replace": lambda manager: manager.replace("acct-1", []),
    "restore": lambda manager: manager.restore("acct-1", to_sequence=1),
    "undo": lambda manager: manager.undo("acct-1", 2),
    "delete": lambda manager: manager.delete_account("acct-1"),
    "rename": lambda manager: manager.rename_account("acct-1", "acct-9"),
    "move to an account without a list": lambda manager: manager.edit_account("acct-1", parent="open"),
    "longer": lambda manager: manager.pause("acct-1", for_=36_000),
    "for ever": lambda manager: manager.set_mode("acct-1", "off"),
    "reported for ever": lambda manager: manager.set_mode("acct-1", "report_only"),
}
HARMLESS: dict[str, Callable[[RuleManager], object]] = {
    "add": lambda manager: manager.add("acct-1", "9.9.9.0/24"),
    "resume": lambda manager: manager.resume("acct-1"),
    "shorter": lambda manager: manager.pause("acct-1", for_=60),
    "replace": lambda manager: manager.replace("acct-1", ["9.9.9.0/24"]),
}


@pytest.fixture(params=["off", "report_only"])
def manager(store_url: str, request: pytest.FixtureRequest) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, follow=False) as opened:
        opened.create_account("acct-1")
        opened.add("acct-1", "8.8.8.0/24")
        opened.create_account("open")
        until = datetime.now(UTC) + timedelta(hours=1)
        opened.set_mode("acct-1", request.param, until=until, confirmed=["disable_enforcement"])
        yield opened


def is_asked(change: Callable[[RuleManager], object], manager: RuleManager) -> bool:
    """Whether a change is refused until somebody confirms that it stops enforcement."""
    try:
        change(manager)
    except WouldDisableEnforcementError:
        return True
    return False


def test_a_list_is_not_lost_during_a_pause(manager: RuleManager) -> None:
    before = manager.account("acct-1"), manager.entries("acct-1")
    for name, change in STOPPING.items():
        assert is_asked(change, manager), name
        assert (manager.account("acct-1"), manager.entries("acct-1")) == before, name


@pytest.mark.parametrize("name", HARMLESS)
def test_what_loses_no_list_needs_no_confirmation(manager: RuleManager, name: str) -> None:
    HARMLESS[name](manager)


def test_another_list_is_asked_about_although_both_are_paused(manager: RuleManager) -> None:
    manager.add("open", "1.1.1.0/24")
    manager.set_mode("open", "off", confirmed=["disable_enforcement"])
    with pytest.raises((WouldUseOtherListError, WouldDisableEnforcementError)):
        manager.edit_account("acct-1", parent="open")


def test_a_closed_account_stays_closed_during_a_pause(manager: RuleManager) -> None:
    manager.set_mode("open", "enforce", closed=True)
    manager.pause("open", for_=3_600, confirmed=["disable_enforcement"])
    with pytest.raises(WouldDisableEnforcementError):
        manager.set_mode("open", "off", until=datetime.now(UTC) + timedelta(minutes=1), closed=False)
