"""`pause`, `resume` and `mode`: what they set, what they ask, and where the mode shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate


@pytest.fixture(autouse=True)
def listed(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")


def test_a_pause_has_an_end_and_is_confirmed(cidrgate: Cidrgate) -> None:
    refused = cidrgate("pause", "acct-1", "--for", "1h", status=3)
    assert "in the mode off account 'acct-1' would not be enforced" in refused.err
    assert "say --confirm disable_enforcement if that is wanted" in refused.err
    cidrgate("check", "acct-1", "9.9.9.9", status=1)
    done = cidrgate(
        "pause", "acct-1", "--for", "1h", "--reason", "incident 7", "--confirm", "disable_enforcement", "--json"
    ).record
    assert (done["mode"], done["mode_reason"], done["enforced"], done["version"]) == ("off", "incident 7", False, 2)
    end = datetime.fromisoformat(done["mode_until"])
    assert timedelta(minutes=59) < end - datetime.now(UTC) <= timedelta(hours=1)
    cidrgate("check", "acct-1", "9.9.9.9")
    shown = cidrgate("account", "show", "acct-1").out
    assert "off" in shown
    assert "incident 7" in shown
    assert "acct-1 is paused until" in cidrgate("list", "acct-1").out
    assert "off" in cidrgate("account", "list").out
    explained = cidrgate("explain", "acct-1", "9.9.9.9").out
    assert "acct-1 is paused" in explained
    assert "cidrgate resume acct-1" in explained
    cidrgate("resume", "acct-1")
    cidrgate("check", "acct-1", "9.9.9.9", status=1)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["pause", "acct-1", "--confirm", "disable_enforcement"], "--for 1h"),
        (
            ["pause", "acct-1", "--for", "1h", "--until", "2999-01-01T00:00+00:00", "--confirm", "disable_enforcement"],
            "not both",
        ),
        (
            ["pause", "acct-1", "--until", "2020-01-01T00:00+00:00", "--confirm", "disable_enforcement"],
            "is in the past",
        ),
        (["pause", "acct-1", "--until", "2999-01-01T00:00", "--confirm", "disable_enforcement"], "has no time zone"),
        (["mode", "acct-1", "paused", "--confirm", "disable_enforcement"], "write enforce, report_only or off"),
        (["mode", "acct-1", "enforce", "--for", "1h"], "has no end"),
    ],
)
def test_what_is_typed_wrongly_changes_nothing(cidrgate: Cidrgate, typed: list[str], says: str) -> None:
    assert says in cidrgate(*typed, status=STATUS.get(says, 2)).err
    assert cidrgate("account", "show", "acct-1", "--json").record["version"] == 1


CONFIRMED = ("--confirm", "disable_enforcement")

STATUS = {"is in the past": 3, "has no time zone": 3, "has no end": 3}
"""The others are about what was typed."""


def test_a_list_that_only_reports_says_what_it_would_deny(cidrgate: Cidrgate) -> None:
    dry = cidrgate("mode", "acct-1", "report_only", "--dry-run", "--json", *CONFIRMED).record
    assert (dry["mode"], dry["dry_run"]) == ("report_only", True)
    assert cidrgate("account", "show", "acct-1", "--json").record["mode"] == "enforce"
    cidrgate("mode", "acct-1", "report_only", "--confirm", "disable_enforcement")
    decision = cidrgate("explain", "acct-1", "9.9.9.9", "--json").record
    assert (decision["allowed"], decision["reason"], decision["mode"]) == (True, "not_listed", "report_only")
    assert "would be denied" in cidrgate("explain", "acct-1", "9.9.9.9").out
    assert "as before" in cidrgate("mode", "acct-1", "report_only").out


def test_a_closed_account_denies_from_the_start(cidrgate: Cidrgate) -> None:
    made = cidrgate("account", "create", "shut", "--closed", "--json").record
    assert (made["closed"], made["enforced"]) == (True, True)
    cidrgate("check", "shut", "8.8.8.8", status=1)
    assert "every address is denied" in cidrgate("list", "shut").out
    cidrgate("mode", "shut", "enforce", "--not-closed", status=3)
    cidrgate("mode", "shut", "enforce", "--not-closed", "--confirm", "disable_enforcement")
    cidrgate("check", "shut", "8.8.8.8")


def test_the_history_says_who_paused_and_why(cidrgate: Cidrgate) -> None:
    cidrgate(
        "pause",
        "acct-1",
        "--for",
        "1h",
        "--reason",
        "incident 7",
        "--confirm",
        "disable_enforcement",
        "--actor",
        "alice",
    )
    change = cidrgate("history", "acct-1", "--json").record["items"][0]
    assert (change["action"], change["actor"]) == ("set_mode", "alice")
    assert change["details"]["after"]["mode_reason"] == "incident 7"
    said = cidrgate("history", "acct-1", "--limit", "1").out
    assert "incident 7" in said
    assert "off" in said


def test_the_list_of_accounts_counts_them_by_mode(cidrgate: Cidrgate) -> None:
    assert "0 accounts" in cidrgate("account", "list", "--starting-with", "x").out.splitlines()
    for name, mode in (("a", "report_only"), ("b", "off"), ("c", "enforce"), ("d", "off")):
        cidrgate("account", "create", name)
        cidrgate("mode", name, mode)
    cidrgate("account", "create", "shut", "--closed")
    cidrgate("account", "create", "sub-1", "--parent", "b")
    said = cidrgate("account", "list").out.splitlines()[-1]
    assert said == "7 accounts (2 enforced, 1 report_only, 3 off, 1 open)"
