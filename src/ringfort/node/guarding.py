"""Where the files of a host's enforcement point are, and its configuration. Pure.

What must outlive the machine's restart - keys, certificates, lists - is in the state directory; what HAProxy runs with
is in the runtime directory, whose name is short.
"""

from __future__ import annotations

from pathlib import Path

from ringfort.environment.topology import interface_name
from ringfort.gateway.haproxy import Configuration, Files, Guarded, render
from ringfort.node.membership import lists_file, roots_file
from ringfort.node.policy import Guard


def files(state: Path, runtime: Path, host: str, account: str) -> Files:
    """The files of one host's enforcement point.

    Args:
        account: see `ringfort.gateway.haproxy.Files`.

    Raises:
        ValueError: a directory has a name that cannot stand in HAProxy's configuration.
    """
    identity = state / "identity"
    return Files(str(runtime / interface_name(host)), str(roots_file(identity)), str(lists_file(identity)), account)


def services(state: Path) -> Path:
    """The directory of services' keys and certificates."""
    return state / "services"


def certificate(state: Path, host: str, service: str) -> Path:
    """Key and certificate of a service on a host, in one PEM file."""
    return services(state) / f"{service}@{host}.pem"


def configuration(guard: Guard, state: Path, host: str, own: Files) -> Configuration:
    """What HAProxy runs with."""
    guarded = [Guarded(one, guard.addresses, str(certificate(state, host, one.service))) for one in guard.checks]
    return render(guarded, own)
