"""``ringfort acme``: certificates for public names, for customers' ordinary clients."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.calling import perhaps_connected, platform_client
from ringfort.cli.output import notices
from ringfort.cli.signing import PASSPHRASE_FILE, passphrase

if TYPE_CHECKING:
    from ringfort.gateway.acme.names import Names
    from ringfort.gateway.acme.validation import Gateway

AUTHORITY = click.option(
    "-a", "--authority", "directory", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="The directory of the authority for public names.",
)  # fmt: skip


@click.group(
    epilog="""\b
Examples:
  ringfort acme init -a public --owner "Shop Hosting" --domain shop.example
  ringfort acme serve -a public --database sqlite:////var/lib/ringfort/acme.db \\
      --controller 10.10.5.10:9440 --credential acme.pem --bundle bundle.pem \\
      --url https://acme.shop.example --gateway 198.51.100.5 --listen 127.0.0.1:8443 --edge 127.0.0.1
"""
)
def command() -> None:
    """Issue certificates for public names by ACME (RFC 8555): certbot and other ordinary clients get and renew them.

    The authority is one of its own, which no part of the platform trusts. Names are proved through the gateway.
    """


@command.command(
    epilog="""\b
Example:
  ringfort acme init -a public --owner "Shop Hosting" --domain shop.example --domain shop.test
"""
)
@AUTHORITY
@click.option("--owner", required=True, metavar="NAME", help="Who people see in the root's name.")
@click.option("--domain", "domains", multiple=True, required=True, metavar="DOMAIN", help="Names are in it or below.")
@PASSPHRASE_FILE
def init(directory: Path, owner: str, domains: tuple[str, ...], passphrase_file: str | None) -> None:
    """Make the root and the issuer for public names, once."""
    from ringfort.gateway.acme.files import ROOT, create

    secret = passphrase(passphrase_file, "passphrase for the root's key", confirm=True)
    issuer = create(directory, owner, domains, secret, datetime.now(UTC))
    click.echo(f"issuer for {', '.join(issuer.domains)}, until {issuer.certificate.not_valid_after_utc:%F}")
    notices().print(f"visitors have to know {directory / f'{ROOT}.pem'}; keep {ROOT}.key away from machines that run")


@command.command(
    epilog="""\b
Example:
  ringfort acme issuer -a public --domain shop.example --domain zeta.example
"""
)
@AUTHORITY
@click.option("--domain", "domains", multiple=True, required=True, metavar="DOMAIN", help="Names are in it or below.")
@PASSPHRASE_FILE
def issuer(directory: Path, domains: tuple[str, ...], passphrase_file: str | None) -> None:
    """Make another issuer in place of the old, for these domains; once a year, or when domains are added."""
    from ringfort.gateway.acme.files import renew_issuer

    made = renew_issuer(
        directory, domains, passphrase(passphrase_file, "passphrase of the root's key"), datetime.now(UTC)
    )
    click.echo(f"issuer for {', '.join(made.domains)}, until {made.certificate.not_valid_after_utc:%F}")
    notices().print("start `ringfort acme serve` again to use it")


@command.command(
    epilog="""\b
Example:
  ringfort acme serve -a public --database sqlite:////var/lib/ringfort/acme.db \\
      --controller 10.10.5.10:9440 --credential acme.pem --bundle bundle.pem \\
      --url https://acme.shop.example --gateway 198.51.100.5 --listen 127.0.0.1:8443 --edge 127.0.0.1
"""
)
@AUTHORITY
@click.option("--database", required=True, metavar="URL", help="sqlite:////PATH or postgresql://USER@HOST/NAME")
@click.option("--names", type=click.Path(path_type=Path), help="Without a controller: JSON, public name -> customer.")
@perhaps_connected
@click.option("--url", required=True, metavar="URL", help="Where clients find it; without a slash at the end.")
@click.option(
    "--gateway", "gateways", multiple=True, required=True, metavar="ADDRESS[:PORT]", help="Names are asked there."
)
@click.option("--listen", required=True, metavar="ADDRESS:PORT", help="Where edge hosts find it: plain HTTP.")
@click.option("--edge", "edges", multiple=True, metavar="ADDRESS", help="An edge host; it is believed who calls.")
def serve(
    directory: Path,
    database: str,
    names: Path | None,
    controller: str | None,
    credential: Path | None,
    bundle: Path | None,
    url: str,
    gateways: tuple[str, ...],
    listen: str,
    edges: tuple[str, ...],
) -> None:
    """Run the server behind the edge until it is told to stop (SIGTERM).

    Whose names there are, a controller says; the certificate is the ACME server's own, kept by its machine's node.
    """
    from ringfort.gateway.acme import files
    from ringfort.gateway.acme.database import Database
    from ringfort.gateway.acme.running import run
    from ringfort.gateway.acme.server import Server
    from ringfort.gateway.acme.service import Service

    if not url.startswith("https://") or url.endswith("/"):
        raise click.BadParameter("begins with https:// and has no slash at the end", param_hint="--url")
    asked = [_gateway(text) for text in gateways]
    host, port = _place(listen, "--listen")
    known = _names(names, controller, credential, bundle)
    service = Service(Database(database), files.read(directory), known, lists=f"{url}/revoked.crl")
    run(Server(service, url, asked, trusted=edges), host, port)


def _names(file: Path | None, controller: str | None, credential: Path | None, bundle: Path | None) -> Names:
    from ringfort.control.owners import Owners
    from ringfort.gateway.acme.names import FileNames

    if (file is None) == (controller is None):
        raise click.UsageError("say who knows whose names there are: --controller, or --names")
    if file is not None:
        return FileNames(file)
    if controller is None or bundle is None:
        raise click.UsageError("a controller is believed by its certificate: --bundle FILE")
    return Owners(platform_client(controller, credential, bundle))


def _place(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise click.BadParameter(f"{text!r} is not ADDRESS:PORT", param_hint=option)
    return host.strip("[]"), int(port)


def _gateway(text: str) -> Gateway:
    from ipaddress import ip_address

    from ringfort.gateway.acme.validation import Gateway

    try:
        return Gateway(ip_address(text.strip("[]")))
    except ValueError:
        host, port = _place(text, "--gateway")
    try:
        return Gateway(ip_address(host), port)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not ADDRESS[:PORT]", param_hint="--gateway") from error
