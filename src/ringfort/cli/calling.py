"""What verbs that call a controller have in common: where it is, who calls, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ringfort.control.client import Client

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)

CREDENTIAL = click.option(
    "--credential",
    metavar="FILE",
    type=_FILE,
    envvar="RINGFORT_CREDENTIAL",
    help="Your certificate and key, one PEM file.",
)
TICKET = click.option("--ticket", metavar="TEXT", default="", help="Why: goes into the audit record.")


def connected(function: F) -> F:
    """The options that say where to and as whom."""
    return _place(function, required=True)


def perhaps_connected(function: F) -> F:
    """The same, for what can be done without a controller, too."""
    return _place(function, required=False)


def _place(function: F, *, required: bool) -> F:
    controller = click.option(
        "--controller",
        metavar="ADDRESS:PORT",
        envvar="RINGFORT_CONTROLLER",
        required=required,
        help="Where a controller listens.",
    )
    bundle = click.option(
        "--bundle",
        metavar="FILE",
        type=_FILE,
        envvar="RINGFORT_BUNDLE",
        required=required,
        help="The platform's trust bundle.",
    )
    return controller(CREDENTIAL(bundle(function)))


def platform_client(controller: str, credential: Path | None, bundle: Path) -> Client:
    """A client with a certificate of the platform."""
    from ringfort.control.client import Client, Endpoint
    from ringfort.identity.store import read_bundle, read_credential

    if credential is None:
        raise click.UsageError("say who you are: --credential FILE, or RINGFORT_CREDENTIAL")
    return Client.platform(Endpoint.parse(controller), read_credential(credential), read_bundle(bundle))


def customer_client(controller: str, certificate: Path, key: Path | None, bundle: Path) -> Client:
    """A client with a certificate that a customer registered."""
    from ringfort.control.client import Client, Endpoint
    from ringfort.identity.store import read_bundle

    return Client.customer(Endpoint.parse(controller), certificate, key or certificate, read_bundle(bundle))
