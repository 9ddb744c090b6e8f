"""`Matcher` against a dictionary of lists: every sequence of changes, many accounts, all sizes of lists."""

from __future__ import annotations

import random
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cidrgate import (
    AccountNotFoundError,
    InvalidAccountError,
    InvalidAddressError,
    Matcher,
    PrefixTrie,
    SubaccountError,
)
from tests.golden import GoldenTrie
from tests.length import length
from tests.strategies import addresses_near, prefixes

if TYPE_CHECKING:
    from pathlib import Path

names = st.one_of(st.sampled_from(["acct-1", "acct-2", "sub-1", "é", "名"]), st.text(min_size=1, max_size=20))
usable = names.filter(lambda name: not any("\ud800" <= character <= "\udfff" for character in name))
lists = st.lists(prefixes, max_size=6)


class MatcherMachine(RuleBasedStateMachine):
    """A matcher beside a dictionary of lists and one of parents."""

    @initialize()
    def begin(self) -> None:
        self.matcher = Matcher()
        self.lists: dict[str, list[str]] = {}
        self.parents: dict[str, str] = {}
        self.closed: set[str] = set()
        self.rows: dict[str, int] = {}

    def deciding(self, name: str) -> list[str]:
        return self.lists.get(self.parents.get(name, name), [])

    def enforced(self, name: str) -> bool:
        name = self.parents.get(name, name)
        return bool(self.lists.get(name)) or name in self.closed

    @rule(name=usable, prefixes=lists, when_empty=st.sampled_from(["allow", "deny"]))
    def publish(self, name: str, prefixes: list[str], when_empty: Literal["allow", "deny"]) -> None:
        if name in self.parents:
            with pytest.raises(SubaccountError, match="inherits"):
                self.matcher.publish(name, prefixes, when_empty=when_empty)
            return
        self.matcher.publish(name, prefixes, when_empty=when_empty)
        self.lists[name] = prefixes
        self.closed -= {name}
        if when_empty == "deny" and not prefixes:
            self.closed |= {name}

    @rule(name=usable)
    def publish_nothing_but_enforced(self, name: str) -> None:
        self.publish(name, [], when_empty="deny")

    @rule(name=usable, bad=st.sampled_from(["8.8.8.8", "8.8.8.8/24", "x"]))
    def publish_what_is_no_prefix(self, name: str, bad: str) -> None:
        with pytest.raises(InvalidAddressError):
            self.matcher.publish(name, ["9.9.9.0/24", bad])

    @rule(name=usable, parent=usable)
    def link(self, name: str, parent: str) -> None:
        has_list = name not in self.parents and self.enforced(name)
        if name != parent and parent not in self.lists and parent not in self.parents:
            with pytest.raises(AccountNotFoundError, match="publish the parent's list first"):
                self.matcher.link(name, parent)
            return
        if name == parent or parent in self.parents or has_list or name in self.parents.values():
            with pytest.raises(SubaccountError):
                self.matcher.link(name, parent)
            return
        self.matcher.link(name, parent=parent)
        self.lists.pop(name, None)
        self.parents[name] = parent

    @rule(name=usable)
    def discard(self, name: str) -> None:
        self.matcher.discard(name)
        self.closed -= {name}
        if name in self.parents.values():
            self.lists[name] = []
        elif name in self.lists or name in self.parents:
            self.lists.pop(name, None)
            self.parents.pop(name, None)
            row = self.rows.pop(name, None)
            if row is not None:
                with pytest.raises(AccountNotFoundError, match=rf"row {row} belongs to no account"):
                    self.matcher.allows_many(np.array([row], dtype=np.int32), ["8.8.8.8"])

    @rule(name=usable, data=st.data())
    def ask(self, name: str, data: st.DataObject) -> None:
        listed = self.deciding(name)
        golden = GoldenTrie(listed)
        asked = data.draw(st.lists(addresses_near(listed), min_size=1, max_size=5))
        matches = [golden.match(address) for address in asked]
        expected = [match is not None or not self.enforced(name) for match in matches]
        assert self.matcher.enforced(name) == self.enforced(name)
        assert [self.matcher.match(name, address) for address in asked] == matches
        assert [self.matcher.allows(name, address) for address in asked] == expected
        known = name in self.lists or name in self.parents
        assert (name in self.matcher) == known
        assert [self.matcher.allows_known(name, address) for address in asked] == [known and one for one in expected]
        assert [self.matcher.allows_enforced(name, address) for address in asked] == [
            match is not None for match in matches
        ]
        assert self.matcher.allows_many(name, asked).tolist() == expected
        assert self.matcher.allows_many([name] * len(asked), asked).tolist() == expected
        assert self.matcher.allows_many(self.matcher.rows([name] * len(asked)), asked).tolist() == expected

    @invariant()
    def every_account_has_its_list(self) -> None:
        known = set(self.lists) | set(self.parents)
        assert len(self.matcher) == len(known)
        listed = list(self.matcher)
        assert set(listed) == known
        assert len(listed) == len(known)
        assert listed == sorted(known, key=lambda name: self.matcher.rows([name])[0])
        for name in known:
            assert name in self.matcher
            assert self.matcher.enforced(name) == self.enforced(name)
            assert self.matcher.prefixes(name) == [str(n) for n in GoldenTrie(self.deciding(name)).networks]
        rows = self.matcher.rows(list(known)).tolist()
        assert len(set(rows)) == len(rows)
        assert min(rows, default=0) >= 0
        for name, row in zip(known, rows, strict=True):
            assert self.rows.setdefault(name, row) == row


