"""The stored policy against a plain model, and that no change of it breaks a list in silence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import Policy, RuleError, RuleManager, SubaccountError, VersionConflictError, WouldAddWideEntryError
from cidrgate.manager import policies
from cidrgate.rules.policy import OPTION_NAMES, effective_policy
from tests.golden_rules import golden_validate
from tests.length import length
from tests.stores.test_statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_entries": st.integers(1, 3),
    "allow_special": st.booleans(),
    "widest_ipv4": st.sampled_from([0, 8, 16]),
    "widest_ipv6": st.sampled_from([0, 16, 32]),
}
stored = st.fixed_dictionaries({}, optional={name: st.none() | value for name, value in VALUES.items()})
processes = st.builds(Policy, **VALUES)
networks = st.lists(
    st.sampled_from(
        [
            "8.0.0.0/7",
            "8.8.8.0/24",
            "9.0.0.0/8",
            "1.1.1.1/32",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "2000::/8",
            "2a00::/16",
            "::/0",
        ]
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


def golden(process: Policy, store: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """What applies: the account's option if it has one, else that of the store, else that of the process."""
    found = {}
    for name in OPTION_NAMES:
        candidates = [account.get(name), store.get(name), getattr(process, name)]
        found[name] = next(value for value in candidates if value is not None)
    return found


def is_wide(cidr: str, policy: Policy) -> bool:
    length = int(cidr.split("/")[1])
    return length < policy.widest_ipv6 if ":" in cidr else length < policy.widest_ipv4


@settings(max_examples=length(30, 400))
@given(process=processes, store=stored, account=stored, listed=networks, submitted=networks, bulk=st.booleans())
def test_what_applies_to_a_list_is_what_the_model_says(
    process: Policy,
    store: dict[str, Any],
    account: dict[str, Any],
    listed: list[str],
    submitted: list[str],
    bulk: bool,
) -> None:
    with RuleManager.open("memory://", policy=process, follow=False) as manager:
        for name in ("a", "other"):
            manager.create_account(name)
        manager.set_policy(**store)
        manager.set_policy("a", **account)
        assert manager.policy_state("a").effective.options() == golden(process, store, account)
        assert manager.policy_state("other").effective.options() == golden(process, store, {})
        assert manager.policy_state("a").stored == {name: one for name, one in account.items() if one is not None}
        policy = Policy(**golden(process, store, account))
        for cidrs in (listed, submitted):
            before = [entry.cidr for entry in manager.entries("a")]
            problems, canonical = golden_validate(cidrs, before, policy)

            def change(cidrs: list[str] = cidrs, **confirmed: Any) -> None:
                if not bulk:
                    manager.add("a", cidrs, **confirmed)
                    return
                for problem in manager.import_accounts({"a": cidrs}, **confirmed).problems.values():
                    raise problem

            if problems:
                with pytest.raises(RuleError):
                    change()
            elif wide := [cidr for cidr in canonical if is_wide(cidr, policy)]:
                with pytest.raises(WouldAddWideEntryError) as error:
                    change(confirmed=["lock_out", "disable_enforcement"])
                assert sorted(error.value.networks) == sorted(wide)
                assert error.value.confirm == ("wide_entry",)
                assert [entry.cidr for entry in manager.entries("a")] == before
                change(confirmed=["wide_entry"])
            else:
                change()
            expected = set(before) | (set() if problems else set(canonical))
            assert {entry.cidr for entry in manager.entries("a")} == expected


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True, policy=Policy(allow_special=True), follow=False) as opened:
        for name in ("a", "b", "c"):
            opened.create_account(name)
        opened.add("a", "8.8.8.0/24, 1.1.1.1/32, 10.0.0.0/8")
        opened.add("b", "8.8.8.0/24, 1.1.1.1/32, 10.0.0.0/8")
        opened.add("c", "9.9.9.9/32")
        yield opened


