"""The lab's certificate authority (`ringfort.identity`): a root, an issuer for each site, and one key and certificate
for each identity that a host holds, good for a day.

Every certificate names one SPIFFE identity and the addresses of the host it belongs to, so that a service can refuse it
when it comes from elsewhere. The keys are worth nothing outside the lab and stay in its state directory, readable by
its owner only.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.environment.model import Address, Environment, Network
from ringfort.identity.authority import BACKDATE, LONGEST_LIFETIME, Issuer
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import parse
from ringfort.identity.store import Store, read_list
from ringfort.lab.keyring import (
    AUTHORITY,
    LISTS_FILE,
    ROOT_FILE,
    holder_of,
    host_holder,
    key_file,
    operator_holder,
    service_holder,
)
from ringfort.lab.state import write_private

__all__ = [
    "AUTHORITY",
    "LISTS_FILE",
    "ROOT_FILE",
    "Authority",
    "Holder",
    "ensure",
    "holder_of",
    "holders",
    "host_holder",
    "key_file",
    "missing",
    "operator_holder",
    "service_holder",
    "sites_of",
]

LIFETIME = LONGEST_LIFETIME
RENEW_BEFORE = LIFETIME / 3
"""A certificate with less than this left is made anew by the next ``up``."""
RENEW_AUTHORITY_BEFORE = timedelta(days=7)

PASSPHRASE_FILE, MANIFEST = "passphrase", "manifest.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key: ``name`` is ``@HOST`` or ``SERVICE@HOST``, and the name of its file."""

    name: str
    identity: str
    addresses: tuple[Address, ...]


def holders(environment: Environment) -> tuple[Holder, ...]:
    """Everyone who needs a key: each host, each service on each host that serves it under TLS or calls with it, each
    operator on each host he calls from."""
    found: dict[str, Holder] = {}

    def hold(name: str, identity: str, host: str) -> None:
        found.setdefault(name, Holder(name, identity, environment.hosts[host].addresses))

    for host in environment.hosts.values():
        hold(host_holder(host.name), host.identity, host.name)
        for name in host.services:
            hold(service_holder(name, host.name), environment.services[name].identity, host.name)
    for flow in environment.flows.values():
        if flow.operators:
            for operator, identity in zip(flow.operators, flow.identities, strict=True):
                for caller in flow.callers:
                    hold(operator_holder(operator, caller), identity, caller)
    return tuple(found.values())


Sites = Mapping[str, tuple[Network, ...]]
"""Site -> the address blocks it may issue for."""


def sites_of(environment: Environment) -> Sites:
    """The sites of an environment and their blocks."""
    return {site.name: site.blocks for site in environment.sites.values()}


