"""Tables of what customers run. What is the customer's own content is sealed under the customer's key.

See `ringfort.compute.sealing`; the purpose of each sealed column stands in `ringfort.control.sealed`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from ringfort.control.tables import metadata

customer_keys = Table(
    "customer_keys",
    metadata,
    Column("customer", Text, ForeignKey("customers.name"), primary_key=True),
    Column("platform_key", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)
"""The customer's key, wrapped by the platform key of that name. Without its row nothing of the customer is readable."""

uploads = Table(
    "uploads",
    metadata,
    Column("name", Text, primary_key=True),
    Column("customer", Text, ForeignKey("customers.name"), nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("begun", BigInteger, nullable=False, index=True),
)
"""Software on its way in, or here. ``digest``: SHA-256 it has to have; whole when ``received`` is ``size``."""

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload", Text, ForeignKey("uploads.name"), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""``content``: sealed."""

applications = Table(
    "applications",
    metadata,
    Column("customer", Text, ForeignKey("customers.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("deployment", BigInteger, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("settings", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("reached_deployment", BigInteger, nullable=False, server_default="0"),
    Column("reached_settings", BigInteger, nullable=False, server_default="0"),
)
"""What a customer wants to run. ``state``: running or stopped. ``deployment``: number of the one in force, 0 before the
first. ``instances``: how many. ``settings``: grows with each change of configuration or secrets.
``reached_...``: those in which all instances have been healthy last."""

deployments = Table(
    "deployments",
    metadata,
    Column("customer", Text, primary_key=True),
    Column("application", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("upload", Text, ForeignKey("uploads.name"), nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("description", LargeBinary, nullable=False),
    Column("origin", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("plan", Text, nullable=False, server_default="{}"),
)
"""``description``: what app.yaml says, as JSON, sealed. ``origin``: the deployment that this one went back to, or 0.
``plan``: what of it decides how it is placed and updated, as JSON; no secret."""

settings = Table(
    "settings",
    metadata,
    Column("customer", Text, primary_key=True),
    Column("application", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("changed", BigInteger, nullable=False),
)
"""``kind``: configuration or secret. ``value``: sealed."""

public_names = Table(
    "public_names",
    metadata,
    Column("name", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("application", Text, nullable=False),
)
"""Whose each public name is: no two applications answer to one."""

public_certificates = Table(
    "public_certificates",
    metadata,
    Column("customer", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("authority", Text, nullable=False),
    Column("private", Integer, nullable=False),
    Column("added", BigInteger, nullable=False),
)
"""A customer's own certificate for a public name, whether it is answered to or not. ``digest``: SHA-256 of the leaf,
hex. ``chain``: PEM. ``private``: 1 when its root came along."""

instances = Table(
    "instances",
    metadata,
    Column("name", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("application", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("deployment", BigInteger, nullable=False),
    Column("settings", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("held", Integer, nullable=False),
    Column("node", Text, nullable=False, index=True),
    Column("avoid", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("report", Text, nullable=False),
    Column("place", Text, nullable=False, server_default=""),
    Column("waits", Text, nullable=False, server_default=""),
    Column("reported", BigInteger, nullable=False, server_default="0"),
    Index("instances_once", "customer", "application", "ordinal", unique=True),
    Index(
        "instances_one_to_a_place",
        "place",
        unique=True,
        sqlite_where=text("place <> ''"),
        postgresql_where=text("place <> ''"),
    ),
)
"""What should run where. ``state``: running or stopped, as the customer wants. ``held``: 1 when an operator stopped it.
``place``: the host of the environment in which it runs, and ``node``: the node that runs it; "" before it is placed.
``waits``: why it has no place, or none on a node that is well: a word of `ringfort.compute.placement.Reason`.
``avoid``: the node it was moved away from. ``report``: what its node said last, and ``reported``: when it
began to say so."""

hosting = Table(
    "hosting",
    metadata,
    Column("node", Text, primary_key=True),
    Column("beats", BigInteger, nullable=False),
    Column("lost", Integer, nullable=False),
    Column("room", Text, nullable=False),
)
"""Nodes that run instances. ``beats``: grows with each sign of life, which changes nothing else and has no record in
the audit log. ``lost``: 1 from when a controller missed it until the next one. ``room``: what the node has for
instances, as JSON; "" while it doesn't say."""

log_pieces = Table(
    "log_pieces",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("customer", Text, nullable=False),
    Column("application", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("log_pieces_once", "instance", "key", unique=True),
    Index("log_pieces_of", "customer", "application", "number"),
)
"""What instances wrote, the last of it. ``content``: lines as JSON, sealed. ``size``: of ``content``.
``key``: the idempotency key of the call that brought it; the same one twice is one piece."""
