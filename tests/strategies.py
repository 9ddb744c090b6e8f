"""Prefixes that meet and addresses near them: what makes longest-prefix match hard."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

from hypothesis import strategies as st

from tests.golden import Network, read_network

# Networks are drawn around few roots, so that they nest, touch and repeat.
ROOTS = [ip_network("8.0.0.0/8"), ip_network("255.255.255.0/24"), ip_network("2600::/16"), ip_network("::/16")]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A network around a root: wider, the same, or inside it, and now and then anything at all."""
    root = draw(st.sampled_from(ROOTS))
    length = draw(st.one_of(st.integers(0, root.max_prefixlen), st.sampled_from([0, root.max_prefixlen])))
    free = root.max_prefixlen - root.prefixlen
    bits = draw(st.one_of(st.integers(0, 2**free - 1), st.integers(0, 3).map(lambda low: low << max(0, free - 10))))
    return ip_network((int(root.network_address) | bits, length), strict=False)


def text_of(network: Network) -> str:
    """Canonical text in every Python."""
    return str(read_network(str(network)))


prefixes = networks().map(text_of)
prefix_lists = st.lists(prefixes, max_size=80)


@st.composite
def addresses_near(draw: st.DrawFn, texts: list[str]) -> str:
    """An address in, at the edge of, or next to one of the prefixes, or any other."""
    if not texts or draw(st.integers(0, 3)) == 0:
        return str(draw(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))))
    network = ip_network(draw(st.sampled_from(texts)))
    first, last = int(network.network_address), int(network.broadcast_address)
    number = draw(st.one_of(st.sampled_from([first, last, first - 1, last + 1]), st.integers(first, last)))
    number %= 2**network.max_prefixlen
    return str(IPv4Address(number) if network.version == 4 else IPv6Address(number))


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Text after a few small changes: characters of addresses put in, taken out, doubled."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.integers(0, 2))
        put = draw(st.sampled_from([*"0123456789abcdefABCDEF.:/% +-x", "::", "00", "\0", "\u0661", "ffff:", "256"]))
        text = text[:at] + (put if kind < 2 else "") + text[at + (kind > 0) :]
    return text


octets = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 9, 10, 99, 100, 199, 200, 255, 256, 300, 999]))
quads = st.lists(octets, min_size=3, max_size=5).map(lambda parts: ".".join(map(str, parts)))
groups = st.one_of(st.integers(0, 0xFFFF).map(lambda group: f"{group:x}"), st.sampled_from(["", "0", "0000", "FFFF"]))
colons = st.tuples(st.lists(groups, min_size=1, max_size=9).map(":".join), st.one_of(st.just(""), quads)).map(
    lambda parts: f"{parts[0]}:{parts[1]}" if parts[1] else parts[0]
)
plain = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), quads, colons)
spelled_out = st.ip_addresses(v=6).map(lambda address: address.exploded.upper())
mapped = st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}")
address_texts = mutated(st.one_of(plain, spelled_out, mapped))
lengths = st.one_of(st.integers(-1, 130).map(str), st.sampled_from(["", "00", "032", "1e1", "255.0.0.0", "\u0663"]))
prefix_texts = mutated(st.one_of(prefixes, st.tuples(address_texts, lengths).map("/".join)))
