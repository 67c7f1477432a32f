"""``ringfort identity``: the authority's work by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import FORMAT, notices
from ringfort.cli.signing import PASSPHRASE_FILE, passphrase
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.environment.model import Address, Network
    from ringfort.identity.names import Identity, Role
    from ringfort.identity.store import Store

AUTHORITY = click.option(
    "-a",
    "--authority",
    "directory",
    type=click.Path(path_type=Path),
    envvar="RINGFORT_AUTHORITY",
    required=True,
    metavar="DIR",
    help="The authority's directory; else $RINGFORT_AUTHORITY.",
)


@click.group(
    epilog="""\b
Examples:
  ringfort identity init -a authority --trust-domain shop.example
  ringfort identity issuer -a authority north --environment examples/shop
  ringfort identity issue -a authority north node/north-web-1 --address 10.10.1.2 --out web-1.pem
  ringfort identity show web-1.pem
  ringfort identity verify web-1.pem --bundle authority/bundle.pem --address 10.10.1.2
  ringfort identity revoke -a authority web-1.pem
"""
)
def command() -> None:
    """Who everybody is: make the authority, issue, look at, verify and revoke certificates.

    The root is made once and its key locked away under a passphrase; each site has an issuing authority, which its
    controllers hold. Running nodes renew by themselves: by hand one issues to controllers and operators.
    """


@command.command(
    epilog="""\b
Example:
  ringfort identity init -a authority --trust-domain shop.example
"""
)
@AUTHORITY
@click.option("--trust-domain", required=True, metavar="NAME", help="As in the environment: shop.example")
@PASSPHRASE_FILE
def init(directory: Path, trust_domain: str, passphrase_file: str | None) -> None:
    """Make the root, once. Its key is needed again only for a site's issuing authority."""
    from ringfort.cli.telling_identity import fingerprint
    from ringfort.identity.store import Store

    secret = passphrase(passphrase_file, "passphrase for the root's key", confirm=True)
    store = Store.create(directory, trust_domain, secret, _now())
    root = store.bundle().roots[0]
    click.echo(f"root of {trust_domain}: {fingerprint(root)}")
    notices().print(f"keep {directory / 'root.key'} away from machines that run; it is needed to add a site")


@command.command(
    epilog="""\b
Examples:
  ringfort identity issuer -a authority north --environment examples/shop
  ringfort identity issuer -a authority north --network 10.10.0.0/16 --network fd00:10::/32
"""
)
@AUTHORITY
@click.argument("site")
@click.option("--environment", "declaration", metavar="PATH", help="Take the site's address blocks from here.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="An address block of the site.")
@PASSPHRASE_FILE
def issuer(
    directory: Path, site: str, declaration: str | None, networks: tuple[str, ...], passphrase_file: str | None
) -> None:
    """Make SITE's issuing authority, or a new one in place of the old. Needs the root's passphrase."""
    from ringfort.identity.store import Store

    blocks = _blocks(site, declaration, networks)
    secret = passphrase(passphrase_file, "passphrase of the root's key")
    made = Store(directory).add_issuer(site, blocks, secret, _now())
    until = made.certificate.not_valid_after_utc
    click.echo(f"issuing authority of {site}, until {until:%F}: {', '.join(map(str, made.networks))}")


@command.command(
    epilog="""\b
Examples:
  ringfort identity issue -a authority north controller/north --address 10.10.5.10 --out controller.pem
  ringfort identity issue -a authority north operator/alice --hours 8 --out alice.pem
  ringfort identity issue -a authority north service/web --address 10.10.1.2 --request web.csr --out web.pem
"""
)
@AUTHORITY
@click.argument("site")
@click.argument("name", metavar="ROLE/NAME")
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="Where it may be used from.")
@click.option("--hours", type=click.FloatRange(0.1, 24), default=12, show_default=True, help="How long it lives.")
@click.option("--request", type=click.Path(path_type=Path), help="A PKCS #10 request in PEM; else a key is made too.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where to put it.")
def issue(
    directory: Path, site: str, name: str, addresses: tuple[str, ...], hours: float, request: Path | None, out: Path
) -> None:
    """Issue a certificate to ROLE/NAME: node, service, controller, operator or witness.

    FILE gets the certificate, its issuing authority's, and the key unless a request was given.
    """
    from ringfort.identity.certificates import new_key, serial
    from ringfort.identity.credential import Credential
    from ringfort.identity.requests import read_request
    from ringfort.identity.store import Store, write_chain, write_credential

    authority = Store(directory).issuer(site)
    identity = _identity(authority.trust_domain, name)
    places, lifetime = _addresses(addresses), timedelta(hours=hours)
    if request is None:
        key = new_key()
        leaf = authority.issue(identity, places, key.public_key(), _now(), lifetime)
        write_credential(out, Credential(key, (leaf, authority.certificate)))
    else:
        public = read_request(_read(request))
        leaf = authority.issue(identity, places, public, _now(), lifetime)
        write_chain(out, (leaf, authority.certificate))
    click.echo(f"{identity} until {leaf.not_valid_after_utc:%F %T} UTC, serial {serial(leaf)}: {out}")