TestMatcher = MatcherMachine.TestCase
TestMatcher.settings = settings(max_examples=length(30, 60), stateful_step_count=40, deadline=None)


def some_list(source: random.Random, size: int) -> list[str]:
    """Distinct networks of both families."""
    first = source.randrange(1, 200)
    return [
        f"{first + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" if n % 4 else f"2600:{n + 1:x}::/32" for n in range(size)
    ]


def test_many_accounts_come_and_go() -> None:
    source = random.Random(11)
    matcher, model = Matcher(), dict[str, list[str]]()
    for _ in range(60_000):
        name = f"acct-{source.randrange(30_000)}"
        if source.random() < 0.2:
            matcher.discard(name)
            model.pop(name, None)
        else:
            model[name] = some_list(source, source.randrange(4))
            matcher.publish(name, model[name])
    assert len(matcher) == len(model)
    asked = [f"acct-{number}" for number in range(30_000)]
    assert [name in matcher for name in asked] == [name in model for name in asked]
    assert all(sorted(matcher.prefixes(name)) == sorted(model[name]) for name in model)
    addresses = [source.choice(model.get(name) or ["9.9.9.0/24"]).partition("/")[0] for name in asked]
    expected = [
        not model.get(name) or matcher.match(name, a) is not None for name, a in zip(asked, addresses, strict=True)
    ]
    assert matcher.allows_many(asked, addresses).tolist() == expected == [True] * len(asked)


def test_lists_of_every_size_replace_each_other() -> None:
    source = random.Random(12)
    matcher, model = Matcher(), dict[str, list[str]]()
    # Around every border: small arrays, index, direct root, a block of half a segment and of several.
    sizes = [0, 1, 64, 65, 70, 500, 4_095, 5_500, 20_000, 60_000]
    for _ in range(120):
        name = f"acct-{source.randrange(6)}"
        model[name] = some_list(source, source.choice(sizes))
        matcher.publish(name, model[name])
        assert len(matcher.prefixes(name)) == len(model[name])
    for name, listed in model.items():
        assert set(matcher.prefixes(name)) == set(listed)
        for prefix in source.choices(listed, k=200) if listed else []:
            assert matcher.match(name, prefix.partition("/")[0]) == prefix


