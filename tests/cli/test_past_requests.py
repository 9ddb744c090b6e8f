"""Logs and days for dry runs and `recommend`: which requests of the past they read, and what they refuse."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cidrgate import Observation, RuleManager
from cidrgate.stores.observations import add_observations
from cidrgate.stores.schema import accounts, entries
from tests.command_line import typed
from tests.observed import store_observed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cidrgate

pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'cidrgate[replay]'")

LOG = "account,address,time\n" + "".join(
    f"{account},{address},2026-01-0{day}T00:00:00Z\n"
    for account, address, day in [
        ("a", "8.8.8.8", 1),
        ("a", "8.8.8.8", 2),
        ("s", "8.8.8.9", 3),
        ("a", "9.9.9.9", 3),
        ("b", "4.4.4.4", 4),
        ("b", "10.0.0.1", 4),
    ]
)
PATHS = "address,path,time\n8.8.8.8,/v1/a/x,2026-01-01T00:00:00Z\n4.4.4.4,/v1/%62/x,2026-01-01T00:00:00Z\n"


@pytest.fixture
def log(cidrgate: Cidrgate, tmp_path: Path) -> str:
    """A log, the account a with a list and a subaccount, and the account b without a list."""
    cidrgate("add", "a", "8.8.8.0/24, 1.1.1.1/32", "--create")
    cidrgate("account", "create", "s", "--parent", "a")
    cidrgate("account", "create", "b")
    (tmp_path / "calls.csv").write_text(LOG)
    (tmp_path / "paths.csv").write_text(PATHS)
    (tmp_path / "lists.toml").write_text('[accounts.a]\nentries = [{cidr = "1.1.1.1/32"}]\n')
    return "calls.csv"


DENIED = "since 2026-01-01 00:00 UTC, 2 addresses with 3 requests of 2 accounts would be denied:"
ALLOWED = "since 2026-01-01 00:00 UTC, 1 address with 1 request would be allowed that are denied now:"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("add a 9.9.9.9/32 --dry-run", ALLOWED),
        ("edit a 8.8.8.0/24 9.9.9.0/24 --dry-run", ALLOWED),
        ("remove a 8.8.8.0/24 --dry-run", DENIED),
        ("replace a 1.1.1.1/32 --dry-run", DENIED),
        ("restore a --to-sequence 1 --empty --dry-run", ALLOWED),
        ("undo a 2 --empty --dry-run", ALLOWED),
        ("mode a off --confirm disable_enforcement --dry-run", ALLOWED),
        ("pause a --for 1h --confirm disable_enforcement --dry-run", ALLOWED),
        ("account edit s --no-parent --confirm disable_enforcement --confirm other_list --dry-run", "no request that"),
        ("apply lists.toml --prune --dry-run", DENIED),
    ],
)
def test_every_dry_run_evaluates_a_log(cidrgate: Cidrgate, log: str, command: str, said: str) -> None:
    answer = cidrgate(*shlex.split(command), "--from-log", log)
    assert said in answer.out
    record = cidrgate(*shlex.split(command), "--from-log", log, "--json").record["evaluation"]
    assert (record["days"], record["lists"]) == (None, 1)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "odd.parquet"])
@pytest.mark.parametrize(
    "command", ["replay", "recommend --account a --from-log", "remove a 8.8.8.0/24 --dry-run --from-log"]
)
def test_a_column_of_requests_that_is_not_read_is_said(
    cidrgate: Cidrgate, log: str, tmp_path: Path, ending: str, command: str
) -> None:
    row = {"account": "a", "address": "8.8.8.8", "time": datetime(2026, 1, 1, tzinfo=UTC), "requests": 10}
    name = f"counted.{ending}"
    if ending == "csv":
        (tmp_path / name).write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    elif ending == "jsonl":
        (tmp_path / name).write_text(json.dumps(row, default=str) + "\n")
    else:  # what has a time of another type is read through DuckDB
        table = pa.Table.from_pylist([row])
        pq.write_table(table if ending == "parquet" else table.set_column(2, "time", [["2026-01-01"]]), tmp_path / name)
    said = "the column requests is not read, so that each row counts as one request"
    answer = cidrgate(*shlex.split(command), name)
    assert said in answer.out + answer.err
    answer = cidrgate(*shlex.split(command), name, "--columns", "requests=requests")
    assert said not in answer.out + answer.err


@pytest.mark.parametrize(
    "command",
    [
        "replay",
        "recommend --account new --from-log",
        "add new 4.4.4.0/24 --dry-run --from-log",
        "apply new.toml --dry-run --from-log",
    ],
)
def test_requests_with_a_former_name_are_told(cidrgate: Cidrgate, log: str, tmp_path: Path, command: str) -> None:
    said = "2 requests with 'b', a former name of account 'new', which do not count"
    if command == "replay":
        said = "the log has requests with 'b' of accounts that were renamed"
    (tmp_path / "new.toml").write_text('[accounts]\nnew.entries = ["4.4.4.0/24"]\n')
    (tmp_path / log).write_text(LOG + "new,8.8.8.8,2026-01-01T00:00:00Z\n")
    cidrgate("account", "rename", "b", "middle")
    cidrgate("account", "rename", "middle", "new")
    assert said in cidrgate(*shlex.split(command), log).out
    # Another account that has the name now acted, as far as the log tells.
    cidrgate("account", "create", "b")
    answer = cidrgate(*shlex.split(command), log).out
    assert "former name" not in answer
    assert "renamed" not in answer


PROXIES = ("--trusted-proxy", "10.0.0.0/8", "--columns", "forwarded=forwarded")


@pytest.mark.parametrize(
    ("command", "group"),
    [
        ("add open 8.8.8.0/24", "newly_denied"),
        ("replace open 8.8.8.0/24", "newly_denied"),
        ("mode open enforce --closed", "newly_denied"),
        ("resume paused", "newly_denied"),
        ("apply new.toml", "newly_denied"),
        ("add a 9.9.9.0/24", None),
        ("remove a 8.8.8.0/24", None),
        ("mode a off --confirm disable_enforcement", "newly_allowed"),
        ("pause a --for 1h --confirm disable_enforcement", "newly_allowed"),
        ("account delete open", "denied_if_unlisted"),
        ("account create new --closed", "newly_denied"),
    ],
)
def test_every_dry_run_counts_requests_without_an_address(
    cidrgate: Cidrgate, log: str, tmp_path: Path, command: str, group: str | None
) -> None:
    """A gate allows them if the list is not enforced, and denies them if it is."""
    cidrgate("account", "create", "open")
    cidrgate("add", "paused", "8.8.8.0/24", "--create")
    cidrgate("pause", "paused", "--for", "1h", "--confirm", "disable_enforcement")
    (tmp_path / "new.toml").write_text('[accounts]\nopen.entries = ["8.8.8.0/24"]\n')
    names = ("a", "s", "open", "paused", "new")
    rows = "".join(f"{name},10.0.0.1,garbage,2026-01-01T00:00:00Z\n" for name in names)
    (tmp_path / log).write_text(f"account,address,forwarded,time\n{rows}")
    dry_run = (*shlex.split(command), "--dry-run", "--from-log", log, *PROXIES)
    found = cidrgate(*dry_run, "--json").record["evaluation"]
    groups = ("newly_denied", "newly_allowed", "denied_if_unlisted", "allowed_if_unlisted", "allowed_if_created")
    counts = {name: found[name]["requests"] for name in groups if found[name]["requests"]}
    of_list = 2 if " a " in command else 1
    assert counts == ({} if group is None else {group: of_list})
    if group is not None:
        assert found[group]["without_address"] == of_list
        assert "without a client address" in cidrgate(*dry_run).out
        assert "no_address" not in [one["code"] for one in found["unknown"]], "a log knows them"


def test_an_import_says_whom_a_first_list_would_deny(cidrgate: Cidrgate, tmp_path: Path) -> None:
    (tmp_path / "lists.csv").write_text("account,cidr\nb,1.1.1.1/32\nc,10.0.0.0/8\nd,7.7.7.7/32\n")
    cidrgate("account", "create", "b")
    assert "no traffic is stored" in cidrgate("import", "lists.csv", "--dry-run", status=7).out
    with RuleManager.open(f"sqlite:///{tmp_path / 'lists.db'}") as manager:
        manager.create_account("c")
        store_observed(manager, ("b", "8.8.8.8/32", 12), ("b", "1.1.1.1/32", 5), ("c", "9.9.9.9/32", 30))
    answer = cidrgate("import", "lists.csv", "--dry-run", "--days", "7", status=7)
    assert "in the last 7 days, 1 address with 12 requests would be denied:" in answer.out
    record = cidrgate("import", "lists.csv", "--dry-run", "--closed", "--json", status=7).record
    assert record["evaluation"]["newly_denied"]["requests"] == 42
    assert record["evaluation"]["lists"] == 3
    stopped = cidrgate("import", "lists.csv", "--dry-run", "--strict", "--json", status=3).record
    assert stopped["evaluation"]["lists"] == 0
    assert "add --dry-run" in cidrgate("import", "lists.csv", "--days", "7", status=2).err


def test_a_creation_says_whom_its_list_would_deny(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / log).write_text(LOG.replace("b,", "new,"))
    for more, denied, allowed in (([], 0, 2), (["--closed"], 2, 0), (["--parent", "a"], 2, 0)):
        create = ["account", "create", "new", *more, "--dry-run", "--from-log", log]
        evaluation = cidrgate(*create, "--json").record["evaluation"]
        found = [evaluation[name]["requests"] for name in ("newly_denied", "allowed_if_created")]
        assert found == [denied, allowed]
        assert "what gates answer for account 'new' now" in cidrgate(*create).out
    assert "add --dry-run" in cidrgate("account", "create", "new", "--days", "7", status=2).err


def test_subaccounts_that_a_file_creates_are_evaluated(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / log).write_text(LOG.replace("b,", "new,"))
    (tmp_path / "new.toml").write_text('[accounts.new]\nparent = "a"\n')
    for command in (["plan", "new.toml"], ["apply", "new.toml", "--dry-run"]):
        status = 2 if command[0] == "plan" else 0
        evaluation = cidrgate(*command, "--from-log", log, "--json", status=status).record["evaluation"]
        found = [evaluation[name]["requests"] for name in ("newly_denied", "allowed_if_created")]
        assert (evaluation["lists"], found) == (1, [2, 0])
    cidrgate("apply", "new.toml")
    cidrgate("export", "-o", "all.jsonl")
    cidrgate("account", "delete", "new", "--confirm", "disable_enforcement")
    cidrgate("add", "b", "4.4.4.4/32")
    with RuleManager.open(f"sqlite:///{tmp_path / 'lists.db'}") as manager:
        store_observed(manager, ("b", "8.8.8.8/32", 12))
    evaluation = cidrgate("import", "all.jsonl", "--skip-existing", "--dry-run", "--json").record["evaluation"]
    assert evaluation["lists"] == 1
    assert "'new'" in next(one["text"] for one in evaluation["unknown"] if one["code"] == "unlisted")


def test_nothing_is_evaluated_that_a_strict_run_would_not_change(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / "lists.toml").write_text(
        '[accounts.a]\nentries = ["1.1.1.1/32"]\n[accounts.bad]\nentries = ["10.0.0.0/8"]\n'
    )
    command = ["apply", "lists.toml", "--prune", "--dry-run", "--from-log", log]
    assert DENIED in cidrgate(*command, status=7).out
    stopped = cidrgate(*command, "--strict", status=3)
    assert "0 accounts change because of a problem, as --strict asks; without it, 1 account would" in stopped.out
    assert "every request would be decided as it is now" in stopped.out
    assert "nothing would be changed, as --strict asks" in stopped.err
    record = cidrgate(*command, "--strict", "--json", status=3).record
    assert (record["applied"], record["evaluation"]["lists"]) == (False, 0)
    # What is not confirmed is refused as it would be then, and so is what needs it.
    (tmp_path / "lists.toml").write_text(
        '[accounts.new]\nentries = ["8.0.0.0/9"]\n[accounts.s2]\nparent = "new"\n[accounts.s3]\nparent = "a"\n'
    )
    for strict in (["--strict"], []):
        options = ["apply", "lists.toml", "--widest-ipv4", "16", "--json", *strict]
        tried = cidrgate(*options, "--dry-run", status=3 if strict else 7)
        assert {one["account"]: one["code"] for one in tried.error["errors"]} == {
            "new": "would_add_wide_entry",
            "s2": "account_not_found",
        }
        assert [one["account"] for one in tried.record["changes"]] == ["s3"]
        assert cidrgate(*options, status=3 if strict else 7).error["errors"] == tried.error["errors"]


def test_a_plan_and_a_resumption_evaluate_a_log(cidrgate: Cidrgate, log: str) -> None:
    assert DENIED in cidrgate("plan", "lists.toml", "--prune", "--from-log", log, status=2).out
    cidrgate("mode", "a", "off", "--confirm", "disable_enforcement")
    said = cidrgate("resume", "a", "--dry-run", "--from-log", log).out
    assert "1 address with 1 request would be denied:\naddress  account" in said


def test_accounts_of_a_log_are_found_in_paths_or_are_all_the_same(cidrgate: Cidrgate, log: str) -> None:
    remove = ["remove", "a", "8.8.8.0/24", "--dry-run", "--json", "--from-log"]
    by_path = ["paths.csv", "--account-path", "/v1/(?P<account>[^/]+)", "--columns", "path=path"]
    found = cidrgate(*remove, *by_path).record["evaluation"]
    assert [one["network"] for one in found["newly_denied"]["named"]] == ["8.8.8.8/32"]
    found = cidrgate(*remove, log, "--log-account", "a").record["evaluation"]
    assert (found["newly_denied"]["requests"], found["still_denied"]["requests"]) == (3, 3)
    found = cidrgate("recommend", "--account", "b", "--json", "--from-log", *by_path).record
    assert [one["cidr"] for one in found["networks"]] == ["4.4.4.4/32"]


def test_bad_lines_count_nowhere_and_are_said(cidrgate: Cidrgate, log: str, tmp_path: Path) -> None:
    (tmp_path / log).write_text(LOG + "a,8.8.8.8,yesterday\n")
    answer = cidrgate("remove", "a", "8.8.8.0/24", "--dry-run", "--from-log", log)
    assert DENIED in answer.out
    assert answer.err.startswith("1 bad line counts nowhere: calls.csv:")
    answer = cidrgate("recommend", "--from-log", log, "--max-bad", "0", status=2)
    assert "more than 0 lines are bad" in answer.err


def test_a_list_is_recommended_from_the_requests_of_its_account(cidrgate: Cidrgate, log: str) -> None:
    record = cidrgate("recommend", "--from-log", log, "--json").record
    assert [one["cidr"] for one in record["networks"]] == ["4.4.4.4/32", "8.8.8.8/31", "9.9.9.9/32"]
    # The list denies 9.9.9.9 now, and nobody used 1.1.1.1.
    record = cidrgate("recommend", "--from-log", log, "--account", "s", "--json").record
    assert [one["cidr"] for one in record["networks"]] == ["8.8.8.8/31"]
    assert [(one["network"], one["reason"]) for one in record["left_out"]] == [("9.9.9.9/32", "denied")]
    assert [one["cidr"] for one in record["unused"]] == ["1.1.1.1/32"]
    assert "unused in the log:" in cidrgate("recommend", "--from-log", log, "--account", "a").out
    record = cidrgate("recommend", "--from-log", log, "--account", "a", "--include-denied", "--json").record
    assert [one["cidr"] for one in record["networks"]] == ["8.8.8.8/31", "9.9.9.9/32"]
    # An account without a list denies nothing.
    record = cidrgate("recommend", "--from-log", log, "--account", "b", "--json").record
    assert [(one["network"], one["reason"]) for one in record["left_out"]] == [("10.0.0.1/32", "special_range")]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("add a 9.9.9.9/32 --from-log calls.csv", "add --dry-run"),
        ("add a 9.9.9.9/32 --days 3", "--days is about requests that a dry run evaluates: add --dry-run"),
        ("apply lists.toml --from-log calls.csv", "add --dry-run"),
        ("add a 9.9.9.9/32 --dry-run --format csv", "--format says how a log is read"),
        ("add a 9.9.9.9/32 --dry-run --from-log calls.csv --days 3", "leave it out"),
        ("add a 9.9.9.9/32 --dry-run --from-log calls.csv --log-account a --account-path b", "not both"),
        ("add a 9.9.9.9/32 --dry-run --from-log calls.csv --columns account=x --log-account b", "leave out"),
        ("add a 9.9.9.9/32 --dry-run --from-log calls.log", "does not say its format"),
        ("add a 9.9.9.9/32 --dry-run --from-log none.csv", "no such file"),
        ("add a 9.9.9.9/32 --dry-run --from-log calls.csv --trusted-proxy 0.0.0.0/0", "--trust"),
        ("plan - --from-log - --format csv", "stdin can be read once"),
        ("recommend lists.toml --from-log calls.csv", "not both"),
        ("recommend --from-log calls.csv --columns account=account", "say with --account"),
        ("recommend --from-log calls.csv --account nobody", "nobody"),
        ("recommend --from-log calls.csv --account a --columns account=time", "no request of account 'a' is in calls"),
        ("recommend --from-log paths.csv --account a", "has no column account"),
        ("recommend", "--from-log LOG"),
        *(
            (f"add a 9.9.9.9/32 --dry-run {option}", f"{option.split()[0]} says how a log is read")
            for option in (
                *("--max-bad 0", "--max-bad 1", "--log-format ''", "--columns ''", "--account-path ''"),
                *("--trusted-proxy ''", "--trusted-hops 1", "--trust-everybody", "--client-header ''"),
            )
        ),
        ("add a 9.9.9.9/32 --dry-run --log-account ''", "--log-account is empty"),
        ("recommend --from-log calls.csv --log-account ''", "--log-account is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(cidrgate: Cidrgate, log: str, command: str, said: str) -> None:
    result = typed(shlex.split(command), "", cidrgate.environment)
    assert result.exit_code in (1, 2, 4), result.stdout
    assert said in result.stderr
    assert cidrgate.listed("a") == [("1.1.1.1/32", None), ("8.8.8.0/24", None)]


def test_days_choose_the_stored_traffic(cidrgate: Cidrgate, log: str) -> None:
    with RuleManager.open(cidrgate.database, load=False) as manager:
        store_observed(manager, ("a", "8.8.8.8/32", 7))
    record = cidrgate("remove", "a", "8.8.8.0/24", "--dry-run", "--days", "3", "--json").record["evaluation"]
    assert (record["days"], record["newly_denied"]["requests"]) == (3, 7)
    said = cidrgate("remove", "a", "8.8.8.0/24", "--dry-run", "--days", "1").out
    assert "today, since 00:00 UTC, 1 address with 7 requests would be denied:" in said


def test_a_minute_of_recording_is_no_whole_day(cidrgate: Cidrgate, log: str) -> None:
    now = datetime.now(UTC)
    seen = Observation(account="a", network="8.8.8.8/32", allowed=True, requests=7, first_seen=now, last_seen=now)
    with RuleManager.open(cidrgate.database, load=False) as manager, manager._store.write() as transaction:
        for table in (accounts, entries):
            transaction.connection.execute(table.update().values(created_at=now - timedelta(days=3)))
        add_observations(transaction, [seen])
    for days, whole in (("1", "today"), ("2", "the last 2 days")):
        said = cidrgate("remove", "a", "8.8.8.0/24", "--dry-run", "--days", days).out
        assert "since some time on" in said
        assert f"perhaps late that day, so perhaps not for all of {whole}" in said
        record = cidrgate("remove", "a", "8.8.8.0/24", "--dry-run", "--days", days, "--json").record["evaluation"]
        assert [one["code"] for one in record["unknown"] if one["code"] != "no_traffic"] == ["short_window"]
        assert record["since"].endswith("T00:00:00+00:00")  # no account learns when another one called
        said = cidrgate("recommend", "--account", "a", "--days", days).out
        assert "unused since some time on" in said
        assert f"not for all of {whole}" in said
    missing = cidrgate("recommend", "--account", "b", "--days", "1", status=4).err
    assert "no traffic of account 'b' was recorded today, since 00:00 UTC" in missing


def test_a_creation_is_evaluated_for_gates_that_deny_unknown_accounts(cidrgate: Cidrgate, log: str) -> None:
    log_of_new = "account,address,time\n" + "".join(
        f"new,{address},2026-01-01T00:00:00Z\n" for address in ["9.9.9.9"] * 5 + ["7.7.7.7"] * 3
    )
    (cidrgate.database.parent / "new.csv").write_text(log_of_new)
    (cidrgate.database.parent / "new.toml").write_text('[accounts.new]\nentries = [{cidr = "9.9.9.0/24"}]\n')
    for command, status in (
        ("add new 9.9.9.0/24 --create --dry-run", 0),
        ("apply new.toml --dry-run", 0),
        ("plan new.toml", 2),
    ):
        answer = cidrgate(*command.split(), "--from-log", "new.csv", status=status)
        assert "5 requests would be allowed that gates deny now if they deny unknown accounts:" in answer.out
        assert "3 requests would be denied:" in answer.out
        assert "not known: what gates answer for account 'new' now, before the creation" in answer.out
        found = cidrgate(*command.split(), "--from-log", "new.csv", "--json", status=status).record["evaluation"]
        assert (found["newly_denied"]["requests"], found["allowed_if_created"]["requests"]) == (3, 5)
    # Stored traffic of other accounts says nothing of one that does not exist, and is not said to be missing.
    with RuleManager.open(cidrgate.database, load=False) as manager:
        store_observed(manager, ("a", "8.8.8.8/32", 7))
    found = cidrgate("add", "new", "9.9.9.0/24", "--create", "--dry-run", "--json").record["evaluation"]
    assert [one["code"] for one in found["unknown"]] == ["no_traffic", "unlisted"]
    assert "new" not in cidrgate.accounts()


def test_an_export_is_evaluated_before_it_is_imported(cidrgate: Cidrgate, log: str) -> None:
    cidrgate("add", "b", "4.4.4.4/32")
    cidrgate("export", "-o", "all.jsonl")
    cidrgate("replace", "a", "9.9.9.0/24")
    cidrgate("account", "delete", "b", "--confirm", "disable_enforcement")
    restore = ["import", "all.jsonl", "--replace", "--dry-run"]
    assert "no traffic is stored" in cidrgate(*restore).out
    with RuleManager.open(cidrgate.database, load=False) as manager:
        store_observed(manager, ("a", "9.9.9.9/32", 7), ("s", "9.9.9.8/32", 2), ("a", "8.8.8.8/32", 1))
    answer = cidrgate(*restore, "--days", "7")
    assert "in the last 7 days, 2 addresses with 9 requests of 2 accounts would be denied:" in answer.out
    assert "1 address with 1 request would be allowed that are denied now:" in answer.out
    assert answer.out.endswith("nothing was changed: this was a dry run\n")
    record = cidrgate(*restore, "--json").record
    assert (record["evaluation"]["newly_denied"]["requests"], record["evaluation"]["lists"]) == (9, 2)
    assert [one["code"] for one in record["evaluation"]["unknown"]] == ["no_traffic", "unlisted"]  # of b
    assert "evaluation" not in cidrgate("import", "all.jsonl", "--replace", "--json").record
    assert "add --dry-run" in cidrgate("import", "all.jsonl", "--replace", "--days", "7", status=2).err
