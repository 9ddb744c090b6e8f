"""`Gate`: it says what the manager says, denies when something breaks, and tells those who want to know."""

from __future__ import annotations

import gc
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cidrgate import CidrgateError, ClientIPResolver, Gate, Matcher, RuleManager, Verdict
from cidrgate.errors import UnclearAccountError
from tests.strategies import address_texts
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

XFF = b"X-Forwarded-For"
HEADERS = [(b"host", b"api.example"), (XFF, b"198.51.100.7, 8.8.8.8")]


@pytest.fixture(scope="module")
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        manager.create_account("open")
        manager.create_account("sub-1", parent="acct-1")
        manager.add("acct-1", "8.8.8.0/24, 2606:4700::/32, 9.9.9.9/32")
        yield manager


peers = st.one_of(
    st.none(),
    st.sampled_from(["8.8.8.8", "::ffff:8.8.8.8", "9.9.9.9", "2606:4700::1", "8.8.9.8", "", "unix:", "10.0.0.1"]),
    st.ip_addresses().map(str),
    address_texts,
)
accounts = st.sampled_from(["acct-1", "sub-1", "open", "unknown", "é", "acct-1 "])


@given(peers, accounts, st.booleans())
def test_it_says_what_the_manager_says(manager: RuleManager, peer: str | None, account: str, proxied: bool) -> None:
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"]) if proxied else ClientIPResolver()
    gate = Gate(manager, resolver=resolver, log="none")
    client = resolver.resolve(peer, HEADERS)
    decision = manager.explain(account, client.address or "nothing")
    expected = decision.reason
    if client.address is None and not manager.matcher.enforced(account):
        expected = "not_enforced"
    verdict = gate.decide(account, peer, HEADERS)
    assert verdict.reason == expected
    assert verdict.client == client
    assert (verdict.result == "allowed") == (decision.allowed or expected == "not_enforced")
    assert verdict.entry == (None if decision.entry is None else decision.entry.cidr)
    try:
        short_way = gate.admits(account, peer, HEADERS)
    except ValueError:
        short_way = False
    assert verdict.admitted if short_way else verdict.result == "denied" or client.address is None


def test_the_short_way_is_for_those_nobody_watches(manager: RuleManager) -> None:
    assert Gate(manager).admits("acct-1", "8.8.8.8", [])
    assert Gate(manager).allows_peer is not None
    assert Gate(manager, log="all").allows_peer is None
    assert Gate(manager, resolver=ClientIPResolver(trusted_hops=1)).allows_peer is None
    assert Gate(manager, report_only=True).admits("acct-1", "8.8.8.8", [])
    assert not Gate(manager, report_only=True).admits("acct-1", "1.1.1.1", [])
    assert not Gate(manager, log="all").admits("acct-1", "8.8.8.8", [])
    assert not Gate(manager, hooks=[print]).admits("acct-1", "8.8.8.8", [])
    assert not Gate(manager, hooks=[print, Counting()]).admits("acct-1", "8.8.8.8", [])
    assert Gate(manager, hooks=[Counting()]).allows_peer is None
    assert Gate(manager, require_list=True).allows_peer is None


