"""How versions are rolled out: what was reached, and what decides the pace."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for name in ("reached_deployment", "reached_settings"):
        op.add_column("applications", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("deployments", sa.Column("plan", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Controllers before it don't know the columns."""
    raise NotImplementedError
