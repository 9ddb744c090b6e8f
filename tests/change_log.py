"""Replaying a change log: an independent account of what the lists must be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from cidrgate.rules.decisions import enforced
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cidrgate import Account, Change, Entry, RuleManager


DEFAULTS: dict[str, Any] = {"mode": "enforce", "mode_until": None, "mode_reason": None, "closed": False}
"""What an account is set to before anybody sets it."""


ABOUT_ACCOUNTS = frozenset({"delete_account", "edit_account", "move_account", "set_policy"})
"""Actions of rows that need not change a list."""


class Replay:
    """Lists rebuilt from the rows of a change log; every row must fit the lists the rows before it made."""

    def __init__(self, max_entries: int = 50) -> None:
        self.max_entries = max_entries
        self.sequence = 0
        self.accounts: set[str] = set()
        self.lists: dict[str, dict[int, Entry]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.left_behind: dict[tuple[str, str], set[str]] = {}

    def set(self, account: str, change: Change) -> None:
        """Apply what a row says of the mode of an account."""
        details = change.details or {}
        before, after = (
            {name: value for name, value in (details.get(when) or {}).items() if name in DEFAULTS}
            for when in ("before", "after")
        )
        if change.action == "delete_account":
            self.settings.pop(account, None)
        elif after:
            settings = self.settings.setdefault(account, dict(DEFAULTS))
            assert before.items() <= settings.items()
            settings |= after

    def feed(self, changes: Iterable[Change]) -> None:
        """Apply rows in order; the list an actor's row left behind is kept in `left_behind`."""
        for change in changes:
            assert change.sequence > self.sequence
            self.sequence = change.sequence
            assert change.at.utcoffset() is not None
            if change.account is None:  # an event of the store, such as a sign-in
                assert change.before == change.after == ()
                continue
            if change.action == "create_account":
                assert change.account not in self.accounts
                self.accounts.add(change.account)
            elif change.action == "rename_account":
                self.rename(change.account, change)
            elif change.action not in ABOUT_ACCOUNTS:
                assert change.before or change.after or change.details
            assert change.account in self.accounts or change.action == "rename_account"
            self.set(change.account, change)
            listed = self.lists.setdefault(change.account, {})
            for entry in change.before:
                assert listed.pop(entry.id) == entry
            for entry in change.after:
                assert entry.id not in listed
                assert entry.account == change.account
                listed[entry.id] = entry
            assert_valid((entry.cidr for entry in listed.values()), self.max_entries)
            if change.action == "delete_account":
                assert not self.lists.pop(change.account)
                self.accounts.remove(change.account)
            if change.actor is not None:
                self.left_behind[change.actor, change.account] = {entry.cidr for entry in listed.values()}

    def rename(self, account: str, change: Change) -> None:
        """Apply a row of a name that an account leaves, or of the one that it gets."""
        assert change.details is not None
        before, after = change.details["before"], change.details["after"]
        if before.get("name") == account:
            self.accounts.remove(account)
            assert not self.lists.get(after["name"])
            left = self.lists.pop(account, {})
            if account in self.settings:
                self.settings[after["name"]] = self.settings.pop(account)
            self.lists[after["name"]] = {key: replace(entry, account=after["name"]) for key, entry in left.items()}
        elif after.get("name") == account:
            assert account not in self.accounts
            self.accounts.add(account)
        else:
            assert before["parent"] != after["parent"]


def assert_valid(cidrs: Iterable[str], max_entries: int) -> None:
    """A list is valid when it is short enough and no two of its networks overlap."""
    networks = [ip_network(cidr) for cidr in cidrs]
    assert len(networks) <= max_entries
    for one, other in combinations(networks, 2):
        assert not (one.version == other.version and one.overlaps(other))


def _expires_soon(account: Account) -> bool:
    """Whether the mode of an account expires while somebody compares."""
    now = datetime.now(UTC)
    return account.mode_until is not None and now < account.mode_until < now + timedelta(seconds=10)


def _is_served(manager: RuleManager, account: Account) -> bool:
    """Whether the matcher has the mode that counts now."""
    return manager.matcher.mode(account.name) == manager.listing(account.name)[0].mode_at()


def assert_consistent(manager: RuleManager, replay: Replay) -> None:
    """Store, log and matcher agree, and the lists are valid. Feeds the rows of the log that it has not seen yet."""
    eventually(lambda: not any(map(_expires_soon, manager.accounts())))
    eventually(lambda: all(map(partial(_is_served, manager), manager.accounts())))
    replay.feed(reversed(manager.history(after=replay.sequence)))
    accounts = manager.accounts()
    assert {account.name for account in accounts} == replay.accounts
    for account in accounts:
        decider, entries = manager.listing(account.name)
        owner = account.parent or account.name
        until = None if account.mode_until is None else account.mode_until.isoformat()
        settings = {"mode": account.mode, "mode_until": until, "mode_reason": account.mode_reason}
        assert settings | {"closed": account.closed} == replay.settings.get(account.name, DEFAULTS)
        assert {entry.id: entry for entry in entries} == replay.lists.get(owner, {})
        matching = [entry.cidr for entry in entries if entry.matches(datetime.now(UTC))]
        assert manager.matcher.prefixes(account.name) == matching
        assert manager.matcher.mode(account.name) == decider.mode_at()
        assert manager.matcher.enforced(account.name) == enforced(entries, decider, datetime.now(UTC))
        assert account.name in manager.matcher
    assert len(manager.matcher) == len(accounts)
