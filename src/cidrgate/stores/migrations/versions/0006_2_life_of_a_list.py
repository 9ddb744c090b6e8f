"""Modes, names for people and policies of accounts, the policy of the store, more about each change, and searches."""

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import UtcTime

revision = "0006.2"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.add_column("accounts", sa.Column("display_name", sa.Text))
    op.add_column("accounts", sa.Column("mode", sa.String(16), nullable=False, server_default="enforce"))
    op.add_column("accounts", sa.Column("mode_until", UtcTime))
    expires = sa.text("mode_until IS NOT NULL")
    op.create_index(
        "accounts_by_mode_until", "accounts", ["mode_until"], sqlite_where=expires, postgresql_where=expires
    )
    op.add_column("accounts", sa.Column("mode_reason", sa.Text))
    op.add_column("accounts", sa.Column("closed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("policy", sa.JSON))
    op.add_column("entries", sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("changes", sa.Column("details", sa.JSON))
    op.add_column("changes", sa.Column("origin", sa.JSON))
    op.add_column("facts", sa.Column("policy", sa.JSON))
    if op.get_bind().dialect.name == "sqlite":
        _search_on_sqlite()
    else:
        _search_on_postgres()


_INDEXES = {
    "account_names": ("accounts", "name", "trigram"),
    "entry_networks": ("entries", "cidr", "ascii tokenchars ''./:''"),
}


def _search_on_sqlite() -> None:
    # Rows above the greatest id in an index are indexed later, as new ids are above all older ones. The triggers index
    # what happens to other rows, whichever version of cidrgate changes them.
    try:
        op.execute("CREATE VIRTUAL TABLE account_names USING fts5(name, tokenize = 'trigram')")
        op.execute("DROP TABLE account_names")
    except sa.exc.OperationalError:
        return  # this SQLite has no full-text index
    for index, (table, column, tokens) in _INDEXES.items():
        op.execute(
            f"CREATE VIRTUAL TABLE {index} USING fts5({column}, content = '', detail = none, tokenize = '{tokens}')"
        )
        # The names of tables and columns are constants of this module.
        insert = f"INSERT INTO {index} (rowid, {column})"
        op.execute(f"{insert} SELECT id, {column} FROM {table} ORDER BY id")  # noqa: S608
        indexed = f"id <= (SELECT max(id) FROM {index}_docsize)"  # noqa: S608
        delete = f"INSERT INTO {index} ({index}, rowid, {column}) VALUES ('delete', OLD.id, OLD.{column});"  # noqa: S608
        insert += f" VALUES (NEW.id, NEW.{column});"
        changed = f"OLD.{column} <> NEW.{column} AND OLD.{indexed}"
        for event, condition, do in (
            (f"UPDATE OF {column}", changed, delete + insert),
            ("DELETE", f"OLD.{indexed}", delete),
        ):
            name = f"{index}_{event.partition(' ')[0].lower()}"
            op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} WHEN {condition} BEGIN {do} END")


def _search_on_postgres() -> None:
    # The network first: then the index of the constraint also finds entries of all accounts.
    op.execute("ALTER TABLE entries DROP CONSTRAINT entries_no_overlap")
    op.execute(
        "ALTER TABLE entries ADD CONSTRAINT entries_no_overlap "
        "EXCLUDE USING gist (cidr inet_ops WITH &&, account_id WITH =)"
    )
    # Without the extension, the index only finds the beginnings of names.
    op.execute(
        """
        DO $$
        BEGIN
            IF has_schema_privilege(to_regnamespace('public'), 'CREATE') THEN
                CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
            ELSE
                CREATE EXTENSION IF NOT EXISTS pg_trgm;
            END IF;
            EXECUTE format(
                'CREATE INDEX accounts_by_part_of_name ON accounts USING gin (lower(name) %s.gin_trgm_ops)',
                (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm')
            );
        EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
            CREATE INDEX accounts_by_part_of_name ON accounts (lower(name) text_pattern_ops);
        END $$
        """
    )
