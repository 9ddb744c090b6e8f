"""What a caller may submit: absent, given and cleared details, texts, times, and objects instead of text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network, ip_network
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import Entry, EntryEdit, InvalidExpiryError, InvalidTextError, NewEntry, RuleError, RuleManager
from cidrgate.foresight import recommend
from cidrgate.manager import DeclaredAccount
from cidrgate.rules.characters import checked_text
from cidrgate.rules.limits import LONGEST_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LATER = datetime(2999, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ZONES = [UTC, timezone(timedelta(hours=5)), timezone(timedelta(hours=-9, minutes=-30))]


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://", follow=False) as opened:
        opened.create_account("acct-1")
        yield opened


labels = st.sampled_from([..., None, "office", "home"])
ends = st.sampled_from([..., None, LATER, LATER + timedelta(days=1)])


def merged(old: object, said: object) -> object:
    """What the details are afterwards: the model of every change."""
    return old if said is ... else said


@given(
    first=st.tuples(labels, ends),
    own=st.tuples(labels, ends),
    common=st.tuples(labels, ends),
    way=st.sampled_from(["replace", "import"]),
)
def test_an_absent_detail_keeps_and_none_clears(
    first: tuple[Any, Any], own: tuple[Any, Any], common: tuple[Any, Any], way: str
) -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("a")
        manager.add("a", [NewEntry("8.8.8.0/24", label=first[0], expires_at=first[1])])
        [listed] = manager.entries("a")
        assert (listed.label, listed.expires_at) == (merged(None, first[0]), merged(None, first[1]))
        shared = {name: said for name, said in zip(("label", "expires_at"), common, strict=True) if said is not ...}
        pieces = [NewEntry(cidr, label=own[0], expires_at=own[1]) for cidr in ("8.8.8.0/24", "1.1.1.1/32")]
        if way == "replace":
            manager.replace("a", pieces, **shared)
        else:
            assert not manager.import_accounts({"a": pieces}, replace=True).problems
            common = (..., ...)
        new, stays = manager.entries("a")
        assert stays.id == listed.id
        said = tuple(merged(of_all, of_one) for of_all, of_one in zip(common, own, strict=True))
        assert (stays.label, stays.expires_at) == (merged(listed.label, said[0]), merged(listed.expires_at, said[1]))
        assert (new.label, new.expires_at) == (merged(None, said[0]), merged(None, said[1]))


def test_a_list_is_replaced_by_the_entries_of_another_one(manager: RuleManager) -> None:
    manager.create_account("acct-2")
    there = manager.add("acct-1", [NewEntry("8.8.8.0/24", label="dns", expires_at=LATER), "1.1.1.1/32"]).entries
    copied = manager.replace("acct-2", there).entries
    assert [NewEntry.of(entry) for entry in copied] == [NewEntry.of(entry) for entry in there]
    manager.edit("acct-2", copied[0], label="x")
    manager.edit("acct-2", copied[1], label=None, expires_at=None)
    again = manager.replace("acct-2", there)
    assert [NewEntry.of(entry) for entry in again.entries] == [NewEntry.of(entry) for entry in there]
    assert [entry.id for entry in again.entries] == [entry.id for entry in copied]


WAYS: dict[str, Callable[[RuleManager, Any], object]] = {
    "add": lambda manager, details: manager.add("acct-1", "1.1.1.1/32", **details),
    "add one": lambda manager, details: manager.add("acct-1", NewEntry("1.1.1.1/32", **details)),
    "edit": lambda manager, details: manager.edit("acct-1", "1.1.1.1/32", **details),
    "edit as a value": lambda manager, details: manager.edit("acct-1", "1.1.1.1/32", EntryEdit(**details)),
    "replace": lambda manager, details: manager.replace("acct-1", "1.1.1.1/32", **details),
    "replace one": lambda manager, details: manager.replace("acct-1", [NewEntry("1.1.1.1/32", **details)]),
    "import": lambda manager, details: imported(manager, NewEntry("1.1.1.1/32", **details)),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


def imported(manager: RuleManager, piece: NewEntry) -> None:
    for problem in manager.import_accounts({"acct-1": [piece]}).problems.values():
        raise problem


def prepared(manager: RuleManager, way: str) -> None:
    if way.startswith("edit"):
        manager.add("acct-1", "1.1.1.1/32", label="before")


@EVERY_WAY
def test_a_label_has_one_rule_on_every_way_in(manager: RuleManager, way: str) -> None:
    prepared(manager, way)
    before = manager.entries("acct-1")
    for label in ("x" * (LONGEST_LABEL + 1), "a\nb", "\x1b[31m", "of\u202efice"):
        with pytest.raises(InvalidTextError) as caught:
            WAYS[way](manager, {"label": label})
        assert (caught.value.code, caught.value.field, caught.value.text) == ("invalid_text", "label", label)
        assert manager.entries("acct-1") == before
    with pytest.raises(TypeError, match="label must be text"):
        WAYS[way](manager, {"label": 5})
    WAYS[way](manager, {"label": "x" * LONGEST_LABEL})
    assert manager.entries("acct-1")[0].label == "x" * LONGEST_LABEL


@EVERY_WAY
def test_an_empty_label_is_no_label(manager: RuleManager, way: str) -> None:
    prepared(manager, way)
    WAYS[way](manager, {"label": ""})
    assert [entry.label for entry in manager.entries("acct-1")] == [None]


@EVERY_WAY
@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_a_time_is_stored_and_returned_in_utc(manager: RuleManager, way: str, zone: timezone) -> None:
    prepared(manager, way)
    made = WAYS[way](manager, {"expires_at": LATER.astimezone(zone)})
    [entry] = manager.entries("acct-1")
    for seen in (entry, *getattr(made, "entries", ()), *manager.history("acct-1")[0].after):
        assert seen.expires_at == LATER
        assert seen.expires_at.tzinfo is UTC


@EVERY_WAY
def test_what_is_no_time_is_refused(manager: RuleManager, way: str) -> None:
    prepared(manager, way)
    for wrong in ("2999-01-01", 5, LATER.date()):
        with pytest.raises(TypeError, match="expires_at must be a datetime"):
            WAYS[way](manager, {"expires_at": wrong})
    naive = datetime(2999, 1, 1)
    with pytest.raises(InvalidExpiryError, match="has no time zone") as caught:
        WAYS[way](manager, {"expires_at": naive})
    assert caught.value.expires_at == naive


ACTORS: dict[str, Callable[[RuleManager, Any], object]] = {
    "create_account": lambda manager, actor: manager.create_account("acct-2", actor=actor),
    "add": lambda manager, actor: manager.add("acct-1", "1.1.1.1/32", actor=actor),
    "edit": lambda manager, actor: manager.edit("acct-1", "8.8.8.0/24", label="x", actor=actor),
    "remove": lambda manager, actor: manager.remove("acct-1", "8.8.8.0/24", allow_empty=True, actor=actor),
    "replace": lambda manager, actor: manager.replace("acct-1", "1.1.1.1/32", actor=actor),
    "restore": lambda manager, actor: manager.restore("acct-1", to_sequence=1, allow_empty=True, actor=actor),
    "undo": lambda manager, actor: manager.undo("acct-1", 2, allow_empty=True, actor=actor),
    "import": lambda manager, actor: manager.import_accounts({"acct-1": "1.1.1.1/32"}, actor=actor),
}


@pytest.mark.parametrize("way", ACTORS)
def test_an_actor_has_the_rule_of_a_label(manager: RuleManager, way: str) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    before = manager.history()
    for actor in ("x" * (LONGEST_LABEL + 1), "a\nb", "\u200b"):
        with pytest.raises(InvalidTextError) as caught:
            ACTORS[way](manager, actor)
        assert (caught.value.field, caught.value.text) == ("actor", actor)
    with pytest.raises(TypeError, match="actor must be text"):
        ACTORS[way](manager, 5)
    assert manager.history() == before
    ACTORS[way](manager, "")
    assert manager.history()[0].actor is None


@given(st.text(max_size=300))
def test_a_text_is_kept_as_it_is_or_refused(text: str) -> None:
    try:
        kept = checked_text(text, "label")
    except InvalidTextError:
        assert len(text) > LONGEST_LABEL or not text.isprintable() or not text.isascii()
    else:
        assert kept == (text or None)


networks = st.ip_addresses(v=4).map(lambda address: IPv4Network(address)) | st.builds(
    lambda address: IPv6Network(address), st.ip_addresses(v=6)
)
FORMS: list[Callable[[IPv4Network | IPv6Network], Any]] = [
    str,
    lambda network: network,
    lambda network: network.network_address,
    lambda network: NewEntry(network),
    lambda network: NewEntry(network.network_address, label=None),
    lambda network: [network],
    lambda network: (network.network_address,),
    lambda network: {str(network): None}.keys(),
    lambda network: iter([NewEntry(network)]),
]


@given(network=networks, form=st.sampled_from(FORMS))
def test_objects_mean_what_their_text_means(network: IPv4Network | IPv6Network, form: Callable[[Any], Any]) -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        for account in "abcd":
            manager.create_account(account)
        try:
            expected = manager.add("a", str(network)).after[0].cidr
        except RuleError as error:
            codes = [one.code for one in error.problems]
            for refused in (manager.add, manager.replace):
                with pytest.raises(RuleError) as caught:
                    refused("b", form(network))
                assert [one.code for one in caught.value.problems] == codes
            return
        assert [entry.cidr for entry in manager.add("b", form(network)).entries] == [expected]
        assert [entry.cidr for entry in manager.replace("c", form(network)).entries] == [expected]
        assert not manager.import_accounts({"d": form(network)}).problems
        [entry] = manager.entries("d")
        assert (entry.cidr, str(entry.network)) == (expected, str(ip_network(expected)))
        whichever: list[Any] = [str(network), network, network.network_address, entry.id, entry]
        for which in whichever:
            manager.edit("d", which, label="found")
            assert manager.entries("d")[0].label == "found"
            manager.edit("d", which, label=None)
        manager.edit("d", entry, network.network_address)
        assert manager.remove("d", entry.network, allow_empty=True).before == (entry,)


def test_an_address_of_an_interface_keeps_its_length(manager: RuleManager) -> None:
    with pytest.raises(RuleError, match=r"write 8\.8\.8\.0/24"):
        manager.add("acct-1", IPv4Interface("8.8.8.1/24"))
    assert manager.add("acct-1", IPv4Interface("8.8.8.0/24")).after[0].cidr == "8.8.8.0/24"
    with pytest.raises(RuleError):
        manager.add("acct-1", IPv6Address("2606:4700::1%eth0"))


@pytest.mark.parametrize("wrong", [5, None, True, b"8.8.8.0/24", 1.5, object(), Path("8.8.8.0/24")])
def test_what_is_no_network_is_named(manager: RuleManager, wrong: Any) -> None:
    as_ref: Any = [wrong] if wrong == 5 else wrong  # a number is an id
    for change in (
        lambda: manager.add("acct-1", [wrong]),
        lambda: manager.replace("acct-1", ["8.8.8.0/24", wrong]),
        lambda: NewEntry(wrong),
        lambda: manager.remove("acct-1", as_ref),
    ):
        with pytest.raises(TypeError, match=r"must be text|name an entry by its id"):
            change()


ASKED: dict[str, Callable[[RuleManager, Any], object]] = {
    "add": lambda manager, cidrs: manager.add("acct-1", cidrs),
    "add one of several": lambda manager, cidrs: manager.add("acct-1", ["8.8.4.0/24", cidrs]),
    "replace": lambda manager, cidrs: manager.replace("acct-1", cidrs),
    "replace in a dry run": lambda manager, cidrs: manager.with_hooks(dry_run=True).replace("acct-1", cidrs),
    "import": lambda manager, cidrs: manager.import_accounts({"new": cidrs}),
    "import of pairs": lambda manager, cidrs: manager.import_accounts([("new", cidrs)]),
    "import of one of several": lambda manager, cidrs: manager.import_accounts({"new": [cidrs]}),
    "apply": lambda manager, cidrs: manager.apply({"new": cidrs}),
    "apply of a value": lambda manager, cidrs: manager.apply({"new": DeclaredAccount(entries=cidrs)}),
    "apply of one of several": lambda manager, cidrs: manager.apply({"new": [cidrs]}),
    "plan": lambda manager, cidrs: manager.plan({"new": cidrs}),
    "edit": lambda manager, cidrs: manager.edit("acct-1", "8.8.8.0/24", cidrs),
    "edit of it": lambda manager, cidrs: manager.edit("acct-1", cidrs, label="x"),
    "remove": lambda manager, cidrs: manager.remove("acct-1", cidrs, allow_empty=True),
    "find": lambda manager, cidrs: manager.find(cidrs),
    "find what overlaps": lambda manager, cidrs: manager.find(overlaps=cidrs),
    "recommend forced": lambda manager, cidrs: manager.recommend("acct-1", forced=cidrs),
    "recommend excluded": lambda manager, cidrs: manager.recommend("acct-1", excluded=cidrs),
    "recommend for a log, forced": lambda manager, cidrs: recommend(["8.8.8.8"], forced=cidrs),
    "recommend for a log, excluded": lambda manager, cidrs: recommend(["8.8.8.8"], excluded=cidrs),
    "a new entry": lambda manager, cidrs: NewEntry(cidrs),
    "an edit of an entry": lambda manager, cidrs: EntryEdit(cidr=cidrs),
}
TAKE_NEW_ENTRIES = [way for way in ASKED if way.startswith(("add", "replace", "import", "apply", "plan"))]
MAPPINGS: list[Any] = [
    {"9.9.9.9/32": {"expires_at": LATER, "enabled": False}},
    {"9.9.9.9/32": "office"},
    {"cidr": "9.9.9.9/32", "label": "office"},
    {"entries": ["9.9.9.9/32"]},
    MappingProxyType({"8.8.8.0/24": None}),
    {},
]


@pytest.mark.parametrize("mapping", MAPPINGS, ids=repr)
@pytest.mark.parametrize("way", ASKED)
def test_a_mapping_does_not_lose_its_details(manager: RuleManager, way: str, mapping: Any) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    before = manager.history()
    with pytest.raises(TypeError, match=r"dict|mapping|name an entry") as caught:
        ASKED[way](manager, mapping)
    if way in TAKE_NEW_ENTRIES:
        assert "NewEntry(cidr, label=..., expires_at=..., enabled=...)" in str(caught.value)
    assert manager.history() == before


# A DeclaredAccount(entries=None) says nothing about the list.
@pytest.mark.parametrize(
    ("way", "nothing"),
    [*product(TAKE_NEW_ENTRIES, [5, b"8.8.8.0/24"]), *((way, None) for way in TAKE_NEW_ENTRIES if "value" not in way)],
)
def test_what_is_neither_one_entry_nor_several_is_named(manager: RuleManager, way: str, nothing: Any) -> None:
    before = manager.history()
    with pytest.raises(TypeError, match=rf"not (as )?{type(nothing).__name__}"):
        ASKED[way](manager, nothing)
    assert manager.history() == before


@pytest.mark.parametrize("lists", ["ab", ["ab"], [("new", "8.8.8.0/24", "office")], ["acct-1"]], ids=repr)
def test_what_is_no_pair_is_not_unpacked(manager: RuleManager, lists: Any) -> None:
    before = manager.history()
    with pytest.raises(TypeError, match="is no pair"):
        manager.import_accounts(lists)
    assert manager.history() == before


def test_an_entry_of_another_account_is_not_found(manager: RuleManager) -> None:
    manager.create_account("acct-2")
    [other] = manager.add("acct-2", "8.8.8.0/24").after
    manager.add("acct-1", "8.8.8.0/24")
    for change in (manager.remove, manager.edit):
        with pytest.raises(LookupError, match=f"id {other.id}"):
            change("acct-1", other)
    assert isinstance(other, Entry)
    assert isinstance(other.network, IPv4Network)
    assert IPv4Address("8.8.8.8") in other.network
