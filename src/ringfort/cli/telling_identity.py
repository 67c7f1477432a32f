"""Certificates, revocation lists and verdicts, printed: for ``ringfort identity``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rich.markup import escape

from ringfort.cli.output import results
from ringfort.identity.certificates import UNREADABLE, addresses, authority_key_id, extension, serial, uris
from ringfort.identity.credential import renew_at
from ringfort.identity.revocation import list_number

Document = dict[str, Any]


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as people compare it."""
    return "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()


def describe_certificate(certificate: x509.Certificate) -> Document:
    """What a certificate says, whether or not it is any good."""
    try:
        names, places, constraints = uris(certificate), addresses(certificate), _constraints(certificate)
    except UNREADABLE as error:
        names, places, constraints = [f"unreadable: {error}"], (), []
    document: Document = {
        "identity": names[0] if len(names) == 1 else names,
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "addresses": [str(place) for place in places],
        "may issue": constraints,
        "from": f"{certificate.not_valid_before_utc:%F %T} UTC",
        "until": f"{certificate.not_valid_after_utc:%F %T} UTC",
        "renew at": "" if constraints else f"{renew_at(certificate):%F %T} UTC",
        "serial": serial(certificate),
        "authority": authority_key_id(certificate),
        "fingerprint": fingerprint(certificate),
    }
    return {key: value for key, value in document.items() if value not in ("", [], None)}


def _constraints(certificate: x509.Certificate) -> list[str]:
    found = extension(certificate, x509.NameConstraints)
    return [] if found is None else [str(name.value) for name in found.value.permitted_subtrees or ()]


def describe_list(crl: x509.CertificateRevocationList) -> Document:
    """What a revocation list says."""
    return {
        "authority": crl.issuer.rfc4514_string(),
        "number": list_number(crl),
        "from": f"{crl.last_update_utc:%F %T} UTC",
        "until": "" if crl.next_update_utc is None else f"{crl.next_update_utc:%F %T} UTC",
        "revoked": [f"{entry.serial_number:x} since {entry.revocation_date_utc:%F %T} UTC" for entry in crl],
    }


def print_documents(documents: Sequence[Document], format_: str) -> None:
    """Print documents one after the other, as aligned lines or as JSON."""
    if format_ == "json":
        print_json(list(documents))
        return
    console = results()
    for number, document in enumerate(documents):
        if number:
            console.print()
        width = max(map(len, document)) + 2
        for key, value in document.items():
            lines = [str(one) for one in value] if isinstance(value, list) else [str(value)]
            for place, line in enumerate(lines or ["none"]):
                label = key if place == 0 else ""
                console.print(f"[bold]{label:{width}}[/bold]{escape(line)}")


def print_json(documents: list[Document]) -> None:
    """Print documents as one JSON array."""
    results().print(json.dumps(documents, indent=1), markup=False, soft_wrap=True)
