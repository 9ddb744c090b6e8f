"""The PostgreSQL store: one database for any number of processes on any number of machines.

All tables are in a separate schema. Writers lock the rows of the accounts that they change, so nothing changes between
their reads and their writes. The database itself ensures that no two entries of an account overlap, whichever program
writes them. A position in the log is a snapshot of the database: the changes that were committed later are exactly
those that the snapshot does not see.
"""

from cidrgate.stores.postgres.grants import grant
from cidrgate.stores.postgres.store import PostgresStore, migrate

__all__ = ["PostgresStore", "grant", "migrate"]
