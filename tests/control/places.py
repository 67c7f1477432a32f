"""Places for customers' instances at a controller under test, published and signed like everything else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ringfort.control.client import Client
from ringfort.environment.load import load_text
from ringfort.errors import RingfortError
from tests.control.publications import Approvers
from tests.control.running import Ground, Running
from tests.control.shops import Customer
from tests.environment.declare import edited

HYPERVISORS = """\
      metal: {tier: hypervisor, networks: [10.1.7.0/24, "fd00:1:0:7::/64"]}
  south:
"""
SERVICE = """\
  guests: {protocol: tcp, ports: [8080-8087], tls: mutual}
flows:
"""


@dataclass
class Places:
    """What a ground's environment declares; each change is a version of its own."""

    ground: Ground
    approvers: Approvers = field(init=False)
    hosts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.approvers = Approvers(self.ground)

    def withdraw(self, controller: Running, *names: str) -> None:
        """Declare these hosts no longer."""
        for name in names:
            del self.hosts[name]
        self.publish(controller)

    def publish(self, controller: Running) -> None:
        """Put in force what is declared."""
        controller.operator("nora").call("POST", "/v1/environment/publications", self.form(), reason="CHG-1")

    def form(self) -> dict[str, str]:
        """What is declared, signed, as it is sent."""
        hosts = "".join(f"  {name}: {said}\n" for name, said in self.hosts.items())
        text = edited(("  south:\n", HYPERVISORS), ("groups:\n", f"{hosts}groups:\n"), ("flows:\n", SERVICE))
        self.approvers.environment = load_text(text)
        return self.approvers.next() if self.approvers.last else self.approvers.first()

    def hypervisor(self, controller: Running, name: str, customers: str) -> Client:
        """A node with places for these customers, alive; as a client."""
        self.add(name, customers)
        self.publish(controller)
        node, _ = controller.enrol(name)
        beat(node, name)
        return node

    def add(self, node: str, customers: str) -> None:
        """Declare a node and a place on it for each time that a customer is named."""
        self.hosts[node] = "{site: north, segment: metal}"
        there = sum(host.startswith(f"{node}-p") for host in self.hosts)
        for number, customer in enumerate(customers.split(), there):
            said = f"site: north, segment: guests, hypervisor: {node}, customer: {customer}, services: [guests]"
            self.hosts[f"{node}-p{number}"] = f"{{{said}}}"


def beat(node: Client, name: str, *said: dict[str, Any], **more: Any) -> None:  # noqa: ANN401  # JSON
    """A sign of life of a node."""
    node.call("POST", f"/v1/nodes/{name}/instances", {"instances": list(said), **more})


def placed(shop: Customer, count: int, name: str = "web") -> list[str]:
    """An application's instances, as soon as so many have a place."""

    def there() -> list[str] | None:
        shown = shop.get(f"/applications/{name}")["instances"]
        return [one["instance"] for one in shown] if sum(bool(one["place"]) for one in shown) == count else None

    found: list[str] = until(there)
    return found


def until(what: Callable[[], Any], seconds: float = 30) -> Any:  # noqa: ANN401  # whatever it is
    """What comes true in time."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)
    return found


class Nodes:
    """Nodes that give signs of life until one is silenced."""

    def __init__(self, controller: Running, places: Places, **customers: str) -> None:
        self.clients: dict[str, Client] = {}
        self.room: dict[str, dict[str, int]] = {}
        self._silent: set[str] = set()
        self._stop = threading.Event()
        for name, whose in customers.items():
            places.add(name, whose)
        places.publish(controller)
        for name in customers:
            self.clients[name] = controller.enrol(name)[0]
            beat(self.clients[name], name)
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        while not self._stop.wait(0.3):
            for name, client in self.clients.items():
                if name not in self._silent:
                    with contextlib.suppress(RingfortError):  # it is no hypervisor at the moment, or revoked
                        beat(client, name, *self.said(client, name), room=self.room.get(name))

    @staticmethod
    def said(client: Client, name: str) -> list[dict[str, Any]]:
        """All that a node is told runs."""
        wanted = client.get(f"/v1/nodes/{name}/instances")["instances"]
        return [
            {key: one[key] for key in ("instance", "deployment", "settings")} | {"state": "running"} for one in wanted
        ]

    def silence(self, name: str) -> None:
        self._silent.add(name)

    def wake(self, name: str) -> None:
        self._silent.discard(name)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)


def shown(shop: Customer) -> list[tuple[str, str]]:
    """Place and state of each instance."""
    return [(one["place"], one["state"]) for one in shop.get("/applications/web")["instances"]]


def events(controller: Running, kind: str, about: str) -> list[dict[str, Any]]:
    found = controller.operator("nora").get("/v1/events?limit=1000")["events"]
    return [one for one in found if one["kind"] == kind and about in str(one)]


def records(controller: Running, about: str) -> list[dict[str, Any]]:
    found = controller.operator("aude").get(f"/v1/audit/records?limit=1000&object={about}")["records"]
    return [one["record"] | {"who": one["who"], "action": one["action"]} for one in found]
