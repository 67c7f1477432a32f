"""Alembic's entry: runs the steps in the connection, and so the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from ringfort.control.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
