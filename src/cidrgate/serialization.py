"""Entries, accounts, changes, decisions and problems as JSON objects, for the command line and for HTTP.

`EntryInfo` declares the JSON object of an entry once. The service describes it in its OpenAPI document, and the client
reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cidrgate.rules.networks import address_count, prefix_length, subnet_mask
from cidrgate.values import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.errors import Problem
    from cidrgate.values import Account, Change, Decision, ListChange, ListState

__all__ = [
    "EntryInfo",
    "account_record",
    "change_record",
    "decision_record",
    "entry_record",
    "list_change_record",
    "problem_record",
    "utc_text",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryInfo(Entry):
    """One entry of a list as a JSON object: the fields of `Entry`, and fields computed from them.

    The metadata contain what the OpenAPI document says of the fields. `_WORKED_OUT` computes the fields that `Entry`
    does not have.
    """

    prefix_length: int = field(metadata={"meaning": "The number of leading bits that addresses must share."})
    subnet_mask: str = field(metadata={"meaning": "Dotted for IPv4; the length after a slash for IPv6."})
    address_count: str = field(
        metadata={
            "meaning": "The number of addresses in the network, in decimal digits; up to 2^128, which is more than "
            "numbers in JSON can hold.",
            "pattern": "^[1-9][0-9]*$",
        }
    )
    expired: bool = field(metadata={"meaning": "Whether it has expired, so that it matches nothing."})
    last_matched_at: datetime | None = field(
        metadata={
            "meaning": "When the entry last matched a request; up to an hour too early. Only responses with lists "
            "and single entries contain it, if gates record matches; otherwise it is null."
        }
    )


_WORKED_OUT: dict[str, Callable[[Entry], object]] = {
    "prefix_length": lambda entry: prefix_length(entry.cidr),
    "subnet_mask": lambda entry: subnet_mask(entry.cidr),
    "address_count": lambda entry: str(address_count(entry.cidr)),
    "expired": lambda entry: entry.is_expired(),
}
_ENTRY_FIELDS = tuple(one.name for one in fields(EntryInfo) if one.name != "last_matched_at")


def entry_record(entry: Entry, last_matched_at: datetime | None = None) -> dict[str, Any]:
    """Return the JSON object of an entry.

    Args:
        entry: The entry.
        last_matched_at: When it last matched a request; None if that is not known.
    """
    record: dict[str, Any] = {}
    for name in _ENTRY_FIELDS:
        value = _WORKED_OUT[name](entry) if name in _WORKED_OUT else getattr(entry, name)
        record[name] = utc_text(value) if isinstance(value, datetime) else value
    record["last_matched_at"] = utc_text(last_matched_at)
    return record


def account_record(account: Account, state: ListState) -> dict[str, Any]:
    """Return the JSON object of an account, with the state of its effective list."""
    return {
        "name": account.name,
        "parent": account.parent,
        "entry_count": state.entries,
        "enforced": state.enforced,
        "version": account.version,
        "created_at": utc_text(account.created_at),
    }


def list_change_record(change: ListChange, state: ListState) -> dict[str, Any]:
    """Return the JSON object of what a change did to a list, which is in a state after it."""
    return {
        "account": change.account,
        "version": change.version,
        "enforced": state.enforced,
        "entry_count": state.entries,
        "before": [entry_record(entry) for entry in change.before],
        "after": [entry_record(entry) for entry in change.after],
    }


def change_record(change: Change) -> dict[str, Any]:
    """Return the JSON object of a row of the change log."""
    return {
        "sequence": change.sequence,
        "at": utc_text(change.at),
        "actor": change.actor,
        "account": change.account,
        "action": change.action,
        "before": [entry_record(entry) for entry in change.before],
        "after": [entry_record(entry) for entry in change.after],
    }


def decision_record(asked: str, address: str, decision: Decision) -> dict[str, Any]:
    """Return the JSON object of a decision: `account` was asked about, and the list of `list_account` decided."""
    return {
        "account": asked,
        "address": address,
        "allowed": decision.allowed,
        "reason": decision.reason,
        "list_account": decision.account,
        "entry": None if decision.entry is None else entry_record(decision.entry),
        "nearest": None if decision.nearest is None else entry_record(decision.nearest),
    }


def problem_record(problem: Problem) -> dict[str, Any]:
    """Return the JSON object of a problem; `position` counts the submitted entries from 0."""
    return {
        "code": problem.code,
        "detail": str(problem).removeprefix(f"{problem.code}: "),
        "text": problem.text,
        "position": problem.position,
        "conflicts": list(problem.conflicts),
        "hint": problem.hint,
        "more_conflicts": problem.more_conflicts,
    }


def utc_text(time: datetime | None) -> str | None:
    """Return a time as ISO 8601 text, or None for None."""
    return None if time is None else time.isoformat()
