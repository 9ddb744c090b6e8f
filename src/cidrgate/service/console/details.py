"""The fields of the forms for the details of an entry: how each is written, read and shown.

The templates lay out the fields in `LAID_OUT` themselves. Every other detail gets a field by its type.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cidrgate.errors import InvalidTextError
from cidrgate.rules.characters import checked_text
from cidrgate.service.console.fields import MaybeText
from cidrgate.service.console.messages import FormError, message_of
from cidrgate.values import DETAILS, Detail, Entry

__all__ = [
    "COLUMN_DETAILS",
    "FORM_DETAILS",
    "LAID_OUT",
    "detail_of_text",
    "detail_text",
    "detail_word",
    "details_sent",
    "flag_words",
    "input_type",
    "takes_details",
]


LAID_OUT: Final = {"label": "label", "expires_at": "ends_at"}
"""The name of the field of each detail for which the templates have one."""

FORM_DETAILS: Final = tuple(detail for detail in DETAILS if detail.name not in LAID_OUT)
"""The details whose fields are made by their types."""


COLUMN_DETAILS: Final = tuple(detail for detail in FORM_DETAILS if detail.kind is not bool)
"""Those of them that have a column in the list. A truth value is a badge, where it differs from its default."""

_FLAG_WORDS: Final = {"enabled": "disabled"}


def flag_words(entry: Entry) -> list[str]:
    """Return the truth values of an entry that differ from their defaults, each in one or two words.

    Example:
        >>> now = datetime.now(UTC)
        >>> entry = Entry(id=7, account="a", cidr="1.1.1.1/32", created_at=now, created_by="me", enabled=False)
        >>> flag_words(entry)
        ['disabled']
    """
    flags = [detail for detail in DETAILS if detail.kind is bool and getattr(entry, detail.name) != detail.default]
    return [
        _FLAG_WORDS.get(detail.name, f"{'not ' if detail.default else ''}{detail.title.lower()}") for detail in flags
    ]


class _Field(NamedTuple):
    """The field for a type of details.

    Attributes:
        input_type: The type of the input, or `select` for a choice of yes or no.
        write: Returns the text of the field for a value.
        read: Parses this text.
    """

    input_type: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _label(text: str) -> str | None:
    try:
        return checked_text(text.strip(), "label")
    except InvalidTextError as error:
        raise FormError(message_of(error)) from error


def _time(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise FormError(
            "Write the time as year-month-day and hour:minute, in UTC, such as 2030-01-31T18:00."
        ) from error


def _flag(text: str) -> bool | None:
    if text not in ("yes", "no", ""):
        raise FormError("Choose yes or no.")
    return None if text == "" else text == "yes"


def _number(text: str) -> int | None:
    try:
        return int(text) if text.strip() else None
    except ValueError as error:
        raise FormError("Write a whole number.") from error


_FIELDS: dict[type, _Field] = {
    str: _Field("text", str, _label),
    datetime: _Field("datetime-local", lambda time: f"{time.astimezone(UTC):%Y-%m-%dT%H:%M}", _time),
    bool: _Field("select", lambda value: "yes" if value else "no", _flag),
    int: _Field("number", str, _number),
}


def input_type(detail: Detail) -> str:
    """Return the type of the input for a detail, or `select` for a choice of yes or no."""
    return _FIELDS[detail.kind].input_type


def detail_text(detail: Detail, value: object) -> str:
    """Return the text of the field for a value; empty for None."""
    return "" if value is None else _FIELDS[detail.kind].write(value)


def detail_of_text(detail: Detail, text: str, now: object) -> Any:
    """Return the value that the text of a field means.

    Args:
        detail: The detail.
        text: The text.
        now: The value that the entry has; an unchanged field keeps it, with what the field does not show.

    Raises:
        FormError: If the text is invalid.
    """
    if text == detail_text(detail, now):
        return now
    try:
        value = _FIELDS[detail.kind].read(text)
    except FormError as error:
        raise FormError(message_of(error), field=LAID_OUT.get(detail.name, detail.name)) from error
    return detail.default if value is None and not detail.nullable else value


def detail_word(detail: Detail, entry: Entry) -> str:
    """Return the value of a detail as the list shows it; empty for None."""
    value = getattr(entry, detail.name)
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else detail_text(detail, value)


def details_sent(sent: Mapping[str, str], entry: Entry | None = None) -> dict[str, Any]:
    """Return the values of the details in `FORM_DETAILS` that a form has sent.

    Args:
        sent: The texts of their fields, by detail.
        entry: The entry that is edited; None for a new one.

    Raises:
        FormError: If a text is invalid.
    """
    return {
        detail.name: detail_of_text(
            detail, sent[detail.name], detail.default if entry is None else getattr(entry, detail.name)
        )
        for detail in FORM_DETAILS
        if detail.name in sent
    }


def takes_details(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the dependency of a form a field for each detail in `FORM_DETAILS`; it gets the texts as `details`."""

    @functools.wraps(function)
    def read(**fields: Any) -> Any:
        sent = {detail.name: fields.pop(detail.name) for detail in FORM_DETAILS}
        return function(**fields, details={name: text for name, text in sent.items() if text is not None})

    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "details"]
    made = [
        inspect.Parameter(detail.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=MaybeText)
        for detail in FORM_DETAILS
    ]
    read.__dict__["__signature__"] = signature.replace(
        parameters=[*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *made]
    )
    return read
