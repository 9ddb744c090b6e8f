"""Reading rows of CSV and JSON Lines: what is wrong, in which line, and whose it is."""

from __future__ import annotations

import pytest

from cidrgate.cli.errors import CommandError
from cidrgate.cli.list_files import ListFormat, Row, read_rows


def rows(text: str, form: ListFormat) -> list[Row]:
    return list(read_rows(text.splitlines(keepends=True), form))


def test_a_row_over_several_lines_has_the_number_of_its_first() -> None:
    text = 'account,cidr,label\r\na,8.8.8.0/24,"two\r\nlines"\r\n\r\nb,9.9.9.0/24,\r\n'
    assert rows(text, ListFormat.CSV) == [
        Row(2, "a", "8.8.8.0/24", "two\r\nlines"),
        Row(5, "b", "9.9.9.0/24", None),
    ]


def test_columns_in_any_order_and_case_without_label() -> None:
    assert rows(" CIDR ,Account\n8.8.8.0/24,a\n", ListFormat.CSV) == [Row(2, "a", "8.8.8.0/24", None)]


@pytest.mark.parametrize(
    ("row", "account", "problem"),
    [
        ("w", "w", "cidr is missing"),
        ("w,,", "w", "cidr is missing"),
        (",8.8.8.0/24,", None, "account is missing"),
        ("w,8.8.8.0/24,l,extra", "w", "4 cells for 3 columns"),
        ('w,"8.8.8.0/24"x,', "w", "no CSV"),
        ("w,8.8.8.0/24,\udce9", "w", "UTF-8"),
        ("\udcff,8.8.8.0/24,", None, "UTF-8"),
        ("w," + "9" * 200_000 + ",", "w", "no CSV"),
    ],
    ids=range(8),
)
def test_bad_csv_rows(row: str, account: str | None, problem: str) -> None:
    first, bad, last = rows(f"account,cidr,label\ng,8.8.8.0/24,\n{row}\nh,8.8.8.0/24,\n", ListFormat.CSV)
    assert (bad.line, bad.account) == (3, account)
    assert problem in bad.problem
    assert (first.problem, last.problem, last.line) == ("", "", 4)


@pytest.mark.parametrize(
    ("row", "account", "problem"),
    [
        ("{", None, "no JSON"),
        ("[1]", None, "no JSON object"),
        ("null", None, "no JSON object"),
        ('{"account": "w", "cidr": ', "w", "no JSON"),
        ('{"account": "w"}', "w", "cidr is missing"),
        ('{"cidr": "8.8.8.0/24"}', None, "account is missing"),
        ('{"account": 1, "cidr": "8.8.8.0/24"}', None, "not text"),
        ('{"account": "w", "cidr": 5}', "w", "not text"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": 5}', "w", "not text"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "note": "x"}', "w", "no field is called 'note'"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": "\\ud800"}', "w", "UTF-8"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": "\udce9"}', "w", "UTF-8"),
        ("[" * 100_000, None, "no JSON"),
    ],
    ids=range(13),
)
def test_bad_json_rows(row: str, account: str | None, problem: str) -> None:
    good = '{"account": "g", "cidr": "8.8.8.0/24", "label": null}'
    first, bad, last = rows(f"{good}\r\n\r\n{row}\n{good}", ListFormat.JSONL)
    assert (bad.line, bad.account) == (3, account)
    assert problem in bad.problem
    assert (first.problem, last.problem, last.line) == ("", "", 4)


@pytest.mark.parametrize(
    ("text", "form", "problem"),
    [
        ("", ListFormat.CSV, "empty"),
        ("a,8.8.8.0/24,\n", ListFormat.CSV, "first line"),
        ("account,label\n", ListFormat.CSV, "first line"),
        ("account,cidr,cidr\n", ListFormat.CSV, "twice"),
        ("account,cidr,note\n", ListFormat.CSV, "'note'"),
        ("account;cidr;label\n", ListFormat.CSV, "commas"),
        ('account,cidr,label\na,8.8.8.0/24,"open\nb,9.9.9.0/24,\n', ListFormat.CSV, "quote"),
        ('[{"account": "a", "cidr": "8.8.8.0/24"}]', ListFormat.JSONL, "brackets"),
    ],
    ids=range(8),
)
def test_files_that_are_none(text: str, form: ListFormat, problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        rows(text, form)
