"""The smallest cover against a search of every cover, in universes that are small enough for it."""

from __future__ import annotations

import gc
import signal
import threading
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate._engine import SmallestCover
from cidrgate.errors import InvalidAddressError

if TYPE_CHECKING:
    from collections.abc import Iterator

Network: TypeAlias = IPv4Network | IPv6Network

MAPPED = ip_network("::ffff:0:0/96")
UNIVERSES = [ip_network("8.8.8.248/29"), ip_network("2606:4700::8/125")]
IPV4_WEIGHT = 2**64

# --- Every cover of a universe of eight addresses: each set of networks of which none overlap.


def cuts(network: Network) -> list[tuple[Network, ...]]:
    """Every set of disjoint networks inside of a network, the empty one and the network itself included."""
    if network.prefixlen == network.max_prefixlen:
        return [(), (network,)]
    low, high = network.subnets()
    return [(network,), *((*one, *other) for one in cuts(low) for other in cuts(high))]


CUTS = cache(cuts)
INSIDE = [network for universe in UNIVERSES for bits in range(4) for network in universe.subnets(bits)]


def overlaps(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def outermost(networks: list[Network]) -> list[Network]:
    return [one for one in set(networks) if not any(one != other and within(one, other) for other in networks)]


def within(one: Network, other: Network) -> bool:
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


def cost(cover: tuple[Network, ...]) -> int:
    return sum(one.num_addresses * (IPV4_WEIGHT if one.version == 4 else 1) for one in cover)


def curve_of(covers: Iterator[tuple[Network, ...]], wanted: list[Network], most: int) -> dict[int, int]:
    """The least cost of the extra addresses of the covers, by their number of entries."""
    needed = cost(tuple(wanted))
    found: dict[int, int] = {}
    for cover in covers:
        if 0 < len(cover) <= most:
            found[len(cover)] = min(found.get(len(cover), cost(cover) - needed), cost(cover) - needed)
    return found


def check_networks(
    cover: SmallestCover, wanted: list[Network], barred: list[Network], most: int, step: int = 1
) -> None:
    """Every point of the curve has networks of exactly this cost, which cover all and overlap nothing barred."""
    needed = cost(tuple(wanted))
    for entries, ipv4, ipv6 in cover.curve()[::step]:
        texts = cover.networks(entries)
        chosen = [ip_network(text) for text in texts]
        assert len(chosen) == entries <= most
        assert cost(tuple(chosen)) - needed == ipv4 * IPV4_WEIGHT + ipv6
        assert all(any(within(one, other) for other in chosen) for one in wanted)
        assert not any(overlaps(one, other) for one in chosen for other in barred)
        assert not any(overlaps(one, other) for one in chosen for other in chosen if one is not other)
        assert texts == sorted(texts, key=lambda text: (ip_network(text).version, ip_network(text).network_address))


@settings(max_examples=60)
@given(
    networks=st.lists(st.sampled_from(INSIDE), max_size=9),
    barred=st.lists(st.sampled_from(INSIDE), max_size=3),
    most=st.integers(1, 17),
    widest=st.tuples(st.integers(29, 32), st.integers(125, 128)),
)
def test_no_cover_of_a_small_universe_is_better(
    networks: list[Network], barred: list[Network], most: int, widest: tuple[int, int]
) -> None:
    bound = dict(zip((4, 6), widest, strict=True))
    cover = SmallestCover(map(str, networks), map(str, barred), most, *widest, bar_mapped=False)
    is_barred = [any(overlaps(one, other) for other in barred) for one in networks]
    kept = [
        one for one, bad in zip(networks, is_barred, strict=True) if not bad and one.prefixlen >= bound[one.version]
    ]
    assert cover.barred() == [
        at for at, bad in enumerate(is_barred) if bad and not any(within(networks[at], one) for one in kept)
    ]
    assert cover.wide() == [
        at
        for at, one in enumerate(networks)
        if not is_barred[at] and one not in kept and not any(within(one, other) for other in kept)
    ]
    wanted = outermost(kept)

    def covers(universe: Network) -> list[tuple[Network, ...]]:
        mine = [one for one in wanted if one.version == universe.version]
        return [
            cut
            for cut in CUTS(universe)
            if all(one.prefixlen >= bound[one.version] and any(within(leaf, one) for leaf in mine) for one in cut)
            and all(any(within(leaf, one) for one in cut) for leaf in mine)
            and not any(overlaps(one, other) for one in cut for other in barred)
        ]

    ipv4, ipv6 = map(covers, UNIVERSES)
    every = curve_of(((*one, *other) for one in ipv4 for other in ipv6), wanted, 16)
    assert {entries: a * IPV4_WEIGHT + b for entries, a, b in cover.curve()} == {
        entries: value for entries, value in every.items() if entries <= most
    }
    assert cover.fewest == min(every, default=0)
    assert cover.leaves == len(wanted)
    check_networks(cover, wanted, barred, most)


# --- Addresses anywhere: every division of them into groups, each in the narrowest network that contains it.

ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: ip_network(number)),
    st.integers(2**32, 2**128 - 1).map(lambda number: ip_network(number)),
    # Those near others, and at both ends.
    st.tuples(st.sampled_from([0x08080808, 0x08080000, 0, 2**32 - 1]), st.integers(0, 31)).map(
        lambda drawn: ip_network(drawn[0] ^ 1 << drawn[1])
    ),
    st.tuples(st.sampled_from([0x26064700 << 96, 0xFFFF << 33, 2**128 - 1]), st.integers(0, 127)).map(
        lambda drawn: ip_network((drawn[0] ^ 1 << drawn[1]).to_bytes(16))
    ),
).filter(lambda network: not overlaps(network, MAPPED))


