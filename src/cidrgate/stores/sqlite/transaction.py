"""`SqliteTransaction`: ids and positions, which rely on a single writer at a time, and bulk inserts with JSON."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, select, text

from cidrgate.stores.bulk import compact, rows_of
from cidrgate.stores.change_rows import origin_to_json
from cidrgate.stores.entry_rows import DEFAULTS, DETAIL_COLUMNS, DETAIL_NAMES, STAMP_NAMES
from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.migrations import refuse_other_lists
from cidrgate.stores.schema import ID_COLUMNS, accounts, entries, utc_text
from cidrgate.stores.search import MOST_FOUND
from cidrgate.stores.sql import Transaction, select_found, select_lists_after
from cidrgate.stores.sqlite.search import NAMES, NETWORKS, names_query, networks_query
from cidrgate.stores.table_rows import stored_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Table

    from cidrgate.stores.search import WantedNetwork
    from cidrgate.stores.values import NewList
    from cidrgate.values import Origin

__all__ = ["SqliteTransaction"]

_POSITION = """
    SELECT (SELECT version_num FROM alembic_version), (SELECT store_id FROM facts),
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0),
        coalesce((
            SELECT at FROM changes WHERE sequence = (SELECT seq FROM sqlite_sequence WHERE name = 'changes')
        ), '')
"""
_CHANGED = text(
    # NOT INDEXED: SQLite would otherwise scan its whole index on accounts, because the query selects accounts.
    """
    WITH since AS MATERIALIZED (
        SELECT DISTINCT account FROM changes NOT INDEXED WHERE sequence > :last AND account <> '' LIMIT :most
    ), log_end (sequence) AS (
        SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)
    )
    SELECT (SELECT version_num FROM alembic_version) AS revision, facts.store_id AS store_id,
        log_end.sequence AS sequence,
        coalesce((SELECT at FROM changes WHERE sequence = log_end.sequence), '') AS mark,
        facts.log_start AS log_start,
        coalesce((SELECT at FROM changes WHERE sequence = :last), '') <> :mark AS rewound,
        (SELECT count(*) FROM since) AS found,
        (SELECT json_group_array(account) FROM since) AS names
    FROM facts, log_end
    """
)
"""One statement, because the work around each statement costs more than the statement."""
_CHANGED_LISTS = select_lists_after(
    _CHANGED.columns(
        *map(column, ("revision", "store_id", "sequence", "mark", "log_start", "rewound", "found", "names"))
    )
)
_OF_EACH = ("id", "account_id", "cidr", *DETAIL_NAMES)
"""The columns that differ between the entries of a bulk insert; the common columns follow them."""

_EXTRACTED = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(_OF_EACH)))
_STAMPS = ", ".join("?" for _ in STAMP_NAMES)
_BOUND = ", ".join("?" for _ in _OF_EACH)
_COLUMNS = ", ".join((*_OF_EACH, *STAMP_NAMES))
_INSERT_ENTRY = f"INSERT INTO entries ({_COLUMNS}) VALUES ({_BOUND}, {_STAMPS})"  # noqa: S608 - names of columns
_INSERT_ENTRIES = f"INSERT INTO entries ({_COLUMNS}) SELECT {_EXTRACTED}, {_STAMPS} FROM json_each(?)"  # noqa: S608
_INSERT_PLAIN_ENTRIES = f"""
    INSERT INTO entries (id, account_id, cidr, label, {", ".join(STAMP_NAMES)})
    SELECT CAST(key AS INTEGER), CAST(substr(key, instr(key, ':') + 1) AS INTEGER),
        substr(atom, 1, instr(atom, ' ') - 1), nullif(substr(atom, instr(atom, ' ') + 1), ''), {_STAMPS}
    FROM json_each(?)
"""  # noqa: S608
"""Of entries whose details are the defaults, except for their labels: most entries of an import."""

_INSERT_ACCOUNTS = """
    INSERT INTO accounts (id, name, parent_id, created_at, version)
    SELECT CAST(key AS INTEGER), value, ?, ?, ? FROM json_each(?)
"""
_INSERT_CREATIONS = """
    INSERT INTO changes (at, actor, origin, account, action, before, after)
    SELECT ?, ?, ?, value, 'create_account', '[]', '[]' FROM json_each(?)
"""
_INSERT_CHANGES = """
    INSERT INTO changes (at, actor, origin, action, before, account, after)
    SELECT ?, ?, ?, 'add', '[]', key, value FROM json_each(?)
