"""What customers run: their keys, uploads, applications, deployments, settings, instances, logs.

The table of applications before this held a digest of software that nobody had, and configuration that wasn't sealed:
it is made anew, and empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, primary_key=key)


def _number(name: str, *, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, primary_key=key, autoincrement=False)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _customer(*, key: bool = False) -> sa.Column[str]:
    return sa.Column("customer", sa.Text(), sa.ForeignKey("customers.name"), nullable=False, primary_key=key)


def _upload(*, key: bool = False) -> sa.Column[str]:
    return sa.Column("upload", sa.Text(), sa.ForeignKey("uploads.name"), nullable=False, primary_key=key)


def upgrade() -> None:
    """Make them."""
    op.drop_table("applications")
    op.create_table("customer_keys", _customer(key=True), _text("platform_key"), _bytes("wrapped"), _number("created"))
    op.create_table(
        "uploads",
        _text("name", key=True),
        _customer(),
        _text("digest"),
        _number("size"),
        _number("received"),
        _number("begun"),
    )
    op.create_index("ix_uploads_customer", "uploads", ["customer"])
    op.create_index("ix_uploads_begun", "uploads", ["begun"])
    op.create_table("upload_parts", _upload(key=True), _number("offset", key=True), _number("size"), _bytes("content"))
    _applications()
    _instances()


def _applications() -> None:
    op.create_table(
        "applications",
        _customer(key=True),
        _text("name", key=True),
        _text("state"),
        _number("deployment"),
        _small("instances"),
        _number("settings"),
        _number("created"),
        _number("changed"),
    )
    op.create_table(
        "deployments",
        _text("customer", key=True),
        _text("application", key=True),
        _number("number", key=True),
        _upload(),
        _text("digest"),
        _bytes("description"),
        _number("origin"),
        _number("created"),
    )
    op.create_index("ix_deployments_upload", "deployments", ["upload"])
    op.create_table(
        "settings",
        _text("customer", key=True),
        _text("application", key=True),
        _text("name", key=True),
        _text("kind"),
        _bytes("value"),
        _number("changed"),
    )
    op.create_table("public_names", _text("name", key=True), _text("customer"), _text("application"))


def _instances() -> None:
    op.create_table(
        "instances",
        _text("name", key=True),
        _text("customer"),
        _text("application"),
        _small("ordinal"),
        _number("deployment"),
        _number("settings"),
        _text("state"),
        _small("held"),
        _text("node"),
        _text("avoid"),
        _number("changed"),
        _text("report"),
    )
    op.create_index("ix_instances_node", "instances", ["node"])
    op.create_index("instances_once", "instances", ["customer", "application", "ordinal"], unique=True)
    op.create_table(
        "log_pieces",
        sa.Column("number", _NUMBER, primary_key=True),
        _text("customer"),
        _text("application"),
        _text("instance"),
        _number("size"),
        _bytes("content"),
    )
    op.create_index("log_pieces_of", "log_pieces", ["customer", "application", "number"])


def downgrade() -> None:
    """Controllers before it don't know these tables."""
    raise NotImplementedError
