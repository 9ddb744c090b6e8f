"""The columns for followers: versions of lists, expiries of entries, and a log with an id, a start and a signal."""

import uuid

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import Key

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them, and let rows at the beginning of the log be deleted."""
    op.add_column("accounts", sa.Column("version", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE accounts SET version = (SELECT count(*) FROM changes "
        "WHERE changes.account = accounts.name AND changes.action <> 'create_account')"
    )
    that_end = sa.text("expires_at IS NOT NULL")
    op.create_index("entries_by_expiry", "entries", ["expires_at"], sqlite_where=that_end, postgresql_where=that_end)
    facts = op.create_table(
        "facts",
        sa.Column("store_id", sa.String(32), primary_key=True),
        sa.Column("log_start", Key, nullable=False, server_default="1"),
    )
    op.bulk_insert(facts, [{"store_id": uuid.uuid4().hex}])
    if op.get_bind().dialect.name == "sqlite":
        _prune_on_sqlite()
    else:
        _prune_on_postgres()
        _notify_on_postgres()


def _prune_on_sqlite() -> None:
    op.execute("DROP TRIGGER changes_refuse_delete")
    op.execute(
        "CREATE TRIGGER changes_refuse_delete BEFORE DELETE ON changes "
        "WHEN OLD.sequence >= (SELECT log_start FROM facts) "
        "BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END"
    )


def _prune_on_postgres() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND OLD.sequence < (SELECT log_start FROM facts) THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'the change log is append-only';
        END $$
        """
    )


def _notify_on_postgres() -> None:
    # The order of commits differs from the order of sequences, so followers find new rows by transaction id.
    op.execute("ALTER TABLE changes ADD COLUMN txid xid8 NOT NULL DEFAULT pg_current_xact_id()")
    op.create_index("changes_by_txid", "changes", ["txid"])
    op.execute(
        """
        CREATE FUNCTION notify_followers() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('cidrgate_changes', TG_TABLE_SCHEMA);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER changes_notify AFTER INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION notify_followers()"
    )
