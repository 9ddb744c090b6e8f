"""Commands that show one account's list: `entry list` (or `list`) and `entry show`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated

import typer

from cidrgate.cli.arguments import AccountName, EntryId, named_entries
from cidrgate.cli.errors import CommandError
from cidrgate.cli.list_attempts import list_warning
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Table, value_text
from cidrgate.manager.changes import named_entries as entries_named
from cidrgate.rules.decisions import list_state
from cidrgate.rules.networks import addresses_covered, prefix_length, subnet_mask
from cidrgate.serialization import entry_record
from cidrgate.values import DETAILS, Detail, Entry

__all__ = ["app", "entry_app"]

app = typer.Typer()
entry_app = typer.Typer(help="Show and change the entries of a list.", no_args_is_help=True)


@command(entry_app, "list")
@command(app, "list", short_for="entry list")
def _list(session: Session, account: AccountName) -> None:
    """Show the list that counts for an account."""
    with session.open() as manager:
        asked = manager.account(account)
        decider, entries = manager.listing(account)
        matched = manager.last_matches(account)
        most = manager.policy_state(account).effective.max_entries
    state = list_state(entries, decider, datetime.now(UTC))
    inherited = "" if asked.parent is None else f", inherited from {asked.parent}"
    session.output.answer(
        {
            "account": account,
            "list_account": decider.name,
            "version": decider.version,
            "enforced": state.enforced,
            "mode": state.mode,
            "editable": asked.parent is None,
            "max_entries": most,
            "items": [entry_record(entry, matched.get(entry.id)) for entry in entries],
            "next_cursor": None,
        },
        *([_table(entries, matched)] if entries else []),
        f"{account}: {state.entries} of {most} entries{inherited}",
        *list_warning(decider.name, state),
    )


@command(entry_app, "show")
def _show(
    session: Session,
    account: AccountName,
    cidr: Annotated[str | None, typer.Argument(metavar="[CIDR]", help="The entry, by its network.")] = None,
    *,
    entry_id: EntryId = None,
) -> None:
    """Show one entry of the list that counts for an account."""
    if cidr is not None and entry_id is not None:
        raise CommandError("name the entry by its network or with --id, not both")
    which = named_entries(None if cidr is None else [cidr], None if entry_id is None else [entry_id])
    with session.open() as manager:
        decider, entries = manager.listing(account)
        matched = manager.last_matches(account)
    [entry] = entries_named(decider.name, entries, which)
    table = _table([entry], matched)
    width = max(map(len, table.columns))
    session.output.answer(
        entry_record(entry, matched.get(entry.id)) | {"list_account": decider.name, "version": decider.version},
        *(f"{heading:<{width}}  {cell}".rstrip() for heading, cell in zip(table.columns, table.rows[0], strict=True)),
    )


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
