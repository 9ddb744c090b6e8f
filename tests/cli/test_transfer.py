"""`import` and `export`."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import NewEntry, RuleManager
from cidrgate.rules.account_names import can_name_account
from cidrgate.rules.characters import unseen_character
from tests.cli.conftest import Answer, Cidrgate
from tests.entry_details import all_details
from tests.length import length
from tests.new_stores import new_file
from tests.waiting import eventually, soon

HEADER = "account,cidr,label\n"
COLUMNS = ",".join(["account", *(one.name for one in fields(NewEntry))])

characters = st.sampled_from("=+-@|%'\"; ,ab\uff1d") | st.characters(exclude_categories=["Cs"])
labels = st.none() | st.text(characters, min_size=1).filter(lambda label: unseen_character(label) is None)
details = st.builds(lambda said, label: said | {"label": label}, all_details, labels)
names = st.text(characters, min_size=1, max_size=20).filter(can_name_account)


def imported(cidrgate: Cidrgate, text: str, *options: str, name: str = "lists.csv", status: int = 0) -> Answer:
    Path(name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return cidrgate("import", name, *options, status=status)


def reported(answer: Answer) -> list[tuple[list[int], str | None, str]]:
    """The problems that `import --json` reports on stderr."""
    problems = answer.error["errors"]
    return [(problem["lines"], problem["account"], problem["code"]) for problem in problems]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@given(lists=st.dictionaries(names, st.lists(details, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=length(10, 30))
def test_what_is_exported_is_imported_the_same(
    tmp_path_factory: pytest.TempPathFactory, form: str, lists: dict[str, list[dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("round-trip")
    first, second = Cidrgate(folder / "first.db"), Cidrgate(folder / "second.db")
    for each in (first, second):
        new_file(each.database)
    with RuleManager.open(f"sqlite:///{first.database}", load=False) as manager:
        manager.import_accounts(
            {
                name: [NewEntry(f"8.8.{number}.0/24", **said) for number, said in enumerate(held)]
                for name, held in lists.items()
            }
        )
    first("export", "-o", str(folder / f"first.{form}"))
    second("import", str(folder / f"first.{form}"))
    second("export", "-o", str(folder / f"second.{form}"))
    assert (folder / f"first.{form}").read_bytes() == (folder / f"second.{form}").read_bytes()
    with RuleManager.open(f"sqlite:///{second.database}", load=False) as manager:
        copied = {name: [NewEntry.of(entry).details() for entry in manager.entries(name)] for name in lists}
        assert copied == lists


def test_rows_of_an_account_may_be_scattered(cidrgate: Cidrgate) -> None:
    result = imported(cidrgate, HEADER + 'a,8.8.8.0/24,x\nb,1.1.1.0/24,\na,9.9.9.0/24,"y, ""z"""\n')
    assert result.err == ""
    assert "imported 3 entries of 2 accounts, 2 of them created" in result.out
    assert cidrgate.listed("a") == [("8.8.8.0/24", "x"), ("9.9.9.0/24", 'y, "z"')]
    assert cidrgate.listed("b") == [("1.1.1.0/24", None)]


BAD_ROWS = (
    HEADER + "good,8.8.8.0/24,caf\u00e9\nbad,1.1.1.1,\nbad,10.0.0.0/8,\nworse,9.9.9.9/32\nworse\ngood,9.9.9.0/24,\n"
    "worse,junk,\n,7.7.7.0/24,\nlast,7.7.7.0/24,\udce9\n"
)


def test_every_bad_row_is_reported_and_keeps_its_account_out(cidrgate: Cidrgate) -> None:
    result = imported(cidrgate, BAD_ROWS, status=7)
    assert [line.split(":")[0] for line in result.err.splitlines()[:6]] == [f"line {n}" for n in (3, 4, 6, 8, 9, 10)]
    assert "add the length: 1.1.1.1/32" in result.err
    assert cidrgate.accounts() == ["good"]
    assert len(cidrgate.listed("good")) == 2


