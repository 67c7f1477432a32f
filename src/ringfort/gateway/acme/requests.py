"""Requests for a certificate (PKCS #10, RFC 2986), as an order is finalized with (RFC 8555, 7.4)."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from ringfort.gateway.acme.authority import LeafKey, checked_leaf_key
from ringfort.gateway.acme.problems import AcmeError, Kind
from ringfort.identity.certificates import UNREADABLE
from ringfort.identity.errors import IdentityError

LARGEST = 16 * 1024
"""Bytes of a request: a hundred long names with the largest key."""


def read(der: bytes, names: Sequence[str]) -> LeafKey:
    """The key that a certificate for exactly these names is requested for.

    Raises:
        AcmeError: it is no request, is too large, not signed by its key, for other names, or its key is weak.
    """
    if len(der) > LARGEST:
        raise AcmeError(Kind.BAD_CSR, f"a request for a certificate has at most {LARGEST} bytes")
    try:
        request = x509.load_der_x509_csr(der)
        is_signed = request.is_signature_valid
        key = checked_leaf_key(request.public_key())
        weak = request.signature_hash_algorithm is None or request.signature_hash_algorithm.digest_size < 32
        asked = _names(request)
    except IdentityError as error:
        raise AcmeError(Kind.BAD_PUBLIC_KEY, error.message) from error
    except (*UNREADABLE, x509.ExtensionNotFound) as error:
        raise AcmeError(Kind.BAD_CSR, "this is no request for a certificate that can be read") from error
    if not is_signed:
        raise AcmeError(Kind.BAD_CSR, "the request is not signed by the key that it is for")
    if weak:
        raise AcmeError(Kind.BAD_CSR, "the request is signed with a weak digest; take SHA-256")
    if asked != set(names):
        raise AcmeError(Kind.BAD_CSR, "the request names other names than the order: " + ", ".join(sorted(names)))
    return key


def _names(request: x509.CertificateSigningRequest) -> set[str]:
    alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if any(not isinstance(name, x509.DNSName) for name in alternatives):
        raise ValueError("names of another kind")
    common = {str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    return {name.lower() for name in (*alternatives.get_values_for_type(x509.DNSName), *common)}
