"""The way out of a wrong format: what is suggested, and that the engine takes it."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given, strategies as st

from cidrgate import InvalidAddressError, NewEntry, Policy, RuleError
from cidrgate._engine import canonical_prefix
from cidrgate.rules import validate_addition
from cidrgate.rules.format_hints import format_hint

Network = IPv4Network | IPv6Network

SUGGESTED = re.compile(r"[0-9a-f:.]+[0-9a-f:]/\d+")
EXAMPLES = ["8.8.8.0/24", "2606:4700::/32"]


def networks(shortest: int = 0) -> st.SearchStrategy[Network]:
    """Networks of both families, by an address inside and a length; `shortest` is the least length."""
    addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
    return addresses.flatmap(
        lambda address: st.integers(shortest, address.max_prefixlen).map(
            lambda length: ip_network(f"{address}/{length}", strict=False)
        )
    )


def suggested(text: str) -> list[str]:
    """The networks that a hint tells people to write; the text must be one the engine refuses."""
    with pytest.raises(InvalidAddressError):
        canonical_prefix(text)
    return SUGGESTED.findall(format_hint(text))


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("203.0.113.5", "203.0.113.5/32"),
        ("2606:4700::1", "2606:4700::1/128"),
        ("::ffff:8.8.8.8", "8.8.8.8/32"),
        ("192.168.1.7/24", "192.168.1.0/24"),
        ("2606:4700::1/32", "2606:4700::/32"),
        ("::ffff:8.8.8.1/120", "8.8.8.0/24"),
        ("8.8.8.0/255.255.255.0", "8.8.8.0/24"),
        ("8.8.8.0/255.0.255.0", "address/length"),
        ("8.0.0.0/08", "8.0.0.0/8"),
        ("8.0.0.0/" + "0" * 5000 + "8", "8.0.0.0/8"),
        ("8.8.8.0/33", "from 0 to 32"),
        ("8.8.8.0/00000099", "from 0 to 32"),
        ("2606:4700::/129", "from 0 to 128"),
        ("8.8.8.0/-1", "from 0 to 32"),
        ("8.8.8.0/", "from 0 to 32"),
        ("8.8.8.0/\u0662\u0664", "from 0 to 32"),
        ("8.8.8.0/" + "9" * 5000, "from 0 to 32"),
        ("8.8.8.0 / 24", "8.8.8.0/24"),
        ("8.8.8.1 / 24", "8.8.8.0/24"),
        (" 8.8.8.0/24 ", "8.8.8.0/24"),
        ("8.8.8.0/24 1.1.1.1", "with commas: 8.8.8.0/24, 1.1.1.1/32"),
        ("8.8.8.0/24, 1.1.1.1/32", "more than one network"),
        ("8.8.8.*", "8.8.8.0/24"),
        ("8.8.*.*", "8.8.0.0/16"),
        ("*.*", "wildcards are not supported"),
        ("8.8.8.0-8.8.8.255", "write 8.8.8.0/24"),
        ("8.8.8.0 - 8.8.8.255", "write 8.8.8.0/24"),
        ("8.8.8.1-8.8.8.3", "8.8.8.1/32, 8.8.8.2/31"),
        ("2606:4700::-2606:4700:ffff:ffff:ffff:ffff:ffff:ffff", "write 2606:4700::/32"),
        ("8.8.8.1-8.8.9.250", "15 networks"),
        ("8.8.8.9-8.8.8.1", "ends before it begins"),
        ("8.8.8.0-255", "ranges are not supported"),
        ("fe80::1%eth0/128", "write fe80::1/128"),
        ("fe80::1%eth0/64", "zone id"),
        ("::ffff:08.8.8.8/128", "leading zeros"),
        ("example-host.com", "address/length"),
        ("\ud800", "address/length"),
        (" \t", "the text is empty"),
    ],
)
def test_each_way_out(text: str, way_out: str) -> None:
    suggested(text)
    assert way_out in format_hint(text)


@pytest.mark.parametrize(
    "text",
    [
        *["010.0.0.0/8", "8.8.8.010", "8.8.8.00-8.8.8.7", "010.8.8.*", "010.0.0.1 / 32", "::ffff:8.8.08.8/128"],
        *["1.1.1.1 2", "8.8.8.0/2 4", "8.8 .8.0/24", "8.*.8.*", "8.8.8.8.*", "*.8.8.8", "8.8.8.*/16", "8.8.8"],
    ],
)
def test_what_is_ambiguous_is_never_guessed(text: str) -> None:
    assert set(suggested(text)) <= set(EXAMPLES)


@given(networks())
def test_a_bare_address_gets_its_full_length(network: Network) -> None:
    address = network.network_address
    assert suggested(str(address)) == [canonical_prefix(str(ip_network(address)))]


@given(networks(), st.integers(1, 2**128))
def test_host_bits_are_masked(network: Network, extra: int) -> None:
    bits = extra % network.num_addresses
    if bits:
        written = f"{network.network_address + bits}/{network.prefixlen}"
        assert suggested(written)[0] == canonical_prefix(str(network))


@given(networks(), st.sampled_from(["{} /{}", "{}/ {}", "{}\t/ {}", "{}/0{}", "{}%eth0/{}"]))
def test_one_slip_in_the_writing_is_mended(network: Network, slip: str) -> None:
    text = slip.format(network.network_address, network.prefixlen)
    assert suggested(text) == [canonical_prefix(str(network))]


@given(networks())
def test_a_range_that_is_one_network_is_written_as_it(network: Network) -> None:
    text = f"{network.network_address}-{network.broadcast_address}"
    assert suggested(text) == [canonical_prefix(str(network))]


@given(networks().filter(lambda network: network.version == 4))
def test_a_netmask_becomes_a_length(network: Network) -> None:
    assert suggested(f"{network.network_address}/{network.netmask}") == [str(network)]


@given(st.one_of(st.text(max_size=12), st.text("0123456789afF:./%*-, \t", max_size=24)))
def test_any_text_has_a_hint_whose_networks_the_engine_takes(text: str) -> None:
    try:
        canonical_prefix(text)
    except InvalidAddressError:
        assert all(canonical_prefix(network) == network for network in suggested(text))
        with pytest.raises(RuleError) as caught:
            validate_addition([NewEntry(text)], [], Policy())
        assert [problem.code for problem in caught.value.problems] == ["invalid_format"]
