"""Entries, accounts, changes, decisions and problems as JSON objects, for the command line and for HTTP.

`EntryInfo` declares the JSON object of an entry once. The service describes it in its OpenAPI document, and the client
reads it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from inspect import isfunction, signature
from typing import TYPE_CHECKING, Any

from cidrgate.rules.networks import address_count, prefix_length, subnet_mask
from cidrgate.values import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cidrgate.errors import CidrgateError, Problem
    from cidrgate.foresight.evaluation import Evaluation
    from cidrgate.foresight.recommending import Recommendation
    from cidrgate.foresight.usage import NarrowerNetwork, UnusedEntry
    from cidrgate.rules.policy import PolicyChange, PolicyState
    from cidrgate.values import Account, AccountDeletion, Change, Decision, FoundEntry, ListChange, ListState

__all__ = [
    "EntryInfo",
    "account_record",
    "change_record",
    "data_of_record",
    "decision_record",
    "deletion_record",
    "entry_record",
    "error_data",
    "error_data_record",
    "evaluation_record",
    "found_entry_record",
    "list_change_record",
    "narrower_record",
    "policy_change_record",
    "policy_record",
    "problem_record",
    "recommendation_record",
    "unused_record",
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


def found_entry_record(found: FoundEntry) -> dict[str, Any]:
    """Return the JSON object of an entry that a search found."""
    return {**entry_record(found.entry), "allows": found.allows, "subaccount_count": found.subaccounts}


def recommendation_record(found: Recommendation) -> dict[str, Any]:
    """Return the JSON object of a recommendation; extra IPv6 addresses are digits, because a JSON number is small."""
    return {
        "networks": [asdict(one) for one in found.networks],
        "extra_ipv4": found.extra_ipv4,
        "extra_ipv6": str(found.extra_ipv6),
        "observed": found.observed,
        "observed_networks": found.observed_networks,
        "requests": found.requests,
        "requests_newly_allowed": found.requests_newly_allowed,
        "requests_left_out": found.requests_left_out,
        "left_out": [asdict(one) for one in found.left_out],
        "curve": [
            {"entries": one.entries, "extra_ipv4": one.extra_ipv4, "extra_ipv6": str(one.extra_ipv6)}
            for one in found.curve
        ],
    }


def unused_record(one: UnusedEntry) -> dict[str, Any]:
    """Return the JSON object of an unused entry."""
    return {"id": one.entry.id, "cidr": one.entry.cidr, "last_seen": one.last_seen and utc_text(one.last_seen)}


def narrower_record(one: NarrowerNetwork) -> dict[str, Any]:
    """Return the JSON object of an entry that could be narrower."""
    return {
        "id": one.entry.id,
        "cidr": one.entry.cidr,
        "narrower": one.cidr,
        "fewer_addresses": str(one.fewer),
        "observed": one.observed,
        "requests": one.requests,
    }


def account_record(account: Account, state: ListState) -> dict[str, Any]:
    """Return the JSON object of an account, with the state of its effective list."""
    return {
        "name": account.name,
        "parent": account.parent,
        "display_name": account.display_name,
        "entry_count": state.entries,
        "enforced": state.enforced,
        "version": account.version,
        "created_at": utc_text(account.created_at),
        "mode": state.mode,
        "mode_until": utc_text(state.mode_until),
        "mode_reason": state.mode_reason,
        "closed": state.closed,
    }


def deletion_record(deletion: AccountDeletion) -> dict[str, Any]:
    """Return the JSON object of what the deletion of an account deleted."""
    account = deletion.account
    return {
        "account": account.name,
        "parent": account.parent,
        "display_name": account.display_name,
        "version": account.version,
        "entries": [entry_record(entry) for entry in deletion.entries],
        "subaccounts": list(deletion.subaccounts),
    }


def policy_record(state: PolicyState) -> dict[str, Any]:
    """Return the JSON object of a policy."""
    effective = state.effective.options()
    return {
        "account": state.account,
        "version": state.version,
        "stored": {name: state.stored.get(name) for name in effective},
        "effective": effective,
    }


def policy_change_record(change: PolicyChange) -> dict[str, Any]:
    """Return the JSON object of what a change of the policy did."""
    return {
        **policy_record(change.state),
        "over_limit": list(change.over_limit),
        "special": list(change.special),
        "more_over_limit": change.more_over_limit,
        "more_special": change.more_special,
    }


def list_change_record(change: ListChange, state: ListState) -> dict[str, Any]:
    """Return the JSON object of what a change did to a list, which is in a state after it."""
    return {
        "account": change.account,
        "version": change.version,
        "enforced": state.enforced,
        "entry_count": state.entries,
        "mode": state.mode,
        "before": [entry_record(entry) for entry in change.before],
        "after": [entry_record(entry) for entry in change.after],
        "existing": [entry_record(entry) for entry in change.existing],
    }


_OF_THEIR_OWN = frozenset({"more", "confirm", "way"})
"""What constructors of errors take besides data: records of errors have other members for it."""


def error_data(kind: type[CidrgateError]) -> dict[str, Any]:
    """Return the names of the data that errors of a class carry, with what they are if an error does not know them.

    The data are what the constructors of the class and of its bases take by name.

    Example:
        >>> from cidrgate.errors import StoreError, VersionConflictError
        >>> error_data(VersionConflictError), error_data(StoreError)
        ({'account': None, 'expected': None, 'actual': None}, {'stored': None})
    """
    constructors = [vars(one)["__init__"] for one in reversed(kind.__mro__) if isfunction(vars(one).get("__init__"))]
    taken = [one for made in constructors for one in signature(made).parameters.values()]
    named = [one for one in taken if one.kind is one.KEYWORD_ONLY]
    found = {one.name: None if one.default is one.empty else one.default for one in named}
    return {name: default for name, default in found.items() if name not in _OF_THEIR_OWN}


def error_data_record(error: CidrgateError) -> dict[str, Any]:
    """Return the data of an error as a JSON object: its attributes, without those that it does not know.

    Example:
        >>> from cidrgate.errors import VersionConflictError
        >>> error_data_record(VersionConflictError("it changed", account="a", expected=1))
        {'account': 'a', 'expected': 1}
    """
    found = {name: getattr(error, name, None) for name in error_data(type(error))}
    return {name: _json_of(value) for name, value in found.items() if value is not None}


def _json_of(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()  # it may have no time zone, which may be what is wrong
    if isinstance(value, tuple | frozenset):
        return sorted(value) if isinstance(value, frozenset) else list(value)
    return value


def data_of_record(kind: type[CidrgateError], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of an error of a class from its record, which may lack some or have more.

    Example:
        >>> from cidrgate.errors import EntryNotFoundError
        >>> data_of_record(EntryNotFoundError, {"account": "a", "entries": [7]})
        {'account': 'a', 'entries': (7,)}
    """
    return {
        name: _value_of(name, record[name]) if name in record else default for name, default in error_data(kind).items()
    }


def _value_of(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return datetime.fromisoformat(value) if name.endswith("_at") and isinstance(value, str) else value


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
        "details": change.details,
        "origin": None if change.origin is None else asdict(change.origin),
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
        "mode": decision.mode,
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
        "suggestions": list(problem.suggestions),
    }


def utc_text(time: datetime | None) -> str | None:
    """Return a time as ISO 8601 text, or None for None."""
    return None if time is None else time.isoformat()


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the JSON object of an evaluation: its fields by name, with times as text."""
    record: dict[str, Any] = _with_texts(asdict(evaluation))
    return record


def _with_texts(value: Any) -> Any:
    """Return a value in which times are texts."""
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, dict):
        return {name: _with_texts(one) for name, one in value.items()}
    return [_with_texts(one) for one in value] if isinstance(value, list | tuple) else value
