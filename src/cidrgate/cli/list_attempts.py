"""Changes of a list, made or only tried: what every command that changes one list does and answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cidrgate.cli.evaluations import evaluation_lines, refuse_tried
from cidrgate.cli.history import said_of
from cidrgate.cli.output import DRY, Line, Table, value_text
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import access_change
from cidrgate.rules.decisions import list_state
from cidrgate.serialization import list_change_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cidrgate.cli.options import Session
    from cidrgate.cli.past_requests import PastRequests
    from cidrgate.manager import RuleManager
    from cidrgate.manager.evaluations import Foresight
    from cidrgate.manager.previews import AccessChange
    from cidrgate.values import Entry, ListChange, ListState

__all__ = ["ListAttempt", "access_lines", "answer_change", "attempted", "list_warning", "named"]

_MOST_LINES = 100
"""How many entries or networks an answer names; a program gets all of them."""


@dataclass(frozen=True, slots=True)
class ListAttempt:
    """A change of a list that was made or tried.

    Attributes:
        change: What it did, or would do.
        state: What the list is then.
        max_entries: The most entries that the list may have.
        access: Who would lose or gain access; None if the change was made.
        foresight: What would happen to the requests of the past; None if the change was made.
    """

    change: ListChange
    state: ListState
    max_entries: int
    access: AccessChange | None = None
    foresight: Foresight | None = None


def attempted(
    manager: RuleManager,
    make: Callable[[RuleManager], ListChange],
    *,
    dry_run: bool,
    past: PastRequests,
    session: Session,
    empty: bool = False,
    confirm: Iterable[Guard] | None = None,
    without_account: RuleManager | None = None,
) -> ListAttempt:
    """Make a change, or try it.

    Args:
        manager: The lists.
        make: Makes the change with a manager.
        dry_run: Whether to change nothing.
        past: The requests of the past that a dry run evaluates.
        session: The context of the command.
        empty: Whether the list may become empty.
        confirm: The guards that the change may meet.
        without_account: The lists as they are, if `manager` only tries what it would be with an account that does not
            exist.

    Raises:
        CidrgateError: If the change is refused. A dry run is refused for the same reasons.
    """
    outcomes: list[ListOutcome] = []
    if not dry_run:
        change = make(manager.with_hooks(before_store=outcomes.append, confirmed=confirm or ()))
        most = manager.policy_state(change.account).effective.max_entries
        return ListAttempt(change, _state_after(outcomes[-1], datetime.now(UTC)), most)
    change = make(manager.with_hooks(before_store=outcomes.append, dry_run=True))
    if without_account is not None:
        outcomes = [replace(one, created=True) for one in outcomes]
    [outcome] = outcomes
    asked = manager if without_account is None else without_account
    guards = {*(confirm or ()), *([Guard.DISABLE_ENFORCEMENT] if empty else [])}
    refuse_tried(session, asked, past, outcomes, guards)
    most = manager.policy_state(change.account).effective.max_entries
    at, was, now = datetime.now(UTC), outcome.account_before, outcome.account
    access = access_change(outcome.before, outcome.after, at, was=was, now=now)
    return ListAttempt(change, _state_after(outcome, at), most, access, past.foresight(session, asked, [outcome]))


def _state_after(outcome: ListOutcome, at: datetime) -> ListState:
    return list_state(outcome.after, outcome.account, at)


def answer_change(session: Session, attempt: ListAttempt) -> None:
    """Answer with what a change did: the same object for every change."""
    change, access, foresight = attempt.change, attempt.access, attempt.foresight
    state, most = attempt.state, attempt.max_entries
    record = list_change_record(change, state)
    lines: list[str | Line | Table] = [*_limited(list(_described(change, dry_run=access is not None)))]
    if access is None or foresight is None:
        lines += [f"{change.account}: {state.entries} of {most} entries", *list_warning(change.account, state)]
    else:
        record |= {"dry_run": True, **access.record(), **foresight.record()}
        lines += [f"{change.account} would have {state.entries} of {most} entries", *access_lines(access)]
        lines += [*evaluation_lines(foresight), DRY]
    session.output.answer(record, *lines)


def list_warning(account: str, state: ListState) -> list[Line]:
    """Return a warning about a list that denies nobody or everybody; nothing for other lists."""
    if state.mode != "enforce":
        until = "" if state.mode_until is None else f" until {value_text(state.mode_until)} UTC"
        meaning = "is paused" if state.mode == "off" else "only reports"
        return [Line(f"{account} {meaning}{until}: every address is allowed", "yellow")]
    if state.entries:
        return []
    if state.enforced:
        only = "no current entries and is closed" if state.closed else "only expired entries and is still enforced"
        warning = f"{account} has {only}: every address is denied"
    else:
        warning = f"{account} has no entries and is not enforced: every address is allowed"
    return [Line(warning, "yellow")]


def _described(change: ListChange, *, dry_run: bool) -> Iterator[str]:
    """Yield a line for each entry that a change removed, edited or added."""
    removed, edited, added = ("would remove", "would be", "would add") if dry_run else ("removed", "is now", "added")
    before = {entry.id: entry for entry in change.before}
    after = {entry.id for entry in change.after}
    for entry in change.before:
        if entry.id not in after:
            yield f"{removed} {named(entry)}"
    for entry in change.after:
        old = before.get(entry.id)
        yield f"{added} {named(entry)}" if old is None else f"{named(old)} {edited} {named(entry)}"
    for entry in change.existing:
        yield f"allowed already by {named(entry)}"
    if not change.before and not change.after:
        yield "the list is like that already" if not dry_run else "nothing would change: the list is like that already"


def named(entry: Entry) -> str:
    """Return an entry with its id and its details, for people."""
    # An entry that a dry run would add has no id yet.
    said = [*([f"id {entry.id}"] if entry.id > 0 else []), *said_of(entry)]
    return f"{entry.cidr} ({', '.join(said)})" if said else entry.cidr


def access_lines(access: AccessChange) -> Iterator[str]:
    """Yield lines that say who would lose or gain access."""
    if access.begins:
        yield "enforcement would begin: every address outside of the list would lose access"
    if access.ends:
        yield "enforcement would end: every address would gain access"
    for networks, more, what in ((access.lost, access.more_lost, "lose"), (access.gained, access.more_gained, "gain")):
        if networks:
            left = len(networks) - _MOST_LINES + more
            others = f" and {left:,} more networks" if left > 0 else ""
            yield f"would {what} access: {', '.join(networks[:_MOST_LINES])}{others}"


def _limited(lines: list[str]) -> list[str]:
    left = len(lines) - _MOST_LINES
    return lines if left <= 0 else [*lines[:_MOST_LINES], f"and {left:,} more"]
