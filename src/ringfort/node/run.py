"""A node's process, put together from its configuration."""

from __future__ import annotations

import signal
from pathlib import Path

from ringfort.identity.names import Identity, Role
from ringfort.node import configuration as configurations
from ringfort.node.client import Client
from ringfort.node.configuration import Configuration
from ringfort.node.disk import Disk
from ringfort.node.membership import Membership
from ringfort.node.ports import Controller
from ringfort.node.shell import Links, Shell


def identity(configuration: Configuration) -> Identity:
    """The name that a node's certificate has to prove."""
    return Identity(configuration.trust_domain, Role.NODE, configuration.name)


def run(path: Path) -> None:
    """Run the node of a configuration file until SIGTERM or SIGINT.

    Raises:
        RingfortError: the configuration is wrong, the node is not enrolled, or another process is this node already.
    """
    configuration = configurations.read(path)
    disk = Disk(configuration.state)
    shell = Shell(configuration, disk, links(configuration, disk))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shell.end())
    shell.run()


def links(configuration: Configuration, disk: Disk) -> Links:
    """How a node that is enrolled speaks with its controllers."""
    membership = Membership(disk.identity, identity(configuration))

    def client() -> Client:
        return Client(configuration.name, configuration.controllers, membership.connect)

    def renew(controller: Controller) -> None:
        assert isinstance(controller, Client)
        membership.renew_if_due(controller)

    return Links(client(), client(), renew, membership.expires)
