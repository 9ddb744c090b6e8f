"""What other people and programs changed while a person had a form open, and what the form has after it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from cidrgate.manager import RuleManager
from cidrgate.manager.accounts import existing_account
from cidrgate.manager.queries import changes_of_present_account
from cidrgate.values import Change

__all__ = ["Conflict", "Overlap", "began_fields", "began_text", "conflict_since", "merged_fields", "overlaps"]

_MOST_SHOWN = 10


class Overlap(NamedTuple):
    """A field that a person and somebody else changed to different values.

    Attributes:
        title: The title of the field.
        stored: What is stored now; empty for nothing.
        typed: What the person typed or chose; empty for nothing.
    """

    title: str
    stored: str
    typed: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """The changes of an account that a form does not know yet. A form that shows them may take the new version.

    Attributes:
        version: The version of the account after them.
        changes: The newest of them, the newest first; empty if the change log does not have them any more.
        more: Whether there are more.
        overlaps: The fields that the person changed too; None if the form shows nothing that is stored.
    """

    version: int
    changes: list[Change]
    more: bool
    overlaps: tuple[Overlap, ...] | None = None


def conflict_since(manager: RuleManager, account: str, version: int) -> Conflict | None:
    """Return what has changed an account since a version; None if it has this version.

    Args:
        manager: Reads the account.
        account: The account.
        version: The version that a form shows.

    Raises:
        AccountNotFoundError: If there is no such account.
        StoreError: If the store cannot be read.
    """
    with manager._store.read() as transaction:
        now = existing_account(transaction, account).version
        if now == version:
            return None
        newest = changes_of_present_account(transaction, account, limit=_MOST_SHOWN + 1)[::-1]
    found = _last_steps(newest, max(1, now - version))
    return Conflict(now, found[:_MOST_SHOWN], len(found) > _MOST_SHOWN)


def began_text(fields: Mapping[str, str]) -> str:
    """Return what a form carries of the values that its fields began with."""
    return urlencode(fields)


def began_fields(text: str) -> dict[str, str]:
    """Return the values that the fields of a form began with.

    Example:
        >>> began_fields(began_text({"label": "R&D", "ends_at": ""}))
        {'label': 'R&D', 'ends_at': ''}
    """
    return dict(parse_qsl(text, keep_blank_values=True))


def merged_fields(
    began: Mapping[str, str],
    typed: Mapping[str, str],
    stored: Mapping[str, str],
    together: Collection[Collection[str]] = (),
) -> dict[str, str]:
    """Return the fields of a form after a conflict: what the person changed stays, the rest is as it is stored now.

    Args:
        began: What the fields began with. A field that is not in it counts as changed.
        typed: What the form sent.
        stored: What is stored now.
        together: Fields of which all count as changed if one is.

    Example:
        >>> merged_fields({"label": "", "enabled": "yes"}, {"label": "Office", "enabled": "yes"}, {"enabled": "no"})
        {'label': 'Office', 'enabled': 'no'}
    """
    changed = {field for field, text in typed.items() if began.get(field) != text}
    changed.update(*(group for group in together if changed & {*group}))
    return {field: text if field in changed else stored.get(field, text) for field, text in typed.items()}


def overlaps(
    began: Mapping[str, str], merged: Mapping[str, str], stored: Mapping[str, str], titles: Mapping[str, str]
) -> tuple[Overlap, ...]:
    """Return the fields of a merged form that somebody else changed too, to another value.

    Args:
        began: What the fields began with.
        merged: See `merged_fields`.
        stored: What is stored now.
        titles: The titles of the fields.
    """
    return tuple(
        Overlap(titles[field], stored[field], text)
        for field, text in merged.items()
        if field in began and stored[field] not in (began[field], text)
    )


def _last_steps(newest: list[Change], steps: int) -> list[Change]:
    """Return the rows of the log that belong to the last steps of a version: one or more rows of the same time each."""
    times: list[object] = []
    found = []
    for change in newest:
        if not times or change.at != times[-1]:
            times.append(change.at)
        if len(times) > steps:
            break
        found.append(change)
    return found
