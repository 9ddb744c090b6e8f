"""`Lineage`: proves that each session leads to the store that was opened, and to no server that a failover replaced.

A failover, a pooler, a proxy and DNS can lead a new connection to another server or database than the ones before it. A
promotion raises the timeline of a server. So a server with a lower timeline than one that was used before, and with the
same system identifier, lacks what was changed since the promotion: what it says is old, and what it is told gets lost.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Lineage", "Server"]

# The name of the file for new rows of the write-ahead log begins with the timeline. After a promotion, the server's
# control file has the one before it until the next checkpoint.
_TIMELINE = "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
_UNKNOWN = "NULL::text"
_WHERE = (
    "pg_is_in_recovery(), (pg_control_system()).system_identifier::text, {timeline}, "
    "(SELECT oid::text FROM pg_database WHERE datname = current_database()), {store}"
)

_UNTOLD = frozenset({"0A000", "42501", "42883", "55000"})
"""The errors of a service that does not tell its timeline: not supported, not allowed, not there, not now."""

_PARTS = 4
"""The number of parts of a server in a position: those of `Server`, and the id of the store's tables."""


class Server(NamedTuple):
    """Where a session leads to.

    Attributes:
        system: The system identifier, which a server has in common with its standbys.
        timeline: The timeline; 0 if it is not known.
        database: The id of the database in this server.
    """

    system: str
    timeline: int
    database: str

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}/{self.database}"


class Lineage:
    """The store and the server that the sessions of one store object lead to. Threads can share it.

    All sessions lead to one server at each moment: the one to which the newest session leads.

    Args:
        name: The name of the store in messages.
        schema: The schema of its tables.
    """

    def __init__(self, name: str, schema: str) -> None:
        self._name = name
        self._store = f'(SELECT store_id FROM "{schema}".facts)'  # noqa: S608 - a name
        self._store_id: str | None = None
        self._given: frozenset[str] = frozenset()  # by this process
        self._current: Server | None = None
        self._latest: dict[str, int] = {}  # the highest timeline by system identifier
        self._tells_timeline = True
        self.after_fork()

    def after_fork(self) -> None:
        """Prepare for a forked child, in which another thread's lock would stay taken."""
        self._lock = threading.Lock()

    def learn(self, store_id: str) -> None:
        """Take over the id of the store from a proven session: a restored backup may have another one."""
        self._store_id = store_id

    def expect(self, store_id: str) -> None:
        """Accept an id that a transaction of this process gives to the store, while others still see the one before."""
        with self._lock:
            self._given |= {store_id}

    def prove(self, ask: Callable[[str], Sequence[Any]]) -> Server:
        """Return the server of a session, and use only this one from now on.

        Args:
            ask: Executes SELECT with these columns in the session, and returns the row.

        Raises:
            StoreError: If it is a standby, has another store, or was replaced by a failover.
        """
        try:
            row = ask(self._columns())
        except Exception as error:
            if not self._tells_timeline or getattr(error, "sqlstate", None) not in _UNTOLD:
                raise
            row = ask(self._columns(timeline=False))
            self._tells_timeline = False
        is_standby, system, timeline, database, store_id = row
        if is_standby:
            raise StoreError(
                f"{self._name} is a standby, which accepts no changes and sends no notifications: name the primary "
                "server, or name all servers as //a,b/database"
            )
        if self._store_id is not None and store_id != self._store_id and store_id not in self._given:
            raise StoreError(
                f"{self._name} leads to another store than the one that was opened: lead it back to that one, or "
                "restart this process to use the other one"
            )
        return self._admit(Server(system, int(timeline or "0", 16), database))

    def is_current(self, server: Server | None) -> bool:
        """Return whether no session has led to another server since one led to this."""
        return server == self._current

    def refuse_older(self, seen: str, server: Server) -> None:
        """Refuse a server with a lower timeline than that of a position in the log of the same store.

        Args:
            seen: The server in the position, from `place`.
            server: The server.

        Raises:
            StoreError: If its timeline is lower. From now on, no session may lead to it.
        """
        system, _, rest = seen.partition("/")
        timeline = rest.partition("/")[0]
        if seen.count("/") != _PARTS - 1 or not timeline.isdecimal() or system != server.system:
            return
        if 0 < server.timeline < int(timeline):
            with self._lock:
                self._latest[system] = max(self._latest.get(system, 0), int(timeline))
                self._current = None
            raise self._replaced(server, int(timeline))

    def _columns(self, *, timeline: bool = True) -> str:
        return _WHERE.format(
            timeline=_TIMELINE if timeline and self._tells_timeline else _UNKNOWN,
            store=_UNKNOWN if self._store_id is None else self._store,
        )

    def _admit(self, server: Server) -> Server:
        with self._lock:
            current = self._current
            if not server.timeline and current is not None:
                known = server._replace(timeline=current.timeline)
                server = known if known == current else server
            latest = self._latest.get(server.system, 0)
            if 0 < server.timeline < latest:
                raise self._replaced(server, latest)
            self._latest[server.system] = max(latest, server.timeline)
            self._current = server
        return server

    def _replaced(self, server: Server, latest: int) -> StoreError:
        return StoreError(
            f"{self._name} leads to a server that was replaced by a failover: it is on timeline {server.timeline}, and "
            f"timeline {latest} was used before. Stop this server, or rebuild it as a standby of the new one; if it is "
            "a restored backup, delete the snapshots and restart this process"
        )
