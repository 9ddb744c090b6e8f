"""The note in a snapshot: what is written is read, and what is damaged, forged or too long is refused."""

from __future__ import annotations

import json
import logging
from array import array
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import Matcher, RuleManager, SnapshotError
from cidrgate.expiry.snapshot_notes import _MOST_NOTE, read_note, written_note
from cidrgate.replica.snapshots import read_snapshot, write_snapshot
from tests.command_line import typed
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)

EXPIRIES = {
    "acct-1": {"8.8.8.0/24": AT, "2606:4700::/32": AT + timedelta(microseconds=1), "": AT - timedelta(days=9000)},
    "é/ü 中": {"1.1.1.1/32": datetime.max.replace(tzinfo=UTC)},
    "old": {"1.1.1.2/32": datetime.min.replace(tzinfo=UTC)},
}

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1)
TIMES = st.datetimes(timezones=st.just(UTC))


@given(
    position=st.text(st.characters(codec="utf-8")),
    expiries=st.dictionaries(NAMES, st.dictionaries(NAMES | st.just(""), TIMES, min_size=1)),
)
def test_a_note_is_read_as_it_was_written(position: str, expiries: dict[str, dict[str, datetime]]) -> None:
    note = read_note(written_note(position, expiries))
    assert note.position == position
    assert note.schedule.expiries() == expiries


def test_a_note_of_an_earlier_revision_is_read(tmp_path: Path) -> None:
    ends = {account: {cidr: end.isoformat() for cidr, end in ending.items()} for account, ending in EXPIRIES.items()}
    Matcher().save(tmp_path / "2", note=json.dumps({"content": 2, "position": "7", "ends": ends}).encode())
    _, schedule, position = read_snapshot(tmp_path / "2")
    assert (position, schedule.expiries()) == ("7", EXPIRIES)


@pytest.mark.parametrize("content", [None, 1, 4])
def test_a_note_with_another_content_is_refused(content: int | None, tmp_path: Path) -> None:
    Matcher().save(tmp_path / "other", note=json.dumps({"content": content, "position": "7", "ends": {}}).encode())
    with pytest.raises(SnapshotError, match="another version"):
        read_snapshot(tmp_path / "other")


def forged(counts: list[int], ends: list[int], texts: bytes, **said: Any) -> bytes:
    line = {"content": 3, "position": "7", "accounts": len(counts), "expiries": len(ends)} | said
    return json.dumps(line).encode() + b"\n" + array("I", counts).tobytes() + array("q", ends).tobytes() + texts


SOUND = forged([1], [0], b"acct-1\n8.8.8.0/24\n")

FORGED = {
    "nothing": b"",
    "no JSON": b"\x00\xff" * 100,
    "no object": b"[]\n",
    "nested": b"[" * 60_000,
    "long number": b'{"content": ' + b"9" * 10_000 + b"}\n",
    "no position": b'{"content": 3, "accounts": 0, "expiries": 0}\n',
    "long line": b'{"content": 3, "position": "' + b"7" * (1 << 26) + b'"}\n',
    "cut in the texts": SOUND[:-1],
    "cut in the numbers": SOUND[: SOUND.index(b"\n") + 6],
    "no sections": SOUND[: SOUND.index(b"\n") + 1],
    "one more text": SOUND + b"1.1.1.1/32\n",
    "text without an end": SOUND[:-1] + b"x",
    "too many accounts": forged([1], [0], b"acct-1\n8.8.8.0/24\n", accounts=2**62),
    "too many expiries": forged([1], [0], b"acct-1\n8.8.8.0/24\n", expiries=2**62),
    "negative": forged([1], [0], b"acct-1\n8.8.8.0/24\n", accounts=-1),
    "no number": forged([1], [0], b"acct-1\n8.8.8.0/24\n", accounts=True),
    "a count too high": forged([2], [0], b"acct-1\n8.8.8.0/24\n"),
    "a count too low": forged([0], [0], b"acct-1\n8.8.8.0/24\n"),
    "time too late": forged([1], [2**63 - 1], b"acct-1\n8.8.8.0/24\n"),
    "time too early": forged([1], [-(2**63)], b"acct-1\n8.8.8.0/24\n"),
    "no text": forged([1], [0], b"acct-1\n\xff\xfe\n"),
    "JSON without ends": b'{"content": 2, "position": "7"}',
    "JSON with a list": b'{"content": 2, "position": "7", "ends": []}',
    "JSON with a wrong end": b'{"content": 2, "position": "7", "ends": {"acct-1": {"8.8.8.0/24": "soon"}}}',
    "JSON of content 3": b'{"content": 3, "position": "7", "ends": {}}',
}


