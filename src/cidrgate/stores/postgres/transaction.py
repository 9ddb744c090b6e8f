"""`PostgresTransaction`: locks accounts, takes ids, copies lists, and compares positions of the log.

Each statement names the schema of its tables. The `search_path` of a session is not used, because a pooler may give a
transaction the session of another client.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import ARRAY, DateTime, Text, and_, bindparam, cast as sql_cast, column, func, select, text
from sqlalchemy.dialects.postgresql import INET

from cidrgate.errors import AccountsLockedError, StoreConflictError, StoreError
from cidrgate.rules.account_names import in_lower_case
from cidrgate.stores.bulk import compact, rows_of
from cidrgate.stores.change_rows import change_of_row, log_row, origin_to_json
from cidrgate.stores.entry_rows import DETAIL_NAMES, ENTRY_COLUMNS, STAMP_NAMES
from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.migrations import VERSION_TABLE, refuse_other_lists
from cidrgate.stores.postgres.database import LONGEST_SILENCE
from cidrgate.stores.postgres.failures import DENIED
from cidrgate.stores.postgres.holders import log_holder
from cidrgate.stores.schema import ID_COLUMNS, accounts, changes, entries, facts, utc_text
from cidrgate.stores.search import MOST_FOUND
from cidrgate.stores.sql import Transaction, escaped, select_accounts_named, select_found, select_lists_after
from cidrgate.stores.table_rows import stored_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select, Table, TextClause

    from cidrgate.stores.postgres.connections import BoundedConnection
    from cidrgate.stores.postgres.lineage import Lineage
    from cidrgate.stores.search import WantedNetwork
    from cidrgate.stores.values import LogHolder, NewList, StoredAccount, StoredChange, StoredList
    from cidrgate.values import Change, Origin

__all__ = ["PostgresTransaction"]

_LONG_SILENCE = 60.0
"""Seconds that a server may take for a larger query. A query of all lists may take longer."""

_LARGEST_BLOCK = 4_096
"""The largest number of ids that are taken from the sequence at once."""

_MARK = "txid::text || '@' || extract(epoch FROM at)::text"
"""A mark that identifies a row of the log: after a backup was restored, a row with the same sequence has another mark.
"""

_REVISION = f"(SELECT version_num FROM {{schema}}.{VERSION_TABLE})"  # noqa: S608 - a name
_POSITION = """
    SELECT {revision}, facts.store_id, facts.tableoid, pg_current_snapshot()::text,
        greatest((SELECT coalesce(max(sequence), 0) FROM {schema}.changes), facts.log_start - 1),
        coalesce((
            SELECT {mark} FROM {schema}.changes WHERE sequence = (SELECT max(sequence) FROM {schema}.changes)
        ), '')
    FROM {schema}.facts
"""
_CHANGED = """
    WITH since AS MATERIALIZED (
        SELECT account FROM {schema}.changes
        WHERE txid >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))
            AND NOT pg_visible_in_snapshot(txid, CAST(:seen AS pg_snapshot))
            AND account <> ''
        ORDER BY txid
        LIMIT :rows
    )
    SELECT {revision} AS revision, facts.store_id AS store_id, facts.tableoid AS tables,
        pg_current_snapshot()::text AS snapshot,
        greatest((SELECT coalesce(max(sequence), 0) FROM {schema}.changes), facts.log_start - 1) AS sequence,
        coalesce((
            SELECT {mark} FROM {schema}.changes WHERE sequence = (SELECT max(sequence) FROM {schema}.changes)
        ), '') AS mark,
        facts.log_start AS log_start,
        pg_snapshot_xmax(CAST(:seen AS pg_snapshot)) > pg_snapshot_xmax(pg_current_snapshot())
            OR coalesce((SELECT {mark} FROM {schema}.changes WHERE sequence = CAST(:last AS bigint)), '')
                <> CAST(:mark AS text) AS rewound,
        (SELECT count(*) FROM since) = :rows AS cut,
        (SELECT count(DISTINCT account) FROM since) AS found,
        ARRAY(SELECT DISTINCT account FROM since LIMIT :most) AS names
    FROM {schema}.facts
