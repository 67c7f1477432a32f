"""The applications that stand beside an environment, and how they came out when a lab ran them.

``applications/CUSTOMER/`` holds what that customer deploys: a folder for each application.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringfort.compute.application import Application, load
from ringfort.lab.visiting import Load


@dataclass(frozen=True, slots=True)
class Planned:
    """An application that a customer wants to run."""

    customer: str
    folder: Path
    application: Application

    @property
    def name(self) -> str:
        """As in its app.yaml."""
        return self.application.application


@dataclass(slots=True)
class Shown:
    """How one of them came out.

    Attributes:
        deployment: its version. ``is_new``: it was deployed by this ``up``.
        names: its public names; ``places`` where its instances run; ``sites`` how many of the gateway's addresses
            answered under every name.
        seconds: from ``deploy`` to the first answer over HTTPS; 0.0 when it ran before.
        load: what came of the requests during its update; None when it wasn't updated.
    """

    name: str
    customer: str
    deployment: int = 0
    is_new: bool = False
    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    sites: int = 0
    seconds: float = 0.0
    load: Load | None = None


@dataclass(slots=True)
class Applications:
    """How all of them came out. ``barred``: what was tried and refused, as it must be. ``troubles``: what is wrong."""

    shown: list[Shown] = field(default_factory=list)
    barred: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For ``--format json``."""
        return {
            "applications": [_to_json(one) for one in self.shown],
            "refused": self.barred,
            "troubles": self.troubles,
            "seconds": round(self.seconds, 3),
        }


def _to_json(one: Shown) -> dict[str, Any]:
    load = one.load
    return {
        "customer": one.customer,
        "name": one.name,
        "deployment": one.deployment,
        "new": one.is_new,
        "public-names": list(one.names),
        "places": list(one.places),
        "addresses": one.sites,
        "first-answer-seconds": round(one.seconds, 3),
        "update": None if load is None else {
            "requests": load.requests, "failed": load.failed,
            "slowest-seconds": round(load.slowest, 3), "seconds": round(load.seconds, 3),
        },
    }  # fmt: skip


def planned(directory: Path) -> tuple[Planned, ...]:
    """What stands beside the environment in this directory; nothing where there is no ``applications``.

    Raises:
        DeclarationError: an app.yaml is wrong.
    """
    folders = sorted(file.parent for file in directory.glob("applications/*/*/app.yaml"))
    return tuple(Planned(folder.parent.name, folder, load(folder)) for folder in folders)
