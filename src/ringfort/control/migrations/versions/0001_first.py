"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, primary_key=key)


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    """Make them."""
    op.create_table("revisions", _text("topic", key=True), _time("number"))
    _nodes_and_certificates()
    _customers()
    op.create_table(
        "repository_files",
        _text("folder", key=True),
        _text("name", key=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "idempotency",
        _text("caller", key=True),
        _text("key", key=True),
        _text("fingerprint"),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _time("at"),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at"])
    op.create_table("leases", _text("name", key=True), _text("holder"), _time("expires"))
    _events_and_records()


def _nodes_and_certificates() -> None:
    op.create_table(
        "nodes",
        _text("name", key=True),
        _text("site"),
        _text("state"),
        _text("addresses"),
        _time("enrolled"),
        _text("serial"),
        _time("expires"),
        _text("report"),
    )
    op.create_table("sightings", _text("node", key=True), _time("seen"))
    op.create_table(
        "certificates",
        _text("authority", key=True),
        _text("serial", key=True),
        _text("identity"),
        _text("node"),
        _text("purpose"),
        _time("expires"),
    )
    for column in ("identity", "node", "expires"):
        op.create_index(f"ix_certificates_{column}", "certificates", [column])
    op.create_table(
        "enrolment_tokens",
        _text("authority", key=True),
        _text("serial", key=True),
        _text("node"),
        _text("site"),
        _text("addresses"),
        _time("expires"),
        _time("used", nullable=True),
    )
    op.create_table(
        "revocations",
        _text("authority", key=True),
        _text("serial", key=True),
        _text("identity"),
        _text("reason"),
        _time("revoked"),
    )


def _customers() -> None:
    op.create_table("customers", _text("name", key=True), _text("state"), _time("created"))
    op.create_table(
        "customer_certificates",
        _text("thumbprint", key=True),
        sa.Column("customer", sa.Text(), sa.ForeignKey("customers.name"), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        _time("added"),
    )
    op.create_index("ix_customer_certificates_customer", "customer_certificates", ["customer"])
    op.create_table(
        "applications",
        sa.Column("customer", sa.Text(), sa.ForeignKey("customers.name"), primary_key=True),
        _text("name", key=True),
        _time("version"),
        _text("software"),
        _text("configuration"),
        _time("changed"),
    )


def _events_and_records() -> None:
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True),
        _text("source"),
        _text("key"),
        _time("at"),
        _text("kind"),
        _text("severity"),
        _text("subject"),
        _text("detail"),
    )
    op.create_index("events_once", "events", ["source", "key"], unique=True)
    op.create_table(
        "audit_records",
        sa.Column("sequence", _NUMBER, primary_key=True, autoincrement=False),
        _time("at"),
        _text("object"),
        _text("action"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _text("openings"),
    )
    op.create_index("ix_audit_records_object", "audit_records", ["object"])


def downgrade() -> None:
    """There is nothing before the first tables."""
    raise NotImplementedError