"""
"""One statement, because every message to the server and back delays the publication of a change.

It is ordered so that PostgreSQL finds new rows with the index on transactions, however long the log is. Without the
order, it would scan the index on accounts.
"""
_OF_CHANGED = (
    "revision",
    "store_id",
    "tables",
    "snapshot",
    "sequence",
    "mark",
    "log_start",
    "rewound",
    "cut",
    "found",
    "names",
)
_PARTS = 5
"""The number of parts in a position. Positions of earlier versions have fewer, and cannot detect a restored backup."""

_ROWS_A_NAME = 10
"""The number of changes for each wanted name above which there are too many changes."""
_NOTE_MATCHES = """
    INSERT INTO {schema}.matches (entry_id, at)
    SELECT entries.id, :at FROM {schema}.entries
    WHERE (entries.account_id, entries.cidr) IN (
        SELECT coalesce(accounts.parent_id, accounts.id), seen.cidr
        FROM unnest(CAST(:accounts AS text[]), CAST(:cidrs AS cidr[])) AS seen (account, cidr)
        JOIN {schema}.accounts ON accounts.name = seen.account
    )
    ORDER BY entries.id
    FOR KEY SHARE OF entries
    ON CONFLICT (entry_id) DO UPDATE SET at = greatest(matches.at, excluded.at)
"""
"""The entries are locked, because a match cannot refer to an entry that is deleted in the meantime. They are locked in
a fixed order, so that nodes that record matches of the same entries do not deadlock."""
_CLOCK: ColumnElement[datetime] = func.clock_timestamp(type_=DateTime(timezone=True))
_COPIED_ENTRIES = f"entries ({', '.join(('id', 'account_id', 'cidr', *DETAIL_NAMES, *STAMP_NAMES))})"
_IDS = "SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :wanted)"

# Without a right to the sequence, its last value is null from PostgreSQL 17 on, as if there were no rows.
_LAST_ID = text("""
    SELECT CASE WHEN has_sequence_privilege(ids, 'USAGE, SELECT') THEN coalesce(pg_sequence_last_value(ids), 0) END
    FROM CAST(pg_get_serial_sequence(:table, :id) AS regclass) AS ids
""")
_RAISE_IDS = text("SELECT setval(CAST(pg_get_serial_sequence(:table, :id) AS regclass), :last)")

_ADDED = ("account_id", *(column.name for column in ENTRY_COLUMNS))
_LOGGED = ("actor", "account", "action", "before", "after", "details", "origin")
_LOGGED_JSON = ("before", "after", "details", "origin")


def _typed(name: str) -> str:
    """Return a column of a logged change with its type: in an array, JSON is text."""
    return f"CAST(made.{name} AS json)" if name in _LOGGED_JSON else f"made.{name}"


_INSERT = f"""
    WITH added AS (
        INSERT INTO {{schema}}.entries ({", ".join(_ADDED)})
        SELECT * FROM unnest({", ".join(f":added_{name}" for name in _ADDED)})
    ), raised AS (
        UPDATE {{schema}}.accounts SET version = version + 1 WHERE id = ANY (:raised)
    )
    INSERT INTO {{schema}}.changes (at, {", ".join(_LOGGED)})
    SELECT :at, {", ".join(map(_typed, _LOGGED))}
    FROM unnest({", ".join(f":made_{name}" for name in _LOGGED)})
        WITH ORDINALITY AS made ({", ".join(_LOGGED)}, place)
    ORDER BY made.place
"""  # noqa: S608 - names of columns
"""One statement stores and logs changes. The tables do not depend on each other, except that the log has an order."""

_LOG_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation = '{schema}.changes'::regclass
"""

_select_own_changes = (
    select(changes).where(text("txid = pg_current_xact_id_if_assigned()")).order_by(changes.c.sequence)
)
_select_names = select(accounts.c.name).where(in_keys(accounts.c.name, "names"))


