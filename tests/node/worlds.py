"""A machine with three devices in namespaces of their own, its node as a real process, and a controller."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from tuf.api.metadata import Metadata, Targets

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from ringfort.environment.serialise import to_bytes
from ringfort.environment.topology import devices_by_machine
from ringfort.identity.authority import Issuer, Root
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.names import Identity, Role
from ringfort.identity.revocation import Revoked, sign_list
from ringfort.kernel import nft
from ringfort.lab import netns
from ringfort.network.compile import compile_device
from ringfort.node import membership
from ringfort.node.policy import closed_policy, digest
from ringfort.publishing.metadata import Holders, first_root, next_targets
from ringfort.publishing.repository import Publication, Repository
from ringfort.publishing.trust import Trust
from tests.node.controllers import Controller
from tests.publishing.house import House, signed, signer

DOMAIN = "node.example"
MACHINE = "blade"
numbers = count()

DECLARATION = """
environment: {name}
trust-domain: node.example
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [{{name: r1, machine: blade}}]
    segments:
      back: {{tier: back-end, networks: [10.10.2.0/24], machine: blade}}
hosts:
  app: {{site: north, segment: back, services: [app], machine: blade}}
  peer: {{site: north, segment: back}}
services:
  app: {{protocol: tcp, ports: [8443, {port}], tls: mutual}}
flows:
  - {{from: "host:peer", to: app}}
