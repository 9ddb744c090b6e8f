"""`cidrgate recommend`: from files and from recorded traffic, alone and beside the list of an account."""

from __future__ import annotations

import io
import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from cidrgate import Account, Entry, Observation, RuleManager
from cidrgate.cli.address_files import seen_in_lines
from cidrgate.cli.errors import CommandError
from cidrgate.foresight import CurvePoint
from cidrgate.foresight.curve_plots import bar, curve_svg
from cidrgate.foresight.evaluation import DecidingNow
from cidrgate.foresight.observed import read_observed
from cidrgate.manager.outcomes import Guard
from cidrgate.stores.observations import add_observations
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cidrgate

SEEN = "8.8.8.8,5\n9.9.9.9,12\n8.8.9.9\n8.8.200.1\n10.0.0.1\n2606:4700::1\nfoo\n"
SVG = "{http://www.w3.org/2000/svg}"

ADDRESSES = st.sampled_from(["8.8.8.8", "2606:4700::1", "10.0.0.0/8", "::ffff:9.9.9.9"])
ROWS = st.lists(st.tuples(ADDRESSES, st.none() | st.integers(0, 10**18 - 1)), min_size=1, max_size=6)


@given(ROWS, st.sampled_from([",", ";", "\t", " ", "uniq", ", "]), st.sampled_from(["\n", "\r\n"]))
def test_every_form_of_a_line_is_read(rows: list[tuple[str, int | None]], form: str, end: str) -> None:
    lines = ["# addresses" + end, end]
    for address, number in rows:
        if number is None:
            lines.append(address + end)
        else:
            lines.append((f"    {number} {address}" if form == "uniq" else f"{address}{form}{number}") + end)
    expected: Counter[str] = Counter()
    for address, number in rows:
        expected[address] += 1 if number is None else number
    assert seen_in_lines(lines).observed() == expected


