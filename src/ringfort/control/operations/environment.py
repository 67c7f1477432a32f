"""The published environment: files of the TUF repository as they are, and what approvers add to it."""

from __future__ import annotations

from sqlalchemy import Connection

from ringfort.control import models
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.errors import ProblemError, not_found
from ringfort.control.operations.arranging import EDGE
from ringfort.control.recording import digest
from ringfort.control.repository import DatabaseStore
from ringfort.control.serving import Served, published
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.repository import Publication, Repository
from ringfort.publishing.storing import METADATA, TARGETS


def read_environment(served: Served, connection: Connection, _call: Call) -> models.EnvironmentState:
    """What is published."""
    return published(connection, served.approvers_root)[0]


def fetch_metadata(connection: Connection, call: Call) -> bytes:
    """A metadata file."""
    return _file(connection, METADATA, call.parameters["file"])


def fetch_target(connection: Connection, call: Call) -> bytes:
    """A target file."""
    return _file(connection, TARGETS, call.parameters["file"])


def publish(served: Served, connection: Connection, call: Call) -> Outcome:
    """Put in force what enough approvers signed."""
    form = call.body(models.PublicationForm)
    before = published(connection, served.approvers_root)[0]
    publication = Publication(root=form.root, targets=form.targets, environment=form.environment)
    try:
        Repository(DatabaseStore(connection, served.approvers_root)).publish(
            publication, served.publishing_key(), call.now
        )
    except PublishingError as error:
        raise ProblemError(422, error.code, error.message, error.hint) from error
    after = published(connection, served.approvers_root)[0]
    if (after.version, after.root, after.digest) == (before.version, before.root, before.digest):
        return Outcome(after, topics=("environment",))  # said anew, with a fresh timestamp
    topics = ("environment", EDGE)  # where places and the gateway are
    change = Change("control:environment:publish", "environment", _told(before), _told(after, form), topics)
    return Outcome(after, change, 201)


def _told(state: models.EnvironmentState, form: models.PublicationForm | None = None) -> dict[str, object]:
    told: dict[str, object] = {"version": state.version, "root": state.root, "digest": state.digest}
    if form is not None:
        parts = {"root": form.root, "targets": form.targets, "environment": form.environment}
        told["signed"] = {name: digest(part) for name, part in parts.items() if part is not None}
    return told


def _file(connection: Connection, folder: str, name: str) -> bytes:
    content = DatabaseStore(connection).read(folder, name)
    if content is None:
        raise not_found(f"file {folder}/{name}")
    return content
