"""HAProxy: one map file for all accounts, in which HAProxy searches for the longest beginning of a key.

A key is the account's name in hexadecimal digits, the number of hexadecimal digits of the client's address, and the
digits that the addresses of a network have in common:

    616363742D31:8:080808 1

is the network 8.8.8.0/24 of `acct-1`. A network whose length is no multiple of four bits has up to eight keys.
HAProxy makes keys with `hex` and finds them with `map_beg`. Hexadecimal digits need no quotes, whatever the name is.

On a socket for both families, IPv4 clients have addresses in ::ffff:0:0/96. Each IPv4 network has keys for these too.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from cidrgate.formatters.formatter import Formatter, quoted, without_mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cidrgate.formatters.formatter import AccountList

__all__ = ["HAPROXY"]

_BITS = 4
"""Bits of a hexadecimal digit."""

_MAPPED = "00000000000000000000FFFF"
"""The digits that IPv4-mapped addresses have in common."""

_BEGINNING = """\
# Written by cidrgate: `cidrgate export --format haproxy`. In a frontend, after txn.account was set:
#     http-request set-var(txn.cidrgate_address) src,hex
#     http-request set-var(txn.cidrgate_digits) src,hex,length,concat(:,txn.cidrgate_address)
#     http-request set-var(txn.cidrgate_key) var(txn.account),hex,concat(:,txn.cidrgate_digits)
#     http-request deny unless { var(txn.cidrgate_key),map_beg(allowlist.map) -m found }
# These lines alone are not enough. A credential that is repeated or holds a comma must name no account, as the API may
# read another one than HAProxy, and names such as X_Account must be deleted: docs/howto/other-programs.md has the whole
# frontend.
"""


def _write(lists: Iterable[AccountList]) -> Iterator[str]:
    yield _BEGINNING
    for one in lists:
        tails = [""] if one.cidrs is None else [key for cidr in without_mapped(one.cidrs) for key in _keys(cidr)]
        for name in (one.account, *one.subaccounts):
            key = name.encode().hex().upper()
            yield f"# {quoted(name)}\n" + "".join(f"{key}:{tail} 1\n" for tail in tails)


def _keys(cidr: str) -> Iterator[str]:
    """Yield the ends of the keys of a network."""
    network = ip_network(cidr)
    digits, rest = divmod(network.prefixlen, _BITS)
    whole = network.network_address.packed.hex().upper()
    if not rest:
        tails = [whole[:digits]]
    else:
        first = int(whole[digits], 16)
        tails = [f"{whole[:digits]}{digit:X}" for digit in range(first, first + (1 << _BITS - rest))]
    for tail in tails:
        yield f"{len(whole)}:{tail}"
        if network.version == 4:
            yield f"{len(_MAPPED) + len(whole)}:{_MAPPED}{tail}"


HAPROXY = Formatter(
    name="haproxy",
    extension="map",
    subject="a map for HAProxy",
    write=_write,
    finds_account=True,
    unknown="is denied",
)
