"""nftables: two sets of intervals for each account, and a chain that drops what is in neither.

    add set inet cidrgate account_acct-1_v4 { type ipv4_addr; flags interval; }
    add chain inet cidrgate account_acct-1

In a chain of the table `inet cidrgate`, the operator jumps to the chain for the packets of the account: those to its
port or its address. A packet that is allowed returns. `nft -f` carries out the whole file or nothing. It replaces what
is in these sets and chains, and leaves others as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.formatters.formatter import Formatter, UnwritableListError, escaped, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cidrgate.formatters.formatter import AccountList

__all__ = ["NFTABLES"]

_TABLE = "inet cidrgate"
_LONGEST_NAME = 255
"""Characters of the name of a set or a chain at most (`NFT_NAME_MAXLEN` of Linux)."""

_FAMILIES = (("v4", "ip", "ipv4_addr"), ("v6", "ip6", "ipv6_addr"))
_IN_A_LINE = 1_000
"""Elements that one command adds: a line of a long list stays readable."""

_BEGINNING = f"""\
# Written by cidrgate: `cidrgate export --format nftables`. Load it with `nft -f FILE`, and jump to the chain of an
# account in a chain of the table `{_TABLE}`, such as: tcp dport 8443 jump account_acct-1
add table {_TABLE}
"""


def _write(lists: Iterable[AccountList]) -> Iterator[str]:
    yield _BEGINNING
    for one in lists:
        chain = f"account_{escaped(one.account, '.')}"
        if len(chain) > _LONGEST_NAME - len("_v4"):
            raise UnwritableListError(
                f"the name of account {one.account!r} is too long for nftables: its sets would have names of "
                f"{len(chain) + len('_v4')} characters, and at most {_LONGEST_NAME} are possible"
            )
        yield f"# {quoted(one.account)}\nadd chain {_TABLE} {chain}\nflush chain {_TABLE} {chain}\n"
        for suffix, protocol, kind in _FAMILIES:
            cidrs = [cidr for cidr in one.cidrs or () if (":" in cidr) == (suffix == "v6")]
            name = f"{_TABLE} {chain}_{suffix}"
            yield f"add set {name} {{ type {kind}; flags interval; }}\nflush set {name}\n"
            for first in range(0, len(cidrs), _IN_A_LINE):
                yield f"add element {name} {{ {', '.join(cidrs[first : first + _IN_A_LINE])} }}\n"
            if one.cidrs is not None:
                yield f"add rule {_TABLE} {chain} {protocol} saddr @{chain}_{suffix} return\n"
        yield f"add rule {_TABLE} {chain} {'return' if one.cidrs is None else 'drop'}\n"


NFTABLES = Formatter(
    name="nftables",
    extension="nft",
    subject="a ruleset for nftables",
    write=_write,
    finds_account=False,
    unknown="has no chain, so the rules around decide",
)
