"""``ringfort customer``: customers and their management certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ringfort.cli.calling import TICKET, connected, customer_client, platform_client
from ringfort.cli.output import FORMAT, notices

_EXAMPLES = """
\b
Examples:
  ringfort customer add acme --certificate acme.pem --ticket CHG-12
  ringfort customer list
  ringfort customer add acme --certificate second.pem --as acme.pem --key acme.key
  ringfort customer remove acme 3f1c... --as second.pem --key second.key
"""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
AS = click.option(
    "--as", "mine", metavar="FILE", type=_FILE, help="Call as the customer, with this registered certificate."
)
KEY = click.option("--key", metavar="FILE", type=_FILE, help="Its key; by default in the same file.")


@click.group("customer", epilog=_EXAMPLES)
def command() -> None:
    """Customers and their management certificates.

    People of the platform make a customer with its first certificate. From then on only the customer adds and removes
    certificates, with --as one of those it has; --controller is then the customers' address.
    """


@command.command("add")
@click.argument("name")
@click.option("--certificate", required=True, metavar="FILE", type=_FILE, help="The certificate to register, PEM.")
@AS
@KEY
@TICKET
@connected
def add(
    name: str,
    certificate: Path,
    mine: Path | None,
    key: Path | None,
    ticket: str,
    controller: str,
    credential: Path | None,
    bundle: Path,
) -> None:
    """Make the customer NAME with its first certificate; with --as, add one to those it has."""
    pem = certificate.read_text(errors="replace")
    if mine is not None:
        with customer_client(controller, mine, key, bundle) as client:
            answer = client.call("POST", f"/v1/customers/{name}/certificates", {"certificate": pem}, reason=ticket)
    else:
        with platform_client(controller, credential, bundle) as client:
            answer = client.call("POST", "/v1/customers", {"name": name, "certificate": pem}, reason=ticket)
    newest = max(answer["certificates"], key=lambda shown: shown["added"])
    click.echo(newest["thumbprint"])


@command.command("list")
@click.argument("name", required=False)
@AS
@KEY
@FORMAT
@connected
def list_(
    name: str | None,
    mine: Path | None,
    key: Path | None,
    format_: str,
    controller: str,
    credential: Path | None,
    bundle: Path,
) -> None:
    """List customers, or the certificates of NAME."""
    if mine is not None:
        if name is None:
            raise click.UsageError("name the customer")
        with customer_client(controller, mine, key, bundle) as client:
            certificates = client.get(f"/v1/customers/{name}/certificates")["certificates"]
        customers = [{"name": name, "state": "active", "certificates": certificates}]
    else:
        with platform_client(controller, credential, bundle) as client:
            customers = [client.get(f"/v1/customers/{name}")] if name else client.get("/v1/customers")["customers"]
    if format_ == "json":
        click.echo(json.dumps(customers, indent=2))
    else:
        click.echo("\n".join(_lines(customers)))


@command.command("remove")
@click.argument("name")
@click.argument("thumbprint", required=False)
@AS
@KEY
@TICKET
@connected
def remove(
    name: str,
    thumbprint: str | None,
    mine: Path | None,
    key: Path | None,
    ticket: str,
    controller: str,
    credential: Path | None,
    bundle: Path,
) -> None:
    """Remove a certificate of NAME by its THUMBPRINT, as the customer (--as); or close the customer NAME for good."""
    if mine is not None:
        if thumbprint is None:
            raise click.UsageError("say which certificate: its THUMBPRINT, as `ringfort customer list` shows it")
        with customer_client(controller, mine, key, bundle) as client:
            client.call("DELETE", f"/v1/customers/{name}/certificates/{thumbprint}", reason=ticket)
        return
    if thumbprint is not None:
        raise click.UsageError("only the customer removes a certificate: call with --as one of its own")
    with platform_client(controller, credential, bundle) as client:
        client.call("DELETE", f"/v1/customers/{name}", reason=ticket)
    notices().print(f"{name} is closed; the name is never given again", markup=False)


def _lines(customers: list[dict[str, Any]]) -> list[str]:
    """One line for each certificate; a thumbprint is never cut, because it is what `remove` takes."""
    width = max((len(customer["name"]) for customer in customers), default=0)
    lines = []
    for customer in customers:
        for one in customer["certificates"] or [{"thumbprint": "-", "subject": "", "expires": ""}]:
            until = f"until {one['expires'][:10]}  {one['subject']}" if one["expires"] else ""
            lines.append(f"{customer['name']:{width}}  {customer['state']:6}  {one['thumbprint']}  {until}".rstrip())
    return lines
