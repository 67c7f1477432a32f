"""A lab's witness, who cosigns the audit log."""

from __future__ import annotations

from ringfort.audit import keys as audit_keys
from ringfort.audit.notes import COSIGNATURE, ED25519
from ringfort.lab import processes
from ringfort.lab.plane import Plane, literal

NAMES = ("witness-4", "witness-6")
"""Of its processes, one for each family of addresses; they share what they remember."""


def start(plane: Plane) -> None:
    """Start what doesn't run of it, with keys of its own and of the log."""
    host, port = plane.serving(plane.control.witness)
    log, own = plane.directory / "audit.key", plane.directory / "witness.key"
    domain = plane.environment.trust_domain
    if not log.exists():
        audit_keys.make(log, f"{domain}/audit", ED25519)
    if not own.exists():
        audit_keys.make(own, f"{domain}/witness/{host}", COSIGNATURE)
    for address in plane.addresses(plane.control.witness):
        name = f"witness-{address.version}"
        if processes.running(plane, name) is not None:
            continue
        words = ["witness", "--key", str(own), "--log", str(audit_keys.read(log, ED25519).public())]
        words += ["--state", str(plane.directory / "witness"), "--listen", f"{literal(address)}:{port}"]
        words += ["--credential", plane.credential(plane.control.witness), "--bundle", plane.bundle]
        processes.start(plane, name, host, words)