@given(ROWS, st.sampled_from(",;\t"), st.sampled_from(["ip", "Address", "client_ip", "CIDR"]), st.sampled_from("hH"))
def test_a_table_is_read_by_its_columns(
    rows: list[tuple[str, int | None]], separator: str, column: str, letter: str
) -> None:
    lines = [separator.join(["time", f'"{letter}its"', column]) + "\n"]
    lines += [separator.join(["12:00", f"{number or ''}", f'"{address}"']) + "\n" for address, number in rows]
    expected: Counter[str] = Counter()
    for address, number in rows:
        expected[address] += number or 1
    assert seen_in_lines(lines).observed() == expected


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "contains no address"),
        (["# only a comment\n", "\n"], "contains no address"),
        (["who,when\n", "8.8.8.8,1\n"], "no column is named address"),
        (["8.8.8.8\n", "8.8.8.8,many\n"], "line 2: 'many' is not a number of requests"),
        (['8.8.8.8 - - [10/Oct/2026] "GET /" 200\n'], "of an access log, give the addresses alone: awk"),
        (["ip,count\n", "8.8.8.8,-1\n"], "line 2: '-1' is not a number of requests"),
        (["ip,status\n", "8.8.8.8,200\n"], "the column 'status' may say which rows count, and recommend does not"),
        (["ip,Action\n", "8.8.8.8,DENY\n"], "the column 'Action' may say which rows count"),
        (["ip,verdict\n", "8.8.8.8,allowed\n"], "or name it 'allowed' and write true or false in it"),
        (["ip,was_allowed\n", "8.8.8.8,1\n"], "the column 'was_allowed' may say"),
        (["ip,waf\n", "8.8.8.8,ok\n", "8.8.8.9,blocked\n"], "line 3: the column 'waf' contains 'blocked'"),
        (["ip,\n", "8.8.8.8,denied\n"], "line 2: column 2, which has no name, contains 'denied'"),
        (["ip,allowed\n", "8.8.8.8,perhaps\n"], "line 2: 'perhaps' in the column 'allowed' is neither true nor false"),
        (["ip,allowed\n", "8.8.8.8\n"], "line 2: '' in the column 'allowed' is neither true nor false"),
        (["ip,account,account\n", "8.8.8.8,a,b\n"], "the column 'account' is repeated"),
        (["ip,agent\n", '8.8.8.8,"open\n', "6.6.6.6,x\n"], "a quote opened in line 2 is not closed there"),
        (["ip,agent\n", '8.8.8.8,"closed"too early\n'], "line 2 is not valid CSV"),
        (["ip,agent\n", '8.8.8.8,\t"open\n', '6.6.6.6,x"\n'], "line 2 has a quote with spaces before it"),
        (['"1open\n', "6.6.6.6,9\n", '"\n'], "line 1 has a quote that is not closed there"),
    ],
)
def test_what_is_no_file_of_addresses_is_refused(lines: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        seen_in_lines(lines)


@given(
    st.lists(st.text(st.sampled_from('a ,;\t"#\r\n6.0'), max_size=12), min_size=1, max_size=4),
    st.sampled_from(",;\t"),
    st.sampled_from(["", " "]),
)
def test_a_line_inside_a_value_is_no_row(values: list[str], separator: str, space: str) -> None:
    values += [f"\n6.6.6.6{separator}{separator}9\n", "\n#"]
    cells = [["address", "agent", "hits"]]
    cells += [["8.8.8.8", space + '"' + value.replace('"', '""') + '"', "2"] for value in values]
    text = "\r\n".join(map(separator.join, cells))
    assert seen_in_lines(io.StringIO(text, newline="")).observed() == {"8.8.8.8": 2 * len(values)}


def test_a_table_has_no_comments(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "#hash")
    table = "# from a database\naccount,address,requests\n#hash,8.8.8.8,5\n# end\n,,\n"
    answer = cidrgate("recommend", "-", "--account", "#hash", stdin=table)
    assert "1 entry covers 1 address that made 5 requests" in answer.out
    assert "1 row has no address and does not count" in answer.err


def test_a_file_is_enough(cidrgate: Cidrgate, tmp_path: Path) -> None:
    (tmp_path / "seen.txt").write_text(SEEN)
    cidrgate.database.unlink()
    answer = cidrgate("recommend", "seen.txt", "--max-entries", "3")
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[:4] == [
        ["CIDR", "addresses", "seen", "requests"],
        ["8.8.0.0/16", "65,536", "3", "7"],
        ["9.9.9.9/32", "1", "1", "12"],
        ["2606:4700::1/128", "1", "1", "1"],
    ]
    assert "3 entries cover 5 addresses that made 20 requests" in answer.out
    assert "65,533 of IPv4, 0 of IPv6" in answer.out
    assert "left out: 2 addresses that made 2 requests" in answer.out
    assert "10.0.0.0/8 is Private-Use (RFC 1918)" in answer.out
    record = cidrgate("recommend", "-", "--max-entries", "3", "--json", stdin=SEEN).record
    assert [one["cidr"] for one in record["networks"]] == ["8.8.0.0/16", "9.9.9.9/32", "2606:4700::1/128"]
    assert (record["extra_ipv4"], record["extra_ipv6"], record["requests_left_out"]) == (65_533, "0", 2)
    assert [one["reason"] for one in record["left_out"]] == ["invalid_format", "special_range"]
    assert [one["entries"] for one in record["curve"]] == [3]
    assert "account" not in record


def test_forced_and_excluded_networks_count(cidrgate: Cidrgate) -> None:
    options = ["--force", "8.8.8.0/24, 1.1.1.0/24", "--exclude", "9.9.9.9", "--exclude", "2606:4700::/32"]
    record = cidrgate("recommend", "-", *options, "--json", stdin=SEEN).record
    assert [one["cidr"] for one in record["networks"]] == ["1.1.1.0/24", "8.8.8.0/24", "8.8.9.9/32", "8.8.200.1/32"]
    assert (
        cidrgate("recommend", "-", "--force", "10.0.0.0/8", "--json", stdin=SEEN, status=3).error["code"]
        == "rules_broken"
    )
    few = cidrgate("recommend", "-", "--max-entries", "1", "--json", stdin=SEEN, status=3).error
    assert (few["code"], few["data"]["fewest"]) == ("recommendation", 3)
    assert (
        "'x' is neither an IP address nor a network: write one such as"
        in cidrgate("recommend", "-", "--exclude", "x", stdin=SEEN, status=2).err
    )
    assert "nothing can be covered" in cidrgate("recommend", "-", stdin="10.0.0.1\n").out


def test_the_curve_is_shown_and_plotted(cidrgate: Cidrgate, tmp_path: Path) -> None:
    answer = cidrgate("recommend", "-", "--curve", "--plot", "curve.svg", stdin=SEEN)
    rows = [line.split() for line in answer.out.splitlines() if "▇" in line or line.endswith("recommended")]
    assert [row[:3] for row in rows] == [["2", "65,533", "0"], ["3", "510", "0"], ["5", "0", "0"]] or len(rows) == 3
    assert rows[-1] == ["5", "0", "0", "recommended"]
    picture = ET.parse(tmp_path / "curve.svg").getroot()
    [line] = picture.findall(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == len(rows)
    assert points == sorted(points)
    assert [y for _, y in points] == sorted(y for _, y in points)  # down the picture, as the extra addresses go
    [mark] = picture.findall(f"{SVG}circle")
    assert (float(mark.attrib["cx"]), float(mark.attrib["cy"])) == points[-1]
    assert "no curve to plot" in cidrgate("recommend", "-", "--plot", "x.svg", stdin="foo1\n", status=2).err


@given(st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 2**128)), min_size=1, max_size=9))
def test_every_curve_can_be_drawn(extras: list[tuple[int, int]]) -> None:
    curve = [CurvePoint(entries=n, extra_ipv4=a, extra_ipv6=b) for n, (a, b) in enumerate(extras, start=1)]
    picture = ET.fromstring(curve_svg(curve, len(curve), 'A & B <"c">'))
    [line] = picture.findall(f"{SVG}polyline")
    for point in line.attrib["points"].split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 720
        assert 0 <= y <= 400
    assert all(len(bar(point, curve)) <= 24 for point in curve)


