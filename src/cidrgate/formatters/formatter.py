"""What every formatter takes and is: the list of an account, and a row of the table of formatters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv6Network
from string import ascii_letters, digits
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["AccountList", "Formatter", "UnwritableListError", "escaped", "halved", "quoted", "without_mapped"]

_MAPPED = IPv6Network("::ffff:0:0/96")
_PLAIN = frozenset(ascii_letters + digits + "-")
_HALVES = {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}

EVERY_ADDRESS = tuple(half for halves in _HALVES.values() for half in halves)
"""Networks that contain every address, for programs that have no other word for it and refuse /0."""


class UnwritableListError(ValueError):
    """A program cannot hold a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountList:
    """The list of an account, as a program has to enforce it.

    Attributes:
        account: The account.
        subaccounts: The accounts that inherit the list.
        cidrs: The networks whose addresses are allowed: canonical, in address order, without overlaps. With none, every
            address is denied. None means that the list is not enforced: every address is allowed.
    """

    account: str
    subaccounts: tuple[str, ...] = ()
    cidrs: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatter:
    """How lists are written for a program.

    Attributes:
        name: The name of the format.
        extension: How names of its files end.
        subject: What is written, with an article: the subject of messages about it.
        write: From lists to the text of a file, in pieces. It raises `UnwritableListError` for a list that the program
            cannot hold.
        finds_account: Whether the program finds the account of each request. If not, the operator says which list
            counts where, so subaccounts are not written: their requests are checked with the list of their parent.
        unknown: What happens to a request whose account is not in the file.
    """

    name: str
    extension: str
    subject: str
    write: Callable[[Iterable[AccountList]], Iterator[str]]
    finds_account: bool
    unknown: str


def quoted(account: str) -> str:
    r"""Return an account's name for a comment: printable ASCII in quotes.

    Example:
        >>> print(quoted('Zoë "x"'))
        "Zo\u00eb \"x\""
    """
    return json.dumps(account)


def escaped(account: str, sign: str) -> str:
    """Return an account's name as letters, digits and `-`; each other byte is `sign` and two hexadecimal digits.

    Different accounts have different names.

    Example:
        >>> escaped("acct-1", "_"), escaped("Zoë_", "_")
        ('acct-1', 'Zo_c3_ab_5f')
    """
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"{sign}{byte:02x}" for byte in account.encode())


def halved(cidrs: Iterable[str]) -> Iterator[str]:
    """Yield networks, with the two halves of a network that contains every address of its family.

    Example:
        >>> list(halved(["0.0.0.0/0", "2606:4700::/32"]))
        ['0.0.0.0/1', '128.0.0.0/1', '2606:4700::/32']
    """
    for cidr in cidrs:
        yield from _HALVES.get(cidr, (cidr,))


def without_mapped(cidrs: Iterable[str]) -> Iterator[str]:
    """Yield networks without the IPv4-mapped addresses, which cidrgate matches as IPv4.

    On a socket for both families, a program may see an IPv4 client with such an address.

    Example:
        >>> list(without_mapped(["8.8.8.0/24", "::fffe:0:0/95"]))
        ['8.8.8.0/24', '::fffe:0:0/96']
    """
    for cidr in cidrs:
        if cidr.startswith("::") and (network := IPv6Network(cidr)).supernet_of(_MAPPED):
            yield from map(str, sorted(network.address_exclude(_MAPPED)))
        else:
            yield cidr
