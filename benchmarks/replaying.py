"""What a replay costs on one core, beside engines that join by ranges, and what a year of requests would cost.

    taskset -c 1 python -m benchmarks.replaying [--rows 2000000] [--only accounts|table|list|text|memory] [--page]

Every engine is asked the same in the same run: of a Parquet file with the account and the address of each request as
text, how many requests are allowed? The peers get the lists as ranges that do not overlap, sorted, in memory before the
clock starts; DuckDB and ClickHouse join them with ASOF, Polars with `join_asof`, and a list of 50 entries is also tried
as a chain of comparisons. All of them must count the same. Times are processor time, the best of three, with one
thread, because a core is what is compared. `text` reads logs in formats of servers, `memory` reports the most memory of
replays of ten times as many rows, and of as many lines; `--only memory --rows 10000000` replays 100 million of each.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import time
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pytricia import PyTricia

from benchmarks.report import machine
from benchmarks.workloads import SMOKE, full_table, small_list
from cidrgate import Matcher
from cidrgate.gate import FromPath
from cidrgate.replay import FORMATS, LogSource, format_of_template, replay
from cidrgate.replay.decisions import ALLOWED, Decider
from cidrgate.replay.reading import opened_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SEED = 2026
ATTEMPTS = 3
YEAR = 10_000_000_000
"""Lines of a year on paper."""
CORE_HOUR = 0.05
"""What an hour of a core costs on paper, in dollars."""
PAGE = Path(__file__).parent / "results" / "replaying.md"

_NUMBER = " + ".join(
    f"CAST(split_part(address, '.', {place}) AS UINTEGER) * {1 << shift}"
    for place, shift in ((1, 24), (2, 16), (3, 8), (4, 0))
)


def texts(numbers: NDArray[Any]) -> Any:
    """IPv4 addresses as Arrow text."""
    parts = [pa.array((numbers >> shift) & 255).cast(pa.string()) for shift in (24, 16, 8, 0)]
    return pc.binary_join_element_wise(*parts, ".")


class Workload:
    """Lists, and requests in a Parquet file."""

    def __init__(self, title: str, lists: dict[str, list[str]], ranges: Any, path: Path) -> None:
        self.title = title
        self.lists = lists
        self.ranges = ranges  # columns account, low, high
        self.path = path
        self.matcher = Matcher()
        for account, networks in lists.items():
            self.matcher.publish(account, networks)


def write(path: Path, accounts: Any, numbers: NDArray[Any]) -> None:
    """Write requests; the times are of a log: many requests a second, in order."""
    at = pa.array(1_790_000_000_000_000 + np.arange(len(numbers)) * 1_000, pa.timestamp("us", tz="UTC"))
    table = {"account": accounts, "address": texts(numbers), "time": at}
    pq.write_table(pa.table(table), path, row_group_size=122_880)


def accounts_workload(folder: Path, rows: int) -> Workload:
    """100,000 accounts with 10 addresses each, asked at random; half of the requests are of a listed address."""
    count, source = (1_000 if SMOKE else 100_000), np.random.default_rng(SEED)
    listed = source.integers(1 << 24, 7 << 29, (count, 10), dtype=np.int64)
    names = [f"acct-{number:07d}" for number in range(count)]
    flat = texts(listed.ravel()).to_pylist()
    lists = {
        name: list(dict.fromkeys(f"{one}/32" for one in flat[at * 10 : at * 10 + 10])) for at, name in enumerate(names)
    }
    who, which = source.integers(0, count, rows), source.integers(0, 10, rows)
    numbers = np.where(source.random(rows) < 0.5, listed[who, which], source.integers(1 << 24, 7 << 29, rows))
    dictionary = pa.DictionaryArray.from_arrays(pa.array(who.astype(np.int32)), pa.array(names))
    write(folder / "accounts.parquet", dictionary.cast(pa.string()), numbers)
    ranges = pa.table({"account": np.repeat(names, 10), "low": listed.ravel(), "high": listed.ravel()})
    return Workload(f"{count:,} accounts of 10 entries", lists, ranges, folder / "accounts.parquet")


def table_workload(folder: Path, rows: int, name: str, title: str, prefixes: tuple[str, ...]) -> Workload:
    """One account with many prefixes; half of the requests are of a listed address."""
    from ipaddress import IPv4Network, collapse_addresses

    source = np.random.default_rng(SEED)
    networks = list(collapse_addresses(IPv4Network(one) for one in prefixes))
    low = np.array([int(one.network_address) for one in networks], np.int64)
    high = np.array([int(one.broadcast_address) for one in networks], np.int64)
    # Neighbours become one range, which the peers search faster.
    begins = np.concatenate([[True], low[1:] != high[:-1] + 1])
    low, high = low[begins], high[np.concatenate([np.flatnonzero(begins)[1:] - 1, [len(high) - 1]])]
    chosen = source.integers(0, len(low), rows)
    inside = low[chosen] + source.integers(0, 1 << 32, rows) % (high[chosen] - low[chosen] + 1)
    numbers = np.where(source.random(rows) < 0.5, inside, source.integers(0, 1 << 32, rows))
    write(folder / f"{name}.parquet", pa.array(["acct-0000001"] * rows), numbers)
    ranges = pa.table({"account": ["acct-0000001"] * len(low), "low": low, "high": high})
    title = f"{title}: {len(prefixes):,} prefixes, {len(low):,} ranges"
    return Workload(title, {"acct-0000001": list(prefixes)}, ranges, folder / f"{name}.parquet")


def of_cidrgate(work: Workload) -> Iterator[tuple[str, Callable[[], int]]]:
    """What the peers do: read, decide, count. And a whole replay: two lists compared, with counts over time."""
    source = LogSource(files=[str(work.path)], form=FORMATS["parquet"])

    def count() -> int:
        decider, found = Decider(work.matcher), 0
        with opened_log(source, threads=1) as log:
            for batch in log.batches(frozenset({"account", "address"})):
                found += int(np.count_nonzero(decider.decide(batch).verdicts == ALLOWED))
        return found

    yield "cidrgate, read and decide", count
    yield (
        "cidrgate, a whole comparison",
        lambda: replay(source, work.matcher, before=work.matcher, threads=1).verdicts["allowed"],
    )


def of_duckdb(work: Workload) -> Iterator[tuple[str, Callable[[], int]]]:
    """An ASOF join, and comparisons if there are few ranges."""
    connection = duckdb.connect(config={"threads": 1})
    ranges = work.ranges  # noqa: F841 - DuckDB reads it by its name
    connection.execute("CREATE TABLE ranges AS SELECT * FROM ranges ORDER BY account, low")
    log = f"(SELECT account, {_NUMBER} AS number FROM '{work.path}')"
    join = (
        f"SELECT count(*) FILTER (WHERE high >= number) FROM {log} AS log ASOF LEFT JOIN ranges ON "
        "log.account = ranges.account AND log.number >= ranges.low"
    )
    yield "DuckDB, ASOF join", lambda: connection.execute(join).fetchall()[0][0]
    if len(work.ranges) <= 1_000:
        # Otherwise DuckDB would read the number from the text anew for each comparison.
        among = f"WITH log AS MATERIALIZED {log} SELECT count(*) FROM log WHERE {_among(work, 'number')}"
        yield "DuckDB, comparisons", lambda: connection.execute(among).fetchall()[0][0]


def _among(work: Workload, number: str) -> str:
    rows = work.ranges.select(["low", "high"]).to_pylist()
    return " OR ".join(f"{number} BETWEEN {row['low']} AND {row['high']}" for row in rows)


def of_polars(work: Workload) -> Iterator[tuple[str, Callable[[], int]]]:
    """`join_asof`, which needs the log sorted; and comparisons if there are few ranges."""
    parts = pl.col("address").str.split_exact(".", 3)
    number = sum(
        (parts.struct.field(f"field_{place}").cast(pl.Int64) * (1 << (24 - 8 * place)) for place in range(4)),
        pl.lit(0, pl.Int64),
    )
    ranges = pl.DataFrame(pl.from_arrow(work.ranges)).sort("low").lazy()
    log = pl.scan_parquet(work.path).select("account", number.alias("number"))

    def join() -> int:
        joined = log.sort("number").join_asof(
            ranges, left_on="number", right_on="low", by="account", strategy="backward", check_sortedness=False
        )
        return int(joined.select((pl.col("high") >= pl.col("number")).sum()).collect(engine="streaming").item())

    yield "Polars, join_asof", join
    if len(work.ranges) <= 1_000:
        rows = work.ranges.select(["low", "high"]).to_pylist()
        among = pl.any_horizontal([pl.col("number").is_between(row["low"], row["high"]) for row in rows])
        yield "Polars, comparisons", lambda: int(log.select(among.sum()).collect(engine="streaming").item())


def of_chdb(work: Workload, folder: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """ClickHouse in the process: an ASOF join, and comparisons if there are few ranges."""
    try:
        session: Any = import_module("chdb.session")
    except ImportError as error:
        print(f"  chdb is left out: {error}")
        return
    pq.write_table(work.ranges, folder / "ranges.parquet")
    store = session.Session()
    store.query("CREATE DATABASE IF NOT EXISTS bench")
    store.query("DROP TABLE IF EXISTS bench.ranges")
    store.query(f"CREATE TABLE bench.ranges ENGINE = Memory AS SELECT * FROM file('{folder / 'ranges.parquet'}')")
    log = f"(SELECT account, toInt64(IPv4StringToNum(address)) AS number FROM file('{work.path}'))"
    join = (
        f"SELECT countIf(ranges.high >= log.number) FROM {log} AS log ASOF LEFT JOIN bench.ranges AS ranges ON "
        "log.account = ranges.account AND log.number >= ranges.low SETTINGS max_threads = 1"
    )
    yield "ClickHouse (chdb), ASOF join", lambda: int(str(store.query(join, "CSV")))
    if len(work.ranges) <= 1_000:
        among = f"SELECT count() FROM {log} WHERE {_among(work, 'number')} SETTINGS max_threads = 1"
        yield "ClickHouse (chdb), comparisons", lambda: int(str(store.query(among, "CSV")))


def of_pytricia(work: Workload) -> Callable[[], int]:
    """A trie for each account, asked by a loop in Python."""
    tries = {}
    for account, networks in work.lists.items():
        tries[account] = trie = PyTricia(32)
        for network in networks:
            trie.insert(network, True)

    def count() -> int:
        found = 0
        for batch in pq.ParquetFile(work.path).iter_batches(122_880, columns=["account", "address"], use_threads=False):
            accounts, addresses = (column.to_pylist() for column in batch.columns)
            for account, address in zip(accounts, addresses, strict=True):
                found += address in tries[account]
        return found

    return count


def best(work: Callable[[], int]) -> tuple[float, int]:
    """The best processor time of some attempts, and the answer."""
    seconds, answer = [], 0
    for _ in range(ATTEMPTS):
        began = time.process_time()
        answer = work()
        seconds.append(time.process_time() - began)
    return min(seconds), answer


def compare(work: Workload, folder: Path, rows: int, wanted: float) -> None:
    """Print a row for each engine."""
    print(f"\n{work.title}, {rows:,} requests\n")
    own = []
    for name, one in of_cidrgate(work):
        seconds, answer = best(one)
        own.append(seconds)
        print(f"  {name:<34} {seconds:7.3f} s {rows / seconds / 1e6:8.2f} M rows/s", flush=True)
    ours = own[0]
    theirs = []
    for name, peer in (*of_duckdb(work), *of_polars(work), *of_chdb(work, folder), ("pytricia", of_pytricia(work))):
        seconds, found = best(peer)
        if found != answer:
            raise SystemExit(f"{name} counts {found:,}, and cidrgate {answer:,}")
        theirs.append(seconds)
        print(f"  {name:<34} {seconds:7.3f} s {rows / seconds / 1e6:8.2f} M rows/s", flush=True)
    ratio = min(theirs) / ours
    verdict = "reached" if ratio >= wanted else "MISSED"
    print(f"  the best of them takes {ratio:.2f} times as long; asked for: {wanted} ({verdict})")


_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36", "curl/8.5.0")


def text_lines(form: str, rows: int) -> Iterator[str]:
    """Lines of a server's log: 1,000 accounts, 100,000 addresses, 20 requests a second."""
    source = np.random.default_rng(SEED)
    addresses = texts(source.integers(1 << 24, 7 << 29, 100_000)).to_pylist()
    picked, accounts = source.integers(0, 100_000, rows).tolist(), source.integers(0, 1_000, rows).tolist()
    for number, (place, account) in enumerate(zip(picked, accounts, strict=True)):
        second = number // 20
        day, clock = 1 + second // 86_400, f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        path = f"/v1/accounts/acct-{account:07d}/messages"
        if form == "haproxy":
            yield (
                f"haproxy[14389]: {addresses[place]}:33317 [{day:02d}/Oct/2026:{clock}.000] http-in static/srv1 "
                f'10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {{acct-{account:07d}}} "POST {path} HTTP/1.1"\n'
            )
            continue
        more = f' "acct-{account:07d}"' if form == "headers" else ""
        yield (
            f'{addresses[place]} - - [{day:02d}/Oct/2026:{clock} +0000] "POST {path} HTTP/1.1" 200 '
            f'{number % 5000} "-" "{_AGENTS[number % 2]}"{more}\n'
        )