"""


def environment(directory: Path, number: int) -> Environment:
    """An environment in which the rules of the router and of the host differ from those of any other number."""
    path = directory / "environment.yaml"
    path.write_text(DECLARATION.format(name="node-test", port=10_000 + number))
    return load(path)


@cache
def authority() -> tuple[Root, Issuer, Bundle]:
    now = datetime.now(UTC)
    root = Root.create(DOMAIN, now)
    issuer = root.issuer("north", [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")], now)
    return root, issuer, Bundle.of([root.certificate, issuer.certificate])


def lists(*entries: Revoked, number: int = 1) -> bytes:
    """The revocation lists of both authorities, with these entries."""
    root, issuer, _ = authority()
    now = datetime.now(UTC)
    signed_by = [sign_list(one, number, entries, now) for one in (root, issuer)]
    return b"".join(crl.public_bytes(Encoding.PEM) for crl in signed_by)


def credential(
    role: Role = Role.NODE, name: str = MACHINE, address: str = "127.0.0.1", lifetime: timedelta = timedelta(hours=12)
) -> Credential:
    _, issuer, _ = authority()
    key = new_key()
    leaf = issuer.issue(
        Identity(DOMAIN, role, name), [ip_address(address)], key.public_key(), datetime.now(UTC), lifetime
    )
    return Credential(key, (leaf, issuer.certificate))


class World:
    """One machine; ``spaces`` maps its devices, in words, to their namespaces."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"n{os.getpid()}-{next(numbers)}"
        devices = devices_by_machine(environment(directory, 1))[MACHINE]
        self.spaces = {str(device): f"rf-{self.name}.{device.kind[0]}" for device in devices}
        self.devices = devices
        _, issuer, bundle = authority()
        self.house = house(directory)
        self.controller = Controller(self.house.directory, issuer, bundle)
        self.controller.lists = lists()
        self.state = directory / "state"
        self.runtime = directory / "run"
        self.configuration = directory / "node.toml"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.configure()

    def configure(self, **more: str) -> None:
        lines = [
            f'name = "{MACHINE}"',
            f'trust-domain = "{DOMAIN}"',
            f'controllers = ["127.0.0.1:{self.controller.port}"]',
            f'state = "{self.state}"',
            "sysctl = false" if "sysctl" not in more else "",
            'enforcement-point = ""' if "enforcement-point" not in more else "",
            f'runtime = "{self.runtime}"',
            *(f"{key} = {value}" for key, value in more.items()),
            "[devices]",
            *(f'"{device}" = "{space}"' for device, space in self.spaces.items()),
        ]
        self.configuration.write_text("\n".join(lines) + "\n")

    def enrol(self, lifetime: timedelta = timedelta(hours=12)) -> None:
        """Put what enrolment would have put."""
        _, _, bundle = authority()
        membership.create(self.state / "identity", credential(lifetime=lifetime), bundle)
        Trust.pin(self.state / "trust", self.house.metadata("1.root.json").read_bytes())

    # --- publishing ---

    def text(self, number: int) -> bytes:
        return to_bytes(environment(self.directory, number))

    def targets(self, number: int) -> Metadata[Targets]:
        old = self.house.repository.published().targets
        return next_targets(old.signed if old else None, self.text(number), {"reason": "test"}, datetime.now(UTC))

    def publish(self, number: int, *, tell: bool = True) -> None:
        """Publish environment ``number`` as that version, and tell whoever waits."""
        document = signed(self.targets(number), *self.house.of("alice", "bob"))
        publication = Publication(targets=document, environment=self.text(number))
        assert self.house.repository.publish(publication, self.house.online, datetime.now(UTC)) == number
        if tell:
            self.controller.version = number

    def published(self, number: int) -> bool:
        targets = self.house.repository.published().targets
        return targets is not None and targets.signed.version >= number

    # --- the process ---

    def start(self) -> subprocess.Popen[bytes]:
        log = (self.directory / "node.log").open("ab")
        with log:
            command = [sys.executable, "-m", "ringfort.node", str(self.configuration)]
            process = subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def kill(self) -> None:
        self.processes[-1].send_signal(signal.SIGKILL)
        self.processes[-1].wait()

    def stop(self) -> int:
        self.processes[-1].send_signal(signal.SIGTERM)
        return self.processes[-1].wait(10)

    def log(self) -> str:
        path = self.directory / "node.log"
        return path.read_text() if path.exists() else ""

    # --- the kernel ---

    def digests(self) -> dict[str, str]:
        return {device: digest(nft.ruleset(space)) for device, space in self.spaces.items()}

    def wanted(self, number: int) -> dict[str, str]:
        """What the devices hold under environment ``number``; 0: nothing but the way to the controllers."""
        if number == 0:
            closed = closed_policy(self.devices, [(ip_address("127.0.0.1"), self.controller.port)])
            return {str(part.device): part.digest for part in closed.parts}
        known = environment(self.directory, number)
        return {str(device): digest(compile_device(known, device).document) for device in self.devices}

    def holds(self, number: int) -> bool:
        return self.digests() == self.wanted(number)

    def until(self, what: Callable[[], bool], seconds: float = 10.0) -> float:
        """Wait until ``what`` is true; how long it took."""
        begin = time.monotonic()
        while not what():
            assert time.monotonic() < begin + seconds, self.log()[-3000:]
            time.sleep(0.02)
        return time.monotonic() - begin

    def close(self) -> None:
        print(self.log()[-5000:])  # a test that fails shows it
        with contextlib.suppress(OSError):
            print((self.state / "status.json").read_text())
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.controller.close()
        for space in self.spaces.values():
            netns.delete(space)


@contextmanager
def world(directory: Path, *, enrolled: bool = True, made: World | None = None) -> Iterator[World]:
    made = made or World(directory)
    netns.prepare_directory()
    for space in made.spaces.values():
        netns.create(space, made.name)
    try:
        if enrolled:
            made.enrol()
        yield made
    finally:
        made.close()


def house(directory: Path) -> House:
    now = datetime.now(UTC) - timedelta(minutes=5)
    keys = {"alice": signer(), "bob": signer("p-256"), "carol": signer()}
    online = signer("p-256")
    holders = Holders({name: key.public_key for name, key in keys.items()}, 2, online.public_key)
    root = signed(first_root(holders, now), keys["alice"], keys["carol"])
    repository = directory / "repository"
    Repository(repository).publish(Publication(root=root), online, now)
    return House(repository, keys, online, Trust(directory / "nobody"))
