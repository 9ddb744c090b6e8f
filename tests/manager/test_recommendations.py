"""The recommendation for an account is that for its recorded traffic, whatever that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import Observation, RuleManager
from cidrgate.errors import NoTrafficError, RecommendationError
from cidrgate.foresight import narrower, recommend, unused
from cidrgate.foresight.evaluation import first_day
from cidrgate.manager import AccountRecommendation
from cidrgate.stores.incomplete_days import mark_incomplete_days
from cidrgate.stores.observations import add_observations
from tests.observed import store_observed

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORKS = st.sampled_from(["8.8.8.8/32", "8.8.8.9/32", "8.8.9.0/24", "9.9.9.9/32", "10.0.0.1/32", "2606:4700::1/128"])
SEEN = st.dictionaries(
    st.tuples(st.sampled_from(["a", "s", "b"]), NETWORKS, st.booleans(), st.integers(0, 5)),
    st.integers(1, 10**9),
    min_size=1,
    max_size=12,
)


def outcome_of(make: Callable[[], object]) -> object:
    """What a function returns, or the number of entries that its error names."""
    try:
        return make()
    except RecommendationError as error:
        return error.fewest


@settings(max_examples=25, deadline=None)
@given(seen=SEEN, days=st.integers(1, 7), most=st.none() | st.integers(1, 6), include_denied=st.booleans())
def test_it_is_what_the_parts_of_the_library_say(
    seen: dict[tuple[str, str, bool, int], int], days: int, most: int | None, *, include_denied: bool
) -> None:
    with RuleManager.open("memory://") as manager:
        for name, parent in (("a", None), ("s", "a"), ("b", None)):
            manager.create_account(name, parent=parent)
        manager.add("a", "8.8.8.0/24, 1.1.1.1/32")
        now = datetime.now(UTC)
        with manager._store.write() as transaction:
            for (account, network, allowed, ago), requests in seen.items():
                at = now - timedelta(days=ago) if ago else now
                one = Observation(
                    account=account, network=network, allowed=allowed, requests=requests, first_seen=at, last_seen=at
                )
                # An account that did not exist yet has no traffic, so only that of now is stored.
                add_observations(transaction, [one])
        observed = manager.traffic("a", days, whole_list=True)
        if not observed:
            with pytest.raises(NoTrafficError):
                manager.recommend("a", days)
            return
        # The list decides about these addresses now, whatever was decided then.
        observed = [replace(one, allowed=one.network.startswith("8.8.8.")) for one in observed]
        limits: dict[str, Any] = {"max_entries": most, "include_denied": include_denied}
        wanted = outcome_of(lambda: recommend(observed, **limits))
        found = outcome_of(lambda: manager.recommend("a", days, **limits))
        if not isinstance(found, AccountRecommendation):
            assert found == wanted
            return
        entries = manager.entries("a")
        begin = datetime.combine(first_day(now, days), time(), UTC)
        assert (found.recommendation, found.entries) == (wanted, tuple(entries))
        assert found.unused == unused(entries, observed, begin)
        assert found.narrower == narrower(entries, observed, begin)


def test_what_was_not_recorded_yet_is_not_called_unused() -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24, 1.1.1.1/32")
        store_observed(manager, ("a", "8.8.8.8/32", 3))
        found = manager.recommend("a", 60)
    # Traffic begins forty days ago, and not sixty.
    assert found.since > datetime.now(UTC) - timedelta(days=41)
    assert found.unused == ()


def _as_of(monkeypatch: pytest.MonkeyPatch, ago: timedelta) -> None:
    """Let changes of lists come from some time ago."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) - ago

    for module in ("change_requests", "rule_manager"):
        monkeypatch.setattr(f"cidrgate.manager.{module}.datetime", Earlier)


