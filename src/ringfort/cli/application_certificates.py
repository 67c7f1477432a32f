"""``ringfort application certificate``: a customer's own certificates for its public names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ringfort.cli.as_customer import DRY_RUN, Place, as_customer, calling
from ringfort.cli.output import FORMAT

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("certificate")
def certificate() -> None:
    """Certificates of your own for public names with `tls: certificate`. A key that was taken is shown to nobody."""


@certificate.command("list")
@FORMAT
@as_customer
def list_(format_: str, place: Place) -> None:
    """List them, and until when they are good."""
    with calling(place) as caller:
        _shown(caller.client.get(_path(caller.customer)), format_)


@certificate.command("set")
@click.argument("chain", metavar="CHAIN", type=_FILE)
@click.argument("private_key", metavar="KEY", type=_FILE)
@click.option("--name", "names", multiple=True, metavar="NAME", help="For this name; by default all that it names.")
@DRY_RUN
@FORMAT
@as_customer
def set_(chain: Path, private_key: Path, names: tuple[str, ...], dry_run: bool, format_: str, place: Place) -> None:
    """Take the certificate in CHAIN and its KEY (PEM), in place of those that its names had.

    CHAIN is the certificate and those between it and its root; the root too, if it is your own.
    """
    if dry_run:
        click.echo(f"would take the certificate in {chain}")
        return
    form = {"chain": chain.read_text(errors="replace"), "key": private_key.read_text(errors="replace")}
    with calling(place) as caller:
        answer = caller.client.call("POST", _path(caller.customer), {**form, "names": list(names)})
        _shown(answer, format_)


@certificate.command("delete")
@click.argument("name")
@DRY_RUN
@FORMAT
@as_customer
def delete(name: str, dry_run: bool, format_: str, place: Place) -> None:
    """Keep the certificate for NAME no longer: it is answered under TLS no more."""
    if dry_run:
        click.echo(f"would delete the certificate for {name}")
        return
    with calling(place) as caller:
        _shown(caller.client.call("DELETE", f"{_path(caller.customer)}/{name}"), format_)


def _path(customer: str) -> str:
    return f"/v1/customers/{customer}/public-certificates"


def _shown(answer: Any, format_: str) -> None:  # noqa: ANN401  # JSON
    found = answer["certificates"]
    if format_ == "json":
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        known = "  visitors have to know its root" if one["private"] else ""
        click.echo(f"{one['name']}  until {one['expires'][:10]}  {one['authority']}{known}")
