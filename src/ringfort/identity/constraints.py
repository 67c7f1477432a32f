"""URI name constraints (RFC 5280, 4.2.1.10), which the library we verify chains with does not know.

It refuses every chain in which a constrained authority and a URI meet, whatever they say. So the URI subtrees are
checked here, and the library is given the rest of the authority's constraints (`ringfort.identity.verification`).
"""

from __future__ import annotations

import re

from cryptography import x509

from ringfort.identity.errors import IdentityRefused, Refusal

CLAUSE = "RFC 5280, 4.2.1.10"

_HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[a-z0-9.-]+)(?::\d*)?(?:[/?#].*)?", re.IGNORECASE)


def host_of(uri: str) -> str | None:
    """The host of a URI in lower case, or None where it has none that is a name ("must be rejected")."""
    match = _HOST.fullmatch(uri)
    if match is None:
        return None
    host = match["host"].lower()
    labels = host.split(".")
    return None if not all(labels) or labels[-1].isdigit() else host


def within(host: str, constraint: str) -> bool:
    """Whether a host satisfies a subtree: the host itself, or with a leading period any longer name below it."""
    wanted = constraint.lower()
    if wanted.startswith("."):
        return host.endswith(wanted) and len(host) > len(wanted)
    return host == wanted


def check_kinds(constraints: x509.NameConstraints) -> None:
    """Check that an authority constrains nothing but URIs and addresses, the names that are verified here.

    Raises:
        IdentityRefused: another kind of name is constrained ("must either process the constraint or reject").
    """
    for name in (*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ())):
        if not isinstance(name, x509.UniformResourceIdentifier | x509.IPAddress):
            message = f"the issuing authority's constraints are about a {type(name).__name__} too"
            raise IdentityRefused(Refusal.CONSTRAINTS, message, CLAUSE)


def check_uris(names: list[str], constraints: x509.NameConstraints) -> None:
    """Check URIs against an authority's URI subtrees.

    Raises:
        IdentityRefused: one is outside the permitted subtrees, inside an excluded one, or has no host to compare.
    """
    permitted, excluded = _subtrees(constraints.permitted_subtrees), _subtrees(constraints.excluded_subtrees)
    if not permitted and not excluded:
        return
    for name in names:
        host = host_of(name)
        if host is None:
            raise IdentityRefused(Refusal.CONSTRAINTS, f"{name[:200]!r} has no host to constrain", CLAUSE)
        if any(within(host, subtree) for subtree in excluded):
            raise IdentityRefused(Refusal.CONSTRAINTS, f"{name[:200]!r} is excluded for its issuer", CLAUSE)
        if permitted and not any(within(host, subtree) for subtree in permitted):
            raise IdentityRefused(Refusal.CONSTRAINTS, f"{name[:200]!r} is not permitted to its issuer", CLAUSE)


def without_uris(constraints: x509.NameConstraints) -> x509.NameConstraints | None:
    """The constraints less their URI subtrees; None when nothing is left."""
    permitted, excluded = _others(constraints.permitted_subtrees), _others(constraints.excluded_subtrees)
    return x509.NameConstraints(permitted or None, excluded or None) if permitted or excluded else None


def _subtrees(names: list[x509.GeneralName] | None) -> list[str]:
    return [name.value for name in names or () if isinstance(name, x509.UniformResourceIdentifier)]


def _others(names: list[x509.GeneralName] | None) -> list[x509.GeneralName]:
    return [name for name in names or () if not isinstance(name, x509.UniformResourceIdentifier)]
