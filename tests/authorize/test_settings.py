"""`AuthorizeSettings`: what they check, and what a worker gets of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from cidrgate import RuleManager
from cidrgate.authorize.server import AuthorizeSettings
from tests.authorize.asgi import messages_of

PROXY = ("127.0.0.1", 4711)
LISTED = [(b"x-account", b"acct-1"), (b"x-forwarded-for", b"8.8.8.8")]


def settings(**given: Any) -> AuthorizeSettings:
    made = AuthorizeSettings(
        **{"database": "memory://", "unlisted": "deny", "trusted_proxies": ("127.0.0.1/32",), "log": "none", **given}
    )
    made.check()
    return made


def asked(made: AuthorizeSettings, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """The status and the reason of an answer, from lists that are older than any limit."""
    with RuleManager.open("memory://", follow=False, max_staleness=1e-9, on_stale=made.on_stale) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "client": PROXY}
        start, body = messages_of(made.app(manager), scope)
        return start["status"], dict(start["headers"]).get(b"x-cidrgate-reason", body["body"])


def test_stale_lists_serve_or_deny() -> None:
    for on_stale, answer in (("serve", (200, b"matched")), ("deny", (403, b"stale_lists"))):
        assert asked(settings(max_staleness=5, on_stale=on_stale), "/v1/authorize", LISTED) == answer


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 200),
        ({"max_staleness": 1e-9}, 503),
        ({"max_staleness": 60}, 200),
        ({"max_staleness": 60, "ready_within": 1e-9}, 503),
        ({"max_staleness": 1e-9, "ready_within": timedelta(minutes=1)}, 200),
    ],
)
def test_readiness_has_a_limit_of_its_own(given: dict[str, Any], status: int) -> None:
    assert asked(settings(**given), "/readyz", [])[0] == status


def test_a_request_has_to_name_an_account_unless_it_is_said() -> None:
    nameless = LISTED[1:]
    assert asked(settings(), "/v1/authorize", nameless) == (403, b"no_account")
    assert asked(settings(require_account=False), "/v1/authorize", nameless) == (200, b"no_account")


def test_a_worker_gets_them_as_json() -> None:
    made = settings(max_staleness=timedelta(minutes=2), ready_within=timedelta(seconds=9), log_every=timedelta(hours=1))
    assert (made.max_staleness, made.ready_within, made.log_every) == (120, 9, 3600)
    given = json.loads(json.dumps(asdict(made)))
    again = given | {name: tuple(given[name]) for name in ("trusted_proxies", "credential_headers")}
    assert AuthorizeSettings(**again) == made


@pytest.mark.parametrize("name", ["max_staleness", "ready_within", "log_every"])
@pytest.mark.parametrize("value", ["60", True, -1, float("nan"), timedelta(-1)])
def test_what_is_no_duration_is_refused(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{name} must be a number of seconds"):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"on_stale": "allow"}, "'serve' or 'deny'"),
        ({"on_stale": "deny"}, "needs max_staleness"),
        ({"max_staleness": 0}, "above 0"),
        ({"client_header": "x real"}, "letters, digits"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**given)


def test_they_are_named_when_they_are_made() -> None:
    with pytest.raises(TypeError, match="positional"):
        AuthorizeSettings("memory://", "deny")  # type: ignore[call-arg]