@command.command(
    epilog="""\b
Examples:
  ringfort identity show web-1.pem
  ringfort identity show authority/bundle.pem --format json
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@FORMAT
def show(file: Path, format_: str) -> None:
    """Show the certificates in FILE, or the certificates on a revocation list."""
    from ringfort.cli.telling_identity import describe_certificate, describe_list, print_documents
    from ringfort.identity.certificates import from_pem
    from ringfort.identity.store import read_list

    if b"BEGIN X509 CRL" in _read(file):
        print_documents([describe_list(read_list(file))], format_)
    else:
        print_documents([describe_certificate(one) for one in from_pem(_read(file))], format_)


@command.command(
    epilog="""\b
Examples:
  ringfort identity verify web-1.pem --bundle authority/bundle.pem
  ringfort identity verify web-1.pem --bundle authority/bundle.pem --role node --address 10.10.1.2 \\
      --revoked authority/crl/north.pem
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--bundle", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Whom to trust.")
@click.option("--role", help="Accept this role only.")
@click.option("--address", metavar="ADDRESS", help="Where it is used from.")
@click.option("--revoked", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="A revocation list.")
@click.option("--at", metavar="TIME", help="As of another time than now, as 2026-11-24T12:00:00Z.")
@FORMAT
def verify(
    file: Path,
    bundle: Path,
    role: str | None,
    address: str | None,
    revoked: tuple[Path, ...],
    at: str | None,
    format_: str,
) -> None:
    """Verify the certificate in FILE as a platform part would.

    Exit 0 and whom it names, or 1 and the rule it breaks.
    """
    from ringfort.cli.telling_identity import print_documents
    from ringfort.identity.certificates import from_pem, plain_address
    from ringfort.identity.errors import IdentityRefused
    from ringfort.identity.revocation import Revocations
    from ringfort.identity.store import read_bundle, read_list
    from ringfort.identity.verification import anyone, roles
    from ringfort.identity.verification import verify as judge

    trusted, chain = read_bundle(bundle), from_pem(_read(file))
    known = Revocations.from_lists([read_list(path) for path in revoked], trusted) if revoked else None
    expected = anyone if role is None else roles(_role(role))
    place = None if address is None else plain_address(address)
    try:
        identity = judge(chain[0], chain[1:], trusted, _time(at), expected=expected, address=place, revoked=known)
    except IdentityRefused as refused:
        why = {"verdict": "refused", "code": refused.code, "why": refused.message, "rule": refused.clause}
        print_documents([why], format_)
        raise click.exceptions.Exit(refused.exit_code) from None
    print_documents([{"verdict": "accepted", "identity": identity.uri}], format_)


@command.command(
    epilog="""\b
Examples:
  ringfort identity revoke -a authority web-1.pem
  ringfort identity revoke -a authority --issuer north
  ringfort identity revoke -a authority
"""
)
@AUTHORITY
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--issuer", "site", metavar="SITE", help="Revoke a site's issuing authority; needs the root's passphrase."
)
@PASSPHRASE_FILE
def revoke(directory: Path, files: tuple[Path, ...], site: str | None, passphrase_file: str | None) -> None:
    """Revoke the certificates in FILES; without any, only sign fresh lists.

    Controllers that run take revocations through their API, in effect within seconds. This is for everything else.
    """
    from ringfort.cli.telling_identity import describe_list
    from ringfort.identity.store import Store

    store = Store(directory)
    if site is not None:
        _revoke_issuer(store, site, passphrase(passphrase_file, "passphrase of the root's key"))
    _revoke_leaves(store, files)
    for crl in store.lists():
        told = describe_list(crl)
        count = len(told["revoked"])
        click.echo(f"{told['authority']}: list {told['number']}, {count} revoked, good until {told['until']}")


def _revoke_issuer(store: Store, site: str, secret: bytes) -> None:
    from ringfort.identity.revocation import revoked

    now = _now()
    store.revoke(store.root(secret), [revoked(store.issuer(site).certificate, now)], now)


def _revoke_leaves(store: Store, files: tuple[Path, ...]) -> None:
    from ringfort.identity.certificates import from_pem
    from ringfort.identity.revocation import revoked

    now = _now()
    leaves = [from_pem(_read(file))[0] for file in files]
    issuers = [store.issuer_of(leaf) for leaf in leaves]  # all of them are found before anything is signed
    for authority, leaf in zip(issuers, leaves, strict=True):
        store.revoke(authority, [revoked(leaf, now)], now)
    for site in () if files else store.sites():
        store.revoke(store.issuer(site), [], now)


def _now() -> datetime:
    return datetime.now(UTC)


def _time(text: str | None) -> datetime:
    if text is None:
        return _now()
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r} is not a time, such as 2026-11-24T12:00:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _blocks(site: str, declaration: str | None, networks: tuple[str, ...]) -> tuple[Network, ...]:
    from ringfort.environment.load import load

    if (declaration is None) == (not networks):
        raise click.UsageError("name the site's address blocks with --network, or --environment with the file of them")
    if declaration is not None:
        sites = load(Path(declaration)).sites
        if site not in sites:
            raise RingfortError("identity-site", f"there is no site {site!r} in it", f"sites: {', '.join(sites)}")
        return sites[site].blocks
    try:
        return tuple(ip_network(network) for network in networks)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _addresses(addresses: tuple[str, ...]) -> list[Address]:
    from ringfort.identity.certificates import plain_address

    return [plain_address(address) for address in addresses]


def _identity(trust_domain: str, name: str) -> Identity:
    from ringfort.identity.names import Identity

    role, separator, rest = name.partition("/")
    if not separator:
        raise click.UsageError(f"write whom it is for as ROLE/NAME, not {name!r}")
    return Identity(trust_domain, _role(role), rest)


def _role(name: str) -> Role:
    from ringfort.identity.names import Role

    if name not in set(Role):
        raise click.UsageError(f"{name!r} is not a role: {', '.join(Role)}")
    return Role(name)


def _read(path: Path) -> bytes:
    from ringfort.identity.store import read_file

    return read_file(path)
