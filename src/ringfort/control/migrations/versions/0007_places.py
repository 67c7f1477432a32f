"""Where instances are, why one waits, and which nodes give a sign of life."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table. Instances that were on a node before had no place: they get one."""
    for name in ("place", "waits"):
        op.add_column("instances", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("instances", sa.Column("reported", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(
        "instances_one_to_a_place",
        "instances",
        ["place"],
        unique=True,
        sqlite_where=sa.text("place <> ''"),
        postgresql_where=sa.text("place <> ''"),
    )
    op.create_table(
        "hosting",
        sa.Column("node", sa.Text(), primary_key=True),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("room", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Controllers before it don't know the columns."""
    raise NotImplementedError
