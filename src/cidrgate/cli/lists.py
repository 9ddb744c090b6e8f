"""Looking at one account's list and changing it: `list`, `add`, `edit`, `remove`, `replace`."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.arguments import AccountName, Cidrs, EntryName, EntryNames, Label, entry_key
from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import read_text
from cidrgate.cli.networks import addresses_covered, prefix_length, subnet_mask
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, Table
from cidrgate.cli.records import entry_record
from cidrgate.errors import AccountExistsError, AccountNotFoundError
from cidrgate.manager import RuleManager
from cidrgate.rules import split_submission, validate_addition
from cidrgate.values import Entry

__all__ = ["app"]

app = typer.Typer()

_COLUMNS = ("id", "CIDR", "length", "mask", "addresses", "label", "added at (UTC)", "added by")
_NUMBERS = frozenset({"id", "length", "addresses"})


@command(app, "list")
def _list(session: Session, account: AccountName) -> None:
    """Show the entries that count for an account."""
    with session.open() as manager:
        asked = manager.account(account)
        entries = manager.entries(account)
    most = session.policy.max_entries
    owner = account if asked.parent is None else asked.parent
    inherited = "" if asked.parent is None else f", inherited from {asked.parent}"
    session.output.answer(
        {
            "account": account,
            "parent": asked.parent,
            "enforced": bool(entries),
            "max_entries": most,
            "entries": [entry_record(entry) for entry in entries],
        },
        *([Table(_COLUMNS, [_cells(entry) for entry in entries], right=_NUMBERS)] if entries else []),
        f"{account}: {len(entries)} of {most} entries{inherited}",
        *([] if entries else [_not_enforced(owner)]),
    )


@command(app, "add")
def _add(
    session: Session,
    account: AccountName,
    cidrs: Cidrs,
    *,
    label: Label = None,
    create: Annotated[bool, typer.Option("--create", help="Create the account if there is none.")] = False,
) -> None:
    """List new networks: all of them, or none if one breaks a rule."""
    with session.open(create=create) as manager:
        if create:
            _create_for(manager, account, cidrs, session)
        added = manager.add(account, cidrs, label=label or None, actor=session.actor)
        held = len(manager.entries(account))
    session.output.answer(
        {"account": account, "added": [entry_record(entry) for entry in added]},
        *(f"added {_named(entry)}" for entry in added),
        f"{account}: {held} of {session.policy.max_entries} entries",
    )


@command(app, "edit")
def _edit(
    session: Session,
    account: AccountName,
    entry: EntryName,
    cidr: Annotated[str | None, typer.Argument(metavar="[NEW]", help="The network it shall have.")] = None,
    *,
    label: Annotated[str | None, typer.Option("--label", "-l", help="The label it shall have; '' for none.")] = None,
) -> None:
    """Change the network or the label of an entry; it keeps its id."""
    if cidr is None and label is None:
        raise CommandError("nothing to change: give the new network, --label, or both")
    new_label = ... if label is None else label or None
    with session.open() as manager:
        edited = manager.edit(account, entry_key(entry), cidr, label=new_label, actor=session.actor)
    session.output.answer(
        {"account": account, "entry": entry_record(edited)},
        f"{entry} of {account} is now {_named(edited)}",
    )


@command(app, "remove")
def _remove(session: Session, account: AccountName, entries: EntryNames) -> None:
    """Remove entries: all of them, or none if one is not listed."""
    with session.open() as manager:
        removed = manager.remove(account, *map(entry_key, entries), actor=session.actor)
        held = len(manager.entries(account))
    session.output.answer(
        {"account": account, "enforced": held > 0, "removed": [entry_record(entry) for entry in removed]},
        *(f"removed {_named(entry)}" for entry in removed),
        f"{account}: {held} of {session.policy.max_entries} entries",
        *([] if held else [_not_enforced(account)]),
    )


@command(app, "replace")
def _replace(
    session: Session,
    account: AccountName,
    cidrs: Annotated[list[str] | None, typer.Argument(metavar="[CIDRS...]", help="The whole list.")] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A file that holds it; - for stdin.")] = None,
    label: Label = None,
    empty: Annotated[bool, typer.Option("--empty", help="Let the list become empty.")] = False,
) -> None:
    """Make the list exactly this, in one change; entries that stay keep their id and label."""
    if cidrs and file:
        raise CommandError("give the networks, or a --file that holds them, not both")
    pieces = split_submission(read_text(file) if file else cidrs or [])
    if not pieces and not empty:
        raise CommandError(
            f"no network was given, and with an empty list {account} would not be enforced: every address would be "
            "allowed; say --empty if that is wanted"
        )
    with session.open() as manager:
        entries = manager.replace(account, pieces, label=label or None, actor=session.actor)
    session.output.answer(
        {"account": account, "enforced": bool(entries), "entries": [entry_record(entry) for entry in entries]},
        f"{account}: {len(entries)} of {session.policy.max_entries} entries",
        *([] if entries else [_not_enforced(account)]),
    )


def _create_for(manager: RuleManager, account: str, cidrs: list[str], session: Session) -> None:
    """Create an account if there is none, unless its first list could not be stored anyway."""
    try:
        manager.account(account)
    except AccountNotFoundError:
        validate_addition(split_submission(cidrs), [], session.policy)
        with suppress(AccountExistsError):  # somebody else was quicker
            manager.create_account(account, actor=session.actor)


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        f"{entry.id}",
        entry.cidr,
        f"{prefix_length(entry.cidr)}",
        subnet_mask(entry.cidr),
        addresses_covered(entry.cidr),
        entry.label or "",
        f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
        entry.created_by or "",
    )


def _named(entry: Entry) -> str:
    label = f", {entry.label}" if entry.label else ""
    return f"{entry.cidr} (id {entry.id}{label})"


def _not_enforced(account: str) -> Line:
    return Line(f"{account} has no entries and is not enforced: every address is allowed", "yellow")
