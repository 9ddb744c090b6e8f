"""What a list says about an address, against the same question put to `ipaddress`."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)

import pytest
from hypothesis import given, strategies as st

from cidrgate import Entry, InvalidAddressError, Matcher
from cidrgate.rules.decisions import decide, in_address_order

NOW = datetime(2025, 6, 1, tzinfo=UTC)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

networks = st.one_of(
    st.builds(
        lambda bits, length: ip_network((bits, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda bits, length: ip_network((bits, length), strict=False),
        st.integers(2**96, 2**128 - 1),
        st.integers(1, 128),
    ),
)
addresses = st.one_of(st.ip_addresses(), networks.map(lambda network: network.broadcast_address + 0))


def entries_of(cidrs: list[str]) -> list[Entry]:
    at = NOW
    return [
        Entry(id=number, account="a", cidr=cidr, label=None, created_at=at, created_by=None)
        for number, cidr in enumerate(cidrs)
    ]


def unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@given(st.lists(networks, max_size=8, unique=True), addresses)
def test_decisions_agree_with_ipaddress_and_the_matcher(listed: list[Network], address: Address) -> None:
    entries = entries_of([str(network) for network in listed])
    matcher = Matcher()
    matcher.publish("a", [entry.cidr for entry in entries])
    decision = decide("a", entries, address, NOW)
    assert decision.allowed == matcher.allows("a", address)
    assert decision.account == "a"
    address = unmapped(address)
    same_family = [network for network in listed if network.version == address.version]
    holding = [network for network in same_family if address in network]
    if not listed:
        assert (decision.allowed, decision.reason) == (True, "not_enforced")
    elif holding:
        longest = max(holding, key=lambda network: network.prefixlen)
        assert decision.reason == "matched"
        assert decision.entry is not None
        assert decision.entry.cidr == str(longest)
    else:
        assert (decision.reason, decision.entry) == ("not_listed", None)
        if not same_family:
            assert decision.nearest is None
        else:
            assert decision.nearest is not None
            nearest = ip_network(decision.nearest.cidr)
            assert common_bits(nearest, address) == max(common_bits(network, address) for network in same_family)


def common_bits(network: Network, address: Address) -> int:
    """How long a prefix the two have in common, counted bit by bit."""
    width = address.max_prefixlen
    one, other = f"{int(network.network_address):0{width}b}", f"{int(address):0{width}b}"
    common = 0
    while common < network.prefixlen and one[common] == other[common]:
        common += 1
    return common


@pytest.mark.parametrize(
    "address",
    ["", "9.9.9", "9.9.9.9/32", " 9.9.9.9", "fe80::1%eth0", "1.2.3.04", b"123", IPv6Address("fe80::1%1")],
)
@pytest.mark.parametrize("cidrs", [[], ["9.9.9.0/24"], ["0.0.0.0/0", "::/0"]])
def test_an_unreadable_address_is_never_allowed(address: str | bytes | Address, cidrs: list[str]) -> None:
    decision = decide("a", entries_of(cidrs), address, NOW)
    assert (decision.allowed, decision.reason) == (False, "invalid_address")
    matcher = Matcher()
    matcher.publish("a", cidrs)
    with pytest.raises(InvalidAddressError):
        matcher.allows("a", address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.9.1",
        b"\x08\x08\x09\x01",
        IPv4Address("8.8.9.1"),
        IPv4Interface("8.8.9.1/16"),
        "::ffff:8.8.9.1",
        ip_address("::ffff:8.8.9.1"),
        IPv6Interface("::ffff:8.8.9.1/112"),
    ],
)
def test_the_nearest_entry_shares_the_longest_prefix(address: str | bytes | Address) -> None:
    decision = decide("a", entries_of(["8.0.0.0/16", "8.8.8.0/24", "8.8.10.0/24", "2606:4700::/32"]), address, NOW)
    assert decision.nearest is not None
    assert decision.nearest.cidr == "8.8.8.0/24"


@given(st.lists(networks, max_size=12, unique=True))
def test_address_order_is_that_of_the_networks(listed: list[Network]) -> None:
    ordered = in_address_order(entries_of([str(network) for network in listed]))
    expected = sorted(listed, key=lambda network: (network.version, network.network_address, network.prefixlen))
    assert [entry.cidr for entry in ordered] == [str(network) for network in expected]