def test_memory_of_replaced_lists_is_used_again() -> None:
    source = random.Random(13)
    matcher = Matcher()
    lists = [some_list(source, size) for size in (*range(40), 64, 65, 90, 300, 1_000)]
    held = []
    for step in range(200_000):
        matcher.publish(f"acct-{source.randrange(200)}", source.choice(lists))
        if step % 20_000 == 19_999:
            held.append(matcher.nbytes)
    assert held[-1] <= 1.2 * held[1]


def test_memory_of_discarded_accounts_is_used_again() -> None:
    matcher = Matcher()
    accounts = 100_000
    for step in range(accounts):
        matcher.publish(f"acct-{step}", ["8.8.8.0/24"] * 3)
        if step >= 100:
            matcher.discard(f"acct-{step - 100}")
    # Row numbers are never given again, and cost four bytes each, with room to grow.
    assert matcher.nbytes <= 6 * accounts + 50_000


@given(st.text(max_size=3), st.text(max_size=3))
def test_names_are_told_apart(one: str, other: str) -> None:
    matcher = Matcher()
    try:
        matcher.publish(one, ["8.8.8.0/24"])
    except InvalidAccountError:
        assert not one or not one.isprintable()
        return
    assert (other in matcher) == (one == other) if other.isprintable() else True


@pytest.mark.parametrize("name", ["", "x" * 1_025, "é" * 513, "\ud800"])
def test_names_that_cannot_be_used_are_refused(name: str) -> None:
    matcher = Matcher()
    with pytest.raises(InvalidAccountError):
        matcher.publish(name, [])
    with pytest.raises(InvalidAccountError):
        matcher.link(name, "acct-1")
    with pytest.raises(InvalidAccountError):
        matcher.link("acct-1", name)
    assert len(matcher) == 0


@pytest.mark.parametrize("name", [None, 1, b"acct-1"])
def test_names_are_text(name: Any) -> None:
    matcher = Matcher()
    asks: list[Any] = [matcher.publish, matcher.allows, matcher.allows_known, matcher.allows_enforced, matcher.match]
    for ask in asks:
        with pytest.raises(TypeError):
            ask(name, ["8.8.8.0/24"] if ask == matcher.publish else "8.8.8.8")
    with pytest.raises(TypeError):
        matcher.rows([name])


def test_an_unreadable_address_is_an_error_for_every_account() -> None:
    matcher = Matcher()
    matcher.publish("open", [])
    matcher.publish("closed", [], when_empty="deny")
    matcher.publish("listed", ["8.8.8.0/24"])
    matcher.link("sub", parent="listed")
    for name in ("unknown", "open", "closed", "listed", "sub"):
        for ask in (matcher.allows, matcher.allows_known, matcher.allows_enforced, matcher.match):
            for unreadable in ("8.8.8", "8.8.8.8/32", "", "::1%lo", b"8.8.8", "\ud800"):
                with pytest.raises(InvalidAddressError):
                    ask(name, unreadable)
        with pytest.raises(InvalidAddressError):
            matcher.allows_many(name, ["8.8.8"])


def test_enforcement_may_outlast_the_last_prefix() -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2600::/12"])
    matcher.link("sub-1", parent="acct-1")
    matcher.publish("acct-1", [], when_empty="deny")
    many = np.full(10_000, 8 << 24 | 8 << 16 | 8 << 8 | 8, dtype=np.uint32)
    for account in ("acct-1", "sub-1"):
        assert matcher.enforced(account)
        assert not matcher.allows(account, "8.8.8.8")
        assert not matcher.allows(account, "2600::1")
        assert matcher.match(account, "8.8.8.8") is None
        assert matcher.prefixes(account) == []
        assert not matcher.allows_many(account, many).any()
        assert not matcher.allows_many(np.repeat(matcher.rows([account]), len(many)), many).any()
    matcher.publish("acct-2", [], when_empty="deny")
    with pytest.raises(SubaccountError, match="publish an empty list with when_empty='allow' before"):
        matcher.link("acct-2", parent="acct-1")
    matcher.publish("acct-2", [], when_empty="allow")
    matcher.link("acct-2", parent="acct-1")
    matcher.publish("acct-1", [])
    assert not matcher.enforced("sub-1")
    assert matcher.allows("sub-1", "8.8.8.8")
    assert not matcher.enforced("unknown")
    with pytest.raises(TypeError):
        matcher.publish("acct-1", [], "deny")  # type: ignore[call-arg]