def test_an_entry_that_allows_more_since_a_change_is_not_called_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could use it before: it is as young as an entry that was added then."""
    cidrs = {
        "kept": "8.8.1.0/24", "labelled": "8.8.2.0/24", "narrowed": "8.8.3.0/24", "moved": "8.8.4.0/24",
        "widened": "8.8.5.0/24", "enabled": "8.8.6.0/24", "put back": "8.8.8.0/24",
    }  # fmt: skip
    with RuleManager.open("memory://") as manager:
        _as_of(monkeypatch, timedelta(days=50))
        manager.create_account("b")
        for label, cidr in cidrs.items():
            manager.add("b", cidr, label=label)
        ids = {entry.label: entry.id for entry in manager.entries("b")}
        manager.edit("b", ids["enabled"], enabled=False)
        _as_of(monkeypatch, timedelta(days=3))
        store_observed(manager, ("b", "1.1.1.1/32", 3))
        assert [one.entry.label for one in manager.recommend("b").unused] == [
            label for label in cidrs if label != "enabled"
        ]
        manager.rename_account("b", "a", confirmed=("disable_enforcement",))
        manager.edit("a", ids["labelled"], label="labelled again")
        manager.edit("a", ids["narrowed"], cidr="8.8.3.128/25")
        manager.edit("a", ids["moved"], cidr="9.9.4.0/24")
        manager.edit("a", ids["widened"], cidr="8.9.0.0/16")
        manager.edit("a", ids["enabled"], enabled=True)
        manager.remove("a", ids["put back"])
        manager.undo("a", manager.history("a")[0].sequence)
        assert {one.entry.label for one in manager.recommend("a").unused} == {"kept", "labelled again", "narrowed"}
        monkeypatch.setattr("cidrgate.manager.recommendations._MOST_CHANGES", 8)
        assert manager.recommend("a").unused == ()


def test_what_is_listed_now_counts_as_allowed_and_nothing_covered_is_left_out() -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24")
        store_verdicts(
            manager, ("8.8.8.8/32", True), ("9.9.9.9/32", False), ("8.8.4.4/32", False), ("1.1.1.1/32", False)
        )
        manager.add("a", "9.9.9.0/24, 8.8.4.4/32")
        store_verdicts(manager, ("8.8.4.4/32", True))
        found = manager.recommend("a")
    best = found.recommendation
    assert best.cidrs == ["8.8.4.4/32", "8.8.8.8/32", "9.9.9.9/32"]
    assert [(one.network, one.reason) for one in best.left_out] == [("1.1.1.1/32", "denied")]
    assert (best.requests, best.requests_left_out, best.requests_newly_allowed) == (20, 5, 0)
    # The address that was denied counts for the review too.
    assert ("9.9.9.0/24", "9.9.9.9/32") in [(one.entry.cidr, one.cidr) for one in found.narrower]


def test_denied_requests_of_a_network_that_a_list_allows_in_part_are_said() -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.8/32")
        store_verdicts(manager, ("8.8.8.0/24", True), ("8.8.8.0/24", False))
        found = manager.recommend("a", 1)
    best = found.recommendation
    assert (best.cidrs, best.left_out) == (["8.8.8.0/24"], ())
    assert (best.observed, best.observed_networks, best.requests, best.requests_newly_allowed) == (1, 1, 5, 5)
    assert (
        "of 1 network, the single addresses were not kept" in {one.code: one.text for one in found.unknown}["truncated"]
    )


def test_what_is_not_known_has_the_codes_of_an_evaluation() -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        store_observed(manager, ("a", "8.8.8.8/32", 3), ("a", "9.9.9.0/24", 3))
        assert [one.code for one in manager.recommend("a", 30).unknown] == ["truncated"]
        with manager._store.write() as transaction:
            mark_incomplete_days(transaction, [("a", datetime.now(UTC).date())])
        assert [one.code for one in manager.recommend("a", 60).unknown] == ["short_window", "incomplete", "truncated"]


@pytest.mark.parametrize("option", ["forced", "excluded"])
def test_one_text_is_not_several_networks(option: str) -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        with pytest.raises(TypeError, match=f"{option} is an iterable of networks"):
            manager.recommend("a", **{option: "8.8.8.0/24"})  # type: ignore[arg-type]


def store_verdicts(manager: RuleManager, *seen: tuple[str, bool]) -> None:
    """Store that networks called five times for the account a, and what was decided."""
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        add_observations(
            transaction,
            [
                Observation(account="a", network=network, allowed=allowed, requests=5, first_seen=now, last_seen=now)
                for network, allowed in seen
            ],
        )


def test_days_are_whole_and_positive() -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        with pytest.raises(ValueError, match="days"):
            manager.recommend("a", 0)
        with pytest.raises(TypeError, match="days"):
            manager.recommend("a", 1.5)  # type: ignore[arg-type]
