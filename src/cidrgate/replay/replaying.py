"""Replays logs: counts the verdicts of lists about past requests, over time, and those that would change by account.

Nearly all requests only add to counts. Those about which the lists disagree, or which are denied, are added up by
account and address in DuckDB, which writes to the disk what does not fit into its memory.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cidrgate._engine import Matcher, canonical_address
from cidrgate.foresight.evaluation import UnaddressedRequests, Unknown
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.process.file_names import file_name
from cidrgate.process.private_files import replacement
from cidrgate.replay.decisions import (
    ALLOWED,
    DENIED,
    NEWLY_ALLOWED,
    NEWLY_DENIED,
    NO_ADDRESS,
    UNKNOWN_ACCOUNT,
    VERDICTS,
    Decider,
)
from cidrgate.replay.formats import ROLES
from cidrgate.replay.reading import MEMORY, BadLine, bad_lines, is_one_of, opened_log
from cidrgate.replay.sources import IN_TIME, LogError, LogSource
from cidrgate.serialization import utc_text
from cidrgate.values import Observation, check_type, several_texts, whole_number

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from cidrgate.replay.decisions import Decided
    from cidrgate.replay.reading import Log

__all__ = ["MOST_CHANGES", "Period", "ReplayReport", "VerdictChange", "observations", "replay"]

MOST_CHANGES = 1_000
"""How many networks a report has, those with the most requests first."""

_ALL_BAD = 100_000
"""After how many lines a replay ends if none of them is good: their format is another one."""

_MOST_PERIODS = 200
_STEPS = (60, 300, 900, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400)
"""How long a period of a report can be, in seconds."""

_MOST_MINUTES = 1_000_000
_MOST_ROWS = 2_000_000
"""How many rows of changes are kept before those of one account and address become one."""

IGNORED_REQUESTS = (
    "the column requests is not read, so that each row counts as one request: to count them, add "
    "--columns requests=requests"
)
"""What is said of a log with such a column."""

_MINUTE = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """Requests of one network for one account that are denied, or about which the lists disagree.

    Attributes:
        account: The account.
        network: The /24 or /48 of the addresses; None for requests without an address of the client.
        verdict: `denied`, `newly_denied` or `newly_allowed`.
        addresses: How many addresses there were.
        requests: How many requests.
        first_seen: The time of the first; None if the log has no times.
        last_seen: The time of the last.
    """

    account: str
    network: str | None
    verdict: str
    addresses: int
    requests: int
    first_seen: datetime | None
    last_seen: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The verdicts in one part of the time that a log covers.

    Attributes:
        start: When it begins.
        verdicts: How many requests there are of each verdict.
    """

    start: datetime
    verdicts: dict[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What lists would have decided about the requests in logs.

    Attributes:
        compared: Whether the lists were compared with others; then `denied` means denied by both.
        lines: How many lines or rows were read, with those that are bad.
        requests: How many requests there are in all good lines.
        verdicts: How many requests there are of each verdict.
        bad: How many lines are not as their format says.
        bad_lines: The first of them.
        not_enforced: How many accounts in the logs have a list whose mode denies nothing, `report_only` or `off`.
        notes: What in the logs does not count.
        not_enforced_empty: Of how many of those no entry matches, so that the list denies every address once it is
            enforced.
        changes: The networks with requests that are denied, or newly denied or allowed if lists were compared; those
            with the most requests first, at most `MOST_CHANGES`.
        more_changes: How many networks there are beyond those.
        accounts: How many accounts have such networks.
        step: How long a period is; None if the log has no times.
        periods: The verdicts over time; periods without requests are left out.
        seconds: How long the replay took.
        unknown: What a comparison does not know: `unlisted` for accounts in the logs that only one side knows. Their
            verdicts hold for gates whose `unlisted` is `allow`.
    """

    compared: bool
    lines: int
    requests: int
    verdicts: dict[str, int] = field(hash=False)
    bad: int
    bad_lines: tuple[BadLine, ...]
    not_enforced: int
    changes: tuple[VerdictChange, ...]
    more_changes: int
    accounts: int
    step: timedelta | None
    periods: tuple[Period, ...]
    seconds: float
    unknown: tuple[Unknown, ...] = ()
    not_enforced_empty: int = 0
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the JSON object that programs get."""
        return {
            "compared": self.compared,
            "lines": self.lines,
            "requests": self.requests,
            "verdicts": self.verdicts,
            "bad_lines": self.bad,
            "first_bad_lines": [
                {"file": one.file, "line": one.line, "reason": one.reason, "text": one.text} for one in self.bad_lines
            ],
            "not_enforced": self.not_enforced,
            "not_enforced_empty": self.not_enforced_empty,
            "accounts": self.accounts,
            "changes": [
                {
                    "account": one.account,
                    "network": one.network,
                    "verdict": one.verdict,
                    "addresses": one.addresses,
                    "requests": one.requests,
                    "first_seen": None if one.first_seen is None else utc_text(one.first_seen),
                    "last_seen": None if one.last_seen is None else utc_text(one.last_seen),
                }
                for one in self.changes
            ],
            "more_changes": self.more_changes,
            "period_seconds": None if self.step is None else int(self.step.total_seconds()),
            "periods": [{"start": utc_text(one.start), **one.verdicts} for one in self.periods],
            "seconds": round(self.seconds, 3),
            "unknown": [asdict(one) for one in self.unknown],
            "notes": list(self.notes),
        }


def replay(
    source: LogSource,
    matcher: Matcher,
    *,
    before: Matcher | None = None,
    resolver: ClientIPResolver | None = None,
    max_bad: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    rows: str | os.PathLike[str] | None = None,
    former_names: Collection[str] = (),
    progress: Callable[[int, int | None], object] | None = None,
) -> ReplayReport:
    """Decide about every request in logs, and add up the verdicts.

    Args:
        source: The logs.
        matcher: The lists to decide with.
        before: The lists to compare with; None for no comparison.
        resolver: Finds the client's address from the peer and the header, as at the edge; None if the log has it.
        max_bad: How many bad lines there may be; None for any number.
        memory: How many bytes DuckDB may use before it writes to the disk; at least 1 MiB.
        threads: How many threads read; as many as there are processors if None.
        rows: A Parquet file to write the requests to, each with its verdict.
        former_names: Names that accounts had before and that none has now: `notes` of the report tells of requests with
            them.
        progress: Called with the number of rows since the last call, and with the estimated number of all, or None.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is too small.
        LogError: If a log cannot be read, or has too many bad lines.
        MissingExtraError: If DuckDB or pyarrow is not installed.
    """
    began = time.perf_counter()
    check_type(before, Matcher, "before", or_none=True)
    several_texts(former_names, "former_names", "names")
    _check_arguments(source, matcher, resolver, max_bad=max_bad, memory=memory, threads=threads)
    path = None if rows is None else Path(file_name(rows, "rows"))
    source, wanted = _asked(source, resolver)
    decider = Decider(matcher, before, source.account, resolver, of_json=source.form.reader == "json")
    with opened_log(source, memory=memory, threads=threads) as log, _written_rows(path) as write:
        totals = _Totals(Pairs(log), compared=before is not None)
        lenient, former = _Present(_lenient_accounts(matcher)), _Present(former_names)
        all_bad = False
        for batch in log.batches(wanted):
            decided = decider.decide(batch)
            totals.add(batch.num_rows, decided)
            lenient.add(decided.accounts)
            former.add(decided.accounts)
            write(decided)
            if progress is not None:
                progress(batch.num_rows, log.rows)
            all_bad = totals.bad == totals.lines >= _ALL_BAD
            if all_bad or (max_bad is not None and totals.bad > max_bad):
                break
        totals.reject(log.rejected())
        found = tuple(bad_lines(source, wanted, list(decider.unreadable), decider.has_account)) if totals.bad else ()
        if max_bad is not None and totals.bad > max_bad:
            raise LogError(f"{_too_many(max_bad)}{_first(found)}")
        if totals.lines and totals.bad == totals.lines:
            raise LogError(_all_bad(source, found, of_first=totals.lines if all_bad else None))
        return replace(
            totals.report(found, len(lenient.found), began),
            not_enforced_empty=sum(not matcher.prefixes(one) for one in lenient.found),
            unknown=tuple(_unlisted(decider)),
            notes=tuple(_notes(log, former.found)),
        )


def observations(
    source: LogSource,
    matcher: Matcher,
    *,
    accounts: Collection[str] | None = None,
    resolver: ClientIPResolver | None = None,
    max_bad: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    on_bad: Callable[[int, tuple[BadLine, ...]], object] | None = None,
    on_note: Callable[[str], object] | None = None,
    progress: Callable[[int, int | None], object] | None = None,
) -> Iterator[Observation]:
    """Yield what logs say about each account and address, and what lists would have decided.

    Requests without an account or a readable address are left out, and so are bad lines. Whoever evaluates these
    observations does not learn of requests without an address, which a list denies if it is enforced.

    Args:
        source: The logs; they must have times.
        matcher: The lists that say what is allowed. An account that it does not know is allowed.
        accounts: Only the requests of these accounts; None for all.
        resolver: As in `replay`.
        max_bad: As in `replay`.
        memory: As in `replay`.
        threads: As in `replay`.
        on_bad: Called with the number of bad lines, if there are any, and with the first of them.
        on_note: Called with each sentence about what in the logs does not count.
        progress: As in `replay`; lines about other accounts are left out where the files say it.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is too small.
        LogError: If a log cannot be read, has no times, or has too many bad lines.
        MissingExtraError: If DuckDB or pyarrow is not installed.
    """
    for one in past_requests(
        source,
        matcher,
        accounts=accounts,
        resolver=resolver,
        max_bad=max_bad,
        memory=memory,
        threads=threads,
        on_bad=on_bad,
        on_note=on_note,
        progress=progress,
    ):
        if isinstance(one, Observation):
            yield one


def past_requests(
    source: LogSource,
    matcher: Matcher,
    *,
    accounts: Collection[str] | None = None,
    resolver: ClientIPResolver | None = None,
    max_bad: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    on_bad: Callable[[int, tuple[BadLine, ...]], object] | None = None,
    on_note: Callable[[str], object] | None = None,
    progress: Callable[[int, int | None], object] | None = None,
) -> Iterator[Observation | UnaddressedRequests]:
    """Yield what `observations` yields, and for each account its requests without a readable address.

    Args:
        source: As in `observations`.
        matcher: As in `observations`.
        accounts: As in `observations`.
        resolver: As in `observations`.
        max_bad: As in `observations`.
        memory: As in `observations`.
        threads: As in `observations`.
        on_bad: As in `observations`.
        on_note: As in `observations`.
        progress: As in `observations`.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is too small.
        LogError: If a log cannot be read, has no times, or has too many bad lines.
        MissingExtraError: If DuckDB or pyarrow is not installed.
    """
    _check_arguments(source, matcher, resolver, max_bad=max_bad, memory=memory, threads=threads)
    if accounts is not None:
        several_texts(accounts, "accounts", "accounts")
    source, wanted = _asked(source, resolver)
    if "time" not in wanted:
        raise LogError("observations have times, and nothing says where the log has them: name --columns time=COLUMN")
    decider = Decider(matcher, None, source.account, resolver, of_json=source.form.reader == "json")
    lines = bad = 0
    with opened_log(source, memory=memory, threads=threads) as log:
        pairs, requests_read = Pairs(log), 0
        for batch in log.batches(wanted, accounts):
            decided = decider.decide(batch)
            requests_read = _added(requests_read, decided)
            chosen = np.isin(decided.verdicts, (ALLOWED, DENIED, UNKNOWN_ACCOUNT, NO_ADDRESS))
            if accounts is not None:
                chosen &= is_one_of(decided.accounts, accounts).to_numpy(zero_copy_only=False)
            pairs.add(decided, chosen)
            lines += batch.num_rows
            bad += decided.bad
            if progress is not None:
                progress(batch.num_rows, log.rows)
            if max_bad is not None and bad > max_bad:
                break
        rejected = log.rejected()
        lines, bad = lines + rejected, bad + rejected
        found = tuple(bad_lines(source, wanted, list(decider.unreadable), decider.has_account)) if bad else ()
        if max_bad is not None and bad > max_bad:
            raise LogError(f"{_too_many(max_bad)}{_first(found)}")
        # Of the lines about other accounts, it is not known here how many there are.
        if accounts is None and bad and bad == lines:
            raise LogError(_all_bad(source, found))
        if bad and on_bad is not None:
            on_bad(bad, found)
        if log.ignores_requests and on_note is not None:
            on_note(IGNORED_REQUESTS)
        for account, address, verdict, requests, first, last in pairs.rows():
            first_seen, last_seen = _moment(first), _moment(last)
            if address is None:
                yield UnaddressedRequests(
                    account=account, requests=requests, first_seen=first_seen, last_seen=last_seen
                )
                continue
            yield Observation(
                account=account,
                network=str(ip_network(canonical_address(address))),
                allowed=verdict != DENIED,
                requests=requests,
                first_seen=first_seen,
                last_seen=last_seen,
            )


def _notes(log: Log, former_names: Sequence[str]) -> Iterator[str]:
    """Yield what in a log does not count."""
    if log.ignores_requests:
        yield IGNORED_REQUESTS
    if former_names:
        which = f"{former_names[0]!r}" if len(former_names) == 1 else f"{len(former_names):,} names"
        yield f"the log has requests with {which} of accounts that were renamed: nothing is decided by their lists"


def _unlisted(decider: Decider) -> Iterator[Unknown]:
    """Yield of which accounts a comparison does not know what gates answer."""
    for names, when in (
        (decider.only_after, "now, before the creation"),
        (decider.only_before, "after the deletion"),
    ):
        if names:
            which = f"account {next(iter(names))!r}" if len(names) == 1 else f"{len(names):,} accounts"
            text = (
                f"what gates answer for {which} {when}: their setting for unknown accounts (unlisted) says it, and the "
                "verdicts hold for unlisted=allow"
            )
            yield Unknown(code="unlisted", text=text)


def _check_arguments(
    source: LogSource,
    matcher: Matcher,
    resolver: ClientIPResolver | None,
    *,
    max_bad: int | None,
    memory: int,
    threads: int | None,
) -> None:
    """Refuse arguments that a replay would not understand, before it opens a log."""
    check_type(source, LogSource, "source")
    check_type(matcher, Matcher, "matcher")
    check_type(resolver, ClientIPResolver, "resolver", or_none=True)
    whole_number(memory, "memory", least=2**20)
    if max_bad is not None:
        whole_number(max_bad, "max_bad", least=0)
    if threads is not None:
        whole_number(threads, "threads", least=1)


def _asked(source: LogSource, resolver: ClientIPResolver | None) -> tuple[LogSource, frozenset[str]]:
    """Return the log with the column of the header that may name the client, and the roles to read.

    The header is read only if it may count, because to read a field takes time.

    Raises:
        LogError: If nothing says the client's address.
    """
    wanted = {role for role in ROLES if role in source.roles} - {"forwarded"}
    header = None if resolver is None else resolver.client_header
    if header is not None:
        field = source.columns.get("forwarded") or source.form.field_of_header(header)
        if field is None:
            raise LogError(
                f"{header} may name the client, and nothing says where the log has it: name --columns forwarded=COLUMN"
            )
        source = replace(source, columns={**source.columns, "forwarded": field})
        wanted.add("forwarded")
    if "address" not in source.roles and (header is None or resolver is None or resolver._hops is None):
        raise LogError(
            f"a log of the format {source.form.name} has no address of the peer: say how many proxies there are "
            "(--trusted-hops 1), or name a column (--columns address=COLUMN)"
        )
    return source, frozenset(wanted)


def _all_bad(source: LogSource, found: tuple[BadLine, ...], *, of_first: int | None = None) -> str:
    of = source.files[0] if len(source.files) == 1 else f"{len(source.files):,} files"
    read = "no line" if of_first is None else f"none of the first {of_first:,} lines"
    return f"{read} of {of} is as the format {source.form.name} says{_first(found)}"


def _too_many(most: int) -> str:
    return f"more than {most:,} {'line is' if most == 1 else 'lines are'} bad"


def _first(found: tuple[BadLine, ...]) -> str:
    """Return the first bad line for the end of a message."""
    if not found:
        return ""
    return f"; the first is line {found[0].line} of {found[0].file} ({found[0].reason}): {found[0].text}"


@contextmanager
def _written_rows(path: Path | None) -> Iterator[Callable[[Decided], object]]:
    """Write requests with their verdicts to a Parquet file, batch by batch.

    Args:
        path: The file; None to write nothing.

    Yields:
        A function that writes a batch.

    Raises:
        LogError: If the file cannot be written.
    """
    if path is None:
        yield lambda decided: None
        return
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    names = pa.array(VERDICTS)
    schema = pa.schema(
        [
            ("account", pa.string()),
            ("address", pa.string()),
            ("time", pa.timestamp("us", tz="UTC")),
            ("requests", pa.int64()),
            ("verdict", pa.dictionary(pa.int8(), pa.string())),
        ]
    )
    try:
        # A file that is written in place would end every process that has mapped it, such as a snapshot.
        with replacement(path) as file, ParquetWriter(file, schema, compression="zstd") as writer:

            def write(decided: Decided) -> None:
                count = len(decided.verdicts)
                times, requests = decided.times, decided.requests
                columns = [
                    decided.accounts.cast(pa.string()),
                    _as_text(decided.addresses),
                    pa.nulls(count, schema.field(2).type)
                    if times is None
                    else pa.array(times).cast(schema.field(2).type),
                    pa.array(np.ones(count, np.int64) if requests is None else requests),
                    pa.DictionaryArray.from_arrays(pa.array(decided.verdicts), names),
                ]
                writer.write_batch(pa.record_batch(columns, schema=schema))

            yield write
    except OSError as error:
        raise LogError(f"{path} cannot be written: {error.strerror or error}") from error


def _as_text(addresses: Any) -> Any:
    """Return addresses as Arrow text, also if the log has them as numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(addresses.type):
        return addresses.cast(pa.string())
    numbers = addresses.to_numpy(zero_copy_only=False)
    parts = [pa.array((numbers >> shift) & 255).cast(pa.string()) for shift in (24, 16, 8, 0)]
    return pc.binary_join_element_wise(*parts, ".")


def _canonical(addresses: Any) -> Any:
    """Return addresses, an Arrow array of text, each in its one canonical form."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Of IPv4, the only form is the canonical one.
    others = pc.match_substring(addresses, ":")
    if not others.true_count:
        return addresses
    distinct = addresses.dictionary_encode()
    texts = [one if ":" not in one else canonical_address(one) for one in distinct.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(distinct.indices)


class Pairs:
    """Requests that are added up by account, address and verdict, in a table of DuckDB.

    Args:
        log: The log, whose database holds the table; it is made for the first of them.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._connection: Any = None
        self._rows = 0
        self._most = _MOST_ROWS

    def add(self, decided: Decided, chosen: NDArray[np.bool_]) -> None:
        """Add the chosen requests of a batch."""
        import pyarrow as pa

        count = int(np.count_nonzero(chosen))
        if not count:
            return
        if self._connection is None:
            # A connection has one open answer, and that is the log's.
            self._connection = self._log.cursor()
            self._connection.execute(_TABLE)
        mask = pa.array(chosen)
        times, requests = decided.times, decided.requests
        batch = pa.table(
            {
                "account": decided.accounts.filter(mask).cast(pa.string()),
                "address": _canonical(_as_text(decided.addresses.filter(mask))),
                "verdict": decided.verdicts[chosen],
                "requests": np.ones(count, np.int64) if requests is None else requests[chosen],
                "time": pa.nulls(count, pa.int64()) if times is None else times[chosen],
            }
        )
        self._connection.register("batch", batch)
        self._connection.execute(
            "INSERT INTO pairs SELECT account, address, verdict, sum(requests), min(time), max(time) FROM batch "
            "GROUP BY ALL"
        )
        self._connection.unregister("batch")
        self._rows += count
        if self._rows > self._most:
            self._connection.execute(f"ALTER TABLE pairs RENAME TO parts; {_TABLE}; INSERT INTO pairs {_ADDED_UP}")
            self._connection.execute("DROP TABLE parts")
            self._rows = self._connection.sql("SELECT count(*) FROM pairs").fetchall()[0][0]
            self._most = max(_MOST_ROWS, 2 * self._rows)

    def rows(self) -> Iterator[tuple[str, str | None, int, int, int, int]]:
        """Yield account, address or None, verdict, requests, and the times of the first and the last request."""
        if self._connection is None:
            return
        self._connection.execute(_ADDED_UP.replace("parts", "pairs"))
        while rows := self._connection.fetchmany(10_000):
            yield from rows

    def networks(self, most: int) -> tuple[list[VerdictChange], int, int]:
        """Return the networks with the most requests, how many there are in all, and of how many accounts."""
        if self._connection is None:
            return [], 0, 0
        self._connection.create_function("wide", _network_of, ["VARCHAR"], "VARCHAR")
        rows = self._connection.sql(
            f"""WITH one AS ({_ADDED_UP.replace("parts", "pairs")}), wide AS (
                SELECT account, CASE WHEN contains(address, ':') THEN wide(address)
                ELSE regexp_replace(address, '[0-9]+$', '0/24') END AS network, verdict, count(address) AS addresses,
                sum(requests) AS requests, min(first) AS first, max(last) AS last FROM one GROUP BY ALL)
            SELECT *, count(*) OVER (), (SELECT count(DISTINCT account) FROM wide) FROM wide
            ORDER BY verdict = {NEWLY_DENIED} DESC, requests DESC, account, network, verdict LIMIT {most}"""
        ).fetchall()
        changes = [
            VerdictChange(
                account=account,
                network=network,
                verdict=VERDICTS[verdict],
                addresses=addresses,
                requests=requests,
                first_seen=_time(first),
                last_seen=_time(last),
            )
            for account, network, verdict, addresses, requests, first, last, _, _ in rows
        ]
        return changes, *((rows[0][7], rows[0][8]) if rows else (0, 0))


_TABLE = (
    "CREATE TABLE pairs (account VARCHAR, address VARCHAR, verdict TINYINT, requests BIGINT, first BIGINT, last BIGINT)"
)
_ADDED_UP = (
    "SELECT account, address, verdict, CAST(sum(requests) AS BIGINT) AS requests, min(first) AS first, "
    "max(last) AS last FROM parts GROUP BY ALL"
)


def _network_of(address: str) -> str:
    """Return the /48 of an IPv6 address, and the /24 of an IPv4 address in the form of IPv6.

    Example:
        >>> _network_of("2001:db8:1:2::5"), _network_of("::ffff:192.0.2.9")
        ('2001:db8:1::/48', '192.0.2.0/24')
    """
    text = canonical_address(address)
    if ":" not in text:
        return str(ip_network(f"{text}/24", strict=False))
    return f"{IPv6Address(int(IPv6Address(text)) >> 80 << 80)}/48"


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _moment(microseconds)


_MOST_IN_ALL = 2**63 - 1
"""How many requests a log can have: counts have 64 bits."""


class _Present:
    """Finds which of some accounts are in a log.

    Attributes:
        found: Those that are.
    """

    def __init__(self, names: Collection[str]) -> None:
        import pyarrow as pa

        self._left = pa.array(list(names), pa.string())  # those that were not found yet
        self.found: list[str] = []

    def add(self, accounts: Any) -> None:
        """Add the accounts of a batch."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(self._left):
            return
        here = pc.is_in(self._left, value_set=accounts.unique().cast(pa.string()))
        self.found += self._left.filter(here).to_pylist()
        self._left = self._left.filter(pc.invert(here))


def _lenient_accounts(matcher: Matcher) -> list[str]:
    """Return the accounts that have a list whose mode denies nothing."""
    if not matcher._count_mode("report_only") + matcher._count_mode("off"):
        return []
    return [one for one in matcher if matcher.mode(one) != "enforce" and matcher._when_empty(one) == "deny"]


class _Totals:
    """The counts of one replay."""

    def __init__(self, pairs: Pairs, *, compared: bool) -> None:
        self.lines = self.bad = self._requests = 0
        self._pairs = pairs
        self._compared = compared
        self._noted = (NEWLY_DENIED, NEWLY_ALLOWED) if compared else (DENIED,)
        self._verdicts = np.zeros(len(VERDICTS), np.int64)
        self._timed = False
        self._unit = _MINUTE
        self._minutes: dict[int, NDArray[np.int64]] = {}

    def add(self, lines: int, decided: Decided) -> None:
        """Add a batch."""
        self.lines += lines
        self.bad += decided.bad
        if not len(decided.verdicts):
            return
        self._requests = _added(self._requests, decided)
        counts = _counts(decided.verdicts, decided.requests, len(VERDICTS))
        self._verdicts += counts
        if counts[list(self._noted)].any():
            self._pairs.add(decided, np.isin(decided.verdicts, self._noted))
        if decided.times is not None:
            self._add_times(decided, decided.times)

    def reject(self, lines: int) -> None:
        """Add lines that DuckDB could not read."""
        self.lines += lines
        self.bad += lines

    def _add_times(self, decided: Decided, times: NDArray[np.int64]) -> None:
        self._timed = True
        minutes = times // self._unit
        first = int(minutes.min())
        span = int(minutes.max()) - first + 1
        width = len(VERDICTS)
        if span <= 4 * len(minutes):
            names = range(first, first + span)
        else:  # a log in no order of time
            distinct, minutes = np.unique(minutes, return_inverse=True)
            first, span, names = 0, len(distinct), distinct.tolist()
        counts = _counts((minutes - first) * width + decided.verdicts, decided.requests, span * width)
        for minute, row in zip(names, counts.reshape(span, width), strict=True):
            if row.any():
                known = self._minutes.get(minute)
                self._minutes[minute] = row if known is None else known + row
        if len(self._minutes) > _MOST_MINUTES:
            self._unit *= 10
            self._minutes = _joined(self._minutes, 10)

    def report(self, found: tuple[BadLine, ...], not_enforced: int, began: float) -> ReplayReport:
        """Return the report."""
        changes, networks, accounts = self._pairs.networks(MOST_CHANGES)
        step, periods = self._periods()
        return ReplayReport(
            compared=self._compared,
            lines=self.lines,
            requests=int(self._verdicts.sum()),
            verdicts=_named(self._verdicts),
            bad=self.bad,
            bad_lines=found,
            not_enforced=not_enforced,
            changes=tuple(changes),
            more_changes=networks - len(changes),
            accounts=accounts,
            step=step,
            periods=periods,
            seconds=time.perf_counter() - began,
        )

    def _periods(self) -> tuple[timedelta | None, tuple[Period, ...]]:
        if not self._minutes:
            return None, ()
        span = (max(self._minutes) - min(self._minutes) + 1) * self._unit // 1_000_000
        usual = (step for step in _STEPS if step * 1_000_000 % self._unit == 0 and span <= step * _MOST_PERIODS)
        seconds = next(usual, 0) or -(-span // _MOST_PERIODS // _STEPS[-1]) * _STEPS[-1]
        joined = _joined(self._minutes, seconds * 1_000_000 // self._unit)
        # The first period may begin before the first year that a time can have.
        starts = {number: max(number * seconds * 1_000_000, IN_TIME[0]) for number in sorted(joined)}
        return timedelta(seconds=seconds), tuple(
            Period(start=_moment(start), verdicts=_named(joined[number])) for number, start in starts.items()
        )


def _added(requests: int, decided: Decided) -> int:
    """Return a number of requests with those of a batch.

    Raises:
        LogError: If they are more than can be counted.
    """
    requests += len(decided.verdicts) if decided.requests is None else int(decided.requests.sum())
    if requests > _MOST_IN_ALL:
        raise LogError("the rows stand for more than 2^63 requests, which is more than can be counted")
    return requests


def _counts(places: NDArray[Any], requests: NDArray[np.int64] | None, size: int) -> NDArray[np.int64]:
    """Return how many requests there are at each place."""
    if requests is None:
        return np.bincount(places, minlength=size).astype(np.int64, copy=False)
    counts = np.zeros(size, np.int64)
    np.add.at(counts, places, requests)  # bincount would add them up as floats
    return counts


def _joined(minutes: dict[int, NDArray[np.int64]], width: int) -> dict[int, NDArray[np.int64]]:
    joined: dict[int, NDArray[np.int64]] = {}
    for minute, counts in minutes.items():
        known = joined.get(minute // width)
        joined[minute // width] = counts if known is None else known + counts
    return joined


def _named(counts: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(VERDICTS, counts.tolist(), strict=True))
