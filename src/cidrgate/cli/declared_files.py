"""Files that declare the lists of many accounts, in TOML or JSON.

YAML is not read: no library for it is needed otherwise, and `yq -o json` turns it into JSON.
"""

from __future__ import annotations

import json
import tomllib
from datetime import datetime
from typing import Any

from cidrgate.cli.errors import CommandError
from cidrgate.errors import CidrgateError
from cidrgate.manager import DeclaredAccount
from cidrgate.values import DETAILS, NewEntry

__all__ = ["read_declared"]

_MEMBERS = ("entries", "parent")
_OF_ENTRY = ("cidr", *(detail.name for detail in DETAILS))


def read_declared(text: str, name: str) -> dict[str, DeclaredAccount]:
    r"""Return the declarations of a file.

    Args:
        text: The text of the file.
        name: Its name; one that ends with .toml is TOML, every other is JSON.

    Raises:
        CommandError: If the file is not valid, or says something that is unknown.

    Example:
        >>> declared = read_declared('[accounts]\nacct-1.entries = ["8.8.8.0/24"]\nsub-1.parent = "acct-1"', "a.toml")
        >>> declared["acct-1"].entries, declared["sub-1"].parent
        ([NewEntry(cidr='8.8.8.0/24', label=Ellipsis, expires_at=Ellipsis, enabled=Ellipsis)], 'acct-1')
    """
    try:
        record = tomllib.loads(text) if name.lower().endswith(".toml") else json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if name.lower().endswith(".toml") else "JSON"
        raise CommandError(f"{name} is not valid {kind}: {error}") from None
    if not isinstance(record, dict) or set(record) != {"accounts"} or not isinstance(record["accounts"], dict):
        raise CommandError(f"{name} must have one member, `accounts`, which maps names to accounts")
    return {account: _account(account, said) for account, said in record["accounts"].items()}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the member {next(name for name in names if names.count(name) > 1)!r} is repeated")
    return made


def _account(account: str, said: Any) -> DeclaredAccount:
    where = f"account {account!r}"
    _check_members(said, _MEMBERS, where)
    entries, parent = said.get("entries"), said.get("parent")
    if parent is not None and not isinstance(parent, str):
        raise CommandError(f"{where}: the parent must be text")
    if entries is not None and not isinstance(entries, list):
        raise CommandError(f"{where}: the entries must be a list")
    if entries is None and parent is None:
        raise CommandError(f"{where}: say its entries, which may be an empty list, or its parent")
    try:
        pieces = None if entries is None else [_entry(one, where) for one in entries]
        return DeclaredAccount(entries=pieces, parent=parent)
    except (TypeError, ValueError) as error:
        if isinstance(error, CidrgateError):
            raise
        raise CommandError(f"{where}: {error}") from None


def _entry(said: Any, where: str) -> NewEntry:
    if isinstance(said, str):
        return NewEntry(said)
    _check_members(said, _OF_ENTRY, f"{where}: an entry")
    if not isinstance(said.get("cidr"), str):
        raise CommandError(f"{where}: an entry has no cidr")
    values = dict(said)
    for detail in DETAILS:
        value = values.get(detail.name)
        if detail.kind is datetime and isinstance(value, str):
            try:
                values[detail.name] = datetime.fromisoformat(value)
            except ValueError:
                raise CommandError(f"{where}: the {detail.name} is {value!r}, not a time") from None
    return NewEntry(**values)


def _check_members(said: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(said, dict):
        raise CommandError(f"{where} must be an object with {', '.join(known)}")
    unknown = [name for name in said if name not in known]
    if unknown:
        raise CommandError(f"{where} has the unknown member {unknown[0]!r}: the members are {', '.join(known)}")
