"""Requests for a certificate (PKCS #10, RFC 2986): they carry a key and the proof that its bearer holds it.

What a request says about names is not looked at: the names are those that its bearer has proved, and the addresses
those that are declared.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.identity.certificates import UNREADABLE, PrivateKey, PublicKey, checked_public_key
from ringfort.identity.errors import IdentityError

LARGEST = 8 * 1024
"""Bytes of a request that is read."""


def write_request(key: PrivateKey) -> bytes:
    """A request for a certificate for this key, in PEM."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def read_request(data: bytes) -> PublicKey:
    """The key that a certificate is requested for.

    Raises:
        IdentityError: it is no request, not signed by that key, or of a kind that gets no certificates.
    """
    if len(data) > LARGEST:
        raise IdentityError("identity-request", f"a request has at most {LARGEST} bytes, not {len(data)}")
    try:
        request = x509.load_pem_x509_csr(data)
        signed = request.is_signature_valid
        key = request.public_key()
    except UNREADABLE as error:
        raise IdentityError(
            "identity-request", f"this is no request for a certificate (PKCS #10, PEM): {error}"
        ) from error
    if not signed:
        raise IdentityError("identity-request", "the request is not signed by the key that it is for")
    return checked_public_key(key)