@pytest.mark.parametrize("options", [(), ("--strict",)])
def test_machines_get_the_bad_rows_as_an_error(cidrgate: Cidrgate, options: tuple[str, ...]) -> None:
    result = imported(cidrgate, BAD_ROWS, "--json", *options, status=3 if options else 7)
    assert reported(result) == [
        ([3], "bad", "invalid_format"),
        ([4], "bad", "special_range"),
        ([6], "worse", "unreadable_row"),
        ([8], "worse", "invalid_format"),
        ([9], None, "unreadable_row"),
        ([10], "last", "unreadable_row"),
    ]
    assert (result.record["account_count"], result.record["entry_count"]) == ((0, 0) if options else (1, 2))
    assert result.record["refused"] == ["bad", "last", "worse"]


def test_strict_imports_nothing_when_any_row_is_bad(cidrgate: Cidrgate) -> None:
    cidrgate("add", "full", "8.8.8.0/24", "--create")
    for rows in (
        "new,9.9.9.0/24,\nbad,1.1.1.1,\n",
        "new,9.9.9.0/24,\nbad\n",
        "new,9.9.9.0/24,\n,9.9.9.0/24,\n",
        "new,9.9.9.0/24,\nfull,8.8.8.0/25,\n",
    ):
        result = imported(cidrgate, HEADER + rows, "--strict", status=3)
        assert "line 3" in result.err
        assert "nothing was imported" in result.err
        assert cidrgate.accounts() == ["full"]
    imported(cidrgate, HEADER + "new,9.9.9.0/24,\n", "--strict")
    assert cidrgate.accounts() == ["full", "new"]