def spanned(group: list[Network]) -> Network:
    network = group[0]
    while not all(within(one, network) for one in group):
        network = network.supernet()
    return network


def divisions(networks: list[Network]) -> Iterator[list[list[Network]]]:
    """Every division of networks of one family into groups."""
    if not networks:
        yield []
        return
    first, *rest = networks
    for division in divisions(rest):
        yield [[first], *division]
        for at, group in enumerate(division):
            yield [*division[:at], [first, *group], *division[at + 1 :]]


@settings(max_examples=100)
@given(
    addresses=st.lists(ADDRESSES, max_size=6, unique=True),
    barred=st.lists(ADDRESSES.flatmap(lambda one: st.integers(0, one.max_prefixlen).map(one.supernet)), max_size=2),
    most=st.integers(1, 7),
    widest=st.tuples(st.integers(0, 32), st.integers(0, 128)) | st.just((0, 0)),
    mapped=st.booleans(),
)
def test_no_division_of_any_addresses_is_better(
    addresses: list[Network], barred: list[Network], most: int, widest: tuple[int, int], mapped: bool
) -> None:
    bound = dict(zip((4, 6), widest, strict=True))
    # What the engine reads as IPv4 is no IPv6 network for it.
    barred = [one for one in barred if not within(one, MAPPED)]
    everything = [*barred, MAPPED] if mapped else barred
    cover = SmallestCover(map(str, addresses), map(str, barred), most, *widest, bar_mapped=mapped)
    wanted = [one for one in addresses if not any(overlaps(one, other) for other in barred)]
    found = []
    for version in (4, 6):
        covers = set()
        for division in divisions([one for one in wanted if one.version == version]):
            networks = frozenset(map(spanned, division))
            if all(one.prefixlen >= bound[version] for one in networks) and not any(
                overlaps(one, other) for one in networks for other in [*everything, *(networks - {one})]
            ):
                covers.add(tuple(networks))
        found.append(covers)
    every = curve_of(((*one, *other) for one in found[0] for other in found[1]), wanted, 6)
    assert {entries: a * IPV4_WEIGHT + b for entries, a, b in cover.curve()} == {
        entries: value for entries, value in every.items() if entries <= most
    }
    assert cover.fewest == min(every, default=0)
    check_networks(cover, wanted, everything, most)


# --- What is exact only with wide numbers, and larger covers.


