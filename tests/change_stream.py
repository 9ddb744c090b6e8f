"""A stream of random changes on one store, for processes and threads that compete or are killed.

Networks are drawn from so few that writers collide all the time.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cidrgate import (
    AccountExistsError,
    AccountHasSubaccountsError,
    AccountNotFoundError,
    EntryNotFoundError,
    InvalidExpiryError,
    NewEntry,
    Policy,
    RuleError,
    RuleManager,
    SubaccountError,
)
from cidrgate.rules.decisions import enforced
from cidrgate.values import MODES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.errors import Confirmation

ACCOUNTS = ("acct-1", "acct-2", "acct-3")
NETWORKS = (
    "8.8.0.0/16",
    "8.8.8.0/24",
    "8.8.8.0/25",
    "8.8.8.128/25",
    "8.8.8.8/32",
    "1.1.1.0/24",
    "1.1.1.1/32",
    "9.9.9.9/32",
    "2606:4700::/32",
    "2606:4700:4700::/48",
    "2606:4700:4700::1111/128",
    "2a00::/16",
)
KINDS = ("create", "create subaccount", "add", "add", "add", "edit", "disable", "remove", "replace", "import", "mode")
MAX_ENTRIES = 5


def open_manager(url: str) -> RuleManager:
    """The manager all writers use, on lists short enough to fill up."""
    return RuleManager.open(url, policy=Policy(max_entries=MAX_ENTRIES), create=True)


@contextmanager
def a_held_change(manager: RuleManager, account: str) -> Iterator[None]:
    """A change that has written to the log, and does not end before the block does."""
    entered, leave = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        entered.set()
        leave.wait(60)

    late = threading.Thread(target=lambda: manager._with_transaction_hook(hold).add(account, "8.8.8.0/24"))
    late.start()
    try:
        assert entered.wait(30)
        yield
    finally:
        leave.set()
        late.join(60)


def served(manager: RuleManager) -> dict[str, list[object]]:
    """What the matcher holds of each account: the networks that match, the mode, and whether it denies others."""
    matcher = manager.matcher
    return {name: [matcher.prefixes(name), matcher.mode(name), matcher.enforced(name)] for name in sorted(matcher)}


def is_quiet(manager: RuleManager) -> bool:
    """Whether no mode is going to expire while somebody compares."""
    ends = [account.mode_until for account in manager.accounts()]
    return all(end is None or end <= datetime.now(UTC) for end in ends)


def stored(manager: RuleManager) -> dict[str, list[object]]:
    """What the matcher has to hold, by the store."""
    found: dict[str, list[object]] = {}
    for name in sorted(account.name for account in manager.accounts()):
        owner, entries = manager.listing(name)
        at = datetime.now(UTC)
        matching = [entry.cidr for entry in entries if entry.matches(at)]
        found[name] = [matching, owner.mode_at(at), enforced(entries, owner, at)]
    return found


def change_something(manager: RuleManager, rng: random.Random, actor: str) -> str | None:
    """Try one random change as `actor`.

    Returns:
        The account that changed, of several the last; None when the change was refused or changed nothing.
    """
    account = rng.choice(ACCOUNTS)
    before = manager.history(limit=1)
    try:
        _try_something(manager, rng, account, actor)
    except (RuleError, EntryNotFoundError, AccountExistsError, AccountNotFoundError):
        return None
    except (AccountHasSubaccountsError, SubaccountError):
        return None
    except InvalidExpiryError:  # a busy machine was slower than the end is near
        return None
    last = manager.history(limit=1)
    return last[0].account if last != before else None


def _try_something(manager: RuleManager, rng: random.Random, account: str, actor: str) -> None:
    some = rng.sample(NETWORKS, rng.randint(1, 3))
    match rng.choice(KINDS):
        case "create":
            manager.create_account(account, actor=actor)
        case "create subaccount":
            manager.create_account(f"sub-{rng.randint(1, 400)}", parent=account, actor=actor)
        case "add":
            manager.add(account, some, actor=actor)
        case "edit":
            manager.edit(account, some[0], some[-1], label=rng.choice(("a", "b", None)), actor=actor)
        case "disable":
            manager.edit(account, some[0], enabled=rng.random() < 0.5, actor=actor)
        case "mode":
            mode = rng.choice(MODES)
            soon = datetime.now(UTC) + timedelta(seconds=0.2 + rng.random())
            until = None if mode == "enforce" else rng.choice((None, soon))
            closed = rng.choice((None, False, True))
            manager.set_mode(account, mode, until=until, closed=closed, actor=actor, confirmed=["disable_enforcement"])
        case "remove":
            manager.remove(account, some[0], actor=actor, allow_empty=True)
        case "replace":
            manager.replace(account, some, actor=actor)
        case "import":
            lists = {name: [NewEntry(cidr) for cidr in some] for name in ACCOUNTS}
            manager.import_accounts(lists, replace=rng.random() < 0.5, actor=actor)


def change_accounts(manager: RuleManager, rng: random.Random, actor: str) -> str | None:
    """Try one random change of an account itself, or of a list, as `actor`.

    Returns:
        The account; None when the change was refused.
    """
    account, other = rng.sample(ACCOUNTS, 2)
    confirmed: list[Confirmation] = ["disable_enforcement", "other_list"]
    try:
        match rng.choice(("list", "list", "list", "rename", "delete", "move", "sub", "show")):
            case "list":
                return change_something(manager, rng, actor)
            case "rename":
                manager.rename_account(account, other, actor=actor, confirmed=confirmed)
            case "delete":
                manager.delete_account(account, recursive=True, actor=actor, confirmed=confirmed)
            case "move":
                parent = rng.choice((other, None))
                manager.edit_account(account, parent=parent, actor=actor, confirmed=confirmed)
            case "sub":
                name = f"sub-{rng.randint(1, 20)}"
                manager.edit_account(name, parent=account, actor=actor, confirmed=confirmed)
            case "show":
                manager.edit_account(account, display_name=rng.choice(("A", "B", None)), actor=actor)
    except (AccountExistsError, AccountNotFoundError, AccountHasSubaccountsError, SubaccountError):
        return None
    return account


def run(url: str, name: str, seed: int, count: int | None, acknowledgements: int | None = None) -> None:
    """Make random changes, each under an actor of its own.

    Args:
        url: The store.
        name: What the actors' names begin with.
        seed: Of the changes.
        count: How many to try; None for no end.
        acknowledgements: File descriptor that gets a JSON line for each change that went through.
    """
    rng = random.Random(seed)
    with open_manager(url) as manager:
        done = 0
        while count is None or done < count:
            done += 1
            actor = f"{name}-{done}"
            account = change_something(manager, rng, actor)
            if account is not None and acknowledgements is not None:
                listed = [entry.cidr for entry in manager.entries(account) if entry.account == account]
                os.write(acknowledgements, json.dumps([actor, account, listed]).encode() + b"\n")


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
