"""The controller's tables, the same on SQLite and PostgreSQL. `migrations` make them.

Times are UTC, in microseconds since 1970: both databases compare and keep them exactly.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

revisions = Table(
    "revisions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""A number for each topic that grows with each change of it: how controllers notice each other's changes."""

nodes = Table(
    "nodes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("addresses", Text, nullable=False),
    Column("enrolled", BigInteger, nullable=False),
    Column("serial", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("report", Text, nullable=False),
)
"""``state``: active or revoked. ``addresses``: JSON list. ``report``: the last one as JSON, "" before the first."""

sightings = Table(
    "sightings",
    metadata,
    Column("node", Text, primary_key=True),
    Column("seen", BigInteger, nullable=False),
)
"""When a node last reported. It changes nothing, so it has no record in the audit log."""

certificates = Table(
    "certificates",
    metadata,
    Column("authority", Text, primary_key=True),
    Column("serial", Text, primary_key=True),
    Column("identity", Text, nullable=False, index=True),
    Column("node", Text, nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)
"""Every certificate issued here. ``authority``: key identifier of who signed it; ``serial``; both hex.
``purpose``: leaf or token."""

enrolment_tokens = Table(
    "enrolment_tokens",
    metadata,
    Column("authority", Text, primary_key=True),
    Column("serial", Text, primary_key=True),
    Column("node", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("addresses", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger),
)

revocations = Table(
    "revocations",
    metadata,
    Column("authority", Text, primary_key=True),
    Column("serial", Text, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revoked", BigInteger, nullable=False),
)

revocation_lists = Table(
    "revocation_lists",
    metadata,
    Column("authority", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""What authorities have revoked, signed by them: the last list of each. ``until``: when it stops saying anything.
``content``: the CRL as DER."""

customers = Table(
    "customers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)
"""``state``: active or closed. The name of a closed customer is never given again."""

customer_certificates = Table(
    "customer_certificates",
    metadata,
    Column("thumbprint", Text, primary_key=True),
    Column("customer", Text, ForeignKey("customers.name"), nullable=False, index=True),
    Column("certificate", LargeBinary, nullable=False),
    Column("added", BigInteger, nullable=False),
)
"""``thumbprint``: SHA-256 of the DER, hex. ``certificate``: the DER."""

repository_files = Table(
    "repository_files",
    metadata,
    Column("folder", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""The TUF repository, file by file."""

events = Table(
    "events",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("events_once", "source", "key", unique=True),
)
"""What happened and somebody should know. ``key`` is the source's own; the same key twice is one event."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
)
"""Answers to changes, so that asking again changes nothing. ``fingerprint``: SHA-256 of method, path and body."""

audit_records = Table(
    "audit_records",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("object", Text, nullable=False, index=True),
    Column("action", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("openings", Text, nullable=False),
)
"""One for each change, in its transaction. ``sequence`` is the leaf's index in the log. ``openings``: of what
the body only commits to, as JSON, until the publisher has put them beside the log; then, or if there are none, ""."""

erasures = Table(
    "erasures",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("commitment", Text, nullable=False),
    Index("erasures_once", "commitment", unique=True),
)
"""Commitments in audit records whose values nobody may keep: each controller erases them beside its log."""

personal_values = Table(
    "personal_values",
    metadata,
    Column("commitment", Text, primary_key=True),
    Column("digest", Text, nullable=False, index=True),
)
"""Which commitments are to the same personal value, whichever controller keeps it beside its log; until it is erased.
``digest``: SHA-256 of its canonical JSON, hex."""

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
)
"""Who does what only one controller does at a time."""
