"""What a change alters later, compared with the sets of single addresses that are allowed at each end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import example, given, strategies as st

from cidrgate.foresight.later import alters_later
from cidrgate.rules.decisions import enforced
from cidrgate.values import Account, Entry

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
ENDS = [NOW + timedelta(hours=hours) for hours in range(-1, 3)]
MANY = 20_000

ROOTS = [ip_network(root) for root in ("8.8.8.0/30", "255.255.255.252/30", "2600::/126")]
NETWORKS = [
    "0.0.0.0/0",
    "::/0",
    *(str(one) for root in ROOTS for more in range(3) for one in root.subnets(more)),
]
ADDRESSES = [*(address for root in ROOTS for address in root), ip_address("9.9.9.9"), ip_address("2601::")]


def entry(cidr: str, expires_at: datetime | None = None, *, enabled: bool = True) -> Entry:
    return Entry(id=1, account="a", cidr=cidr, created_at=NOW, created_by=None, expires_at=expires_at, enabled=enabled)


def account(**settings: Any) -> Account:
    return Account(name="a", parent=None, created_at=NOW, **settings)


ends = st.sampled_from([None, *ENDS])
# Networks may overlap here, as those of entries may of which one was added when another had expired.
entries = st.dictionaries(st.sampled_from(NETWORKS), st.tuples(ends, st.booleans()), max_size=5).map(
    lambda said: [entry(cidr, end, enabled=enabled) for cidr, (end, enabled) in said.items()]
)
accounts = st.none() | st.builds(
    lambda mode, end, closed: account(mode=mode, mode_until=end if mode != "enforce" else None, closed=closed),
    st.sampled_from(["enforce", "enforce", "off", "report_only"]),
    ends,
    st.booleans(),
)
listed = st.tuples(entries, accounts)


def allowed(side: tuple[list[Entry], Account | None], at: datetime, *, resumed: bool = False) -> set[Any]:
    """The addresses that a list allows at a time, one by one."""
    found, owner = side
    if resumed and owner is not None:
        owner = account(closed=owner.closed)
    if not enforced(found, owner, at):
        return set(ADDRESSES)
    return {address for address in ADDRESSES for one in found if one.matches(at) and address in ip_network(one.cidr)}


@given(listed, listed)
@example(([entry("8.8.8.0/30")], None), ([entry("8.8.8.0/31", ENDS[-1]), entry("8.8.8.2/31", ENDS[-1])], None))
@example(([entry("8.8.8.0/31"), entry("8.8.8.2/31")], None), ([entry("8.8.8.0/30")], None))
@example(
    ([entry("8.8.8.0/30")], account(mode="off")), ([entry("8.8.8.0/30")], account(mode="off", mode_until=ENDS[-1]))
)
def test_a_change_alters_later_what_it_does_not_alter_now(
    before: tuple[list[Entry], Account | None], after: tuple[list[Entry], Account | None]
) -> None:
    was, now = allowed(before, NOW), allowed(after, NOW)
    owner = after[1]
    paused = owner is not None and owner.mode_at(NOW) != "enforce" and owner.mode_until is None
    wanted = False
    for at, resumed in ((at, resumed) for at in (NOW, *ENDS[2:]) for resumed in {False, paused}):
        was_then, now_then = allowed(before, at, resumed=resumed), allowed(after, at, resumed=resumed)
        wanted |= not was_then - now_then <= was - now or not now_then - was_then <= now - was
    assert alters_later(before, after, NOW) == wanted


def test_addresses_of_ipv6_that_stand_for_ipv4_do_not_count() -> None:
    # The addresses of the first are those of the others and those that are matched as IPv4.
    whole = [entry("::fffe:0:0/95", ENDS[-1])]
    assert not alters_later((whole, None), ([entry("::fffe:0:0/96", ENDS[-1])], None), NOW)
    assert alters_later((whole, None), ([entry("::fffe:0:0/96", ENDS[-2])], None), NOW)


def test_long_lists_with_many_ends_are_compared_in_one_pass() -> None:
    times = [NOW + timedelta(minutes=1 + number) for number in range(MANY)]
    halves = [
        entry(f"{address}/32", end)
        for number, end in enumerate(times)
        for address in (ip_address((8 << 24) + 2 * number), ip_address((8 << 24) + 2 * number + 1))
    ]
    wholes = [entry(f"{ip_address((8 << 24) + 2 * number)}/31", end) for number, end in enumerate(times)]
    assert not alters_later((halves, None), (wholes, None), NOW)
    last = entry(wholes[-1].cidr, times[-1] + timedelta(minutes=1))
    assert alters_later((halves, None), ([*wholes[:-1], last], None), NOW)
