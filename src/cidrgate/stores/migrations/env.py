"""Run by Alembic for each command: which connection it works on, and where it notes the revision."""

from alembic import context

from cidrgate.stores.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=context.config.attributes["schema"],
    transactional_ddl=True,  # true of SQLite as well, and the store has begun the transaction
)
context.run_migrations()
