"""What was erased of personal values."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "erasures",
        sa.Column("number", number, primary_key=True),
        sa.Column("commitment", sa.Text(), nullable=False),
    )
    op.create_index("erasures_once", "erasures", ["commitment"], unique=True)


def downgrade() -> None:
    """Controllers before it don't know the table."""
    op.drop_table("erasures")
