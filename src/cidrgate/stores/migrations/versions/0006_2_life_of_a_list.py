"""Modes, names for people and policies of accounts, the policy of the store, and more about each change."""

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import UtcTime

revision = "0006.2"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns."""
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
