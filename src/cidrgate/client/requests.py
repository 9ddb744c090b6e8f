"""What the client's methods take, as the bodies and paths of requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from cidrgate.errors import EntryNotFoundError
from cidrgate.serialization import EntryInfo
from cidrgate.values import Entry, NewEntry, prefix_text, truth

if TYPE_CHECKING:
    from cidrgate.values import EntryDetails

__all__ = [
    "Cidrs",
    "EntryReference",
    "address_text",
    "changes",
    "confirmations",
    "declared_account",
    "entry_id",
    "json_value",
    "path_of",
    "submission",
]

Listed: TypeAlias = (
    str | IPv4Network | IPv6Network | IPv4Address | IPv6Address | NewEntry | Entry | EntryInfo | Mapping[str, Any]
)
"""One entry to store: a CIDR, an `ipaddress` network or address, an entry, or its JSON object."""

Cidrs: TypeAlias = Listed | Iterable[Listed]
"""Entries to store: one text with CIDRs separated by commas or newlines, one entry, or several."""

EntryReference: TypeAlias = int | str | IPv4Network | IPv6Network | Entry | EntryInfo
"""What names an entry of a list: its id, its network, or the entry itself."""

_ONE = (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address, NewEntry, Entry, Mapping)
_SETTABLE = tuple(one.name for one in fields(NewEntry) if one.name != "cidr")


def submission(cidrs: Cidrs, details: EntryDetails) -> dict[str, Any]:
    """Return the body that submits entries.

    Args:
        cidrs: The entries.
        details: The details of every entry that does not have its own.

    Raises:
        TypeError: If an element is not an entry.

    Example:
        >>> submission("8.8.8.0/24, 1.1.1.1/32", {"label": "dns"})
        {'cidrs': '8.8.8.0/24, 1.1.1.1/32', 'label': 'dns'}
        >>> submission([IPv4Network("8.8.8.0/24"), NewEntry("1.1.1.1/32", label="dns")], {})
        {'entries': [{'cidr': '8.8.8.0/24'}, {'cidr': '1.1.1.1/32', 'label': 'dns'}]}
    """
    if isinstance(cidrs, str):
        body: dict[str, Any] = {"cidrs": cidrs}
    else:
        elements = [cidrs] if isinstance(cidrs, _ONE) else cidrs
        body = {"entries": [entry for element in elements for entry in _entries(element)]}
    return body | {name: json_value(value) for name, value in details.items()}


def _entries(element: Listed) -> list[dict[str, Any]]:
    """Return the entries of one element: a text may have several."""
    details: dict[str, Any] = {}
    if isinstance(element, str):
        text = element
    elif isinstance(element, IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        text = prefix_text(element)
    elif isinstance(element, NewEntry):
        text, details = element.cidr, dict(element.said())
    elif isinstance(element, Entry):
        text, details = element.cidr, {name: getattr(element, name) for name in _SETTABLE}
    elif isinstance(element, Mapping):
        return [{name: json_value(value) for name, value in element.items()}]
    else:
        raise TypeError(f"an entry must be a str, an ipaddress network or a NewEntry, not {type(element).__name__}")
    told = {name: json_value(value) for name, value in details.items()}
    return [{"cidr": cidr.strip(), **told} for cidr in text.replace(",", "\n").split("\n") if cidr.strip()]


def declared_account(declared: Cidrs | Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that declares one account.

    Example:
        >>> declared_account("8.8.8.0/24"), declared_account({"parent": "acct-1"})
        ({'entries': [{'cidr': '8.8.8.0/24'}]}, {'parent': 'acct-1'})
    """
    if isinstance(declared, Mapping) and "cidr" not in declared:
        said = dict(declared)
        if said.get("entries") is not None:
            said["entries"] = declared_account(said["entries"])["entries"]
        return said
    elements = [declared] if isinstance(declared, _ONE) else declared
    return {"entries": [entry for element in elements for entry in _entries(element)]}


def changes(cidr: str | IPv4Network | IPv6Network | None, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that edits an entry: only what changes."""
    changed = {name: json_value(value) for name, value in details.items() if value is not ...}
    return changed if cidr is None else {"cidr": prefix_text(cidr), **changed}


def confirmations(confirm: Iterable[str], *, allow_empty: bool = False, allow_lock_out: bool = False) -> list[str]:
    """Return the names of the confirmations.

    Raises:
        TypeError: If `confirm` is not a collection of names, or a switch is neither True nor False.
    """
    if isinstance(confirm, bool | str):
        raise TypeError("confirm must be a collection of names, such as {'lock_out'}")
    truth(allow_empty, "allow_empty")
    truth(allow_lock_out, "allow_lock_out")
    said = {"disable_enforcement": allow_empty, "lock_out": allow_lock_out}
    return sorted({*confirm, *(name for name, allowed in said.items() if allowed)})


def entry_id(account: str, listed: Iterable[EntryInfo], network: str | IPv4Network | IPv6Network) -> int:
    """Return the id of the entry of a list with a network.

    Raises:
        EntryNotFoundError: If the list does not contain the network.
    """
    try:
        wanted = str(ip_network(network))
    except ValueError:
        wanted = str(network)
    for entry in listed:
        if entry.cidr == wanted:
            return entry.id
    raise EntryNotFoundError(f"account {account!r} does not list {wanted!r}", account=account, entries=[str(network)])


def path_of(account: str, *parts: str | int) -> str:
    """Return a path below an account.

    Example:
        >>> path_of("a/b", "entries", 7), path_of("..")
        ('/v1/accounts/a%2Fb/entries/7', '/v1/accounts/%2E%2E')
    """
    # A URL parser reads a name that consists of dots as a relative path segment.
    name = quote(account, safe="").replace(".", "%2E")
    return "/".join(["/v1/accounts", name, *map(str, parts)])


def address_text(address: str | IPv4Address | IPv6Address) -> str:
    """Return an address as text.

    Raises:
        TypeError: If it is something else, whose text would be asked about instead.
    """
    if not isinstance(address, str | IPv4Address | IPv6Address):
        raise TypeError(f"an address must be text or an ipaddress object, not {address!r}")
    return str(address)


def json_value(value: object) -> object:
    """Return a value as JSON has it."""
    return value.isoformat() if isinstance(value, datetime) else value