def test_a_list_is_reviewed_and_the_commands_change_it(cidrgate: Cidrgate) -> None:
    cidrgate("add", "an account", "8.8.0.0/15, 9.9.9.0/24, 4.4.4.4/32", "--create", "--label", "office")
    cidrgate("add", "an account", "5.5.5.5/32", "--no-enabled")
    cidrgate("account", "create", "sub", "--parent", "an account")
    record = cidrgate("recommend", "-", "--account", "sub", "--json", stdin=SEEN).record
    assert (record["account"], record["version"], record["since"]) == ("an account", 2, None)
    assert [(one["cidr"], one["last_seen"]) for one in record["unused"]] == [("4.4.4.4/32", None)]
    assert [(one["cidr"], one["narrower"], one["fewer_addresses"]) for one in record["narrower"]] == [
        ("8.8.0.0/15", "8.8.0.0/16", "65536"),
        ("9.9.9.0/24", "9.9.9.9/32", "255"),
    ]
    out = cidrgate("recommend", "-", "--account", "an account", stdin=SEEN).out
    assert all(f"  {one}\n" in out for one in record["commands"])
    replacing, *others = [shlex.split(one) for one in record["commands"]]
    for one in others:
        cidrgate(*one[1:])
    assert [cidr for cidr, _ in cidrgate.listed("an account")] == ["5.5.5.5/32", "8.8.0.0/16", "9.9.9.9/32"]
    cidrgate(*replacing[1:], status=5)  # the list has changed since
    again = cidrgate("recommend", "-", "--account", "an account", "--json", stdin=SEEN).record
    assert (again["unused"], [one["narrower"] for one in again["narrower"]]) == ([], [])
    [replacing] = [shlex.split(one) for one in again["commands"]]
    cidrgate(*replacing[1:])
    assert [cidr for cidr, _ in cidrgate.listed("an account")] == [one["cidr"] for one in again["networks"]]
    assert "is the recommended one" in cidrgate("recommend", "-", "--account", "sub", stdin=SEEN).out


