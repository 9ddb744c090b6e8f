"""`ClientIPResolver` against a model that keeps the whole chain of hops; what each odd input means."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, strategies as st

from cidrgate import ClientAddress, ClientIPResolver, Gate, InvalidAddressError, Matcher
from cidrgate.gate.forwarded import MOST_HOPS
from cidrgate.gate.rewritten_peers import holds
from tests.golden import read_address
from tests.strategies import address_texts

if TYPE_CHECKING:
    from collections.abc import Callable

FIELD = b"x-forwarded-for"
PROXIES = ["10.0.0.0/8", "fd00::/8"]

hosts = st.one_of(
    st.integers(0, 255).map(lambda last: f"10.0.0.{last}"),
    st.integers(0, 255).map(lambda last: f"::ffff:10.0.0.{last}"),
    st.integers(0, 255).map(lambda last: f"fd00::{last:x}"),
    st.integers(0, 255).map(lambda last: f"203.0.113.{last}"),
    st.ip_addresses().map(str),
)
odd = st.sampled_from(
    ["", " ", "unknown", "_hidden", "unix:", "10.0.0.1%eth0", "010.0.0.1", "10.0.0", "1.2.3.4.5", "é"]
)
spaces = st.text(" \t", max_size=2)


@st.composite
def written_hops(draw: st.DrawFn) -> str:
    """A hop as proxies, or attackers, write it."""
    host = draw(st.one_of(hosts, hosts, odd, address_texts))
    form = draw(st.integers(0, 4))
    if form == 1 and ":" not in host:
        host = f"{host}:{draw(st.sampled_from(['0', '80', '65535', '65536', '123456', '', '8a']))}"
    elif form == 2:
        host = f"[{host}]"
    elif form == 3:
        host = f"[{host}]:{draw(st.sampled_from(['0', '80', '65535', '65536', '']))}"
    return draw(spaces) + host + draw(spaces)


def plain_address(text: str) -> str | None:
    """The canonical address of text, by the standard library."""
    try:
        return None if "%" in text else str(read_address(text))
    except ValueError:
        return None


def hop_address(text: str) -> str | None:
    """The address of a hop, each form spelled out."""
    text = text.strip(" \t")
    if text.startswith("[") and "]" in text:
        inner, _, port = text[1:].partition("]")
        if ":" not in inner or (port and not good_port(port.removeprefix(":"), port)):
            return None
        return plain_address(inner)
    if text.count(":") == 1 and "." in text:
        host, _, port = text.partition(":")
        return plain_address(host) if good_port(port, ":" + port) else None
    return plain_address(text)


def bare_address(text: str) -> str | None:
    """The address in a hop, whatever stands where a port could."""
    if text.startswith("["):
        return plain_address(text[1:].partition("]")[0])
    address = plain_address(text)
    return plain_address(text.rpartition(":")[0]) if address is None else address


def good_port(port: str, written: str) -> bool:
    return written == f":{port}" and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 65536


def trusted(address: str) -> bool:
    return any(ip_address(address) in ip_network(proxy) for proxy in PROXIES)


def in_lines(values: list[list[str]]) -> list[tuple[bytes, bytes]]:
    return [(FIELD, ",".join(value).encode()) for value in values]


@given(hosts, st.lists(st.lists(written_hops(), min_size=1, max_size=4), max_size=3))
def test_the_client_is_the_rightmost_hop_that_is_no_trusted_proxy(peer: str, lines: list[list[str]]) -> None:
    chain = [plain_address(peer), *(hop_address(hop) for line in reversed(lines) for hop in reversed(line))]
    client: str | None = None
    for position, address in enumerate(chain):  # noqa: B007
        client = address
        if address is None or not trusted(address):
            break
    if position == 0 and lines == [] and trusted(str(chain[0])):
        client = None
    found = ClientIPResolver(trusted_proxies=PROXIES).resolve(peer, in_lines(lines))
    if chain[0] is not None and not trusted(chain[0]):
        written = [hop.strip(" \t") for line in lines for hop in line]
        if chain[0] in map(bare_address, written):
            assert found.problem == "rewritten_peer"
        if found.problem == "rewritten_peer":
            assert any(holds(hop.encode(), chain[0]) for hop in written)
            return
    assert found.address == client
    assert (found.problem is None) == (client is not None)
    if lines:
        assert (found.source, found.hop) == (("x-forwarded-for", position) if position else ("peer", None))


@given(st.lists(st.lists(written_hops(), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 6))
def test_so_many_hops_from_the_right(lines: list[list[str]], hops: int) -> None:
    chain = [hop_address(hop) for line in lines for hop in line]
    # A proxy on a Unix socket is a hop like others, a client on one has no address.
    passed = [
        address or hop.strip(" \t") == "unix:"
        for address, hop in zip(chain, [hop for line in lines for hop in line], strict=True)
    ]
    found = ClientIPResolver(trusted_hops=hops).resolve("203.0.113.1", in_lines(lines))
    readable = len(chain) >= hops and chain[-hops] is not None and all(passed[len(chain) - hops :])
    assert found.address == (chain[-hops] if readable else None)
    assert (found.problem is None) == readable


@given(st.lists(st.lists(written_hops(), min_size=1, max_size=4), min_size=1, max_size=3))
def test_header_lines_are_one_list(lines: list[list[str]]) -> None:
    resolver = ClientIPResolver(trusted_proxies=PROXIES)
    joined = [[hop for line in lines for hop in line]]
    assert resolver.resolve("10.0.0.1", in_lines(lines)) == resolver.resolve("10.0.0.1", in_lines(joined))


@given(hosts, st.lists(st.tuples(st.sampled_from([FIELD, b"forwarded", b"x-real-ip"]), st.binary(max_size=40))))
def test_no_header_counts_by_default_nor_from_strangers(peer: str, headers: list[tuple[bytes, bytes]]) -> None:
    address = plain_address(peer)
    assume(address is not None and not address.startswith("192.0.2."))
    assert ClientIPResolver().resolve(peer, headers) == ClientAddress(address=address, source="peer")
    for header in (None, "forwarded", "x-real-ip"):
        found = ClientIPResolver(trusted_proxies=["192.0.2.0/24"], client_header=header).resolve(peer, headers)
        assert found == ClientAddress(address=address, source="peer")


@given(st.binary(max_size=300), st.sampled_from([None, "forwarded", "x-real-ip"]))
def test_any_bytes_have_an_answer(value: bytes, header: str | None) -> None:
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8", "unix:"], client_header=header)
    found = resolver.resolve("10.0.0.1", [((header or "x-forwarded-for").upper().encode(), value)])
    assert (found.address is None) == (found.problem is not None)
    assert found.source == (header or "x-forwarded-for")


@pytest.mark.parametrize("peer", [None, "", "unix:", "unix:/run/app.sock", "/run/app.sock"])
def test_a_unix_socket_has_no_address_and_is_trusted_by_name_only(peer: str | None) -> None:
    headers = [(FIELD, b"203.0.113.9")]
    assert ClientIPResolver().resolve(peer, headers) == ClientAddress(address=None, source="peer", problem="no_address")
    networks = ClientIPResolver(trusted_proxies=["0.0.0.0/0", "::/0"], trust_everybody=True)
    assert networks.resolve(peer, headers) == ClientAddress(address=None, source="peer", problem="no_address")
    named = ClientIPResolver(trusted_proxies=["unix:"])
    assert named.resolve(peer, headers) == ClientAddress(address="203.0.113.9", source="x-forwarded-for", hop=1)
    assert named.resolve(peer, [(FIELD, b"unix:")]) == ClientAddress(
        address=None, source="x-forwarded-for", hop=1, problem="no_address"
    )
    assert named.resolve(peer, [(FIELD, b"203.0.113.9, unix:")]).address == "203.0.113.9"
    assert ClientIPResolver(trusted_hops=1).resolve(peer, headers).address == "203.0.113.9"


@pytest.mark.parametrize(
    "peer",
    ["testclient", "fe80::1%eth0", "203.0.113.9:4711", "[::1]", " 203.0.113.9", "localhost", "10.0.0.0/8", "0.0.0.0/0"],
)
def test_a_peer_that_is_no_address_is_nobody(peer: str) -> None:
    for resolver in (
        ClientIPResolver(),
        ClientIPResolver(trusted_proxies=["10.0.0.0/8"]),
        ClientIPResolver(trusted_proxies=["0.0.0.0/0"], trust_everybody=True),
        ClientIPResolver(trusted_proxies=["unix:"]),
        ClientIPResolver(resolved_by_server=True),
    ):
        found = resolver.resolve(peer, [(FIELD, b"203.0.113.9")])
        assert found == ClientAddress(address=None, source="peer", problem="invalid_peer")


@pytest.mark.parametrize("peer", ["testclient", "localhost", "<local>", "0.0.0.0/0", "fe80::1%eth0", b"x"])
def test_a_number_of_hops_needs_no_peer(peer: Any) -> None:
    resolver = ClientIPResolver(trusted_hops=2)
    forged = [(FIELD, b"8.8.8.8, 203.0.113.9, 10.0.0.1")]
    assert resolver.resolve(peer, forged) == ClientAddress(address="203.0.113.9", source="x-forwarded-for", hop=2)
    assert resolver.address(peer, forged) == "203.0.113.9"
    assert resolver.resolve(peer, forged, port=0).problem == "rewritten_peer"
    assert resolver.resolve(peer, [(FIELD, b"8.8.8.8")]).problem == "too_few_hops"
    assert resolver.resolve(peer, []).problem == "missing_header"


PEERS = [
    (ip_address("10.0.0.1"), "10.0.0.1"),
    (ip_address("10.0.0.1").packed, "10.0.0.1"),
    (ip_address("::ffff:10.0.0.1"), "10.0.0.1"),
    (ip_address("::ffff:10.0.0.1").packed, "10.0.0.1"),
    (ip_interface("10.0.0.1/8"), "10.0.0.1"),
    (ip_address("2001:db8::1"), "2001:db8::1"),
    (ip_address("fe80::1%eth0"), "fe80::1%eth0"),
    (b"", "b''"),
    (b"10.0.0.1", "b'10.0.0.1'"),
]
RESOLVERS: list[dict[str, Any]] = [
    {},
    {"trusted_proxies": ["10.0.0.0/8"]},
    {"trusted_hops": 1},
    {"trusted_proxies": ["unix:"]},
    {"resolved_by_server": True},
]


@pytest.mark.parametrize("settings", RESOLVERS, ids=repr)
@pytest.mark.parametrize(("peer", "text"), PEERS, ids=repr)
def test_a_peer_may_have_each_form_of_an_address(peer: Any, text: str, settings: dict[str, Any]) -> None:
    resolver = ClientIPResolver(**settings)
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "10.0.0.1/32"])
    gate = Gate(matcher, unlisted="deny", resolver=resolver, log="none")
    for headers in ([], [(FIELD, b"8.8.8.8:1")], [(FIELD, b"8.8.8.8, 10.0.0.1:4711")]):
        for port in (None, 4711):
            found = resolver.resolve(text, headers, port=port)
            assert resolver.resolve(peer, headers, port=port) == found
            assert resolver.address(peer, headers, port) == found.address
            assert gate.decide("acct-1", peer, headers, port=port).client == found
            assert gate.allows("acct-1", peer, headers, port) == gate.allows("acct-1", text, headers, port)


@pytest.mark.parametrize("settings", RESOLVERS, ids=repr)
@pytest.mark.parametrize("peer", [5, 8.8, False, ("10.0.0.1", 4711), bytearray(4), ip_network("10.0.0.0/24")], ids=repr)
def test_a_peer_that_is_no_address_of_any_form_is_refused(peer: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"peer must be a str, packed bytes \(4 or 16\), an ipaddress object or None"):
        ClientIPResolver(**settings).resolve(peer, [])


@pytest.mark.parametrize("settings", RESOLVERS, ids=repr)
@pytest.mark.parametrize("port", ["0", "4711", 0.0, False, b"1"], ids=repr)
def test_a_port_that_is_no_int_is_refused(port: Any, settings: dict[str, Any]) -> None:
    """It would equal no port, and so hide a rewritten peer."""
    with pytest.raises(TypeError, match="port must be an int or None"):
        ClientIPResolver(**settings).resolve("10.0.0.1", [], port=port)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "malformed_hop"),
        (b"203.0.113.9,", "malformed_hop"),
        (b"203.0.113.9, , 10.0.0.2", "malformed_hop"),
        (b"203.0.113.9%eth0", "malformed_hop"),
        (b"203.0.113.9\xa0", "malformed_hop"),
        (b"203.0.113.9\x0b", "malformed_hop"),
        (b"203.0.113.9 10.0.0.1", "malformed_hop"),
        (b'"203.0.113.9"', "malformed_hop"),
        (b"203.0.113.9;10.0.0.1", "malformed_hop"),
        (b"[203.0.113.9]", "malformed_hop"),
        (b"1" * 100_000, "malformed_hop"),
        (b"unknown", "obfuscated_hop"),
        (b"_hidden", "obfuscated_hop"),
        (b"10.0.0.1," * MOST_HOPS + b"10.0.0.1", "too_many_hops"),
    ],
)
def test_what_is_wrong_is_named(value: bytes, problem: str) -> None:
    found = ClientIPResolver(trusted_proxies=PROXIES).resolve("10.0.0.1", [(FIELD, value)])
    assert (found.address, found.problem) == (None, problem)


def test_nothing_left_of_the_client_is_looked_at() -> None:
    junk = b"\xff, " + b"unknown, " * 10_000
    found = ClientIPResolver(trusted_proxies=PROXIES).resolve("10.0.0.1", [(FIELD, junk + b"203.0.113.9, 10.0.0.2")])
    assert found == ClientAddress(address="203.0.113.9", source="x-forwarded-for", hop=2)


def test_where_all_are_trusted_the_client_is_the_leftmost() -> None:
    found = ClientIPResolver(trusted_proxies=PROXIES).resolve("10.0.0.1", [(FIELD, b"10.0.0.3, 10.0.0.2")])
    assert found == ClientAddress(address="10.0.0.3", source="x-forwarded-for", hop=2)


def test_a_trusted_proxy_has_to_send_the_header() -> None:
    for resolver in (ClientIPResolver(trusted_proxies=PROXIES), ClientIPResolver(trusted_hops=1)):
        found = resolver.resolve("10.0.0.1", [(b"forwarded", b"for=203.0.113.9")])
        assert found == ClientAddress(address=None, source="x-forwarded-for", problem="missing_header")


def test_too_few_hops_are_no_client() -> None:
    found = ClientIPResolver(trusted_hops=3).resolve("10.0.0.1", [(FIELD, b"203.0.113.9, 10.0.0.2")])
    assert found == ClientAddress(address=None, source="x-forwarded-for", hop=2, problem="too_few_hops")


def test_a_single_value_is_one_address_once() -> None:
    resolver = ClientIPResolver(trusted_proxies=PROXIES, client_header="CF-Connecting-IP")
    field = b"cf-connecting-ip"
    assert resolver.resolve("10.0.0.1", [(field, b" 203.0.113.9 ")]) == ClientAddress(
        address="203.0.113.9", source="cf-connecting-ip"
    )
    assert resolver.resolve("10.0.0.1", [(field, b"2001:db8::1")]).address == "2001:db8::1"
    assert resolver.resolve("10.0.0.1", [(field, b"203.0.113.9"), (field, b"203.0.113.9")]).problem == "repeated_header"
    assert resolver.resolve("10.0.0.1", [(field, b"203.0.113.9, 203.0.113.9")]).problem == "malformed_hop"
    assert resolver.resolve("10.0.0.1", [(FIELD, b"203.0.113.9")]).problem == "missing_header"
    assert resolver.resolve("192.0.2.1", [(field, b"203.0.113.9")]) == ClientAddress(address="192.0.2.1", source="peer")


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        ClientIPResolver(trusted_proxies=PROXIES, trusted_hops=1)
    with pytest.raises(ValueError, match="name trusted_proxies"):
        ClientIPResolver(client_header="x-real-ip")
    with pytest.raises(ValueError, match="allow_aliases is about the header of a proxy"):
        ClientIPResolver(allow_aliases=True)
    with pytest.raises(TypeError, match="allow_aliases must be True or False"):
        ClientIPResolver(trusted_hops=1, allow_aliases="no")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no list"):
        ClientIPResolver(trusted_hops=1, client_header="x-real-ip")
    for hops in (0, -1, True):
        with pytest.raises(ValueError, match="at least 1"):
            ClientIPResolver(trusted_hops=hops)
    with pytest.raises(TypeError, match="not one str"):
        ClientIPResolver(trusted_proxies="10.0.0.0/8")
    with pytest.raises(InvalidAddressError, match=r"trusted proxy '10\.0\.0\.1': add the length: 10\.0\.0\.1/32"):
        ClientIPResolver(trusted_proxies=["10.0.0.1"])
    with pytest.raises(InvalidAddressError, match="'\\*'"):
        ClientIPResolver(trusted_proxies=["*"])


def test_no_proxies_are_none() -> None:
    resolver = ClientIPResolver(trusted_proxies=[])
    assert resolver.client_header is None
    assert resolver.resolve("10.0.0.1", [(FIELD, b"203.0.113.9")]) == ClientAddress(address="10.0.0.1", source="peer")


HEADERS_OF_NO_SERVER: list[Any] = [
    {},
    {"X-Forwarded-For": "203.0.113.9"},
    {b"x-forwarded-for": b"203.0.113.9"},
    "x-forwarded-for: 203.0.113.9",
    b"x-forwarded-for: 203.0.113.9",
    5,
    None,
    [("x-forwarded-for", "203.0.113.9")],
    [("host", "api.example")],
    [(b"host", "api.example")],
    [(b"host",)],
    [b"ab"],
    [(b"host", b"api.example"), ["x-real-ip", b"203.0.113.9"]],
]


@pytest.mark.parametrize("headers", HEADERS_OF_NO_SERVER, ids=repr)
@pytest.mark.parametrize("settings", [{}, {"trusted_proxies": ["10.0.0.0/8"]}, {"resolved_by_server": True}], ids=repr)
def test_headers_that_are_no_pairs_of_bytes_are_refused(headers: Any, settings: Any) -> None:
    """They would be ignored, and a forged header with them."""
    resolver = ClientIPResolver(**settings)
    with pytest.raises(TypeError, match="headers must be pairs of bytes") as refused:
        resolver.resolve("10.0.0.1", headers)
    assert "203.0.113.9" not in str(refused.value).partition("], not")[2]  # it may be a credential
    matcher = Matcher()
    for unlisted in ("allow", "deny"):
        verdict = Gate(matcher, unlisted=unlisted, resolver=resolver, log="none").decide("acct-1", "10.0.0.1", headers)
        assert (verdict.result, verdict.reason) == ("denied", "error")


@pytest.mark.parametrize("headers", [(), [], iter([]), [[b"host", b"api.example"]], iter([(b"host", b"api.example")])])
def test_any_pairs_of_bytes_will_do(headers: Any) -> None:
    assert ClientIPResolver().resolve("10.0.0.1", headers).address == "10.0.0.1"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"trusted_proxies": ["10.0.0.0/8", "fd00::/8"]},
        {"trusted_proxies": ["unix:"], "client_header": "forwarded"},
        {"trusted_proxies": ["10.0.0.1/32"], "client_header": "CF-Connecting-IP"},
        {"trusted_proxies": ["0.0.0.0/0"], "trust_everybody": True},
        {"trusted_hops": 2},
        {"trusted_hops": 2, "allow_aliases": True},
        {"trusted_hops": 1, "client_header": "forwarded"},
        {"resolved_by_server": True},
        {"resolved_by_server": True, "allow_aliases": True},
    ],
)
def test_its_repr_makes_it_again(settings: dict[str, Any]) -> None:
    resolver = ClientIPResolver(**settings)
    again = eval(repr(resolver))
    assert repr(again) == repr(resolver)
    for name in settings:
        assert name in repr(resolver)
    for peer in ("10.0.0.1", "9.9.9.9", "unix:"):
        for header in (b"x-forwarded-for", b"forwarded", b"cf-connecting-ip"):
            head = [(header, b"for=8.8.8.8" if header == b"forwarded" else b"8.8.8.8")]
            assert again.resolve(peer, head) == resolver.resolve(peer, head)


def test_a_gate_says_what_it_is() -> None:
    gate = Gate(Matcher(), unlisted="deny", report_only=True, resolver=ClientIPResolver(trusted_hops=1))
    assert repr(gate) == (
        "<Gate over a Matcher: unlisted='deny', resolver=ClientIPResolver(trusted_hops=1), report_only=True>"
    )


COPIED = [
    ClientIPResolver(),
    ClientIPResolver(trusted_proxies=["10.0.0.0/8", "2606:4700::/32", "unix:"], client_header="CF-Connecting-IP"),
    ClientIPResolver(trusted_proxies=["0.0.0.0/0"], trust_everybody=True, allow_aliases=True),
    ClientIPResolver(trusted_hops=2, client_header="forwarded"),
    ClientIPResolver(resolved_by_server=True),
    ClientIPResolver(resolved_by_server=True, allow_aliases=True),
    ClientIPResolver(trusted_proxies=[], allow_aliases=True),
    ClientIPResolver(trusted_proxies=[], client_header="x-real-ip"),
]


@pytest.mark.parametrize("resolver", COPIED, ids=repr)
@pytest.mark.parametrize("copied", [copy, deepcopy, lambda resolver: pickle.loads(pickle.dumps(resolver))])
def test_a_resolver_is_copied_and_pickled_whole(
    resolver: ClientIPResolver, copied: Callable[[ClientIPResolver], ClientIPResolver]
) -> None:
    other = copied(resolver)
    assert repr(other) == repr(resolver)
    headers = [
        (b"x-forwarded-for", b"9.9.9.9, 8.8.8.8"),
        (b"cf-connecting-ip", b"7.7.7.7"),
        (b"forwarded", b"for=1.1.1.1, for=1.0.0.1"),
    ]
    for peer in ("10.0.0.1", "8.8.4.4", "unix:", None):
        assert other.resolve(peer, headers) == resolver.resolve(peer, headers)
