"""What can be wrong with names, keys and certificates, each with a stable code."""

from __future__ import annotations

from enum import StrEnum

from ringfort.errors import RingfortError


class IdentityError(RingfortError):
    """A name, a key, a file or a request that is not what it should be."""


class Refusal(StrEnum):
    """Why a certificate, or the connection it came on, is not accepted. Stable: alerts and searches name these."""

    PLAINTEXT = "identity-plaintext"
    OLD_TLS = "identity-tls-version"
    NO_CERTIFICATE = "identity-no-certificate"
    MALFORMED = "identity-malformed"
    OTHER_AUTHORITY = "identity-other-authority"
    NOT_YET_VALID = "identity-not-yet-valid"
    EXPIRED = "identity-expired"
    LIFETIME = "identity-lifetime"
    IS_AUTHORITY = "identity-is-authority"
    KEY_KIND = "identity-key-kind"
    KEY_USAGE = "identity-key-usage"
    NAMES = "identity-names"
    TRUST_DOMAIN = "identity-trust-domain"
    CONSTRAINTS = "identity-name-constraints"
    REVOKED = "identity-revoked"
    REVOCATION_UNKNOWN = "identity-revocation-unknown"
    WRONG_ROLE = "identity-wrong-role"
    WRONG_ADDRESS = "identity-wrong-address"
    PATH = "identity-path"


class IdentityRefused(IdentityError):  # noqa: N818  # a verdict, not a fault of ours
    """A certificate is not accepted.

    Args:
        refusal: which rule it breaks; its value is the error's ``code``.
        message: what is wrong with this certificate.
        clause: where the rule stands, such as ``RFC 5280, 4.1.2.5``.
    """

    exit_code = 1

    def __init__(self, refusal: Refusal, message: str, clause: str) -> None:
        super().__init__(refusal.value, message)
        self.refusal = refusal
        self.clause = clause

    def __str__(self) -> str:
        return f"{self.message} ({self.clause})"
