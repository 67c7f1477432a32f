"""The token of enrolment: a key with a certificate that lives for minutes, and the roots, as one line of text.

Its name is ``spiffe://TRUST-DOMAIN/enrolment/NODE``, a role that nothing but the controllers' enrolment accepts: with a
token one cannot be a node, only become one. Whether it was used before is for the controllers to know, by its serial
number.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from ringfort.environment.model import Address
from ringfort.identity.authority import BACKDATE, Issuer
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE, PrivateKey, new_key
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import Identity, Role

MINUTES = 15
MOST_MINUTES = 60
PREFIX = "rft1_"
CHECKSUM_BYTES = 4
LARGEST = 32 * 1024


@dataclass(frozen=True, slots=True)
class Token:
    """What a new node is handed: a credential for one call, and the bundle to know the controllers by."""

    credential: Credential
    bundle: Bundle

    @property
    def node(self) -> str:
        """The name of the node that it is for."""
        return self.credential.identity.name


def issue(
    issuer: Issuer, node: str, addresses: Sequence[Address], bundle: Bundle, now: datetime, minutes: int = MINUTES
) -> Token:
    """A token for a node that is to call from its own addresses, good for some minutes.

    Raises:
        IdentityError: it would live too long, or the issuer may not issue for that name or those addresses.
    """
    if not 1 <= minutes <= MOST_MINUTES:
        raise IdentityError("token-lifetime", f"a token is good for 1 to {MOST_MINUTES} minutes, not {minutes}")
    key = new_key()
    identity = Identity(issuer.trust_domain, Role.ENROLMENT, node)
    leaf = issuer.issue(identity, addresses, key.public_key(), now, BACKDATE + timedelta(minutes=minutes))
    return Token(Credential(key, (leaf, issuer.certificate)), bundle)


def write(token: Token) -> str:
    """The token as one line: letters, digits, ``-`` and ``_``."""
    key = token.credential.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    certificates = (*token.credential.chain, *token.bundle.roots, *token.bundle.issuers)
    parts = [key, *dict.fromkeys(one.public_bytes(Encoding.DER) for one in certificates)]
    content = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return PREFIX + _encoded(content + _checksum(content))


def read(line: str) -> Token:
    """The token in a line. Its certificates are not verified here: the controller does that.

    Raises:
        IdentityError: it is not a token, or a piece of it is missing.
    """
    text = line.strip()
    if not text.startswith(PREFIX) or len(text) > LARGEST:
        raise IdentityError("token-malformed", "this is not a token", f"it is one line that begins with {PREFIX}")
    try:
        body = text.removeprefix(PREFIX)
        content = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if _encoded(content) != body:  # RFC 4648 section 3.5: bits after the last byte that decoding ignores
            raise IdentityError("token-malformed", "a piece of this token is missing or changed", "copy the whole line")
        if _checksum(content[:-CHECKSUM_BYTES]) != content[-CHECKSUM_BYTES:]:
            raise IdentityError("token-malformed", "a piece of this token is missing or changed", "copy the whole line")
        key, leaf, *others = _parts(content[:-CHECKSUM_BYTES])
        certificates = [x509.load_der_x509_certificate(part) for part in (leaf, *others)]
        private = load_der_private_key(key, None)
    except UNREADABLE as error:
        raise IdentityError("token-malformed", "this is not a token") from error
    if not isinstance(private, PrivateKey):
        raise IdentityError("token-malformed", "this is not a token")
    return Token(Credential(private, tuple(certificates[:2])), Bundle.of(certificates[1:]))


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:CHECKSUM_BYTES]


def _parts(content: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 2], "big")
        if size == 0 or place + 2 + size > len(content):
            raise ValueError("a part is cut off")
        yield content[place + 2 : place + 2 + size]
        place += 2 + size
