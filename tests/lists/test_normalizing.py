"""Networks in other notations: the list allows exactly the addresses that were written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings, strategies as st

from cidrgate import NewEntry, Policy, RuleError
from cidrgate.lists import Kind, normalized
from cidrgate.lists.normalizing import normalized_entries
from cidrgate.rules import validate_replacement
from cidrgate.rules.notations import meaning_of
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Address = IPv4Address | IPv6Address
Span = tuple[int, int, int]
"""A version, and the first and the last of consecutive addresses."""

MAPPED = (0xFFFF << 32, (0xFFFF << 32) + 2**32 - 1)
"""The first and the last IPv4-mapped address."""

ANYTHING = Policy(max_entries=10_000, allow_special=True)


def spans(texts: Iterable[tuple[Address, Address]]) -> list[Span]:
    """The addresses of ranges as few spans as possible: an obviously right form of a set of addresses.

    Between addresses of IPv6, the IPv4-mapped ones mean nothing: they are matched as IPv4.
    """
    found: list[Span] = []
    whole = [(one.version, int(one), int(other)) for one, other in texts]
    for version, first, last in sorted(part for one in whole for part in without_mapped(*one)):
        if found and found[-1][0] == version and first <= found[-1][2] + 1:
            found[-1] = (version, found[-1][1], max(found[-1][2], last))
        else:
            found.append((version, first, last))
    return found


def without_mapped(version: int, first: int, last: int) -> Iterator[Span]:
    if version == 4:
        yield version, first, last
        return
    if first < MAPPED[0]:
        yield version, first, min(last, MAPPED[0] - 1)
    if last > MAPPED[1]:
        yield version, max(first, MAPPED[1] + 1), last


def overlap(rows: list[tuple[str, Address, Address]]) -> bool:
    """Whether two ranges have an address in common."""
    ends = [unmapped(first, last) for _, first, last in rows]
    return any(
        one[0].version == other[0].version and int(one[0]) <= int(other[1]) and int(other[0]) <= int(one[1])
        for one, other in combinations(ends, 2)
    )


def is_mapped(address: Address) -> bool:
    return address.version == 6 and MAPPED[0] <= int(address) <= MAPPED[1]


def unmapped(first: Address, last: Address) -> tuple[Address, Address]:
    """The ends of a range, as IPv4 if both are IPv4-mapped."""
    if is_mapped(first) and is_mapped(last):
        return IPv4Address(int(first) - MAPPED[0]), IPv4Address(int(last) - MAPPED[0])
    return first, last


# Near each other, so that networks are equal, adjacent and inside one another.
V4 = st.integers(0, 40).map(lambda number: IPv4Address(int(IPv4Address("8.8.8.0")) + number)) | st.ip_addresses(v=4)
V6 = (
    st.integers(0, 40).map(lambda number: IPv6Address(int(IPv6Address("2606:4700::")) + number))
    | st.integers(-40, 40).map(lambda number: IPv6Address(MAPPED[0] + number))
    | st.integers(-40, 40).map(lambda number: IPv6Address(MAPPED[1] + number))
    | st.ip_addresses(v=6)
)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, Address, Address]:
    """A text in some notation, with the first and the last address that it means."""
    address: Address = draw(V4 | V6)
    bits = address.max_prefixlen
    shortest = 1 if isinstance(address, IPv4Address) else 8
    size = draw(st.integers(bits - 6, bits) | st.integers(shortest, bits))
    network = ip_network(f"{address}/{size}", strict=False)
    forms = ["address", "cidr", "host bits", "spaces", "range"]
    forms += ["netmask", "netmask after space", "wildcard mask", "wildcards"] if address.version == 4 else ["upper"]
    match draw(st.sampled_from(forms)):
        case "address":
            return str(address), address, address
        case "cidr":
            text = str(network)
        case "host bits":
            if is_mapped(address) and size < 96:
                return str(address), address, address  # such a network has no meaning
            text = f"{address}/{size}"
        case "spaces":
            text = f" \u200b{network.network_address} /  {size}\u00a0"
        case "upper":
            text = network.exploded.upper()
        case "netmask":
            text = f"{address}/{network.netmask}"
        case "netmask after space":
            text = f"{address}  {network.netmask}"
        case "wildcard mask" if 0 < size < 32:
            text = f"{network.network_address} {network.hostmask}"
        case "wildcards":
            network = ip_network(f"{address}/{max(8, size // 8 * 8)}", strict=False)
            known = network.prefixlen // 8
            text = ".".join([*str(network.network_address).split(".")[:known], *["*"] * (4 - known)])
            text = text if known < 4 else str(network)
        case _:
            more = draw(st.integers(0, 70) | st.integers(2**32 - 70, 2**32 + 70))
            last = type(address)(min(int(address) + more, 2**bits - 1))
            whole = len(list(summarize_address_range(address, last))) == 1
            if is_mapped(address) is not is_mapped(last) and not whole:
                return str(address), address, address  # such a range has no meaning
            dash = draw(st.sampled_from(["-", " - ", "\u2013", " to "]))
            return f"{address}{dash}{last}", address, last
    return text, network.network_address, network.broadcast_address


@given(rows=st.lists(written(), max_size=6), collapse=st.booleans())
@settings(max_examples=length(150, 3_000))
@example(rows=[("10.0.0.*", IPv4Address("10.0.0.0"), IPv4Address("10.0.0.255"))], collapse=True)
@example(rows=[("::/80", IPv6Address("::"), IPv6Address(MAPPED[1]))], collapse=False)
@example(rows=[("::-::ffff:ffff:ffff", IPv6Address("::"), IPv6Address(MAPPED[1]))], collapse=False)
@example(rows=[("::fffe:0:1-::1:0:0:5", IPv6Address("::fffe:0:1"), IPv6Address("::1:0:0:5"))], collapse=False)
def test_a_normalized_list_has_exactly_the_addresses_that_were_written(
    rows: list[tuple[str, Address, Address]], collapse: bool
) -> None:
    texts = [text for text, _, _ in rows]
    wanted = spans(unmapped(first, last) for _, first, last in rows)
    if not collapse and overlap(rows):
        with pytest.raises(RuleError) as caught:
            normalized(texts, ANYTHING, collapse=False)
        codes = {one.code for one in caught.value.problems}
        assert codes <= {"duplicate_entry", "subset_exists", "superset_conflict"}
        return
    made = normalized(texts, ANYTHING, collapse=collapse)
    networks = [ip_network(cidr) for cidr in made.networks]
    assert spans((one.network_address, one.broadcast_address) for one in networks) == wanted
    # The list is valid, a second time changes nothing, and the notes say what happened to every text.
    assert validate_replacement([NewEntry(cidr) for cidr in made.networks], ANYTHING) == list(made.networks)
    again = normalized(made.networks, ANYTHING, collapse=collapse)
    assert (again.networks, again.notes) == (made.networks, ())
    noted = {position for note in made.notes for position in note.positions}
    kept = set(made.networks)
    assert all(position in noted or text in kept for position, text in enumerate(texts))
    for note in made.notes:
        if note.kind in {Kind.DUPLICATE, Kind.COVERED, Kind.ADJACENT}:
            assert all(map(ip_network, (*note.before, *note.after)))
        else:
            assert [texts[position] for position in note.positions] == [one.strip() for one in note.before] or (
                [texts[position].strip() for position in note.positions] == list(note.before)
            )


DETAILS = st.fixed_dictionaries(
    {
        "label": st.sampled_from([None, "a", "b"]),
        "expires_at": st.sampled_from([None, *(datetime(2999, 1, day, tzinfo=UTC) for day in (1, 2))]),
        "enabled": st.booleans(),
    }
)
SMALL = st.tuples(st.integers(0, 7), st.integers(29, 32)).map(
    lambda pair: str(ip_network((int(IPv4Address("8.8.8.0")) + pair[0], pair[1]), strict=False))
)


@given(st.lists(st.tuples(SMALL, DETAILS), max_size=6))
@settings(max_examples=length(200, 3_000))
def test_collapsing_keeps_for_how_long_each_address_is_allowed(rows: list[tuple[str, dict[str, object]]]) -> None:
    entries = [NewEntry(cidr, **details) for cidr, details in rows]  # type: ignore[arg-type]
    made = normalized_entries(entries)
    ends = [datetime(2999, 1, day, tzinfo=UTC) - timedelta(hours=1) for day in (1, 2, 3)]

    def allowed(held: list[NewEntry], address: IPv4Address, at: datetime) -> bool:
        return any(
            address in ip_network(one.cidr)
            and one.details()["enabled"]
            and (one.details()["expires_at"] is None or one.details()["expires_at"] > at)  # type: ignore[operator]
            for one in held
        )

    for number in range(8):
        address = IPv4Address(int(IPv4Address("8.8.8.0")) + number)
        for at in ends:
            assert allowed(made.entries, address, at) == allowed(entries, address, at)
    labels = {label for one in made.entries for label in str(one.label or "").split(", ")}
    covered = {cidr for note in made.notes if note.kind is Kind.COVERED for cidr in note.before}
    kept = {str(details["label"]) for cidr, details in rows if cidr not in covered}
    assert kept - {"None"} <= labels


def test_what_is_wrong_has_the_position_of_its_text() -> None:
    with pytest.raises(RuleError) as caught:
        normalized(["8.8.8.0-8.8.8.2", "10.0.0.1", "office", "1.2.3"])
    assert [(one.code, one.position) for one in caught.value.problems] == [
        ("special_range", 1),
        ("invalid_format", 2),
        ("invalid_format", 3),
    ]


def test_neighbours_join_only_up_to_a_width_that_nobody_has_to_confirm() -> None:
    made = normalized("8.0.0.0/8, 9.0.0.0/8, 12.0.0.0/9, 12.128.0.0/9", Policy(max_entries=5))
    assert made.networks == ("8.0.0.0/8", "9.0.0.0/8", "12.0.0.0/8")


def test_collapsing_makes_room_for_a_list_that_is_too_long() -> None:
    texts = [f"8.8.{third}.0/24" for third in range(64)]
    with pytest.raises(RuleError, match="limit_reached"):
        normalized(texts, collapse=False)
    assert normalized(texts).networks == ("8.8.0.0/18",)


def test_a_range_is_its_fewest_networks() -> None:
    first, last = ip_address("8.8.8.1"), ip_address("8.8.9.250")
    assert isinstance(first, IPv4Address)
    assert isinstance(last, IPv4Address)
    wanted = [str(network) for network in summarize_address_range(first, last)]
    assert list(normalized("8.8.8.1-8.8.9.250", collapse=False).networks) == wanted


@pytest.mark.parametrize(
    "text", ["8.8.8.8/010", "8.0.0.0/08", "::/016", "8.8.8.8/00", "8.8.8.8 / 024", "2606:4700::1/032"]
)
def test_leading_zeros_in_a_length_have_no_meaning(text: str) -> None:
    assert meaning_of(text) is None
    with pytest.raises(RuleError):
        normalized(text)