def test_the_widest_networks_are_counted_exactly() -> None:
    ends = ["::/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]
    assert SmallestCover(ends, [], 1, 0, 0, bar_mapped=False).curve() == [(1, 0, 2**128 - 2)]
    assert SmallestCover([*ends, "8000::/1"], [], 2, 0, 0, bar_mapped=False).curve() == [(1, 0, 2**127 - 1), (2, 0, 0)]
    both = SmallestCover([*ends, "0.0.0.0/32", "255.255.255.255/32"], [], 3, 0, 0, bar_mapped=False)
    assert both.curve() == [(2, 2**32 - 2, 2**128 - 2), (3, 2**32 - 2, 0)]
    assert SmallestCover(["::/0", "8.8.8.8/32", "8.8.8.8/31"], [], 5, 0, 0, bar_mapped=False).networks(2) == [
        "8.8.8.8/31",
        "::/0",
    ]


@given(st.sets(st.integers(0, 2**16 - 1), min_size=1, max_size=300), st.integers(1, 40))
def test_the_curve_never_rises_and_ends_at_nothing(numbers: set[int], most: int) -> None:
    texts = [f"8.8.{number >> 8}.{number & 255}/32" for number in numbers]
    cover = SmallestCover(texts, [], most, 0, 0, bar_mapped=True)
    curve = cover.curve()
    assert [entries for entries, _, _ in curve] == list(range(1, min(most, len(numbers)) + 1))
    assert all(before >= after for (_, before, _), (_, after, _) in pairwise(curve))
    assert (curve[-1][1] == 0) or most < len(numbers)
    check_networks(cover, list(map(ip_network, texts)), [], most, step=11)
    longer = SmallestCover(reversed(texts), [], most + 7, 0, 0, bar_mapped=True)
    assert longer.curve()[: len(curve)] == curve
    assert longer.networks(len(curve)) == cover.networks(len(curve))


def test_every_division_has_its_table() -> None:
    """A list with as many entries as addresses, where each number of entries on both sides is used."""
    texts = [f"8.8.{number}.{number}/32" for number in range(64)] + [f"2606:4700::{n:x}/128" for n in range(0, 128, 2)]
    cover = SmallestCover(texts, [], 65_535, 0, 0, bar_mapped=True)
    assert (cover.fewest, cover.leaves, len(cover.curve())) == (2, 128, 127)
    check_networks(cover, list(map(ip_network, texts)), [], 128, step=9)


# --- The boundary.


def test_what_is_wrong_is_refused() -> None:
    for most in (0, -1, 65_536):
        with pytest.raises(ValueError, match="most must be 1 to 65,535"):
            SmallestCover([], [], most, 0, 0, bar_mapped=True)
    for networks, barred in ((["8.8.8.8"], []), ([], ["x"])):
        with pytest.raises(InvalidAddressError):
            SmallestCover(networks, barred, 1, 0, 0, bar_mapped=True)
    with pytest.raises(TypeError, match="write \\[prefix\\]"):
        SmallestCover("8.8.8.8/32", [], 1, 0, 0, bar_mapped=True)
    cover = SmallestCover(["8.8.8.8/32", "9.9.9.9/32"], ["8.0.0.0/9"], 1, 0, 0, bar_mapped=True)
    for entries in (0, 2, 2**31):
        with pytest.raises(ValueError, match="no cover of"):
            cover.networks(entries)
    empty = SmallestCover([], [], 5, 0, 0, bar_mapped=True)
    assert (empty.fewest, empty.leaves, empty.curve()) == (0, 0, [])
    with pytest.raises(ValueError, match="no cover of"):
        empty.networks(0)


def long_work() -> SmallestCover:
    """Takes minutes if nothing ends it."""
    texts = [f"{8 + (n >> 20)}.{n >> 12 & 255}.{n >> 4 & 255}.{(n & 15) * 16}/32" for n in range(0, 3_000_000, 23)]
    return SmallestCover(texts, [], 65_535, 0, 0, bar_mapped=True)


def test_long_work_can_be_interrupted() -> None:
    class EnoughError(Exception):
        pass

    def interrupt(*_: Any) -> None:
        raise EnoughError

    earlier = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        with pytest.raises(EnoughError):
            long_work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    gc.collect()


def test_threads_may_share_a_cover() -> None:
    texts = [f"8.{n >> 8}.{n & 255}.1/32" for n in range(0, 5_000, 7)]
    cover = SmallestCover(texts, [], 50, 0, 0, bar_mapped=True)
    expected = (cover.curve(), cover.networks(50))
    found = []
    threads = [threading.Thread(target=lambda: found.append((cover.curve(), cover.networks(50)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 4