class _Statements(NamedTuple):
    """The handwritten SQL statements for the tables of one schema."""

    position: TextClause
    changed: TextClause
    changed_lists: Select[Any]
    note_matches: TextClause
    ids: TextClause
    insert: TextClause
    log_writers: TextClause


@cache
def _statements(schema: str) -> _Statements:
    texts: tuple[str, ...] = (_POSITION, _CHANGED, _NOTE_MATCHES, _IDS, _INSERT, _LOG_WRITERS)
    parts = {"{mark}": _MARK, "{revision}": _REVISION, "{schema}": f'"{schema}"'}
    for part, written in parts.items():
        texts = tuple(one.replace(part, written) for one in texts)
    position, changed, note_matches, ids, inserted, log_writers = map(text, texts)
    return _Statements(
        position=position,
        changed=changed,
        changed_lists=select_lists_after(changed.columns(*map(column, _OF_CHANGED))),
        note_matches=note_matches,
        ids=ids,
        log_writers=log_writers,
        insert=inserted.bindparams(
            bindparam("at", type_=changes.c.at.type),
            bindparam("raised", type_=ARRAY(accounts.c.id.type)),
            *(bindparam(f"added_{name}", type_=ARRAY(entries.c[name].type)) for name in _ADDED),
            *(bindparam(f"made_{name}", type_=ARRAY(Text())) for name in _LOGGED),
        ),
    )


