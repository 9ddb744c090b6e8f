"""`cidrgate history`: what changed in an account's list, when, and who did it; `cidrgate prune` deletes old rows."""

from typing import Annotated

import typer

from cidrgate.cli.arguments import AccountName, age
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Table, counted, value_text
from cidrgate.serialization import change_record
from cidrgate.values import DETAILS, Change, Entry

__all__ = ["app", "described", "said_of"]

app = typer.Typer()


@command(app, "history")
def _history(
    session: Session,
    account: AccountName,
    *,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Show only the latest N.")] = None,
) -> None:
    """Show the changes of an account's list, the newest first."""
    with session.open() as manager:
        asked = manager.account(account)
        changes = manager.history(account, limit=limit)
    rows = [
        (f"{change.sequence}", f"{change.at:%Y-%m-%d %H:%M:%S}", change.actor or "", change.action, described(change))
        for change in changes
    ]
    columns = ("sequence", "at (UTC)", "by", "action", "entries")
    inherited = f"{account} inherits its list: see `cidrgate history {asked.parent}` for changes of the list"
    session.output.answer(
        {"account": account, "changes": [change_record(change) for change in changes]},
        Table(columns, rows, right=frozenset({"sequence"})),
        *([] if asked.parent is None else [inherited]),
    )


@command(app, "prune")
def _prune(
    session: Session,
    *,
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help="The age, such as 90d or 52w.")],
) -> None:
    """Delete old rows of the change log for all accounts. Lists from before them cannot be restored afterwards."""
    with session.open() as manager:
        pruned = manager.prune_history(age(older_than))
    session.output.answer({"pruned": pruned}, f"{counted(pruned, 'change', 'changes')} deleted from the log")


def described(change: Change) -> str:
    """Describe a change of the list on one line: `+` for what it added, `-` for what it removed.

    Example:
        >>> from datetime import UTC, datetime
        >>> at = datetime(2025, 1, 2, tzinfo=UTC)
        >>> old = Entry(7, "acct-1", "1.1.1.1/32", None, at, "me")
        >>> new = Entry(7, "acct-1", "1.1.1.0/24", "dns", at, "me")
        >>> described(Change(3, at, "me", "acct-1", "edit", before=(old,), after=(new,)))
        '1.1.1.1/32 -> 1.1.1.0/24 (dns)'
        >>> described(Change(4, at, "me", "acct-1", "remove", before=(new,), after=()))
        '- 1.1.1.0/24 (dns)'
    """
    before = {entry.id: entry for entry in change.before}
    after = {entry.id: entry for entry in change.after}
    removed = [f"- {_labelled(entry)}" for entry in change.before if entry.id not in after]
    altered = [f"{_labelled(before[key])} -> {_labelled(entry)}" for key, entry in after.items() if key in before]
    added = [f"+ {_labelled(entry)}" for entry in change.after if entry.id not in before]
    return ", ".join([*removed, *altered, *added])


def said_of(entry: Entry) -> list[str]:
    """Return the details of an entry that somebody set: its label, and every other detail with its name.

    Example:
        >>> from datetime import UTC, datetime
        >>> at = datetime(2025, 1, 2, tzinfo=UTC)
        >>> said_of(Entry(7, "acct-1", "1.1.1.1/32", "dns", at, "me", expires_at=datetime(2030, 1, 2, tzinfo=UTC)))
        ['dns', 'expires at 2030-01-02 00:00:00']
    """
    return [
        text if detail.name == "label" else f"{detail.name.replace('_', ' ')} {text}"
        for detail in DETAILS
        if getattr(entry, detail.name) != detail.default and (text := value_text(getattr(entry, detail.name)))
    ]


def _labelled(entry: Entry) -> str:
    said = ", ".join(said_of(entry))
    return f"{entry.cidr} ({said})" if said else entry.cidr
