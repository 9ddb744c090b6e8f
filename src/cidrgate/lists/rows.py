"""The rows of a file of lists, and the forms of their values: the same for every format.

A spreadsheet interprets some cells as formulas and runs them, and anyone who may set a label may write such a cell. In
CSV, text that could be a formula gets a leading apostrophe, so that the spreadsheet treats it as text; reading removes
the apostrophe.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.rules.notations import meaning_of
from cidrgate.serialization import utc_text
from cidrgate.values import DETAILS, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import EllipsisType

__all__ = [
    "COLUMNS",
    "FIELDS",
    "FORM_OF",
    "HEADER",
    "NOT_UTF8",
    "TEXTS",
    "ListFileError",
    "Row",
    "as_text",
    "entry_of",
    "from_text",
    "known_account",
    "plain_entry",
    "quoted",
    "split_comment",
    "undecoded",
]

FIELDS = ("cidr", *(detail.name for detail in DETAILS))
COLUMNS = ("account", *FIELDS)
HEADER = ",".join(COLUMNS)
TEXTS = frozenset({"account"} | {detail.name for detail in DETAILS if detail.kind is str})
"""The columns with text that a person wrote: the only ones where whitespace counts and a formula can hide."""

NOT_UTF8 = "it contains bytes that are not UTF-8 text: save the file as UTF-8"

_LONGEST_QUOTE = 40
_SURROGATE = re.compile("[\ud800-\udfff]")

_COMMENT = re.compile(r"#|;|(?<!:)//(?!\d|\s++\d{1,3}\s*+(?:[#;]|\Z))")
"""The sign before a comment. A number after `//` is a length, and one of the slashes is a mistake."""

_WORD = re.compile(r"[^,;\s()<>\[\]\"']++")
_PART = "[0-9OolI*]{1,5}"
_GROUP = "[0-9a-fA-F]{1,5}"
_LIKE_NETWORK = re.compile(
    rf"{_PART}(?:\.{_PART}){{3}}|{_PART}(?:\.{_PART}){{1,2}}/[0-9]"
    rf"|{_GROUP}(?::{_GROUP})*+:(?::|/[0-9])|{_GROUP}(?::{_GROUP}){{7}}"
)
"""The beginning of a network of IPv4 or IPv6, also of one with a mistake. No date, time or MAC address begins so."""

_FORMULA = "=+\\-@|%\uff1d\uff0b\uff0d\uff20"
_BEFORE_FORMULA = "'\"\u00ad\u200b-\u200f\u2060\ufeff"
_RUN_FROM_ITS_BEGINNING = re.compile(rf"[{_BEFORE_FORMULA}\s]*(?:[{_FORMULA}\t\r\n]|\Z)")
"""The beginning of a cell that a spreadsheet may run: a sign of a formula, also after characters that it ignores, or a
call of another program (`|`, `%`). Also a cell of apostrophes only, so that an empty label differs from no label."""

_RUN_FROM_WITHIN = rf"(?=(?:[{_BEFORE_FORMULA}]|[^\S\t\r\n])*[{_FORMULA}])"
_TO_QUOTE_WITHIN = re.compile(rf"(?<=[;|\t\r\n]){_RUN_FROM_WITHIN}")
_QUOTED_WITHIN = re.compile(rf"(?<=[;|\t\r\n])'{_RUN_FROM_WITHIN}")
"""The position where a spreadsheet with a separator other than the comma would begin a cell."""


class ListFileError(ValueError):
    """A whole file cannot be read; the message says why, and what to do."""


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        line: The number of its first line, from 1.
        account: The account that it names; None if unknown.
        entry: The entry; its network is as written, and empty if unknown.
        problem: Why the row cannot be read; empty if it can.
    """

    line: int
    account: str | None
    entry: NewEntry = NewEntry("")
    problem: str = ""


class Form(NamedTuple):
    """The form of a kind of values in files.

    Attributes:
        cell: Returns the text of a value in CSV.
        read: Parses this text, and raises a `ValueError` if it is invalid.
        wanted: What a valid text is, for messages.
        in_json: The type of a value in JSON; text is read as in CSV.
    """

    cell: Callable[[Any], str | None]
    read: Callable[[str], Any]
    wanted: str
    in_json: type = str


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def as_text(cell: str) -> str:
    """Return a cell that no spreadsheet runs.

    Example:
        >>> as_text("=1+1"), as_text("a;=1"), as_text("'=1"), as_text("o'brien"), as_text("a - b")
        ("'=1+1", "a;'=1", "''=1", "o'brien", 'a - b')
    """
    cell = _TO_QUOTE_WITHIN.sub("'", cell)
    return f"'{cell}" if _RUN_FROM_ITS_BEGINNING.match(cell) else cell


