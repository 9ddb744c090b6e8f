"""One rule says what a network is and how it is written, in the engine and where the engine is not at hand."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import example, given, strategies as st

from cidrgate import EntryNotFoundError, InvalidAddressError, Observation, RuleManager
from cidrgate._engine import canonical_prefix
from cidrgate.client.named_entries import entries_named, entry_key as key_in_client
from cidrgate.client.values import ListInfo
from cidrgate.manager.changes import canonical_or_itself, entry_key
from cidrgate.serialization import EntryInfo
from cidrgate.values import canonical_network, reference_key

NETWORKS = st.one_of(
    st.ip_addresses(v=4).flatmap(lambda one: st.builds(lambda n: f"{one}/{n}", st.integers(-1, 33))),
    st.ip_addresses(v=6).flatmap(lambda one: st.builds(lambda n: f"{one}/{n}", st.integers(-1, 129))),
    st.builds(lambda a, n: str(IPv4Network((a, n), strict=False)), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(lambda a, n: str(IPv6Network((a, n), strict=False)), st.integers(0, 2**128 - 1), st.integers(0, 128)),
    st.builds(
        lambda a, n: str(IPv6Network((0xFFFF << 32 | a, n), strict=False)),
        st.integers(0, 2**32 - 1),
        st.integers(80, 128),
    ),
    st.builds(lambda a, n: f"::ffff:{IPv4Address(a >> 8 << 8)}/{n}", st.integers(0, 2**32 - 1), st.integers(90, 128)),
    st.text("0123456789abcdefABCDEF:./% ٨", max_size=30),
)

ODD = (
    "8.8.8.8",
    "8.8.8.0/255.255.255.0",
    "8.8.8.0/0.0.0.255",
    "8.8.8.1/24",
    "8.8.8.0/024",
    "08.8.8.0/24",
    " 8.8.8.0/24",
    "8.8.8.0/24\n",
    "::ffff:8.8.8.0/120",
    "::FFFF:808:800/120",
    "::ffff:0:0/96",
    "::fffe:0:0/95",
    "::1.2.3.4/128",
    "fe80::%1/64",
    "fe80::%eth0/64",
    "2606:4700::/032",
    "2606:4700:0:0::/32",
    "2606:4700::/+32",
    "٨.8.8.0/24",
    "8.8.8.0/\uff124",
    "::/0",
    "1:2:3:4:5:6:7::/112",
    "",
    "/",
)


def by_the_engine(text: str) -> str | None:
    try:
        return canonical_prefix(text)
    except InvalidAddressError:
        return None


@given(text=NETWORKS)
@example(text="::ffff:8.8.8.0/120")
def test_a_network_is_read_as_the_engine_reads_it(text: str) -> None:
    assert canonical_network(text) == by_the_engine(text)


@pytest.mark.parametrize("text", ODD)
def test_an_odd_text_is_read_as_the_engine_reads_it(text: str) -> None:
    assert canonical_network(text) == by_the_engine(text)


@pytest.mark.parametrize("text", ODD)
def test_an_entry_is_named_in_the_client_as_in_the_library(text: str) -> None:
    assert reference_key(text) == canonical_or_itself(str(entry_key(text)))


@pytest.mark.parametrize(
    "named",
    ["8.8.8.0/24", " 8.8.8.0/24 ", "::ffff:8.8.8.0/120", IPv4Network("8.8.8.0/24"), IPv6Network("::ffff:808:800/120")],
)
def test_the_client_finds_an_entry_by_every_spelling(named: str | IPv4Network | IPv6Network) -> None:
    details = {"label": None, "created_at": None, "created_by": None, "expires_at": None, "enabled": True}
    listed = EntryInfo.__new__(EntryInfo)
    for name, value in {**details, "id": 7, "account": "a", "cidr": "8.8.8.0/24"}.items():
        object.__setattr__(listed, name, value)
    held = ListInfo(
        account="a",
        list_account="a",
        version=1,
        etag='"v1"',
        enforced=True,
        editable=True,
        max_entries=50,
        items=[listed],
    )
    assert entries_named(held, [key_in_client(named)]) == [listed]


@pytest.mark.parametrize("text", [*ODD, "8.8.8.0/24", "2606:4700::/32"])
def test_an_observation_has_a_network_as_the_engine_writes_it(text: str) -> None:
    at = datetime(2025, 1, 2, tzinfo=UTC)
    with nullcontext() if by_the_engine(text) == text else pytest.raises(ValueError, match="canonical CIDR"):
        Observation(account="a", network=text, allowed=True, requests=1, first_seen=at, last_seen=at)


def test_a_change_finds_an_entry_by_every_spelling() -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        change = manager.add("a", "8.8.8.0/24")
    assert change.entry("::ffff:8.8.8.0/120") == change.entry(IPv4Network("8.8.8.0/24")) == change.after[0]
    with pytest.raises(EntryNotFoundError):
        change.entry("8.8.8.0/255.255.255.0")