def test_the_policy_of_the_account_counts(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "9.9.9.9/32", "--create")
    cidrgate("policy", "set", "--account", "a", "--max-entries", "4")
    record = cidrgate("recommend", "-", "--account", "a", "--json", stdin=SEEN).record
    assert len(record["networks"]) == 4
    record = cidrgate("recommend", "-", "--account", "a", "--max-entries", "3", "--json", stdin=SEEN).record
    assert len(record["networks"]) == 3
    wrong = cidrgate("recommend", "-", "--account", "a", "--max-entries", "5", stdin=SEEN, status=2).err
    assert "max_entries must be from 1 to 4, as the policy has it, not 5" in wrong


def test_recorded_traffic_is_enough_too(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24, 9.9.9.0/24", "--create")
    cidrgate("account", "create", "sub", "--parent", "a")
    missing = cidrgate("recommend", "--account", "a", "--json", status=4).error
    assert (missing["code"], "name a file of addresses" in missing["detail"]) == ("no_traffic", True)
    assert "name a file of addresses" in cidrgate("recommend", status=2).err
    assert "--days is about stored traffic" in cidrgate("recommend", "-", "--days", "3", stdin=SEEN, status=2).err
    now = datetime.now(UTC)

    def seen(account: str, network: str, *, allowed: bool = True) -> Observation:
        return Observation(account=account, network=network, allowed=allowed, requests=2, first_seen=now, last_seen=now)

    with RuleManager.open(cidrgate.database, load=False) as manager, manager._store.write() as transaction:
        add_observations(
            transaction,
            [
                seen("a", "8.8.8.8/32"),
                seen("sub", "8.8.8.9/32"),
                seen("sub", "1.1.1.1/32", allowed=False),
            ],
        )
    record = cidrgate("recommend", "--account", "sub", "--days", "7", "--json").record
    assert [one["cidr"] for one in record["networks"]] == ["8.8.8.8/31"]
    assert [(one["network"], one["reason"]) for one in record["left_out"]] == [("1.1.1.1/32", "denied")]
    # The entries were made today: they are too young to be called unused for a week.
    assert record["unused"] == []
    assert [one["narrower"] for one in record["narrower"]] == ["8.8.8.8/31"]
    record = cidrgate("recommend", "--account", "a", "--include-denied", "--json").record
    assert [one["cidr"] for one in record["networks"]] == ["1.1.1.1/32", "8.8.8.8/31"]


def test_networks_and_denied_requests_that_get_in_are_said(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.8/32", "--create")
    now = datetime.now(UTC)
    with RuleManager.open(cidrgate.database, load=False) as manager, manager._store.write() as transaction:
        add_observations(
            transaction,
            [
                Observation(
                    account="a",
                    network="8.8.8.0/24",
                    allowed=allowed,
                    requests=requests,
                    first_seen=now,
                    last_seen=now,
                )
                for allowed, requests in ((True, 3), (False, 50))
            ],
        )
    text = cidrgate("recommend", "--account", "a", "--days", "1").out
    assert "1 entry covers 1 network that made 3 requests" in text
    assert "50 denied requests would be allowed, because an entry covers the address or network" in text
    assert "not known: of 1 network, the single addresses were not kept" in text
    record = cidrgate("recommend", "--account", "a", "--days", "1", "--json").record
    assert (record["observed_networks"], record["requests_newly_allowed"], record["left_out"]) == (1, 50, [])
    assert "truncated" in [one["code"] for one in record["unknown"]]


def test_the_commands_work_for_odd_names_and_limits_that_were_typed(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "--", "--all")
    addresses = "".join(f"9.{number}.7.1\n" for number in range(55))
    options = ("--account", "--all", "--max-entries", "60", "--json")
    [replacing] = cidrgate("recommend", "-", *options, stdin=addresses).record["commands"]
    cidrgate(*shlex.split(replacing)[1:])
    assert len(cidrgate("list", "--json", "--", "--all").record["items"]) == 55


NOW = datetime.now(UTC)
ALLOWED = {True: ["true", "True", "1", "yes", "T"], False: ["false", "False", "0", "no", "F"]}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans(), st.integers(0, 5), st.integers(0, 4)),
        min_size=1,
    ),
    st.sampled_from([None, ["a"], ["a", "b"]]),
    st.booleans(),
    st.permutations(["account", "network", "allowed", "requests", "first_seen"]),
)
def test_only_rows_of_the_accounts_count_and_denied_ones_as_denied(
    rows: list[tuple[str, int, bool, int, int]], accounts: list[str] | None, include_denied: bool, columns: list[str]
) -> None:
    lines = [",".join(columns) + "\n"]
    for account, host, allowed, requests, spelling in rows:
        cells = {
            "account": account,
            "network": f"8.8.8.{host}/32",
            "allowed": ALLOWED[allowed][spelling],
            "requests": f"{requests}",
            "first_seen": "2026-01-01",
        }
        lines.append(",".join(cells[name] for name in columns) + "\n")
    mine = [row for row in rows if accounts is None or row[0] in accounts]
    wanted, denied = Counter[str](), Counter[str]()
    for _, host, allowed, requests, _ in mine:
        (wanted if allowed else denied)[f"8.8.8.{host}/32"] += requests
    read = seen_in_lines(lines)
    seen = read_observed(read.observed(accounts), include_denied=include_denied)
    assert +seen.requests == (wanted + denied if include_denied else +wanted)
    assert seen.denied == (Counter() if include_denied else +denied)
    assert read.ignored == ("first_seen",)
    owner = Account(name="a", parent=None, created_at=NOW)
    for listed, counted in (("8.8.8.0/24", wanted + denied), ("9.9.9.0/24", Counter[str]())):
        entry = Entry(id=1, account="a", cidr=listed, created_at=NOW, created_by=None)
        everything = read_observed(read.observed(accounts, DecidingNow([entry], owner, NOW)))
        assert (+everything.requests, +everything.denied) == (counted, wanted + denied - counted)  # as decided now


