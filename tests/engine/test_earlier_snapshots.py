"""Snapshots of earlier format versions open, answer as they did, change, and are saved in today's format.

`data/format-1.snapshot.xz` was written by the engine before format 2, from `lists()`.
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

FORMAT_1 = Path(__file__).parent / "data" / "format-1.snapshot.xz"


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


def answers(matcher: Matcher) -> dict[str, tuple[list[bool], list[str | None]]]:
    """What is answered for addresses inside and beside the networks of each list."""
    found = {}
    for name, prefixes in lists().items():
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


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "format-1.snapshot"
    path.write_bytes(lzma.decompress(FORMAT_1.read_bytes()))
    return path


@pytest.mark.parametrize("open_it", [Matcher.open, lambda path: Matcher.open(path, trusted=True)])
def test_a_file_of_format_1_opens_and_answers(
    earlier: Path, open_it: Callable[[Path], Matcher], tmp_path: Path
) -> None:
    now = Matcher()
    for name, prefixes in lists().items():
        now.publish(name, prefixes)
    opened = open_it(earlier)
    assert {name: opened.prefixes(name) for name in lists()} == {name: now.prefixes(name) for name in lists()}
    assert answers(opened) == answers(now)
    assert not opened.allows("closed", "8.8.8.8")
    assert opened.allows("open", "8.8.8.8")
    assert opened.prefixes("subaccount") == opened.prefixes("few")
    opened.publish("hundreds", ["8.8.8.0/24"])
    assert opened.match("subaccount", "8.8.8.8") == opened.match("few", "8.8.8.8")
    assert opened.prefixes("hundreds") == ["8.8.8.0/24"]
    opened.publish("hundreds", lists()["hundreds"])
    opened.save(tmp_path / "again.snapshot")
    assert answers(Matcher.open(tmp_path / "again.snapshot")) == answers(now)


def test_the_file_is_of_format_1(earlier: Path) -> None:
    assert earlier.read_bytes()[8:12] == b"\x01\0\0\0"