class Counting:
    """A hook that needs no verdict of what is allowed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.verdicts: list[Verdict] = []
        self.allowed: list[tuple[str, str]] = []
        self._error = error

    def __call__(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)

    def count_allowed(self, account: str, reason: str, seconds: float) -> None:
        assert 0 < seconds < 10
        self.allowed.append((account, reason))
        if self._error is not None:
            raise self._error


@given(peers, accounts, st.booleans(), st.booleans())
def test_a_hook_that_counts_hears_of_each_request_once(
    manager: RuleManager, peer: str | None, account: str, proxied: bool, required: bool
) -> None:
    counting = Counting()
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"]) if proxied else ClientIPResolver()
    gate = Gate(manager, resolver=resolver, hooks=[counting], require_list=required, log="none")
    expected = Gate(manager, resolver=resolver, require_list=required, log="none").decide(account, peer, HEADERS)
    try:
        admitted = gate.admits(account, peer, HEADERS)
    except ValueError:
        admitted = False
    if admitted:
        assert expected.result == "allowed"
        assert counting.allowed == [(account, expected.reason)]
    else:
        verdict = gate.decide(account, peer, HEADERS)
        assert (verdict.result, verdict.reason) == (expected.result, expected.reason)
        assert counting.verdicts == [verdict]
    assert len(counting.allowed) + len(counting.verdicts) == 1
    if expected.reason == "matched":
        assert admitted


def test_a_hook_that_cannot_count_changes_nothing(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    other = Counting()
    gate = Gate(manager, hooks=[Counting(OSError("the disk is full")), other], log="none")
    assert gate.admits("acct-1", "8.8.8.8", [])
    assert other.allowed == [("acct-1", "matched")]
    assert "the disk is full" in caplog.text


def test_reporting_denies_nothing(manager: RuleManager) -> None:
    verdict = Gate(manager, report_only=True, log="none").decide("acct-1", "1.1.1.1")
    assert (verdict.result, verdict.reason, verdict.admitted) == ("would_deny", "not_listed", True)
    broken = Gate(manager, report_only=True).decide(None, "1.1.1.1", failure=KeyError("account"))
    assert (broken.result, broken.reason, broken.admitted) == ("would_deny", "error", True)


@pytest.mark.parametrize(("required", "result"), [(False, "allowed"), (True, "denied")])
def test_no_account(manager: RuleManager, required: bool, result: str) -> None:
    verdict = Gate(manager, require_account=required, log="none").decide(None, "1.1.1.1")
    assert (verdict.result, verdict.reason, verdict.account) == (result, "no_account", None)


def test_lists_that_are_not_there_are_refused() -> None:
    with RuleManager.connect("memory://") as manager, pytest.raises(CidrgateError, match="call load"):
        Gate(manager)


@pytest.mark.parametrize("account", [42, b"acct-1", ["acct-1"], "\udc80"])
def test_what_is_no_account_denies(manager: RuleManager, account: Any) -> None:
    for peer in ("8.8.8.8", None):
        assert Gate(manager).decide(account, peer).reason == "error"


def test_an_account_that_is_unclear_leaves_no_traceback(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    verdict = Gate(manager).decide(None, "8.8.8.8", failure=UnclearAccountError("the header came 2 times"))
    assert (verdict.result, verdict.reason) == ("denied", "unclear_account")
    assert [record.exc_info for record in caplog.records] == [None]


def test_headers_that_are_none_deny(manager: RuleManager) -> None:
    gate = Gate(manager, resolver=ClientIPResolver(trusted_hops=1))
    assert gate.decide("acct-1", "8.8.8.8", [("x-forwarded-for", "8.8.8.8")]).result == "denied"  # type: ignore[list-item]


def test_stale_lists_deny_where_the_manager_does() -> None:
    with RuleManager.open("memory://", follow=False, max_staleness=1e-9, on_stale="deny") as manager:
        manager.create_account("acct-1")
        manager.create_account("open")
        manager.add("acct-1", "8.8.8.0/24")
        gate = Gate(manager, log="none")
        assert gate.decide("acct-1", "8.8.8.8").reason == "stale_lists"
        assert gate.decide("acct-1", "1.1.1.1").reason == "not_listed"
        assert gate.decide("open", "8.8.8.8").reason == "not_enforced"
        assert gate.allows_peer is not None
        assert not gate.allows_peer("acct-1", "8.8.8.8")


def test_a_rewritten_peer_is_nobody(manager: RuleManager) -> None:
    verdict = Gate(manager, log="none").decide("acct-1", "8.8.8.8", rewritten=True)
    assert (verdict.result, verdict.reason, verdict.client.problem) == ("denied", "invalid_address", "rewritten_peer")


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [record for record in caplog.records if record.name == "cidrgate.decisions"]
    for line in lines:
        assert json.loads(line.getMessage()) == line.decision  # type: ignore[attr-defined]
        assert "\n" not in line.getMessage()
    return [json.loads(line.getMessage()) for line in lines]


def test_the_log_names_denials(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cidrgate.decisions")
    gate = Gate(manager, resolver=ClientIPResolver(trusted_proxies=["10.0.0.0/8"]))
    gate.decide("acct-1", "10.0.0.1", HEADERS)
    verdict = gate.decide("acct-1", "10.0.0.1", [(XFF, b"8.8.8.8, 1.1.1.1, 10.0.0.2")])
    [record] = records(caplog)
    assert record == verdict.record()
    del record["microseconds"]
    assert record == {
        "result": "denied",
        "reason": "not_listed",
        "account": "acct-1",
        "entry": None,
        "address": "1.1.1.1",
        "source": "x-forwarded-for",
        "hop": 2,
        "problem": None,
        "request_id": verdict.request_id,
    }


def test_the_log_names_all(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cidrgate.decisions")
    gate = Gate(manager, log="all")
    gate.decide("acct-1", "8.8.8.8")
    gate.decide("acct\n-1", None)
    first, second = records(caplog)
    assert (first["result"], first["reason"], first["entry"]) == ("allowed", "matched", "8.8.8.0/24")
    assert (second["account"], second["address"], second["problem"]) == ("acct\n-1", None, "no_address")


def test_the_log_can_be_silent(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    Gate(manager, log="none").decide("acct-1", "1.1.1.1")
    assert records(caplog) == []
    with pytest.raises(ValueError, match="'denials', 'all' or 'none'"):
        Gate(manager, log="some")  # type: ignore[arg-type]


def test_hooks_are_told_and_change_nothing(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Verdict] = []

    def broken(verdict: Verdict) -> None:
        raise OSError("the disk is full")

    gate = Gate(manager, hooks=[broken, told.append], log="none")
    assert gate.decide("acct-1", "8.8.8.8").admitted
    assert not gate.decide("acct-1", "1.1.1.1").admitted
    assert [verdict.result for verdict in told] == ["allowed", "denied"]
    assert "the disk is full" in caplog.text


def test_a_request_keeps_the_id_it_came_with(manager: RuleManager) -> None:
    gate = Gate(manager, request_id_header="X-Request-ID", log="none")

    def request_id(*values: bytes) -> str:
        return gate.decide("acct-1", "8.8.8.8", [(b"x-REQUEST-id", value) for value in values]).request_id

    assert request_id(b"req-42") == "req-42"
    made = {request_id(), request_id(b"a b"), request_id(b"<b>"), request_id(b"x" * 129), request_id(b"")}
    assert len(made) == 5
    assert all(len(one) == 24 for one in made)
    assert Gate(manager, log="none").decide("acct-1", "8.8.8.8", [(b"x-request-id", b"req-42")]).request_id != "req-42"


def test_headers_may_be_read_once_only(manager: RuleManager) -> None:
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    gate = Gate(manager, resolver=resolver, request_id_header="x-request-id", log="none")
    assert gate.decide("acct-1", "10.0.0.1", iter(HEADERS)).result == "allowed"


def test_a_log_that_breaks_changes_nothing(manager: RuleManager) -> None:
    def broken(record: logging.LogRecord) -> bool:
        if record.exc_info is None:
            raise OSError("the disk is full")
        return True

    logger = logging.getLogger("cidrgate.decisions")
    logger.addFilter(broken)
    try:
        assert Gate(manager).decide("acct-1", "1.1.1.1").result == "denied"
    finally:
        logger.removeFilter(broken)


def test_a_matcher_will_do() -> None:
    matcher = Matcher()
    gate = Gate(matcher, log="none")
    assert gate.decide("acct-1", "8.8.8.8").reason == "not_enforced"
    matcher.publish("acct-1", ["9.9.9.0/24"])
    assert gate.decide("acct-1", "8.8.8.8").reason == "not_listed"
    assert gate.decide("acct-1", "9.9.9.9").entry == "9.9.9.0/24"


def test_a_gate_keeps_the_manager_that_follows_the_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'lists.db'}"
    with RuleManager.open(url, create=True) as writer:
        writer.create_account("acct-1")
        gate = Gate(RuleManager.open(url), log="none")
        gc.collect()
        writer.add("acct-1", "8.8.8.0/24")
        eventually(lambda: gate.decide("acct-1", "9.9.9.9").result == "denied")
