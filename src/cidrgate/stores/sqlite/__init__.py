"""The SQLite store: one file shared by any number of processes, or a database in memory.

Writers take the file's write lock when their transaction begins (`BEGIN IMMEDIATE`), so what they read is
what they change: two of them never make an invalid list together. Readers see the last committed state and
block nobody (write-ahead log). A commit returns once the disk has it.
"""

from cidrgate.stores.sqlite.store import SqliteStore, migrate

__all__ = ["SqliteStore", "migrate"]
