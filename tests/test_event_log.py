"""Everything that cidrgate logs is an event with a name; each is brought about here as it comes about in life."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import httpx
import psycopg
import pytest

from cidrgate import ClientIPResolver, Gate, Matcher, Policy, RuleManager
from cidrgate.event_log import Event, JsonFormatter, event_name, json_line, log_event
from cidrgate.gate.decision_log import advise_about_unseen_routes
from cidrgate.process import forking
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from tests.servers.endpoint import database
from tests.servers.requests import ask
from tests.servers.running import free_port, running
from tests.service.a_server import a_server
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually
from tests.warm_starts import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer

SOURCES = sorted((Path(__file__).parents[1] / "src" / "cidrgate").rglob("*.py"))
DOCUMENTED = Path(__file__).parents[1] / "docs" / "operating.md"


class Heard(logging.Handler):
    """Every line that a service with `JsonFormatter` would have written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, event: Event) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event_name(event)]

    def one(self, event: Event) -> dict[str, Any]:
        """The first line of an event; they are waited for."""
        eventually(lambda: bool(self.of(event)))
        return self.of(event)[0]


@pytest.fixture
def heard() -> Iterator[Heard]:
    logger = logging.getLogger("cidrgate")
    handler, level = Heard(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


# ------------------------------------------------------------------------------------------------ the format


def test_a_line_has_time_level_event_account_and_request_id_first(heard: Heard) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    log_event(logging.WARNING, "store_lost", "gone:\nall of it", seconds=3, account="acct-1")
    [line] = heard.lines
    assert list(line)[:7] == ["schema", "time", "level", "event", "account", "request_id", "message"]
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert line == {
        "schema": 1,
        "level": "warning",
        "event": "cidrgate.store_lost",
        "account": "acct-1",
        "request_id": None,
        "message": r"gone:\nall of it",
        "seconds": 3,
        "logger": "cidrgate",
    }


@pytest.mark.parametrize("name", ["a\nb", 'a", "event": "x', "\u2028", "\ud800", "\x00"])
def test_nothing_that_is_logged_starts_a_line_of_its_own(name: str) -> None:
    record = logging.LogRecord("a.logger", logging.ERROR, "", 0, "said %s", (name,), None)
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == f"said {name}"
    assert json.loads(line)["event"] == "message"


FORGED = '{"schema": 1, "event": "cidrgate.decision", "result": "allowed", "account": "victim"}'
BREAKS = ("\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")


class Plain(logging.Handler):
    """Lines of a formatter that an application may have."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += self.format(record).splitlines()


@pytest.fixture
def plain() -> Iterator[Plain]:
    logger, handler = logging.getLogger("cidrgate"), Plain()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def failing(kind: str, text: str) -> BaseException:
    """Return an exception with a text, in each of the places where a traceback shows one."""
    try:
        try:
            raise LookupError(text)
        except LookupError as first:
            if kind == "cause":
                raise OSError("no list") from first
            if kind == "context":
                raise OSError("no list")  # noqa: B904 - the context is meant
            if kind == "group":
                raise ExceptionGroup("two", [first, OSError(text)]) from None
            if kind == "note":
                first.add_note(text)
            raise
    except Exception as error:  # noqa: BLE001
        return error


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("kind", ["alone", "cause", "context", "group", "note"])
def test_no_text_of_an_exception_starts_a_line_of_plain_text(plain: Plain, kind: str, line_break: str) -> None:
    error = failing(kind, f"no customer for /x{line_break}{FORGED}")
    log_event(logging.ERROR, "task_failed", f"it failed: {error}", exc_info=error)
    assert sum(FORGED in line for line in plain.lines) >= 1
    assert not any(line.lstrip().startswith(FORGED[0]) for line in plain.lines)
    assert sum(line.startswith("Traceback") for line in plain.lines) == (1 if kind in {"alone", "note"} else 2)
    assert f"in {failing.__name__}" in "".join(plain.lines)


@pytest.mark.parametrize("line_break", BREAKS)
def test_no_request_starts_a_line_of_plain_text_by_the_error_that_it_causes(plain: Plain, line_break: str) -> None:
    gate = Gate(Matcher(), unlisted="allow")
    for _ in range(2):
        failure = LookupError(f"no customer for /x{line_break}{FORGED}")
        assert gate.decide(None, "9.9.9.9", failure=failure).reason == "error"
    gate.flush_log()
    assert [line for line in plain.lines if line.startswith(FORGED[0])] == []
    assert any("again 1 times: LookupError: no customer for /x\\" in line for line in plain.lines)


def test_the_line_about_repeated_errors_is_short(plain: Plain) -> None:
    gate = Gate(Matcher(), unlisted="allow")
    for _ in range(2):
        gate.decide(None, "9.9.9.9", failure=LookupError("x" * 60_000))
    gate.flush_log()
    [repeated] = [line for line in plain.lines if "again 1 times" in line]
    assert len(repeated) < 1_000


def test_a_decision_has_no_control_character(heard: Heard) -> None:
    Gate(Matcher(), unlisted="allow").decide("a\x7f\x1b\x9f", "9.9.9.9")
    [line] = heard.of("decision")
    assert line["account"] == "a\x7f\x1b\x9f"
    assert "\x7f" not in json_line(0.0, logging.ERROR, "message", {"account": "\x7f"})


def test_an_exception_without_a_text_can_be_logged(plain: Plain) -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError

    log_event(logging.ERROR, "task_failed", "it failed", exc_info=BrokenError())
    assert [line.partition(":")[0].rpartition(".")[2] for line in plain.lines][1:] == ["BrokenError"]


def chained(length: int, link: str) -> Exception:
    """Return the last of a chain of exceptions, each linked with the one before it."""
    error = LookupError("0")
    for number in range(1, length):
        later = LookupError(f"{number}")
        setattr(later, link, error)
        error = later
    return error


def nested(depth: int) -> Exception:
    """Return a group in a group, and so on, around an exception."""
    error: Exception = LookupError("0")
    for number in range(1, depth):
        error = ExceptionGroup(f"{number}", [error])
    return error


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_a_long_chain_of_exceptions_is_logged_whole(plain: Plain, link: str) -> None:
    log_event(logging.ERROR, "task_failed", "it failed", exc_info=chained(3_000, link))
    assert plain.lines[0].endswith(" it failed")
    assert [line for line in plain.lines if line.startswith("LookupError")] == [
        f"LookupError: {n}" for n in range(3_000)
    ]


@pytest.mark.parametrize("shape", ["__cause__", "__context__", "groups"])
def test_each_exception_of_a_chain_is_read_once_for_each_form_of_the_log(
    plain: Plain, heard: Heard, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    """The work grows with the length of the chain, not with its square."""
    read, length = 0, 300
    read_exception = traceback.TracebackException.__init__

    def counting(self: traceback.TracebackException, *arguments: Any, **more: Any) -> None:
        nonlocal read
        read += 1
        read_exception(self, *arguments, **more)

    monkeypatch.setattr(traceback.TracebackException, "__init__", counting)
    error = nested(length) if shape == "groups" else chained(length, shape)
    log_event(logging.ERROR, "task_failed", "it failed", exc_info=error)
    assert len(plain.lines) > length
    assert heard.one("task_failed")["traceback"]
    assert read == 2 * length


def linked(shape: str) -> BaseException:
    """Return an exception with others, in the shape of that name."""
    first, second, third = (LookupError(name) for name in ("first", "second", "third"))
    group = ExceptionGroup("group", [first, second])
    match shape:
        case "group in a chain":
            third.__cause__ = group
            return third
        case "chain in a group":
            first.__context__ = third
            return group
        case "chain in a group in a chain":
            second.__cause__ = third
            last = LookupError("last")
            last.__context__ = group
            return last
        case "cycle":
            first.__context__, second.__context__, third.__context__ = second, third, first
            return first
        case "cycle through a group":
            first.__context__ = group
            return group
        case "suppressed":
            first.__context__, first.__suppress_context__ = second, True
            return first
        case _:
            first.__context__, first.__cause__ = second, third
            return first


SHAPES = {
    "group in a chain": ["group", "first", "second", "third"],
    "chain in a group": ["group", "third", "first", "second"],
    "chain in a group in a chain": ["group", "first", "third", "second", "last"],
    "cycle": ["third", "second", "first"],
    "cycle through a group": ["group", "first", "second"],
    "suppressed": ["first"],
    "cause before context": ["third", "first"],
}
"""Shapes of linked exceptions, and the order in which a traceback shows these."""


@pytest.mark.parametrize("shape", SHAPES)
def test_linked_exceptions_are_logged_in_the_order_of_python(plain: Plain, shape: str) -> None:
    error = linked(shape)
    log_event(logging.ERROR, "task_failed", "it failed", exc_info=error)
    names = re.compile(r"(?:LookupError|ExceptionGroup): (\w+)")
    assert [found[1] for found in map(names.match, plain.lines) if found] == SHAPES[shape]
    assert names.findall("".join(traceback.format_exception(error))) == SHAPES[shape]


def test_a_group_in_a_thousand_groups_is_logged(plain: Plain) -> None:
    log_event(logging.ERROR, "task_failed", "it failed", exc_info=nested(2_000))
    assert plain.lines[-1] == "LookupError: 0"


def test_a_traceback_is_a_part_of_its_line(heard: Heard) -> None:
    try:
        raise OSError("the disk is full")
    except OSError:
        log_event(logging.ERROR, "fork_unsafe", "it broke", exc_info=True)
    [line] = heard.lines
    assert line["traceback"].splitlines()[-1] == "OSError: the disk is full"


def test_embedded_a_record_is_plain_text_with_the_event_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    log_event(logging.WARNING, "store_lost", "the store cannot be reached", seconds=3)
    [record] = caplog.records
    assert record.getMessage() == "the store cannot be reached"
    assert record.cidrgate == {"event": "cidrgate.store_lost", "seconds": 3}  # type: ignore[attr-defined]
    assert Path(record.pathname) == Path(__file__)  # where it was said, not where records are made


def test_errors_that_nothing_catches_are_lines_too() -> None:
    """In every thread, and where logging itself fails."""
    code = """
import logging, threading, warnings
from cidrgate.event_log import log_to_stderr
log_to_stderr()
logging.getLogger("other").warning("%d", "no number")
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start(); thread.join()
class Ending:
    def __del__(self): raise OSError("not closed")
Ending()
def end(): raise LookupError("nothing\\nhere")
end()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert {(line["schema"], line["event"]) for line in lines} == {(1, "message")}
    for line, said in zip(
        lines, ["could not be logged", "old", "the thread worker ends", "Ending", "nothing"], strict=True
    ):
        assert said in line["message"], line
    kinds = [line["traceback"].splitlines()[-1].partition(":")[0] for line in lines if "traceback" in line]
    assert kinds == ["TypeError", "ZeroDivisionError", "OSError", "LookupError"] or kinds[-1] == "here"


# ------------------------------------------------------------------------------------------- what there is


def emitted() -> set[str]:
    """The names of events that stand in the sources."""
    texts = {
        node.value
        for path in SOURCES
        if path.name != "event_log.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return texts & set(get_args(Event))


def test_events_that_are_listed_are_emitted() -> None:
    assert emitted() | {"message"} == set(get_args(Event))


def test_there_is_one_place_that_writes_records() -> None:
    methods = {"debug", "info", "warning", "error", "exception", "critical", "log"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
                of = ast.unparse(node.func.value)
                assert "log" not in of.lower() or path.name == "event_log.py", f"{path}: {ast.unparse(node)}"


def test_every_event_is_documented() -> None:
    page = DOCUMENTED.read_text()
    rows = re.findall(r"^\| (`cidrgate\.\w+`(?:, `cidrgate\.\w+`)*|`message`) \|", page, re.MULTILINE)
    documented = {name.removeprefix("cidrgate.") for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    assert set(get_args(Event)) <= documented


# ---------------------------------------------------------------------------------- causes, in this process


def test_decisions(heard: Heard) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    gate = Gate(matcher, unlisted="allow", request_id_header="x-request-id")
    for _ in range(3):
        gate.decide("acct-1", "9.9.9.9", [(b"x-request-id", b"req-1")])
    gate.flush_log()
    decision, summary = heard.lines
    assert (decision["event"], decision["account"], decision["request_id"]) == (
        "cidrgate.decision",
        "acct-1",
        "req-1",
    )
    assert (decision["reason"], decision["address"], "message" in decision) == ("not_listed", "9.9.9.9", False)
    assert (summary["event"], summary["repeated"], summary["address"]) == (
        "cidrgate.decisions_suppressed",
        2,
        "9.9.9.9",
    )


def test_a_hook_that_breaks_for_each_request_writes_no_traceback_for_each(heard: Heard) -> None:
    def broken(_: object) -> None:
        raise OSError("the disk is full")

    gate = Gate(Matcher(), unlisted="allow", hooks=[broken])
    for number in range(1000):
        assert gate.decide(f"acct-{number}", "9.9.9.9").allowed
    gate.flush_log()
    first, summary = heard.of("decision_failed")
    assert "OSError: the disk is full" in first["traceback"]
    assert (summary["repeated"], "traceback" in summary) == (999, False)
    assert "the disk is full" in summary["message"]


def test_a_server_that_rewrites_peers(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._advice_given", threading.Event())
    Gate(Matcher(), unlisted="allow").decide("acct-1", "9.9.9.9", [(b"x-forwarded-for", b"9.9.9.9")])
    assert heard.one("peer_rewritten")["level"] == "warning"


def test_a_server_that_may_take_an_alias_for_the_header_of_a_proxy(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._told_of_aliases", threading.Event())
    gate = Gate(Matcher(), unlisted="allow", resolver=ClientIPResolver(trusted_proxies=["10.0.0.1/32"]))
    for _ in range(2):
        gate.decide("acct-1", "10.0.0.1", [(b"x-forwarded-for", b"9.9.9.9")], aliases=True)
    said = heard.one("aliases_possible")
    assert said["level"] == "warning"
    for word in ("gunicorn", "waitress", "allow_aliases=True", "ALLOW_ALIASES"):
        assert word in said["message"]


def test_a_proxy_whose_header_is_missing(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._told_of_missing_headers", threading.Event())
    gate = Gate(Matcher(), unlisted="allow", resolver=ClientIPResolver(trusted_proxies=["10.0.0.1/32"]))
    for _ in range(2):
        gate.decide("acct-1", "10.0.0.1")
    said = heard.one("client_header_missing")
    assert said["level"] == "warning"
    assert "--no-clear-untrusted-proxy-headers" in said["message"]


def test_a_route_that_a_guard_cannot_see(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._told_of_unseen_routes", threading.Event())
    for _ in range(2):
        advise_about_unseen_routes()
    said = heard.one("route_unseen")
    assert said["level"] == "warning"
    assert "Depends itself" in said["message"]


def test_a_header_of_a_proxy_that_may_be_a_trailer(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._told_of_trailers", threading.Event())
    gate = Gate(Matcher(), unlisted="allow", resolver=ClientIPResolver(trusted_proxies=["10.0.0.1/32"]))
    line = (b"x-forwarded-for", b"9.9.9.9")
    for _ in range(2):
        gate.decide("acct-1", "10.0.0.1", [(b"transfer-encoding", b"chunked"), line, line])
    said = heard.one("trailers_possible")
    assert said["level"] == "warning"
    for word in ("--http h11", "set-header", "http-drop-request-trailers"):
        assert word in said["message"]


def test_a_file_that_everybody_can_read(tmp_path: Path, heard: Heard) -> None:
    path = tmp_path / "lists.db"
    open_store(path, create=True).close()
    path.chmod(0o644)
    with RuleManager.open(path):
        assert "chmod o=" in heard.one("store_exposed")["message"]


def test_a_server_that_is_stopped_and_comes_back(postgres_server: PostgresServer, heard: Heard) -> None:
    with RuleManager.open(postgres_server.new_database(), max_staleness=0.5):
        postgres_server.stop("fast")
        try:
            lost = heard.one("store_lost")
            stale = heard.one("lists_stale")
        finally:
            postgres_server.start()
        back = heard.one("store_back")
        heard.one("lists_current")
    assert (lost["level"], stale["level"], back["level"]) == ("warning", "warning", "info")
    assert stale["seconds"] > stale["allowed"] == 0.5
    assert (back["after"], back["seconds"] > 0) == ("cidrgate.store_lost", True)
    order = [line["event"].removeprefix("cidrgate.") for line in heard.lines]
    assert order.index("store_lost") < order.index("lists_stale") < order.index("lists_current")


def test_a_network_that_is_cut(postgres_url: str, shared_postgres_server: PostgresServer, heard: Heard) -> None:
    """Nobody is told that the server is gone; the lists grow old, and that is said in time."""
    port = shared_postgres_server.port
    with TcpProxy(("127.0.0.1", port)) as proxy:
        url = postgres_url.replace(f":{port}/", f":{proxy.port}/")
        with RuleManager.open(url, max_staleness=1.0):
            proxy.cut()
            heard.one("lists_stale")
            proxy.heal()
            heard.one("lists_current")


def test_a_file_that_is_replaced(tmp_path: Path, heard: Heard) -> None:
    path = tmp_path / "lists.db"
    open_store(tmp_path / "new.db", create=True).close()
    with RuleManager.open(path, create=True):
        (tmp_path / "new.db").replace(path)
        assert "replaced" in heard.one("store_lost")["message"]


def test_a_change_that_cannot_be_read_again(
    postgres_url: str, shared_postgres_server: PostgresServer, heard: Heard
) -> None:
    port = shared_postgres_server.port
    with (
        TcpProxy(("127.0.0.1", port)) as proxy,
        RuleManager.open(postgres_url.replace(f":{port}/", f":{proxy.port}/"), follow=False) as manager,
    ):
        manager.create_account("acct-1")
        proxy.drop_at(b"json_object_agg", deliver=False)
        manager.add("acct-1", "8.8.8.0/24")
        assert proxy.trapped == 1
        heard.one("publication_delayed")
        eventually(lambda: not manager.allows("acct-1", "9.9.9.9"))  # it was stored, and is read soon


def test_what_is_done_now_and_then_meets_a_lock(tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.replica.follower._HOUSEKEEPING_PAUSE", 0.01)
    monkeypatch.setattr("cidrgate.replica.follower._LONGEST_RETRY", 0.5)
    path = tmp_path / "lists.db"
    with RuleManager.open(path, create=True, lock_timeout=0.05) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        published = manager._replica.published

        def look() -> object:
            return published.on_behind is not None and published.on_behind()

        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            manager._matches.note("acct-1", "8.8.8.0/24")
            eventually(lambda: not look() and bool(heard.of("task_failed")))
            other.execute("ROLLBACK")
        assert heard.of("task_failed")[0]["level"] == "warning"
        eventually(lambda: not look() and bool(heard.of("works_again")))
        assert heard.of("works_again")[0]["after"] == "cidrgate.task_failed"


def test_a_shared_snapshot_is_written_and_taken_over(tmp_path: Path, heard: Heard) -> None:
    path, snapshot = tmp_path / "lists.db", tmp_path / "lists.snapshot"
    with (
        RuleManager.open(path, create=True, snapshot=snapshot, refresh_snapshot=0.01) as manager,
        RuleManager.open(path, snapshot=snapshot),
    ):
        manager.create_account("acct-1")
        assert heard.one("snapshot_written")["path"] == str(snapshot)
        assert heard.one("snapshot_shared")["path"] == str(snapshot)


def test_a_snapshot_that_is_none(tmp_path: Path, heard: Heard) -> None:
    snapshot = tmp_path / "lists.snapshot"
    snapshot.write_bytes(b"none of ours")
    with RuleManager.open(tmp_path / "lists.db", create=True, snapshot=snapshot):
        assert heard.one("snapshot_refused")["path"] == str(snapshot)


def test_a_snapshot_that_is_damaged_while_it_is_shared(tmp_path: Path, heard: Heard) -> None:
    snapshot = tmp_path / "lists.snapshot"
    with RuleManager.open(tmp_path / "lists.db", create=True, snapshot=snapshot) as manager:
        snapshot.write_bytes(b"none of ours")
        manager.create_account("acct-1")
        assert "cannot be used" in heard.one("snapshot_refused")["message"]


def test_a_snapshot_that_cannot_be_written(tmp_path: Path, heard: Heard) -> None:
    snapshot = tmp_path / "lists.snapshot"
    Path(f"{snapshot}.lock").mkdir()
    path = tmp_path / "lists.db"
    with RuleManager.open(path, create=True, snapshot=snapshot, refresh_snapshot=0.01) as manager:
        manager.create_account("acct-1")
        assert heard.one("snapshot_failed")["level"] == "warning"


def test_a_clock_that_goes_back(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    class Set(datetime):
        ahead = timedelta(hours=1)

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + cls.ahead

    with RuleManager.open("memory://", follow=False) as manager:
        monkeypatch.setattr("cidrgate.replica.published_store.datetime", Set)
        manager._replica.published.expire()
        Set.ahead = timedelta(microseconds=-1)
        manager._replica.published.expire()
        Set.ahead = timedelta(microseconds=-900_000)  # as clocks are kept in time
        manager._replica.published.expire()
    [line] = heard.of("clock_went_back")
    assert 3590 < line["seconds"] <= 3601


def test_a_process_with_another_policy_than_the_store(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.manager.policies._said", set())  # another test of the process may have heard it
    url = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(url, create=True, follow=False) as manager:
        manager.set_policy(max_entries=20)
    for policy in (Policy(), Policy(max_entries=20), Policy(max_entries=10), Policy(max_entries=10)):
        RuleManager.open(url, policy=policy, load=False).close()
    [line] = heard.of("policy_differs")
    assert (line["level"], "max_entries 20, which counts; 10 was given" in line["message"]) == ("warning", True)


def test_a_fork_that_cannot_wait_any_longer(tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_SQLITE_PATIENCE", 0.05)
    monkeypatch.setattr(forking, "_PATIENCE", 0.05)
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with forking.work():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(30)
    try:
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
    finally:
        leave.set()
        thread.join()
    assert heard.one("fork_unsafe")["level"] == "warning"


def test_a_follower_that_meets_a_bug(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.replica.follower._LONGEST_PAUSE", 0.05)
    with RuleManager.open("memory://") as manager:
        with monkeypatch.context() as broken:
            broken.setattr(manager._store, "watch", lambda: 1 / 0)
            broken.setattr("cidrgate.stores.sqlite.watch.SqliteWatch.wait", lambda *_: 1 / 0)
            manager.create_account("acct-1")
            failed = heard.one("follower_failed")
        assert (failed["level"], "ZeroDivisionError" in failed["traceback"]) == ("error", True)
        assert heard.one("works_again")["after"] == "cidrgate.follower_failed"


# -------------------------------------------------------------------------------------- causes, in servers


def lines_of(log: Path) -> list[dict[str, Any]]:
    """What a server has logged so far; every line is JSON."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def one_of(log: Path, event: Event) -> dict[str, Any]:
    eventually(lambda: any(line["event"] == event_name(event) for line in lines_of(log)), pause=0.02)
    return next(line for line in lines_of(log) if line["event"] == event_name(event))


@contextmanager
def a_service(url: str, log: Path, *arguments: str) -> Iterator[httpx.Client]:
    """A client of `cidrgate serve` that may do everything."""
    with closing(open_store(url)) as store:
        secret = Credentials(store).create_token("tester", [Scope("admin")]).secret
    with (
        log.open("w") as errors,
        a_server(url, *arguments, log=errors) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client,
    ):
        yield client


def test_the_service_says_why_it_refused_a_change(
    postgres_url: str, shared_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    log, port = tmp_path / "log", shared_postgres_server.port
    with RuleManager.open(postgres_url, load=False) as manager:
        manager.create_account("acct-1")
    entries = "/v1/accounts/acct-1/entries?confirm=lock_out"
    with TcpProxy(("127.0.0.1", port)) as proxy:
        behind = postgres_url.replace(f":{port}/", f":{proxy.port}/") + "?lock_timeout=0.2"
        with a_service(behind, log) as client:
            with psycopg.connect(postgres_url) as other:
                other.execute("SELECT 1 FROM cidrgate.accounts FOR UPDATE")
                refused = client.post(entries, json={"cidrs": "8.8.8.0/24"}, headers={"X-Request-ID": "req-1"})
                assert (refused.status_code, refused.json()["code"]) == (503, "store_busy")
            busy = one_of(log, "store_busy")
            proxy.drop_at(b"COMMIT\0", deliver=True)
            lost = client.post(entries, json={"cidrs": "8.8.8.0/24"})
            assert lost.json()["code"] == "outcome_unknown"
            unknown = one_of(log, "outcome_unknown")
            with psycopg.connect(postgres_url) as other:
                other.execute("ALTER TABLE cidrgate.entries RENAME TO gone")
                other.commit()
                assert client.post(entries, json={"cidrs": "9.9.9.0/24"}).json()["code"] == "store_unavailable"
                other.execute("ALTER TABLE cidrgate.gone RENAME TO entries")
            failed = one_of(log, "store_failed")
    assert (busy["account"], busy["request_id"], busy["method"]) == ("acct-1", "req-1", "POST")
    assert "process" in busy["message"]  # who holds the lock
    for line in (busy, unknown, failed):
        assert (line["level"], line["account"], line["logger"]) == ("error", "acct-1", "cidrgate.service")
        assert line["route"] == "/v1/accounts/{account_name}/entries"
    assert unknown["request_id"] == lost.headers["x-request-id"]
    assert all(isinstance(line["time"], str) for line in lines_of(log))


def test_the_service_says_that_its_lists_are_old(postgres_server: PostgresServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with a_service(postgres_server.new_database(), log, "--max-staleness", "0.5") as client:
        postgres_server.stop("fast")
        try:
            for event in ("store_lost", "lists_stale"):
                one_of(log, event)
            assert client.get("/readyz").status_code == 503
        finally:
            postgres_server.start()
        one_of(log, "lists_current")
        eventually(lambda: client.get("/readyz").status_code == 200, pause=0.05)


def workers_of(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def endpoint(url: str, folder: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """An authorize endpoint: its port, its process, and what it logs."""
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "cidrgate", "-d", url, "authorize", "--unlisted", "allow", "--port", str(port)]
    with running([*command, *options], folder, port, errors=log) as process:
        yield port, process, log


def ask_about(port: int, account: str, client: str) -> int:
    headers = [("X-Account", account), ("X-Forwarded-For", client), ("X-Request-ID", "req-1")]
    return ask(port, headers=headers, path="/v1/authorize").status


def test_every_worker_logs_in_the_one_format_and_completes_its_log(tmp_path: Path) -> None:
    with endpoint(database(tmp_path), tmp_path, "--workers", "2") as (port, process, log):
        eventually(lambda: ask_about(port, "acct-1", "127.0.0.2") == 200)
        for _ in range(20):
            assert ask_about(port, "acct-1", "127.0.0.9") == 403
        process.terminate()
        process.wait(30)
    lines = lines_of(log)
    written = [line for line in lines if line["event"] == "cidrgate.decision"]
    counted = [line for line in lines if line["event"] == "cidrgate.decisions_suppressed"]
    assert 1 <= len(written) <= 2
    assert len(written) + sum(line["repeated"] for line in counted) == 20
    assert {(line["account"], line["address"], line["request_id"]) for line in written + counted} == {
        ("acct-1", "127.0.0.9", "req-1")
    }


def test_a_worker_that_cannot_start_and_one_that_lost_its_supervisor(tmp_path: Path) -> None:
    url = database(tmp_path)
    with endpoint(url, tmp_path, "--workers", "2", "--metrics") as (port, process, log):
        eventually(lambda: b"cidrgate_followers 2.0" in ask(port, path="/metrics").body, pause=0.05)
        (tmp_path / "lists.db").rename(tmp_path / "away.db")
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        assert "lists.db" in one_of(log, "worker_failed")["message"]
        (tmp_path / "away.db").rename(tmp_path / "lists.db")
        eventually(lambda: b"cidrgate_followers 2.0" in ask(port, path="/metrics").body, pause=0.05)
        process.kill()
        assert one_of(log, "parent_lost")["level"] == "error"


def test_what_other_libraries_say_has_the_same_format(tmp_path: Path) -> None:
    """Here uvicorn, which cannot make its socket: as if the folder had gone after the path was checked."""
    code = (
        "from cidrgate.authorize import server; from cidrgate.cli import main; "
        "server.check_socket_path = lambda path: None; main()"
    )
    url = database(tmp_path)
    command = [sys.executable, "-c", code, "-d", url, "authorize", "--unlisted", "allow", "--workers", "2"]
    command += ["--uds", str(tmp_path / "no" / "authorize.sock")]
    done = output_of(command, text=True, timeout=60)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert any(line["event"] == "message" and "No such file or directory" in line["message"] for line in said)


def test_a_bug_in_the_service_has_the_same_format(tmp_path: Path) -> None:
    """The traceback that uvicorn writes is a part of its line."""
    code = (
        "import sys; from cidrgate.service.api import health; from cidrgate.cli import main; "
        "health.Answer = lambda *_: 1 / 0; main()"
    )
    url = database(tmp_path)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-c", code, "-d", url, "serve", "--port", str(port)]
    with running(command, tmp_path, port, errors=log):
        assert ask(port, path="/healthz").status == 500
        line = one_of(log, "message")
    assert (line["logger"], line["level"]) == ("uvicorn.error", "error")
    assert "ZeroDivisionError" in line["traceback"]


def test_the_service_completes_the_log_of_its_gates(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ["--authorize", "--unlisted", "allow", "--trusted-proxy", "127.0.0.1/32"]
    with a_service(database(tmp_path), log, *options) as client:
        for _ in range(5):
            headers = {"X-Account": "acct-1", "X-Forwarded-For": "127.0.0.9"}
            assert client.get("/v1/authorize", headers=headers).status_code == 403
    first, counted = lines_of(log)
    assert (first["event"], counted["event"], counted["repeated"]) == (
        "cidrgate.decision",
        "cidrgate.decisions_suppressed",
        4,
    )


@pytest.mark.parametrize(("error", "lines"), [("KeyboardInterrupt", 0), ("ValueError", 1)])
def test_what_a_library_logs_about_ctrl_c_is_no_error(error: str, lines: int) -> None:
    """SQLAlchemy logs every exception that ends the closing of a connection, and raises it again."""
    program = f"""
import logging
from cidrgate.event_log import log_to_stderr
log_to_stderr()
try:
    raise {error}
except BaseException:
    logging.getLogger("sqlalchemy.pool").error("Exception closing connection", exc_info=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == lines
