"""Alembic's entry: runs the steps in the connection, and so the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from ringfort.control.application_tables import applications

context.configure(connection=context.config.attributes["connection"], target_metadata=applications.metadata)
context.run_migrations()
