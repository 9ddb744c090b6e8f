"""`Gate`: it says what the manager says, denies when something breaks, and tells those who want to know."""

from __future__ import annotations

import gc
import json
import logging
import threading
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import EXEMPT, CidrgateError, ClientIPResolver, Gate, Matcher, PrefixTrie, RuleManager, Verdict
from cidrgate.errors import MissingAccountError, UnclearAccountError
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
accounts = st.sampled_from(["acct-1", "sub-1", "open", "closed", "unknown", "é", "acct-1 "])


def in_short(gate: Gate, account: str, peer: str | None, headers: Any = HEADERS, port: int | None = None) -> bool:
    """Whether the short way admits, which may raise for whatever is not sure."""
    try:
        return gate.allows(account, peer, headers, port)
    except ValueError:
        return False


LISTS = {"acct-1": ["8.8.8.0/24", "2606:4700::/32", "9.9.9.9/32"], "open": [], "sub-1": None, "closed": []}
"""Accounts that are known: with a list, without one, a subaccount, and one whose entries have all expired."""
IMPOSSIBLE = ["", " ", "acct-1 ", "\tacct-1", "acct-1\n", "V\0", "\x7f", "a\u2028b", "\udc80", "x" * 256]


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    made = Matcher()
    for account, prefixes in LISTS.items():
        if prefixes is None:
            made.link(account, parent="acct-1")
        else:
            made.publish(account, prefixes, when_empty="deny" if account == "closed" else "allow")
    return made


def as_the_rules_say(account: str, address: str | None, unlisted: str) -> tuple[bool, str]:
    """Whether a request is allowed, and why, spelled out."""
    if account in IMPOSSIBLE:
        return False, "unclear_account"
    if account not in LISTS:
        return (True, "not_enforced") if unlisted == "allow" else (False, "unknown_account")
    if account == "open":
        return unlisted != "deny", "not_enforced"
    if address is None:
        return False, "invalid_address"
    listed = [] if account == "closed" else LISTS["acct-1"] or []
    inside = any(ip_address(address) in ip_network(prefix) for prefix in listed)
    return (True, "matched") if inside else (False, "not_listed")


@given(
    peers,
    st.sampled_from([*LISTS, *IMPOSSIBLE, "unknown", "é", "a b"]),
    st.sampled_from(["allow", "deny_unknown", "deny"]),
    st.booleans(),
)
def test_it_says_what_the_rules_say(
    matcher: Matcher, peer: str | None, account: str, unlisted: Any, proxied: bool
) -> None:
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"]) if proxied else ClientIPResolver()
    client = resolver.resolve(peer, HEADERS)
    allowed, reason = as_the_rules_say(account, client.address, unlisted)
    counting = Counting()
    for gate in (
        Gate(matcher, unlisted=unlisted, resolver=resolver, log="none"),
        Gate(matcher, unlisted=unlisted, resolver=resolver, log="none", hooks=[counting]),
        Gate(matcher, unlisted=unlisted, resolver=resolver, log="none", hooks=[lambda verdict: None]),
    ):
        verdict = gate.decide(account, peer, HEADERS)
        assert (verdict.result, verdict.reason) == ("allowed" if allowed else "denied", reason)
        assert verdict.client == client
        assert (verdict.matched_cidr is not None) == (reason == "matched")
        assert allowed or not in_short(gate, account, peer)
        if gate.allows_peer is not None and client.address is not None and not allowed and account != "\udc80":
            assert not gate.allows_peer(account, client.address)
    if allowed and client.address is not None:
        assert in_short(Gate(matcher, unlisted=unlisted, resolver=resolver, log="none"), account, peer)


@given(peers, st.sampled_from(["acct-1", "sub-1"]))
def test_it_says_what_the_manager_says(manager: RuleManager, peer: str | None, account: str) -> None:
    client = ClientIPResolver().resolve(peer, ())
    decision = manager.explain(account, client.address or "nothing")
    verdict = Gate(manager, unlisted="deny_unknown", log="none").decide(account, peer)
    assert (verdict.allowed, verdict.reason) == (decision.allowed, decision.reason)
    assert verdict.matched_cidr == (None if decision.entry is None else decision.entry.cidr)


