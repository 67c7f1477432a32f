"""A gateway host and two places in namespaces, a real controller, real enforcement points, and the node's gateway."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ringfort.control.client import Client as Caller
from ringfort.environment.load import load_text
from ringfort.gateway import process
from ringfort.gateway.acme import files
from ringfort.gateway.edge.render import Place
from ringfort.gateway.haproxy import Files, Guarded, render
from ringfort.identity.names import Identity, Role
from ringfort.identity.store import write_credential
from ringfort.kernel.netns import inside
from ringfort.lab import netns
from ringfort.lab.state import write_private
from ringfort.network.identity import identity_checks
from ringfort.node import gateway, membership
from ringfort.node.client import Client
from ringfort.node.configuration import Configuration
from ringfort.node.gates import Gate, gate_of
from ringfort.node.gateway import Gateway
from ringfort.node.material import Material
from ringfort.node.membership import Membership, lists_file
from ringfort.node.services import Services
from tests.control.places import beat
from tests.control.publications import Approvers
from tests.control.running import DOMAIN, Ground, Running, running
from tests.control.shops import Customer, customer
from tests.environment.gatewayed import GATEWAYED
from tests.gateway.edges import Application, answer

TEXT = f"environment: gate{GATEWAYED}".replace("gate.example", DOMAIN).replace("10.10.", "10.1.")
ENVIRONMENT = load_text(TEXT.replace("fd00:10::", "fd00:1::"))
HOST, NODE, PLACES = "gate", "metal-1", ("acme-1", "acme-2")
ADDRESS = str(ENVIRONMENT.hosts[HOST].addresses[0])


def address(host: str) -> str:
    return str(ENVIRONMENT.hosts[host].addresses[0])


def until(what: Callable[[], Any], seconds: float = 10) -> Any:  # noqa: ANN401  # whatever it is
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return found


@dataclass
class World:
    """Everything; ``told`` is what the node would alert of."""

    directory: Path
    controller: Running
    metal: Caller
    acme: Customer
    spaces: dict[str, str]
    applications: dict[str, tuple[Application, ...]] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    gateway: Gateway | None = None
    parts: list[threading.Thread] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    member: Membership = field(init=False)
    services: Services = field(init=False)

    @property
    def place(self) -> Place:
        return Place(str(self.directory / "run" / "edge-gate"))

    @property
    def gate(self) -> Gate:
        found = gate_of(ENVIRONMENT, HOST)
        assert found is not None
        return found

    def begin(self) -> None:
        """What `ringfort.node.shell` does."""
        self.stop = threading.Event()
        state, material = self.directory / "state", Material()
        member = Membership(state / "identity", Identity(DOMAIN, Role.NODE, HOST), material.replaced)
        platform = self.controller.platform
        links = [Client(HOST, ((ip_address(platform.host), platform.port),), member.connect) for _ in range(2)]
        member.learn(links[0])
        services = Services(state, material, {})
        services.want({}, {HOST: self.gate})
        services.renew_if_due(links[0], member.bundle)
        links[0].close()
        self.member, self.services = member, services
        own = Configuration(
            HOST, DOMAIN, (), state, {f"host:{HOST}": self.spaces[HOST]}, runtime=self.directory / "run"
        )

        def drift(host: str, changes: tuple[str, ...]) -> None:
            self.told.append((host, f"drift: {', '.join(changes)}"))

        def alert(host: str, words: str) -> None:
            self.told.append((host, words))

        self.gateway = gateway.of(own, links[1], material, drift, alert, self.stop)
        self.parts = [threading.Thread(target=part) for part in (self.gateway.hear, self.gateway.serve)]
        for part in self.parts:
            part.start()
        self.gateway.want({HOST: self.gate})

    def end(self) -> None:
        """The node's end: what it serves goes on."""
        assert self.gateway is not None
        self.stop.set()
        self.gateway.ring()
        self.report("unhealthy")  # whoever waits for news gets some, so that no test waits
        self.report()
        for part in self.parts:
            part.join(30)

    def learn(self) -> None:
        """What the node's other threads do now and then: take the controller's lists."""
        platform = self.controller.platform
        link = Client(HOST, ((ip_address(platform.host), platform.port),), self.member.connect)
        try:
            self.member.learn(link)
        finally:
            link.close()

    def report(self, state: str = "running", *, but: dict[str, str] | None = None) -> None:
        """What the instances are, as their node says; ``but``: place -> another state."""
        shown = self.controller.operator("nora").get("/v1/instances")["instances"]
        said = [
            {
                "instance": one["instance"], "deployment": one["deployment"], "settings": 0,
                "state": (but or {}).get(one["place"], state),
            }
            for one in shown if one["place"]
        ]  # fmt: skip
        beat(self.metal, NODE, *said)

    def run(self, place: str, name: str) -> None:
        """Start an application behind a place's enforcement point, in place of the one that runs."""
        for application in self.applications.pop(place, ()):
            application.die()
        with inside(self.spaces[place]):
            self.applications[place] = tuple(Application(name, port) for port in (8080, 8081))

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.controller.ground.directory / "public/public-root.pem"))

    def visit(self, name: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A visitor's connection, its handshake made."""
        with inside(self.spaces[HOST]):
            opened = socket.create_connection((ADDRESS, 443), 5)
        try:
            return (context or self.context).wrap_socket(opened, server_hostname=name)
        except BaseException:
            opened.close()
            raise

    def asked(self, name: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
        """Status and body of a visit of its own; 0 when there is no handshake."""
        try:
            with self.visit(name, context) as visit:
                visit.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                status, _, body = answer(visit)
                return status, body
        except OSError:
            return 0, b""


@contextmanager
def world(number: int) -> Iterator[World]:
    directory = Path(tempfile.mkdtemp(prefix="ringfort-gate-"))
    spaces = {host: f"c{number}-{host}" for host in (HOST, *PLACES)}
    ground = Ground(directory / "control")
    (directory / "control").mkdir() if not (directory / "control").exists() else None
    now = datetime.now(UTC)
    files.create(ground.directory / "public", "tests", ["acme.example"], b"a passphrase for tests", now)
    settings = ground.settings()
    settings.write_text(f'public_authority = "public"\n{settings.read_text()}')
    points: list[Files] = []
    try:
        _wire(spaces, f"c{number}")
        with running(ground) as controller:
            publication = Approvers(ground, environment=ENVIRONMENT).first()
            controller.operator("nora").call("POST", "/v1/environment/publications", publication, reason="CHG-1")
            _, credential = controller.enrol(HOST)
            metal, _ = controller.enrol(NODE)
            made = World(directory, controller, metal, customer(controller, directory, "acme"), spaces)
            membership.create(directory / "state" / "identity", credential, ground.store.bundle())
            beat(metal, NODE)
            made.begin()
            points += [guard(made, place) for place in PLACES]
            try:
                yield made
            finally:
                made.end()
                process.end(made.place)
                for application in (one for ones in made.applications.values() for one in ones):
                    application.close()
    finally:
        for point in points:
            process.end(point)
        for name in spaces.values():
            netns.delete(name)
        shutil.rmtree(directory)


def _wire(spaces: dict[str, str], name: str) -> None:
    """The gateway host and places on wires of their own, without anything in between."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    for space in spaces.values():
        netns.create(space, name)
        ip("-n", space, "link", "set", "lo", "up")
    ip("-n", spaces[HOST], "addr", "add", f"{ADDRESS}/32", "dev", "lo")
    for number, place in enumerate(PLACES):
        here = spaces[place]
        ip("-n", spaces[HOST], "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", here)
        ip("-n", here, "addr", "add", f"{address(place)}/32", "dev", "eth0")
        for space, device in ((spaces[HOST], f"to{number}"), (here, "eth0")):
            ip("-n", space, "link", "set", device, "up")
        ip("-n", spaces[HOST], "route", "add", f"{address(place)}/32", "dev", f"to{number}", "src", ADDRESS)
        ip("-n", here, "route", "add", f"{ADDRESS}/32", "dev", "eth0")


def guard(made: World, place: str) -> Files:
    """The enforcement point of a place, as its node runs it; with a new certificate."""
    (check,) = [one for one in identity_checks(ENVIRONMENT)[place] if one.service == "guests"]
    own = made.directory / f"{place}.pem"
    credential = made.controller.ground.credential(Role.SERVICE, "guests", address(place))
    write_credential(own, credential)
    state = made.directory / "state" / "identity"
    point = Files(str(made.directory / "run" / place), str(state / "roots.pem"), str(lists_file(state)))
    guarded = Guarded(check, (ip_address(address(place)),), str(own))
    with inside(made.spaces[place]):
        process.apply(render([guarded], point), point, write_private)
    return point
