"""`allows_many(…, invalid="deny")` and `allows_arrow`: rows that cannot be read are denied, others as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from cidrgate import AccountNotFoundError, InvalidAddressError, Matcher
from tests.engine.test_arrow import STRINGS, columns
from tests.strategies import address_texts, addresses_near, prefix_lists

ACCOUNTS = ["acct-1", "sub-1", "report", "off", "open", "unknown", "", "x" * 300]


def matcher_with(texts: list[str]) -> Matcher:
    matcher = Matcher()
    matcher.publish("acct-1", texts)
    matcher.link("sub-1", parent="acct-1")
    matcher.publish("report", texts, mode="report_only")
    matcher.publish("off", texts, mode="off")
    matcher.publish("open", [])
    return matcher


def expected(matcher: Matcher, account: str | None, address: str | None) -> bool:
    """One row, worked out as plainly as it is said."""
    if account is None or address is None:
        return False
    try:
        return matcher.allows(account, address)
    except InvalidAddressError:
        return False


@given(texts=prefix_lists, data=st.data())
def test_rows_that_cannot_be_read_are_denied(texts: list[str], data: st.DataObject) -> None:
    matcher = matcher_with(texts)
    near = addresses_near(texts)
    addresses = st.one_of(near, near, near, address_texts, st.none(), st.sampled_from(["", "8.8.8", "x" * 20]))
    rows = data.draw(st.lists(st.tuples(st.sampled_from([*ACCOUNTS, None]), addresses), max_size=200))
    accounts, asked = [account for account, _ in rows], [address for _, address in rows]
    answers = [expected(matcher, *row) for row in rows]
    named = data.draw(columns(accounts, STRINGS, "acct-1"))
    column = data.draw(columns(asked, STRINGS, "no address"))
    assert matcher.allows_many(named, column, invalid="deny").tolist() == answers
    out = np.ones(len(rows), bool)
    assert matcher.allows_many(named, column, out, invalid="deny") is out
    assert out.tolist() == answers
    for account in ("acct-1", "unknown"):
        alone = [expected(matcher, account, address) for address in asked]
        assert matcher.allows_many(account, column, invalid="deny").tolist() == alone
        numbers = matcher.rows([account] * len(rows))
        assert matcher.allows_many(numbers, column, invalid="deny").tolist() == alone
    table = pa.table({"who": pa.array(accounts, pa.string()), "where": pa.array(asked, pa.string())})
    for given_table in (table, table.combine_chunks(), *table.to_batches(), pl.from_arrow(table), table.to_pandas()):
        if len(given_table) == len(rows):
            assert matcher.allows_arrow(given_table, "who", "where").to_pylist() == answers


def test_every_place_of_an_unreadable_address_is_denied_alone() -> None:
    matcher = matcher_with(["8.8.8.0/24"])
    for count in (1, 63, 64, 65, 200):
        for place in range(0, count, 7):
            texts: list[str | None] = ["8.8.8.8"] * count
            texts[place] = None
            answers = matcher.allows_many("acct-1", pa.array(texts), invalid="deny")
            assert np.flatnonzero(~answers).tolist() == [place]
    assert not matcher.allows_many("acct-1", pa.nulls(200), invalid="deny").any()
    assert not matcher.allows_many("unknown", pa.nulls(200), invalid="deny").any()


LISTS = {
    "small": [f"8.{n}.0.0/16" for n in range(20)],
    "large": [f"8.{n >> 4}.{(n & 15) << 4}.0/22" for n in range(4_096)],
    "IPv6": [f"2606:{n:x}::/32" for n in range(300)],
    "none": [],
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("every", [1, 2, 64, 1_000])
def test_many_unreadable_addresses_are_denied_alone(kind: str, every: int) -> None:
    """Long arrays are answered by tables that are made for them, and dictionaries value by value."""
    matcher = matcher_with(LISTS[kind])
    matcher.publish("closed", [], when_empty="deny")
    texts: list[str | None] = [
        f"8.{n & 255}.{n >> 8 & 255}.1" if n % 3 else f"2606:{n & 511:x}::1" for n in range(5_000)
    ]
    texts[::every] = [None if n % 2 else "no address" for n in range(len(texts[::every]))]
    column = pa.array(texts)
    chunks = pa.chunked_array([column[:70], column[70:3_000], column[3_000:]])
    for account in ("acct-1", "sub-1", "report", "off", "open", "closed", "unknown"):
        answers = [expected(matcher, account, text) for text in texts]
        for asked in (column, chunks, column.dictionary_encode(), chunks.cast(pa.large_string())):
            assert matcher.allows_many(account, asked, invalid="deny").tolist() == answers
    numbers = np.arange(8 << 24, (8 << 24) + (5_000 << 12), 1 << 12, dtype=np.uint32)
    for account in ("acct-1", "open", "closed", "unknown"):
        assert (matcher.allows_many(account, numbers, invalid="deny") == matcher.allows_many(account, numbers)).all()


def test_text_that_is_not_utf8_is_no_account() -> None:
    matcher = matcher_with(["8.8.8.0/24"])
    names = pa.array([b"acct-1", b"\xff", b"unknown"]).view(pa.string())
    chunked = pa.chunked_array([names, names])
    answers = [True, False, True]
    assert matcher.allows_many(names, ["8.8.8.8"] * 3, invalid="deny").tolist() == answers
    assert matcher.allows_many(chunked, ["8.8.8.8"] * 6, invalid="deny").tolist() == answers * 2
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None]), names)
    assert matcher.allows_many(dictionary, ["8.8.8.8"] * 4, invalid="deny").tolist() == [*answers, False]


@pytest.mark.parametrize("invalid", ["raise", "deny"])
def test_what_is_no_row_stays_an_error(invalid: Any) -> None:
    matcher = matcher_with(["8.8.8.0/24"])
    rows = matcher.rows(["acct-1", "open"])
    matcher.discard("open")
    with pytest.raises(AccountNotFoundError, match="call rows"):
        matcher.allows_many(rows, ["8.8.8.8", "8.8.8.8"], invalid=invalid)
    with pytest.raises(AccountNotFoundError, match="call rows"):
        matcher.allows_many(np.array([-2], np.int32), ["8.8.8.8"], invalid=invalid)
    with pytest.raises(TypeError, match=r"accounts\[1\] must be a str"):
        matcher.allows_many(["acct-1", None], ["8.8.8.8", "8.8.8.8"], invalid=invalid)  # type: ignore[list-item]


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid must be 'raise' or 'deny', not 'allow'"):
        Matcher().allows_many("acct-1", ["8.8.8.8"], invalid="allow")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Matcher().allows_many("acct-1", ["8.8.8.8"], invalid=None)  # type: ignore[arg-type]


def test_tables_of_every_library_are_read() -> None:
    matcher = matcher_with(["8.8.8.0/24"])
    columns = {
        "account": ["acct-1", "acct-1", "open"],
        "address": ["8.8.8.8", "9.9.9.9", "9.9.9.9"],
        "other": [1, 2, 3],
    }
    table = pa.table(columns)
    categories = pd.DataFrame(columns).astype({"account": "category", "address": "object"})
    for given_table in (table, table.to_batches()[0], table.to_reader(), pl.DataFrame(columns), categories):
        answers = matcher.allows_arrow(given_table)
        assert isinstance(answers, pa.BooleanArray)
        assert (answers.to_pylist(), answers.null_count) == ([True, False, True], 0)
    assert table.append_column("allowed", matcher.allows_arrow(table)).num_columns == 4


def test_a_column_that_is_missing_or_of_another_type_is_an_error() -> None:
    matcher = Matcher()
    with pytest.raises(KeyError, match="account"):
        matcher.allows_arrow(pa.table({"address": ["8.8.8.8"]}))
    with pytest.raises(TypeError, match="accounts must be"):
        matcher.allows_arrow(pa.table({"account": [1], "address": ["8.8.8.8"]}))
    with pytest.raises(TypeError, match="addresses must be"):
        matcher.allows_arrow(pa.table({"account": ["a"], "address": [1.5]}))
