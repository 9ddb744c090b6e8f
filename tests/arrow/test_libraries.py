"""polars, DuckDB and pandas answer for each row as the matcher does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from cidrgate.arrow import pandas as for_pandas, polars as for_polars
from tests.engine.test_arrow_tables import ACCOUNTS, expected, matcher_with
from tests.strategies import address_texts, addresses_near

if TYPE_CHECKING:
    from collections.abc import Iterator

duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install duckdb")

PREFIXES = ["8.8.8.0/24", "8.9.0.0/16", "1.1.1.1/32", "2606:4700::/32", "2620:fe::9/128"]
MATCHER = matcher_with(PREFIXES)
near = addresses_near(PREFIXES)
ROWS = st.lists(
    st.tuples(st.sampled_from([*ACCOUNTS, None]), st.one_of(near, near, near, address_texts, st.none())), max_size=100
)


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    from cidrgate.arrow import duckdb as for_duckdb

    with duckdb.connect() as made:
        for_duckdb.register(made, MATCHER)
        yield made


def table_of(rows: list[tuple[str | None, str | None]]) -> Any:
    accounts, addresses = ([row[place] for row in rows] for place in (0, 1))
    return pa.table({"account": pa.array(accounts, pa.string()), "address": pa.array(addresses, pa.string())})


@given(rows=ROWS)
def test_polars_answers_as_the_matcher(rows: list[tuple[str | None, str | None]]) -> None:
    answers = [expected(MATCHER, *row) for row in rows]
    frame = pl.DataFrame(table_of(rows))
    assert frame.select(for_polars.allows(MATCHER)).to_series().to_list() == answers
    lazy = frame.lazy().with_columns(pl.col("account").cast(pl.Categorical))
    asked = lazy.with_columns(for_polars.allows(MATCHER, pl.col("account"), pl.col("address")))
    assert asked.collect().get_column("allowed").to_list() == answers
    assert asked.collect(engine="streaming").get_column("allowed").to_list() == answers
    one = [expected(MATCHER, "acct-1", address) for _, address in rows]
    assert frame.select(for_polars.allows(MATCHER, pl.lit("acct-1"))).to_series().to_list()[: len(rows)] == one


@given(rows=ROWS)
def test_pandas_answers_as_the_matcher(rows: list[tuple[str | None, str | None]]) -> None:
    answers = [expected(MATCHER, *row) for row in rows]
    frame = table_of(rows).to_pandas()
    frame.index = pd.Index(range(7, 7 + len(rows)))
    asked = for_pandas.allows(MATCHER, frame)
    assert (asked.tolist(), asked.index.tolist(), asked.dtype) == (answers, frame.index.tolist(), bool)
    others = frame.astype({"account": "category", "address": object})
    assert for_pandas.allows(MATCHER, others).tolist() == answers


@given(rows=ROWS)
def test_duckdb_answers_as_the_matcher(connection: Any, rows: list[tuple[str | None, str | None]]) -> None:
    answers = [expected(MATCHER, *row) for row in rows]
    connection.register("logs", table_of(rows))
    assert [row[0] for row in connection.sql("SELECT allows(account, address) FROM logs").fetchall()] == answers
    [(denied,)] = connection.sql("SELECT count(*) FROM logs WHERE NOT allows(account, address)").fetchall()
    assert denied == answers.count(False)
    [(alone,)] = connection.sql("SELECT count(*) FROM logs WHERE allows('acct-1', address)").fetchall()
    assert alone == sum(expected(MATCHER, "acct-1", address) for _, address in rows)


def test_a_change_of_a_list_counts_for_the_next_query(connection: Any) -> None:
    from cidrgate.arrow import duckdb as for_duckdb

    matcher = matcher_with(PREFIXES)
    for_duckdb.register(connection, matcher, "allows_now")
    question = "SELECT allows_now('acct-1', '9.9.9.9')"
    assert connection.sql(question).fetchall() == [(False,)]
    matcher.publish("acct-1", ["9.9.9.0/24"])
    assert connection.sql(question).fetchall() == [(True,)]


def test_a_column_of_another_type_is_an_error(connection: Any) -> None:
    frame = pd.DataFrame({"account": [1], "address": ["8.8.8.8"]})
    with pytest.raises(TypeError, match="accounts must be"):
        for_pandas.allows(MATCHER, frame)
    with pytest.raises(Exception, match="accounts must be"):
        pl.DataFrame({"account": [1], "address": ["8.8.8.8"]}).select(for_polars.allows(MATCHER))
    with pytest.raises(KeyError):
        for_pandas.allows(MATCHER, frame, address="nowhere")


def test_a_column_of_a_name_that_several_have_is_an_error() -> None:
    frame = pd.DataFrame([["acct-1", "acct-2", "8.8.8.8"]], columns=["account", "account", "address"])
    with pytest.raises(KeyError, match="2 columns 'account'"):
        for_pandas.allows(MATCHER, frame)
    arrays = [pa.array([one]) for one in frame.iloc[0]]
    table = pa.table(arrays, names=list(frame.columns))
    for one in (frame, table, table.to_batches()[0]):
        with pytest.raises(KeyError, match="2 columns 'account'"):
            MATCHER.allows_arrow(one)
        with pytest.raises(KeyError, match="no column 'nowhere'"):
            MATCHER.allows_arrow(one, account="nowhere")


def test_columns_beside_may_be_anything() -> None:
    frame = pd.DataFrame(
        [["acct-1", "8.8.8.8", object(), 1], ["acct-1", "9.9.9.9", object(), 2]],
        columns=["account", "address", "other", "other"],
    )
    assert MATCHER.allows_arrow(frame).to_pylist() == [True, False]
    assert for_pandas.allows(MATCHER, frame).tolist() == [True, False]
    assert MATCHER.allows_arrow(frame, account="address").to_pylist() == [True, True]


def test_a_second_call_replaces_the_function_of_the_first() -> None:
    from cidrgate.arrow import duckdb as for_duckdb

    question = "SELECT allows('acct-1', '8.8.8.8'), other('acct-1', '8.8.8.8')"
    with duckdb.connect() as made:
        for lists, answer in ((["8.8.8.0/24"], True), (["9.9.9.0/24"], False), (["8.0.0.0/8"], True)):
            for name in ("allows", "other"):
                for_duckdb.register(made, matcher_with(lists), name)
            assert made.sql(question).fetchall() == [(answer, answer)]
        made.create_function("mine", lambda one: one, ["VARCHAR"], "VARCHAR")
        for name in ("mine", "sum"):
            with pytest.raises(duckdb.Error):
                for_duckdb.register(made, MATCHER, name)
        assert made.sql("SELECT mine('a')").fetchall() == [("a",)]
