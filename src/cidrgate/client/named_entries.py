"""What names entries of a list, the entries that it names, and the errors for what the list does not contain."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, TypeAlias

from cidrgate.client.errors import error_of
from cidrgate.client.values import ProblemInfo
from cidrgate.errors import EntryNotFoundError, SubaccountError, VersionConflictError
from cidrgate.serialization import EntryInfo, error_data_record
from cidrgate.values import Entry, canonical_network, prefix_text, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cidrgate.client.errors import ApiError
    from cidrgate.client.values import ListInfo

__all__ = [
    "EntryReference",
    "check_changeable",
    "entries_named",
    "entry_key",
    "entry_keys",
    "ids_of",
    "other_version",
]

EntryReference: TypeAlias = int | str | IPv4Network | IPv6Network | Entry | EntryInfo
"""What names an entry of a list: its id, its network, or the entry itself."""

_NOT_SEVERAL = (int, str, bytes, IPv4Network, IPv6Network, IPv4Address, IPv6Address, Entry)
"""The types of one reference. Each address of a network, and each number of bytes, would count as one."""

_MOST_NAMED = 20
"""How many entries a message names."""

_REFUSALS = {
    EntryNotFoundError: (404, "Entry not found"),
    SubaccountError: (409, "List inherited"),
    VersionConflictError: (412, "Version conflict"),
}
"""The status and the title with which the service answers for each error."""


def entry_key(entry: EntryReference) -> int | str:
    """Return what names one entry as its id or as the text of its network.

    Raises:
        TypeError: If it is neither an id, nor a network, nor an entry.
    """
    if isinstance(entry, Entry):
        return entry.id
    return whole_number(entry, "the id of an entry") if isinstance(entry, int) else prefix_text(entry)


def entry_keys(entries: Iterable[EntryReference]) -> list[int | str]:
    """Return what names several entries: a text can have several networks, as one of a submission.

    Raises:
        TypeError: If it is no collection, or something in it names no entry.

    Example:
        >>> entry_keys([7, "8.8.8.0/24, 1.1.1.1/32", IPv4Network("9.9.9.0/24")])
        [7, '8.8.8.0/24', '1.1.1.1/32', '9.9.9.0/24']
    """
    if isinstance(entries, _NOT_SEVERAL):
        raise TypeError("pass the entries as a collection, such as [7, 8]")
    keys: list[int | str] = []
    for key in map(entry_key, entries):
        pieces = [] if isinstance(key, int) else [piece.strip() for piece in key.replace(",", "\n").split("\n")]
        keys += [key] if isinstance(key, int) else [piece for piece in pieces if piece]
    return keys


def ids_of(keys: Sequence[int | str]) -> list[int] | None:
    """Return the ids of entries that are all named by their ids; None if the list must be read to know them."""
    ids = [key for key in keys if isinstance(key, int)]
    return ids if len(ids) == len(keys) else None


def entries_named(held: ListInfo, keys: Iterable[int | str]) -> list[EntryInfo]:
    """Return the named entries of a list, each once, in the order in which they are first named.

    Args:
        held: The list.
        keys: What `entry_key` or `entry_keys` returned.

    Raises:
        EntryNotFoundError: If the list does not contain one of them, or none is named. It is an `ApiError` too.
    """
    by_key: dict[int | str, EntryInfo] = {}
    for entry in held.items:
        by_key[entry.id] = by_key[entry.cidr] = entry
    found: dict[int, EntryInfo] = {}
    missing: list[int | str] = []
    for key in keys:
        entry_or_none = by_key.get(key if isinstance(key, int) else canonical_network(key.strip()) or key)
        if entry_or_none is None:
            missing.append(key)
        else:
            found[entry_or_none.id] = entry_or_none
    if missing or not found:
        raise _refusal(EntryNotFoundError(_not_found(held.account, missing), account=held.account, entries=missing))
    return list(found.values())


def check_changeable(held: ListInfo, expect_version: int | None = None) -> None:
    """Refuse what the service refuses before it looks for the entries that a change names.

    Raises:
        SubaccountError: If the account inherits the list. It is an `ApiError` too, as the next one.
        VersionConflictError: If the list has another version than the expected one; None expects any.
    """
    if held.list_account != held.account:
        message = (
            f"account {held.account!r} is a subaccount and uses the list of {held.list_account!r}; change "
            f"{held.list_account!r} instead"
        )
        raise _refusal(SubaccountError(message, account=held.account, parent=held.list_account))
    if expect_version not in (None, held.version):
        raise other_version(held.account, expected=expect_version, actual=held.version)


def other_version(account: str, *, expected: int | None, actual: int) -> ApiError:
    """Return the error for a list that has another version than the expected one."""
    message = (
        f"the list of account {account!r} has version {actual}, not {expected}: it was changed in the meantime; read "
        "it again, then decide"
    )
    return _refusal(VersionConflictError(message, account=account, expected=expected, actual=actual))


def _not_found(account: str, missing: Sequence[int | str]) -> str:
    if not missing:
        return f"no entry of account {account!r} was named"
    named = [f"id {key}" if isinstance(key, int) else repr(key[:100]) for key in missing[:_MOST_NAMED]]
    more = f" and {len(missing) - len(named):,} more" if len(missing) > len(named) else ""
    return f"account {account!r} does not list {', '.join(named)}{more}: read the list"


def _refusal(error: EntryNotFoundError | SubaccountError | VersionConflictError) -> ApiError:
    """Return the error that the service answers with for an error of the library."""
    status, title = _REFUSALS[type(error)]
    problem = ProblemInfo(
        type=f"/problems/{error.code}",
        title=title,
        status=status,
        detail=str(error),
        code=error.code,
        data=error_data_record(error),
    )
    return error_of(problem, request_id=None, retry_after=None, account=error.account)
