"""A replay counts what a row-by-row model counts, which asks `ipaddress` and the gate's own parts."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import Matcher
from cidrgate.errors import UnclearAccountError
from cidrgate.gate import ClientIPResolver, FromPath
from cidrgate.replay import FORMATS, LogError, LogSource, observations, replay
from cidrgate.replay.decisions import VERDICTS
from cidrgate.replay.formats import format_of_template
from tests.golden import read_address

if TYPE_CHECKING:
    from pathlib import Path

LISTS: dict[str, list[str]] = {
    "acct-1": ["8.8.8.0/24", "2606:4700::/32"],
    "ünïcode, \"and\" 'quotes'": ["1.1.1.1/32"],
    "open": [],
    "-": ["8.8.0.0/16"],
}
CHANGED: dict[str, list[str]] = {"acct-1": ["8.8.0.0/16"], "open": ["9.9.9.9/32"], "new": ["7.7.7.7/32"]}
START = datetime(2026, 1, 1, tzinfo=UTC)


def matcher_of(lists: dict[str, list[str]]) -> Matcher:
    matcher = Matcher()
    for account, networks in lists.items():
        matcher.publish(account, networks)
    return matcher


BEFORE = matcher_of(LISTS)
AFTER = matcher_of({**LISTS, **CHANGED})

ACCOUNTS = st.sampled_from([*LISTS, *CHANGED, "nobody", ""])
ADDRESSES = st.sampled_from(
    [
        *("8.8.8.8", "8.8.9.9", "1.1.1.1", "9.9.9.9", "7.7.7.7", "2606:4700::1", "2606:4700:0:0::1", "::ffff:8.8.8.8"),
        *("::1", "", "x", "8.8.8", "8.8.8.8 ", "08.8.8.8", "-"),
    ]
)
TIMES = st.one_of(
    st.integers(0, 10**7).map(lambda seconds: (START + timedelta(seconds=seconds)).isoformat()),
    st.sampled_from(["", "yesterday"]),
)
ROWS = st.lists(st.tuples(ACCOUNTS, ADDRESSES, TIMES), min_size=1, max_size=30)


def allows(lists: dict[str, list[str]], account: str, address: str) -> bool:
    networks = lists.get(account, [])
    wanted = read_address(address)
    return not networks or any(
        wanted in ip_network(one) for one in networks if ip_network(one).version == wanted.version
    )


def readable(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True


def verdict(account: str, address: str, *, compared: bool) -> str:
    if not account:
        return "no_account"
    if account not in LISTS and (account not in CHANGED or not compared):
        return "unknown_account"
    before = allows(LISTS, account, address)
    if not compared:
        return "allowed" if before else "denied"
    after = allows({**LISTS, **CHANGED}, account, address)
    return {(True, True): "allowed", (True, False): "newly_denied", (False, True): "newly_allowed"}.get(
        (before, after), "denied"
    )


def is_good(row: tuple[str, str, str], form: str) -> bool:
    # What has no account needs no address that can be read. A field of CSV that is empty is not there at all.
    account, address, at = row
    missing = at in ("", "yesterday") or (form == "csv" and address == "")
    return not missing and (readable(address) or not account)


def written(folder: Path, form: str, rows: list[tuple[str, str, str]]) -> Path:
    path = folder / f"a.{form}"
    with path.open("w", newline="") as file:
        if form == "csv":
            csv.writer(file).writerows([("account", "address", "time"), *rows])
        else:
            for row in rows:
                file.write(json.dumps(dict(zip(("account", "address", "time"), row, strict=True))) + "\n")
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@settings(max_examples=15, deadline=None)
@given(rows=ROWS, compared=st.booleans())
def test_a_replay_counts_as_the_model(
    tmp_path_factory: pytest.TempPathFactory, form: str, rows: list[tuple[str, str, str]], compared: bool
) -> None:
    path = written(tmp_path_factory.mktemp("logs"), form, rows)
    good = [row for row in rows if is_good(row, form)]
    source = LogSource(files=[str(path)], form=FORMATS[form])
    lists = {"matcher": AFTER, "before": BEFORE} if compared else {"matcher": BEFORE}
    if not good:
        with pytest.raises(LogError, match="no line of"):
            replay(source, threads=1, **lists)  # type: ignore[arg-type]
        return
    report = replay(source, threads=1, **lists)  # type: ignore[arg-type]
    verdicts = Counter(verdict(account, address, compared=compared) for account, address, _ in good)
    assert report.verdicts == dict.fromkeys(VERDICTS, 0) | verdicts
    assert (report.lines, report.bad, report.requests) == (len(rows), len(rows) - len(good), len(good))
    noted = {"newly_denied", "newly_allowed"} if compared else {"denied"}
    networks: Counter[tuple[str, str, str]] = Counter()
    for account, address, _ in good:
        said = verdict(account, address, compared=compared)
        if said in noted:
            wanted = read_address(address)
            network = ip_network(f"{wanted}/{24 if wanted.version == 4 else 48}", strict=False)
            networks[account, str(network), said] += 1
    assert {(one.account, one.network, one.verdict): one.requests for one in report.changes} == networks
    assert report.accounts == len({account for account, _, _ in networks})
    assert report.step is not None
    per = Counter[tuple[datetime, str]]()
    for account, address, at in good:
        number = (datetime.fromisoformat(at) - datetime(1970, 1, 1, tzinfo=UTC)) // report.step
        per[datetime(1970, 1, 1, tzinfo=UTC) + number * report.step, verdict(account, address, compared=compared)] += 1
    assert {(one.start, name): count for one in report.periods for name, count in one.verdicts.items() if count} == per


def test_observations_are_added_up_by_address(tmp_path: Path) -> None:
    times = [(START + timedelta(hours=hour)).isoformat() for hour in range(4)]
    rows = [("acct-1", "8.8.8.8", times[2]), ("acct-1", "8.8.8.8", times[1]), ("acct-1", "2606:4700::1", times[0])]
    rows += [("acct-1", "8.8.9.9", times[3]), ("nobody", "8.8.8.8", times[3]), ("", "8.8.8.8", times[3])]
    source = LogSource(files=[str(written(tmp_path, "csv", rows))], form=FORMATS["csv"])
    found = {(one.account, one.network): one for one in observations(source, BEFORE)}
    assert {pair: (one.allowed, one.requests) for pair, one in found.items()} == {
        ("acct-1", "8.8.8.8/32"): (True, 2),
        ("acct-1", "2606:4700::1/128"): (True, 1),
        ("acct-1", "8.8.9.9/32"): (False, 1),
        ("nobody", "8.8.8.8/32"): (True, 1),
    }
    both = found["acct-1", "8.8.8.8/32"]
    assert [one.isoformat() for one in (both.first_seen, both.last_seen)] == times[1:3]


PATHS = st.sampled_from(["/a/x", "/b/x", "/%61/x", "/c", "/", "", "//a/x", "/a/x?y=/b/", "/a;b/x"])


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(PATHS, ADDRESSES, TIMES), min_size=1, max_size=20),
    accounts=st.sets(st.sampled_from(["a", "b", "c", "nobody"])),
    by_path=st.sampled_from(["/(?P<account>[^/]+)", "/(?P<account>[a-z]+)/", None]),
)
def test_observations_of_some_accounts_are_those_of_all_without_the_others(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    accounts: set[str],
    by_path: str | None,
) -> None:
    path = written(tmp_path_factory.mktemp("log"), "jsonl", rows)
    columns = {"path": "account"} if by_path else {}
    account = FromPath(by_path) if by_path else None
    source = LogSource(files=[str(path)], form=FORMATS["jsonl"], columns=columns, account=account)
    bad: list[int] = []
    try:
        whole = list(observations(source, BEFORE))
    except LogError:
        whole = []
    some = list(observations(source, BEFORE, accounts=accounts, on_bad=lambda count, _: bad.append(count)))
    key = lambda one: (one.account, one.network)  # noqa: E731
    assert sorted(some, key=key) == sorted((one for one in whole if one.account in accounts), key=key)
    assert bad == [] or 0 < bad[0] <= len(rows)


def test_observations_stop_at_too_many_bad_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "jsonl", [("a", "8.8.8.8", "2026-01-01"), ("a", "8.8.8.8", ""), ("a", "x", "2026-01-01")])
    source = LogSource(files=[str(path)], form=FORMATS["jsonl"])
    with pytest.raises(LogError, match="more than 1 line is bad; the first is line 2"):
        list(observations(source, BEFORE, max_bad=1))
    found: list[tuple[int, int]] = []
    list(observations(source, BEFORE, max_bad=2, on_bad=lambda bad, lines: found.append((bad, len(lines)))))
    assert found == [(2, 2)]


def test_observations_need_times(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text('8.8.8.8 "GET / HTTP/1.1"')
    source = LogSource(files=[str(path)], form=format_of_template('$remote_addr "$request"'), account="acct-1")
    with pytest.raises(LogError, match="observations have times"):
        next(observations(source, BEFORE))
    report = replay(source, BEFORE)
    assert (report.requests, report.step, report.periods) == (1, None, ())


def test_few_rows_are_kept_however_many_requests_are_denied(tmp_path: Path) -> None:
    rows = [("acct-1", f"9.9.9.{number % 5}", START.isoformat()) for number in range(3_000)]
    source = LogSource(files=[str(written(tmp_path, "csv", rows))], form=FORMATS["csv"])
    with patch("cidrgate.replay.replaying._MOST_ROWS", 100), patch("cidrgate.replay.reading._BATCH", 64):
        report = replay(source, BEFORE, threads=1)
    [only] = report.changes
    assert (only.network, only.addresses, only.requests, report.requests) == ("9.9.9.0/24", 5, 3_000, 3_000)


def test_every_request_is_written_with_its_verdict(tmp_path: Path) -> None:
    rows = [
        ("acct-1", "8.8.8.8", START.isoformat()),
        ("acct-1", "9.9.9.9", START.isoformat()),
        ("", "9.9.9.9", START.isoformat()),
        ("nobody", "9.9.9.9", START.isoformat()),
    ]
    source = LogSource(files=[str(written(tmp_path, "jsonl", rows))], form=FORMATS["jsonl"])
    replay(source, AFTER, before=BEFORE, rows=tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [(one["account"], one["address"], one["verdict"]) for one in table] == [
        ("acct-1", "8.8.8.8", "allowed"),
        ("acct-1", "9.9.9.9", "denied"),
        (None, "9.9.9.9", "no_account"),
        ("nobody", "9.9.9.9", "unknown_account"),
    ]
    assert {(one["time"], one["requests"]) for one in table} == {(START, 1)}
    with pytest.raises(LogError, match="cannot be written"):
        replay(source, BEFORE, rows=tmp_path / "nowhere" / "rows.parquet")


PEERS = st.sampled_from(["10.0.0.1", "10.0.0.2", "8.8.8.8", "x", "-", "::1"])
HEADERS = st.one_of(
    st.sampled_from(
        ["-", "", "8.8.8.8", "8.8.8.8, 10.0.0.2", "1.2.3.4, 8.8.8.8", "unknown", "8.8.8.8,", "::ffff:8.8.8.8"]
    ),
    st.lists(st.sampled_from(["8.8.8.8", "10.0.0.2"]), min_size=1, max_size=3),
)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.tuples(PEERS, HEADERS), min_size=1, max_size=20), hops=st.sampled_from([None, 1, 2]))
def test_the_client_is_the_one_that_the_resolver_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str | list[str]]], hops: int | None
) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.jsonl"
    path.write_text("".join(json.dumps({"peer": peer, "xff": header, "t": 1}) + "\n" for peer, header in rows))
    resolver = ClientIPResolver(trusted_proxies=None if hops else ["10.0.0.0/8"], trusted_hops=hops)
    source = LogSource(
        files=[str(path)],
        form=FORMATS["jsonl"],
        columns={"address": "peer", "forwarded": "xff", "time": "t"},
        account="acct-1",
    )
    expected: Counter[str | None] = Counter()
    for peer, header in rows:
        values = header if isinstance(header, list) else [] if header in ("", "-") else [header]
        lines = [(b"x-forwarded-for", value.encode()) for value in values]
        expected[resolver.resolve(peer, lines).address] += 1
    report = replay(source, BEFORE, resolver=resolver, threads=1)
    assert report.verdicts["no_address"] == expected.pop(None, 0)
    assert report.verdicts["allowed"] == sum(
        count for one, count in expected.items() if one and allows(LISTS, "acct-1", one)
    )
    assert report.requests == len(rows)


SEGMENTS = st.sampled_from(
    [
        "v1",
        "accounts",
        "acct-1",
        "open",
        "",
        ".",
        "..",
        ".x",
        "a%20b",
        "%2e",
        "é",
        "a;b",
        "a#b",
        "\\",
        "\t",
        "\x7f",
        "~!$&'()*+,=:@",
    ]
)
PATHS = st.one_of(
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.lists(SEGMENTS, max_size=3).map(lambda parts: "/v1/accounts/" + "/".join(parts)),
    st.sampled_from(["*", "", "/v1/accounts/acct-1?a=/v1/accounts/open", "/v1/accounts/" + "a" * 9_000]),
)


@pytest.mark.parametrize("pattern", [r"/v1/accounts/(?P<account>[^/]+)", r"/v\d/accounts/(?P<account>[a-z-]+1?)"])
@settings(max_examples=15, deadline=None)
@given(paths=st.lists(PATHS, min_size=1, max_size=20))
def test_the_account_is_the_one_that_the_gate_finds_in_the_path(
    tmp_path_factory: pytest.TempPathFactory, pattern: str, paths: list[str]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.jsonl"
    path.write_text("".join(json.dumps({"path": one, "address": "9.9.9.9", "time": 1}) + "\n" for one in paths))
    finder = FromPath(pattern)
    rows = path.with_suffix(".parquet")
    replay(
        LogSource(files=[str(path)], form=FORMATS["jsonl"], columns={"path": "path"}, account=finder), BEFORE, rows=rows
    )
    expected = []
    for one in paths:
        raw = one.partition("?")[0]
        try:
            expected.append(finder.account(unquote(raw), raw.encode()))
        except UnclearAccountError:
            expected.append(None)
    assert pq.read_table(rows).column("account").to_pylist() == expected


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_bad_lines_at_the_beginning_do_not_make_every_line_bad(tmp_path: Path, form: str) -> None:
    """Whatever ends there: a file, or a group of rows with a dictionary of its own."""
    bad, good = [("acct-1", "-", "2026-01-01T00:00:00Z")], [("acct-1", "8.8.8.8", "2026-01-01T00:00:00Z")]
    if form == "parquet":
        paths = [tmp_path / "groups.parquet", tmp_path / "other.parquet"]
        for path, groups in zip(paths, ([bad * 20_000, good * 90_000], [bad]), strict=True):
            tables = [
                pa.table(
                    {
                        "account": [account for account, _, _ in rows],
                        "address": [address for _, address, _ in rows],
                        "time": pa.array([START] * len(rows), pa.timestamp("us", "UTC")),
                    }
                )
                for rows in groups
            ]
            with pq.ParquetWriter(path, tables[0].schema) as writer:
                for table in tables:
                    writer.write_table(table)
        expected = (110_001, 20_001)
    else:
        paths = []
        for name, rows in {"bad": bad, "good": good * 1_000}.items():
            (tmp_path / name).mkdir()
            paths.append(written(tmp_path / name, form, rows))
        expected = (1_001, 1)
    for files in (paths, paths[::-1]):
        report = replay(LogSource(files=list(map(str, files)), form=FORMATS[form]), BEFORE)
        assert (report.lines, report.bad) == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_a_limit_of_bad_lines_does_not_say_that_every_line_is_bad(tmp_path: Path, threads: int) -> None:
    paths = []
    for name, address in {"bad": "-", "good": "8.8.8.8"}.items():
        (tmp_path / name).mkdir()
        paths.append(str(written(tmp_path / name, "csv", [("acct-1", address, "2026-01-01T00:00:00Z")] * 20)))
    source = LogSource(files=paths, form=FORMATS["csv"])
    with pytest.raises(LogError, match="more than 5 lines are bad; the first is line 2 of"):
        replay(source, BEFORE, max_bad=5, threads=threads)
    with pytest.raises(LogError, match="more than 5 lines are bad; the first is line 2 of"):
        list(observations(source, BEFORE, max_bad=5, threads=threads))


def test_a_log_of_another_format_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("account,address,time\n" + "acct-1,-,2026-01-01T00:00:00Z\n" * 1_000_000)
    with pytest.raises(LogError, match=r"none of the first (\d+,\d+) lines of .*a\.csv is as the format csv says"):
        replay(LogSource(files=[str(path)], form=FORMATS["csv"]), BEFORE, threads=1)


def test_more_requests_than_can_be_counted_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"account": ["a"] * 9, "address": ["8.8.8.8"] * 9, "time": [0] * 9, "requests": [10**12] * 9}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    source = LogSource(files=[tmp_path / "a.parquet"], form=FORMATS["parquet"], columns={"requests": "requests"})
    lists = Matcher()
    monkeypatch.setattr("cidrgate.replay.replaying._MOST_IN_ALL", 9 * 10**12)
    assert replay(source, lists).requests == 9 * 10**12
    assert [one.requests for one in observations(source, lists)] == [9 * 10**12]
    monkeypatch.setattr("cidrgate.replay.replaying._MOST_IN_ALL", 9 * 10**12 - 1)
    for read in (replay, lambda *log: list(observations(*log))):
        with pytest.raises(LogError, match="more than can be counted"):
            read(source, lists)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("time", ["10/Oct/2026:13:55:36 +0200", "10/oct/2026:11:55:36 +0000", "2026-10-10T11:55:36Z"])
def test_a_column_may_have_times_in_the_notation_of_nginx(tmp_path: Path, form: str, time: str) -> None:
    path = tmp_path / f"a.{form}"
    row = {"account": "a", "address": "8.8.8.8", "time": time}
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_text(json.dumps(row) if form == "jsonl" else "\n".join(map(",".join, (row, row.values()))))
    (seen,) = observations(LogSource(files=[path], form=FORMATS[form]), Matcher())
    assert seen.last_seen == datetime(2026, 10, 10, 11, 55, 36, tzinfo=UTC)
