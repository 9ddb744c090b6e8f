"""The days of which something that was seen of an account is not in its observations."""

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import Key

revision = "0008.2"
down_revision = "0007.2"

_FULL_DAYS = """
    INSERT INTO incomplete_days (account_id, day)
    SELECT DISTINCT account_id, day FROM observations GROUP BY account_id, day, allowed HAVING count(*) >= 1000
"""
"""Marks the days with as many observations as were kept by default: others may be missing."""


def upgrade() -> None:
    """Create the table and its index, and fill it with the days of which something may be missing."""
    op.create_table(
        "incomplete_days",
        sa.Column("account_id", Key, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("incomplete_days_by_day", "incomplete_days", ["day"])
    op.execute(_FULL_DAYS)
