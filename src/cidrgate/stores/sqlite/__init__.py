"""The SQLite store: one file shared by any number of processes, or a database in memory.

Writers take the file's write lock when their transaction begins (`BEGIN IMMEDIATE`), so nothing changes between their
reads and their writes, and two writers cannot make an invalid list together. Readers see the last committed state and
block no other transaction (write-ahead log). A commit returns when its data is on the disk.
"""

from cidrgate.stores.sqlite.store import SqliteStore, migrate

__all__ = ["SqliteStore", "migrate"]
