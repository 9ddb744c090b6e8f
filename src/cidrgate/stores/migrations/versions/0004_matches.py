"""When each entry last let an address in, where somebody notes it."""

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
