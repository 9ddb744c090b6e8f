"""A routing table of the whole Internet to measure with, and the lists of many accounts made of it.

The table is the real one where the file of it is at hand; elsewhere one of the same size and the same distribution of
prefix lengths is made from a seed.
"""

from __future__ import annotations

import gzip
import os
import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton

from cidrgate import PrefixTrie
from cidrgate.rules import special_block

__all__ = ["IPV4_LENGTHS", "IPV6_LENGTHS", "RoutingTable", "generated_table", "routing_table", "spread_over_accounts"]

_VARIABLE = "CIDRGATE_ROUTING_TABLE"
_NEAR = Path(__file__).parents[1] / ".." / "shared" / "data" / "routing-table.txt.gz"
_SEED = 20_251_124

# Prefix length -> number of prefixes, counted in the table of 1,062,046 prefixes that gaissmai/bart tests with
# (internal/tests/testdata/prefixes.txt.gz, commit c4b30e2e895b, MIT licence).
# fmt: off
IPV4_LENGTHS = {
    8: 16, 9: 13, 10: 38, 11: 103, 12: 299, 13: 581, 14: 1_203, 15: 2_100, 16: 13_490, 17: 8_235, 18: 13_798,
    19: 24_870, 20: 42_611, 21: 50_750, 22: 108_623, 23: 96_510, 24: 537_698, 25: 20, 26: 3, 27: 11, 28: 18, 29: 17,
    30: 3, 31: 3, 32: 886,
}
IPV6_LENGTHS = {
    16: 1, 19: 1, 20: 16, 21: 3, 22: 7, 23: 8, 24: 30, 25: 8, 26: 15, 27: 20, 28: 193, 29: 4_371, 30: 650, 31: 284,
    32: 22_548, 33: 2_926, 34: 2_603, 35: 1_043, 36: 5_996, 37: 880, 38: 1_617, 39: 1_377, 40: 13_418, 41: 903,
    42: 2_301, 43: 1_001, 44: 14_365, 45: 1_553, 46: 3_039, 47: 3_153, 48: 75_488, 49: 11, 50: 3, 52: 1, 55: 1, 56: 24,
    58: 20, 60: 2, 64: 184, 112: 2, 122: 1, 124: 4, 125: 9, 126: 19, 127: 42, 128: 6,
}
# fmt: on

_NESTED = {4: 0.0, 6: 0.57}
"""How likely a prefix is drawn inside a shorter one. The IPv4 space is so full that chance nests enough: two thirds of
the generated prefixes, where it is half of the real ones."""

_IPV6_BLOCKS = (0x240, 0x240, 0x260, 0x280, 0x2A0, 0x2A0)
"""The /12 blocks IPv6 prefixes are drawn from, about as often as the registries that own them announce some."""