"""
_NOTE_MATCHES = text(
    """
    INSERT INTO matches (entry_id, at)
    SELECT entries.id, :at
    FROM json_each(:seen) AS seen
    JOIN accounts ON accounts.name = json_extract(seen.value, '$[0]')
    JOIN entries ON entries.account_id = coalesce(accounts.parent_id, accounts.id)
        AND entries.cidr = json_extract(seen.value, '$[1]')
    WHERE true
    ON CONFLICT (entry_id) DO UPDATE SET at = max(at, excluded.at)
    """
)

_RAISE_IDS = text("UPDATE sqlite_sequence SET seq = :last WHERE name = :name")
_FIRST_IDS = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")

_NUL = r"\u0000"

_IDS_AT_ONCE = 1_000
"""How many found entries are read at once."""

_UNINDEXED = "SELECT id, cidr FROM entries WHERE id > ? ORDER BY id"
_UNINDEXED_COVERING = (
    "SELECT id, cidr FROM entries WHERE id > ? AND cidr IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_found_with_ids = select_found.where(in_keys(entries.c.id, "ids")).order_by(entries.c.id)
_ROWS_A_STATEMENT = 10_000
"""How many rows of a copy are in memory at once."""


class SqliteTransaction(Transaction):
    """A transaction on SQLite. The ids of new entries follow the greatest id ever used.

    There is one writer at a time, so rows of the log are committed in the order of their sequence. A position is the
    sequence of the last row.
    """

    def __init__(self, connection: Connection, *, writes: bool) -> None:
        super().__init__(connection, writes=writes)
        self._ids: Iterator[int] | None = None

    def new_entry_ids(self, expected: int = 1) -> Iterator[int]:
        """Return ids that no entry ever had. The write lock ensures that no other writer uses the same ids."""
        if self._ids is None:
            self._ids = count(self._last("entries") + 1)
        return self._ids

    def _new_account_ids(self, count: int) -> Sequence[int]:
        first = self._last("accounts") + 1
        return range(first, first + count)

    def _insert_accounts(
        self,
        rows: Sequence[tuple[int, str]],
        parent_id: int | None,
        version: int,
        moment: str,
        actor: str | None,
        origin: Origin | None,
    ) -> None:
        text = compact(dict(rows))
        self._connection.exec_driver_sql(_INSERT_ACCOUNTS, (parent_id, moment, version, text))
        self._connection.exec_driver_sql(_INSERT_CREATIONS, (moment, actor, _origin_text(origin), text))

    def insert_lists(
        self, lists: Sequence[NewList], *, at: datetime, actor: str | None, origin: Origin | None = None
    ) -> None:
        """Store the first entries of many accounts, and log them.

        SQLite parses the rows from JSON text, which takes half the time of binding each row. An entry with default
        details, except for its label, is one member of a JSON object, its name and its value, because SQLite reads an
        array again for each element.
        """
        if not lists:
            return
        rows = rows_of(lists, self.new_entry_ids(), at, actor, _entry_as_json, _details_as_json)
        moment = utc_text(at)
        plain = ",".join(entry for entry in rows.entries if entry[0] == '"')
        self._connection.exec_driver_sql(_INSERT_PLAIN_ENTRIES, (moment, actor, f"{{{plain}}}"))
        others = f"[{','.join(entry for entry in rows.entries if entry[0] == '[')}]"
        if _NUL in others:  # SQLite's JSON would end a label there
            self._connection.exec_driver_sql(_INSERT_ENTRY, [(*row, moment, actor) for row in json.loads(others)])
        else:
            self._connection.exec_driver_sql(_INSERT_ENTRIES, (moment, actor, others))
        changes = ",".join(f"{compact(account)}:{after}" for account, after in rows.changes)
        self._connection.exec_driver_sql(_INSERT_CHANGES, (moment, actor, _origin_text(origin), f"{{{changes}}}"))
        self._raise_versions(new.account_id for new in lists if not new.counted)

    def _accounts_found(
        self, containing: str, starting_with: str, named: Sequence[ColumnElement[bool]]
    ) -> list[int] | None:
        query = names_query(containing, starting_with)
        if query is None:
            return None
        indexed_to = NAMES.indexed_to(self._connection)
        found = NAMES.matching(self._connection, query, 0, MOST_FOUND + 1) if indexed_to else []
        if len(found) <= MOST_FOUND:
            others = select(accounts.c.id).where(accounts.c.id > indexed_to, *named).limit(MOST_FOUND + 1)
            found += self._connection.scalars(others).all()
        return None if len(found) > MOST_FOUND else found

    def _entries_found(self, wanted: WantedNetwork, after: int, limit: int | None) -> Sequence[Row[Any]]:
        query = networks_query(wanted)
        indexed_to = NETWORKS.indexed_to(self._connection) if query else 0
        at_once = _IDS_AT_ONCE if limit is None else min(limit, _IDS_AT_ONCE)
        found: list[Row[Any]] = []
        while after < indexed_to and query and (limit is None or len(found) < limit):
            ids = NETWORKS.matching(self._connection, query, after, at_once)
            rows = self._connection.execute(_found_with_ids, {"ids": ids})
            found += (row for row in rows if wanted.finds(row.cidr))
            after = ids[-1] if len(ids) == at_once else indexed_to
        for ids in self._unindexed(wanted, after, at_once):
            if limit is not None and len(found) >= limit:
                break
            found += self._connection.execute(_found_with_ids, {"ids": ids})
        return found[:limit]

    def _unindexed(self, wanted: WantedNetwork, after: int, at_once: int) -> Iterator[list[int]]:
        """Yield the ids of entries that a search finds, in ascending order and some at a time, without an index."""
        parameters: tuple[int | str, ...] = (after,)
        if not wanted.overlaps:
            parameters = (after, json.dumps(wanted.covering))
        statement = _UNINDEXED if wanted.overlaps else _UNINDEXED_COVERING
        with closing(self._connection.exec_driver_sql(statement, parameters)) as rows:
            matching = (entry_id for entry_id, cidr in rows if wanted.finds(cidr))
            while ids := list(islice(matching, at_once)):
                yield ids

    def insert_rows(self, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert many rows that have all of their keys."""
        bound = ", ".join("?" for _ in names)
        statement = f"INSERT INTO {table.name} ({_names(names)}) VALUES ({bound})"  # noqa: S608 - names of columns
        formed = (tuple(map(stored_form, row)) for row in rows)
        inserted = 0
        while part := list(islice(formed, _ROWS_A_STATEMENT)):
            self._connection.exec_driver_sql(statement, part)
            inserted += len(part)
        return inserted

    def last_ids(self) -> dict[str, int]:
        """Return the greatest id that each table with ids ever had, by the name of the table; 0 if it had none."""
        return {table: self._last(table) for table in ID_COLUMNS}

    def raise_ids(self, ids: Mapping[str, int]) -> None:
        """Let new rows have greater ids than these, by the name of the table."""
        for table in ID_COLUMNS:
            last = max(int(ids[table]), self._last(table))
            if not self._connection.execute(_RAISE_IDS, {"name": table, "last": last}).rowcount:
                self._connection.execute(_FIRST_IDS, {"name": table, "last": last})

    def note_matches(self, seen: Sequence[tuple[str, str]], at: datetime) -> None:
        """Record when entries matched requests."""
        self._connection.execute(_NOTE_MATCHES, {"seen": json.dumps(seen), "at": utc_text(at)})

    def _read_position(self) -> str:
        """Return the store's id, the sequence of the log's last row, and the time of that row.

        The time detects a restored backup: then another row has the same sequence, but another time.
        """
        revision, *parts = self._connection.exec_driver_sql(_POSITION).one()
        refuse_other_lists(revision)
        return "|".join(map(str, parts))

    def _read_changes(self, position: str, limit: int, *, lists: bool) -> Sequence[Row[Any]]:
        _, last, mark = [*position.split("|"), "", ""][:3]
        if not last.isdecimal():
            return ()
        statement = _CHANGED_LISTS if lists else _CHANGED
        return self._connection.execute(statement, {"last": int(last), "mark": mark, "most": limit + 1}).all()

    def _knows_changes(self, position: str, limit: int, row: Row[Any]) -> bool:
        refuse_other_lists(row.revision)
        self._position = "|".join(map(str, (row.store_id, row.sequence, row.mark)))
        store_id, last, *_ = position.split("|")
        return (
            store_id == row.store_id
            and row.log_start - 1 <= int(last) <= row.sequence
            and not row.rewound
            and row.found <= limit
        )

    def _last(self, table: str) -> int:
        """Return the greatest key that a table ever had."""
        used = self._connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table})
        return used.scalar() or 0


