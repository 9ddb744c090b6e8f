"""`replay` at the command line: which lists decide, what they are compared with, and what people and programs read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from cidrgate import Matcher, RuleManager
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

LOG = """account,address,time
acct-1,8.8.8.8,2026-01-01T00:00:00Z
acct-1,9.9.9.9,2026-01-01T01:00:00Z
acct-2,9.9.9.9,2026-01-01T02:00:00Z
nobody,9.9.9.9,2026-01-01T03:00:00Z
,9.9.9.9,2026-01-01T03:00:00Z
"""


@pytest.fixture
def log(cidrgate: Cidrgate, tmp_path: Path) -> str:
    """A log, and a store that allows acct-1 from 8.8.8.8 and acct-2 from everywhere."""
    for account in ("acct-1", "acct-2"):
        cidrgate("account", "create", account)
    cidrgate("add", "acct-1", "8.8.8.8/32")
    (tmp_path / "calls.csv").write_text(LOG)
    return "calls.csv"


def verdicts(record: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: count for name, count in record["verdicts"].items() if count}


OF_STORE = {"allowed": 2, "denied": 1, "unknown_account": 1, "no_account": 1}


def test_the_lists_of_the_store_decide(cidrgate: Cidrgate, log: str) -> None:
    record = cidrgate("replay", log, "--json").record
    assert (verdicts(record), record["compared"], record["lines"], record["bad_lines"]) == (OF_STORE, False, 5, 0)
    [denied] = record["changes"]
    assert denied == {
        "account": "acct-1",
        "network": "9.9.9.0/24",
        "verdict": "denied",
        "addresses": 1,
        "requests": 1,
        "first_seen": "2026-01-01T01:00:00+00:00",
        "last_seen": "2026-01-01T01:00:00+00:00",
    }
    assert [period["start"] for period in record["periods"]] == [f"2026-01-01T0{hour}:00:00+00:00" for hour in range(4)]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (
            ["2012-03-04T05:06:07Z", "9999-12-31T23:59:59Z"],
            "denied from 2010-01-01 00:00:00, each bar 43830 days, 0:00:00: [",
        ),
        (["0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z"], "denied from 0001-01-01 00:00:00, each bar "),
        (["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"], "denied from 0001-01-01 00:00:00, each bar "),
        (["9999-12-31T23:59:00Z", "9999-12-31T23:59:59Z"], "denied from 9999-12-31 23:59:00, each bar 0:01:00: [▆]"),
    ],
)
def test_what_is_denied_is_drawn_for_all_times(
    cidrgate: Cidrgate, log: str, tmp_path: Path, times: list[str], said: str
) -> None:
    rows = "".join(f"acct-1,9.9.9.9,{time}\n" for time in times)
    (tmp_path / log).write_text(f"account,address,time\n{rows}")
    answer = cidrgate("replay", log).out
    [line] = [one for one in answer.splitlines() if "each bar" in one]
    assert line.startswith(said)
    bars = line.partition("[")[2].partition("]")[0]
    assert len(bars) <= 80
    assert len(bars.split()) == len({time[:4] for time in times})


def test_a_list_that_only_reports_is_said_to_deny_nothing(cidrgate: Cidrgate, log: str) -> None:
    hint = "1 account in the log has a list of the mode report_only or off, which denies nothing"
    # What is not in the log is of no interest, and an account counts once.
    cidrgate("account", "create", "acct-9")
    cidrgate("mode", "acct-9", "report_only", "--confirm", "disable_enforcement")
    assert "denies nothing" not in cidrgate("replay", log).out
    cidrgate("mode", "acct-1", "report_only", "--confirm", "disable_enforcement")
    assert hint in cidrgate("replay", log).out
    cidrgate("export", "-o", "lists.csv")
    compared = cidrgate("replay", log, "--rules", "lists.csv")
    assert hint not in compared.out
    assert verdicts(cidrgate("replay", log, "--rules", "lists.csv", "--json").record)["newly_denied"] == 1


def test_what_an_export_writes_can_be_replayed(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    """Lists that only the policies of the store allow, and entries that have ended, which allow nothing."""
    cidrgate("policy", "set", "--allow-special")
    cidrgate("policy", "set", "--account", "acct-1", "--max-entries", "60")
    cidrgate("add", "acct-1", "10.0.0.0/8, " + ", ".join(f"9.9.{number}.0/24" for number in range(50)))
    cidrgate("add", "acct-2", "9.9.9.0/24", "--expires-in", "1h")
    cidrgate("mode", "acct-2", "report_only", "--confirm", "disable_enforcement")
    cidrgate("export", "-o", "lists.csv")
    text = (tmp_path / "lists.csv").read_text()
    [end] = {part for line in text.splitlines() for part in line.split(",") if part.startswith("20")}
    ended = "2020-01-01T00:00:00+00:00"
    (tmp_path / "lists.csv").write_text(text.replace(end, ended))
    (tmp_path / "lists.toml").write_text(
        '[accounts]\nacct-1.entries = ["10.0.0.0/8"]\n'
        f'acct-2.entries = [{{cidr = "9.9.9.0/24", expires_at = "{ended}"}}]\n'
    )
    for lists in ("lists.csv", "lists.toml"):
        record = cidrgate("replay", log, "--rules", lists, "--account", "acct-2", "--json").record
        assert (verdicts(record), record["not_enforced"]) == ({"newly_denied": 5}, 0)
    refused = cidrgate("replay", log, "--rules", "lists.csv", "--alone", status=3)
    assert "special_range" in refused.err, "only the options say the rules where no store is asked"
    cidrgate("replay", log, "--rules", "lists.csv", "--alone", "--allow-special", "--max-entries", "60")


def test_a_copy_in_csv_is_not_advised_for_an_account_without_entries(
    cidrgate: Cidrgate, log: str, tmp_path: Path
) -> None:
    cidrgate("mode", "acct-2", "off", "--closed")
    cidrgate("export", "-o", "lists.csv")
    for more in ((), ("--rules", "lists.csv")):
        answer = cidrgate("replay", log, *more).out
        assert "--rules lists.csv" not in answer
        assert "1 account in the log has a list of such a mode in which no entry matches" in answer
        record = cidrgate("replay", log, *more, "--json").record
        assert (record["not_enforced"], record["not_enforced_empty"]) == (1, 1)
    answer = cidrgate("resume", "acct-2", "--dry-run", "--from-log", log).out
    assert "1 address with 1 request would be denied" in answer
    cidrgate("mode", "acct-2", "off", "--not-closed", "--confirm", "disable_enforcement")
    assert "no entry matches" not in cidrgate("replay", log).out, "an open account has no list that could deny"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_replay_deletes_what_a_killed_one_left(
    cidrgate: Cidrgate, log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A copy of all lists, and what the database has written to the disk."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    cidrgate("export", "-o", "lists.csv")
    environment = {**os.environ, "TMPDIR": str(folder), "CIDRGATE_DATABASE": str(cidrgate.database)}
    command = [sys.executable, "-m", "cidrgate", "replay", "-", "--format", "csv", "--rules", "lists.csv"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdin=subprocess.PIPE) as process:
        eventually(lambda: len(list(folder.glob("*/lock"))) == 2)
        process.send_signal(number)
        assert process.wait(60) == -number
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert sorted(path.name.rsplit("-", 1)[0] for path in folder.iterdir()) == ["cidrgate-replay", "cidrgate-rules"]
    cidrgate("replay", log, "--rules", "lists.csv")
    assert list(folder.iterdir()) == []


def test_the_lists_of_a_snapshot_decide(cidrgate: Cidrgate, log: str) -> None:
    cidrgate("compile", "lists.snapshot")
    cidrgate.database.unlink()
    record = cidrgate("replay", log, "--rules", "current", "--snapshot", "lists.snapshot", "--json").record
    assert verdicts(record) == OF_STORE


FILES = {
    "new.csv": "account,cidr\nacct-1,9.9.9.9/32\nacct-2,8.8.8.8/32\n",
    "new.toml": '[accounts]\nacct-1.entries = ["9.9.9.9/32"]\nacct-2.entries = ["8.8.8.8/32"]\n',
    "new.json": json.dumps(
        {"accounts": {"acct-1": {"entries": ["9.9.9.9/32"]}, "acct-2": {"entries": ["8.8.8.8/32"]}}}
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_lists_of_a_file_are_compared_with_the_current_ones(
    cidrgate: Cidrgate, log: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(FILES[name])
    record = cidrgate("replay", log, "--rules", name, "--json").record
    assert verdicts(record) == {"newly_denied": 2, "newly_allowed": 1, "unknown_account": 1, "no_account": 1}
    assert [(one["account"], one["verdict"], one["network"]) for one in record["changes"]] == [
        ("acct-1", "newly_denied", "8.8.8.0/24"),
        ("acct-2", "newly_denied", "9.9.9.0/24"),
        ("acct-1", "newly_allowed", "9.9.9.0/24"),
    ]
    assert record["accounts"] == 2
    alone = cidrgate("replay", log, "--rules", name, "--alone", "--json").record
    assert verdicts(alone) == {"allowed": 1, "denied": 2, "unknown_account": 1, "no_account": 1}
    assert cidrgate.listed("acct-1") == [("8.8.8.8/32", None)], "nothing is changed"


def test_accounts_that_a_file_does_not_name_keep_their_lists(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text('[accounts]\nsub.parent = "acct-1"\nacct-2.entries = ["9.9.9.9/32"]\n')
    answer = cidrgate("replay", log, "--rules", "new.toml")
    assert "the lists decide about every request as before" in answer.out
    record = cidrgate("replay", log, "--rules", "new.toml", "--account", "sub", "--json").record
    assert verdicts(record) == {"allowed": 1, "newly_denied": 4}, "the parent's list decides for what was unknown"


def test_a_list_that_denies_requests_without_an_address_changes_something(
    cidrgate: Cidrgate, log: str, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text(
        "account,address,forwarded,time\nacct-2,10.0.0.1,garbage,2026-01-01T00:00:00Z\n"
    )
    (tmp_path / "new.csv").write_text("account,cidr\nacct-2,8.8.8.0/24\n")
    proxies = ("--trusted-proxy", "10.0.0.0/8", "--columns", "forwarded=forwarded")
    answer = cidrgate("replay", log, "--rules", "new.csv", *proxies).out
    assert "as before" not in answer
    [row] = [line.split() for line in answer.splitlines() if line.startswith("acct-2")]
    assert row[:7] == ["acct-2", "no", "client", "address", "newly", "denied", "0"]
    record = cidrgate("replay", log, "--rules", "new.csv", *proxies, "--json").record
    assert (verdicts(record), record["changes"][0]["network"]) == ({"newly_denied": 1}, None)


def test_the_setting_for_unknown_accounts_decides_before_an_account_is_created(
    cidrgate: Cidrgate, log: str, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("account,cidr\nnobody,9.9.9.0/24\n")
    answer = cidrgate("replay", log, "--rules", "new.csv").out
    assert "not known: what gates answer for account 'nobody' now, before the creation: " in answer
    assert "as before" not in answer
    [unknown] = cidrgate("replay", log, "--rules", "new.csv", "--json").record["unknown"]
    assert unknown["code"] == "unlisted"


def test_of_no_request_nothing_is_said_to_be_as_before(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("account,cidr\nacct-2,9.9.9.0/24\n")
    (tmp_path / "calls.csv").write_text("account,address,time\n")
    answer = cidrgate("replay", log, "--rules", "new.csv").out
    assert "there is no request to decide about" in answer
    assert "as before" not in answer


def test_a_file_without_a_column_of_the_others_is_named(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "calls-2.csv").write_text("time,address,Account\n2026-01-01,8.8.8.8,acct-1\n")
    (tmp_path / "calls-3.csv").write_text("account,ip,time\nacct-1,8.8.8.8,2026-01-01\n")
    cidrgate("replay", "calls.csv", "calls-2.csv")
    refused = cidrgate("replay", "calls*.csv", status=2).err
    assert "calls-3.csv has no column time" in refused or "calls-3.csv has no column address" in refused


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
@pytest.mark.parametrize("turned", [False, True])
def test_subaccounts_stand_in_any_order(
    cidrgate: Cidrgate, log: str, tmp_path: Path, names: tuple[str, str], turned: bool
) -> None:
    parent, sub = names
    tables = [f'[accounts.{parent}]\nentries = ["8.8.8.8/32"]\n', f'[accounts.{sub}]\nparent = "{parent}"\n']
    (tmp_path / "new.toml").write_text("".join(reversed(tables) if turned else tables))
    for more in ((), ("--alone",)):
        record = cidrgate("replay", log, "--rules", "new.toml", "--account", sub, "--json", *more).record
        assert verdicts(record)["denied" if more else "newly_denied"] == 4
    cidrgate("apply", "new.toml", "--yes")
    cidrgate("export", "--output", "all.export")
    record = cidrgate("replay", log, "--rules", "all.export", "--account", sub, "--json").record
    assert verdicts(record) == {"allowed": 1, "denied": 4}


@pytest.mark.parametrize("more", [(), ("--alone",)])
def test_a_parent_that_nobody_knows_is_said(
    cidrgate: Cidrgate, log: str, tmp_path: Path, more: tuple[str, ...]
) -> None:
    (tmp_path / "new.toml").write_text('[accounts.sub]\nparent = "nowhere"\n')
    answer = cidrgate("replay", log, "--rules", "new.toml", *more, status=2)
    assert "there is no account 'nowhere', which new.toml names as the parent of 'sub'" in answer.err


def test_a_log_is_no_file_of_lists(cidrgate: Cidrgate, log: str) -> None:
    answer = cidrgate("replay", log, "--rules", log, status=2)
    assert "name its columns as `import` needs them" in answer.err
    assert "--columns" not in answer.err


def test_an_export_is_what_it_exports(cidrgate: Cidrgate, log: str) -> None:
    cidrgate("export", "--output", "all.export")
    cidrgate("add", "acct-1", "9.9.9.9/32")
    record = cidrgate("replay", log, "--rules", "all.export", "--json").record
    assert verdicts(record) == {"allowed": 2, "newly_denied": 1, "unknown_account": 1, "no_account": 1}


def test_a_file_that_breaks_a_rule_is_refused(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("account,cidr\nacct-1,9.9.9.9/24\n")
    assert cidrgate("replay", log, "--rules", "bad.csv", "--json", status=3).error["code"] == "bad_rows"
    (tmp_path / "bad.toml").write_text('[accounts]\nacct-1.entries = ["10.0.0.0/8"]\n')
    assert cidrgate("replay", log, "--rules", "bad.toml", "--json", status=3).error["code"] == "bad_rows"


def test_people_see_a_summary_and_files_are_written(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text(LOG + "acct-1,nowhere,2026-01-01T01:00:00Z\n")
    answer = cidrgate("replay", log, "--output", "rows.parquet", "--html", "report.html")
    for said in (
        "6 lines with 5 requests",
        "denied",
        "9.9.9.0/24",
        "1 bad line",
        "calls.csv:7: 'nowhere' is not an address",
    ):
        assert said in answer.out
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 5
    page = (tmp_path / "report.html").read_text()
    assert "nowhere" in page


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["calls.csv", "--rules", "current"], "name it with --snapshot"),
        (["calls.csv", "--alone"], "--alone is about the lists of a file"),
        (["calls.csv", "--rules", "a.csv", "--alone", "--snapshot", "s"], "leave out --snapshot"),
        (["calls.csv", "--snapshot", "s"], "say --rules current"),
        (["calls.csv", "--rules", "current", "--snapshot", "nowhere"], "cannot read nowhere"),
        (["calls.csv", "--rules", "nowhere.csv"], "cannot read nowhere.csv"),
        (["calls.csv", "--rules", "-"], "name the file with the lists"),
        (["calls.csv", "--output", "-"], "--output names a Parquet file"),
        (["access.log"], "does not say its format: add --format"),
        (["calls.csv", "--format", "csv", "--log-format", "$a"], "--format or --log-format"),
        (["calls.csv", "--log-format", "$a$b"], "--log-format cannot be read back"),
        (["calls.csv", "--columns", "cidr=x"], "FIELD is one of account, address"),
        (["calls.csv", "--columns", "time=x,time=y"], "names the column of time twice"),
        (["calls.csv", "--account", "a", "--account-path", "b"], "--account or --account-path"),
        (["calls.csv", "--columns", "account=a", "--account", "a"], "leave out --account"),
        (["calls.csv", "--account-path", "x"], "--account-path: the pattern"),
        (["calls.csv", "--client-header", "x-real-ip"], "can only be trusted from a proxy"),
        (["nowhere.csv"], "there is no such file"),
        (["calls.csv", "--columns", "account=who"], "has no column who"),
        (["calls.csv", "--trusted-hops", "1"], "nothing says where the log has it"),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_what_cannot_be_is_said(cidrgate: Cidrgate, log: str, arguments: list[str], problem: str) -> None:
    answer = cidrgate("replay", *arguments, status=2)
    assert problem in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("option", ["--output", "--html"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("calls.csv", "another file of this command"),
        ("./other/../calls.csv", "another file of this command"),
        ("lists.csv", "another file of this command"),
        ("lists.snapshot", "another file of this command"),
        ("link.csv", "symbolic link"),
        ("lists.db", "database"),
    ],
)
def test_a_replay_replaces_nothing_that_it_reads_and_no_database(
    cidrgate: Cidrgate, log: str, tmp_path: Path, option: str, name: str, words: str
) -> None:
    cidrgate("compile", "lists.snapshot")
    (tmp_path / "lists.csv").write_text("account,cidr\nacct-1,9.9.9.9/32\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "link.csv").symlink_to("notes.txt")
    (tmp_path / "notes.txt").write_text("notes")
    [database] = (path for path in tmp_path.iterdir() if path.suffix == ".db")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    written = database.name if name == "lists.db" else name
    lists = ("--rules", "lists.csv", "--snapshot", "lists.snapshot")
    assert words in cidrgate("replay", f"{log[:-4]}*.csv", *lists, option, written, status=2).err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_report_is_written_to_a_device_and_rows_replace_none(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "nothing").symlink_to("/dev/null")
    cidrgate("replay", log, "--html", "nothing")
    assert "symbolic link" not in cidrgate("replay", log, "--output", "nothing", status=2).err
    assert (tmp_path / "nothing").is_symlink()
    assert Path("/dev/null").is_char_device()


def test_rows_replace_a_file_that_others_have_mapped_and_are_private(
    cidrgate: Cidrgate, log: str, tmp_path: Path
) -> None:
    cidrgate("compile", "lists.snapshot")
    mapped = Matcher.open(tmp_path / "lists.snapshot")
    cidrgate("replay", log, "--output", "lists.snapshot")
    assert (mapped.allows("acct-1", "8.8.8.8"), mapped.allows("acct-1", "9.9.9.9")) == (True, False)
    assert (tmp_path / "lists.snapshot").stat().st_mode & 0o777 == 0o600
    (tmp_path / "bad.csv").write_text("account,address,time\nacct-1,nothing,never\n")
    rows = (tmp_path / "lists.snapshot").read_bytes()
    cidrgate("replay", "bad.csv", "--output", "lists.snapshot", status=2)
    assert (tmp_path / "lists.snapshot").read_bytes() == rows


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "time", ["inf", "-inf", "NaN", "-9e18", "9" * 22, "99999-01-01", "0000-01-01T00:00:00Z", "294000-01-01", "infinity"]
)
def test_a_time_that_is_none_makes_a_bad_line(cidrgate: Cidrgate, tmp_path: Path, ending: str, time: str) -> None:
    cidrgate("account", "create", "a")
    rows = [("a", "8.8.8.8", "2026-01-01T00:00:00Z"), ("a", "8.8.8.8", time)]
    names = ("account", "address", "time")
    lines = [",".join(row) for row in (names, *rows)]
    if ending == "jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    (tmp_path / f"odd.{ending}").write_text("\n".join(lines) + "\n")
    record = cidrgate("replay", f"odd.{ending}", "--json").record
    assert (record["lines"], record["bad_lines"], verdicts(record)) == (2, 1, {"allowed": 1})


def test_a_row_stands_for_a_bounded_number_of_requests(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("account", "create", "a")
    counts = [10**12, 10**12 + 1, 2**63 - 1, 10**30, 0, -3, 7]
    rows = "".join(f"a,8.8.8.8,2026-01-01T00:00:00Z,{count}\n" for count in counts)
    (tmp_path / "many.csv").write_text(f"account,address,time,requests\n{rows}")
    record = cidrgate("replay", "many.csv", "--columns", "requests=requests", "--json").record
    assert (record["bad_lines"], verdicts(record)) == (5, {"allowed": 10**12 + 7})


def test_lists_that_do_not_fit_the_accounts_of_the_store_are_refused(cidrgate: Cidrgate, log: str) -> None:
    cidrgate("account", "create", "sub", "--parent", "acct-1")
    Path("rules.csv").write_text("account,cidr\nsub,9.9.9.0/24\n")
    refused = cidrgate("replay", log, "--rules", "rules.csv", status=2).err
    assert "rules.csv does not fit the accounts of the store: " in refused


def test_what_has_expired_since_a_snapshot_was_written_does_not_count(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    with RuleManager.open("lists.db", follow=False) as manager:
        manager.add("acct-1", "9.9.9.0/24", expires_at=(until := soon()))
        manager.save_snapshot("lists.snapshot")
    (tmp_path / "log.csv").write_text("account,address,time\nacct-1,9.9.9.9,2026-01-01T00:00:00Z\n")
    eventually(lambda: datetime.now(UTC) > until)
    for lists in (["--snapshot", "lists.snapshot", "--rules", "current"], []):
        assert verdicts(cidrgate("replay", "log.csv", "--json", *lists).record) == {"denied": 1}
