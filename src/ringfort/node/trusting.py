"""The newest revocation lists, out of what is known and what a controller offers. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE
from ringfort.identity.errors import IdentityError
from ringfort.identity.revocation import list_authority, list_number

_END = b"-----END X509 CRL-----"


def newest(known: bytes, offered: bytes, bundle: Bundle) -> bytes:
    """The newest list of each authority of the bundle, of those in two files (PEM): one that is older than what is
    known brings back nobody who was revoked.

    Raises:
        IdentityError: what is offered holds no list.
    """
    found: dict[str, x509.CertificateRevocationList] = {}
    offers = list(_lists(offered))
    if not offers:
        raise IdentityError("identity-revocation-list", "there are no revocation lists in the controller's answer")
    for crl in (*_lists(known), *offers):
        with contextlib.suppress(IdentityError):  # of an authority that is not known here: nobody is verified by it
            authority = list_authority(crl, bundle)
            if authority not in found or list_number(crl) > list_number(found[authority]):
                found[authority] = crl
    return b"".join(found[authority].public_bytes(Encoding.PEM) for authority in sorted(found))


def _lists(text: bytes) -> Iterator[x509.CertificateRevocationList]:
    for block in text.split(_END)[:-1]:
        with contextlib.suppress(*UNREADABLE):
            yield x509.load_pem_x509_crl(block + _END)
