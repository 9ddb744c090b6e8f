"""The way out of a wrong format: what is suggested, and that the engine takes it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import example, given, strategies as st

from cidrgate import InvalidAddressError, NewEntry, Policy, Problem, RuleError
from cidrgate._engine import canonical_prefix
from cidrgate.rules import split_submission, validate_addition, validate_replacement
from cidrgate.rules.format_hints import format_hint

Network = IPv4Network | IPv6Network


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
    hint = format_hint(text)
    assert all(cidr in str(hint) for one in hint.alternatives for cidr in one.networks)
    return [cidr for one in hint.alternatives for cidr in one.networks]


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("203.0.113.5", "203.0.113.5/32"),
        ("2606:4700::1", "2606:4700::/64 for its network, because a device changes its address within the /64, or 26"),
        ("2606:4700::1", "2606:4700::1/128 for the single address"),
        ("9.9.9.0 255.255.255.0", "write the netmask as a length: 9.9.9.0/24"),
        ("9.9.9.0 netmask 255.255.255.0", "9.9.9.0/24"),
        ("9.9.9.0 0.0.0.255", "9.9.9.0/24"),
        ("9.9.9.0 255.0.255.0", "255.0.255.0 is not a netmask"),
        ("9.9.9.0/0.0.0.0", "address/length"),
        ("\uff18.8.8.0/24", "U+FF18 (FULLWIDTH DIGIT EIGHT), which only looks like '8': write 8.8.8.0/24"),
        ("8.8.8.\u0663/32", r"'8.8.8.\u0663/32' contains U+0663 (ARABIC-INDIC DIGIT THREE)"),
        ("8.8.8.0\u221524", "U+2215 (DIVISION SLASH), which only looks like '/': write 8.8.8.0/24"),
        ("8.8.8.0\u200b/24", r"'8.8.8.0\u200b/24' contains the invisible character U+200B (ZERO WIDTH SPACE): write"),
        ("\u202e8.8.8.0/24", "U+202E (RIGHT-TO-LEFT OVERRIDE): write 8.8.8.0/24"),
        ("8.8.8.0\x00/24", "U+0000: write 8.8.8.0/24"),
        ("8.8.8.1\u201312", "U+2013 (EN DASH), which only looks like '-'"),
        ("'8.8.8.0/24'", "leave out the quotes: write 8.8.8.0/24"),
        ("\u201c8.8.8.8\u201d", "leave out the quotes: write 8.8.8.8/32"),
        ("8.8.8.8:443", "leave out the port: write 8.8.8.8/32"),
        ("[2606:4700::1]:443", "leave out the port: write 2606:4700::1/128"),
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
        ("8.8.8.0/\u0662\u0664", "U+0662"),
        ("8.8.8.0/" + "9" * 5000, "from 0 to 32"),
        ("8.8.8.0 / 24", "8.8.8.0/24"),
        ("8.8.8.1 / 24", "8.8.8.0/24"),
        (" 8.8.8.0/24 ", "8.8.8.0/24"),
        ("8.8.8.0/24 1.1.1.1", "with commas: 8.8.8.0/24, 1.1.1.1/32"),
        ("8.8.8.0/24, 1.1.1.1/32", "more than one network"),
        ("8.8.8.*", "8.8.8.0/24"),
        ("8.8.*.*", "8.8.0.0/16"),
        ("*.*", "this wildcard is not one network"),
        ("8.8.8.0-8.8.8.255", "write 8.8.8.0/24"),
        ("8.8.8.0 - 8.8.8.255", "write 8.8.8.0/24"),
        ("8.8.8.1-8.8.8.3", "8.8.8.1/32, 8.8.8.2/31"),
        ("2606:4700::-2606:4700:ffff:ffff:ffff:ffff:ffff:ffff", "write 2606:4700::/32"),
        ("8.8.8.1-8.8.9.250", "15 networks"),
        ("8.8.8.9-8.8.8.1", "ends before it begins"),
        ("::ffff:8.8.8.9-::ffff:8.8.8.1", "ends before it begins"),
        ("::fffe:0:1-::ffff:8.8.8.8", "one end of this range is IPv4-mapped, and the other is not"),
        ("::ffff:8.8.8.8-::1:0:0:5", "one end of this range is IPv4-mapped, and the other is not"),
        ("::fffe:ffff:ffff-::ffff:ffff:ffff", "one end of this range is IPv4-mapped, and the other is not"),
        ("::fffe:0:0-::ffff:ffff:ffff", "write ::fffe:0:0/95"),
        ("::ffff:8.8.8.8/24", "8.8.8.8 is an IPv4 address: write 8.8.8.0/24 for the IPv4 network, or 8.8.8.8/32 for"),
        ("::ffff:8.8.8.8/024", "8.8.8.8 is an IPv4 address: write 8.8.8.0/24 for the IPv4 network, or 8.8.8.8/32 for"),
        ("::ffff:8.8.8.8/0", "8.8.8.8 is an IPv4 address: write 8.8.8.8/32 for the single address"),
        ("::ffff:8.8.8.8/32", "8.8.8.8 is an IPv4 address: write 8.8.8.8/32 for the single address"),
        ("::ffff:8.8.8.8/64", "8.8.8.8 is an IPv4 address: write 8.8.8.8/32 for the single address"),
        ("::ffff:8.8.8.8 / 95", "8.8.8.8 is an IPv4 address: write 8.8.8.8/32 for the single address"),
        ("::ffff:8.8.8.8/120", "write 8.8.8.0/24 for the network, or 8.8.8.8/32 for the single address"),
        ("8.8.8.0-255", "ranges are not supported: write 8.8.8.0/24"),
        ("8.8.8.0 to 8.8.8.255", "write 8.8.8.0/24"),
        ("8.8.8.9-8", "this is not a range of addresses"),
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
    assert way_out in str(format_hint(text))


@pytest.mark.parametrize(
    "text",
    [
        *["010.0.0.0/8", "8.8.8.010", "8.8.8.00-8.8.8.7", "010.8.8.*", "010.0.0.1 / 32", "::ffff:8.8.08.8/128"],
        *["1.1.1.1 2", "8.8.8.0/2 4", "8.8 .8.0/24", "8.*.8.*", "8.8.8.8.*", "*.8.8.8", "8.8.8.*/16", "8.8.8"],
    ],
)
def test_what_is_ambiguous_is_never_guessed(text: str) -> None:
    assert suggested(text) == []


@given(networks())
def test_a_bare_address_gets_its_full_length(network: Network) -> None:
    address = network.network_address
    single = canonical_prefix(str(ip_network(address)))
    around = [canonical_prefix(str(ip_network(f"{address}/64", strict=False)))] if ":" in single else []
    assert suggested(str(address)) == [*around, single]


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


@given(networks(shortest=1).filter(lambda network: network.version == 4))
def test_a_netmask_becomes_a_length(network: Network) -> None:
    assert suggested(f"{network.network_address}/{network.netmask}") == [str(network)]


@given(st.one_of(st.text(max_size=12), st.text("0123456789afF:./%*-, \t\u200b\uff18\u2013", max_size=24)))
def test_any_text_has_a_hint_whose_networks_the_engine_takes(text: str) -> None:
    try:
        canonical_prefix(text)
    except InvalidAddressError:
        assert all(canonical_prefix(network) == network for network in suggested(text))
        with pytest.raises(RuleError) as caught:
            validate_addition([NewEntry(text)], [], Policy())
        assert [problem.code for problem in caught.value.problems] == ["invalid_format"]


NEAR = st.sampled_from(["8.8.8.0/30", "8.8.8.0/31", "8.8.8.2/31", "8.8.8.1/32", "10.0.0.0/30", "2606:4700::/64"])
"""Networks that meet one another often."""

SLIPS = st.sampled_from(
    [
        *["8.8.8.1", "8.8.8.3", "8.8.8.1/30", "8.8.8.3/31", "8.8.8.0-8.8.8.2", "8.8.8.*", "8.8.8.0 255.255.255.252"],
        *["10.0.0.1", "10.0.0.1/24", "192.168.1.7/24", "2606:4700::1", "2606:4700::2", "2001:1::1", "2001:1::2"],
        *["::ffff:8.8.8.1", "8.8.8.1/32 8.8.8.2/32", "\uff18.8.8.1/32", "8.8.8.1\u200b", "8.8.8.1:80", "junk"],
    ]
)


@given(
    listed=st.lists(NEAR, max_size=2, unique=True),
    pieces=st.lists(SLIPS | NEAR, min_size=1, max_size=5),
    most=st.integers(1, 8),
    allow_special=st.booleans(),
)
@example(listed=["8.8.8.0/24"], pieces=["8.8.8.1"], most=50, allow_special=False)
@example(listed=[], pieces=["8.8.8.1", "8.8.8.1"], most=50, allow_special=False)
@example(listed=[], pieces=["8.8.8.1", "8.8.8.0/31"], most=50, allow_special=False)
@example(listed=["9.9.9.9/32"], pieces=["8.8.8.0-8.8.8.2"], most=2, allow_special=False)
def test_no_hint_leads_into_the_next_refusal(
    listed: list[str], pieces: list[str], most: int, allow_special: bool
) -> None:
    """What is suggested for a text is accepted in its place; if nothing is, the hint says why."""
    policy = Policy(max_entries=most, allow_special=allow_special)
    try:
        validate_replacement([NewEntry(cidr) for cidr in listed], policy)
    except RuleError:
        return

    def problems(texts: list[str]) -> list[Problem]:
        try:
            validate_addition(split_submission(", ".join(texts)), listed, policy)
        except RuleError as error:
            return error.problems
        return []

    first = problems(pieces)
    mended = list(pieces)
    for problem in first:
        assert problem.code == "invalid_format" or not problem.suggestions
        for suggestion in problem.suggestions:
            # The other texts that are no networks yet have their own problems.
            others = [text if at == problem.position or is_network(text) else "" for at, text in enumerate(pieces)]
            instead = [suggestion if at == problem.position else text for at, text in enumerate(others)]
            left = {(one.code, one.text, one.conflicts) for one in problems([text for text in instead if text])}
            assert {one for one in left if one[0] != "limit_reached"} <= {
                (one.code, one.text, one.conflicts) for one in first
            }
            assert "limit_reached" not in {one[0] for one in left} - {one.code for one in first}
        if problem.suggestions:
            mended[problem.position] = problem.suggestions[0]
        elif problem.code == "invalid_format" and format_hint(problem.text).alternatives:
            assert "would be refused too: " in problem.hint
    # Everybody who follows all hints at once gets no new problem either.
    explained = {(one.code, one.text) for one in first}
    assert {(one.code, one.text) for one in problems(mended) if one.code != "limit_reached"} <= explained


def is_network(text: str) -> bool:
    try:
        canonical_prefix(text)
    except InvalidAddressError:
        return False
    return True
