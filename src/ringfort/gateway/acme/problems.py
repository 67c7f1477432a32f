"""What goes wrong between an ACME client and the server, as the client reads it (RFC 8555, 6.7; RFC 9457)."""

from __future__ import annotations

from enum import StrEnum

from ringfort.errors import RingfortError

PREFIX = "urn:ietf:params:acme:error:"


class Kind(StrEnum):
    """Kinds of problems (RFC 8555, 6.7), each with the status of its answer."""

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CONNECTION = "connection"
    INCORRECT_RESPONSE = "incorrectResponse"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"


STATUSES = {
    Kind.ORDER_NOT_READY: 403,
    Kind.RATE_LIMITED: 429,
    Kind.REJECTED_IDENTIFIER: 403,
    Kind.SERVER_INTERNAL: 500,
    Kind.UNAUTHORIZED: 403,
}


class AcmeError(RingfortError):
    """A request that isn't fulfilled.

    Args:
        detail: for a person; it goes to the client, so it says nothing about others.
        status: of the answer, where it is not that of the kind.
        retry_after: seconds after which it may be tried again; 0 says nothing of it.
    """

    def __init__(self, kind: Kind, detail: str, status: int = 0, retry_after: int = 0) -> None:
        super().__init__(f"acme-{kind.value}", detail)
        self.kind = kind
        self.status = status or STATUSES.get(kind, 400)
        self.retry_after = retry_after

    def document(self) -> dict[str, object]:
        """As it is sent, or kept with a challenge that failed."""
        return {"type": f"{PREFIX}{self.kind.value}", "detail": self.message, "status": self.status}


def malformed(detail: str, status: int = 0) -> AcmeError:
    """A request that isn't one."""
    return AcmeError(Kind.MALFORMED, detail, status)
