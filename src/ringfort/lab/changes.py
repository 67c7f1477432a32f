"""What an ``up`` or ``down`` has changed, or (dry run) would change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Changes:
    """Counts are of things that differed; all empty means that nothing had to be done.

    Attributes:
        created, removed: names of namespaces.
        wired: what was done to links, addresses, routes, neighbours and sysctls, one line each.
        loaded: devices whose rules were loaded.
        certificates: how many keys were made.
        nodes_started: how many nodes were started; ``version`` the environment's that they hold, 0 without nodes.
        services: ``kept``, ``started`` or ``restarted``; ``stopped`` by ``down``; ``none`` when there are none.
    """

    is_dry_run: bool = False
    created: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    wired: list[str] = field(default_factory=list)
    wired_namespaces: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)
    loaded_namespaces: set[str] = field(default_factory=set)
    certificates: int = 0
    nodes_started: int = 0
    version: int = 0
    services: str = "kept"
    seconds: float = 0.0

    @property
    def devices_changed(self) -> int:
        """How many namespaces differed in any way."""
        return len({*self.created, *self.removed, *self.wired_namespaces, *self.loaded_namespaces})

    @property
    def is_nothing(self) -> bool:
        """Whether everything was as it should be."""
        return not self.devices_changed and not self.certificates and self.services in ("kept", "none")

    def to_json(self) -> dict[str, Any]:
        """For ``--format json``."""
        return {
            "dry-run": self.is_dry_run,
            "devices-changed": self.devices_changed,
            "namespaces-created": self.created,
            "namespaces-removed": self.removed,
            "wiring": self.wired,
            "rulesets-loaded": self.loaded,
            "certificates-issued": self.certificates,
            "services": self.services,
            "nodes-started": self.nodes_started,
            "version": self.version,
            "seconds": round(self.seconds, 3),
        }
