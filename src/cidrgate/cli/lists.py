"""Commands that show and change one account's list: `list`, `add`, `edit`, `remove`, `replace`, `restore`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from cidrgate.cli.arguments import (
    AccountName,
    Cidrs,
    Empty,
    EntryName,
    EntryNames,
    Version,
    entry_key,
)
from cidrgate.cli.details import DETAIL_OPTIONS, takes_details
from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import read_text
from cidrgate.cli.history import said_of
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, Table, value_text
from cidrgate.errors import AccountExistsError, AccountNotFoundError
from cidrgate.manager import RuleManager
from cidrgate.rules import split_submission, validate_addition
from cidrgate.rules.decisions import list_state
from cidrgate.rules.networks import addresses_covered, prefix_length, subnet_mask
from cidrgate.serialization import entry_record
from cidrgate.values import DETAILS, Detail, Entry, EntryDetails, EntryEdit, ListState

__all__ = ["app"]

app = typer.Typer()


@command(app, "list")
def _list(session: Session, account: AccountName) -> None:
    """Show the list that counts for an account."""
    with session.open() as manager:
        asked = manager.account(account)
        decider, entries = manager.listing(account)
        matched = manager.last_matches(account)
    most = session.policy.max_entries
    state = list_state(entries, datetime.now(UTC))
    owner = account if asked.parent is None else asked.parent
    inherited = "" if asked.parent is None else f", inherited from {asked.parent}"
    session.output.answer(
        {
            "account": account,
            "parent": asked.parent,
            "enforced": state.enforced,
            "max_entries": most,
            "version": decider.version,
            "entries": [entry_record(entry, matched.get(entry.id)) for entry in entries],
        },
        *([_table(entries, matched)] if entries else []),
        f"{account}: {state.entries} of {most} entries{inherited}",
        *_warning(owner, state),
    )


@command(app, "add")
@takes_details()
def _add(
    session: Session,
    account: AccountName,
    cidrs: Cidrs,
    *,
    details: EntryDetails,
    expect_version: Version = None,
    create: Annotated[bool, typer.Option("--create", help="Create the account if it does not exist.")] = False,
) -> None:
    """Add networks to a list: all of them, or none if one breaks a rule."""
    with session.open(create=create) as manager:
        if create:
            _create_for(manager, account, cidrs, session)
        change = manager.add(
            account,
            cidrs,
            actor=session.actor,
            expect_version=expect_version,
            **details,
        )
        held = manager.list_states([account])[account].entries
    session.output.answer(
        {"account": account, "added": [entry_record(entry) for entry in change.after]},
        *(f"added {_named(entry)}" for entry in change.after),
        f"{account}: {held} of {session.policy.max_entries} entries",
    )


@command(app, "edit")
@takes_details(edits=True)
def _edit(
    session: Session,
    account: AccountName,
    entry: EntryName,
    cidr: Annotated[str | None, typer.Argument(metavar="[NEW]", help="The new network.")] = None,
    *,
    details: EntryDetails,
    expect_version: Version = None,
) -> None:
    """Change the network or the details of an entry; its id stays the same."""
    edit = EntryEdit(... if cidr is None else cidr, **details)
    if not edit.changes():
        flags = [option.flags[0] for option in DETAIL_OPTIONS.values()]
        raise CommandError(f"nothing to change: give the new network, {' or '.join(flags)}")
    with session.open() as manager:
        change = manager.edit(
            account,
            entry_key(entry),
            edit,
            actor=session.actor,
            expect_version=expect_version,
        )
    edited = change.entry(entry_key(entry))
    session.output.answer(
        {"account": account, "entry": entry_record(edited)},
        f"{entry} of {account} is now {_named(edited)}",
    )


@command(app, "remove")
def _remove(
    session: Session,
    account: AccountName,
    entries: EntryNames,
    *,
    expect_version: Version = None,
    empty: Empty = False,
) -> None:
    """Remove entries: all of them, or none if one is not in the list."""
    with session.open() as manager:
        change = manager.remove(
            account,
            *map(entry_key, entries),
            actor=session.actor,
            expect_version=expect_version,
            allow_empty=empty,
        )
        state = manager.list_states([account])[account]
    session.output.answer(
        {"account": account, "enforced": state.enforced, "removed": [entry_record(entry) for entry in change.before]},
        *(f"removed {_named(entry)}" for entry in change.before),
        f"{account}: {state.entries} of {session.policy.max_entries} entries",
        *_warning(account, state),
    )


@command(app, "replace")
@takes_details()
def _replace(
    session: Session,
    account: AccountName,
    cidrs: Annotated[list[str] | None, typer.Argument(metavar="[CIDRS...]", help="The whole list.")] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A file with the whole list; - for stdin.")] = None,
    details: EntryDetails,
    expect_version: Version = None,
    empty: Empty = False,
) -> None:
    """Replace the whole list in one change; entries that stay keep their id and label."""
    if cidrs and file:
        raise CommandError("give the networks or a --file that contains them, not both")
    pieces = split_submission(read_text(file) if file else cidrs or [])
    with session.open() as manager:
        change = manager.replace(
            account,
            pieces,
            actor=session.actor,
            expect_version=expect_version,
            allow_empty=empty,
            **details,
        )
    _answer_list(session, account, change.entries)


@command(app, "restore")
def _restore(
    session: Session,
    account: AccountName,
    *,
    at: Annotated[int, typer.Option("--at", metavar="SEQUENCE", help="The change whose list to restore.")],
    expect_version: Version = None,
    empty: Empty = False,
) -> None:
    """Restore the list as it was after a change (see `cidrgate history`), checked by the current rules."""
    with session.open() as manager:
        change = manager.restore(
            account, to_sequence=at, actor=session.actor, expect_version=expect_version, allow_empty=empty
        )
    _answer_list(session, account, change.entries)


def _answer_list(session: Session, account: str, entries: Sequence[Entry]) -> None:
    """Report a list that was changed as a whole."""
    state = list_state(entries, datetime.now(UTC))
    session.output.answer(
        {"account": account, "enforced": state.enforced, "entries": [entry_record(entry) for entry in entries]},
        f"{account}: {state.entries} of {session.policy.max_entries} entries",
        *_warning(account, state),
    )


def _create_for(manager: RuleManager, account: str, cidrs: list[str], session: Session) -> None:
    """Create an account if it does not exist, unless its first list would break a rule anyway."""
    try:
        manager.account(account)
    except AccountNotFoundError:
        validate_addition(split_submission(cidrs), [], session.policy)
        with suppress(AccountExistsError):  # another process was quicker
            manager.create_account(account, actor=session.actor)


def _table(entries: list[Entry], matched: Mapping[int, datetime] = MappingProxyType({})) -> Table:
    """Return the table of entries; the optional columns appear only if at least one entry has a value for them."""
    columns = (*_COLUMNS, Column("last matched (UTC)", lambda entry: value_text(matched.get(entry.id)), optional=True))
    cells = {column: [column.cell(entry) for entry in entries] for column in columns}
    shown = [column for column in columns if not column.optional or any(cells[column])]
    rows = list(zip(*(cells[column] for column in shown), strict=True))
    return Table(tuple(column.heading for column in shown), rows, frozenset(one.heading for one in shown if one.number))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of a list.

    Attributes:
        heading: The heading.
        cell: Returns the text for an entry.
        number: Whether the column contains numbers.
        optional: Whether the column is left out if it is empty for every entry.
    """

    heading: str
    cell: Callable[[Entry], str]
    number: bool = False
    optional: bool = False


