"""Manages lists in a store: `manage_lists.py DATABASE`."""

import sys
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, ip_network

from cidrgate import (
    Change,
    CidrgateError,
    Decision,
    Entry,
    ListChange,
    NewEntry,
    Problem,
    RuleError,
    RuleManager,
    VersionConflictError,
    WouldDisableEnforcementError,
)


def told(problem: Problem) -> str:
    """A problem in a line."""
    return f"{problem.position}: {problem.code} {problem.text}"


def hand_over(manager: RuleManager, account: str, entry: Entry, label: str, *, version: int) -> ListChange | None:
    """Give an entry a new label, unless somebody else changed the list."""
    try:
        return manager.edit(account, entry, label=label, expect_version=version)
    except VersionConflictError:
        return None


def main(database: str) -> None:
    """Add, edit, explain, replace, restore and remove."""
    with RuleManager.open(database, create=True) as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        change = manager.add(
            "acct-1",
            [
                NewEntry("8.8.8.0/24", label="office"),
                NewEntry("2606:4700::/32", expires_at=datetime.now(UTC) + timedelta(days=30)),
                IPv4Network("1.1.1.0/24"),
            ],
            actor="alice",
        )
        print(change.version, change.enforced, [entry.cidr for entry in change.after])

        try:
            manager.add("acct-1", "8.8.8.8, 8.8.8.0/25, 9.9.9.0/24")
        except RuleError as error:
            print([told(problem) for problem in error.problems])

        office = change.after[0]
        edited = hand_over(manager, "acct-1", office, "head office", version=change.version)
        late = hand_over(manager, "acct-1", office, "nobody's", version=change.version)
        print(edited is not None and [(entry.id == office.id, entry.label) for entry in edited.after], late)

        decision: Decision = manager.explain("sub-1", "9.9.9.9")
        print(bool(decision), decision.reason, manager.allows("sub-1", "8.8.8.8"))

        replaced = manager.replace("acct-1", [ip_network("9.9.9.0/24")])
        print([entry.cidr for entry in replaced.before], [entry.cidr for entry in replaced.entries])
        newest: Change = manager.history("acct-1", limit=2)[0]
        restored = manager.restore("acct-1", to_sequence=manager.history("acct-1")[1].sequence)
        print(newest.action, [(entry.cidr, entry.label) for entry in restored.entries])

        try:
            manager.remove("acct-1", *restored.entries)
        except WouldDisableEnforcementError as error:
            print(error.code, error.account)
        print(manager.remove("acct-1", *restored.entries, allow_empty=True).enforced)

        try:
            manager.entries("nobody")
        except CidrgateError as error:
            print(error.code)


if __name__ == "__main__":
    main(sys.argv[1])
