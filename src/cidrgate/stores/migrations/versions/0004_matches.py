"""The table with the time at which each entry last matched a request, if a gate records that."""

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import Key, UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "matches",
        sa.Column("entry_id", Key, sa.ForeignKey("entries.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", UtcTime, nullable=False),
    )
