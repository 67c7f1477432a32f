"""TLS 1.3 between platform parts, both sides with certificates: the one place that speaks to OpenSSL.

OpenSSL verifies the chain in the handshake, name constraints included; `peer` verifies it again, with everything that
OpenSSL does not know: the SPIFFE name, the role, the address, revocation. Neither is enough alone.
"""

from __future__ import annotations

import os
import ssl
from datetime import datetime

from cryptography import x509

from ringfort.environment.model import Address
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE, plain_address
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal
from ringfort.identity.peers import Peer
from ringfort.identity.revocation import Revocations
from ringfort.identity.verification import Expected, examine

Tls = ssl.SSLObject | ssl.SSLSocket


def server_context(credential: Credential, bundle: Bundle) -> ssl.SSLContext:
    """A context that accepts TLS 1.3 from callers with a certificate under the bundle's roots, and nothing else."""
    return _context(ssl.PROTOCOL_TLS_SERVER, credential, bundle)


def client_context(credential: Credential, bundle: Bundle) -> ssl.SSLContext:
    """A context that calls with a certificate. Whom it reached `peer` says: SPIFFE names are not host names."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credential, bundle)


def _context(side: int, credential: Credential, bundle: Bundle) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # 128 bits for everything: keys, signatures, key exchange (ffdhe2048 has 112)
    context.set_ciphers("DEFAULT:@SECLEVEL=3")
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if side == ssl.PROTOCOL_TLS_SERVER:
        # No resumption: every connection shows its certificate anew, so a revoked one never comes back by a ticket.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    context.load_verify_locations(cadata=bundle.roots_pem().decode())
    _load(context, credential)
    return context


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    """Hand over the chain and the key. OpenSSL takes them from files only: here one in memory, gone when it is read."""
    descriptor = os.memfd_create("ringfort-credential", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(credential.to_pem())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class Party:
    """A credential and a bundle in use, exchanged while connections stand.

    New handshakes take what was handed over last, as a whole; a connection that stands goes on with what it began with.
    """

    def __init__(self, credential: Credential, bundle: Bundle) -> None:
        self.server = server_context(credential, bundle)
        """For a listening socket: the same object for good."""
        self.server.sni_callback = self._take_current
        self._set(credential, bundle)

    def _set(self, credential: Credential, bundle: Bundle) -> None:
        self.credential, self.bundle = credential, bundle
        self._accepting = server_context(credential, bundle)
        self.client = client_context(credential, bundle)
        """For the next call: another object after each renewal."""

    def renew(self, credential: Credential | None = None, bundle: Bundle | None = None) -> None:
        """Take a new credential, a new bundle, or both."""
        self._set(credential or self.credential, bundle or self.bundle)

    def _take_current(self, connection: Tls, name: str | None, context: ssl.SSLContext) -> None:
        # OpenSSL asks this in each handshake, with or without a server name.
        connection.context = self._accepting


def peer(
    connection: Tls | None,
    address: Address | str | None,
    bundle: Bundle,
    now: datetime,
    *,
    expected: Expected,
    revoked: Revocations | None = None,
) -> Peer:
    """Verify the other side of a connection after its handshake.

    Args:
        connection: what the ssl module or asyncio calls ``ssl_object``; None for a connection without TLS.
        address: of the other side, as the kernel tells it.
        expected, revoked: as for `ringfort.identity.verification.verify`.

    Raises:
        IdentityRefused: the connection has to be closed.
    """
    if connection is None:
        raise IdentityRefused(Refusal.PLAINTEXT, "the connection is not under TLS", _OURS)
    if connection.version() != "TLSv1.3":
        raise IdentityRefused(Refusal.OLD_TLS, f"the connection is under {connection.version()}", _OURS)
    der = connection.getpeercert(binary_form=True)
    if not der:
        raise IdentityRefused(Refusal.NO_CERTIFICATE, "the other side showed no certificate", "RFC 8446, 4.4.2.4")
    try:
        leaf = x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise IdentityRefused(Refusal.MALFORMED, f"its certificate cannot be read: {error}", "RFC 5280, 4.1") from error
    try:
        place = None if address is None else plain_address(address)
    except IdentityError as error:
        raise IdentityRefused(Refusal.WRONG_ADDRESS, error.message, "RFC 5280, 4.2.1.6") from error
    identity, issuer = examine(leaf, (), bundle, now, expected=expected, address=place, revoked=revoked)
    return Peer(identity, place, leaf, issuer)


_OURS = "Ringfort's profile: TLS 1.3 only (RFC 8446)"


def refusal_of(error: ssl.SSLError) -> Refusal:
    """What a handshake failed for, in the words of this package."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Refusal.PATH)
    return _BY_REASON.get(error.reason or "", Refusal.MALFORMED)


_BY_REASON = {
    "HTTP_REQUEST": Refusal.PLAINTEXT,
    "HTTPS_PROXY_REQUEST": Refusal.PLAINTEXT,
    "WRONG_VERSION_NUMBER": Refusal.PLAINTEXT,
    "UNSUPPORTED_PROTOCOL": Refusal.OLD_TLS,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Refusal.NO_CERTIFICATE,
}

_BY_VERIFY_CODE = {
    # openssl/x509_vfy.h, X509_V_ERR_*
    2: Refusal.OTHER_AUTHORITY,  # UNABLE_TO_GET_ISSUER_CERT
    7: Refusal.OTHER_AUTHORITY,  # CERT_SIGNATURE_FAILURE
    9: Refusal.NOT_YET_VALID,  # CERT_NOT_YET_VALID
    10: Refusal.EXPIRED,  # CERT_HAS_EXPIRED
    18: Refusal.OTHER_AUTHORITY,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: Refusal.OTHER_AUTHORITY,  # SELF_SIGNED_CERT_IN_CHAIN
    20: Refusal.OTHER_AUTHORITY,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: Refusal.OTHER_AUTHORITY,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    23: Refusal.REVOKED,  # CERT_REVOKED
    26: Refusal.KEY_USAGE,  # INVALID_PURPOSE
    47: Refusal.CONSTRAINTS,  # PERMITTED_VIOLATION
    48: Refusal.CONSTRAINTS,  # EXCLUDED_VIOLATION
    79: Refusal.IS_AUTHORITY,  # INVALID_CA: a leaf that signed
}
