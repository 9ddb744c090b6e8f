"""The parser of addresses and prefixes against `ipaddress`: it accepts exactly what that accepts, zone ids aside."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given, strategies as st

from cidrgate import InvalidAddressError, Matcher, PrefixTrie
from cidrgate._engine import _portable_parse, canonical_address, canonical_prefix
from tests.golden import read_address, read_network
from tests.strategies import address_texts, prefix_texts

EVERYTHING = PrefixTrie(["0.0.0.0/0", "::/0"])


def parsed(text: str) -> str | None:
    """The address as the engine reads it; None when it is none."""
    try:
        return canonical_address(text)
    except InvalidAddressError:
        with pytest.raises(InvalidAddressError):
            EVERYTHING.match(text)
        return None


def expected(text: str) -> str | None:
    """The address as `ipaddress` reads it."""
    try:
        return None if "%" in text else str(read_address(text))
    except ValueError:
        return None


@given(st.one_of(address_texts, st.text(max_size=50)))
@example("1.2.3.4")
@example("::ffff:1.2.3.4")
@example("0:0:0:0:0:ffff:102:304")
@example("1:2:3:4:5:6:7::")
@example("::1.2.3")
@example("1" * 5000)
def test_addresses_are_what_the_standard_library_says(text: str) -> None:
    assert parsed(text) == expected(text)


@given(address_texts)
@example("::")
@example("1::")
@example("::1")
@example("1:2:3:4:5:6:7::")
@example("::2:3:4:5:6:7:8")
@example("1:2:3:4:5:6:7:8")
@example("1:2:3:4:5:6:7:8:9")
@example("1:2:3::5:6:7:8:9")
@example(":::")
@example("1:::2")
@example("1::2::3")
@example("1:")
@example("1::2:")
@example(":1::")
@example("12345::")
def test_the_portable_parsers_agree(text: str) -> None:
    try:
        packed = None if "%" in text else ip_address(text).packed
    except ValueError:
        packed = None
    assert _portable_parse(text) == packed
    assert parsed(text) == expected(text)


def strictly(text: str) -> str | None:
    """Canonical text of `address/length`, or None."""
    if "%" in text or not re.fullmatch(r"[^/]+/(0|[1-9][0-9]*)", text, re.ASCII):
        return None
    try:
        network = read_network(text)
    except ValueError:
        return None
    return str(network)


@given(prefix_texts)
@example("0.0.0.0/0")
@example("::/0")
@example("::ffff:0:0/96")
@example("::ffff:8.8.8.0/120")
@example("::fffe:0:0/95")
@example("8.8.8.0/024")
@example("8.8.8.1/24")
def test_prefixes_are_strict_and_canonical(text: str) -> None:
    try:
        found = canonical_prefix(text)
    except InvalidAddressError:
        found = None
    assert found == strictly(text)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_every_form_of_an_address_is_the_same(address: IPv4Address | IPv6Address) -> None:
    trie = PrefixTrie([str(read_network(f"{address}/{address.max_prefixlen}"))])
    assert address in trie
    assert address.packed in trie  # type: ignore[comparison-overlap]
    assert str(address) in trie
    assert address.exploded.upper() in trie


@given(st.ip_addresses(v=4))
def test_mapped_addresses_are_ipv4(address: IPv4Address) -> None:
    trie = PrefixTrie([f"{address}/32"])
    mapped = IPv6Address(0xFFFF << 32 | int(address))
    assert f"::ffff:{address}" in trie
    assert mapped in trie
    assert mapped.packed in trie  # type: ignore[comparison-overlap]
    assert list(PrefixTrie([IPv6Network((int(mapped), 128))])) == [f"{address}/32"]


class Text(str):
    """A str of another type."""

    __slots__ = ()


def test_a_subclass_of_str_is_text() -> None:
    assert Text("8.8.8.8") in PrefixTrie([Text("8.8.8.0/24")])


@pytest.mark.parametrize("text", ["\udc80", "8.8.8.8\udc80", "８.8.8.8", "8.8.8.8\0", "8.8.8.8\n", "", " ", "é" * 400])  # noqa: RUF001
def test_text_that_is_not_ascii_or_has_more_is_no_address(text: str) -> None:
    for trie in (PrefixTrie(), EVERYTHING):
        with pytest.raises(InvalidAddressError) as caught:
            trie.match(text)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("packed", [b"", b"8.8.8.8", bytes(3), bytes(5), bytes(15), bytes(17)])
def test_packed_addresses_have_four_or_sixteen_bytes(packed: bytes) -> None:
    with pytest.raises(InvalidAddressError):
        EVERYTHING.match(packed)


def test_a_zone_is_refused_in_every_form() -> None:
    for address in ("fe80::1%eth0", ip_address("fe80::1%eth0")):
        with pytest.raises(InvalidAddressError, match="zone"):
            EVERYTHING.match(address)


@pytest.mark.parametrize("value", [None, 8, 1.5, ["8.8.8.8"], bytearray(4), ip_network("8.8.8.8/32")])
def test_other_objects_are_no_addresses(value: object) -> None:
    with pytest.raises(TypeError, match="an address must be"):
        EVERYTHING.match(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an address must be"):
        Matcher().allows("acct-1", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 8, b"8.8.8.0/24", ip_address("8.8.8.8")])
def test_other_objects_are_no_prefixes(value: object) -> None:
    with pytest.raises(TypeError, match="a prefix must be"):
        PrefixTrie([value])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        PrefixTrie("8.8.8.0/24")
