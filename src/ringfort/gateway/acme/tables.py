"""What the ACME server remembers: the same tables on SQLite and PostgreSQL. Times are whole seconds since 1970, UTC.

Nobody's mail address or network address is among it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text

VERSION = 1
"""Of these tables; a database with a higher one was made by a newer Ringfort."""

metadata = MetaData()

settings = Table(
    "acme_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

nonces = Table(
    "acme_nonces",
    metadata,
    Column("nonce", LargeBinary, primary_key=True),
    Column("used", BigInteger, nullable=False, index=True),
)
"""Nonces that were used, for as long as they would still be good."""

accounts = Table(
    "acme_accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("thumbprint", Text, nullable=False, unique=True),
    Column("key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

orders = Table(
    "acme_orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey(accounts.c.id), nullable=False),
    Column("customer", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("certificate", Text),
    Index("acme_orders_of", "account", "created"),
)

authorisations = Table(
    "acme_authorisations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey(orders.c.id), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("validated", BigInteger),
    Column("failed", BigInteger),
    Column("error", Text),
    Index("acme_failures_of", "name", "failed"),
)
"""One for each name of an order, with its one challenge (http-01). ``status``: pending, processing, valid, invalid or
deactivated."""

certificates = Table(
    "acme_certificates",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey(accounts.c.id), nullable=False),
    Column("customer", Text, nullable=False),
    Column("serial", Text, nullable=False, unique=True),
    Column("key", Text, nullable=False, index=True),
    Column("chain", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("revoked", BigInteger),
    Column("reason", BigInteger),
)
"""``serial`` in hexadecimal; ``key``: the SHA-256 of the public key."""

issued = Table(
    "acme_issued",
    metadata,
    Column("certificate", Text, ForeignKey(certificates.c.id), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Index("acme_issued_for", "name", "created"),
)
"""The names of each certificate, to count them by."""
