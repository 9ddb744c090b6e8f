"""The PROXY protocol: written by the test, cut anywhere, damaged anywhere."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate import ProxyProtocolError
from cidrgate.gate.proxy_protocol import LONGEST_HEADER, ProxyHeader, parse_proxy_header
from tests.golden import read_address

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
ports = st.integers(0, 65535)
pairs = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)
rests = st.binary(max_size=20)
tlvs = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=3).map(
    lambda all_of: b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in all_of)
)


def version_2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def cut_anywhere(header: bytes) -> None:
    for size in range(len(header)):
        assert parse_proxy_header(header[:size]) is None


@given(pairs, ports, ports, rests)
def test_a_line_of_version_1(
    pair: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address], source: int, destination: int, rest: bytes
) -> None:
    header = f"PROXY TCP{pair[0].version} {pair[0]} {pair[1]} {source} {destination}\r\n".encode()
    addresses = [str(read_address(str(address))) for address in pair]
    assert parse_proxy_header(header + rest) == ProxyHeader(
        size=len(header),
        version=1,
        source=addresses[0],
        source_port=source,
        destination=addresses[1],
        destination_port=destination,
    )
    cut_anywhere(header)


@given(pairs, ports, ports, st.booleans(), tlvs, rests)
def test_a_header_of_version_2(
    pair: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address],
    source: int,
    destination: int,
    stream: bool,
    extensions: bytes,
    rest: bytes,
) -> None:
    family = (0x10 if pair[0].version == 4 else 0x20) + (1 if stream else 2)
    body = pair[0].packed + pair[1].packed + struct.pack("!HH", source, destination) + extensions
    header = version_2(0x21, family, body)
    addresses = [str(read_address(str(address))) for address in pair]
    assert parse_proxy_header(header + rest) == ProxyHeader(
        size=len(header),
        version=2,
        source=addresses[0],
        source_port=source,
        destination=addresses[1],
        destination_port=destination,
    )
    cut_anywhere(header)


@given(st.binary(max_size=300), st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 ", SIGNATURE + b"\x21\x11"]))
def test_any_bytes_have_an_answer(data: bytes, start: bytes) -> None:
    try:
        header = parse_proxy_header(start + data)
    except ProxyProtocolError:
        return
    if header is not None:
        assert 0 < header.size <= len(start + data)
        assert parse_proxy_header((start + data)[: header.size]) == header


@given(st.binary(max_size=120), st.sampled_from([b"", SIGNATURE, b"PROXY "]))
def test_what_is_refused_stays_refused(data: bytes, start: bytes) -> None:
    refused = False
    for size in range(len(start + data) + 1):
        try:
            parse_proxy_header((start + data)[:size])
        except ProxyProtocolError:
            refused = True
        else:
            assert not refused


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"])
def test_an_unknown_client_is_none(header: bytes) -> None:
    assert parse_proxy_header(header + b"GET") == ProxyHeader(size=len(header), version=1)


def test_the_proxy_itself_is_local() -> None:
    assert parse_proxy_header(version_2(0x20, 0x00, b"")) == ProxyHeader(size=16, version=2, local=True)
    assert parse_proxy_header(version_2(0x20, 0x11, bytes(12))) == ProxyHeader(size=28, version=2, local=True)
    assert parse_proxy_header(version_2(0x20, 0xFF, b"abc")) == ProxyHeader(size=19, version=2, local=True)


def test_other_families_name_nobody() -> None:
    assert parse_proxy_header(version_2(0x21, 0x00, b"")) == ProxyHeader(size=16, version=2)
    assert parse_proxy_header(version_2(0x21, 0x31, bytes(216))) == ProxyHeader(size=232, version=2)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY  TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2 \r\n",
        b"PROXY TCP4 203.0.113.9  192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9\t192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 203.0.113.09 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        b"PROXY UDP4 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP4 " + b"1" * 96,
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\n" + b" " * 80,
        version_2(0x11, 0x11, bytes(12)),
        version_2(0x22, 0x11, bytes(12)),
        version_2(0x21, 0x11, bytes(11)),
        version_2(0x21, 0x21, bytes(35)),
        version_2(0x21, 0x31, bytes(215)),
        version_2(0x21, 0x41, bytes(40)),
        version_2(0x21, 0x13, bytes(40)),
        version_2(0x21, 0x11, bytes(LONGEST_HEADER - 15)),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        parse_proxy_header(data)


def test_the_longest_header_is_up_to_the_caller() -> None:
    header = version_2(0x21, 0x11, bytes(100))
    assert parse_proxy_header(header, longest=116) is not None
    with pytest.raises(ProxyProtocolError, match="more than 115"):
        parse_proxy_header(header[:16], longest=115)


LINE_PARTS = [
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"UNKNOWN ",
    b"203.0.113.9",
    b"0.0.0.0",
    b"255.255.255.255 ",
    b"2001:db8::1",
    b"::",
    b"::ffff:1.2.3.4 ",
    b"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 ",
    b"1:2:3:4:5:6:7",
    b"1:2:3:4:5:6:7:8 ",
    b"65535",
    b"0",
    b"1",
    b" ",
    b".",
    b":",
    b"\r",
    b"\n",
    b"\r\n",
    b"X",
    b"%",
]
lines = st.lists(st.sampled_from(LINE_PARTS), max_size=8).map(b"".join)
endings = st.lists(st.sampled_from(LINE_PARTS), max_size=6).map(b"".join)


def answer(data: bytes, **settings: int) -> str:
    try:
        return "more" if parse_proxy_header(data, **settings) is None else "header"
    except ProxyProtocolError:
        return "never"


def completions(data: bytes) -> list[bytes]:
    """Ways to go on with a line, found by trying what fits at each place, with no knowledge of the parser."""
    wholes = [b"PROXY UNKNOWN\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", b"PROXY TCP6 ::1 ::1 1 1\r\n"]
    wholes.append(version_2(0x20, 0, b""))
    found = [whole[len(data) :] for whole in wholes if whole.startswith(data)]
    pieces = [b"", b"0", b"1", b":", b"::", b":0", b".0", b".0.0", b".0.0.0", b"0.0", b"0.0.0", b"0.0.0.0"]
    rests = [b"\n", b"\r\n", b" 0\r\n", b" 0 0\r\n", b" :: 0 0\r\n", b" 0.0.0.0 0 0\r\n", b" ::1 0 0\r\n"]
    return found + [piece + rest for piece in pieces for rest in rests]


@given(st.one_of(lines, lines.map(lambda rest: b"PROXY TCP4 " + rest), lines.map(lambda rest: b"PROXY TCP6 " + rest)))
def test_a_line_is_waited_for_exactly_while_it_can_be_completed(data: bytes) -> None:
    for size in range(len(data) + 1):
        beginning = data[:size]
        can = any(answer(beginning + ending) == "header" for ending in completions(beginning))
        found = answer(beginning)
        if found == "header":
            return
        assert (found == "more") == can, beginning


@given(lines, endings)
def test_nothing_completes_what_was_refused(data: bytes, ending: bytes) -> None:
    if answer(data) == "never":
        assert answer(data + ending) == "never"


@given(st.binary(max_size=8), st.sampled_from([16, 20, 28, 52, 100, 232, LONGEST_HEADER]), st.binary(max_size=3))
def test_a_binary_header_is_waited_for_exactly_while_it_can_be_completed(
    fixed: bytes, longest: int, after: bytes
) -> None:
    data = (SIGNATURE + fixed[:4] + after)[: 12 + len(fixed[:4]) + (len(after) if len(fixed) >= 4 else 0)]
    if len(fixed) >= 4:
        needed = int.from_bytes(fixed[2:4], "big")
        can = answer(data + bytes(max(0, needed - len(after))), longest=longest) == "header"
    else:
        can = False
        for command in (fixed[:1] and [fixed[0]]) or (0x20, 0x21):
            for family in (fixed[1:2] and [fixed[1]]) or (0, 0x11, 0x21, 0x31):
                lengths = range(fixed[2] << 8, (fixed[2] << 8) + 256) if len(fixed) > 2 else (0, 12, 36, 216)
                for length in lengths:
                    whole = version_2(command, family, bytes(length))
                    can = can or answer(whole, longest=longest) == "header"
    assert (answer(data, longest=longest) != "never") == can


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY X",
        b"PROXY TCP5",
        b"PROXY TCP4 x",
        b"PROXY TCP4 1.2.3.256",
        b"PROXY TCP4 01",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 70000",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
        b"PROXY TCP4 1.2.3.4  ",
        b"PROXY TCP4 ::",
        b"PROXY TCP6 1.",
        b"PROXY TCP6 12345",
        b"PROXY TCP6 1::2::",
        b"PROXY TCP6 " + b"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 " * 2,
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rX",
        b"PROXY UNKNOWN" + b" " * 94,
        b"PROXY UNKNOWNX",
        b"PROXY \n",
        SIGNATURE + b"\x21\x99",
        SIGNATURE + b"\x21\x11\x00\x0b",
        SIGNATURE + b"\x21\x11\xff",
    ],
)
def test_what_can_never_become_a_header_is_refused_at_once(data: bytes) -> None:
    assert answer(data) == "never"


def test_a_limit_below_every_header_is_refused() -> None:
    with pytest.raises(ValueError, match="a whole number from 16 on"):
        parse_proxy_header(b"", longest=15)
