"""Where a personal value occurs, for all controllers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table. Values that were carried to a log before are found by the controller that carried them only."""
    op.create_table(
        "personal_values",
        sa.Column("commitment", sa.Text(), primary_key=True),
        sa.Column("digest", sa.Text(), nullable=False, index=True),
    )


def downgrade() -> None:
    """Controllers before it don't know the table."""
    op.drop_table("personal_values")