def test_the_forger_can_write_a_sound_note() -> None:
    assert read_note(SOUND).schedule.expiries() == {"acct-1": {"8.8.8.0/24": datetime(1970, 1, 1, tzinfo=UTC)}}


@pytest.mark.parametrize("kind", FORGED)
def test_a_damaged_or_forged_note_is_refused(kind: str, tmp_path: Path) -> None:
    Matcher().save(tmp_path / "forged", note=FORGED[kind])
    with pytest.raises(SnapshotError):
        read_snapshot(tmp_path / "forged")


def test_the_engine_takes_what_a_note_may_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"at most {_MOST_NOTE:,} bytes"):
        Matcher().save(tmp_path / "long", note=bytes(_MOST_NOTE + 1))
    assert not (tmp_path / "long").exists()


def test_ten_million_expiries_fit() -> None:
    cidrs = {f"2606:4700:{number:x}:ffff:ffff:ffff:ffff:ffff/128": AT for number in range(1000)}
    assert len(written_note("7", {"customer-0123456789": cidrs})) * 10_000 < _MOST_NOTE


@pytest.fixture
def short_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.expiry.snapshot_notes._MOST_NOTE", 200)


def with_expiries(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    for number in range(10):
        manager.add("acct-1", f"8.8.{number}.0/24", expires_at=AT)


@pytest.mark.usefixtures("short_notes")
def test_too_many_expiries_are_a_snapshot_error_and_leave_the_last_file(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "file", Matcher(), {}, "7")
    before = (tmp_path / "file").read_bytes()
    with RuleManager.open("memory://") as manager:
        with_expiries(manager)
        with pytest.raises(SnapshotError, match="at most 200 bytes of expiry times, and the 10 of this store take"):
            manager.save_snapshot(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before


@pytest.mark.usefixtures("short_notes")
def test_the_command_says_that_there_are_too_many_expiries(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rules.db'}"
    with RuleManager.open(url, create=True) as manager:
        with_expiries(manager)
    done = typed(["--database", url, "compile", str(tmp_path / "file")])
    assert done.exit_code == 2
    assert "at most 200 bytes of expiry times" in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "file").exists()


@pytest.mark.fault("the store has more expiry times than a snapshot can have")
@pytest.mark.usefixtures("short_notes")
def test_a_node_follows_without_a_snapshot_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.replica.follower._FIRST_RETRY", 0.01)
    url = f"sqlite:///{tmp_path / 'rules.db'}"
    with RuleManager.open(url, create=True, follow=False) as writer:
        with_expiries(writer)
        with RuleManager.open(url, snapshot=tmp_path / "file", refresh_snapshot=0.01) as node:
            eventually(lambda: "bytes of expiry times" in caplog.text)
            writer.add("acct-1", "9.9.9.9/32", expires_at=soon())
            eventually(lambda: node.allows("acct-1", "9.9.9.9"))
            eventually(lambda: not node.allows("acct-1", "9.9.9.9"))
            assert node.snapshot_age == float("inf")
    said = [record for record in caplog.records if "bytes of expiry times" in record.getMessage()]
    assert {record.levelno for record in said} == {logging.WARNING}
    assert all(record.exc_info is None for record in said)
    assert not (tmp_path / "file").exists()