def test_lists_that_a_policy_does_not_fit_are_named_and_stay(manager: RuleManager) -> None:
    manager.set_policy("b", max_entries=3, allow_special=True)
    before = [manager.entries(name) for name in ("a", "b", "c")]
    change = manager.with_hooks(dry_run=True).set_policy(max_entries=2, allow_special=False)
    assert manager.policy_state().stored == {}
    assert change == manager.set_policy(max_entries=2, allow_special=False)
    assert (change.over_limit, change.special) == (("a",), ("a",))
    assert [manager.entries(name) for name in ("a", "b", "c")] == before
    assert not manager.allows("a", "7.7.7.7")
    with pytest.raises(RuleError, match="limit_reached"):
        manager.add("a", "7.7.7.7/32")
    manager.edit("a", "8.8.8.0/24", label="kept")
    # What is left of a list is what was valid before, also in a declarative change.
    manager.replace("a", ["8.8.8.0/24", "1.1.1.1/32", "10.0.0.0/8"], label="same")
    manager.replace("a", ["8.8.8.0/24", "10.0.0.0/8"])
    manager.remove("a", "8.8.8.0/24")
    with pytest.raises(RuleError, match="special_range"):
        manager.replace("a", ["9.9.9.9/32", "10.0.0.0/8"])
    assert manager.set_policy("c", max_entries=1).over_limit == ()


def test_a_submission_may_be_as_long_as_the_stored_policy_says(manager: RuleManager) -> None:
    cidrs = [f"20.{number // 250}.{number % 250}.0/24" for number in range(600)]
    for long in (cidrs, ", ".join(cidrs), iter(cidrs)):
        with pytest.raises(RuleError, match="limit_reached"):
            manager.add("c", long)
    manager.set_policy("c", max_entries=700)
    manager.add("c", iter(cidrs))
    assert len(manager.replace("c", ", ".join(cidrs)).entries) == 600


def test_the_policy_has_versions_and_a_history(manager: RuleManager) -> None:
    assert manager.policy_state().version == 0
    assert manager.set_policy(max_entries=9, actor="me").state.version == 1
    assert manager.set_policy(max_entries=9).state.version == 1
    with pytest.raises(VersionConflictError):
        manager.set_policy(max_entries=8, expect_version=0)
    manager.set_policy(max_entries=None, widest_ipv4=4, expect_version=1)
    [row] = manager.history(limit=1)
    assert (row.account, row.action) == (None, "set_policy")
    assert row.details == {
        "before": {"max_entries": 9, "widest_ipv4": None},
        "after": {"max_entries": None, "widest_ipv4": 4},
    }
    version = manager.account("a").version
    with pytest.raises(VersionConflictError):
        manager.set_policy("a", max_entries=8, expect_version=version - 1)
    assert manager.set_policy("a", max_entries=8, expect_version=version).state.version == version + 1
    assert manager.history("a", limit=1)[0].action == "set_policy"


def test_wrong_options_are_refused_and_a_subaccount_has_the_policy_of_its_parent(manager: RuleManager) -> None:
    for wrong in ({"max_entries": 0}, {"max_entries": 100_001}, {"widest_ipv4": 33}, {"widest_ipv6": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            manager.set_policy(**wrong)  # type: ignore[arg-type]
    for other in ({"max_entries": "9"}, {"allow_special": 1}, {"nothing": 1}):
        with pytest.raises(TypeError):
            manager.set_policy(**other)
    manager.create_account("sub", parent="a")
    manager.set_policy("a", max_entries=7)
    assert manager.policy_state("sub").effective.max_entries == 7
    with pytest.raises(SubaccountError):
        manager.set_policy("sub", max_entries=7)


def test_the_policy_costs_a_change_no_statement(manager: RuleManager) -> None:
    with statements(manager) as without:
        manager.add("c", "7.7.7.7/32")
    manager.set_policy(max_entries=20)
    manager.set_policy("c", widest_ipv4=4)
    with statements(manager) as stored_too:
        manager.add("c", "7.7.7.8/32")
    assert len(stored_too) <= len(without)


def test_a_process_says_once_that_the_stored_policy_contradicts_it(
    shared_store_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "_said", set())
    with RuleManager.open(shared_store_url, create=True) as manager:
        manager.set_policy(max_entries=20)
    with caplog.at_level(logging.WARNING, "cidrgate"):
        for _ in range(2):
            with RuleManager.open(shared_store_url, policy=Policy(max_entries=30), load=False) as other:
                assert other.policy_state().effective.max_entries == 20
                assert len(other.policy_differences()) == 1
        RuleManager.open(shared_store_url, policy=Policy(allow_special=True), load=False).close()
    said = [record.getMessage() for record in caplog.records]
    assert len([one for one in said if "max_entries 20, which counts; 30 was given" in one]) == 1


def test_what_a_later_version_stored_is_left_alone() -> None:
    assert effective_policy(Policy(), {"version": 3, "of_a_later_version": True}) == Policy()
