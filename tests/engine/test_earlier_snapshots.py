"""Snapshots of earlier format versions open, answer as they did, change, and are saved in today's format.

`data/format-1.snapshot.xz` was written by the engine before format 2, from `lists()`. `data/format-2.snapshot.xz` was
written by the first engine of format 2, from `lists()` and `deep_lists()`, and `data/format-3.snapshot.xz` by the first
one of format 3, from these and `compact_lists()`.
"""

from __future__ import annotations

import lzma
import random
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cidrgate import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data"


def ipv4(source: random.Random, count: int) -> list[str]:
    """Networks of many lengths, some inside others."""
    lengths = [source.choice([8, 15, 16, 20, 24, 24, 25, 31, 32]) for _ in range(count)]
    return sorted({str(IPv4Network((source.getrandbits(32), length), strict=False)) for length in lengths})


def ipv6(source: random.Random, count: int) -> list[str]:
    """The same, for IPv6."""
    lengths = [source.choice([20, 32, 33, 48, 56, 64, 65, 127, 128]) for _ in range(count)]
    return sorted(
        {
            str(
                IPv6Network(
                    (0x26 << 120 | source.getrandbits(14) << 106 | source.getrandbits(80), length), strict=False
                )
            )
            for length in lengths
        }
    )


def lists() -> dict[str, list[str]]:
    """The account's lists: as arrays, as indexes, and with a direct root."""
    source = random.Random(20_261_126)
    sizes = {"few": 9, "sixty-four": 64, "index": 70, "hundreds": 700, "root": 4_300}
    return {name: ipv4(source, size) + ipv6(source, size) for name, size in sizes.items()}


def deep_lists() -> dict[str, list[str]]:
    """Lists of long prefixes: leaves, runs and skips, with and without the last 64 bits."""
    source = random.Random(20_261_127)
    hosts = [IPv6Network((0x2600 << 112 | source.getrandbits(112), 128)) for _ in range(300)]
    siblings = [IPv6Network((0x2A00 << 112 | 5 << 80 | number << 4, 124)) for number in range(200)]
    upper = [IPv6Network((0x2A00 << 112 | source.getrandbits(40) << 64, 64)) for _ in range(300)]
    return {
        "hosts": sorted({str(network) for network in [*hosts, *siblings]}),
        "upper": sorted({str(network) for network in [*upper, IPv6Network("2a00::/20")]}),
        "IPv4": sorted({f"{IPv4Network((1 << 24 | source.getrandbits(25), 32))}" for _ in range(900)}),
    }


def compact_lists() -> dict[str, list[str]]:
    """Final nodes, few last 64 bits, and a direct root of IPv6 that begins and ends with the prefixes."""
    final = [IPv4Network((9 << 24 | number << 9, 23 + number % 2)) for number in range(200)]
    sparse = [IPv6Network((0x2600 << 112 | number << 90, 48)) for number in range(100)]
    root = [IPv6Network(((0x2000 + number) << 112 | number << 96, 32)) for number in range(0x2400)]
    return {
        "final": [str(network) for network in [*final, IPv4Network("9.0.0.0/8")]],
        "sparse": [str(network) for network in [*sparse, IPv6Network("2600::1:2/128"), IPv6Network("2600:0:0:2::/66")]],
        "root6": [str(network) for network in root],
    }


def lists_of(version: int) -> dict[str, list[str]]:
    """The lists in the file of a format."""
    return lists() | (deep_lists() if version > 1 else {}) | (compact_lists() if version > 2 else {})


def answers(matcher: Matcher, version: int) -> dict[str, tuple[list[bool], list[str | None]]]:
    """What is answered for addresses inside and beside the networks of each list."""
    found = {}
    for name, prefixes in lists_of(version).items():
        source = random.Random(7)
        asked = []
        for prefix in source.sample(prefixes, min(300, len(prefixes))):
            network = (IPv6Network if ":" in prefix else IPv4Network)(prefix)
            at = source.randrange(network.num_addresses)
            asked += [str(network[at]), str(network.network_address + source.choice([-1, network.num_addresses]))]
        asked = [address for address in asked if not address.startswith("::ffff")]
        many = matcher.allows_many(name, asked)
        single = [matcher.match(name, address) for address in asked]
        assert np.array_equal(many, [match is not None for match in single])
        found[name] = (many.tolist(), single)
    return found


@pytest.fixture(scope="module", params=[1, 2, 3])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def earlier(version: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / f"format-{version}.snapshot"
    path.write_bytes(lzma.decompress((DATA / f"{path.name}.xz").read_bytes()))
    return path


@pytest.mark.parametrize("open_it", [Matcher.open, lambda path: Matcher.open(path, trusted=True)])
def test_a_file_of_an_earlier_format_opens_and_answers(
    earlier: Path, version: int, open_it: Callable[[Path], Matcher], tmp_path: Path
) -> None:
    now = Matcher()
    names = lists_of(version)
    for name, prefixes in names.items():
        now.publish(name, prefixes)
    opened = open_it(earlier)
    assert {name: opened.prefixes(name) for name in names} == {name: now.prefixes(name) for name in names}
    assert answers(opened, version) == answers(now, version)
    assert not opened.allows("closed", "8.8.8.8")
    assert opened.allows("open", "8.8.8.8")
    assert opened.prefixes("subaccount") == opened.prefixes("few")
    opened.publish("hundreds", ["8.8.8.0/24"])
    assert opened.match("subaccount", "8.8.8.8") == opened.match("few", "8.8.8.8")
    assert opened.prefixes("hundreds") == ["8.8.8.0/24"]
    opened.publish("hundreds", lists()["hundreds"])
    opened.save(tmp_path / "again.snapshot")
    assert answers(Matcher.open(tmp_path / "again.snapshot"), version) == answers(now, version)


def test_a_file_is_of_its_format(earlier: Path, version: int) -> None:
    assert earlier.read_bytes()[8:12] == bytes([version, 0, 0, 0])


def test_more_accounts_find_room_in_the_index_of_an_earlier_file(earlier: Path) -> None:
    opened = Matcher.open(earlier)
    before = list(opened)
    for number in range(50):
        opened.publish(f"acct-{number}", ["8.8.8.0/24"])
        assert all(name in opened for name in before)
    assert list(opened) == [*before, *(f"acct-{number}" for number in range(50))]
