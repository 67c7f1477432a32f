"""Where a repository is: in a directory, or at a controller. For ``ringfort environment``."""

from __future__ import annotations

import base64
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringfort.cli.output import notices
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.control.client import Client
    from ringfort.publishing.pending import Pending
    from ringfort.publishing.repository import Publication, Published, Repository

NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Place:
    """What the options say: proposals wait in ``directory``; without a controller the repository lies there too."""

    directory: Path
    controller: str | None
    credential: Path | None
    bundle: Path | None

    @property
    def name(self) -> str:
        """The same however it is written."""
        return f"controller {self.controller}" if self.controller else str(self.directory.resolve())

    def open(self) -> tuple[Repository, Pending]:
        """The repository to read, and what waits."""
        from ringfort.publishing.pending import Pending
        from ringfort.publishing.repository import Repository
        from ringfort.publishing.storing import FetchedStore

        waiting = Pending(self.directory / "pending")
        if self.controller is None:
            return Repository(self.directory), waiting
        client = self.client()
        click.get_current_context().call_on_close(client.close)
        return Repository(FetchedStore(ControllerFetcher(client))), waiting

    def client(self) -> Client:
        """A connection to the controller.

        Raises:
            RingfortError: a file is missing, or holds something else.
        """
        from ringfort.control.client import Client, Endpoint
        from ringfort.identity.store import read_bundle, read_credential

        if self.controller is None or self.credential is None or self.bundle is None:
            raise click.UsageError("a --controller is called with a --credential and a --bundle")
        return Client.platform(
            Endpoint.parse(self.controller), read_credential(self.credential), read_bundle(self.bundle)
        )

    def publish(self, publication: Publication, reason: str) -> None:
        """Hand what is signed to the controller, which holds the online key.

        Raises:
            RingfortError: it refuses.
        """
        parts = {"root": publication.root, "targets": publication.targets, "environment": publication.environment}
        body = {name: base64.b64encode(part).decode() for name, part in parts.items() if part is not None}
        with self.client() as client:
            client.call("POST", "/v1/environment/publications", body, reason=reason)

    def remember(self, repository: Repository, published: Published) -> None:
        """Refuse another repository, or an older state, than this person has seen in this place."""
        from ringfort.publishing.pinning import Memory

        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        first = Memory(Path(home) / "ringfort" / "repositories", self.name).check(repository, published)
        if first:
            line = f"first seen here: root 1 with SHA-256 {first}; compare it with the other approvers"
            notices().print(line, markup=False)


class ControllerFetcher:
    """A controller's files, as `ringfort.publishing.fetching.Fetcher`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(self, path: str) -> Iterator[bytes]:
        """See `Fetcher.fetch`."""
        from ringfort.control.client import CallRefusedError
        from ringfort.publishing.fetching import NotThereError, UnreachableError

        try:
            yield self._client.fetch(f"/v1/environment/{path}")
        except CallRefusedError as error:
            if error.status == NOT_FOUND:
                raise NotThereError(path) from error
            raise UnreachableError(error.message) from error
        except RingfortError as error:
            raise UnreachableError(error.message) from error


_FILE: Any = click.Path(path_type=Path)
_OPTIONS = (
    click.option(
        "-r",
        "--repository",
        "directory",
        type=_FILE,
        envvar="RINGFORT_REPOSITORY",
        required=True,
        metavar="DIR",
        help="The repository's directory; else $RINGFORT_REPOSITORY. With --controller only proposals wait in it.",
    ),
    click.option(
        "--controller",
        envvar="RINGFORT_CONTROLLER",
        metavar="ADDRESS:PORT",
        help="The repository is at this controller; else $RINGFORT_CONTROLLER.",
    ),
    click.option(
        "--credential",
        type=_FILE,
        envvar="RINGFORT_CREDENTIAL",
        metavar="FILE",
        help="Your certificate and key, for the controller; else $RINGFORT_CREDENTIAL.",
    ),
    click.option(
        "--bundle",
        type=_FILE,
        envvar="RINGFORT_BUNDLE",
        metavar="FILE",
        help="The platform's trust bundle; else $RINGFORT_BUNDLE.",
    ),
)


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the repository is; the command gets them as ``place``."""

    @functools.wraps(function)
    def with_place(
        *arguments: Any,  # noqa: ANN401
        directory: Path,
        controller: str | None,
        credential: Path | None,
        bundle: Path | None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return function(*arguments, place=Place(directory, controller, credential, bundle), **options)

    for option in reversed(_OPTIONS):
        with_place = option(with_place)
    return with_place


def in_force(published: Published) -> str:
    """Which version and root are in force, for people."""
    root = f"root {published.root.signed.version}"
    return f"version {published.version} is in force, under {root}" if published.version else f"{root} is in force"
