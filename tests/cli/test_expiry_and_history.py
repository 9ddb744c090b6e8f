"""Entries that end by themselves, versions, going back, and the age of the log, from the command line."""

from __future__ import annotations

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
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--expires", "2h")
    [entry] = cidrgate("list", "acct-1", "--json").record["entries"]
    left = datetime.fromisoformat(entry["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left < timedelta(hours=2)
    assert entry["expired"] is False
    lines = cidrgate("list", "acct-1").out.splitlines()
    assert "expires (UTC)" in lines[0]
    cidrgate("edit", "acct-1", "8.8.8.0/24", "--expires", "2999-01-31T18:00+01:00")
    assert "2999-01-31 17:00:00" in cidrgate("list", "acct-1").out
    cidrgate("edit", "acct-1", "8.8.8.0/24", "--expires", "")
    assert "expires" not in cidrgate("list", "acct-1").out


def test_an_expired_list_is_shown_as_such_and_denies(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--expires", "1s")
    [entry] = cidrgate("list", "acct-1", "--json").record["entries"]
    wait_until_over(entry["expires_at"])
    shown = cidrgate("list", "acct-1").out
    assert ", expired" in shown
    assert "acct-1: 0 of 50 entries" in shown
    assert "still enforced: every address is denied" in shown
    assert cidrgate("list", "acct-1", "--json").record["enforced"] is True
    cidrgate("check", "acct-1", "8.8.8.8", status=1)
    cidrgate("check", "acct-1", "9.9.9.9", status=1)


@pytest.mark.parametrize("when", ["tomorrow", "12", "3x", "2020-01-01T00:00+00:00", "2999-01-01T00:00"])
def test_a_time_that_cannot_be_one_is_refused(when: str, cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "acct-1")
    status = 3 if when.startswith("2") else 2  # a time that is read and refused, or none
    error = cidrgate("add", "acct-1", "8.8.8.0/24", "--expires", when, status=status).err
    assert any(word in error for word in ("is not a time", "not a length of time", "is in the past", "no time zone"))
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
        ["restore", "acct-1", "--at", "1"],
    ):
        refused = cidrgate(*command, "--expect-version", version, "--json", status=5)
        assert refused.error["code"] == "version_conflict"
    assert len(cidrgate.listed("acct-1")) == 2


def test_a_list_is_restored_from_the_history(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--label", "office")
    then = cidrgate("history", "acct-1", "--json").record["changes"][0]["sequence"]
    cidrgate("replace", "acct-1", "1.1.1.1/32")
    restored = cidrgate("restore", "acct-1", "--at", str(then))
    assert restored.out.splitlines() == ["acct-1: 1 of 50 entries"]
    assert cidrgate.listed("acct-1") == [("8.8.8.0/24", "office")]
    assert cidrgate("history", "acct-1", "--json").record["changes"][0]["action"] == "restore"
    assert "there is no change 999 yet" in cidrgate("restore", "acct-1", "--at", "999", status=4).err


def test_the_log_is_pruned_by_age(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    assert cidrgate("prune", "--older-than", "90d").out == "0 changes deleted from the log\n"
    assert cidrgate("prune", "--older-than", "0s", "--json").record == {"pruned": 2}
    assert cidrgate("history", "acct-1", "--json").record["changes"] == []
    assert "not a length of time" in cidrgate("prune", "--older-than", "soon", status=2).err


def test_a_snapshot_is_compiled(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    file = tmp_path / "lists.snapshot"
    record = cidrgate("compile", str(file), "--json").record
    assert record == {"file": str(file), "accounts": 1, "bytes": file.stat().st_size}
    assert "1 account," in cidrgate("compile", str(file)).out
    cidrgate("add", "acct-1", "1.1.1.1/32")
    with RuleManager.open(f"sqlite:///{cidrgate.database}", snapshot=file) as manager:
        assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24"]
    assert "cannot write" in cidrgate("compile", str(tmp_path / "no" / "lists.snapshot"), status=2).err