def from_text(cell: str) -> str:
    """Undo `as_text`; any other cell stays unchanged.

    Example:
        >>> from_text("'=1+1"), from_text("''=1"), from_text("=1+1"), from_text("'quoted'")
        ('=1+1', "'=1", '=1+1', "'quoted'")
    """
    if "'" not in cell:
        return cell
    if cell.startswith("'") and _RUN_FROM_ITS_BEGINNING.match(cell, 1):
        cell = cell[1:]
    return _QUOTED_WITHIN.sub("", cell)


_FORMS = {
    str: Form(as_text, str, "text"),
    datetime: Form(utc_text, datetime.fromisoformat, "a time such as 2027-01-31T18:00:00+00:00"),
    bool: Form(lambda value: str(value).lower(), _flag, "true or false", bool),
    int: Form(str, int, "a whole number", int),
}
"""The form of each kind of details."""

FORM_OF = {detail.name: _FORMS[detail.kind] for detail in DETAILS}
_SET_CIDR = vars(NewEntry)["cidr"].__set__
_SET_LABEL = vars(NewEntry)["label"].__set__
_SET_OTHER_DETAILS = tuple(vars(NewEntry)[detail.name].__set__ for detail in DETAILS if detail.name != "label")
_NULLABLE = frozenset(detail.name for detail in DETAILS if detail.nullable)


def entry_of(said: Mapping[str, Any]) -> tuple[NewEntry, str]:
    """Return the entry of a row, and why it cannot be read; the reason is empty if it can.

    A detail without a value is cleared, and one whose column or field is missing is absent.

    Args:
        said: The network and the details by field: text as in a cell, or values as in JSON.
    """
    values: dict[str, Any] = {"cidr": said.get("cidr", "")}
    problem = ""
    for name, form in FORM_OF.items():
        if name not in said:
            continue
        value = said[name]
        if value is None or (value == "" and name not in TEXTS):
            if name in _NULLABLE:
                values[name] = None
            continue
        try:
            values[name] = form.read(value) if isinstance(value, str) else value
        except (ValueError, KeyError):
            problem = f"the {name} is {quoted(value)}, not {form.wanted}"
    return NewEntry(**values), problem


def split_comment(text: str) -> tuple[str, str]:
    """Return a network and the comment behind it.

    What has another network behind a semicolon or `//` has no comment, even if that network has a mistake.

    Example:
        >>> split_comment("8.8.8.0/24 # office"), split_comment("8.8.8.0/24;office"), split_comment("8.8.8.0/24")
        (('8.8.8.0/24', 'office'), ('8.8.8.0/24', 'office'), ('8.8.8.0/24', ''))
        >>> split_comment("8.8.8.0/24;9.9.9.300/24"), split_comment("8.8.8.0//24")
        (('8.8.8.0/24;9.9.9.300/24', ''), ('8.8.8.0//24', ''))
    """
    found = _COMMENT.search(text)
    if found is None:
        return text, ""
    comment = " ".join(text[found.end() :].split()).strip("#;/ ")
    if found[0] != "#" and any(map(_is_like_network, _WORD.findall(comment))):
        return text, ""
    return text[: found.start()].rstrip(), comment


def _is_like_network(word: str) -> bool:
    return _LIKE_NETWORK.match(word) is not None or meaning_of(word) is not None


def plain_entry(cidr: str, label: str | EllipsisType | None) -> NewEntry:
    """Return an entry of texts, which needs no check: a large table has hundreds of thousands of them."""
    entry = object.__new__(NewEntry)
    for set_detail in _SET_OTHER_DETAILS:
        set_detail(entry, ...)
    _SET_CIDR(entry, cidr)
    _SET_LABEL(entry, label or None)
    return entry


def known_account(account: str) -> str | None:
    """Return an account as it was read, or None if it is unclear which account it is."""
    return None if not account or undecoded(account) else account


def undecoded(text: str) -> bool:
    """Return whether a text contains bytes that could not be decoded, as lone surrogates."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def quoted(text: str) -> str:
    """Return a text for a message, shortened."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")
