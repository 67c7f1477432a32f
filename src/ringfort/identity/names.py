"""SPIFFE names as Ringfort uses them: ``spiffe://TRUST-DOMAIN/ROLE/NAME``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ringfort.identity.errors import IdentityError

SCHEME = "spiffe"
LONGEST = 2048
"""Bytes of a SPIFFE ID (SPIFFE-ID, 2.3)."""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_TRUST_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Role(StrEnum):
    """What the bearer of a name is. ``enrolment`` bears a token: it may become a node, once, and do nothing else."""

    NODE = "node"
    SERVICE = "service"
    CONTROLLER = "controller"
    OPERATOR = "operator"
    WITNESS = "witness"
    ENROLMENT = "enrolment"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A name that a certificate proves. An Identity that exists is well-formed.

    Raises:
        IdentityError: the trust domain or the name is not well-formed.
    """

    trust_domain: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        check_trust_domain(self.trust_domain)
        if not _NAME.fullmatch(self.name) or self.name in {".", ".."}:
            # SPIFFE-ID, 2.2: letters, digits, dot, dash and underscore, no relative segments
            raise IdentityError("identity-name", f"{self.name!r} is not a name", "letters, digits, '.', '-' and '_'")
        if len(self.uri) > LONGEST:
            raise IdentityError("identity-name", f"the name is longer than {LONGEST} bytes (SPIFFE-ID, 2.3)")

    @property
    def uri(self) -> str:
        """The name as it stands in certificates."""
        return f"{SCHEME}://{self.trust_domain}/{self.role}/{self.name}"

    def __str__(self) -> str:
        return self.uri


def parse(uri: str) -> Identity:
    """The name that a URI is.

    Raises:
        IdentityError: it is not a SPIFFE ID (SPIFFE-ID, 2), or not of the form that Ringfort uses.
    """
    scheme, separator, rest = uri.partition("://")
    if scheme != SCHEME or not separator:
        raise IdentityError("identity-name", f"{uri[:100]!r} is not a SPIFFE ID", f"write {_FORM}")
    parts = rest.split("/")
    if len(parts) != 3 or parts[1] not in set(Role):
        raise IdentityError("identity-name", f"{uri[:100]!r} has no role and name", f"write {_FORM}, {_ROLES}")
    trust_domain, role, name = parts
    return Identity(trust_domain, Role(role), name)


_FORM = "spiffe://TRUST-DOMAIN/ROLE/NAME"
_ROLES = f"with one of {', '.join(Role)} for ROLE"


def check_trust_domain(trust_domain: str) -> str:
    """The trust domain itself, here a DNS name in lower case, so that it can be a name constraint (RFC 5280, 4.2.1.10).

    Raises:
        IdentityError: it is not one.
    """
    if len(trust_domain) > 253 or not _TRUST_DOMAIN.fullmatch(trust_domain):
        message = f"{trust_domain[:100]!r} is not a trust domain"
        raise IdentityError("identity-trust-domain-name", message, "write it like 'shop.example'")
    return trust_domain
