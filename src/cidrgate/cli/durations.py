"""Times and lengths of time as people write them, for every option that takes one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from cidrgate.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["duration", "moment", "moment_after", "seconds"]

_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_LONGEST = 1_000 * 366 * 86_400.0
"""A thousand years, in seconds: a longer time is a typing error, and no calendar may reach so far."""


def duration(text: str) -> timedelta:
    """Parse a length of time, which needs its unit.

    Raises:
        CommandError: If the text is not a length of time.

    Example:
        >>> duration("90d").days, duration("1.5h").seconds
        (90, 5400)
    """
    found = _LENGTH.fullmatch(text)
    if found is None or not found[2]:
        raise CommandError(f"{text!r} is not a length of time; write a number and one of s, m, h, d, w, such as 90d")
    length = float(found[1]) * _UNITS[found[2]]
    if length > _LONGEST:
        raise CommandError(f"{text!r} is more than a thousand years; write a shorter time, such as 90d")
    return timedelta(seconds=length)


def moment(text: str) -> datetime:
    """Parse a date and time.

    Raises:
        CommandError: If the text is not a date and time.

    Example:
        >>> moment("2027-01-31T18:00+01:00").isoformat()
        '2027-01-31T18:00:00+01:00'
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a time; write one such as 2027-01-31T18:00+00:00") from None


def moment_after(text: str) -> datetime:
    """Return the time that is a length of time from now.

    Raises:
        CommandError: If the text is not a length of time.
    """
    return datetime.now(UTC) + duration(text)


def seconds(*, least: float = 0.0, above_zero: bool = False, most: float = _LONGEST) -> Callable[[Any], float]:
    """Return the parser of an option that takes seconds: a number of them, or a length of time with its unit.

    Args:
        least: The smallest length.
        above_zero: Whether zero is refused.
        most: The greatest length.

    Example:
        >>> seconds()("15"), seconds()("5m")
        (15.0, 300.0)
    """

    def read(text: Any) -> float:
        if not isinstance(text, str):
            return float(text)  # the default of the option
        found = _LENGTH.fullmatch(text.strip())
        if found is None:
            raise typer.BadParameter(
                f"{text!r} is not a length of time; write seconds, such as 15, or 90s, 5m, 12h, 7d"
            )
        length = float(found[1]) * _UNITS[found[2]]
        if not least <= length <= most or (above_zero and not length):
            low = "above 0" if above_zero else f"at least {least:g}"
            raise typer.BadParameter(f"{text!r} is out of range; write seconds, {low} and at most {most:,.0f}")
        return length

    return read