@pytest.mark.parametrize("word", ["", "Deny", "deny ", "denied", "true", True, None, 1])
def test_what_an_empty_list_does_is_one_of_two_words(word: Any) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    for listed in ([], ["9.9.9.0/24"]):
        with pytest.raises((ValueError, TypeError), match="when_empty"):
            matcher.publish("acct-1", listed, when_empty=word)
    assert matcher.prefixes("acct-1") == ["8.8.8.0/24"]


@given(lists, st.sampled_from(["allow", "deny"]))
def test_a_list_with_prefixes_is_enforced_whatever_an_empty_one_would_be(
    prefixes: list[str], when_empty: Literal["allow", "deny"]
) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", prefixes, when_empty=when_empty)
    assert matcher.enforced("acct-1") == (bool(prefixes) or when_empty == "deny")


def test_a_subaccount_of_an_unknown_parent_is_refused_and_changes_nothing() -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    matcher.link("sub-1", "acct-1")
    for account in ("new", "acct-1", "sub-1"):
        with pytest.raises(AccountNotFoundError, match="unknown account 'acct-l'"):
            matcher.link(account, parent="acct-l")
    assert list(matcher) == ["acct-1", "sub-1"]
    assert matcher.allows_enforced("sub-1", "8.8.8.8")


@pytest.mark.parametrize("call", [lambda m, given: m.rows(given), lambda m, given: m.allows_many(given, ["8.8.8.8"])])
@pytest.mark.parametrize("given", [[None], [1], [b"acct-1"], ["acct-1", 2], b"acct-1", None, 1])
def test_accounts_are_a_list_of_text(call: Any, given: Any) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    with pytest.raises(TypeError):
        call(matcher, given)


def test_one_text_is_one_account_or_refused_but_never_its_letters() -> None:
    matcher = Matcher()
    for name in "abc":
        matcher.publish(name, ["9.9.9.0/24"])
    matcher.publish("abc", ["8.8.8.0/24"])
    with pytest.raises(TypeError, match=r"not one str: write \[account\]"):
        matcher.rows("abc")
    one_prefix: list[Any] = ["8.8.8.0/24", b"8.8.8.0/24", IPv4Network("8.0.0.0/8"), IPv6Network("2600::/16")]
    for prefix in one_prefix:
        for take in (PrefixTrie, lambda one: matcher.publish("acct-1", one)):
            with pytest.raises(TypeError, match=r"write \[prefix\]"):
                take(prefix)
    for addresses in ("8.8.8.8", b"\x08\x08\x08\x08"):
        with pytest.raises(TypeError, match="addresses must be"):
            matcher.allows_many("abc", addresses)  # type: ignore[arg-type]
    assert matcher.allows_many("abc", ["8.8.8.8", "9.9.9.9", "8.8.8.9"]).tolist() == [True, False, True]
    assert matcher.allows_many(("a", "abc", "c"), ["8.8.8.8"] * 3).tolist() == [False, True, False]
    assert matcher.rows(iter(["a", "abc"])).tolist() == matcher.rows(["a", "abc"]).tolist()


