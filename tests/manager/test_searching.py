"""Searches across all accounts find what `ipaddress` and Python's texts say, however much of it is indexed."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from cidrgate import InvalidAddressError, NewEntry, Policy, RuleManager
from cidrgate.stores.sqlite import store as sqlite_store
from tests.golden import read_network
from tests.length import length
from tests.rows import rows
from tests.strategies import addresses_near, networks, prefixes
from tests.waiting import soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.golden import Network

MANY_EXAMPLES = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
    max_examples=length(25, 100),
)
"""Without shrinking, which takes minutes with a database."""


ANYTHING = Policy(allow_special=True, widest_ipv4=0, widest_ipv6=0)


@pytest.fixture
def manager(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RuleManager]:
    """Of a new store, where few rows are indexed as soon as many are elsewhere."""
    monkeypatch.setattr(sqlite_store, "_FEWEST_TO_INDEX", 1)
    monkeypatch.setattr(sqlite_store, "_INDEXED_AT_ONCE", 3)
    with RuleManager.open(store_url, policy=ANYTHING, load=False) as manager:
        yield manager


def golden_find(listed: dict[int, str], wanted: Network, *, overlaps: bool) -> list[int]:
    """The ids of entries, by their networks, as `ipaddress` finds them."""
    found = []
    for key, cidr in listed.items():
        network = read_network(cidr)
        if network.version == wanted.version:
            covers = wanted.subnet_of(network)  # type: ignore[arg-type]
            if covers or (overlaps and network.subnet_of(wanted)):  # type: ignore[arg-type]
                found.append(key)
    return sorted(found)


def test_what_covers_and_what_overlaps_is_found_like_ipaddress_does(manager: RuleManager) -> None:
    numbers = count()

    @MANY_EXAMPLES
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        # Each network has an account of its own, as the entries of one account cannot overlap.
        made = {f"acct-{next(numbers)}": cidr for cidr in data.draw(st.lists(prefixes, min_size=1, max_size=12))}
        manager.import_accounts({name: [NewEntry(cidr)] for name, cidr in made.items()})
        try:
            compare_lists(data, made)
        finally:
            for name in made:
                manager.replace(name, [], allow_empty=True)

    def compare_lists(data: st.DataObject, made: dict[str, str]) -> None:
        if data.draw(st.booleans()):
            manager._store.index_new_rows()
        listed: dict[int, str] = {}
        for name in made:
            [entry] = manager.entries(name)
            match data.draw(st.integers(0, 4)):
                case 0:
                    manager.remove(name, entry.id, allow_empty=True)
                    continue
                case 1:
                    [entry] = manager.edit(name, entry.id, data.draw(prefixes)).entries
            listed[entry.id] = entry.cidr
        if data.draw(st.booleans()):
            manager._store.index_new_rows()
        texts = sorted(made.values())
        near = data.draw(addresses_near(texts))
        wanted = data.draw(st.sampled_from([*texts, near])) if data.draw(st.booleans()) else str(data.draw(networks()))
        limit = data.draw(st.integers(1, 5))
        for overlaps in (False, True):
            find = partial(manager.find, overlaps=wanted) if overlaps else partial(manager.find, wanted)
            found = [one.entry for one in find()]
            expected = golden_find(listed, read_network(wanted), overlaps=overlaps)
            assert [(one.id, one.cidr) for one in found] == [(key, listed[key]) for key in expected]
            paged: list[int] = []
            while page := find(limit=limit, after=paged[-1] if paged else 0):
                assert len(page) <= limit
                paged += (one.entry.id for one in page)
            assert paged == expected

    compare()


LETTERS = "abABzZéÉß_%/\\\"'-1 "
NAMES = st.text(st.sampled_from(LETTERS), min_size=1, max_size=8).filter(lambda text: text == text.strip())


def in_other_case(text: str) -> str:
    return "".join(letter.swapcase() if len(letter.swapcase()) == 1 else letter for letter in text)


def in_lower_case(text: str) -> str:
    """Only of ASCII: what is a capital letter elsewhere would depend on the database."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def test_names_are_found_by_their_beginnings_and_parts(manager: RuleManager) -> None:
    numbers = count()

    @MANY_EXAMPLES
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        end = f"#{next(numbers)}"  # the accounts of other examples stay in the store
        names = sorted(data.draw(st.sets(NAMES, min_size=1, max_size=12)))
        for name in names:
            manager.create_account(name + end)
        if data.draw(st.booleans()):
            manager._store.index_new_rows()
        part = st.text(st.sampled_from(LETTERS), min_size=1, max_size=4)
        name, start = data.draw(st.sampled_from(names)), data.draw(st.integers(0, 7))
        within = in_other_case(name[start : start + 4]) or None
        containing = data.draw(st.sampled_from([None, within, data.draw(part)]))
        starting_with = data.draw(st.sampled_from([None, in_other_case(name[:start]) or None, data.draw(part)]))
        found = [
            account.name
            for account in manager.accounts(containing=containing, starting_with=starting_with)
            if account.name.endswith(end)
        ]
        assert sorted(found) == sorted(
            name + end
            for name in names
            if in_lower_case(containing or "") in in_lower_case(name + end)
            and in_lower_case(name).startswith(in_lower_case(starting_with or ""))
        )
        paged: list[str] = []
        after: str | None = None
        while page := manager.accounts(containing=containing, starting_with=starting_with, limit=20, after=after):
            after = page[-1].name
            paged += (account.name for account in page if account.name.endswith(end))
        assert paged == found

    compare()


