"""Accounts without entries are known: told from unknown ones, through every change, a file and an adoption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate import AccountNotFoundError, Matcher, SubaccountError
from tests.golden import GoldenTrie

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ["acct-1", "acct-2", "sub-1", "sub-2", "é", "x" * 1024]
ADDRESSES = ["8.8.8.8", "9.9.9.9", "2600::1", "::ffff:8.8.8.8", "2a00::1"]
names = st.sampled_from(NAMES)
lists = st.lists(st.sampled_from(["8.8.8.0/24", "8.0.0.0/8", "2600::/12", "1.1.1.1/32"]), unique=True, max_size=3)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), names, lists),
        st.tuples(st.just("publish"), names, st.just([])),
        st.tuples(st.just("close"), names, st.just([])),
        st.tuples(st.just("link"), names, names),
        st.tuples(st.just("discard"), names, st.none()),
    ),
    max_size=15,
)


class Golden:
    """A matcher as two dictionaries: the list of each account (None: unenforced) and the parent of each subaccount."""

    def __init__(self) -> None:
        self.lists: dict[str, list[str] | None] = {}
        self.parents: dict[str, str] = {}

    def publish(self, name: str, prefixes: list[str] | None) -> None:
        if name not in self.parents:
            self.lists[name] = prefixes

    def link(self, name: str, parent: str) -> None:
        if name == parent:
            return
        if parent in self.lists and name not in self.parents.values() and self.lists.get(name) is None:
            self.lists.pop(name, None)
            self.parents[name] = parent

    def discard(self, name: str) -> None:
        if name in self.parents.values():
            self.lists[name] = None
        else:
            self.lists.pop(name, None)
            self.parents.pop(name, None)

    def answers(self, name: str, address: str) -> tuple[bool, bool, bool, bool, bool]:
        """Known, enforced, allows, allows_known, allows_enforced."""
        known = name in self.lists or name in self.parents
        prefixes = self.lists.get(self.parents.get(name, name))
        enforced = prefixes is not None
        inside = enforced and GoldenTrie(prefixes or []).match(address) is not None
        return known, enforced, inside or not enforced, known and (inside or not enforced), inside


def apply(matcher: Matcher, golden: Golden, steps: list[tuple[str, str, object]]) -> None:
    for action, name, argument in steps:
        try:
            if action == "publish":
                matcher.publish(name, argument)  # type: ignore[arg-type]
            elif action == "close":
                matcher.publish(name, [], when_empty="deny")
            elif action == "link":
                matcher.link(name, str(argument))
            else:
                matcher.discard(name)
        except (SubaccountError, AccountNotFoundError):
            pass
        if action == "publish":
            golden.publish(name, argument or None)  # type: ignore[arg-type]
        elif action == "close":
            golden.publish(name, [])
        elif action == "link":
            golden.link(name, str(argument))
        else:
            golden.discard(name)


def answers(matcher: Matcher, name: str, address: str) -> tuple[bool, bool, bool, bool, bool]:
    return (
        name in matcher,
        matcher.enforced(name),
        matcher.allows(name, address),
        matcher.allows_known(name, address),
        matcher.allows_enforced(name, address),
    )


def reopened(matcher: Matcher, path: Path) -> Matcher:
    matcher.save(path)
    return Matcher.open(path)


def adopted(matcher: Matcher, path: Path) -> Matcher:
    other = Matcher()
    other.publish("forgotten", ["8.8.8.0/24"])
    other.adopt(matcher)
    return other


def opened_and_adopted(matcher: Matcher, path: Path) -> Matcher:
    return adopted(reopened(matcher, path), path)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("known") / "known.snapshot"


@pytest.mark.parametrize("carry", [lambda matcher, path: matcher, reopened, adopted, opened_and_adopted])
@given(before=changes, after=changes)
def test_every_question_agrees_with_two_dictionaries(
    path: Path,
    carry: Callable[[Matcher, Path], Matcher],
    before: list[tuple[str, str, object]],
    after: list[tuple[str, str, object]],
) -> None:
    matcher, golden = Matcher(), Golden()
    apply(matcher, golden, before)
    matcher = carry(matcher, path)
    for steps in ([], after):
        apply(matcher, golden, steps)
        assert len(matcher) == len(golden.lists) + len(golden.parents)
        assert set(matcher) == {*golden.lists, *golden.parents}
        assert matcher._count_enforced() == sum(golden.answers(name, ADDRESSES[0])[1] for name in matcher)
        for name in [*NAMES, "never spoken of", ""]:
            for address in ADDRESSES:
                assert answers(matcher, name, address) == golden.answers(name, address), (name, address)


def test_an_account_without_entries_is_known_until_it_is_discarded(path: Path) -> None:
    matcher = Matcher()
    assert answers(matcher, "acct-1", "8.8.8.8") == (False, False, True, False, False)
    matcher.publish("acct-1", [])
    for one in (matcher, reopened(matcher, path), opened_and_adopted(reopened(matcher, path), path)):
        assert answers(one, "acct-1", "8.8.8.8") == (True, False, True, True, False)
    matcher.publish("acct-1", ["9.9.9.0/24"])
    matcher.publish("acct-1", [])
    assert answers(matcher, "acct-1", "8.8.8.8") == (True, False, True, True, False)
    matcher.discard("acct-1")
    assert answers(matcher, "acct-1", "8.8.8.8") == (False, False, True, False, False)
    assert "acct-1" not in reopened(matcher, path)
