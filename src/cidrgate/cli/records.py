"""What `--json` answers with: entries, accounts, changes, decisions and errors as JSON objects."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import BadRowsError
from cidrgate.errors import CidrgateError, Problem, RuleError
from cidrgate.networks import address_count, prefix_length, subnet_mask

if TYPE_CHECKING:
    from cidrgate.values import Account, Change, Decision, Entry

__all__ = [
    "account_record",
    "change_record",
    "decision_record",
    "entry_record",
    "error_code",
    "error_record",
    "problem_record",
]


def entry_record(entry: Entry) -> dict[str, Any]:
    """An entry, with what its network means."""
    return {
        "id": entry.id,
        "account": entry.account,
        "cidr": entry.cidr,
        "prefix_length": prefix_length(entry.cidr),
        "subnet_mask": subnet_mask(entry.cidr),
        "addresses": address_count(entry.cidr),
        "label": entry.label,
        "created_at": _time(entry.created_at),
        "created_by": entry.created_by,
        "expires_at": _time(entry.expires_at),
        "expired": entry.expired(datetime.now(UTC)),
    }


def account_record(account: Account, entries: int) -> dict[str, Any]:
    """An account and how many entries the list that counts for it holds."""
    return {
        "name": account.name,
        "parent": account.parent,
        "entries": entries,
        "version": account.version,
        "created_at": _time(account.created_at),
    }


def change_record(change: Change) -> dict[str, Any]:
    """A row of the change log."""
    return {
        "sequence": change.sequence,
        "at": _time(change.at),
        "actor": change.actor,
        "account": change.account,
        "action": change.action,
        "before": [entry_record(entry) for entry in change.before],
        "after": [entry_record(entry) for entry in change.after],
    }


def decision_record(asked: str, address: str, decision: Decision) -> dict[str, Any]:
    """A decision, and what was asked: `account` is the one asked about, `decided_by` the one whose list decided."""
    return {
        "account": asked,
        "address": address,
        "allowed": decision.allowed,
        "reason": decision.reason,
        "decided_by": decision.account,
        "entry": None if decision.entry is None else entry_record(decision.entry),
        "nearest": None if decision.nearest is None else entry_record(decision.nearest),
    }


def error_record(error: CidrgateError) -> dict[str, Any]:
    """An error; `problems` holds the broken rules or the bad rows, if it is about these."""
    problems: list[dict[str, Any]] = []
    if isinstance(error, RuleError):
        problems = [problem_record(problem) for problem in error.problems]
    elif isinstance(error, BadRowsError):
        problems = [problem.record() for problem in error.problems]
    return {
        "code": error_code(error),
        "message": str(error),
        "problems": problems,
    }


def error_code(error: CidrgateError) -> str:
    """The name of a kind of error for machines.

    Example:
        >>> from cidrgate.errors import AccountNotFoundError
        >>> error_code(AccountNotFoundError("there is no such account"))
        'account_not_found'
    """
    words = re.findall(r"[A-Z][a-z]+", type(error).__name__)
    return "_".join(word.lower() for word in words if word != "Error")


def problem_record(problem: Problem) -> dict[str, Any]:
    """One broken rule; `position` counts the pieces of the submission from 0."""
    return {
        "code": problem.code,
        "text": problem.text,
        "position": problem.position,
        "conflicts": list(problem.conflicts),
        "hint": problem.hint,
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
