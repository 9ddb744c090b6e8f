"""The verdict of a request that was allowed on the fast path: what is read of it later is what was true."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import ClientIPResolver, Gate, Matcher, Verdict
from cidrgate.gate.late_verdict import LateVerdict
from cidrgate.middleware.asgi import AllowlistMiddleware
from tests.in_process import asgi_app

HEADERS = [(b"x-forwarded-for", b"9.9.9.9, 8.8.8.8"), (b"x-request-id", b"req-1")]


def a_gate(unlisted: Any = "deny_unknown", **settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "10.0.0.0/8"])
    matcher.publish("open", [])
    return Gate(matcher, unlisted=unlisted, log="none", **settings)


@given(
    st.sampled_from(["acct-1", "open", "unknown"]),
    st.sampled_from(["8.8.8.8", "10.0.0.1", "9.9.9.9", "::ffff:8.8.8.8"]),
    st.sampled_from(["allow", "deny_unknown", "deny"]),
    st.booleans(),
    st.booleans(),
)
def test_it_says_what_the_gate_would_have_said(
    account: str, peer: str, unlisted: str, proxied: bool, with_id: bool
) -> None:
    settings: dict[str, Any] = {"resolver": ClientIPResolver(trusted_proxies=["10.0.0.0/8"])} if proxied else {}
    gate = a_gate(unlisted, request_id_header="x-request-id" if with_id else None, **settings)
    headers = HEADERS if proxied else HEADERS[1:]
    expected = gate.decide(account, peer, headers)
    if gate.allows(account, peer, headers):
        assert expected.result == "allowed"
        late = LateVerdict(gate, account, peer, headers, None)
        assert bool(late)
        assert late.request_id == ("req-1" if with_id else late.request_id)
        assert replace(late, request_id=expected.request_id, seconds=expected.seconds) == expected


def late_verdict() -> Verdict:
    return LateVerdict(a_gate(), "acct-1", "8.8.8.8", [], 4711)


def test_it_is_a_verdict_and_becomes_a_plain_one() -> None:
    late = late_verdict()
    assert isinstance(late, Verdict)
    assert late.reason == "matched"
    assert type(late) is Verdict
    with pytest.raises(AttributeError):
        late.reason = "error"  # type: ignore[misc]


@pytest.mark.parametrize(
    "read",
    [
        lambda one: one.record(),
        repr,
        hash,
        lambda one: one == one,
        lambda one: one.allowed,
        lambda one: {one: 1}[one],
        lambda one: replace(one, account="other").matched_cidr,
        lambda one: copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one,
    ],
)
def test_however_it_is_read_it_says_the_same(read: Any) -> None:
    late = late_verdict()
    first = read(late)
    assert read(late) == first
    assert "8.8.8.0/24" in repr(late)
    assert type(late) is Verdict


def test_two_of_them_are_compared_by_what_they_say() -> None:
    late = late_verdict()
    assert late != late_verdict()  # another request
    made = late_verdict()
    assert made.reason == "matched"
    assert late != made
    assert made == replace(made)
    with pytest.raises(AttributeError, match="nothing"):
        late_verdict().nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("unlisted", ["allow", "deny_unknown", "deny"])
@pytest.mark.parametrize("change", ["other", "emptied", "discarded"])
def test_a_list_that_has_changed_since_is_told(unlisted: str, change: str) -> None:
    gate = a_gate(unlisted)
    late = LateVerdict(gate, "acct-1", "8.8.8.8", [], 4711)
    if change == "discarded":
        gate.matcher.discard("acct-1")
    elif change == "emptied":
        gate.matcher.publish("acct-1", [], when_empty="allow")
    else:
        gate.matcher.publish("acct-1", ["1.1.1.0/24"])
    assert (late.result, late.allowed, late.matched_cidr) == ("allowed", True, None)
    open_now = unlisted == "allow" or (unlisted == "deny_unknown" and change == "emptied")
    assert late.reason == ("not_enforced" if open_now and change != "other" else "list_changed")


def test_threads_that_read_it_at_once_read_one_request_id() -> None:
    for _ in range(50):
        late, start = late_verdict(), threading.Barrier(4)
        found: list[str] = []

        def read(late: Verdict = late, found: list[str] = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(late.request_id)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1


def test_it_can_be_read_in_a_forked_child() -> None:
    from cidrgate.gate import late_verdict as module

    late = late_verdict()
    with module._making:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            os._exit(0 if late.reason == "matched" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_request_leaves_no_circle_for_the_garbage_collector() -> None:
    import asyncio

    async def send(message: Any) -> None:
        pass

    guarded = AllowlistMiddleware(asgi_app, a_gate(), lambda scope: "acct-1")
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(200):
            scope = {"type": "http", "headers": [], "client": ("8.8.8.8", 4711)}
            asyncio.run(_ask(guarded, scope, send))
        # By its type: `isinstance` asks a lazy object of another library for its class, which it then makes.
        assert sum(type(one) is LateVerdict for one in gc.get_objects()) <= 1, before
    finally:
        gc.enable()


async def _ask(guarded: Any, scope: Any, send: Any) -> None:
    await guarded(scope, None, send)
