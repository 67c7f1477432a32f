"""Certificates, authorities and revocation lists: what a file holds, and what HAProxy says it holds in memory.

Both are read into the same values, so that they can be compared. HAProxy tells certificates by SHA-1; that is enough to
ask an own process whether it has taken the file that was given to it, and nothing else rests on it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ringfort.errors import RingfortError

DATE = "%b %d %H:%M:%S %Y GMT"
_END_OF_LIST = b"-----END X509 CRL-----"


class Kind(StrEnum):
    """As HAProxy's runtime interface names them."""

    CERTIFICATE = "cert"
    AUTHORITIES = "ca-file"
    LISTS = "crl-file"


@dataclass(frozen=True, slots=True)
class Material:
    """A file that HAProxy reads when it starts, and whose content can be replaced in the running process."""

    kind: Kind
    path: str


@dataclass(frozen=True, slots=True, order=True)
class RevocationList:
    """One authority's list: since and until when it is good, and the serial numbers on it."""

    since: datetime
    until: datetime
    serials: tuple[int, ...]


Content = tuple[str, ...] | tuple[RevocationList, ...]
"""Fingerprints (of a certificate, or of all authorities, sorted), or lists (sorted)."""


def in_file(kind: Kind, pem: bytes) -> Content:
    """What a file holds.

    Raises:
        RingfortError: nothing of that kind (``enforcement-material``).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of serial numbers, which are not the question
            if kind is Kind.LISTS:
                blocks = [part + _END_OF_LIST for part in pem.split(_END_OF_LIST)[:-1]]
                return tuple(sorted(_list(x509.load_pem_x509_crl(block)) for block in blocks))
            certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, TypeError) as error:
        raise RingfortError("enforcement-material", f"not the content of a {kind}: {error}") from error
    chosen = certificates[:1] if kind is Kind.CERTIFICATE else certificates
    return tuple(sorted({one.fingerprint(hashes.SHA1()).hex() for one in chosen}))  # noqa: S303 - HAProxy's spelling


def _list(crl: x509.CertificateRevocationList) -> RevocationList:
    if crl.next_update_utc is None:
        raise ValueError("a revocation list doesn't say until when it is good")
    return RevocationList(crl.last_update_utc, crl.next_update_utc, tuple(sorted(one.serial_number for one in crl)))


def in_memory(kind: Kind, shown: str) -> Content:
    """What HAProxy holds, of its answer to ``show ssl KIND FILE``; nothing when it doesn't know the file."""
    lines = [line.strip() for line in shown.splitlines()]
    if kind is not Kind.LISTS:
        prints = {line.partition(": ")[2].lower() for line in lines if line.startswith("SHA1 FingerPrint: ")}
        return tuple(sorted(prints))
    found: list[RevocationList] = []
    since = until = None
    serials: list[int] = []
    for line in [*lines, "Certificate Revocation List #"]:
        name, _, value = line.partition(": ")
        if name.startswith("Certificate Revocation List #"):
            if since is not None and until is not None:
                found.append(RevocationList(since, until, tuple(sorted(serials))))
            since = until = None
            serials = []
        elif name == "Last Update":
            since = _date(value)
        elif name == "Next Update":
            until = _date(value)
        elif name == "Serial Number":
            serials.append(int(value, 16))
    return tuple(sorted(found))


def _date(text: str) -> datetime:
    return datetime.strptime(" ".join(text.split()), DATE).replace(tzinfo=UTC)
