"""A node whose own way to the controllers goes through the rules that it loads, with the rights that its unit gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from ringfort.environment.serialise import to_bytes
from ringfort.environment.topology import Device, DeviceKind, gateway_mac
from ringfort.gateway import process, readback
from ringfort.kernel import nft
from ringfort.lab import netns
from ringfort.network.compile import compile_device
from ringfort.node import guarding, membership
from ringfort.node.policy import digest
from ringfort.publishing.trust import Trust
from tests.node import worlds
from tests.node.controllers import Controller
from tests.node.worlds import authority, credential

pytestmark = pytest.mark.lab

NOBODY = 65534
UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "ringfort-node.service"

DECLARATION = """
environment: own-path
trust-domain: node.example
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [r1]
    segments:
      back: {{tier: back-end, networks: [10.10.2.0/24]}}
      care: {{tier: administration, networks: [10.10.3.0/24]}}
hosts:
  app: {{site: north, segment: back, services: [app]}}
  control: {{site: north, segment: care, services: [controller]}}
services:
  app: {{protocol: tcp, ports: [443], tls: mutual}}
  controller: {{protocol: tcp, ports: [9440], tls: mutual}}
flows:
  - {{from: "host:control", to: app}}
  {flow}
"""
WITH, WITHOUT = '- {from: "host:app", to: controller}', ""


def declared(directory: Path, flow: str) -> Environment:
    path = directory / "environment.yaml"
    path.write_text(DECLARATION.format(flow=flow))
    return load(path)


class Way(worlds.World):
    """Two namespaces: a host, whose own namespace the node runs in, and what is beyond its gateway."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"np{os.getpid()}-{next(worlds.numbers)}"
        self.host, self.beyond = f"rf-{self.name}.h", f"rf-{self.name}.b"
        self.spaces = {"host:app": self.host, "beyond": self.beyond}
        known = declared(directory, WITH)
        self.address, self.controllers = (str(known.hosts[name].addresses[0]) for name in ("app", "control"))
        netns.prepare_directory()
        for space in (self.host, self.beyond):
            netns.create(space, self.name)
        self._wire(known)
        self.house = worlds.house(directory)
        _, issuer, bundle = authority()
        with netns.inside(self.beyond):
            self.controller = Controller(self.house.directory, issuer, bundle, self.controllers, 9440)
        self.controller.lists = worlds.lists()
        self.state, self.runtime = directory / "state", directory / "run"
        membership.create(self.state / "identity", credential(name="app", address=self.address), bundle)
        Trust.pin(self.state / "trust", self.house.metadata("1.root.json").read_bytes())
        self.configuration = directory / "node.toml"
        self.configuration.write_text(
            f'name = "app"\ntrust-domain = "node.example"\ncontrollers = ["{self.controllers}:9440"]\n'
            f'state = "{self.state}"\nruntime = "{self.runtime}"\nconfirm-seconds = 3\n'
        )
        self.processes = []

    def _wire(self, known: Environment) -> None:
        gateway, mac = gateway_mac(known, "north/back"), known.hosts["app"].mac
        for words in (
            f"-n {self.host} link add eth0 address {mac} type veth peer name gw netns {self.beyond} address {gateway}",
            f"-n {self.host} addr add {self.address}/32 dev eth0",
            f"-n {self.host} link set eth0 up",
            f"-n {self.beyond} addr add {self.controllers}/32 dev lo",
            f"-n {self.beyond} link set gw up",
            f"-n {self.beyond} neigh add {self.address} lladdr {mac} dev gw",
            f"-n {self.beyond} route add {self.address} dev gw src {self.controllers}",
            f"-n {self.host} neigh add 10.10.2.1 lladdr {gateway} dev eth0",
            f"-n {self.host} route add default via 10.10.2.1 dev eth0 onlink",
        ):
            subprocess.run(["ip", *words.split()], check=True)

    def text_of(self, flow: str) -> None:
        self.flow = flow

    def text(self, number: int) -> bytes:
        return to_bytes(declared(self.directory, self.flow))

    def start(self) -> subprocess.Popen[bytes]:
        """As the unit does: nobody's rights but one, and no memory that is written and run."""
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        self.directory.parent.chmod(0o755)
        command = ["ip", "netns", "exec", self.host, sys.executable, "-c", _NO_NEW_CODE, *_rights()]
        command += [sys.executable, "-m", "ringfort.node", str(self.configuration)]
        with (self.directory / "node.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def holds_flow(self, flow: str) -> bool:
        wanted = compile_device(declared(self.directory, flow), Device(DeviceKind.HOST, "app")).document
        return digest(nft.ruleset(self.host)) == digest(wanted)


_NO_NEW_CODE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: linux/prctl.h
os.execvp(sys.argv[1], sys.argv[1:])
"""


def _rights() -> list[str]:
    rights = "+net_admin,+net_bind_service"
    one = [f"--inh-caps={rights}", f"--ambient-caps={rights}", f"--bounding-set=-all,{rights}", "--no-new-privs"]
    other_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    tried = subprocess.run(
        [*other_user, sys.executable, "-c", "import ringfort.node.run"], capture_output=True, check=False
    )
    # Where the tree is in a home directory that others may not enter, it stays root without root's rights.
    return [*(other_user if tried.returncode == 0 else ["setpriv"]), *one]


@pytest.fixture
def path() -> Iterator[Way]:
    # Where a user without rights may look: what pytest makes is for root alone.
    with tempfile.TemporaryDirectory(prefix="ringfort-node-") as name:
        Path(name).chmod(0o755)
        directory = Path(name, "node")
        directory.mkdir()
        made = Way(directory)
        try:
            yield made
        finally:
            made.close()


def test_an_enforcement_point_is_run_with_less_rights_than_the_node_has(path: Way) -> None:
    """It opens a port below 1024, keeps the right to do that and no other, and is read back."""
    path.text_of(WITH)
    path.publish(1)
    node = path.start()
    report = path.controller.wait_for(lambda report: "identity:app" in report["devices"], 30)
    assert report["state"] == "confirmed"
    files = guarding.files(path.state, path.runtime, "app", "")
    with netns.inside(path.host):
        (check,) = readback.checks(files)
    assert check.callers == {"spiffe://node.example/node/control"}
    running = process.running(files)
    assert running is not None
    try:
        assert rights(node.pid) == NET_ADMIN | NET_BIND_SERVICE
        assert rights(running.pid) == NET_BIND_SERVICE
    finally:
        os.kill(running.pid, signal.SIGKILL)
    path.controller.wait_for(lambda report: any(event["kind"] == "drift" for event in report["events"]), 10)
    path.stop()
    process.end(files)


NET_BIND_SERVICE, NET_ADMIN = 1 << 10, 1 << 12  # linux/capability.h


def rights(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff")), 16)


def test_rules_that_cut_the_node_off_are_taken_back_within_thirty_seconds(path: Way) -> None:
    path.text_of(WITH)
    path.publish(1)
    path.start()
    path.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 1), 20)
    assert path.holds_flow(WITH)
    path.text_of(WITHOUT)
    path.publish(2)
    path.until(lambda: path.holds_flow(WITHOUT), 20)
    begin = time.monotonic()
    path.until(lambda: path.holds_flow(WITH), 30)
    assert time.monotonic() - begin < 30
    event = path.controller.wait_for_event("rolled-back", 30)
    assert "no controller was reached within 3 s" in event["detail"]["what"]
    path.until(lambda: path.controller.reports[-1]["version"] == 1)


def test_the_rights_of_the_test_are_those_of_the_unit() -> None:
    lines = UNIT.read_text().splitlines()
    granted = ("User=ringfort", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE", "NoNewPrivileges=yes")
    for line in (*granted, "MemoryDenyWriteExecute=yes"):
        assert line in lines