def _detail_column(detail: Detail) -> Column:
    """Return a column that appears only if an entry has another value than the default."""

    def cell(entry: Entry) -> str:
        value = getattr(entry, detail.name)
        return "" if value == detail.default else value_text(value)

    return Column(detail.title.lower(), cell, optional=True)


def _end(entry: Entry) -> str:
    return value_text(entry.expires_at) + (", expired" if entry.is_expired() else "")


_COLUMNS = (
    Column("id", lambda entry: f"{entry.id}", number=True),
    Column("CIDR", lambda entry: entry.cidr),
    Column("length", lambda entry: f"{prefix_length(entry.cidr)}", number=True),
    Column("mask", lambda entry: subnet_mask(entry.cidr)),
    Column("addresses", lambda entry: addresses_covered(entry.cidr), number=True),
    Column("label", lambda entry: entry.label or ""),
    Column("added at (UTC)", lambda entry: value_text(entry.created_at)),
    Column("added by", lambda entry: entry.created_by or ""),
    Column("expires (UTC)", _end, optional=True),
    *(_detail_column(detail) for detail in DETAILS if detail.name not in ("label", "expires_at")),
)
"""The columns for each entry; every field of `Entry` except its account."""


def _named(entry: Entry) -> str:
    return f"{entry.cidr} ({', '.join([f'id {entry.id}', *said_of(entry)])})"


def _warning(account: str, state: ListState) -> list[Line]:
    """Return a warning about a list without current entries; nothing for other lists."""
    if state.entries:
        return []
    if state.enforced:
        told = f"{account} has only expired entries and is still enforced: every address is denied"
    else:
        told = f"{account} has no entries and is not enforced: every address is allowed"
    return [Line(told, "yellow")]