class PostgresTransaction(Transaction):
    """A transaction on PostgreSQL. A write transaction locks every account that it reads.

    Args:
        connection: The connection, in the transaction.
        schema: The schema of the tables.
        lineage: What proves that each session leads to the same store.
        writes: Whether it may write.
        waits: Whether to wait for accounts that other transactions have locked. Otherwise an `AccountsLockedError`
            names them.
    """

    server_clock = _CLOCK

    # In a fixed order, so that two writers of many accounts never deadlock.
    _select_in_order = select_accounts_named.add_columns(accounts.c.parent_id).order_by(accounts.c.id)
    _select_to_change = _select_in_order.with_for_update(of=accounts)
    _select_unlocked = _select_in_order.with_for_update(of=accounts, skip_locked=True)

    def __init__(
        self, connection: Connection, schema: str, lineage: Lineage, *, writes: bool, waits: bool = True
    ) -> None:
        super().__init__(connection, writes=writes)
        self._schema = schema
        self._lineage = lineage
        self._statements = _statements(schema)
        self._waits = waits
        self._ids: Iterator[int] | None = None

    def clock(self) -> datetime | None:
        """Return the time of the server's clock."""
        now: datetime = self._connection.scalars(select(_CLOCK)).one()
        return now

    def accounts_named(self, names: Collection[str]) -> dict[str, StoredAccount]:
        """Return the existing accounts with these names, by name. A write transaction locks them for other writers.

        Raises:
            AccountsLockedError: If other transactions have locked some of them, and this one does not wait for locks.
        """
        if not self._writes:
            return super().accounts_named(names)
        began = time.monotonic()
        try:
            return super().accounts_named(names) if self._waits else self._unlocked_accounts_named(names)
        finally:
            self.waited += time.monotonic() - began

    def _unlocked_accounts_named(self, names: Collection[str]) -> dict[str, StoredAccount]:
        rows = self._connection.execute(self._select_unlocked, {"names": list(names)})
        found = {row.name: self._stored_account(row) for row in rows}
        if missing := set(names) - found.keys():
            locked = self._connection.scalars(_select_names, {"names": list(missing)}).all()
            if locked:
                raise AccountsLockedError(
                    "the list is locked by another transaction; nothing was changed", accounts=locked
                )
        return found

    def _stored_account(self, row: Row[Any]) -> StoredAccount:
        # After a wait for the lock, the account is read again and its parent is not: the parent is None then, although
        # the account has one.
        if self._writes and (row.parent is None) != (row.parent_id is None):
            raise StoreConflictError(
                f"account {row.name!r} was moved to another parent in the meantime; nothing was changed: try again"
            )
        return super()._stored_account(row)

    def lists(self) -> Iterator[StoredList]:
        """Stream every account with the CIDRs of its own list, in the order in which they were created."""
        # The server reads and sorts every entry before it sends the first list.
        self._allow_silence(LONGEST_SILENCE)
        return super().lists()

    def _expect_much(self) -> None:
        self._allow_silence(_LONG_SILENCE)

    def expect_all(self) -> None:
        """Allow the server as much time as it needs."""
        self._allow_silence(LONGEST_SILENCE)

    def _allow_silence(self, seconds: float) -> None:
        driver = self._driver
        driver.silence = max(driver.silence, seconds)

    @property
    def _driver(self) -> BoundedConnection:
        return cast("BoundedConnection", self._connection.connection.driver_connection)

    def new_entry_ids(self, expected: int = 1) -> Iterator[int]:
        """Return ids of the sequence, which are taken in growing blocks."""
        if self._ids is None:
            self._ids = self._take_ids(expected)
        return self._ids

    def _take_ids(self, expected: int) -> Iterator[int]:
        wanted = expected
        while True:
            yield from self._take("entries", wanted)
            wanted = min(8 * wanted, _LARGEST_BLOCK)

    def _new_account_ids(self, count: int) -> Sequence[int]:
        return self._take("accounts", count)

    def _take(self, table: str, wanted: int) -> Sequence[int]:
        wanted_of = {"table": f'"{self._schema}".{table}', "wanted": wanted}
        return self._connection.scalars(self._statements.ids, wanted_of).all()

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Delete the rows at the beginning of the log that are older than a time."""
        # The trigger that protects the log names no schema, so this must be the only one that the transaction sees.
        self._connection.exec_driver_sql(f'SET LOCAL search_path TO "{self._schema}"')
        self._allow_silence(LONGEST_SILENCE)  # the log may be years long
        return super().prune(before, dry_run=dry_run)

    def prepare_erasing(self) -> None:
        """Keep other writers out until the end of this write transaction, which rewrites rows of the log."""
        # As for `prune`.
        self._connection.exec_driver_sql(f'SET LOCAL search_path TO "{self._schema}"')
        # In the order in which writers lock: none may hold what comes later while it waits for what comes earlier.
        self._connection.execute(select(facts.c.store_id).with_for_update())
        tables = ", ".join(f'"{self._schema}".{table.name}' for table in (accounts, entries, changes))
        self._connection.exec_driver_sql(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")

    def note_matches(self, seen: Sequence[tuple[str, str]], at: datetime) -> None:
        """Record when entries matched requests."""
        accounts_seen, cidrs = zip(*seen, strict=True)
        self._connection.execute(
            self._statements.note_matches, {"accounts": list(accounts_seen), "cidrs": list(cidrs), "at": at}
        )

    def _names_like(self, before: str, text: str, after: str, *, indexed: bool = True) -> ColumnElement[bool]:
        # The index follows the locale of the database, and finds more: letters with accents have two cases too.
        pattern = f"{before}{in_lower_case(escaped(text))}{after}"
        exact = func.lower(accounts.c.name.collate("C")).like(pattern, escape="/")
        return and_(super()._names_like(before, text, after, indexed=indexed), exact)

    def _entries_found(self, wanted: WantedNetwork, after: int, limit: int | None) -> Sequence[Row[Any]]:
        network = sql_cast(bindparam("network", wanted.cidr), INET)
        found = entries.c.cidr.op("&&" if wanted.overlaps else ">>=", is_comparison=True)(network)
        statement = select_found.where(found, entries.c.id > after).order_by(entries.c.id)
        if limit is not None:
            # The index has no order. With an order and a limit, the server might read all entries in that order.
            some = select(entries.c.id).where(found, entries.c.id > after).limit(MOST_FOUND + 1)
            ids = sorted(self._connection.scalars(some))
            if len(ids) <= MOST_FOUND:
                statement = select_found.where(in_keys(entries.c.id, "ids")).order_by(entries.c.id)
                return self._connection.execute(statement, {"ids": ids[:limit]}).all()
        return self._connection.execute(statement.limit(limit)).all()

    def log_writers(self) -> frozenset[str]:
        """Return the transactions that have written to the log, and have not ended.

        Each holds a lock on the table from before it takes its first sequence until its rows are visible.
        """
        return frozenset(self._connection.scalars(self._statements.log_writers))

    def log_holder(self, writers: frozenset[str]) -> LogHolder | None:
        """Return the session with the oldest of some transactions that `log_writers` returned."""
        return log_holder(self._connection, writers)

    def own_changes(self) -> list[Change]:
        """Return the rows that this transaction has logged, the oldest first."""
        if self._log_end_before is None:
            return []
        return [change_of_row(row) for row in self._connection.execute(_select_own_changes)]

    def keep_own_changes(self) -> None:
        """Let `own_changes` return the rows of this transaction: each has its transaction's id."""
        self._log_end_before = 0

    def _read_position(self) -> str:
        """Return the id of the store, the place, the snapshot, the end of the log, and the last row's mark."""
        revision, store_id, tables, *parts = self._connection.execute(self._statements.position).one()
        refuse_other_lists(revision)
        self._lineage.learn(store_id)
        return "|".join(map(str, (store_id, self._place(tables), *parts)))

    def _place(self, tables: int) -> str:
        """Return where a position is: the log of another place says nothing about it.

        Args:
            tables: The id of one of the tables. A restored backup has other ones.
        """
        return f"{self._driver.server}/{tables}"

    def _insert(self, added: Sequence[dict[str, object]], made: Sequence[StoredChange], at: datetime) -> None:
        """Store new entries, raise the versions of the changed accounts, and log the changes."""
        logged = [log_row(change, at) for change in made]
        for row in logged:  # a list of lists would be one array with two dimensions
            row.update({name: None if row[name] is None else compact(row[name]) for name in _LOGGED_JSON})
        self._connection.execute(
            self._statements.insert,
            {
                "at": at,
                "raised": sorted({change.account.id for change in made}),
                **{f"added_{name}": [row[name] for row in added] for name in _ADDED},
                **{f"made_{name}": [row[name] for row in logged] for name in _LOGGED},
            },
        )

    def _read_changes(self, position: str, limit: int, *, lists: bool) -> Sequence[Row[Any]]:
        parts = position.split("|")
        if len(parts) != _PARTS or not parts[3].isdecimal():
            return ()
        _, _, seen, end, mark = parts
        most = {"most": limit + 1, "rows": _ROWS_A_NAME * limit + 1}
        statement = self._statements.changed_lists if lists else self._statements.changed
        return self._connection.execute(statement, {"seen": seen, "last": int(end), "mark": mark, **most}).all()

    def _knows_changes(self, position: str, limit: int, row: Row[Any]) -> bool:
        refuse_other_lists(row.revision)
        self._lineage.learn(row.store_id)
        place = self._place(row.tables)
        self._position = "|".join(map(str, (row.store_id, place, row.snapshot, row.sequence, row.mark)))
        store_id, seen, _, end, _ = position.split("|")
        if store_id == row.store_id and self._driver.server is not None:
            self._lineage.refuse_older(seen, self._driver.server)
        return (
            (store_id, seen) == (row.store_id, place)
            and row.log_start - 1 <= int(end)
            and not row.rewound
            and not row.cut
            and row.found <= limit
        )

    def _insert_accounts(
        self,
        rows: Sequence[tuple[int, str]],
        parent_id: int | None,
        version: int,
        moment: str,
        actor: str | None,
        origin: Origin | None,
    ) -> None:
        by, parent = _copied(actor), r"\N" if parent_id is None else str(parent_id)
        came = _copied_origin(origin)
        self._copy(
            "accounts (id, name, parent_id, created_at, version)",
            (f"{key}\t{_copied(name)}\t{parent}\t{moment}\t{version}\n" for key, name in rows),
        )
        self._copy(
            "changes (at, actor, origin, account, action, before, after)",
            (f"{moment}\t{by}\t{came}\t{_copied(name)}\tcreate_account\t[]\t[]\n" for _, name in rows),
        )

    def insert_lists(
        self, lists: Sequence[NewList], *, at: datetime, actor: str | None, origin: Origin | None = None
    ) -> None:
        """Store the first entries of many accounts, and log them, with COPY."""
        if not lists:
            return
        moment = utc_text(at)
        needed = sum(len(new.cidrs) for new in lists)
        by, came = _copied(actor), _copied_origin(origin)
        rest = f"\t{moment}\t{by}\n"

        def line(entry_id: int, account_id: int, cidr: str, details: str) -> str:
            return f"{entry_id}\t{account_id}\t{cidr}\t{details}{rest}"

        rows = rows_of(lists, iter(self._take("entries", needed)), at, actor, line, _copied_details)
        self._copy(_COPIED_ENTRIES, rows.entries)
        self._copy(
            "changes (at, actor, origin, account, action, before, after)",
            (
                f"{moment}\t{by}\t{came}\t{_copied(account)}\tadd\t[]\t{_copied(after)}\n"
                for account, after in rows.changes
            ),
        )
        self._raise_versions(new.account_id for new in lists if not new.counted)

    def insert_rows(self, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert many rows that have all of their keys, with COPY."""
        columns = ", ".join(f'"{name}"' for name in names)
        driver: Any = self._connection.connection.driver_connection
        with driver.cursor() as cursor:
            with cursor.copy(f'COPY "{self._schema}".{table.name} ({columns}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(tuple(map(stored_form, row)))
            return int(cursor.rowcount)

    def lock_all(self, tables: Iterable[Table]) -> None:
        """Keep other writers out of some tables until the end of this write transaction."""
        names = ", ".join(f'"{self._schema}".{table.name}' for table in tables)
        self._connection.exec_driver_sql(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")

    def note_store_id(self, store_id: str) -> None:
        """Record the id that this transaction gives to the store."""
        self._lineage.expect(store_id)

    def last_ids(self) -> dict[str, int]:
        """Return the greatest id that each table with ids ever had, by the name of the table; 0 if it had none."""
        return {table: self._last_id(table) for table in ID_COLUMNS}

    def _last_id(self, table: str) -> int:
        last: int | None = self._connection.scalar(_LAST_ID, self._sequence_of(table))
        if last is None:
            raise StoreError(f"the store {DENIED}")
        return last

    def raise_ids(self, ids: Mapping[str, int]) -> None:
        """Let new rows have greater ids than these, by the name of the table."""
        for table, last in self.last_ids().items():
            if (greatest := max(int(ids[table]), last)) > 0:
                self._connection.execute(_RAISE_IDS, {**self._sequence_of(table), "last": greatest})

    def _sequence_of(self, table: str) -> dict[str, str]:
        return {"table": f'"{self._schema}".{table}', "id": ID_COLUMNS[table]}

    def _copy(self, target: str, lines: Iterable[str]) -> None:
        driver: Any = self._connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f'COPY "{self._schema}".{target} FROM STDIN') as copy:
            copy.write("".join(lines))


def _copied_details(texts: Sequence[Any]) -> str:
    return "\t".join(_copied(None if text is None else str(text)) for text in texts)


def _copied_origin(origin: Origin | None) -> str:
    return _copied(None if origin is None else compact(origin_to_json(origin)))


def _copied(value: str | None) -> str:
    r"""Return a text as COPY reads it, or `\N` for None.

    >>> print(_copied("a\tb"), _copied(None))
    a\tb \N
    """
    if value is None:
        return r"\N"
    if value.isalnum():
        return value
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
