"""The mode of a list: what every question answers with it, for its subaccounts, in a file, and after an adoption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest
from hypothesis import given, strategies as st

from cidrgate import Matcher
from tests.golden import GoldenTrie
from tests.strategies import addresses_near, prefixes

if TYPE_CHECKING:
    from pathlib import Path

Mode: TypeAlias = Literal["enforce", "report_only", "off"]
MODES: tuple[Mode, ...] = ("enforce", "report_only", "off")

lists = st.lists(prefixes, max_size=5) | st.just([f"9.{n}.0.0/16" for n in range(70)])
published = st.tuples(lists, st.sampled_from(["allow", "deny"]), st.sampled_from(MODES))


def assert_answers(matcher: Matcher, name: str, listed: list[str], when_empty: str, mode: Mode, address: str) -> None:
    """Compare every way to ask with the sentence that describes it."""
    match = GoldenTrie(listed).match(address)
    inside, has_list, lenient = match is not None, bool(listed) or when_empty == "deny", mode != "enforce"
    allowed = lenient or inside or not has_list
    assert matcher.mode(name) == mode
    assert matcher.enforced(name) == (has_list and not lenient)
    assert matcher._when_empty(name) == ("deny" if has_list else "allow")
    assert matcher.match(name, address) == match
    assert matcher.allows(name, address) == matcher.allows_known(name, address) == allowed
    assert matcher.allows_enforced(name, address) == (lenient or inside)
    assert matcher._sure_known(name, address) == (inside or not (has_list or lenient))
    assert matcher._sure_enforced(name, address) == inside
    for accounts in (name, [name] * 70, matcher.rows([name] * 70)):
        assert matcher.allows_many(accounts, [address] * 70).tolist() == [allowed] * 70


@given(history=st.lists(published, min_size=1, max_size=4), linked=st.integers(0, 3), data=st.data())
def test_every_question_is_answered_by_the_list_and_its_mode(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[list[str], Literal["allow", "deny"], Mode]],
    linked: int,
    data: st.DataObject,
) -> None:
    path: Path = tmp_path_factory.mktemp("modes") / "matcher.snapshot"
    matcher = Matcher()
    matcher.publish("other", ["8.8.8.0/24"])
    for step, (listed, when_empty, mode) in enumerate(history):
        matcher.publish("acct", listed, when_empty=when_empty, mode=mode)
        if step == linked:
            matcher.link("sub", parent="acct")
        address = data.draw(addresses_near(listed))
        matcher.save(path)
        adopted = Matcher()
        adopted.adopt(Matcher.open(path))
        for one in (matcher, Matcher.open(path), adopted):
            for name in ("acct", "sub") if step >= linked else ("acct",):
                assert_answers(one, name, listed, when_empty, mode, address)
            assert one.mode("other") == one.mode("unknown") == "enforce"
            counted = {mode: 1 + (step >= linked)} if mode != "enforce" else {}
            assert one._count_mode("report_only") == counted.get("report_only", 0)
            assert one._count_mode("off") == counted.get("off", 0)


def test_a_parent_keeps_its_mode_when_it_gets_a_subaccount() -> None:
    matcher = Matcher()
    matcher.publish("acct", ["8.8.8.0/24"], mode="off")
    matcher.link("sub", parent="acct")
    assert (matcher.mode("acct"), matcher.mode("sub"), matcher.allows("sub", "9.9.9.9")) == ("off", "off", True)
    matcher.publish("acct", ["8.8.8.0/24"])
    assert (matcher.mode("sub"), matcher.allows("sub", "9.9.9.9")) == ("enforce", False)


def test_what_becomes_a_subaccount_has_the_mode_of_its_parent() -> None:
    matcher = Matcher()
    matcher.publish("sub", [], mode="off")
    matcher.publish("acct", ["8.8.8.0/24"])
    matcher.link("sub", parent="acct")
    assert (matcher.mode("sub"), matcher.allows("sub", "9.9.9.9")) == ("enforce", False)


@pytest.mark.parametrize("word", ["", "OFF", "report", "x" * 1_000])
def test_a_mode_is_one_of_three_words(word: Mode) -> None:
    matcher = Matcher()
    with pytest.raises(ValueError, match="mode must be 'enforce', 'report_only' or 'off', not '"):
        matcher.publish("acct", [], mode=word)
    assert "acct" not in matcher
