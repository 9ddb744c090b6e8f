"""A peer that came out of a header still stands in it, however it was written there."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import ClientAddress, ClientIPResolver
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS, holds
from tests.golden import read_address

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
names = st.sampled_from(sorted(CLIENT_HEADERS)).flatmap(
    lambda name: st.sampled_from([name, name.upper(), name.title()])
)
ports = st.one_of(st.just(""), st.integers(0, 99_999).map(lambda port: f":{port}"), st.just(":_hidden"))
others = st.lists(st.sampled_from(["unknown", "198.51.100.7", "2001:db8:9::9", "_x", "", "é"]), max_size=3)


@st.composite
def spellings(draw: st.DrawFn, address: IPv4Address | IPv6Address) -> str:
    """An address as proxies, and attackers, write it."""
    if isinstance(address, IPv4Address):
        mapped = f"::ffff:{address}"
        packed = address.packed
        hexadecimal = f"::ffff:{packed[0]:02x}{packed[1]:02x}:{packed[2]:02x}{packed[3]:02x}"
        text = draw(st.sampled_from([str(address), f"[{mapped}]", f"[{hexadecimal}]"]))
    else:
        text = draw(st.sampled_from([str(address), address.exploded, address.exploded.upper()]))
        text = draw(st.sampled_from([text, f"[{text}]"]))
    port = draw(ports) if text.endswith("]") or isinstance(address, IPv4Address) else ""
    return draw(st.sampled_from(["{}", " {}\t", '"{}"', "for={}", 'for="{}";proto=https', 'host=x;FOR="{}"'])).format(
        text + port
    )


@given(addresses, names, others, others, st.data())
def test_a_peer_that_stands_in_a_header_was_rewritten(
    address: IPv4Address | IPv6Address, name: bytes, before: list[str], after: list[str], data: st.DataObject
) -> None:
    written = data.draw(spellings(address))
    value = ", ".join([*before, written, *after]).encode("latin-1", "replace")
    peer = data.draw(st.sampled_from([str(address), str(read_address(str(address)))]))
    for resolver in (
        ClientIPResolver(),
        ClientIPResolver(trusted_proxies=["192.0.2.0/25"], client_header="x-real-ip"),
    ):
        if str(read_address(str(address))).startswith("192.0.2."):
            continue
        found = resolver.resolve(peer, [(b"host", b"api"), (name, value)], port=4711)
        assert found == ClientAddress(address=None, source="peer", problem="rewritten_peer")
        assert resolver.address(peer, [(name, value)], 4711) is None
    assert ClientIPResolver(resolved_by_server=True).resolve(peer, [(name, value)], port=0).source == "server"


@given(addresses, addresses, names, st.data())
def test_a_peer_that_stands_nowhere_is_the_client(
    address: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address, name: bytes, data: st.DataObject
) -> None:
    client, another = (str(read_address(str(one))) for one in (address, other))
    value = data.draw(spellings(other)).encode()
    found = ClientIPResolver().resolve(client, [(name, value), (b"x-other", client.encode())], port=4711)
    bare = another.rpartition(":")[0]
    if client not in (another, bare):
        assert found == ClientAddress(address=client, source="peer")


def test_more_addresses_than_anybody_compares_hide_something() -> None:
    assert holds(b", ".join([b"198.51.100.7"] * 10_000), "203.0.113.9")
    assert not holds(b"198.51.100.7, " * 50, "203.0.113.9")
    assert not holds(b"\xff" * 60_000 + b"4711", "203.0.113.9")


@pytest.mark.parametrize(
    ("peer", "port", "rewritten"),
    [
        ("203.0.113.9", 0, True),
        ("10.0.0.1", 0, True),
        ("203.0.113.9", 4711, False),
        ("203.0.113.9", None, False),
        (None, 0, False),
        ("unix:", 0, False),
        ("/run/app.sock", 0, False),
    ],
)
def test_no_client_has_port_0(peer: str | None, port: int | None, rewritten: bool) -> None:
    for resolver in (
        ClientIPResolver(),
        ClientIPResolver(trusted_proxies=["10.0.0.0/8", "unix:"]),
        ClientIPResolver(trusted_hops=1),
    ):
        found = resolver.resolve(peer, [(b"x-forwarded-for", b"198.51.100.7")], port=port)
        assert (found.problem == "rewritten_peer") == rewritten


PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("headers", "rewritten"),
    [
        ([(b"x-forwarded-for", b"203.0.113.9")], False),
        ([(b"x-forwarded-for", b"203.0.113.9:4711")], False),
        ([(b"x-forwarded-for", b"203.0.113.9, 10.0.0.1")], False),
        ([(b"x-forwarded-for", b"203.0.113.9, 10.0.0.1:80")], False),
        ([(b"x-forwarded-for", b"203.0.113.9:4711, 10.0.0.1")], False),
        ([(b"x-forwarded-for", b"2001:db8::4711, 10.0.0.1")], False),
        ([(b"forwarded", b'for="203.0.113.9:4711";by=10.0.0.1'), (b"x-forwarded-for", b"203.0.113.9")], False),
        ([(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-port", b"443")], False),
        ([(b"x-forwarded-for", b"203.0.113.9, 10.0.0.1:4711")], True),
        ([(b"x-forwarded-for", b"10.0.0.1:4711, 203.0.113.9")], True),
        ([(b"x-forwarded-for", b"10.0.0.1: 04711, 203.0.113.9")], True),
        ([(b"x-forwarded-for", b"10.0.0.1:4_711, 203.0.113.9")], True),
        ([(b"x-forwarded-for", b"[::ffff:10.0.0.1]:4711, 203.0.113.9")], True),
        ([(b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-for", b"10.0.0.1:4711, 203.0.113.9")], True),
        ([(b"x-forwarded-for", b"10.0.0.1, 203.0.113.9"), (b"x-forwarded-port", b"4711")], True),
        ([(b"x-forwarded-for", b"10.0.0.1, 203.0.113.9"), (b"x-forwarded-port", b" +4711")], True),
        ([(b"x-forwarded-for", b"10.0.0.1, 203.0.113.9"), (b"x-forwarded-port", b"443, 4711")], True),
        ([(b"forwarded", b'for="10.0.0.1:4711"'), (b"x-forwarded-for", b"203.0.113.9")], True),
    ],
)
def test_a_trusted_peer_with_the_port_of_a_header_was_rewritten(
    headers: list[tuple[bytes, bytes]], rewritten: bool
) -> None:
    """A server that believes everybody puts a proxy's address there, and the header would then count."""
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    assert (resolver.resolve(PROXY, headers, port=4711).problem == "rewritten_peer") == rewritten
    assert resolver.resolve(PROXY, headers, port=50_000).problem != "rewritten_peer"
    assert (resolver.resolve(f"::ffff:{PROXY}", headers, port=4711).problem == "rewritten_peer") == rewritten


def test_the_servers_answer_excludes_a_second_one() -> None:
    others_said: list[dict[str, Any]] = [
        {"trusted_proxies": ["10.0.0.0/8"]},
        {"trusted_proxies": []},
        {"trusted_hops": 1},
        {"client_header": "x-real-ip"},
    ]
    for settings in others_said:
        with pytest.raises(ValueError, match="resolved_by_server"):
            ClientIPResolver(resolved_by_server=True, **settings)
    with pytest.raises(TypeError, match="resolved_by_server must be True or False"):
        ClientIPResolver(resolved_by_server="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " x", "X-Real-IP:", "x real ip", "x\n", "é", "x,y", "x\0"])
def test_the_header_is_a_token(name: str) -> None:
    with pytest.raises(ValueError, match="header with the client's address"):
        ClientIPResolver(trusted_proxies=["10.0.0.0/8"], client_header=name)
    with pytest.raises(ValueError, match="header with the client's address"):
        ClientIPResolver(trusted_hops=1, client_header=name)


@pytest.mark.parametrize("hops", [0, -1, True, 1.5, "2", 100, 10**9])
def test_hops_that_no_header_has_are_refused(hops: object) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ClientIPResolver(trusted_hops=hops)  # type: ignore[arg-type]
