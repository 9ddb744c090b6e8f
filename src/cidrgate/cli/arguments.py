"""The arguments and options that several commands share."""

from typing import Annotated

import typer

__all__ = ["AccountName", "Cidrs", "EntryName", "EntryNames", "Label", "entry_key"]

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account.")]
Cidrs = Annotated[list[str], typer.Argument(metavar="CIDRS...", help="Networks, separated by commas or spaces.")]
EntryName = Annotated[str, typer.Argument(metavar="CIDR_OR_ID", help="An entry: its CIDR, or its id.")]
EntryNames = Annotated[list[str], typer.Argument(metavar="CIDR_OR_ID...", help="Entries: their CIDRs, or their ids.")]
Label = Annotated[str | None, typer.Option("--label", "-l", help="What to call the entries.")]

_MOST_DIGITS_OF_AN_ID = 18


def entry_key(text: str) -> str | int:
    """What a person names an entry by: an id if it is a number, else a CIDR.

    Example:
        >>> entry_key("17"), entry_key("8.8.8.0/24")
        (17, '8.8.8.0/24')
    """
    is_id = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS_OF_AN_ID
    return int(text) if is_id else text
