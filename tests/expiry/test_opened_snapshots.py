"""Whoever opens a snapshot decides by the times in it: what has expired until then is removed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Gate, Matcher, RuleManager, SnapshotError
from cidrgate.expiry import removal
from cidrgate.expiry.snapshot_notes import written_note
from cidrgate.replay.spark import _sent
from tests.expiry.test_snapshot_notes import FORGED
from tests.waiting import soon

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = timedelta(hours=1)


def opened_by_a_manager(path: Path) -> Matcher:
    with RuleManager.open(path.with_name("lists.db"), snapshot=path, follow=False) as manager:
        return manager.matcher


READERS: dict[str, Callable[[Path], Matcher]] = {
    "open": Matcher.open,
    "open(trusted=True)": lambda path: Matcher.open(path, trusted=True),
    "a manager": opened_by_a_manager,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets how far the clock of all readers is ahead."""
    ahead = [timedelta()]

    class Set(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead[0]

    for module in ("cidrgate.expiry.removal", "cidrgate.replica.published_store"):
        monkeypatch.setattr(f"{module}.datetime", Set)
    return lambda value: ahead.__setitem__(0, value)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Entries that expire after one and three hours, and modes that expire after one, beside what never expires."""
    path = tmp_path / "lists.snapshot"
    now = datetime.now(UTC)
    with RuleManager.open(tmp_path / "lists.db", create=True, follow=False) as manager:
        for account in ("entry", "only", "paused", "reporting", "stays"):
            manager.create_account(account)
            if account != "only":
                manager.add(account, "8.8.8.0/24")
        manager.create_account("sub", parent="entry")
        manager.add("entry", "9.9.9.0/24", expires_at=now + HOUR)
        manager.add("entry", "1.1.1.0/24", expires_at=now + 3 * HOUR)
        manager.add("only", "9.9.9.0/24", expires_at=now + HOUR)
        manager.pause("paused", until=now + HOUR, confirmed=["disable_enforcement"])
        manager.set_mode("reporting", "report_only", until=now + HOUR, confirmed=["disable_enforcement"])
        manager.pause("stays", until=now + 3 * HOUR, confirmed=["disable_enforcement"])
        manager.save_snapshot(path)
    return path


def state(matcher: Matcher) -> dict[str, tuple[list[str], str]]:
    return {name: (matcher.prefixes(name), matcher.mode(name)) for name in matcher}


ALL = {
    "entry": (["1.1.1.0/24", "8.8.8.0/24", "9.9.9.0/24"], "enforce"),
    "sub": (["1.1.1.0/24", "8.8.8.0/24", "9.9.9.0/24"], "enforce"),
    "only": (["9.9.9.0/24"], "enforce"),
    "paused": (["8.8.8.0/24"], "off"),
    "reporting": (["8.8.8.0/24"], "report_only"),
    "stays": (["8.8.8.0/24"], "off"),
}
AFTER_TWO_HOURS = ALL | {
    "entry": (["1.1.1.0/24", "8.8.8.0/24"], "enforce"),
    "sub": (["1.1.1.0/24", "8.8.8.0/24"], "enforce"),
    "only": ([], "enforce"),
    "paused": (["8.8.8.0/24"], "enforce"),
    "reporting": (["8.8.8.0/24"], "enforce"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_removes_what_has_expired(reader: str, snapshot: Path, clock: Callable[[timedelta], None]) -> None:
    before = READERS[reader](snapshot)
    assert state(before) == ALL
    clock(2 * HOUR)
    opened = READERS[reader](snapshot)
    assert state(opened) == AFTER_TWO_HOURS
    assert not opened.allows("only", "9.9.9.9")  # it is enforced without an entry, as in the store
    gate = Gate(opened, unlisted="deny_unknown", log="none")
    assert not gate.decide("entry", "9.9.9.9").allowed
    assert not gate.decide("paused", "9.9.9.9").allowed
    if reader != "a manager":
        assert state(before) == ALL  # as it was opened, it stays


@pytest.mark.parametrize("ahead", [timedelta(), 2 * HOUR])
def test_a_snapshot_of_which_nothing_has_expired_is_not_copied(
    ahead: timedelta, snapshot: Path, tmp_path: Path, clock: Callable[[timedelta], None]
) -> None:
    """What expired before the file was written is in its note, and not in its lists."""
    clock(ahead)
    with RuleManager.open(tmp_path / "lists.db", follow=False) as manager:
        manager.save_snapshot(snapshot)
    opened = Matcher.open(snapshot)
    opened.save(tmp_path / "again", note=opened.note)
    assert (tmp_path / "again").read_bytes() == snapshot.read_bytes()


def test_a_manager_removes_what_has_expired_once(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "remove_expired_of_snapshot", None)
    assert state(opened_by_a_manager(snapshot)) == ALL
    with pytest.raises(TypeError):
        Matcher.open(snapshot)


def test_a_matcher_that_is_saved_has_no_times(
    snapshot: Path, tmp_path: Path, clock: Callable[[timedelta], None]
) -> None:
    Matcher.open(snapshot).save(tmp_path / "again")
    clock(2 * HOUR)
    assert state(Matcher.open(tmp_path / "again")) == ALL


def test_accounts_of_the_note_that_the_file_lacks_stay_unknown(tmp_path: Path) -> None:
    """A change that is published while a snapshot is written may be in it."""
    matcher = Matcher()
    matcher.publish("parent", ["8.8.8.0/24"])
    matcher.link("moved", "parent")
    past = {"8.8.8.0/24": datetime(2020, 1, 1, tzinfo=UTC)}
    matcher.save(tmp_path / "lists", note=written_note("7", {"gone": past, "moved": past}))
    opened = Matcher.open(tmp_path / "lists")
    assert state(opened) == {name: (["8.8.8.0/24"], "enforce") for name in ("parent", "moved")}


def test_a_snapshot_of_an_earlier_revision_has_times_too(tmp_path: Path) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "9.9.9.0/24"])
    ends = {"acct-1": {"9.9.9.0/24": "2020-01-01T00:00:00+00:00"}}
    matcher.save(tmp_path / "2", note=json.dumps({"content": 2, "position": "7", "ends": ends}).encode())
    assert Matcher.open(tmp_path / "2").prefixes("acct-1") == ["8.8.8.0/24"]


OF_NOBODY = {"nothing", "no JSON", "no object", "nested", "long number", "no position"}
NEVER = {"time too late"}


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("kind", sorted(FORGED.keys() - OF_NOBODY - NEVER))
def test_times_that_cannot_be_read_are_not_passed_over(kind: str, trusted: bool, tmp_path: Path) -> None:
    Matcher().save(tmp_path / "forged", note=FORGED[kind])
    with pytest.raises(SnapshotError, match="cannot be read: write it again with `cidrgate compile`"):
        Matcher.open(tmp_path / "forged", trusted=trusted)


def test_times_of_another_version_are_not_passed_over(tmp_path: Path) -> None:
    Matcher().save(tmp_path / "newer", note=b'{"content": 4, "position": "7"}\n')
    with pytest.raises(SnapshotError, match="written by another version of cidrgate"):
        Matcher.open(tmp_path / "newer")


THEIRS = [b"position 7", b'{"content": "May"}', b'{"position": "7"}', b"{" * 99]


@pytest.mark.parametrize("note", [*THEIRS, *(FORGED[kind] for kind in sorted(OF_NOBODY | NEVER))])
def test_other_notes_have_no_times_that_have_come(note: bytes, tmp_path: Path) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    matcher.save(tmp_path / "theirs", note=note)
    opened = Matcher.open(tmp_path / "theirs")
    assert (opened.note, state(opened)) == (note, {"acct-1": (["8.8.8.0/24"], "enforce")})


def test_a_process_that_only_matches_decides_by_the_times(tmp_path: Path) -> None:
    """Nothing of the manager is loaded there."""
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        manager.add("acct-1", "9.9.9.0/24", expires_at=soon())
        manager.save_snapshot(tmp_path / "lists")
        while manager.allows("acct-1", "9.9.9.9"):
            time.sleep(0.05)
            manager._replica.published.expire()
    code = "import sys; from cidrgate import Matcher; print(Matcher.open(sys.argv[1]).prefixes('acct-1'))"
    code += "; assert 'cidrgate.replica' not in sys.modules"
    found: Any = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lists")], check=True, capture_output=True, text=True
    )
    assert found.stdout == "['8.8.8.0/24']\n"


class SparkContext:
    """What `cidrgate.replay.spark` uses of a data frame: the files that were sent."""

    def __init__(self) -> None:
        self.sparkSession = self.sparkContext = self
        self.listFiles: list[str] = []

    def addFile(self, path: str) -> None:  # noqa: N802 - as Spark names it
        assert path not in self.listFiles
        self.listFiles.append(path)


def test_spark_workers_get_the_lists_of_one_moment(snapshot: Path, clock: Callable[[timedelta], None]) -> None:
    context: Any = SparkContext()
    names = {_sent(context, Matcher.open(snapshot)) for _ in range(2)}
    clock(2 * HOUR)
    names |= {_sent(context, Matcher.open(snapshot)) for _ in range(2)}
    clock(4 * HOUR)  # as a worker opens the file
    assert [state(Matcher.open(path)) for path in context.listFiles] == [ALL, AFTER_TWO_HOURS]
    assert {Path(path).name for path in context.listFiles} == names