_TRIES = 8
"""How many accounts are tried for a prefix before it is left out: most are free at the first try."""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A routing table.

    Attributes:
        prefixes: Canonical texts, each once.
        source: Where they come from, for the report of a measurement.
    """

    prefixes: list[str]
    source: str


def routing_table() -> RoutingTable:
    """The real table if its file is at hand, else a generated one.

    The file has one prefix a line and is compressed by gzip. `CIDRGATE_ROUTING_TABLE` names it.

    Raises:
        OSError: If the file that the variable names cannot be read.
    """
    named = os.environ.get(_VARIABLE)
    path = Path(named) if named else _NEAR
    if not named and not path.is_file():
        prefixes = generated_table()
        made = "a table generated from a seed with the prefix lengths of the Internet's"
        return RoutingTable(prefixes, f"{made}, {len(prefixes):,} prefixes")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        prefixes = list(PrefixTrie(lines.read().split()))
    return RoutingTable(prefixes, f"the Internet's real routing table, {len(prefixes):,} prefixes")


def generated_table(
    ipv4_lengths: dict[int, int] = IPV4_LENGTHS,
    ipv6_lengths: dict[int, int] = IPV6_LENGTHS,
    seed: int = _SEED,
) -> list[str]:
    """A table drawn at random, more than half of it nested, the same for the same arguments.

    Args:
        ipv4_lengths: How many prefixes of each length, for IPv4: 8 or longer, and no more than there are.
        ipv6_lengths: How many prefixes of each length, for IPv6: 12 or longer, and no more than there are.
        seed: Of the random numbers.

    Returns:
        Canonical texts in address order, IPv4 first.

    Example:
        >>> table = generated_table({8: 1, 24: 2}, {32: 1})
        >>> len(table), [text.rpartition("/")[2] for text in table].count("24")
        (4, 2)
    """
    chance = random.Random(seed)
    octets = [octet for octet in range(1, 224) if special_block(f"{octet}.0.0.0/8") is None]
    ipv4 = _drawn(chance, 32, ipv4_lengths, tuple(octets), 8, _NESTED[4])
    ipv6 = _drawn(chance, 128, ipv6_lengths, _IPV6_BLOCKS, 12, _NESTED[6])
    texts = [f"{IPv4Address(network)}/{length}" for network, length in ipv4]
    texts += [f"{IPv6Address(network)}/{length}" for network, length in ipv6]
    return list(PrefixTrie(texts))


def spread_over_accounts(prefixes: list[str], accounts: int, max_entries: int) -> dict[str, list[str]]:
    """Lists of many accounts that keep the rules, made of a routing table.

    Special ranges are left out, and when there are more prefixes than the accounts may hold, some evenly. A prefix
    nested in another goes to another account; one that every account tried would overlap with is left out.

    Args:
        prefixes: Any prefixes; a text that is there twice counts once.
        accounts: How many accounts.
        max_entries: Most entries of one.

    Returns:
        Canonical prefixes by account name, `demo-00001` first. `sum(map(len, lists.values()))` of the prefixes are
        used, the others are left out.

    Raises:
        InvalidAddressError: If a text is no prefix.

    Example:
        >>> spread_over_accounts(["8.0.0.0/8", "8.8.8.0/24", "10.0.0.0/8", "9.9.9.9/32"], 2, 2)
        {'demo-00001': ['8.0.0.0/8', '9.9.9.9/32'], 'demo-00002': ['8.8.8.0/24']}
    """
    usable = [prefix for prefix in PrefixTrie(prefixes) if special_block(prefix) is None]
    lists: list[list[str]] = [[] for _ in range(accounts)]
    # In address order a prefix overlaps one before it only if it begins before that one ends.
    ends = [(0, -1)] * accounts
    turn = 0
    for prefix in _evenly(usable, accounts * max_entries):
        family, first, last = _range(prefix)
        for _ in range(_TRIES):
            account, turn = turn, (turn + 1) % accounts
            free = len(lists[account]) < max_entries and (family, first) > ends[account]
            if free:
                lists[account].append(prefix)
                ends[account] = (family, last)
                break
    return {f"demo-{number:05}": held for number, held in enumerate(lists, start=1) if held}


def _evenly(prefixes: list[str], most: int) -> list[str]:
    """At most so many of the prefixes, from everywhere in the table."""
    count = len(prefixes)
    if count <= most:
        return prefixes
    return [prefixes[place * count // most] for place in range(most)]


def _range(prefix: str) -> tuple[int, int, int]:
    """The family, the first address and the last address of a prefix, as numbers."""
    address, _, length = prefix.partition("/")
    family, bits = (AF_INET6, 128) if ":" in address else (AF_INET, 32)
    first = int.from_bytes(inet_pton(family, address))
    return (bits, first, first | ((1 << (bits - int(length))) - 1))


def _drawn(
    chance: random.Random, bits: int, lengths: dict[int, int], blocks: tuple[int, ...], block_length: int, nested: float
) -> list[tuple[int, int]]:
    """Distinct prefixes of one family as pairs of network and length, so many of each length."""
    drawn: list[tuple[int, int]] = []
    for length in sorted(lengths):
        shorter = len(drawn)
        seen: set[int] = set()
        while len(seen) < lengths[length]:
            if shorter and chance.random() < nested:
                outside, outside_length = drawn[chance.randrange(shorter)]
            else:
                outside = chance.choice(blocks) << (bits - block_length)
                outside_length = block_length
            inside = chance.getrandbits(length - outside_length) if length > outside_length else 0
            network = outside | inside << (bits - length)
            if network not in seen:
                seen.add(network)
                drawn.append((network, length))
    return drawn
