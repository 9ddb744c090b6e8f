"""The arguments and options that several commands share."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cidrgate.cli.errors import CommandError

__all__ = [
    "AccountName",
    "Cidrs",
    "Empty",
    "EntryName",
    "EntryNames",
    "Version",
    "age",
    "entry_key",
    "expiry",
]

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_LIKE_AN_AGE = re.compile(r"[0-9]++[a-z]")

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account.")]
Cidrs = Annotated[list[str], typer.Argument(metavar="CIDRS...", help="Networks, separated by commas or spaces.")]
EntryName = Annotated[str, typer.Argument(metavar="CIDR_OR_ID", help="An entry: its CIDR, or its id.")]
EntryNames = Annotated[list[str], typer.Argument(metavar="CIDR_OR_ID...", help="Entries: their CIDRs, or their ids.")]
Empty = Annotated[bool, typer.Option("--empty", help="Allow the list to become empty; then every address is allowed.")]
Version = Annotated[
    int | None,
    typer.Option("--expect-version", metavar="N", help="Change nothing if the list has a different version."),
]

_MOST_DIGITS_OF_AN_ID = 18


def entry_key(text: str) -> str | int:
    """Parse the name of an entry: an id if it is a number, otherwise a CIDR.

    Example:
        >>> entry_key("17"), entry_key("8.8.8.0/24")
        (17, '8.8.8.0/24')
    """
    is_id = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS_OF_AN_ID
    return int(text) if is_id else text


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def age(text: str) -> timedelta:
    """Parse a length of time.

    Raises:
        CommandError: If the text is not a length of time.

    Example:
        >>> age("90d").days, age("12h").seconds
        (90, 43200)
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise CommandError(f"{text!r} is not a length of time; write a number and one of s, m, h, d, w, such as 90d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def expiry(text: str) -> datetime:
    """Parse a time in the future: a length of time from now, or a date and time with a time zone.

    Raises:
        CommandError: If the text is neither.

    Example:
        >>> expiry("2027-01-31T18:00+01:00").isoformat()
        '2027-01-31T18:00:00+01:00'
    """
    if _LIKE_AN_AGE.fullmatch(text):
        return datetime.now(UTC) + age(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is not a time; write a length such as 12h or 90d, or a time such as 2027-01-31T18:00+00:00"
        ) from None
