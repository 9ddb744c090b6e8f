"""The function of DuckDB answers from the lists it was registered with, whatever becomes of its connection."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.test_arrow_tables import matcher_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install duckdb")
for_duckdb = pytest.importorskip("cidrgate.arrow.duckdb")

STRICT = matcher_with(["8.8.8.0/24"])
WIDE = matcher_with(["0.0.0.0/0"])
QUESTION = "SELECT allows('acct-1', '9.9.9.9'), allows('acct-1', '8.8.8.8')"


def registered() -> Any:
    connection = duckdb.connect()
    for_duckdb.register(connection, STRICT)
    return connection


def prepared() -> Any:
    connection = registered()
    connection.execute(f"PREPARE asked AS {QUESTION}")
    for_duckdb.register(connection, STRICT)
    return connection


def rolled_back() -> Any:
    connection = registered()
    connection.execute("BEGIN")
    for_duckdb.register(connection, STRICT)
    connection.execute("ROLLBACK")
    return connection


def removal_rolled_back() -> Any:
    connection = registered()
    connection.execute("BEGIN")
    connection.remove_function("allows")
    connection.execute("ROLLBACK")
    return connection


def prepared_before_removal() -> Any:
    connection = registered()
    connection.execute(f"PREPARE asked AS {QUESTION}")
    connection.remove_function("allows")
    for_duckdb.register(connection, STRICT)
    return connection


def by_a_cursor_that_is_gone() -> Any:
    connection = duckdb.connect()
    for_duckdb.register(connection.cursor(), STRICT)
    return connection


def of_a_connection_that_is_gone() -> Any:
    return registered().cursor()


def of_a_file_that_another_connection_closed(folder: Path) -> Any:
    path = str(folder / "lists.duckdb")
    first = duckdb.connect(path)
    for_duckdb.register(first, STRICT)
    second = duckdb.connect(path)
    first.close()
    return second


PLACES: list[Callable[..., Any]] = [
    registered,
    prepared,
    rolled_back,
    removal_rolled_back,
    prepared_before_removal,
    by_a_cursor_that_is_gone,
    of_a_connection_that_is_gone,
    of_a_file_that_another_connection_closed,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_no_function_answers_from_other_lists(place: Callable[..., Any], tmp_path: Path) -> None:
    connection = place(tmp_path) if place is of_a_file_that_another_connection_closed else place()
    gc.collect()
    others = [duckdb.connect() for _ in range(20)]
    for other in others:
        for_duckdb.register(other, WIDE)
    question = "EXECUTE asked" if place.__name__.startswith("prepared") else QUESTION
    assert connection.execute(question).fetchall() == [(False, True)]


def test_a_function_without_its_lists_is_an_error() -> None:
    connection = duckdb.connect()
    matcher = matcher_with(["0.0.0.0/0"])
    for_duckdb.register(connection, matcher)
    gone = weakref.ref(matcher)
    del matcher
    cursor = connection.cursor()
    assert cursor.execute(QUESTION).fetchall() == [(True, True)]
    del connection
    gc.collect()
    assert gone() is None
    with pytest.raises(duckdb.Error, match="keep the matcher"):
        cursor.execute(QUESTION).fetchall()


def test_a_query_that_runs_while_its_function_is_registered_again_is_answered() -> None:
    connection = registered()
    connection.execute("CREATE TABLE asked AS SELECT 'acct-1' AS account, '9.9.9.9' AS address FROM range(300000)")
    cursor = connection.cursor()
    counts: list[Any] = []
    question = "SELECT count(*) FROM asked WHERE allows(account, address)"
    asker = threading.Thread(
        target=lambda: counts.extend(cursor.execute(question).fetchall() for _ in range(3)), daemon=True
    )
    asker.start()
    while asker.is_alive():
        for_duckdb.register(connection, matcher_with(["8.8.8.0/24"]))
    asker.join()
    assert counts == [[(0,)]] * 3


def test_a_second_call_replaces_the_function_of_the_first() -> None:
    question = "SELECT allows('acct-1', '8.8.8.8'), other('acct-1', '8.8.8.8')"
    with duckdb.connect() as made:
        for lists, answer in ((["8.8.8.0/24"], True), (["9.9.9.0/24"], False), (["8.0.0.0/8"], True)):
            for name in ("allows", "other"):
                for_duckdb.register(made, matcher_with(lists), name)
            assert made.sql(question).fetchall() == [(answer, answer)]


def test_a_second_call_replaces_the_lists_of_a_prepared_statement() -> None:
    with registered() as made:
        made.execute(f"PREPARE asked AS {QUESTION}")
        assert made.execute("EXECUTE asked").fetchall() == [(False, True)]
        for_duckdb.register(made, WIDE)
        assert made.execute("EXECUTE asked").fetchall() == [(True, True)]


def remove(connection: Any) -> None:
    connection.remove_function("allows")


def remove_in_another_case(connection: Any) -> None:
    connection.remove_function("ALLOWS")


def roll_back(connection: Any) -> None:
    connection.remove_function("allows")
    connection.execute("BEGIN")
    for_duckdb.register(connection, WIDE)
    connection.execute("ROLLBACK")


def keep(connection: Any) -> None:
    assert connection.sql(QUESTION).fetchall() == [(True, True)]


@pytest.mark.parametrize("name", ["allows", "Allows"])
@pytest.mark.parametrize("change", [keep, remove, remove_in_another_case, roll_back])
def test_what_duckdb_has_decides_whether_a_function_is_added(change: Callable[[Any], None], name: str) -> None:
    with duckdb.connect() as made:
        for_duckdb.register(made, WIDE)
        change(made)
        for lists, answers in ((["8.8.8.0/24"], (False, True)), (["9.9.9.9/32"], (True, False))):
            for_duckdb.register(made, matcher_with(lists), name)
            gc.collect()
            assert made.sql(QUESTION).fetchall() == [answers]


def test_a_transaction_that_registers_goes_on() -> None:
    with registered() as made:
        made.execute("BEGIN")
        made.execute("CREATE TABLE asked AS SELECT '9.9.9.9' AS address")
        for_duckdb.register(made, WIDE)
        for_duckdb.register(made, WIDE, "other")
        with pytest.raises(duckdb.Error):
            for_duckdb.register(made, WIDE, "sum")
        assert made.execute("SELECT allows('acct-1', address), other('acct-1', address) FROM asked").fetchall() == [
            (True, True)
        ]
        made.execute("COMMIT")
        assert made.execute("SELECT count(*) FROM asked").fetchall() == [(1,)]


@pytest.mark.parametrize("name", ["mine", "Mine", "same", "sum", "upper", "Contains", "macro", 'a "quoted" one'])
def test_another_function_of_the_name_is_an_error(name: str) -> None:
    questions = ["SELECT mine('a')", "SELECT same('a', 'b')", "SELECT upper('a')", "SELECT macro('a', 'b')"]
    with duckdb.connect() as made:
        for other in ("mine", 'A "quoted" one'):
            made.create_function(other, lambda one: one, ["VARCHAR"], "VARCHAR")
        made.create_function("same", lambda one, two: one < two, ["VARCHAR"] * 2, "BOOLEAN", side_effects=True)
        made.execute("CREATE MACRO macro(one, two) AS true")
        before = [made.sql(question).fetchall() for question in questions]
        for _ in range(2):
            with pytest.raises(duckdb.Error):
                for_duckdb.register(made, WIDE, name)
        assert [made.sql(question).fetchall() for question in questions] == before
        with pytest.raises(duckdb.Error):
            made.sql("SELECT upper('acct-1', '8.8.8.8')").fetchall()


def test_the_function_of_another_connection_is_not_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "lists.duckdb")
    with duckdb.connect(path) as first, duckdb.connect(path) as second:
        for_duckdb.register(first, STRICT)
        for other in (first.cursor(), second):
            with pytest.raises(duckdb.Error):
                for_duckdb.register(other, WIDE)
            assert other.sql(QUESTION).fetchall() == [(False, True)]


@pytest.mark.parametrize(
    "value",
    [
        "3087859744::HUGEINT",
        "42540766411282592856903984951653826561::HUGEINT",
        "'00001000000010000000100000000101'::BIT",
        "'20010db8-1234-4bcd-8123-0123456789ab'::UUID",
        "'\"acct-1\"'::JSON",
    ],
)
def test_columns_of_duckdb_that_store_something_else_are_refused(value: str) -> None:
    with duckdb.connect() as made:
        made.execute("SET arrow_lossless_conversion = true")
        for columns in (f"'acct-1' AS account, {value} AS address", f"{value} AS account, '8.8.8.8' AS address"):
            with pytest.raises(TypeError, match="extension type 'arrow"):
                WIDE.allows_arrow(made.sql(f"SELECT {columns}"))


@pytest.mark.parametrize("connection", ["duckdb.default_connection()", "builtins.kept"])
def test_a_function_of_a_connection_that_nobody_closes_lasts_until_the_process_ends(connection: str) -> None:
    program = f"""
import builtins, duckdb
from cidrgate import Matcher
from cidrgate.arrow.duckdb import register
builtins.kept = duckdb.connect()
for lists in (["8.8.8.0/24"], ["9.9.9.0/24"]):
    matcher = Matcher()
    matcher.publish("acct-1", lists)
    register({connection}, matcher)
del matcher
print({connection}.sql("SELECT allows('acct-1', '8.8.8.8'), allows('acct-1', '9.9.9.9')").fetchall())
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[(False, True)]\n", "")
