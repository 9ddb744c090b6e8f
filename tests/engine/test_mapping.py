"""`PrefixTrie` as a mapping, against a dictionary and `ipaddress`."""

from __future__ import annotations

import copy
import pickle
from collections import UserDict
from collections.abc import Collection, Hashable, ItemsView, KeysView, Mapping, MutableMapping, Reversible, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import InvalidAddressError, PrefixTrie
from tests.golden import GoldenTrie
from tests.strategies import addresses_near, prefixes

if TYPE_CHECKING:
    from collections.abc import Callable

values: st.SearchStrategy[Any] = st.one_of(st.integers(0, 3), st.none(), st.just([]), st.text(max_size=2))
contents = st.dictionaries(prefixes, values, max_size=12)


class GoldenMapping:
    """What the mapping promises: a prefix is looked up exactly, an address by the longest prefix that covers it."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.golden = GoldenTrie(given)
        self.pairs = [(str(network), given[str(network)]) for network in self.golden.networks]

    def find(self, text: str) -> tuple[str, Any] | None:
        wanted = text if "/" in text else self.golden.match(text)
        return next((pair for pair in self.pairs if pair[0] == wanted), None)


def spellings(text: str) -> list[Any]:
    """The ways to write one prefix or one address."""

    class Text(str):
        __slots__ = ()

    forms: list[Any] = [text, text.upper(), Text(text)]
    if "/" in text:
        network = ip_network(text)
        forms += [network, network.exploded]
        if isinstance(network, IPv4Network):
            forms.append(IPv6Network((0xFFFF << 32 | int(network.network_address), 96 + network.prefixlen)))
    else:
        address = ip_address(text)
        forms += [address, address.packed, address.exploded]
        if isinstance(address, IPv4Address):
            forms += [IPv6Address(0xFFFF << 32 | int(address)), f"::ffff:{text}"]
    return forms


@given(contents, st.data())
def test_every_key_is_found_as_in_the_model(given: dict[str, Any], data: st.DataObject) -> None:
    trie, model = PrefixTrie(given), GoldenMapping(given)
    near = addresses_near(list(given))
    some = st.one_of(prefixes, near, st.sampled_from(list(given)) if given else near)
    for text in data.draw(st.lists(some, max_size=8)):
        found = model.find(text)
        for key in spellings(text):
            assert (key in trie) == (found is not None), key
            if found is None:
                assert trie.get(key) is None
                assert trie.get(key, "default") == "default"
                with pytest.raises(KeyError) as missing:
                    trie[key]
                assert missing.value.args == (key,)
            else:
                assert trie[key] == trie.get(key) == trie.get(key, "default") == found[1]
            is_stored = found is not None and "/" in text
            assert (key in trie.keys()) == is_stored  # noqa: SIM118
            assert ((key, found and found[1]) in trie.items()) == is_stored
            assert (key, object()) not in trie.items()


@given(contents)
def test_views_are_those_of_a_dictionary_in_the_order_of_the_trie(given: dict[str, Any]) -> None:
    trie, model = PrefixTrie(given), GoldenMapping(given)
    ordered = dict(model.pairs)
    assert list(trie) == trie.prefixes() == list(trie.keys()) == list(ordered)
    assert list(trie.items()) == list(ordered.items())
    assert list(trie.values()) == list(ordered.values())
    assert list(reversed(trie)) == list(reversed(ordered))
    assert len(trie) == len(trie.keys()) == len(trie.items()) == len(trie.values()) == len(ordered)
    assert all(prefix in trie for prefix in trie)
    assert all(trie[prefix] == value for prefix, value in trie.items())
    assert dict(trie) == {**trie} == ordered


@given(contents, contents)
def test_a_trie_equals_what_has_its_prefixes_and_values(one: dict[str, Any], other: dict[str, Any]) -> None:
    left, right = PrefixTrie(one), PrefixTrie(other)
    assert (left == right) == (left == other) == (other == left) == (left == UserDict(other)) == (one == other)
    assert (left != right) == (left != other) == (one != other)
    if one == other:
        assert hash(left) == hash(right)
    bare = PrefixTrie(one.keys())
    assert bare == {prefix: prefix for prefix in one} == PrefixTrie({prefix: prefix for prefix in one})
    assert hash(bare) == hash(PrefixTrie(dict(bare)))
    assert (bare == left) == (dict(bare) == one)


@given(contents)
def test_copies_are_equal_and_keep_their_kind(given: dict[str, Any]) -> None:
    for trie in (PrefixTrie(given), PrefixTrie(list(given))):
        made = [pickle.loads(pickle.dumps(trie, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
        for again in [
            *made,
            copy.copy(trie),
            copy.deepcopy(trie),
            PrefixTrie(trie),
            PrefixTrie(MappingProxyType(trie)),
        ]:
            assert again == trie
            assert hash(again) == hash(trie)
            assert list(again.items()) == list(trie.items())


@given(contents, st.lists(st.one_of(prefixes, addresses_near([])), max_size=6))
def test_views_of_keys_are_sets(given: dict[str, Any], others: list[str]) -> None:
    keys, items = PrefixTrie(given).keys(), PrefixTrie(dict.fromkeys(given, 1)).items()
    for other in (set(others), set(others) | set(given), set(given)):
        assert (keys & other, keys | other, keys - other, keys ^ other) == (
            given.keys() & other,
            given.keys() | other,
            given.keys() - other,
            given.keys() ^ other,
        )
        assert (keys == other, keys <= other, keys >= other) == (
            given.keys() == other,
            given.keys() <= other,
            given.keys() >= other,
        )
        assert keys.isdisjoint(other) == given.keys().isdisjoint(other)
    assert items == {(prefix, 1) for prefix in given}


def test_it_is_a_mapping_and_nothing_that_changes() -> None:
    trie = PrefixTrie({"8.8.8.0/24": 1})
    for kind in (Mapping, Collection, Reversible, Hashable):
        assert isinstance(trie, kind)
    for kind in (MutableMapping, Sequence):
        assert not isinstance(trie, kind)
    assert isinstance(trie.keys(), KeysView)
    assert isinstance(trie.items(), ItemsView)
    match trie:
        case {"8.8.8.0/24": value, **rest}:
            assert (value, rest) == (1, {})
        case _:
            pytest.fail("it is no mapping for `match`")
    with pytest.raises(TypeError):
        trie["8.8.4.0/24"] = 2  # type: ignore[index]
    with pytest.raises(TypeError):
        del trie["8.8.8.0/24"]  # type: ignore[attr-defined]


def test_it_is_generic() -> None:
    assert str(PrefixTrie[int]) == "cidrgate.PrefixTrie[int]"
    assert PrefixTrie[int]({"8.8.8.0/24": 1}) == {"8.8.8.0/24": 1}
    trie: PrefixTrie[int] = PrefixTrie({"8.8.8.0/24": 1, "2600::/16": 2})
    found: int = trie["8.8.8.8"] + trie.lookup("2600::1", 0) + trie.get("9.9.9.9", 3)
    assert found == 6
    networks: dict[IPv4Network | IPv6Network, int] = {IPv4Network("8.8.8.0/24"): 1}
    assert PrefixTrie[int](networks)[IPv4Address("8.8.8.8")] == 1
    bare: PrefixTrie[str] = PrefixTrie([IPv4Network("8.8.8.0/24")])
    assert bare["8.8.8.8"].upper() == "8.8.8.0/24"


def test_a_bare_address_is_no_prefix_of_full_length() -> None:
    trie = PrefixTrie(["8.8.8.0/24", "9.9.9.9/32"])
    assert "8.8.8.8" in trie
    assert "8.8.8.8/32" not in trie
    assert ("9.9.9.9" in trie, "9.9.9.9/32" in trie) == (True, True)
    assert "9.9.9.9" not in trie.keys()  # noqa: SIM118
    assert ip_interface("8.8.8.8/24") in trie


def test_a_default_is_told_from_a_value() -> None:
    trie = PrefixTrie({"8.8.8.0/24": None})
    missing = object()
    assert (trie.lookup("8.8.8.8", missing), trie.lookup("9.9.9.9", missing)) == (None, missing)
    assert (trie.get("8.8.8.0/24", missing), trie.get("8.8.4.0/24", missing)) == (None, missing)
    assert trie.lookup("9.9.9.9", default=5) == 5


@pytest.mark.parametrize(
    "wrong", ["", "x", "/", "8.8.8.8/24", "8.8.8.8/", "/24", "8.8.8.0/33", "::1%lo", "8.8.8.0 /24", b"8.8.8"]
)
def test_what_is_neither_an_address_nor_a_prefix_is_an_error(wrong: Any) -> None:
    trie = PrefixTrie(["8.8.8.0/24"])
    for ask in (trie.__contains__, trie.__getitem__, trie.get):
        with pytest.raises(InvalidAddressError):
            ask(wrong)
    assert wrong not in trie.keys()  # noqa: SIM118
    assert (wrong, wrong) not in trie.items()


@pytest.mark.parametrize("wrong", [None, 1, 134744072, (), ["8.8.8.8"], object()])
def test_objects_of_other_types_are_an_error(wrong: Any) -> None:
    trie = PrefixTrie(["8.8.8.0/24"])
    for ask in (trie.__contains__, trie.__getitem__, trie.get, trie.lookup):
        with pytest.raises(TypeError):
            ask(wrong)
    assert wrong not in trie.keys()  # noqa: SIM118
    assert wrong not in trie.items()


@pytest.mark.parametrize("prefix", ["8.8.8.0/24", IPv4Network("8.8.8.0/24")])
def test_questions_about_addresses_refuse_prefixes(prefix: Any) -> None:
    """Text from outside that is a stored prefix must not count as an address."""
    trie = PrefixTrie(["8.8.8.0/24"])
    assert prefix in trie
    for ask in (trie.lookup, trie.match):
        with pytest.raises((InvalidAddressError, TypeError)):
            ask(prefix)


@pytest.mark.parametrize("packed", [None, 4, "8.8.8.8", bytearray(b"\x08\x08\x08\x08"), b"", b"\x08" * 5])
def test_addresses_that_lie_are_refused(packed: Any) -> None:
    trie = PrefixTrie(["8.8.8.0/24"])
    address = type("Lying", (IPv4Address,), {"packed": packed})("8.8.8.8")
    asks: list[Any] = [trie.__contains__, trie.lookup, trie.match, lambda one: trie.contains_many([one])]
    for ask in asks:
        with pytest.raises((TypeError, InvalidAddressError)):
            ask(address)


@pytest.mark.parametrize("mapping", [None, 5, {}, "8.8.8.0/24"])
def test_views_that_were_changed_are_refused(mapping: Any) -> None:
    trie = PrefixTrie({"8.8.8.0/24": 1})
    keys, items, values = trie.keys(), trie.items(), trie.values()
    for view in (keys, items, values):
        setattr(view, "_mapping", mapping)  # noqa: B010
    for use in (lambda: "8.8.8.0/24" in keys, lambda: ("8.8.8.0/24", 1) in items, lambda: list(values)):
        with pytest.raises(TypeError, match="a view of a PrefixTrie"):
            use()


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("keys", lambda view: "8.8.8.0/24" in view),
        ("items", lambda view: ("8.8.8.0/24", 1) in view),
        ("values", lambda view: list(view) == [1]),
    ],
)
def test_a_view_is_asked_for_its_trie_once(name: str, use: Callable[[Any], bool]) -> None:
    trie = PrefixTrie({"8.8.8.0/24": 1})
    given = iter([trie])

    class Lying(type(getattr(trie, name)())):  # type: ignore[misc]
        @property
        def _mapping(self) -> Any:
            return next(given, object())

    assert use(Lying.__new__(Lying))
    assert next(given, None) is None


def test_a_mapping_is_read_once() -> None:
    class Changing(UserDict[str, int]):
        def __iter__(self) -> Any:
            return iter(["9.9.9.0/24"] * len(self.data))

        def keys(self) -> Any:
            return iter(self)

        def items(self) -> Any:
            return self.data.items()

    trie = PrefixTrie(Changing({"8.8.8.0/24": 1, "8.8.4.0/24": 2}))
    assert list(trie.items()) == [("8.8.4.0/24", 2), ("8.8.8.0/24", 1)]