HEADERS = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $bytes "$http_referer" "$http_user_agent" '
    '"$http_x_account"'
)


def texts_of_servers(folder: Path, rows: int) -> None:
    """Print the rate for each format of text."""
    print(f"\nText logs, {rows:,} lines\n")
    matcher = Matcher()
    for account in range(1_000):
        matcher.publish(f"acct-{account:07d}", ["0.0.0.0/1", "128.0.0.0/1"])
    sources = {
        "nginx, account in a header": ("headers", format_of_template(HEADERS), {"account": "http_x_account"}, None),
        "nginx, account in the path": ("nginx", FORMATS["combined"], {}, FromPath("/v1/accounts/(?P<account>[^/]+)")),
        "HAProxy, account in a capture": ("haproxy", FORMATS["haproxy"], {"account": "capture_1"}, None),
    }
    for title, (form, read, columns, account_source) in sources.items():
        path = folder / f"{form}.log"
        with path.open("w") as file:
            file.writelines(text_lines(form, rows))
        source = LogSource(files=[str(path)], form=read, columns=columns, account=account_source)
        seconds, found = best(lambda source=source: replay(source, matcher, threads=1).verdicts["allowed"])  # type: ignore[misc]
        if found != rows:
            raise SystemExit(f"{title}: {found:,} of {rows:,} lines were read")
        rate = rows / seconds
        size = path.stat().st_size / rows
        print(f"  {title:<34} {seconds:7.3f} s {rate / 1e6:8.2f} M lines/s of {size:.0f} bytes", flush=True)
        path.unlink()
        hours = YEAR / rate / 3600
        print(f"  {'':<34} {YEAR:,} lines on paper: {hours:,.1f} core hours, {hours * CORE_HOUR:,.2f} dollars")


