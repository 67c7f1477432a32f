"""What instances wrote is known by the key of the call that brought it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew: what it held is no more than the last lines of some logs."""
    op.drop_table("log_pieces")
    op.create_table(
        "log_pieces",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )
    op.create_index("log_pieces_of", "log_pieces", ["customer", "application", "number"])
    op.create_index("log_pieces_once", "log_pieces", ["instance", "key"], unique=True)


def downgrade() -> None:
    """Controllers before it don't know the keys."""
    raise NotImplementedError