def test_whoever_makes_a_gate_says_what_happens_to_accounts_without_a_list(matcher: Matcher) -> None:
    with pytest.raises(TypeError) as missing:
        Gate(matcher)  # type: ignore[call-arg]
    for unlisted in ("allow", "deny_unknown", "deny"):
        assert f"unlisted='{unlisted}'" in str(missing.value)
    for wrong in ("open", "ALLOW", True, False, "", "deny-unknown"):
        with pytest.raises(ValueError, match="'allow', 'deny_unknown' or 'deny'"):
            Gate(matcher, unlisted=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"report_only": "false"},
        {"report_only": 0},
        {"require_account": "no"},
        {"note_matches": 1},
        {"hooks": ["print"]},
        {"hooks": [None]},
        {"resolver": "10.0.0.0/8"},
        {"resolver": ClientIPResolver},
        {"request_id_header": 5},
    ],
)
def test_a_setting_of_another_type_is_refused(matcher: Matcher, settings: Any) -> None:
    with pytest.raises(TypeError):
        Gate(matcher, unlisted="allow", **settings)


@pytest.mark.parametrize("name", ["", " ", "x-request-id:", "x request", "x\n", "é", "a,b", "(a)"])
def test_a_request_id_header_is_a_token(matcher: Matcher, name: str) -> None:
    with pytest.raises(ValueError, match="header with the request's id"):
        Gate(matcher, unlisted="allow", request_id_header=name)


@pytest.mark.parametrize("lists", [None, "sqlite:///lists.db", {}, [], PrefixTrie([])])
def test_what_holds_no_lists_is_refused(lists: Any) -> None:
    with pytest.raises(TypeError, match="RuleManager or a Matcher"):
        Gate(lists, unlisted="allow")


def test_the_short_way_is_for_those_nobody_watches(manager: RuleManager) -> None:
    assert Gate(manager, unlisted="allow").allows("acct-1", "8.8.8.8", [])
    assert Gate(manager, unlisted="allow").allows_peer is not None
    assert Gate(manager, unlisted="allow", log="all").allows_peer is None
    assert Gate(manager, unlisted="allow", resolver=ClientIPResolver(trusted_hops=1)).allows_peer is None
    assert Gate(manager, unlisted="allow", report_only=True).allows("acct-1", "8.8.8.8", [])
    assert not Gate(manager, unlisted="allow", report_only=True).allows("acct-1", "1.1.1.1", [])
    assert not Gate(manager, unlisted="allow", log="all").allows("acct-1", "8.8.8.8", [])
    assert not Gate(manager, unlisted="allow", hooks=[print]).allows("acct-1", "8.8.8.8", [])
    assert not Gate(manager, unlisted="allow", hooks=[print, Counting()]).allows("acct-1", "8.8.8.8", [])
    assert Gate(manager, unlisted="allow", hooks=[Counting()]).allows_peer is None
    assert Gate(manager, unlisted="deny").allows_peer is not None


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
    matcher: Matcher, peer: str | None, account: str, proxied: bool, required: bool
) -> None:
    counting = Counting()
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"]) if proxied else ClientIPResolver()
    gate = Gate(matcher, unlisted="deny" if required else "allow", resolver=resolver, hooks=[counting], log="none")
    expected = Gate(matcher, unlisted="deny" if required else "allow", resolver=resolver, log="none").decide(
        account, peer, HEADERS
    )
    try:
        admitted = gate.allows(account, peer, HEADERS)
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
    gate = Gate(manager, unlisted="allow", hooks=[Counting(OSError("the disk is full")), other], log="none")
    assert gate.allows("acct-1", "8.8.8.8", [])
    assert other.allowed == [("acct-1", "matched")]
    assert "the disk is full" in caplog.text


def test_reporting_denies_nothing(manager: RuleManager) -> None:
    verdict = Gate(manager, unlisted="allow", report_only=True, log="none").decide("acct-1", "1.1.1.1")
    assert (verdict.result, verdict.reason, verdict.allowed) == ("would_deny", "not_listed", True)
    broken = Gate(manager, unlisted="allow", report_only=True).decide(None, "1.1.1.1", failure=KeyError("account"))
    assert (broken.result, broken.reason, broken.allowed) == ("would_deny", "error", True)


