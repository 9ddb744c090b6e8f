"""JSON: documents with networks in them, and JSON Lines of other programs.

Read are a list of networks; a list of objects, also as the only list of an object (`{"items": [...]}`); and an object
with a list for each account (`{"acct-1": ["8.8.8.0/24"]}`). Rows of a document are counted from 1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cidrgate.lists.restrictions import restricting_field, way_out
from cidrgate.lists.rows import (
    COLUMNS,
    FIELDS,
    FORM_OF,
    ListFileError,
    Row,
    entry_of,
    known_account,
    quoted,
    undecoded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["LARGEST_DOCUMENT", "document_of", "read_json", "read_json_lines"]

LARGEST_DOCUMENT = 128 * 2**20
"""The largest JSON document in characters. The published ranges of a cloud have at most a few million."""

_MOST_PARTS = 20


class _Repeated(dict[str, Any]):
    """An object in which a name was repeated: a program before this one may have read another value."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    names = [name for name, _ in pairs]
    repeated = _Repeated({name: value for name, value in pairs if names.count(name) == 1})
    repeated.name = next(name for name in names if names.count(name) > 1)
    return repeated


def document_of(text: str) -> Any:
    """Return a JSON document.

    Raises:
        ListFileError: If it is too large, is not valid JSON, or contains bytes that are not UTF-8.
    """
    if len(text) > LARGEST_DOCUMENT:
        raise ListFileError(f"the document has more than {LARGEST_DOCUMENT:,} characters: write JSON Lines instead")
    if not text.strip("\ufeff \t\r\n"):
        raise ListFileError("the file is empty")
    if undecoded(text):
        raise ListFileError("the document contains bytes that are not UTF-8 text: save the file as UTF-8")
    try:
        return json.loads(text.lstrip("\ufeff"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ListFileError(f"the file is not valid JSON ({error}): is it complete, and is its format JSON?") from None


def read_json(
    document: Any,
    *,
    columns: Mapping[str, str] | None = None,
    account: str | None = None,
    notes: list[str] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a document.

    Args:
        document: The document.
        columns: The field of each detail that has another name; `a.b` is the field `b` of the object in `a`.
            `ignore` has names, separated by `|`, of fields that must not count.
        account: The account of every row, if no field has it.
        notes: Gets what was left out.

    Raises:
        ListFileError: If the document has another structure.

    Example:
        >>> [(row.account, row.entry.cidr) for row in read_json({"acct-1": ["8.8.8.0/24"]})]
        [('acct-1', '8.8.8.0/24')]
        >>> rows = read_json({"items": [{"ip": "8.8.8.0/24"}]}, columns={"cidr": "ip"}, account="acct-1")
        >>> [(row.line, row.account, row.entry.cidr) for row in rows]
        [(1, 'acct-1', '8.8.8.0/24')]
    """
    reader = _ObjectReader(columns or {}, account)
    number = 0
    for owner, items in _lists(document, account, columns or {}):
        for item in items:
            number += 1
            yield reader.row(number, item, owner)
    if notes is not None:
        notes += reader.notes()


def read_json_lines(
    lines: Iterable[str],
    *,
    columns: Mapping[str, str] | None = None,
    account: str | None = None,
    notes: list[str] | None = None,
) -> Iterator[Row]:
    """Yield the rows of JSON Lines that another program wrote; see `read_json`."""
    reader = _ObjectReader(columns or {}, account)
    for number, line in enumerate(lines, start=1):
        text = line.strip("\ufeff \t\r\n")
        if not text:
            continue
        try:
            item = document_of(text)
        except ListFileError as error:
            yield Row(number, account, problem=str(error).replace("the file", "it", 1))
            continue
        yield reader.row(number, item, account)
    if notes is not None:
        notes += reader.notes()


def _lists(
    document: Any, account: str | None, columns: Mapping[str, str]
) -> Iterator[tuple[str | None, Sequence[Any]]]:
    """Yield the lists of a document, each with its account if the document says it."""
    if isinstance(document, _Repeated):
        raise ListFileError(f"the field {quoted(document.name)} is repeated: only one of its values can be meant")
    if isinstance(document, dict) and (_named(columns, "cidr") in document):
        document = [document]
    if isinstance(document, list):
        yield account, document
        return
    if not isinstance(document, dict):
        raise ListFileError("the document is neither a list nor an object: is this the right file?")
    _refuse_page(document)
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    rows = [value for value in lists.values() if any(isinstance(item, dict) for item in value)]
    with_owner = _named(columns, "account")
    if len(lists) == 1 and (account is not None or any(_of(item, with_owner) is not None for item in rows[:1] or [[]])):
        yield account, next(iter(lists.values()))
        return
    if account is None and lists and len(lists) == len(document):
        yield from lists.items()
        return
    if not document:
        raise ListFileError("the document is an empty object: is this the right file?")
    raise ListFileError(
        f"the document is an object with the fields {_some(document)}, and it is unclear which of them are lists of an "
        "account: write a list of objects, or an object with a list for each account; for the published ranges of a "
        "cloud, say --from"
    )


def _refuse_page(document: Mapping[str, Any]) -> None:
    """Refuse one of several pages of a list: an import that replaces lists would remove what other pages have."""
    cursor = document.get("next_cursor")
    if document.get("complete") is False or (cursor and not isinstance(cursor, list | dict)):
        raise ListFileError(
            "the document is one of several pages of a list: read all of them, and write their items as one list"
        )


def _of(items: Sequence[Any], field: str) -> Any:
    return next((_value(item, field) for item in items if isinstance(item, dict)), None)


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _MOST_PARTS:,} more" if len(found) > _MOST_PARTS else ""
    return ", ".join(map(quoted, found[:_MOST_PARTS])) + more


def _named(columns: Mapping[str, str], field: str) -> str:
    return columns.get(field, field)


def _value(item: Mapping[str, Any], path: str) -> Any:
    if path in item:
        return item[path]
    first, dot, rest = path.partition(".")
    inner = item.get(first) if dot else None
    return _value(inner, rest) if isinstance(inner, dict) else None


class _ObjectReader:
    """Makes rows of JSON values: texts, or objects with fields by name."""

    def __init__(self, columns: Mapping[str, str], account: str | None) -> None:
        self._paths = {field: _named(columns, field) for field in COLUMNS}
        self._ignored = frozenset(columns.get("ignore", "").split("|")) - {""}
        self._read = frozenset(self._paths.values())
        self._known = {path.partition(".")[0] for path in self._paths.values()}
        self._account = account
        self._left_out: dict[str, None] = {}

    def notes(self) -> Iterator[str]:
        if self._left_out:
            yield f"ignored the fields {_some(self._left_out)}"

    def row(self, number: int, item: Any, owner: str | None) -> Row:
        if isinstance(item, str):
            if owner is None:
                return Row(number, None, problem="the account is missing: say --account NAME for all rows")
            entry, problem = entry_of({"cidr": item.strip()})
            problem = problem or _missing(owner, entry.cidr)
            return Row(number, known_account(owner), entry, problem)
        if not isinstance(item, dict):
            return Row(number, owner, problem=f"it is {quoted(json.dumps(item))}, neither a network nor an object")
        found = {field: value for field, path in self._paths.items() if (value := _value(item, path)) is not None}
        said_owner = found.pop("account", None)
        if owner is None:
            owner = str(said_owner).strip() if _is_name(said_owner) else None
        elif said_owner is not None and self._account is not None:
            return Row(number, None, problem="it has an account of its own: leave out --account")
        problem = self._problem(item, found)
        if said_owner is not None and not _is_name(said_owner):
            problem = f"the account is {quoted(json.dumps(said_owner))}, not text"
        texts = {name: found[name] for name, form in FORM_OF.items() if type(found.get(name)) in {str, form.in_json}}
        entry, unread = entry_of({**texts, "cidr": str(found.get("cidr", "")).strip()})
        problem = problem or unread or _missing(owner, entry.cidr)
        return Row(number, known_account(owner or ""), entry, problem)

    def _problem(self, item: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        if isinstance(item, _Repeated):
            return f"the field {quoted(item.name)} is repeated"
        if restricting := restricting_field(item, self._read, self._ignored):
            name, why = restricting
            return f"the field {quoted(name)} {why}, {way_out(name, what='the entry')}"
        for name in item:
            if name not in self._known:
                self._left_out[name] = None
        for name in FIELDS:
            wanted = str if name == "cidr" else FORM_OF[name].in_json
            if name in found and type(found[name]) is not wanted:
                form = "text" if wanted is str else FORM_OF[name].wanted
                return f"the {name} is {quoted(json.dumps(found[name]))}, not {form}"
        return ""


def _missing(owner: str | None, cidr: str) -> str:
    """Return what a row does not say; empty if it says enough."""
    if not owner or not cidr:
        return f"the {'cidr' if owner else 'account'} is missing"
    return "" if known_account(owner) else f"the account is {owner!a}, which is no text"


def _is_name(value: Any) -> bool:
    """Return whether a value names an account: text, or a number such as a customer's."""
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