def _origin_text(origin: Origin | None) -> str | None:
    return None if origin is None else compact(origin_to_json(origin))


_DEFAULT_TEXTS = [
    None if value is None else column.to_text(value) for column, value in zip(DETAIL_COLUMNS, DEFAULTS, strict=True)
]


def _names(names: Sequence[str]) -> str:
    """Return names of columns for a statement; some are words of SQL."""
    return ", ".join(f'"{name}"' for name in names)


def _entry_as_json(entry_id: int, account_id: int, cidr: str, details: str) -> str:
    """Return an entry with no details but a label as a member of a JSON object, and another as a JSON array."""
    if details[:1] == ",":
        return f'[{entry_id},{account_id},"{cidr}"{details}]'
    return f'"{entry_id}:{account_id}":"{cidr} {details}"'


def _details_as_json(texts: Sequence[Any]) -> str:
    """Return the last elements of that array, which begin with a comma, or the label as it is within quotes."""
    as_array = compact(texts)[1:-1]
    label = texts[_LABEL]
    # A label with a comma in front would look like an array, and an empty label would be stored as none.
    is_plain = (
        [*texts[:_LABEL], *texts[_LABEL + 1 :]] == _DEFAULTS_BESIDE_LABEL and label != "" and _NUL not in as_array
    )
    if not is_plain or (label or "").startswith(","):
        return f",{as_array}"
    return compact(label or "")[1:-1]


_LABEL = DETAIL_NAMES.index("label")
_DEFAULTS_BESIDE_LABEL = [*_DEFAULT_TEXTS[:_LABEL], *_DEFAULT_TEXTS[_LABEL + 1 :]]
