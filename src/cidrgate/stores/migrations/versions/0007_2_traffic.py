"""What was seen of each network that acted for an account on a day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import CIDR

from cidrgate.stores.schema import Key, UtcTime

revision = "0007.2"
down_revision = "0006.2"


def upgrade() -> None:
    """Create the table and its index."""
    account = sa.ForeignKey("accounts.id", ondelete="CASCADE")
    op.create_table(
        "observations",
        sa.Column("account_id", Key, account, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("allowed", sa.Boolean, primary_key=True),
        sa.Column("network", sa.Text().with_variant(CIDR(), "postgresql"), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("first_seen", UtcTime, nullable=False),
        sa.Column("last_seen", UtcTime, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("observations_by_day", "observations", ["day", "account_id"])
