"""A node's process, put together from its configuration."""

from __future__ import annotations

import gc
import signal
import ssl
import threading
from pathlib import Path

from ringfort.environment.model import Address
from ringfort.errors import RingfortError
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import Identity, Role
from ringfort.node import configuration as configurations
from ringfort.node.client import Client
from ringfort.node.configuration import Configuration
from ringfort.node.disk import Disk
from ringfort.node.material import Material
from ringfort.node.membership import Membership
from ringfort.node.ports import Controller, Desired
from ringfort.node.services import Services
from ringfort.node.shell import Links, Shell


def identity(configuration: Configuration) -> Identity:
    """The name that a node's certificate has to prove."""
    return Identity(configuration.trust_domain, Role.NODE, configuration.name)


def run(path: Path) -> None:
    """Run the node of a configuration file until SIGTERM or SIGINT.

    Raises:
        RingfortError: the configuration is wrong, or another process is this node already.
    """
    configuration = configurations.read(path)
    disk = Disk(configuration.state)
    material = Material()
    services = Services(configuration.state, material, configuration.certificates)
    member = _Member(disk.identity, identity(configuration), material, services)

    def client() -> Client:
        return Client(configuration.name, configuration.controllers, member.connect)

    links = Links(client(), client(), member.renew, member.learn, member.expires, client)
    shell = Shell(configuration, disk, links, services, material)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shell.end())
    gc.collect()
    gc.freeze()  # what is loaded now stays: looking for cycles in it again and again would be most of the work
    shell.run()


class _Member:
    """The node's identity, from the moment that it has one: a node that is not enrolled yet refuses everything, too.

    One that is enrolled anew while it runs has another from then on.
    """

    def __init__(self, directory: Path, own: Identity, material: Material, services: Services) -> None:
        self._directory, self._own = directory, own
        self._material, self._services = material, services
        self._lock = threading.Lock()
        self._membership: Membership | None = None
        self._mark: tuple[int, int] | None = None

    def connect(self, address: Address, port: int, seconds: float) -> ssl.SSLSocket:
        return self._enrolled().connect(address, port, seconds)

    def renew(self, controller: Controller) -> None:
        member = self._enrolled()
        member.renew_if_due(controller)
        self._services.renew_if_due(controller, member.bundle)

    def learn(self, controller: Controller, desired: Desired) -> None:
        self._enrolled().learn(controller, desired.bundle)

    def expires(self) -> str:
        return self._membership.expires() if self._membership is not None else ""

    def _enrolled(self) -> Membership:
        with self._lock:
            mark = self._found()
            if self._membership is None or mark != self._mark:
                try:
                    self._membership = Membership(self._directory, self._own, self._material.replaced)
                except IdentityError as error:
                    raise RingfortError("not-enrolled", f"this node is not enrolled: {error.message}") from error
                self._mark = mark
            return self._membership

    def _found(self) -> tuple[int, int] | None:
        """What tells that the certificate on the disk is another one."""
        try:
            found = (self._directory / "node.pem").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
