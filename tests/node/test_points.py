"""A node runs the enforcement point in front of its hosts' services, and nobody changes it by hand for long."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.gateway import process, readback, runtime
from ringfort.gateway.haproxy import Files
from ringfort.identity.credential import Credential
from ringfort.identity.names import Role
from ringfort.identity.revocation import revoked
from ringfort.lab import netns
from ringfort.node import guarding
from tests.node.test_weight import MEGABYTES, cpu_seconds, resident
from tests.node.worlds import World, credential, environment, lists, world

pytestmark = pytest.mark.lab

SECONDS = 5.0
"""The promise."""

TRIAL_SECONDS = 6

HOST = "host:app"
CALLER, EVIL = "spiffe://node.example/node/peer", "spiffe://node.example/service/evil"


class Guarded(World):
    """A machine whose host serves something behind HAProxy; callers come over its own loopback interface."""

    service: socket.socket

    @property
    def space(self) -> str:
        return self.spaces[HOST]

    @property
    def files(self) -> Files:
        return guarding.files(self.state, self.runtime, "app", process.account())

    def serve(self) -> None:
        known = environment(self.directory, 1)
        self.address, self.peer = (str(known.hosts[name].addresses[0]) for name in ("app", "peer"))
        for words in ("link set lo up", f"addr add {self.address}/32 dev lo", f"addr add {self.peer}/32 dev lo"):
            subprocess.run(["ip", "-n", self.space, *words.split()], check=True)
        with netns.inside(self.space):
            self.service = socket.create_server(("127.0.0.1", 8443))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.service.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"hello\n")
            while data := connection.recv(100):
                connection.sendall(data)

    def close(self) -> None:
        self.service.shutdown(socket.SHUT_RDWR)
        self.service.close()
        super().close()
        process.end(self.files)

    def open(self, shown: Credential, source: str = "") -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.state / "identity" / "bundle.pem")
        file = self.directory / "caller.pem"
        file.write_bytes(shown.to_pem())
        context.load_cert_chain(file)
        with netns.inside(self.space):
            raw = socket.create_connection((self.address, 8443), 5, (source or self.peer, 0))
        return context.wrap_socket(raw)

    def hears(self, shown: Credential, source: str = "") -> bool:
        try:
            with self.open(shown, source) as connection:
                return connection.recv(100) == b"hello\n"
        except OSError:
            return False

    def stands(self) -> bool:
        """Whether what runs is what was put."""
        with contextlib.suppress(Exception), netns.inside(self.space):
            (check,) = readback.checks(self.files)
            return check.callers == {CALLER}
        return False

    def pid(self) -> int:
        running = process.running(self.files)
        assert running is not None
        return running.pid

    def settle(self) -> None:
        """Until the node has found everything as it should be, so that the next change is one by hand."""
        self.until(self.stands)
        time.sleep(0.3)


def of_peer() -> Credential:
    return credential(name="peer", address="10.10.2.3")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("points")
    with world(directory, made=Guarded(directory)) as made:
        assert isinstance(made, Guarded)
        made.serve()
        assert str(environment(directory, 1).hosts["peer"].addresses[0]) == "10.10.2.3"
        made.configure(**{"enforcement-point": '"/usr/sbin/haproxy"', "confirm-seconds": str(TRIAL_SECONDS)})
        made.publish(1)
        made.start()
        made.controller.wait_for(lambda report: report["state"] == "confirmed")
        made.until(made.stands)
        yield made


def test_it_admits_who_is_declared_from_his_own_address_and_nobody_else(machine: Guarded) -> None:
    assert machine.hears(of_peer())
    assert not machine.hears(of_peer(), machine.address), "from another address: a stolen key"
    assert not machine.hears(credential(Role.SERVICE, "evil", machine.peer)), "not on the list"
    assert machine.controller.renewed == ["spiffe://node.example/service/app"]


def test_what_is_enforced_is_read_back_and_reported(machine: Guarded) -> None:
    report = machine.controller.wait_for(lambda report: "identity:app" in report["devices"])
    assert len(report["devices"]["identity:app"]) == 64


def told(machine: Guarded, words: str, since: int) -> bool:
    events = [event for report in machine.controller.reports[since:] for event in report["events"]]
    return any(
        (event["kind"], event["severity"], event["subject"]) == ("drift", "alert", HOST)
        and words in str(event["detail"]["changes"])
        for event in events
    )


def _one_more_caller(machine: Guarded) -> None:
    runtime.order(machine.files.socket, f"add acl {machine.files.callers('app')} {EVIL}")


def _configuration(machine: Guarded) -> None:
    path = Path(machine.files.configuration)
    path.write_text(path.read_text().replace("verify required", "verify optional"))


def _list(machine: Guarded) -> None:
    Path(machine.files.callers("app")).write_text(f"{EVIL}\n")


def _kill(machine: Guarded) -> None:
    os.kill(machine.pid(), signal.SIGKILL)


def _another(machine: Guarded) -> None:
    """Another configuration, taken over as HAProxy is reloaded by hand."""
    path = Path(machine.files.configuration)
    path.write_text(path.read_text().replace("use_backend app.caller-not-allowed unless known", ""))
    words = [process.PROGRAM, "-D", "-f", str(path), "-x", machine.files.socket, "-sf", str(machine.pid())]
    with netns.inside(machine.space):
        subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(_one_more_caller, f"app.callers: + {EVIL}", id="a caller in the process"),
        pytest.param(_configuration, "haproxy.cfg: another content", id="the configuration file"),
        pytest.param(_list, "app.callers: another content", id="the list in the file"),
        pytest.param(_kill, "- the process", id="the process killed"),
        pytest.param(_another, "the process: another one", id="reloaded with another configuration"),
    ],
)
def test_a_change_by_hand_is_undone_and_told(machine: Guarded, change: object, words: str) -> None:
    machine.settle()
    since = len(machine.controller.reports)
    assert callable(change)
    change(machine)
    begin = time.monotonic()
    evil = credential(Role.SERVICE, "evil", machine.peer)
    machine.until(lambda: told(machine, words, since) and machine.stands() and not machine.hears(evil))
    assert time.monotonic() - begin < SECONDS
    assert machine.hears(of_peer())


def test_a_node_with_an_enforcement_point_is_small_and_sleeps_too(machine: Guarded) -> None:
    machine.settle()
    both = (machine.processes[-1].pid, machine.pid())
    assert resident(both[0]) < MEGABYTES
    before, begin = sum(map(cpu_seconds, both)), time.monotonic()
    time.sleep(6)
    assert (sum(map(cpu_seconds, both)) - before) / (time.monotonic() - begin) < 0.02


def test_killed_the_node_leaves_it_running_and_adopts_it_when_it_starts(machine: Guarded) -> None:
    machine.settle()
    before = machine.pid()
    with machine.open(of_peer()) as connection:
        assert connection.recv(100) == b"hello\n"
        machine.kill()
        assert machine.hears(of_peer())
        machine.start()
        since = len(machine.controller.reports)
        machine.controller.wait_for(lambda report: "identity:app" in report["devices"])
        machine.until(lambda: any("identity:app" in report["devices"] for report in machine.controller.reports[since:]))
        assert machine.pid() == before
        connection.sendall(b"still here")
        assert connection.recv(100) == b"still here"


def test_a_revoked_caller_is_refused_within_seconds_and_a_renewed_certificate_drops_nobody(machine: Guarded) -> None:
    lost = of_peer()
    with machine.open(of_peer()) as connection:
        assert connection.recv(100) == b"hello\n"
        assert machine.hears(lost)
        machine.controller.lists = lists(revoked(lost.leaf, lost.leaf.not_valid_before_utc), number=2)
        machine.controller.lists_number = 2
        assert machine.until(lambda: not machine.hears(lost)) < SECONDS
        assert machine.hears(of_peer())
        asked, shown = len(machine.controller.renewed), served(machine)
        machine.controller.lifetime_seconds = 60.0  # what is given now is past two thirds of its life at once
        (machine.state / "services" / "app@app.pem").unlink()  # and so is asked for again at the next report
        machine.publish(2)
        machine.until(lambda: len(machine.controller.renewed) > asked and served(machine) != shown)
        machine.controller.lifetime_seconds = 3600.0
        connection.sendall(b"still here")
        assert connection.recv(100) == b"still here"


def served(machine: Guarded) -> bytes | None:
    with machine.open(of_peer()) as connection:
        return connection.getpeercert(True)


def test_older_lists_bring_nobody_back(machine: Guarded) -> None:
    kept = (machine.state / "identity" / "revoked.pem").read_bytes()
    machine.controller.lists, machine.controller.lists_number = lists(), 3
    time.sleep(2)
    assert (machine.state / "identity" / "revoked.pem").read_bytes() == kept


def test_a_version_whose_point_cannot_be_started_is_taken_back_and_the_one_before_goes_on(machine: Guarded) -> None:
    version = machine.controller.version
    with netns.inside(machine.space):
        taken = socket.create_server((machine.address, 10_001 + version))  # a port that the service has from then on
    with taken:
        machine.publish(version + 1)
        machine.until(lambda: "rolled-back" in machine.log(), TRIAL_SECONDS + 10)
        told = [event for report in machine.controller.reports for event in report["events"]]
        assert not any(
            event["kind"] == "confirmed" and f"version {version + 1}" in event["detail"]["what"] for event in told
        )
        report = machine.controller.wait_for(lambda report: report["state"] == "rolled-back")
        assert report["version"] == version
    (line,) = [line for line in machine.log().splitlines() if "rolled-back" in line]
    assert "the enforcement point of app" in line
    machine.until(lambda: machine.holds(version))
    machine.until(lambda: machine.hears(of_peer()))
    machine.publish(version + 2)
    machine.controller.wait_for(lambda report: (report["version"], report["state"]) == (version + 2, "confirmed"))
    assert machine.stands()
    assert machine.hears(of_peer())
