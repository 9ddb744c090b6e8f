"""The script that Alembic runs for each command. It sets the connection, and the table that stores the revision."""

from alembic import context

from cidrgate.stores.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=context.config.attributes["schema"],
    transactional_ddl=True,  # this is also true of SQLite, and the store has begun the transaction
)
context.run_migrations()
