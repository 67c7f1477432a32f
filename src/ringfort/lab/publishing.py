"""A lab's environment at its controller: what is published there, and the next version of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ringfort.control.client import CallRefusedError, Client
from ringfort.lab import approvers
from ringfort.lab.plane import REASON, Plane, Progress
from ringfort.publishing.fetching import NotThereError
from ringfort.publishing.repository import Published, Repository
from ringfort.publishing.storing import FetchedStore

PUBLICATIONS = "/v1/environment/publications"


class Fetcher:
    """The repository at the controller, for `FetchedStore`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(self, path: str) -> Iterator[bytes]:
        """A file, whole."""
        try:
            yield self._client.fetch(f"/v1/environment/{path}")
        except CallRefusedError as error:
            raise NotThereError(path) from error


def published(client: Client) -> Published | None:
    """What is published at the controller; None before the first version."""
    if not client.get("/v1/environment")["root"]:
        return None
    return Repository(FetchedStore(Fetcher(client))).published()


def publish(plane: Plane, client: Client, progress: Progress) -> int:
    """Publish the environment unless it is the one that is published; its version. Where the controller's online key is
    another than the root in force names, a root that names it comes first."""
    old, now = published(client), datetime.now(UTC)
    replaced = approvers.rotation(plane.directory / "approvers", old, now) if old is not None else None
    if replaced is not None:
        progress("replacing the controller's online key")
        client.call("POST", PUBLICATIONS, approvers.body(replaced), reason=REASON)
    text = approvers.published_text(plane.environment)
    if old is not None and old.environment == text:
        return old.version
    progress("publishing the environment, signed by " + " and ".join(approvers.APPROVERS[: approvers.THRESHOLD]))
    publication = approvers.publication(plane.directory / "approvers", plane.environment, old, now)
    answer = client.call("POST", PUBLICATIONS, approvers.body(publication), reason=REASON)
    return int(answer["version"])
