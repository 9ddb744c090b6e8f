"""The arguments and options that several commands share."""

from typing import Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.manager.outcomes import Guard

__all__ = [
    "CURSOR_HELP",
    "AccountName",
    "Cidrs",
    "Confirmed",
    "DryRun",
    "Empty",
    "EntryId",
    "EntryIds",
    "EntryNames",
    "Limit",
    "Version",
    "Yes",
    "named_entries",
]

_MOST_ID = 2**53 - 1
"""The greatest id: every program that reads JSON can hold it."""

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account.")]
Cidrs = Annotated[list[str], typer.Argument(metavar="CIDR...", help="Networks, separated by commas or spaces.")]
EntryNames = Annotated[list[str] | None, typer.Argument(metavar="[CIDR...]", help="Entries, by their networks.")]
EntryIds = Annotated[
    list[int] | None,
    typer.Option("--id", metavar="ID", min=1, max=_MOST_ID, help="An entry, by its id; may be repeated."),
]
EntryId = Annotated[
    int | None,
    typer.Option("--id", metavar="ID", min=1, max=_MOST_ID, help="The entry, by its id instead of its network."),
]
Empty = Annotated[bool, typer.Option("--empty", help="Allow the list to become empty; then every address is allowed.")]
Version = Annotated[
    int | None,
    typer.Option("--expect-version", metavar="N", min=0, help="Change nothing if the list has a different version."),
]
CURSOR_HELP = "Show what follows on a page: the `next_cursor` of its JSON."
Limit = Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Show only the first N.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can be asked.")]
Confirmed = Annotated[
    list[Guard] | None,
    typer.Option("--confirm", metavar="NAME", help="A guard that the change may meet, by name; may be repeated."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and show what would change, but change nothing.")
]


def named_entries(cidrs: list[str] | None, ids: list[int] | None) -> list[str | int]:
    """Return the entries that a command names: texts are networks, and only `--id` gives an id.

    So a number that a script passes by mistake removes nothing.

    Raises:
        CommandError: If no entry is named, or a text is a number.

    Example:
        >>> named_entries(["8.8.8.0/24"], [7])
        ['8.8.8.0/24', 7]
    """
    for text in cidrs or []:
        if text.isdecimal():
            raise CommandError(f"{text!r} is not a network; to name the entry with this id, write --id {text}")
    named: list[str | int] = [*(cidrs or []), *(ids or [])]
    if not named:
        raise CommandError("no entry is named: give its network, or its id with --id")
    return named
