"""Signed revocation lists, which all controllers serve."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make their table."""
    op.create_table(
        "revocation_lists",
        sa.Column("authority", sa.Text(), nullable=False, primary_key=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Controllers before it don't know the table."""
    op.drop_table("revocation_lists")
