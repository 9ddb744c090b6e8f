"""The PostgreSQL store: one database for any number of processes on any number of machines.

Everything lies in a schema of its own. Writers lock the rows of the accounts they change, so each reads what it
changes; the database itself holds the rule that no two entries of an account overlap, whoever writes. A position in
the log is the database's own snapshot: what was committed since is exactly what that snapshot does not see.
"""

from cidrgate.stores.postgres.grants import grant
from cidrgate.stores.postgres.store import PostgresStore, migrate

__all__ = ["PostgresStore", "grant", "migrate"]