def test_accounts_that_are_iterated_over_are_those_of_one_moment() -> None:
    matcher = Matcher()
    for number in range(1_000):
        matcher.publish(f"acct-{number}", ["8.8.8.0/24"] * (number % 2))
    seen = []
    for account in matcher:
        seen.append(account)
        matcher.discard(account)
        matcher.publish(f"new-{account}", [])
        if account == "acct-500":
            matcher.adopt(Matcher())
    assert seen == [f"acct-{number}" for number in range(1_000)]
    assert isinstance(matcher, Collection)


@pytest.mark.parametrize(
    "accounts",
    [
        np.array(["acct-1", "unknown", "acct-1"], dtype=object),
        np.array(["acct-1", "unknown", "acct-1"]),
        np.array(["acct-1", "-", "unknown", "-", "acct-1", "-"], dtype=object)[::2],
    ],
)
@pytest.mark.parametrize("invalid", ["raise", "deny"])
def test_arrays_of_names_are_names(accounts: Any, invalid: Any) -> None:
    """What `rows` reads, `allows_many` reads too."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    assert matcher.rows(accounts).tolist() == matcher.rows(accounts.tolist()).tolist()
    answers = matcher.allows_many(accounts, ["8.8.8.8", "8.8.8.8", "9.9.9.9"], invalid=invalid)
    assert answers.tolist() == [True, True, False]
    with pytest.raises(ValueError, match="accounts must be one str, 2 names"):
        matcher.allows_many(accounts, ["8.8.8.8"] * 2, invalid=invalid)


@pytest.mark.parametrize("kind", [object, "U1", np.float64, np.int32, np.uint8])
def test_an_array_without_elements_may_be_of_any_type(kind: Any) -> None:
    empty = np.array([], dtype=kind)
    assert Matcher().rows(empty).tolist() == []
    assert Matcher().allows_many(empty, np.array([], np.uint32)).tolist() == []
    with pytest.raises(ValueError, match="accounts must be one str, 1 names"):
        Matcher().allows_many(empty, ["8.8.8.8"])


@pytest.mark.parametrize("accounts", [np.array([0.0]), np.array([0], np.uint32), np.array([True]), np.array([[0]])])
def test_other_arrays_are_neither_names_nor_rows(accounts: Any) -> None:
    with pytest.raises(ValueError, match="accounts must be one str, 1 names"):
        Matcher().allows_many(accounts, ["8.8.8.8"])


@pytest.mark.parametrize("accounts", [np.array([None]), np.array([7], dtype=object), np.array([["a"]])])
def test_an_array_of_objects_that_are_no_names_is_refused(accounts: Any) -> None:
    for ask in (Matcher().rows, lambda given: Matcher().allows_many(given, ["8.8.8.8"])):
        with pytest.raises(TypeError, match=r"accounts\[0\] must be a str"):
            ask(accounts)


def test_rows_are_checked() -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    assert matcher.rows(["acct-1", "unknown"]).tolist() == [0, -1]
    asked = ["9.9.9.9", "9.9.9.9"]
    assert matcher.allows_many(matcher.rows(["acct-1", "unknown"]), asked).tolist() == [False, True]
    assert matcher.allows_many(np.array([0, -1]), asked).tolist() == [False, True]
    for rows in ([0, 1], [0, -2], [2**31 - 1, 0]):
        with pytest.raises(AccountNotFoundError, match="belongs to no account"):
            matcher.allows_many(np.array(rows, dtype=np.int32), asked)
    for wrong in (["acct-1"], np.zeros(3, dtype=np.int32), np.zeros(2), np.zeros((2, 1), dtype=np.int32)):
        with pytest.raises(ValueError, match="accounts must be one str"):
            matcher.allows_many(wrong, asked)


def test_rows_that_become_fewer_during_the_call_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    rows, require = np.zeros(1_000, np.int32), np.require

    def require_fewer(array: Any, *more: Any) -> Any:
        # As another thread could do between two looks at the array.
        array.resize(1, refcheck=False)
        return require(array, *more)

    monkeypatch.setattr(np, "require", require_fewer)
    with pytest.raises(ValueError, match="changed while it was read"):
        matcher.allows_many(rows, ["8.8.8.8"] * 1_000)


class Octets(bytes):
    """Bytes with another length and other content, to who asks the object."""

    def __len__(self) -> int:
        return 1 << 40

    def __bytes__(self) -> bytes:
        return b""


def test_bytes_of_numpy_are_no_addresses() -> None:
    """`2001:db8::` in an array of the type S16 has four octets, as 32.1.13.184 has."""
    [packed] = np.array([ip_address("2001:db8::").packed], "S16")
    assert len(packed) == 4
    trie, matcher = PrefixTrie(["32.1.13.184/32"]), Matcher()
    matcher.publish("a", ["32.1.13.184/32"])
    asks: tuple[Any, ...] = (
        trie.match,
        trie.lookup,
        lambda packed: trie.contains_many([packed]),
        lambda packed: matcher.allows("a", packed),
        lambda packed: matcher.allows_many("a", [packed]),
    )
    for ask in asks:
        with pytest.raises(TypeError, match="bytes_"):
            ask(packed)


def test_bytes_of_a_subclass_are_bytes(tmp_path: Path) -> None:
    kind: Any = Octets
    trie, matcher = PrefixTrie(["8.8.8.0/24", "2606:4700::/32"]), Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2606:4700::/32"])
    for address, prefix in (("8.8.8.8", "8.8.8.0/24"), ("2606:4700::1", "2606:4700::/32"), ("9.9.9.9", None)):
        packed = kind(ip_address(address).packed)
        listed = prefix is not None
        assert trie.match(packed) == trie.lookup(packed) == matcher.match("acct-1", packed) == prefix
        assert (packed in trie) is listed
        assert trie.get(packed) == prefix
        for allows in (matcher.allows, matcher.allows_known, matcher.allows_enforced):
            assert allows("acct-1", packed) is listed
        assert trie.contains_many([packed, address]).tolist() == [listed] * 2
        assert matcher.allows_many("acct-1", [packed, address]).tolist() == [listed] * 2
        lying = type("Lying", (type(ip_address(address)),), {"packed": packed})(address)
        assert trie.match(lying) == prefix
    for ask in (trie.match, lambda packed: trie.contains_many([packed]), lambda packed: matcher.allows("a", packed)):
        with pytest.raises(InvalidAddressError, match="is not an IP address"):
            ask(kind(b"\x08" * 5))
    matcher.save(tmp_path / "noted", note=np.bytes_(b"abc"))
    assert Matcher.open(tmp_path / "noted").note == b"abc"


@pytest.mark.parametrize("note", [None, "abc", bytearray(b"abc"), 3])
def test_a_note_is_bytes(note: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"a note must be bytes, not {type(note).__name__}"):
        Matcher().save(tmp_path / "noted", note=note)
    assert list(tmp_path.iterdir()) == []


def test_an_interface_is_its_address() -> None:
    matcher, trie = Matcher(), PrefixTrie(["8.8.8.8/32", "2620:fe::9/128"])
    matcher.publish("acct-1", list(trie))
    for text in ("8.8.8.8/0", "8.8.8.8/24", "9.9.9.9/0", "2620:fe::9/32", "::ffff:8.8.8.8/64"):
        interface, address = ip_interface(text), ip_address(text.split("/")[0])
        assert matcher.allows("acct-1", interface) == matcher.allows("acct-1", address)
        assert matcher.match("acct-1", interface) == matcher.match("acct-1", address)
        assert trie.lookup(interface) == trie.lookup(address)
        assert (interface in trie) == (address in trie)
        assert matcher.allows_many("acct-1", [interface]) == matcher.allows_many("acct-1", [address])
        assert trie.lookup_many([interface]) == trie.lookup_many([address])
        with pytest.raises(TypeError, match="a prefix must be a str or an ipaddress network, not IPv"):
            matcher.publish("acct-1", [interface])  # type: ignore[list-item]
