"""Accounts, their entries, and the append-only log of every change."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import CIDR

from cidrgate.stores.schema import Key, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "accounts",
        sa.Column("id", Key, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("parent_id", Key, sa.ForeignKey("accounts.id")),
        sa.Column("created_at", UtcTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_accounts_parent_id", "accounts", ["parent_id"])
    op.create_table(
        "entries",
        sa.Column("id", Key, primary_key=True),
        sa.Column("account_id", Key, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("cidr", sa.Text().with_variant(CIDR(), "postgresql"), nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("expires_at", UtcTime),
        *([sa.UniqueConstraint("account_id", "cidr")] if sqlite else []),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "changes",
        sa.Column("sequence", Key, primary_key=True),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("before", sa.JSON, nullable=False),
        sa.Column("after", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("changes_by_account", "changes", ["account", "sequence"])
    if sqlite:
        _only_append_on_sqlite()
    else:
        _forbid_overlaps_on_postgres()
        _only_append_on_postgres()


def _only_append_on_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER changes_refuse_{verb.lower()} BEFORE {verb} ON changes "
            "BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END"
        )


def _forbid_overlaps_on_postgres() -> None:
    # In the schema `public` if possible: in our schema it would be dropped with it, and break other schemas.
    op.execute(
        """
        DO $$
        BEGIN
            IF has_schema_privilege(to_regnamespace('public'), 'CREATE') THEN
                CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;
            ELSE
                CREATE EXTENSION IF NOT EXISTS btree_gist;
            END IF;
        END $$
        """
    )
    # No two entries of an account may overlap, whichever program writes them. Equal networks overlap too.
    op.execute(
        "ALTER TABLE entries ADD CONSTRAINT entries_no_overlap "
        "EXCLUDE USING gist (account_id WITH =, cidr inet_ops WITH &&)"
    )
    op.create_index("entries_by_account", "entries", ["account_id"])


def _only_append_on_postgres() -> None:
    for function in ("refuse_change", "refuse_truncation"):
        op.execute(
            f"""
            CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'the change log is append-only';
            END $$
            """
        )
    op.execute(
        "CREATE TRIGGER changes_refuse BEFORE UPDATE OR DELETE ON changes FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute("CREATE TRIGGER changes_refuse_truncate BEFORE TRUNCATE ON changes EXECUTE FUNCTION refuse_truncation()")
