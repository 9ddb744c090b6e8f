"""What `import` answers about rows that it refuses, and about what it would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

HEADER = "account,cidr\n"


def test_people_get_twenty_bad_rows_and_programs_a_thousand_with_the_number_of_each_kind(cidrgate: Cidrgate) -> None:
    rows = [f"a{number},10.0.0.{number % 250}/32\n" for number in range(900)]
    rows += [f"b{number},8.8.8.8\n" for number in range(300)]
    Path("lists.csv").write_text(HEADER + "".join(rows))
    person = cidrgate("import", "lists.csv", status=3).err.splitlines()
    assert [line.startswith("line ") for line in person] == [True] * 20 + [False, False]
    assert person[20] == "and 1,180 more problems; in all: 900 special_range, 300 invalid_format"
    program = cidrgate("import", "lists.csv", "--json", status=3)
    assert (len(program.error["errors"]), program.error["more_errors"]) == (1_000, 200)
    assert program.error["data"] == {"counts": {"special_range": 900, "invalid_format": 300}}
    assert program.error["errors"][900]["suggestions"] == ["8.8.8.8/32"]
    assert program.record["open"] == sorted([*(f"a{number}" for number in range(900)), *(f"b{n}" for n in range(300))])


def test_a_dry_run_says_what_each_list_would_gain_and_lose(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24, 9.9.9.9/32", "--create")
    Path("lists.csv").write_text(HEADER + "a,8.8.8.0/24\na,1.1.1.1\nb,4.4.4.4/32\nc,10.0.0.1/32\n")
    options = ("import", "lists.csv", "--replace", "--normalize", "--closed", "--dry-run")
    said = cidrgate(*options, status=7).out
    for line in (
        "a: would add 1.1.1.1/32",
        "a: would remove 9.9.9.9/32",
        "b: would add 4.4.4.4/32",
        "c would be closed",
    ):
        assert line in said.splitlines()
    record = cidrgate(*options, "--json", status=7).record
    assert record["differences"] == [
        {"account": "a", "added": ["1.1.1.1/32"], "removed": ["9.9.9.9/32"]},
        {"account": "b", "added": ["4.4.4.4/32"], "removed": []},
    ]
    assert (record["closed"], record["normalized_counts"]) == (["c"], {"address": 1})
    assert cidrgate.accounts() == ["a"]


def test_what_is_there_is_skipped_and_counted(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create", "--label", "kept")
    Path("lists.csv").write_text(HEADER + "a,8.8.8.0/24\na,8.8.8.8\na,9.9.9.9/32\n")
    answer = cidrgate("import", "lists.csv", "--normalize", "--skip-existing")
    assert "skipped 2 entries whose addresses the lists allow already" in answer.out
    assert cidrgate.listed("a") == [("8.8.8.0/24", "kept"), ("9.9.9.9/32", None)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--replace", "--skip-existing"), "leave out --skip-existing"),
        (("--strict", "--closed"), "leave out --closed"),
        (("--service", "EC2"), "say --from too"),
        (("--from", "aws", "--format", "json", "--account", "a"), "leave out --format"),
        (("--from", "aws"), "published ranges names no account: say --account NAME"),
        (("--columns", "cidr"), "is not FIELD=COLUMN"),
        (("--columns", "cidr=a,cidr=b"), "twice"),
        (("--account", "b"), "the file has the column 'account', so leave out --account b"),
    ],
)
def test_options_that_contradict_each_other(cidrgate: Cidrgate, options: tuple[str, ...], words: str) -> None:
    Path("lists.csv").write_text(HEADER + "a,8.8.8.0/24\n")
    assert words in cidrgate("import", "lists.csv", *options, status=2).err
    assert cidrgate.accounts() == []


def test_the_suggestions_of_an_error_are_accepted_together(cidrgate: Cidrgate) -> None:
    texts = ["8.8.8.8", "9.9.9.0 255.255.255.0", "1.1.1.1-1.1.1.3", "2606:4700::1", "4.4.4.4/24", "5.5.5.5\u200b/32"]
    cidrgate("account", "create", "a")
    problems = cidrgate("add", "a", ",".join(texts), "--json", status=3).error["errors"]
    assert [problem["position"] for problem in problems] == list(range(len(texts)))
    cidrgate("add", "a", ",".join(problem["suggestions"][0] for problem in problems))
    assert len(cidrgate.listed("a")) == len(texts) + 1
    Path("lists.csv").write_text(HEADER + "".join(f"b,{text}\n" for text in texts))
    rows = cidrgate("import", "lists.csv", "--json", status=3).error["errors"]
    assert [row["suggestions"] for row in rows] == [problem["suggestions"] for problem in problems]


@pytest.mark.parametrize("part", ['"next_cursor": "x"', '"complete": false', '"complete": false, "next_cursor": null'])
def test_one_of_several_pages_is_not_imported_as_the_list(cidrgate: Cidrgate, part: str) -> None:
    cidrgate("add", "a", "8.8.8.0/24, 9.9.9.0/24", "--create")
    items = '"items": [{"account": "a", "cidr": "9.9.9.0/24"}]'
    Path("page.json").write_text(f"{{{items}, {part}}}")
    assert "one of several pages" in cidrgate("import", "page.json", "--replace", status=2).err
    assert len(cidrgate.listed("a")) == 2
    Path("page.json").write_text(f'{{{items}, "complete": true, "next_cursor": null}}')
    cidrgate("import", "page.json", "--replace")
    assert cidrgate.listed("a") == [("9.9.9.0/24", None)]
