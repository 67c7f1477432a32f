"""An authority with two sites, and whoever a test needs, at a given time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network

from cryptography import x509

from ringfort.identity.authority import DEFAULT_LIFETIME, Issuer, Root
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.names import Identity, Role

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DOMAIN = "shop.example"
NORTH = (ip_network("10.10.0.0/16"), ip_network("fd00:10::/32"), ip_network("127.0.0.0/8"))
SOUTH = (ip_network("10.20.0.0/16"),)


@dataclass(frozen=True)
class Authority:
    """A root and two issuing authorities."""

    root: Root
    north: Issuer
    south: Issuer

    @property
    def bundle(self) -> Bundle:
        return Bundle.of([self.root.certificate, self.north.certificate, self.south.certificate])

    def credential(
        self,
        role: Role = Role.SERVICE,
        name: str = "web",
        addresses: Sequence[str] = ("10.10.1.2",),
        now: datetime = NOON,
        lifetime: timedelta = DEFAULT_LIFETIME,
        issuer: Issuer | None = None,
    ) -> Credential:
        key, who = new_key(), issuer or self.north
        identity = Identity(self.root.trust_domain, role, name)
        places = [ip_address(address) for address in addresses]
        return Credential(key, (who.issue(identity, places, key.public_key(), now, lifetime), who.certificate))

    def leaf(self, *args: object, **kwargs: object) -> x509.Certificate:
        return self.credential(*args, **kwargs).leaf  # type: ignore[arg-type]


def make(trust_domain: str = DOMAIN, now: datetime = NOON) -> Authority:
    """An authority with keys of its own."""
    root = Root.create(trust_domain, now)
    return Authority(root, root.issuer("north", NORTH, now), root.issuer("south", SOUTH, now))


@cache
def authority() -> Authority:
    """The authority of most tests."""
    return make(now=NOON - timedelta(days=30))