@pytest.mark.parametrize("text", ["\0", "acct\0", "\n", "\x7f", "\u2028", "\ud800", "acct-1\udfff"])
def test_characters_that_no_name_has_are_in_no_name(manager: RuleManager, text: str) -> None:
    manager.create_account("acct-1")
    manager.create_account("sub-1", parent="acct-1")
    for indexed in (False, True):
        if indexed:
            manager._store.index_new_rows()
        for asked in ("containing", "starting_with", "parent"):
            assert manager.accounts(**{asked: text}) == [], asked  # type: ignore[arg-type]


def test_more_than_an_index_returns_is_found_too(manager: RuleManager, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cidrgate.stores.sql", "cidrgate.stores.sqlite.transaction", "cidrgate.stores.postgres.transaction"):
        monkeypatch.setattr(f"{module}.MOST_FOUND", 3)
    manager.import_accounts({f"acct-{number}": [NewEntry("8.8.8.0/24")] for number in range(9)})
    for _ in range(2):
        assert len(manager.find("8.8.8.8")) == len(manager.find(overlaps="8.8.8.0/24")) == 9
        assert [one.entry.account for one in manager.find("8.8.8.8", limit=2)] == ["acct-0", "acct-1"]
        assert [one.name for one in manager.accounts(containing="cct", limit=2, after="acct-5")] == ["acct-6", "acct-7"]
        manager._store.index_new_rows()


def test_results_say_what_counts_and_who_inherits(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    for name in ("sub-1", "sub-2"):
        manager.create_account(name, parent="acct-1")
    manager.create_account("acct-2")
    end = soon()
    manager.add("acct-1", "8.8.8.0/24")
    manager.add("acct-2", "8.8.0.0/16", expires_at=end)
    assert [(one.entry.account, one.allows, one.subaccounts) for one in manager.find("8.8.8.8")] == [
        ("acct-1", True, 2),
        ("acct-2", True, 0),
    ]
    while datetime.now(UTC) < end:
        pass
    assert [one.allows for one in manager.find("8.8.8.8")] == [True, False]


MAPPED = {
    "an address": "8.8.8.8",
    "an IPv4-mapped address": "::ffff:8.8.8.8",
    "packed bytes": b"\x08\x08\x08\x08",
    "packed bytes of IPv6": bytes(10) + b"\xff\xff\x08\x08\x08\x08",
    "an address object": ip_network("8.8.8.8/32").network_address,
    "a network object": ip_network("8.8.8.0/28"),
    "an IPv4-mapped network": "::ffff:8.8.8.0/124",
}


@rows("asked", MAPPED)
def test_every_form_of_an_address_and_a_network_is_understood(asked: str) -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        assert [one.entry.cidr for one in manager.find(MAPPED[asked])] == ["8.8.8.0/24"]
        assert len(manager.find(overlaps=MAPPED[asked])) == 1


@pytest.mark.parametrize("wrong", ["8.8.8.8/24", "8.8.8", "", "8.8.8.8/", "x", b"123", "8.8.8.0/33"])
def test_what_is_no_network_is_refused(wrong: str) -> None:
    with RuleManager.open("memory://", load=False) as manager:
        with pytest.raises(InvalidAddressError):
            manager.find(wrong)
        with pytest.raises(TypeError, match="name either"):
            manager.find(wrong, overlaps=wrong)
        with pytest.raises(TypeError, match="name either"):
            manager.find()
        with pytest.raises(ValueError, match="limit"):
            manager.find("8.8.8.8", limit=-1)
