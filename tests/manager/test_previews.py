"""Who loses access by a change: by hand, address by address, and by the words of the preview."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from hypothesis import assume, given, strategies as st

from cidrgate import Entry
from cidrgate.manager.previews import MOST_NETWORKS, access_change, networks_without

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@st.composite
def networks(draw: st.DrawFn) -> list[str]:
    """Networks among the 64 addresses of one IPv4 and of one IPv6 network, in any order, overlapping too."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        start, bits = draw(st.sampled_from([("8.8.8.0", 32), ("2606:4700::", 128)]))
        length = draw(st.integers(bits - 6, bits))
        address = ip_address(start) + draw(st.integers(0, 63))
        found.append(str(ip_network(f"{address}/{length}", strict=False)))
    return list(dict.fromkeys(found))


def addresses(cidrs: list[str]) -> set[str]:
    return {str(address) for cidr in cidrs for address in ip_network(cidr)}


@given(networks(), networks())
def test_what_is_left_are_the_addresses_that_the_others_lack(cidrs: list[str], holes: list[str]) -> None:
    left = networks_without(cidrs, holes)
    assert addresses(left) == addresses(cidrs) - addresses(holes)
    assert sum(ip_network(cidr).num_addresses for cidr in left) == len(addresses(left))
    assert networks_without(left, []) == left


@given(networks(), networks())
def test_what_is_named_and_counted_is_all_there_is(cidrs: list[str], holes: list[str]) -> None:
    before, after = ([entry(number, cidr) for number, cidr in enumerate(part)] for part in (cidrs, holes))
    assume(before and after)
    change = access_change(before, after, NOW)
    assert (list(change.lost), change.more_lost) == (networks_without(cidrs, holes), 0)


# Around the IPv4-mapped addresses, which are the block 0xFFFF of this length.
BLOCKS = st.tuples(st.integers(0xFFF8, 0x10007), st.integers(93, 96)).map(
    lambda pair: ip_network((pair[0] << 32, pair[1]), strict=False)
)
MAPPED = ip_network("::ffff:0:0/96")
AROUND = st.lists(BLOCKS.map(str).filter(lambda block: block != str(MAPPED)), min_size=1, max_size=5, unique=True)


@given(AROUND, AROUND)
def test_ipv4_mapped_addresses_are_none_of_a_network_of_ipv6(cidrs: list[str], holes: list[str]) -> None:
    blocks, other = (
        {str(block) for cidr in part for block in ip_network(cidr).subnets(new_prefix=96)} for part in (cidrs, holes)
    )
    left = networks_without(cidrs, holes)
    assert str(MAPPED) not in left
    found = {str(block) for cidr in left for block in ip_network(cidr).subnets(new_prefix=96)}
    assert found - {str(MAPPED)} == blocks - other - {str(MAPPED)}
    change = access_change([entry(1, cidr) for cidr in cidrs], [entry(1, cidr) for cidr in holes], NOW)
    assert (list(change.lost), change.more_lost) == (left, 0)


def test_thousands_of_networks_are_counted() -> None:
    wide, hosts = ["2600::/12"], [f"2600:{number:x}::1/128" for number in range(5_000)]
    change = access_change([entry(1, wide[0])], [entry(number, host) for number, host in enumerate(hosts)], NOW)
    assert len(change.lost) == MOST_NETWORKS
    everything = networks_without(wide, hosts[:50])
    few = access_change([entry(1, wide[0])], [entry(number, host) for number, host in enumerate(hosts[:50])], NOW)
    assert [*few.lost] == everything[:MOST_NETWORKS]
    assert few.more_lost == len(everything) - MOST_NETWORKS
    assert change.more_lost > 100 * few.more_lost / 2 - MOST_NETWORKS


def entry(number: int, cidr: str, expires_at: datetime | None = None) -> Entry:
    return Entry(
        id=number, account="acct-1", cidr=cidr, label=None, created_at=NOW, created_by=None, expires_at=expires_at
    )


def test_enforcement_begins_with_the_first_entry_and_ends_with_the_last() -> None:
    one, over = entry(1, "8.8.8.0/24"), entry(2, "9.9.9.0/24", NOW)
    assert access_change([], [one], NOW).begins
    assert access_change([one], [], NOW).ends
    assert access_change([over], [], NOW).ends
    # What has expired opens nothing, and is no loss.
    change = access_change([one, over], [over], NOW)
    assert (change.begins, change.ends, change.lost, change.gained) == (False, False, ("8.8.8.0/24",), ())
