"""What is measured on: tables, accounts and addresses, the same for everybody, from fixed seeds."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing_table import routing_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SMOKE", "Accounts", "addresses_for", "full_table", "many_accounts", "numbers", "small_list"]

SMOKE = bool(os.environ.get("CIDRGATE_BENCH_SMOKE"))
"""Whether everything is made small, to prove that it runs."""

ONE_AT_A_TIME = 1_000 if SMOKE else 20_000
SEED = 2026


@cache
def full_table(family: int) -> tuple[str, ...]:
    """The prefixes of one family of the routing table; every hundredth one when only proving that it runs."""
    prefixes = [prefix for prefix in routing_table().prefixes if (":" in prefix) == (family == 6)]
    return tuple(prefixes[:: 100 if SMOKE else 1])


@cache
def small_list(family: int, size: int = 50) -> tuple[str, ...]:
    """Prefixes of the routing table that do not overlap, as a customer's list."""
    found: list[str] = []
    for prefix in random.Random(SEED).sample(full_table(family), 4 * size):
        network = ip_network(prefix)
        if not any(network.overlaps(ip_network(other)) for other in found):
            found.append(prefix)
    return tuple(found[:size])


def addresses_for(prefixes: tuple[str, ...], count: int) -> list[str]:
    """Addresses in random order, half of them inside a prefix, half anywhere."""
    source = random.Random(SEED)
    found = []
    for number in range(count):
        network = ip_network(source.choice(prefixes))
        if number % 2:
            offset = source.randrange(min(network.num_addresses, 2**64))
            found.append(str(network.network_address + offset))
        elif network.version == 4:
            found.append(str(IPv4Address(source.getrandbits(32))))
        else:
            found.append(str(IPv6Address(1 << 125 | source.getrandbits(125))))
    source.shuffle(found)
    return found


def numbers(prefixes: tuple[str, ...], count: int) -> NDArray[np.uint32] | NDArray[np.uint8]:
    """The same as an array: uint32 for IPv4, uint8[n, 16] for IPv6; from at most 100,000 of the prefixes."""
    source = np.random.default_rng(SEED)
    some = random.Random(SEED).sample(prefixes, min(100_000, len(prefixes)))
    networks = [ip_network(prefix) for prefix in some]
    chosen = source.integers(0, len(networks), count // 2)
    if networks[0].version == 4:
        found = source.integers(0, 2**32, count, dtype=np.uint32)
        first = np.array([int(network.network_address) for network in networks], dtype=np.uint32)
        size = np.array([network.num_addresses for network in networks], dtype=np.uint64)
        found[::2] = first[chosen] + (found[::2] % size[chosen]).astype(np.uint32)
        source.shuffle(found)
        return found
    octets = source.integers(0, 256, (count, 16), dtype=np.uint8)
    octets[:, 0] = 0x20 | octets[:, 0] & 0x1F
    packed = np.array([list(network.network_address.packed) for network in networks], dtype=np.uint8)
    masks = np.array([list(network.hostmask.packed) for network in networks], dtype=np.uint8)
    octets[::2] = packed[chosen] | octets[::2] & masks[chosen]
    source.shuffle(octets)
    return octets


@dataclass(frozen=True, slots=True)
class Accounts:
    """Lists of accounts, and questions: `names[i]` asks for `addresses[i]`."""

    lists: dict[str, list[str]]
    names: list[str]
    addresses: list[str]


def many_accounts(count: int, entries: int, questions: int, family: int = 4) -> Accounts:
    """Accounts with random entries (/32 or /128), asked at random, half of the addresses listed."""
    source = random.Random(SEED)
    bits, base = (32, 1 << 24) if family == 4 else (128, 0x2600 << 112)
    make = IPv4Address if family == 4 else IPv6Address
    lists = {
        f"acct-{number:07d}": [
            f"{make(base | source.getrandbits(bits - 1 if family == 4 else 112))}/{bits}" for _ in range(entries)
        ]
        for number in range(count)
    }
    every = list(lists)
    names, addresses = [], []
    for number in range(questions):
        name = source.choice(every)
        listed = source.choice(lists[name]).partition("/")[0]
        names.append(name)
        addresses.append(listed if number % 2 else str(make(base | source.getrandbits(bits - 8))))
    return Accounts(lists, names, addresses)
