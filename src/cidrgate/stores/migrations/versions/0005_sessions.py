"""The origin of console sessions and one-time links, so that users can see and end them."""

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import Key

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("sessions", sa.Column("link_id", sa.String(16)))
    op.add_column("sessions", sa.Column("address", sa.Text))
    op.add_column("links", sa.Column("created_by", sa.Text))
    with op.batch_alter_table("links") as links:
        links.add_column(sa.Column("token_id", Key, sa.ForeignKey("tokens.id", name="links_token_id_fkey")))
    op.create_index("ix_links_token_id", "links", ["token_id"])