class Authority:
    """The lab's authority, complete: whoever holds it can make any certificate. `open_or_make` finds or makes it.

    Its root's key is under a passphrase that stands beside it, because nobody is there to type one.
    """

    def __init__(self, directory: Path) -> None:
        self._passphrase = (directory / PASSPHRASE_FILE).read_bytes()
        self.store = Store(directory / AUTHORITY)
        self.bundle = self.store.bundle()

    @classmethod
    def open(cls, directory: Path) -> Authority | None:
        """The authority kept in ``directory``, if there is one and it can be read."""
        try:
            return cls(directory)
        except (OSError, IdentityError):
            return None

    @classmethod
    def open_or_make(cls, directory: Path, trust_domain: str, sites: Sites, now: datetime) -> Authority:
        """The authority kept in ``directory``, with an issuer for each site; what is missing, near its end, or of
        another trust domain is made anew."""
        found = cls.open(directory)
        if found is None or found.bundle.trust_domain != trust_domain or not found._lasts(found.bundle.roots, now):
            found = cls._make(directory, trust_domain, now)
        try:
            found._add_issuers(sites, now)
        except IdentityError:  # a file of it is broken
            found = cls._make(directory, trust_domain, now)
            found._add_issuers(sites, now)
        write_private(directory / ROOT_FILE, found.store.bundle().roots_pem())
        found.write_lists(directory / LISTS_FILE, now)
        return cls(directory)

    @classmethod
    def _make(cls, directory: Path, trust_domain: str, now: datetime) -> Authority:
        shutil.rmtree(directory / AUTHORITY, ignore_errors=True)
        passphrase = secrets.token_hex(24).encode()
        write_private(directory / PASSPHRASE_FILE, passphrase)
        Store.create(directory / AUTHORITY, trust_domain, passphrase, now)
        return cls(directory)

    def _add_issuers(self, sites: Sites, now: datetime) -> None:
        for site, networks in sites.items():
            if not self._is_current(site, networks, now):
                self.store.add_issuer(site, networks, self._passphrase, now)
        self._keep_lists(now)

    def _keep_lists(self, now: datetime) -> None:
        """Sign the issuers' lists anew before they end: without one in date everyone would be refused."""
        for site in self.store.sites():
            until = read_list(self.store.directory / "crl" / f"{site}.pem").next_update_utc
            if until is None or until - now < RENEW_BEFORE:
                self.store.revoke(self.store.issuer(site), (), now)

    def write_lists(self, path: Path, now: datetime) -> None:
        """Write the lists that are in date into one file."""
        lists = [one for one in self.store.lists() if one.next_update_utc is not None and one.next_update_utc > now]
        write_private(path, b"".join(one.public_bytes(Encoding.PEM) for one in lists))

    def _lasts(self, certificates: Iterable[x509.Certificate], now: datetime) -> bool:
        return all(certificate.not_valid_after_utc - now > RENEW_AUTHORITY_BEFORE for certificate in certificates)

    def _is_current(self, site: str, networks: tuple[Network, ...], now: datetime) -> bool:
        try:
            issuer = self.store.issuer(site)
        except IdentityError:
            return False
        return issuer.networks == networks and self._lasts([issuer.certificate], now)

    def issuer_for(self, addresses: Iterable[Address]) -> Issuer:
        """The issuer of the site where the addresses are.

        Raises:
            IdentityError: they are at no site.
        """
        wanted = tuple(addresses)
        for site in self.store.sites():
            issuer = self.store.issuer(site)
            if all(any(address in network for network in issuer.networks) for address in wanted):
                return issuer
        raise IdentityError("identity-address-outside-site", f"{', '.join(map(str, wanted))}: at no site")

    def issue(self, identity: str, addresses: Iterable[Address], now: datetime) -> bytes:
        """A new key and its certificates, in one PEM file.

        Raises:
            IdentityError: the addresses are at no site, or it is no identity that is issued for.
        """
        own = tuple(addresses)
        issuer, key = self.issuer_for(own), new_key()
        leaf = issuer.issue(parse(identity), own, key.public_key(), now, LIFETIME)
        return Credential(key, (leaf, issuer.certificate)).to_pem()


def ensure(
    directory: Path, trust_domain: str, sites: Sites, wanted: Iterable[Holder], now: datetime
) -> tuple[str, ...]:
    """Make the keys and certificates that are missing, near their end, or no longer say what they should.

    Returns:
        the names of the holders that got new ones.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    authority = Authority.open_or_make(directory, trust_domain, sites, now)
    fingerprint = hashlib.sha256(authority.bundle.to_pem()).hexdigest()
    noted = _read_manifest(directory)
    kept: dict[str, dict[str, Any]] = {}
    issued = []
    for holder in wanted:
        entry = noted.get(holder.name, {})
        addresses = [str(address) for address in holder.addresses]
        expected = {"authority": fingerprint, "identity": holder.identity, "addresses": addresses}
        path = key_file(directory, holder.name)
        if not (_says(entry, expected, now) and path.exists()):
            write_private(path, authority.issue(holder.identity, holder.addresses, now))
            entry = expected | {"until": (now - BACKDATE + LIFETIME).isoformat()}
            issued.append(holder.name)
        kept[holder.name] = entry
    for name in noted.keys() - kept.keys():
        key_file(directory, name).unlink(missing_ok=True)
    write_private(directory / MANIFEST, json.dumps(kept, indent=1).encode())
    return tuple(issued)


def missing(directory: Path, wanted: Iterable[Holder], now: datetime) -> int:
    """How many certificates `ensure` would make; changes nothing."""
    noted = _read_manifest(directory)
    return sum(
        not _says(
            noted.get(holder.name, {}),
            {"identity": holder.identity, "addresses": [str(address) for address in holder.addresses]},
            now,
        )
        for holder in wanted
    )


def _says(entry: dict[str, Any], expected: dict[str, Any], now: datetime) -> bool:
    if any(entry.get(key) != value for key, value in expected.items()):
        return False
    try:
        until = datetime.fromisoformat(entry["until"])
    except (KeyError, ValueError):
        return False
    return until.replace(tzinfo=until.tzinfo or UTC) - now > RENEW_BEFORE


def manifest(directory: Path) -> str:
    """What there is: who holds which certificate until when; changes with every certificate made. Empty if nothing."""
    try:
        return (directory / MANIFEST).read_text()
    except OSError:
        return ""


def _read_manifest(directory: Path) -> dict[str, Any]:
    try:
        noted = json.loads(manifest(directory))
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}
