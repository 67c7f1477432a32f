"""What a customer's verbs have in common: the certificate that says who calls, and whose it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ringfort.cli.calling import customer_client

if TYPE_CHECKING:
    from ringfort.control.client import Client

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
NAME = click.argument("application", metavar="APPLICATION")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to call, and as whom."""

    controller: str
    certificate: Path
    key: Path | None
    bundle: Path


def as_customer(function: F) -> F:
    """The options that say so; the verb takes them as ``place``."""
    from functools import wraps

    @click.option(
        "--controller",
        metavar="ADDRESS:PORT",
        envvar="RINGFORT_CONTROLLER",
        required=True,
        help="The customers' address of a controller.",
    )
    @click.option(
        "--certificate",
        metavar="FILE",
        type=_FILE,
        envvar="RINGFORT_CERTIFICATE",
        required=True,
        help="A certificate that you registered, PEM.",
    )
    @click.option(
        "--key", metavar="FILE", type=_FILE, envvar="RINGFORT_KEY", help="Its key; by default in the same file."
    )
    @click.option(
        "--bundle",
        metavar="FILE",
        type=_FILE,
        envvar="RINGFORT_BUNDLE",
        required=True,
        help="The platform's trust bundle.",
    )
    @wraps(function)
    def with_place(
        *arguments: Any,  # noqa: ANN401  # whatever the verb takes
        controller: str,
        certificate: Path,
        key: Path | None,
        bundle: Path,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return function(*arguments, place=Place(controller, certificate, key, bundle), **rest)

    return with_place  # type: ignore[return-value]  # the same command, with four options for one argument


@dataclass(frozen=True, slots=True)
class Caller:
    """A customer, connected."""

    client: Client
    customer: str

    def path(self, application: str, *more: str) -> str:
        """The path of an application, or of something of it."""
        return "/".join((f"/v1/customers/{self.customer}/applications/{application}", *more))

    def get(self, application: str, *more: str) -> Any:  # noqa: ANN401  # whatever JSON holds
        """A read about an application."""
        return self.client.get(self.path(application, *more))

    def order(self, application: str, what: str, body: object = None) -> Any:  # noqa: ANN401  # whatever JSON holds
        """A change of an application."""
        return self.client.call("POST", self.path(application, what), body)


@contextmanager
def calling(place: Place) -> Iterator[Caller]:
    """A connection; whose certificate it is, the controller knows.

    Raises:
        RingfortError: it can't be had, or the certificate is nobody's.
    """
    import hashlib

    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from ringfort.control.errors import ControlError

    try:
        certificate = x509.load_pem_x509_certificate(place.certificate.read_bytes())
    except ValueError as error:
        raise ControlError("certificate-unusable", f"{place.certificate} holds no certificate") from error
    thumbprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    with customer_client(place.controller, place.certificate, place.key, place.bundle) as client:
        yield Caller(client, str(client.get(f"/v1/certificates/{thumbprint}")["customer"]))
