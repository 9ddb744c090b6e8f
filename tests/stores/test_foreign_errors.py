"""What a signal handler raises comes out as it is, and is called no error of the store."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Integer, TypeDecorator, bindparam, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from cidrgate import OutcomeUnknownError, StoreError
from cidrgate.stores.postgres.failures import explained
from cidrgate.stores.sqlite import SqliteStore
from cidrgate.stores.writes import Writes
from tests.interruptions import Alarm, in_another_thread

if TYPE_CHECKING:
    from pathlib import Path


class Interrupted(TypeDecorator[int]):
    """A parameter at whose preparation a signal handler raises an exception."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, _value: object, _dialect: object) -> int:
        raise Alarm


def prepare_statement() -> None:
    with create_engine("sqlite://").connect() as connection:
        connection.execute(select(bindparam("number", type_=Interrupted)), {"number": 1})


def test_an_exception_at_the_preparation_of_a_statement_is_no_error_of_the_database() -> None:
    with pytest.raises(SQLAlchemyError):  # who does not look closely takes it for one
        prepare_statement()
    with pytest.raises(Alarm) as raised, explained("the store"):
        prepare_statement()
    assert raised.value.__cause__ is None


def test_a_sqlite_store_passes_it_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "lists.db", create=True)
    with pytest.raises(Alarm), store.read():
        prepare_statement()
    store.close()


def test_an_error_of_the_database_is_one() -> None:
    connection = create_engine("sqlite://").connect()
    with closing(connection), pytest.raises(StoreError, match="no such table"), explained("the store"):
        connection.exec_driver_sql("SELECT * FROM missing")


def commit(error: Exception) -> None:
    def fail() -> None:
        raise error

    connection: Any = SimpleNamespace(commit=fail)
    writes = Writes("the store", lambda _: None, lambda _: False)
    with writes.one() as write:
        writes.commit(write, connection)


def test_an_exception_of_a_signal_handler_during_a_commit_is_raised_as_it_is() -> None:
    with pytest.raises(Alarm):
        commit(Alarm())


def test_another_error_of_a_commit_says_that_the_outcome_is_unknown() -> None:
    with pytest.raises(OutcomeUnknownError):
        commit(SQLAlchemyError("the connection is lost"))

    def elsewhere() -> str:
        try:
            commit(MemoryError())
        except OutcomeUnknownError:
            return "unknown"
        return ""

    assert in_another_thread(elsewhere) == "unknown"