def test_replace_makes_lists_what_the_file_says(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24, 1.1.1.0/24", "--create", "--label", "kept")
    cidrgate("add", "b", "8.8.8.0/24", "--create")
    imported(cidrgate, "account,cidr\na,8.8.8.0/24\na,9.9.9.0/24\n", "--replace")
    assert cidrgate.listed("a") == [("8.8.8.0/24", "kept"), ("9.9.9.0/24", None)]
    imported(cidrgate, HEADER + "a,8.8.8.0/24,\na,9.9.9.0/24,new\n", "--replace")
    assert cidrgate.listed("a") == [("8.8.8.0/24", None), ("9.9.9.0/24", "new")]
    imported(
        cidrgate,
        '{"account": "a", "cidr": "8.8.8.0/24"}\n{"account": "a", "cidr": "9.9.9.0/24", "label": null}\n',
        "--replace",
        name="lists.jsonl",
    )
    assert cidrgate.listed("a") == [("8.8.8.0/24", None), ("9.9.9.0/24", None)]
    assert cidrgate.listed("b") == [("8.8.8.0/24", None)]
    imported(cidrgate, HEADER + "a,8.8.0.0/16,\n", "--replace", "--strict")
    assert cidrgate.listed("a") == [("8.8.0.0/16", None)]


def test_replace_stops_at_a_row_that_may_be_anybodys(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24, 1.1.1.0/24", "--create")
    text = '{"account": "a", "cidr": "8.8.8.0/24"}\n{"acc\n'
    result = imported(cidrgate, text, "--replace", name="lists.jsonl", status=3)
    assert "may belong to any" in result.err
    assert len(cidrgate.listed("a")) == 2


def test_a_subaccount_in_a_file(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "a")
    cidrgate("account", "create", "s", "--parent", "a")
    for options in ((), ("--strict",)):
        result = imported(
            cidrgate, HEADER + "s,9.9.9.0/24,\nb,9.9.9.0/24,\n", "--json", *options, status=3 if options else 7
        )
        assert ([2], "s", "list_inherited") in reported(result)
    assert cidrgate.accounts() == ["a", "b", "s"]


@pytest.mark.parametrize("account", ["w\\u0000", "w" * 300])
def test_a_name_that_cannot_be_one(cidrgate: Cidrgate, account: str) -> None:
    row = f'{{"account": "{account}", "cidr": "8.8.8.0/24"}}\n{{"account": "b", "cidr": "8.8.8.0/24"}}'
    problems = reported(imported(cidrgate, row, "--json", name="lists.jsonl", status=7))
    assert [(lines, code) for lines, _, code in problems] == [([1], "invalid_account")]
    assert cidrgate.accounts() == ["b"]


def test_a_byte_order_mark_and_other_line_ends(cidrgate: Cidrgate) -> None:
    imported(cidrgate, "\ufeff" + "account,cidr\r\na,8.8.8.0/24\r\n")
    imported(cidrgate, "\ufeff" + '{"account":"b","cidr":"8.8.8.0/24"}\r\n', name="l.jsonl")
    assert cidrgate.accounts() == ["a", "b"]


@pytest.mark.usefixtures("no_database")
def test_a_file_that_is_no_list(cidrgate: Cidrgate) -> None:
    Path("lists.csv").write_bytes("account,cidr\n".encode("utf-16")[:-1])
    assert "the file is damaged UTF-16" in cidrgate("import", "lists.csv", status=2).err
    Path("lists.csv").write_text("a;b\n")
    assert cidrgate("import", "lists.csv", "--json", status=2).error["code"] == "command"
    assert not cidrgate.database.exists()


def test_where_lists_come_from(cidrgate: Cidrgate) -> None:
    cidrgate("import", "-", "--format", "csv", stdin="account,cidr\na,8.8.8.0/24\n")
    cidrgate("import", "-", "--format", "jsonl", stdin='{"account":"b","cidr":"8.8.8.0/24"}')
    Path("lists.dat").write_text("account,cidr\nc,8.8.8.0/24\n")
    assert "--format" in cidrgate("import", "lists.dat", status=2).err
    cidrgate("import", "lists.dat", "--format", "csv")
    assert cidrgate.accounts() == ["a", "b", "c"]
    assert "--format" in cidrgate("import", "-", status=2).err
    assert "missing.csv" in cidrgate("import", "missing.csv", status=2).err
    Path("folder.csv").mkdir()
    assert "folder.csv" in cidrgate("import", "folder.csv", status=2).err


@pytest.fixture
def filled(cidrgate: Cidrgate) -> Cidrgate:
    cidrgate("add", "a", "8.8.8.0/24", "--create", "--label", 'x, "y"')
    cidrgate("add", "b", "1.1.1.0/24", "--create")
    cidrgate("account", "create", "empty")
    cidrgate("account", "create", "s", "--parent", "a")
    return cidrgate


AS_JSON = [
    {"account": "a", "cidr": "8.8.8.0/24", **NewEntry("8.8.8.0/24", label='x, "y"').details()},
    {"account": "b", "cidr": "1.1.1.0/24", **NewEntry("1.1.1.0/24").details()},
]


def as_cell(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


AS_CSV = [{name: as_cell(value) for name, value in row.items()} for row in AS_JSON]


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_table_on_stdout(filled: Cidrgate) -> None:
    assert csv_rows(filled("export", "--csv").out) == AS_CSV
    assert csv_rows(filled("export", "b", "a", "b", "--csv").out) == AS_CSV[::-1]
    assert filled("export", "--csv").out.splitlines()[1].startswith('a,8.8.8.0/24,"x, ""y""",')


def test_a_table_says_first_what_it_lacks(filled: Cidrgate) -> None:
    assert filled("export", "--csv").err.startswith("CSV is no whole copy: it lacks accounts without entries")
    assert filled("export", "--csv", "--json").err == ""
    assert filled("export").err == ""


def test_export_to_a_file(filled: Cidrgate) -> None:
    assert "exported 2 entries of 4 accounts to all.jsonl" in filled("export", "-o", "all.jsonl").out
    lines = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert [one.get("name") for one in lines] == [None, "a", "b", "empty", "s", None]
    assert filled("export", "b", "-o", "b.csv", "--json").record == {
        "account_count": 1,
        "entry_count": 1,
        "file": "b.csv",
    }
    assert csv_rows(Path("b.csv").read_text()) == AS_CSV[1:]
    for name in ("all.jsonl", "b.csv"):
        assert Path(name).stat().st_mode & 0o777 == 0o600


def test_an_export_is_imported_exactly_also_compressed_and_by_a_pipe(filled: Cidrgate, tmp_path: Path) -> None:
    plain = filled("export").out
    filled("export", "-o", "all.jsonl.gz")
    assert gzip.decompress(Path("all.jsonl.gz").read_bytes()).decode() == plain
    for number, (file, stdin) in enumerate([("all.jsonl.gz", None), ("-", plain)]):
        copied = Cidrgate(tmp_path / f"copy-{number}.db")
        answer = copied("import", file, "--json", stdin=stdin).record
        assert (answer["account_count"], answer["entry_count"], answer["created_count"]) == (4, 2, 4)
        assert copied("export").out == plain
        assert copied("import", file, "--json", stdin=stdin).record["unchanged_count"] == 4
        copied("remove", "a", "8.8.8.0/24", "--empty")
        refused = copied("import", file, stdin=stdin, status=3).err
        assert "a: account 'a' exists already and differs from the file" in refused
        assert "--skip-existing or --replace" in refused
        assert "nothing was imported" in refused
        copied("import", file, "--skip-existing", stdin=stdin)
        assert "would import 1 entry of 1 account" in copied("import", file, "--replace", "--dry-run", stdin=stdin).out
        copied("import", file, "--replace", stdin=stdin)
        assert not copied("check", "s", "9.9.9.9", status=1).err


def test_an_export_that_would_end_enforcement_needs_a_confirmation(filled: Cidrgate) -> None:
    paused = filled("export").out.replace('"name": "a", ', '"name": "a", "mode": "off", ')
    for options in ((), ("--dry-run",)):
        refused = filled("import", "-", "--replace", *options, stdin=paused, status=3).err
        assert "in the mode off account 'a' would not be enforced" in refused
        assert "say --confirm disable_enforcement" in refused
    assert not filled("check", "a", "9.9.9.9", status=1).err
    filled("import", "-", "--replace", "--confirm", "disable_enforcement", stdin=paused)
    filled("check", "a", "9.9.9.9")
    assert "mode: enforce -> off" in filled("history", "a").out
    closed = filled("export").out.replace('"name": "empty", ', '"name": "empty", "closed": true, ')
    filled("add", "empty", "9.9.9.9/32")
    filled("import", "-", "--replace", stdin=closed)
    filled("check", "empty", "9.9.9.9", status=1)


@pytest.mark.parametrize("member", ['"mode": "open"', '"closed": 1', '"policy": {"max_entries": 0}'])
def test_a_setting_that_is_none_is_named_with_its_line(filled: Cidrgate, tmp_path: Path, member: str) -> None:
    lines = filled("export").out.replace('"name": "b", ', f'"name": "b", {member}, ')
    copied = Cidrgate(tmp_path / "copy.db")
    copied("account", "create", "other")
    assert "line 3: " in copied("import", "-", stdin=lines, status=3).err
    assert copied.accounts() == ["other"]


@pytest.mark.usefixtures("no_database")
def test_a_damaged_export_creates_no_account(filled: Cidrgate, tmp_path: Path) -> None:
    filled("export", "-o", "all.jsonl.gz")
    whole = Path("all.jsonl.gz").read_bytes()
    Path("half.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    copied = Cidrgate(tmp_path / "copy.db")
    assert "was cut off" in copied("import", "half.jsonl.gz", status=2).err
    lines = filled("export").out.splitlines(keepends=True)
    assert copied("import", "-", "--json", stdin="".join(lines[:-1]), status=3).error["code"] == "invalid_copy"
    assert not copied.database.exists()  # a command that failed leaves no store behind


def test_options_of_exports_are_for_exports(filled: Cidrgate) -> None:
    Path("rows.csv").write_text("account,cidr\nc,9.9.9.9/32\n")
    assert "--empty is for exports" in filled("import", "rows.csv", "--empty", status=2).err


def test_options_of_lists_are_for_lists_also_empty_ones(filled: Cidrgate) -> None:
    filled("export", "-o", "all.jsonl")
    for option in (("--account", ""), ("--columns", "cidr=network"), ("--normalize",), ("--closed",)):
        said = f"{option[0]} is for lists of other programs"
        assert said in filled("import", "all.jsonl", *option, status=2).err


def test_a_backup_is_restored_to_a_new_store(filled: Cidrgate, tmp_path: Path) -> None:
    filled("token", "create", "ci", "--scope", "admin")
    answer = filled("backup", "store.backup", "--json").record
    assert answer == {"account_count": 4, "entry_count": 2, "change_count": 7, "token_count": 1, "file": "store.backup"}
    assert Path("store.backup").stat().st_mode & 0o777 == 0o600
    restored = Cidrgate(tmp_path / "restored.db")
    assert restored("restore-backup", "store.backup", "--json").record == answer
    assert restored.database.stat().st_mode & 0o777 == 0o600
    assert restored("backup", "-").out == filled("backup", "-").out
    for command in (("history", "a", "--json"), ("token", "list", "--json")):
        assert restored(*command).record == filled(*command).record
    assert restored("restore-backup", "-", "--json", stdin=filled("backup", "-").out, status=5).error["code"] == (
        "store_not_empty"
    )
    assert "people sign in again" in filled("backup", "again.backup").out


def test_an_export_leaves_out_what_has_ended_but_opens_no_list(cidrgate: Cidrgate) -> None:
    """A copy without the expired entries of a list that has no others would not be enforced."""
    end = soon()
    with RuleManager.open(cidrgate.database, create=True, load=False) as manager:
        manager.import_accounts({"a": [NewEntry("8.8.8.0/24", expires_at=end), NewEntry("9.9.9.9/32")]})
        manager.import_accounts({"b": [NewEntry("1.1.1.1/32", expires_at=end)]})
    eventually(lambda: datetime.now(UTC) > end)
    first, second = csv_rows(cidrgate("export", "-o", "-", "--csv").out)
    assert (first["cidr"], first["expires_at"]) == ("9.9.9.9/32", "")
    assert (second["cidr"], datetime.fromisoformat(second["expires_at"])) == ("1.1.1.1/32", end)


def test_an_end_that_cannot_be_read_keeps_its_account_out(cidrgate: Cidrgate) -> None:
    answer = imported(
        cidrgate, f"{COLUMNS}\na,8.8.8.0/24,,tomorrow\nb,9.9.9.9/32,,2999-01-31T18:00:00+00:00\n", status=7
    )
    assert "line 2: a: the expires_at is 'tomorrow', not a time such as" in answer.err
    with RuleManager.open(cidrgate.database, load=False) as manager:
        assert manager.counts() == {"b": 1}
        [entry] = manager.entries("b")
    assert entry.expires_at == datetime(2999, 1, 31, 18, tzinfo=UTC)


def test_an_export_that_fails_leaves_the_file_as_it_was(filled: Cidrgate) -> None:
    Path("lists.csv").write_text("before")
    before = sorted(Path().iterdir())
    assert "cidrgate account create c" in filled("export", "a", "c", "-o", "lists.csv", status=4).err
    assert filled("export", "s", "--json", status=3).error["code"] == "list_inherited"
    assert "cannot write" in filled("export", "-o", "no/such/lists.csv", status=2).err
    assert Path("lists.csv").read_text() == "before"
    assert sorted(Path().iterdir()) == before


def test_an_import_of_a_backup_names_the_command_that_restores_it(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    for name in ("store.backup", "store.backup.gz"):
        cidrgate("backup", name)
        assert "`cidrgate restore-backup`" in cidrgate("import", name, status=2).err


@pytest.mark.parametrize("mode", ["report_only", "off"])
def test_a_table_of_all_accounts_has_the_lists_that_are_not_enforced(cidrgate: Cidrgate, mode: str) -> None:
    cidrgate("add", "acct-1", "8.8.8.8/32", "--create")
    cidrgate("mode", "acct-1", mode, "--confirm", "disable_enforcement")
    for name, more in (("empty", ()), ("closed", ("--closed",))):
        cidrgate("account", "create", name, *more)
    rows = cidrgate("export", "--csv").out.splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [["acct-1", "8.8.8.8/32"]]
    assert "exported 1 entry of 1 account" in cidrgate("export", "-o", "lists.csv").out


@pytest.mark.parametrize("more", [(), ("--format", "nginx")])
@pytest.mark.parametrize("name", ["lists.csv", "out/lists.jsonl", "a list.conf"])
def test_a_file_in_the_place_of_an_account_is_said_to_need_an_option(
    cidrgate: Cidrgate, name: str, more: tuple[str, ...]
) -> None:
    cidrgate("account", "create", "acct.1")
    answer = cidrgate("export", name, *more, status=4)
    assert f"there is no account '{name}': if it is the file to write, name it with -o" in answer.err
    assert ("cidrgate export -o 'a list.conf'" in answer.err) is (name == "a list.conf")
    assert "account create acct-x" in cidrgate("export", "acct-x", *more, status=4).err
    cidrgate("export", "acct.1")
