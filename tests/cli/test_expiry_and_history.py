"""Entries that end by themselves, versions, going back, and the age of the log, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cidrgate


def wait_until_over(moment: str) -> None:
    while datetime.now(UTC) < datetime.fromisoformat(moment):
        time.sleep(0.01)


def test_an_entry_is_shown_with_its_end(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--expires-in", "2h")
    [entry] = cidrgate("list", "acct-1", "--json").record["items"]
    left = datetime.fromisoformat(entry["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left < timedelta(hours=2)
    assert entry["expired"] is False
    lines = cidrgate("list", "acct-1").out.splitlines()
    assert "expires (UTC)" in lines[0]
    cidrgate("edit", "acct-1", "8.8.8.0/24", "--expires-at", "2999-01-31T18:00+01:00")
    assert "2999-01-31 17:00:00" in cidrgate("list", "acct-1").out
    cidrgate("edit", "acct-1", "8.8.8.0/24", "--no-expiry")
    assert "expires" not in cidrgate("list", "acct-1").out


def test_an_expired_list_is_shown_as_such_and_denies(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--expires-in", "1s")
    [entry] = cidrgate("list", "acct-1", "--json").record["items"]
    wait_until_over(entry["expires_at"])
    shown = cidrgate("list", "acct-1").out
    assert ", expired" in shown
    assert "acct-1: 0 of 50 entries" in shown
    assert "still enforced: every address is denied" in shown
    assert cidrgate("list", "acct-1", "--json").record["enforced"] is True
    cidrgate("check", "acct-1", "8.8.8.8", status=1)
    cidrgate("check", "acct-1", "9.9.9.9", status=1)


@pytest.mark.parametrize(
    ("option", "when", "status", "said"),
    [
        ("--expires-at", "tomorrow", 2, "is not a time"),
        ("--expires-at", "12h", 2, "is not a time"),
        ("--expires-at", "", 2, "is not a time"),
        ("--expires-at", "2020-01-01T00:00+00:00", 3, "is in the past"),
        ("--expires-at", "2999-01-01T00:00", 3, "no time zone"),
        ("--expires-in", "12", 2, "not a length of time"),
        ("--expires-in", "3x", 2, "not a length of time"),
        ("--expires-in", "-1d", 2, "not a length of time"),
        ("--expires-in", "nan", 2, "not a length of time"),
        ("--expires-in", "", 2, "not a length of time"),
        ("--expires-in", "999999999w", 2, "more than a thousand years"),
        ("--expires-in", "0s", 3, "is in the past"),
    ],
)
def test_a_time_that_cannot_be_one_is_refused(
    option: str, when: str, status: int, said: str, cidrgate: Cidrgate
) -> None:
    cidrgate("account", "create", "acct-1")
    assert said in cidrgate("add", "acct-1", "8.8.8.0/24", option, when, status=status).err
    if status == 2:
        assert said in cidrgate("token", "create", "x", "-s", "admin", option, when, status=2).err
    assert cidrgate.listed("acct-1") == []


def test_a_change_of_an_old_version_is_refused(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    version = str(cidrgate("list", "acct-1", "--json").record["version"])
    cidrgate("add", "acct-1", "1.1.1.1/32", "--expect-version", version)
    for command in (
        ["add", "acct-1", "9.9.9.9/32"],
        ["edit", "acct-1", "1.1.1.1/32", "--label", "x"],
        ["remove", "acct-1", "1.1.1.1/32"],
        ["replace", "acct-1", "9.9.9.9/32"],
        ["restore", "acct-1", "--to-sequence", "1"],
        ["undo", "acct-1", "2"],
    ):
        refused = cidrgate(*command, "--expect-version", version, "--json", status=5)
        assert refused.error["code"] == "version_conflict"
    assert len(cidrgate.listed("acct-1")) == 2


def test_a_list_is_restored_from_the_history(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--label", "office")
    then = cidrgate("history", "acct-1", "--json").record["items"][0]["sequence"]
    cidrgate("replace", "acct-1", "1.1.1.1/32")
    restored = cidrgate("restore", "acct-1", "--to-sequence", str(then))
    assert restored.out.splitlines() == [
        "removed 1.1.1.1/32 (id 2)",
        "added 8.8.8.0/24 (id 3, office)",
        "acct-1: 1 of 50 entries",
    ]
    assert cidrgate.listed("acct-1") == [("8.8.8.0/24", "office")]
    assert cidrgate("history", "acct-1", "--json").record["items"][0]["action"] == "restore"
    assert "there is no change 999 yet" in cidrgate("restore", "acct-1", "--to-sequence", "999", status=4).err


def test_a_change_from_before_a_new_name_is_undone(cidrgate: Cidrgate) -> None:
    cidrgate("add", "k", "8.8.8.0/24", "--create")
    cidrgate("add", "k", "9.9.9.0/24")
    added = str(max(one["sequence"] for one in cidrgate("history", "k", "--json").record["items"]))
    cidrgate("account", "rename", "k", "k2", "--confirm", "disable_enforcement")
    cidrgate("undo", "k2", added)
    assert [one["cidr"] for one in cidrgate("list", "k2", "--json").record["items"]] == ["8.8.8.0/24"]
    cidrgate("add", "k", "9.9.9.0/24", "--create")
    assert "from before account 'k' got this name" in cidrgate("undo", "k", added, status=4).err


def test_the_log_is_pruned_by_age(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    assert cidrgate("prune", "--older-than", "90d", "--yes").out == "deleted 0 rows of the change log\n"
    assert cidrgate("prune", "--older-than", "0s", "--yes", "--json").record == {"pruned": 2}
    assert cidrgate("history", "acct-1", "--json").record["items"] == []
    assert "not a length of time" in cidrgate("prune", "--older-than", "soon", status=2).err


def test_a_snapshot_is_compiled(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    file = tmp_path / "lists.snapshot"
    record = cidrgate("compile", str(file), "--json").record
    assert record == {"file": str(file), "account_count": 1, "bytes": file.stat().st_size}
    assert "1 account," in cidrgate("compile", str(file)).out
    cidrgate("add", "acct-1", "1.1.1.1/32")
    with RuleManager.open(f"sqlite:///{cidrgate.database}", snapshot=file) as manager:
        assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24"]
    assert "cannot write" in cidrgate("compile", str(tmp_path / "no" / "lists.snapshot"), status=2).err


@pytest.mark.parametrize("file", ["", ".", "/", "..", "/.."])
def test_a_directory_is_no_place_for_a_snapshot(cidrgate: Cidrgate, file: str) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    assert "cannot write" in cidrgate("compile", file, status=2).err
    with RuleManager.open(f"sqlite:///{cidrgate.database}") as manager, pytest.raises(OSError, match=r"director|busy"):
        manager.save_snapshot(file)


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:00", "0001-01-01T00:00+23:00"])
def test_an_end_beyond_the_calendar_is_refused(cidrgate: Cidrgate, time: str) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    for command in (
        ["add", "acct-1", "1.1.1.1/32"],
        ["edit", "acct-1", "8.8.8.0/24"],
        ["replace", "acct-1", "1.1.1.1"],
    ):
        assert "out of range in UTC" in cidrgate(*command, "--expires-at", time, status=3).err
    assert "UTC" in cidrgate("token", "create", "ci", "--scope", "admin", "--expires-at", time, status=3).err
    rows = f"account,cidr,expires_at\nacct-1,1.1.1.1/32,{time}\n"
    assert "Traceback" not in cidrgate("import", "-", "--format", "csv", stdin=rows, status=3).err


def test_the_history_of_all_accounts_has_the_events_of_the_store(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    cidrgate("account", "create", "acct-2")
    cidrgate("token", "create", "billing", "--scope", "metrics")
    items = cidrgate("history", "--all", "--json").record["items"]
    assert [(one["account"], one["action"]) for one in items] == [
        (None, "create_token"),
        ("acct-2", "create_account"),
        ("acct-1", "add"),
        ("acct-1", "create_account"),
    ]
    shown = cidrgate("history", "--all").out
    assert "token 1, name billing, scopes metrics" in shown
    assert "cli " in shown
    page = cidrgate("history", "--all", "--limit", "2", "--json").record
    rest = cidrgate("history", "--all", "--cursor", page["next_cursor"], "--json").record
    assert page["items"] + rest["items"] == items
    assert cidrgate("history", "--all", "--since", "1h", "--json").record["items"] == items
    assert cidrgate("history", "--all", "--since", items[0]["at"], "--json").record["items"] == items[:1]
    assert cidrgate("history", "acct-1", "--since", "2999-01-01", "--json").record["items"] == []
    assert cidrgate("history", "--all", "--after", str(items[1]["sequence"]), "--json").record["items"] == items[:1]
    for wrong in (
        ["history"],
        ["history", "acct-1", "--all"],
        ["history", "--all", "--since", "yesterday"],
        ["history", "--all", "--since", "0001-01-01T00:00+14:00"],
        ["history", "--all", "--since", "9999-12-31T23:59-14:00"],
        ["history", "--all", "--follow", "--limit", "2"],
    ):
        cidrgate(*wrong, status=2)
    assert "create_account" not in cidrgate("history", "acct-2", "--after", str(items[1]["sequence"])).out


def test_the_history_is_followed(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "acct-1")
    command = [sys.executable, "-m", "cidrgate", "history", "--all", "--follow", "--after", "0", "--json"]
    environment = {**os.environ, "CIDRGATE_DATABASE": str(cidrgate.database)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        cidrgate("add", "acct-1", "8.8.8.0/24")
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert [(one["sequence"], one["action"]) for one in (first, second)] == [(1, "create_account"), (2, "add")]