@pytest.mark.parametrize(("required", "result"), [(False, "allowed"), (True, "denied")])
def test_no_account(manager: RuleManager, required: bool, result: str) -> None:
    verdict = Gate(manager, unlisted="allow", require_account=required, log="none").decide(None, "1.1.1.1")
    assert (verdict.result, verdict.reason, verdict.account) == (result, "no_account", None)


@pytest.mark.parametrize("required", [False, True])
def test_a_request_that_is_exempt_needs_no_account(manager: RuleManager, required: bool) -> None:
    gate = Gate(manager, unlisted="deny", require_account=required, log="none")
    for peer in ("8.8.8.8", None, "nonsense"):
        verdict = gate.decide(EXEMPT, peer)
        assert (verdict.result, verdict.reason, verdict.account) == ("allowed", "no_account", None)
    assert gate.decide(EXEMPT, "8.8.8.8", failure=KeyError("account")).reason == "error"


@pytest.mark.parametrize("required", [False, True])
def test_a_request_that_has_to_name_an_account_is_denied_without(manager: RuleManager, required: bool) -> None:
    gate = Gate(manager, unlisted="allow", require_account=required, log="none")
    verdict = gate.decide(None, "8.8.8.8", failure=MissingAccountError("no account"))
    assert (verdict.result, verdict.reason) == ("denied", "no_account")


def test_lists_that_are_not_there_are_refused() -> None:
    with RuleManager.open("memory://", load=False) as manager, pytest.raises(CidrgateError, match="call load"):
        Gate(manager, unlisted="allow")


@pytest.mark.parametrize("unlisted", ["allow", "deny_unknown", "deny"])
@pytest.mark.parametrize("before", [["8.8.8.0/24"], []])
@pytest.mark.parametrize("after", [["9.9.9.0/24"], ["8.8.8.8/32"], []])
def test_a_list_that_changes_between_two_reads_has_a_true_reason(
    unlisted: Any, before: list[str], after: list[str]
) -> None:
    matcher, counting = Matcher(), Counting()
    matcher.publish("acct-1", before)
    gate = Gate(matcher, unlisted=unlisted, log="none")
    ask = gate._in_list

    def racing(account: str, address: Any) -> bool:
        allowed = ask(account, address)
        matcher.publish("acct-1", after)
        return allowed

    gate._in_list = racing
    verdict = gate.decide("acct-1", "8.8.8.8")
    match after:
        case ["8.8.8.8/32"]:
            assert (verdict.allowed, verdict.reason, verdict.matched_cidr) == (True, "matched", "8.8.8.8/32")
        case ["9.9.9.0/24"]:
            assert (verdict.allowed, verdict.reason) == (unlisted != "deny", "list_changed")
        case _:
            assert (verdict.allowed, verdict.reason) == (unlisted != "deny", "not_enforced")
    counted = Gate(matcher, unlisted=unlisted, log="none", hooks=[counting])
    matcher.publish("acct-1", before)
    sure = counted._sure

    def sure_of_before(account: str, address: Any) -> bool:
        allowed = sure(account, address)
        matcher.publish("acct-1", after)
        return allowed

    counted._sure = sure_of_before
    counted.allows("acct-1", "8.8.8.8", [])
    reasons = {reason for _, reason in counting.allowed}
    assert reasons <= ({"matched"} if after == ["8.8.8.8/32"] else {"not_enforced"} if after == [] else set())


@pytest.mark.parametrize("account", [42, b"acct-1", ["acct-1"], True, 4.2])
def test_what_is_no_account_denies(manager: RuleManager, account: Any) -> None:
    for peer in ("8.8.8.8", None):
        assert Gate(manager, unlisted="allow").decide(account, peer).reason == "error"


