"""A node's process, put together from its configuration."""

from __future__ import annotations

import contextlib
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
from ringfort.node.errors import ControllerError
from ringfort.node.membership import Membership
from ringfort.node.ports import Controller
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
    member = _Member(disk.identity, identity(configuration))

    def client() -> Client:
        return Client(configuration.name, configuration.controllers, member.connect)

    shell = Shell(configuration, disk, Links(client(), client(), member.renew, member.expires))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shell.end())
    gc.collect()
    gc.freeze()  # what is loaded now stays: looking for cycles in it again and again would be most of the work
    shell.run()


class _Member:
    """The node's identity, from the moment that it has one: a node that is not enrolled yet refuses everything, too."""

    def __init__(self, directory: Path, own: Identity) -> None:
        self._directory, self._own = directory, own
        self._lock = threading.Lock()
        self._membership: Membership | None = None

    def connect(self, address: Address, port: int, seconds: float) -> ssl.SSLSocket:
        return self._enrolled().connect(address, port, seconds)

    def renew(self, controller: Controller) -> None:
        assert isinstance(controller, Client)
        self._enrolled().renew_if_due(controller)
        with contextlib.suppress(ControllerError):  # it is asked again; a report must not fail for that
            self._enrolled().learn_if_due(controller)

    def expires(self) -> str:
        return self._membership.expires() if self._membership is not None else ""

    def _enrolled(self) -> Membership:
        with self._lock:
            if self._membership is None:
                try:
                    self._membership = Membership(self._directory, self._own)
                except IdentityError as error:
                    raise RingfortError("not-enrolled", f"this node is not enrolled: {error.message}") from error
            return self._membership