TRAFFIC = """account,network,allowed,requests,first_seen,last_seen
a,8.8.8.8/32,True,5,2026-01-01,2026-01-02
b,9.9.9.9/32,True,7,2026-01-01,2026-01-02
s,8.8.4.4/32,True,2,2026-01-01,2026-01-02
a,4.4.4.4/32,False,1,2026-01-01,2026-01-02
"""


def test_a_table_of_observations_is_read_by_account_and_verdict(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "a")
    cidrgate("account", "create", "s", "--parent", "a")
    answer = cidrgate("recommend", "-", "--account", "a", stdin=TRAFFIC)
    assert "cidrgate replace a 8.8.4.4/32 8.8.8.8/32 --expect-version" in answer.out
    assert "7 requests of 1 other account in the file do not count" in answer.err
    assert "ignored the columns 'first_seen', 'last_seen'" in answer.err
    record = cidrgate("recommend", "-", "--account", "a", "--json", stdin=TRAFFIC).record
    assert [(one["network"], one["reason"]) for one in record["left_out"]] == [("4.4.4.4/32", "denied")]
    assert len(record["notes"]) == 2
    record = cidrgate("recommend", "-", "--account", "a", "--include-denied", "--json", stdin=TRAFFIC).record
    assert [one["cidr"] for one in record["networks"]] == ["4.4.4.4/32", "8.8.4.4/32", "8.8.8.8/32"]
    # Without an account, all of them count together, as those of a log do.
    answer = cidrgate("recommend", "-", stdin=TRAFFIC)
    assert "3 entries cover 3 addresses that made 14 requests" in answer.out
    assert "the requests of 3 accounts count together: --account ACCOUNT takes those of one" in answer.err
    # The list decides now, as in recorded traffic: what was denied and is listed counts as allowed, and the reverse.
    cidrgate("add", "a", "4.4.4.4/32")
    record = cidrgate("recommend", "-", "--account", "a", "--json", stdin=TRAFFIC).record
    assert [one["cidr"] for one in record["networks"]] == ["4.4.4.4/32"]
    assert [(one["network"], one["reason"], one["requests"]) for one in record["left_out"]] == [
        ("8.8.4.4/32", "denied", 2),
        ("8.8.8.8/32", "denied", 5),
    ]
    answer = cidrgate("recommend", "-", "--account", "a", "--include-denied", stdin=TRAFFIC)
    assert "3 entries cover 3 addresses that made 8 requests" in answer.out
    cidrgate("account", "create", "c")
    missing = cidrgate("recommend", "-", "--account", "c", stdin=TRAFFIC, status=4).err
    assert "no request in the file is of account 'c'" in missing


