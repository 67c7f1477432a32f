"""Where a lab keeps keys and certificates: the names of files and of their holders. A reader needs no more."""

from __future__ import annotations

from pathlib import Path

from ringfort.environment.model import Flow

AUTHORITY, ROOT_FILE = "authority", "authority.pem"
LISTS_FILE = "revoked.pem"
"""The revocation lists of all authorities, for the enforcement points."""


def host_holder(host: str) -> str:
    """The name under which a host's own key is kept."""
    return f"@{host}"


def service_holder(service: str, host: str) -> str:
    """The name under which the key of a service on a host is kept."""
    return f"{service}@{host}"


def operator_holder(operator: str, host: str) -> str:
    """The name under which an operator's key for calls from a host is kept."""
    return f"operator.{operator}@{host}"


def holder_of(flow: Flow, caller: str) -> str:
    """Whose key a caller shows for a flow: its service's, its first operator's where it names some, or its own."""
    kind, _, name = flow.source.partition(":")
    if flow.operators:
        return operator_holder(flow.operators[0], caller)
    return service_holder(name, caller) if kind == "service" else host_holder(caller)


def key_file(directory: Path, holder: str) -> Path:
    """Key and certificate of a holder, in one PEM file."""
    return directory / f"{holder}.pem"
