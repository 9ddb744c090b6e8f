"""polars, DuckDB and pandas answer for each row as the matcher does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

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

    from cidrgate import Matcher

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


QUESTIONS = [
    "SELECT allows_now('acct-1', '9.9.9.9')",
    "SELECT allows_now('acct-1', address) FROM asked",
    "SELECT allows_now(account, '9.9.9.9') FROM asked",
    "SELECT allows_now(account, address) FROM asked",
    "SELECT count(*) > 0 FROM asked WHERE allows_now('acct-1', '9.9.9.9')",
    "SELECT allowed FROM (SELECT allows_now(account, address) AS allowed FROM asked) WHERE allowed IS NOT NULL",
    "SELECT allowed FROM answered",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_change_of_a_list_counts_for_every_query_that_follows(question: str) -> None:
    from cidrgate.arrow import duckdb as for_duckdb

    matcher = matcher_with(PREFIXES)
    with duckdb.connect() as connection:
        for_duckdb.register(connection, matcher, "allows_now")
        connection.execute("CREATE TABLE asked AS SELECT 'acct-1' AS account, '9.9.9.9' AS address")
        connection.execute("CREATE VIEW answered AS SELECT allows_now('acct-1', '9.9.9.9') AS allowed")
        connection.execute(f"PREPARE asked_again AS {question}")
        relation = connection.sql(question)
        assert connection.execute("EXECUTE asked_again").fetchall() == relation.fetchall() == [(False,)]
        for prefixes, answer in ((["9.9.9.0/24"], True), (PREFIXES, False), (["9.9.9.9/32"], True)):
            matcher.publish("acct-1", prefixes)
            assert connection.sql(question).fetchall() == [(answer,)]
            assert connection.execute("EXECUTE asked_again").fetchall() == [(answer,)]


def test_a_query_that_uses_the_column_of_a_subquery_twice_has_one_answer_for_a_row() -> None:
    from cidrgate.arrow import duckdb as for_duckdb

    class Alternating:
        """Lists that change between any two calls."""

        def __init__(self) -> None:
            self.calls = 0

        def allows_many(self, accounts: Any, addresses: Any, *, invalid: str) -> list[bool]:
            self.calls += 1
            return [self.calls % 2 == 1] * len(addresses)

    with duckdb.connect() as connection:
        for_duckdb.register(connection, cast("Matcher", Alternating()))
        answered = "SELECT number, allows('acct-1', number::VARCHAR) AS allowed FROM range(5000) AS numbers(number)"
        for question in (
            f"SELECT count(*) FROM ({answered}) WHERE allowed AND NOT allowed",
            f"SELECT count(*) FROM (SELECT * FROM ({answered}) WHERE allowed) WHERE NOT allowed",
            f"WITH answered AS MATERIALIZED ({answered}) SELECT count(*) FROM answered AS one JOIN answered AS other "
            "USING (number) WHERE one.allowed <> other.allowed",
        ):
            assert connection.sql(question).fetchall() == [(0,)], question
        with pytest.raises(duckdb.BinderException, match="side effects"):
            connection.sql("SELECT allows('acct-1', '8.8.8.8') AS allowed WHERE allowed")


def test_a_lazy_frame_of_polars_reads_the_lists_when_it_is_collected() -> None:
    matcher = matcher_with(PREFIXES)
    constants = for_polars.allows(matcher, pl.lit("acct-1"), pl.lit("9.9.9.9"))
    frame = pl.LazyFrame({"account": ["acct-1"], "address": ["9.9.9.9"]})
    asked = [
        frame.select(constants),
        frame.select(pl.lit(1), constants).select("allowed"),
        frame.select(for_polars.allows(matcher)),
        frame.select(for_polars.allows(matcher, pl.lit("acct-1"))),
        frame.with_columns(for_polars.allows(matcher)).select("allowed"),
    ]
    for prefixes, answer in ((PREFIXES, False), (["9.9.9.0/24"], True), (PREFIXES, False)):
        matcher.publish("acct-1", prefixes)
        for lazy in asked:
            for engine in ("in-memory", "streaming"):
                assert lazy.collect(engine=engine).to_series().to_list() == [answer]


def test_a_column_of_another_type_is_an_error(connection: Any) -> None:
    frame = pd.DataFrame({"account": [1], "address": ["8.8.8.8"]})
    with pytest.raises(TypeError, match=r"accounts\[0\] must be a str, not int"):
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