def test_the_commands_do_without_a_limit_that_was_not_typed(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.8/32", "--create")
    cidrgate("policy", "set", "--account", "a", "--max-entries", "100")
    seen = "\n".join(f"8.{number}.8.8" for number in range(60))
    commands = cidrgate("recommend", "-", "--account", "a", "--json", stdin=seen).record["commands"]
    assert "None" not in " ".join(commands)
    cidrgate(*shlex.split(commands[0])[1:], "--confirm", "lock_out")
    assert len(cidrgate("list", "a", "--json").record["items"]) == 60


def test_the_three_sources_leave_out_what_the_list_denies_now(cidrgate: Cidrgate, tmp_path: Path) -> None:
    """An entry was removed, disabled or has expired, or a pause let an address in; a subaccount got another parent."""
    pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'cidrgate[replay]'")
    guards = tuple(Guard)
    states = ("removed", "disabled", "expired", "paused", "pausing", "moved", "open", "reporting")
    with RuleManager.open(cidrgate.database).with_hooks(confirmed=guards) as manager:
        for account in states:
            manager.create_account(account)
            if account != "open":
                manager.add(account, "8.8.8.0/24")
        manager.add("removed", "9.9.9.9/32")
        manager.remove("removed", "9.9.9.9/32")
        manager.add("disabled", "9.9.9.9/32", enabled=False)
        later = datetime.now(UTC) + timedelta(seconds=2)
        manager.add("expired", "9.9.9.9/32", expires_at=later)
        manager.pause("paused", for_=timedelta(hours=1))
        manager.resume("paused")
        manager.pause("pausing", for_=timedelta(hours=1))
        manager.set_mode("reporting", "report_only")
        manager.create_account("sub", parent="open")
        now = datetime.now(UTC)
        with manager._store.write() as transaction:
            seen = [(one, address) for one in states for address in ("8.8.8.8", "9.9.9.9") if one != "moved"]
            seen += [("moved", "8.8.8.8"), ("sub", "9.9.9.9")]
            add_observations(
                transaction,
                [
                    Observation(
                        account=one, network=f"{address}/32", allowed=True, requests=1, first_seen=now, last_seen=now
                    )
                    for one, address in seen
                ],
            )
        manager.edit_account("sub", parent="moved")
    rows = "".join(f"{one},{address},{now.isoformat()},true\n" for one, address in seen)
    (tmp_path / "log.csv").write_text("account,address,time,allowed\n" + rows)
    eventually(lambda: datetime.now(UTC) > later)
    for account in states:
        denies = account not in ("open", "reporting")
        for source in ([], ["--from-log", "log.csv"], ["log.csv"]):
            record = cidrgate("recommend", *source, "--account", account, "--json").record
            assert [one["cidr"] for one in record["networks"]] == ["8.8.8.8/32", *([] if denies else ["9.9.9.9/32"])]
            assert [(one["network"], one["reason"]) for one in record["left_out"]] == (
                [("9.9.9.9/32", "denied")] if denies else []
            ), (account, source)
            paused = any("pausing is paused: its list counts as it does" in one for one in record["notes"])
            assert paused is (account == "pausing")
            record = cidrgate("recommend", *source, "--account", account, "--include-denied", "--json").record
            assert [one["cidr"] for one in record["networks"]] == ["8.8.8.8/32", "9.9.9.9/32"]
        if denies:
            assert "--include-denied covers denied addresses, too" in cidrgate("recommend", "--account", account).out


def test_addresses_that_a_file_only_names_count_whatever_the_list_decides(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.8/32", "--create")
    for seen in ("8.8.8.8\n9.9.9.9\n9.9.9.10\n", "account,address\na,8.8.8.8\na,9.9.9.9\na,9.9.9.10\nb,1.1.1.1\n"):
        record = cidrgate("recommend", "-", "--account", "a", "--json", stdin=seen).record
        assert [one["cidr"] for one in record["networks"]] == ["8.8.8.8/32", "9.9.9.9/32", "9.9.9.10/32"]
        assert "2 addresses that the list denies now count: the file names them" in record["notes"]
    notes = cidrgate("recommend", "-", "--account", "a", "--json", stdin="8.8.8.8\n").record["notes"]
    assert not any("denies" in one for one in notes)


def test_replace_names_what_it_drops_and_enables_what_is_disabled(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create", "--label", "contractor", "--expires-in", "2h")
    cidrgate("add", "a", "1.1.1.0/24", "--label", "hq")
    cidrgate("add", "a", "4.4.4.4/32", "--label", "kept")
    cidrgate("add", "a", "5.5.5.5/32", "--no-enabled")
    cidrgate("add", "a", "6.6.6.6/32")
    cidrgate("add", "a", "9.9.9.9/32", "--no-enabled", "--label", "partner")
    seen = "8.8.8.8\n1.1.1.1\n4.4.4.4\n9.9.9.9\n"
    options = ("recommend", "-", "--account", "a")
    record = cidrgate(*options, "--json", stdin=seen).record
    assert [(one["cidr"], one["label"], one["enabled"]) for one in record["details_dropped"]] == [
        ("1.1.1.0/24", "hq", True),
        ("5.5.5.5/32", None, False),
        ("8.8.8.0/24", "contractor", True),
    ]
    assert record["details_dropped"][2]["expires_at"] is not None
    out = cidrgate(*options, stdin=seen).out
    assert "replace does not keep what these entries say" in out
    assert (
        "\n  1.1.1.0/24 (id 2, hq)\n  5.5.5.5/32 (id 4, not enabled)\n  8.8.8.0/24 (id 1, contractor, expires at" in out
    )
    replacing = shlex.split(record["commands"][0])
    cidrgate(*replacing[1:])
    with RuleManager.open(cidrgate.database) as manager:
        listed = [(entry.cidr, entry.label, entry.expires_at, entry.enabled) for entry in manager.entries("a")]
        assert all(manager.allows("a", address) for address in seen.split())
    assert listed == [
        ("1.1.1.1/32", None, None, True),
        ("4.4.4.4/32", "kept", None, True),
        ("8.8.8.8/32", None, None, True),
        ("9.9.9.9/32", "partner", None, True),
    ]
    again = cidrgate(*options, "--json", stdin=seen).record
    assert (again["commands"], again["details_dropped"]) == ([], [])