def test_an_account_that_is_unclear_leaves_no_traceback(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    verdict = Gate(manager, unlisted="allow").decide(
        None, "8.8.8.8", failure=UnclearAccountError("the header came 2 times")
    )
    assert (verdict.result, verdict.reason) == ("denied", "unclear_account")
    assert [record.exc_info for record in caplog.records] == [None]


def test_headers_that_are_none_deny(manager: RuleManager) -> None:
    gate = Gate(manager, unlisted="allow", resolver=ClientIPResolver(trusted_hops=1))
    assert gate.decide("acct-1", "8.8.8.8", [("x-forwarded-for", "8.8.8.8")]).result == "denied"  # type: ignore[list-item]


def test_stale_lists_deny_where_the_manager_does() -> None:
    with RuleManager.open("memory://", follow=False, max_staleness=1e-9, on_stale="deny") as manager:
        manager.create_account("acct-1")
        manager.create_account("open")
        manager.add("acct-1", "8.8.8.0/24")
        for unlisted in ("allow", "deny_unknown", "deny"):
            gate = Gate(manager, unlisted=unlisted, log="none")
            assert gate.decide("acct-1", "8.8.8.8").reason == "stale_lists"
            assert gate.decide("acct-1", "1.1.1.1").reason == "not_listed"
            assert gate.decide("open", "8.8.8.8").reason == "not_enforced"
            assert gate.decide("open", "8.8.8.8").allowed == (unlisted != "deny")
            for peer in ("8.8.8.8", None):
                verdict = gate.decide("created meanwhile", peer)
                assert (verdict.result, verdict.reason) == ("denied", "stale_lists")
                for name in IMPOSSIBLE:
                    assert gate.decide(name, peer).reason == "unclear_account"
            assert gate.allows_peer is not None
            for account in ("acct-1", "created meanwhile", "V\n"):
                assert not gate.allows_peer(account, "8.8.8.8")
                assert not gate.allows(account, "8.8.8.8", [])
        assert not manager.allows("acct-1", "8.8.8.8")
        assert manager.allows("open", "8.8.8.8")


def test_a_list_that_changes_between_two_reads_denies_if_it_is_stale() -> None:
    with RuleManager.open("memory://", follow=False, max_staleness=1e-9, on_stale="deny") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        gate = Gate(manager, unlisted="deny_unknown", log="none")
        ask = gate._in_list

        def racing(account: str, address: Any) -> bool:
            allowed = ask(account, address)
            manager.replace("acct-1", "9.9.9.0/24")
            return allowed

        gate._in_list = racing
        verdict = gate.decide("acct-1", "8.8.8.8")
        assert (verdict.result, verdict.reason) == ("denied", "stale_lists")


def test_a_rewritten_peer_is_nobody(manager: RuleManager) -> None:
    gate = Gate(manager, unlisted="allow", log="none")
    claimed = [(b"X-Forwarded-For", b"8.8.8.8:4711")]
    for verdict in (
        gate.decide("acct-1", "8.8.8.8", rewritten=True),
        gate.decide("acct-1", "8.8.8.8", port=0),
        gate.decide("acct-1", "8.8.8.8", claimed, port=4711),
    ):
        assert (verdict.result, verdict.reason) == ("denied", "invalid_address")
        assert verdict.client.problem == "rewritten_peer"
    assert not gate.allows("acct-1", "8.8.8.8", claimed, 4711)
    assert not gate.allows("acct-1", "8.8.8.8", [], 0)
    assert gate.allows("acct-1", "8.8.8.8", [], 4711)


def test_how_to_start_the_server_is_logged_once(
    manager: RuleManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._advice_given", threading.Event())
    gate = Gate(manager, unlisted="allow", log="none")
    for _ in range(3):
        gate.decide("acct-1", "8.8.8.8", port=0)
    [record] = [record for record in caplog.records if record.name == "cidrgate"]
    for server in ("--no-proxy-headers", "hypercorn", "granian", "daphne", "--forwarded-allow-ips", "trusted_proxy"):
        assert server in record.getMessage()


def test_the_servers_answer_can_be_asked_for(manager: RuleManager) -> None:
    resolver = ClientIPResolver(resolved_by_server=True)
    gate = Gate(manager, unlisted="allow", resolver=resolver, log="none")
    claimed = [(b"X-Forwarded-For", b"8.8.8.8")]
    verdict = gate.decide("acct-1", "8.8.8.8", claimed, port=0)
    assert (verdict.result, verdict.client.source) == ("allowed", "server")
    assert gate.allows("acct-1", "8.8.8.8", claimed, 0)
    assert gate.decide("acct-1", "1.1.1.1", claimed, port=0).reason == "not_listed"
    for nobody in (None, "", "unix:", "8.8.8.8:80", "unknown"):
        assert gate.decide("acct-1", nobody, claimed).reason == "invalid_address"


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [record for record in caplog.records if record.name == "cidrgate.decisions"]
    for line in lines:
        assert line.decision.items() <= json.loads(line.getMessage()).items()  # type: ignore[attr-defined]
        assert "\n" not in line.getMessage()
    return [json.loads(line.getMessage()) for line in lines]


def test_the_log_names_denials(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cidrgate.decisions")
    gate = Gate(manager, unlisted="allow", resolver=ClientIPResolver(trusted_proxies=["10.0.0.0/8"]))
    gate.decide("acct-1", "10.0.0.1", HEADERS)
    verdict = gate.decide("acct-1", "10.0.0.1", [(XFF, b"8.8.8.8, 1.1.1.1, 10.0.0.2")])
    [record] = records(caplog)
    assert verdict.record().items() <= record.items()
    assert record.pop("duration_seconds") >= 0
    assert datetime.fromisoformat(record.pop("time")).tzinfo is not None
    assert record == {
        "schema": 1,
        "level": "warning",
        "event": "cidrgate.decision",
        "mode": "enforce",
        "result": "denied",
        "reason": "not_listed",
        "account": "acct-1",
        "list_account": "acct-1",
        "matched_cidr": None,
        "address": "1.1.1.1",
        "source": "x-forwarded-for",
        "hop": 2,
        "problem": None,
        "request_id": verdict.request_id,
    }


def test_the_log_names_all(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cidrgate.decisions")
    gate = Gate(manager, unlisted="allow", log="all")
    gate.decide("acct-1", "8.8.8.8")
    gate.decide("acct\n-1", None)
    first, second = records(caplog)
    assert (first["result"], first["reason"], first["matched_cidr"]) == ("allowed", "matched", "8.8.8.0/24")
    assert (second["account"], second["address"], second["problem"]) == ("acct\n-1", None, "no_address")


@pytest.mark.parametrize("unlisted", ["allow", "deny_unknown", "deny"])
@given(account=st.one_of(st.none(), accounts, st.sampled_from(IMPOSSIBLE)), peer=peers)
def test_a_verdict_names_the_account_whose_list_decided(
    manager: RuleManager, unlisted: Any, account: str | None, peer: str | None
) -> None:
    verdict = Gate(manager, unlisted=unlisted, log="none").decide(account, peer)
    assert verdict.list_account == {"acct-1": "acct-1", "sub-1": "acct-1", "open": "open"}.get(account or "")
    assert verdict.record()["list_account"] == verdict.list_account
    if verdict.reason == "matched":
        assert manager.explain(account or "", peer or "").account == verdict.list_account
        assert Gate(manager, unlisted=unlisted).allowed_verdict(account or "", peer, []).list_account == "acct-1"


class Name(StrEnum):
    LISTED = "acct-1"
    UNKNOWN = "unknown"


class Shown(str):
    def __str__(self) -> str:
        return "open"


@pytest.mark.parametrize("peer", ["8.8.8.8", "1.1.1.1", None])
def test_a_subclass_of_str_names_the_account_that_its_text_names(manager: RuleManager, peer: str | None) -> None:
    gate = Gate(manager, unlisted="deny_unknown", log="none")
    for name in (Name.LISTED, Name.UNKNOWN, Shown("acct-1"), Shown("sub-1")):
        verdict, expected = gate.decide(name, peer), gate.decide(str.__str__(name), peer)
        for field in ("result", "reason", "account", "list_account", "matched_cidr"):
            assert getattr(verdict, field) == getattr(expected, field)
        assert type(verdict.account) is str


def test_the_log_can_be_silent(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    Gate(manager, unlisted="allow", log="none").decide("acct-1", "1.1.1.1")
    assert records(caplog) == []
    with pytest.raises(ValueError, match="'denials', 'all' or 'none'"):
        Gate(manager, unlisted="allow", log="some")  # type: ignore[arg-type]


def test_hooks_are_told_and_change_nothing(manager: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Verdict] = []

    def broken(verdict: Verdict) -> None:
        raise OSError("the disk is full")

    gate = Gate(manager, unlisted="allow", hooks=[broken, told.append], log="none")
    assert gate.decide("acct-1", "8.8.8.8").allowed
    assert not gate.decide("acct-1", "1.1.1.1").allowed
    assert [verdict.result for verdict in told] == ["allowed", "denied"]
    assert "the disk is full" in caplog.text


def test_a_request_keeps_the_id_it_came_with(manager: RuleManager) -> None:
    gate = Gate(manager, unlisted="allow", request_id_header="X-Request-ID", log="none")

    def request_id(*values: bytes) -> str:
        return gate.decide("acct-1", "8.8.8.8", [(b"x-REQUEST-id", value) for value in values]).request_id

    assert request_id(b"req-42") == "req-42"
    made = {request_id(), request_id(b"a b"), request_id(b"<b>"), request_id(b"x" * 129), request_id(b"")}
    assert len(made) == 5
    assert all(len(one) == 24 for one in made)
    assert (
        Gate(manager, unlisted="allow", log="none")
        .decide("acct-1", "8.8.8.8", [(b"x-request-id", b"req-42")])
        .request_id
        != "req-42"
    )


def test_headers_may_be_read_once_only(manager: RuleManager) -> None:
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    gate = Gate(manager, unlisted="allow", resolver=resolver, request_id_header="x-request-id", log="none")
    assert gate.decide("acct-1", "10.0.0.1", iter(HEADERS)).result == "allowed"


def test_a_log_that_breaks_changes_nothing(manager: RuleManager) -> None:
    def broken(record: logging.LogRecord) -> bool:
        if record.exc_info is None:
            raise OSError("the disk is full")
        return True

    logger = logging.getLogger("cidrgate.decisions")
    logger.addFilter(broken)
    try:
        assert Gate(manager, unlisted="allow").decide("acct-1", "1.1.1.1").result == "denied"
    finally:
        logger.removeFilter(broken)


def test_a_matcher_will_do() -> None:
    matcher = Matcher()
    gate = Gate(matcher, unlisted="allow", log="none")
    assert gate.decide("acct-1", "8.8.8.8").reason == "not_enforced"
    matcher.publish("acct-1", ["9.9.9.0/24"])
    assert gate.decide("acct-1", "8.8.8.8").reason == "not_listed"
    assert gate.decide("acct-1", "9.9.9.9").matched_cidr == "9.9.9.0/24"


def test_a_gate_keeps_the_manager_that_follows_the_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'lists.db'}"
    with RuleManager.open(url, create=True) as writer:
        writer.create_account("acct-1")
        gate = Gate(RuleManager.open(url), unlisted="allow", log="none")
        gc.collect()
        writer.add("acct-1", "8.8.8.0/24")
        eventually(lambda: gate.decide("acct-1", "9.9.9.9").result == "denied")


def test_a_hook_that_would_have_to_be_awaited_is_refused() -> None:
    async def hook(verdict: Verdict) -> None: ...

    with pytest.raises(TypeError, match="coroutine"):
        Gate(Matcher(), unlisted="allow", hooks=[hook])


def test_a_hook_that_cannot_even_be_named_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __call__(self, verdict: Verdict) -> None:
            raise ValueError

        def __repr__(self) -> str:
            raise ValueError

    gate = Gate(Matcher(), unlisted="deny", hooks=[Broken()], log="none")
    assert gate.decide("acct-1", "8.8.8.8").result == "denied"
    assert "Broken failed" in caplog.text


def test_that_a_gate_only_reports_is_said_when_it_is_made() -> None:
    gate = Gate(Matcher(), unlisted="deny", log="none")
    with pytest.raises(AttributeError):
        gate.report_only = True  # type: ignore[misc]
    assert gate.decide("acct-1", "8.8.8.8").result == "denied"
