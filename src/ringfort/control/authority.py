"""Certificates from the sites' issuing authorities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509

from ringfort.control.callers import serial_text
from ringfort.control.errors import ProblemError
from ringfort.control.ports import Issued
from ringfort.identity import token
from ringfort.identity.authority import Issuer
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import PublicKey, authority_key_id, to_pem
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import Identity, Role
from ringfort.identity.requests import read_request


@dataclass(frozen=True, slots=True)
class SiteAuthorities:
    """The issuing authorities that a controller holds, by site."""

    issuers: Mapping[str, Issuer]
    bundle: Bundle

    def issue(
        self, site: str, role: str, name: str, addresses: Sequence[str], csr: str, now: datetime, lifetime: timedelta
    ) -> Issued:
        """See `ringfort.control.ports.Authority.issue`."""
        issuer, key = self._issuer(site), _public_key(csr)
        try:
            identity = Identity(issuer.trust_domain, Role(role), name)
            leaf = issuer.issue(identity, [ip_address(address) for address in addresses], key, now, lifetime)
        except IdentityError as error:
            raise ProblemError(422, error.code, error.message, error.hint) from error
        return _issued(identity.uri, (leaf, issuer.certificate))

    def token(self, site: str, node: str, addresses: Sequence[str], now: datetime, minutes: int) -> tuple[str, Issued]:
        """See `ringfort.control.ports.Authority.token`."""
        places = [ip_address(address) for address in addresses]
        try:
            made = token.issue(self._issuer(site), node, places, self.bundle, now, minutes)
        except IdentityError as error:
            raise ProblemError(422, error.code, error.message, error.hint) from error
        return token.write(made), _issued(made.credential.identity.uri, made.credential.chain)

    def _issuer(self, site: str) -> Issuer:
        issuer = self.issuers.get(site)
        if issuer is None:
            raise ProblemError(422, "site-unknown", f"this controller issues no certificates for site {site}")
        return issuer


def _issued(uri: str, chain: Sequence[x509.Certificate]) -> Issued:
    leaf = chain[0]
    return Issued(
        identity=uri,
        chain=to_pem(chain).decode(),
        authority=authority_key_id(leaf) or "",
        serial=serial_text(leaf.serial_number),
        expires=leaf.not_valid_after_utc,
    )


def _public_key(csr: str) -> PublicKey:
    try:
        return read_request(csr.encode())
    except IdentityError as error:
        raise ProblemError(422, error.code, error.message, error.hint) from error