_IN_A_PROCESS = """
import sys
from pathlib import Path
from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogSource, format_of_template, replay
matcher = Matcher()
for number in range(1000):
    matcher.publish(f"acct-{number:07d}", ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"])
template, *files = sys.argv[1:]
if template:
    source = LogSource(files=files, form=format_of_template(template), columns={"account": "http_x_account"})
else:
    source = LogSource(files=files, form=FORMATS["parquet"])
report = replay(source, matcher, threads=1)
[most] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(report.requests, report.verdicts["denied"], report.seconds, most)
"""
"""A replay in a process, which prints its most memory in KiB; what `getrusage` says would count its parent's too."""


def memory(folder: Path, rows: int) -> None:
    """Print the most memory of processes that replay many rows of Parquet, of which an eighth is denied, and lines."""
    source = np.random.default_rng(SEED)
    names = pa.array([f"acct-{number:07d}" for number in range(1_000)])
    part = min(rows, 2_000_000)
    who = pa.DictionaryArray.from_arrays(pa.array(source.integers(0, 1_000, part).astype(np.int32)), names)
    write(folder / "part.parquet", who.cast(pa.string()), source.integers(0, 1 << 32, part))
    with (folder / "part.log").open("w") as file:
        file.writelines(text_lines("headers", part))
    print("\nMemory. A long log is one file, named many times.\n")
    for path, template in (("part.parquet", ""), ("part.log", HEADERS)):
        for times in sorted({1, rows // part}):
            command = [sys.executable, "-c", _IN_A_PROCESS, template, *[str(folder / path)] * times]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            requests, denied, seconds, kibibytes = map(float, done.stdout.split())
            kind = "lines of text" if template else "rows of Parquet"
            print(
                f"  {requests:13,.0f} {kind:<15} of {times:2} files, {denied:12,.0f} denied: at most "
                f"{kibibytes / 1024:,.0f} MiB, {seconds:,.0f} s",
                flush=True,
            )


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000 if SMOKE else 2_000_000)
    parts = ("accounts", "table", "list", "text", "memory")
    parser.add_argument("--only", choices=parts)
    parser.add_argument("--page", action="store_true", help="Write it to results/replaying.md too.")
    asked = parser.parse_args()
    rows = asked.rows
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in parts if asked.only is None else (asked.only,):
            written = io.StringIO()
            with redirect_stdout(written):
                measure(part, folder, rows)
            print(written.getvalue(), flush=True)
            if asked.page:
                write_part(part, written.getvalue())
    return 0


def measure(part: str, folder: Path, rows: int) -> None:
    """Measure one part, and print it."""
    if part == "accounts":
        compare(accounts_workload(folder, rows), folder, rows, 1.5)
    elif part == "table":
        compare(table_workload(folder, rows, part, "full IPv4 table", full_table(4)), folder, rows, 4.0)
    elif part == "list":
        compare(table_workload(folder, rows, part, "a list", small_list(4)), folder, rows, 1.3)
    elif part == "text":
        texts_of_servers(folder, rows // 2)
    else:
        memory(folder, rows * 10)


def write_part(part: str, text: str) -> None:
    """Put what was measured into its part of the page."""
    libraries = ["cidrgate", "duckdb", "pyarrow", "polars", "pytricia"]
    with suppress(PackageNotFoundError):
        version("chdb")
        libraries.append("chdb")
    told = "; ".join(f"{name}: {value}" for name, value in machine(libraries).items())
    page = PAGE.read_text() if PAGE.exists() else _NEW_PAGE
    section = f"<!-- {part} -->\n```text{text.rstrip()}\n```\n\n{told}\n<!-- end -->"
    PAGE.write_text(re.sub(rf"<!-- {part} -->.*?<!-- end -->", lambda _: section, page, flags=re.DOTALL))


_NEW_PAGE = """# Replaying logs

Written by `taskset -c 1 python -m benchmarks.replaying --page`, whose docstring says what is compared. One
thread on one core; processor time, the best of three.

## 100,000 accounts

<!-- accounts --><!-- end -->

## A full routing table

<!-- table --><!-- end -->

## A list of 50 entries

<!-- list --><!-- end -->

## Text logs, and a year on paper

<!-- text --><!-- end -->

## Memory

<!-- memory --><!-- end -->
"""


if __name__ == "__main__":
    sys.exit(main())
