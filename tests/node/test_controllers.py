"""A node and its controllers: it speaks with nobody else, believes nothing unsigned, and outlives whatever they do."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from ringfort.errors import RingfortError
from ringfort.identity import token
from ringfort.identity.authority import Root
from ringfort.identity.names import Role
from ringfort.identity.store import read_bundle, read_credential, write_credential
from ringfort.identity.tls import server_context
from ringfort.node import configuration
from ringfort.node.client import Client
from ringfort.node.enrolment import enrol
from ringfort.node.errors import ControllerError
from ringfort.node.membership import Membership
from ringfort.node.ports import Desired
from ringfort.node.run import identity
from ringfort.publishing.fetching import UnreachableError
from tests.node.controllers import Controller
from tests.node.worlds import DOMAIN, MACHINE, World, authority, credential, world
from tests.publishing.house import serve, signed

pytestmark = pytest.mark.lab


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[World]:
    """A machine that is not enrolled."""
    with world(tmp_path, enrolled=False) as made:
        yield made


# --- enrolment -----------------------------------------------------------------------------------------------------


def token_for(name: str) -> str:
    _, issuer, bundle = authority()
    return token.write(token.issue(issuer, name, [ip_address("127.0.0.1")], bundle, datetime.now(UTC)))


def root_of(machine: World) -> bytes:
    return machine.house.metadata("1.root.json").read_bytes()


def test_a_machine_becomes_a_node_by_its_token_once(stranger: World) -> None:
    known, line = configuration.read(stranger.configuration), token_for(MACHINE)
    enrol(known, line, root_of(stranger))
    assert Membership(stranger.state / "identity", identity(known)).credential.identity.name == MACHINE
    assert (stranger.state / "identity" / "node.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(ControllerError, match="token-used"):
        enrol(known, line, None)


def test_a_token_for_another_machine_is_refused_before_it_is_shown(stranger: World) -> None:
    with pytest.raises(RingfortError, match="the token is for other"):
        enrol(configuration.read(stranger.configuration), token_for("other"), root_of(stranger))
    assert stranger.controller.used_tokens == set()


def test_no_controller_says_whose_signatures_to_believe(stranger: World) -> None:
    with pytest.raises(RingfortError, match="whose signatures"):
        enrol(configuration.read(stranger.configuration), token_for(MACHINE), None)


def test_a_node_that_is_not_enrolled_refuses_everything_and_goes_on_when_it_is(stranger: World) -> None:
    stranger.publish(1)
    stranger.start()
    stranger.until(lambda: stranger.holds(0))
    enrol(configuration.read(stranger.configuration), token_for(MACHINE), root_of(stranger))
    stranger.controller.wait_for(lambda report: report["state"] == "confirmed", 30)
    assert stranger.holds(1)


# --- its certificate -----------------------------------------------------------------------------------------------


def test_a_certificate_past_two_thirds_of_its_life_is_renewed_with_another_key(machine: World) -> None:
    before = credential(lifetime=timedelta(minutes=5, seconds=60))
    machine.enrol(lifetime=timedelta(minutes=5, seconds=60))
    machine.publish(1)
    machine.start()
    machine.until(lambda: machine.controller.renewals == 1)
    known = configuration.read(machine.configuration)

    def renewed() -> bool:
        member = Membership(machine.state / "identity", identity(known))
        return member.credential.leaf.not_valid_after_utc > before.leaf.not_valid_after_utc

    machine.until(renewed)
    machine.publish(2)  # a trial opens a connection: it shows the new certificate
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 2))
    first, last = machine.controller.reports[0]["serial"], machine.controller.reports[-1]["serial"]
    assert first != last
    assert machine.controller.renewals == 1


def test_enrolled_anew_while_it_runs_a_node_shows_its_new_certificate_and_asks_for_its_services(
    machine: World,
) -> None:
    machine.publish(1)
    machine.start()
    machine.controller.wait_for(lambda report: report["state"] == "confirmed")
    services = machine.state / "services"
    services.mkdir()
    (services / "app@app.pem").touch()
    enrol(configuration.read(machine.configuration), token_for(MACHINE), None)
    assert not services.exists(), "what the services held is revoked with what the node held"
    held = read_credential(machine.state / "identity" / "node.pem").leaf.serial_number
    assert machine.controller.reports[-1]["serial"] != held
    machine.publish(2)  # a trial opens a connection
    report = machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 2))
    assert report["serial"] == held


def test_a_certificate_that_the_configuration_asks_for_is_kept_where_it_says(machine: World) -> None:
    """For who calls others under a service's name, or checks callers for itself: a witness."""
    kept = machine.directory / "handed-on" / "web.pem"
    kept.parent.mkdir()
    text = machine.configuration.read_text()
    machine.configuration.write_text(f'{text}[certificates]\n"spiffe://{DOMAIN}/service/web" = "{kept}"\n')
    machine.publish(1)
    machine.start()
    machine.until(kept.exists)
    machine.until(lambda: kept.stat().st_mode & 0o777 == 0o640)
    assert read_credential(kept).identity.uri == f"spiffe://{DOMAIN}/service/web"
    old = credential(Role.SERVICE, "web", lifetime=timedelta(minutes=5, seconds=60))
    machine.stop()
    write_credential(kept, old)  # past two thirds of its life
    machine.start()
    machine.until(lambda: read_credential(kept).leaf.serial_number != old.leaf.serial_number)


def test_a_new_issuing_authority_is_believed_when_the_pinned_root_signed_it(machine: World) -> None:
    """A node that runs hears of it from its controller, and speaks with a controller whose certificate is from it."""
    root, _, bundle = authority()
    now, block = datetime.now(UTC), [ip_network("127.0.0.0/8")]
    new, foreign = root.issuer("south", block, now), Root.create(DOMAIN, now).issuer("south", block, now)
    machine.controller.bundle = replace(bundle, issuers=(*bundle.issuers, foreign.certificate, new.certificate))
    machine.publish(1)
    machine.start()
    kept = machine.state / "identity" / "bundle.pem"
    machine.until(lambda: read_bundle(kept).issuers == (*bundle.issuers, new.certificate))
    port = machine.controller.port
    machine.controller.close()
    machine.controller = Controller(machine.house.directory, new, machine.controller.bundle, port=port)
    machine.controller.version = 1
    machine.controller.wait_for(lambda report: report["state"] == "confirmed", 60)


# --- who answers ---------------------------------------------------------------------------------------------------


class Answer:
    """A listener on loopback that answers every connection in its own way."""

    def __init__(self, context: ssl.SSLContext | None, content: bytes = b"", *, endless: bool = False) -> None:
        self.context, self.content, self.endless = context, content, endless
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.opened: list[socket.socket] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.opened.append(connection)
            try:
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                    self.opened.append(connection)
                connection.recv(4096)
                connection.sendall(self.content)
                while self.endless:
                    connection.sendall(b"x" * 65536)
            except OSError:
                continue

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()
        for connection in self.opened:
            connection.close()


def client_of(machine: World, port: int) -> Client:
    member = Membership(machine.state / "identity", identity(configuration.read(machine.configuration)))
    return Client(MACHINE, ((ip_address("127.0.0.1"), port),), member.connect)


def asked(machine: World, answer: Answer) -> ControllerError:
    client = client_of(machine, answer.port)
    try:
        with pytest.raises(ControllerError) as caught:
            client.desired(Desired(0), 0)
    finally:
        client.close()
        answer.close()
    return caught.value


def context(role: Role = Role.CONTROLLER, address: str = "127.0.0.1") -> ssl.SSLContext:
    return server_context(credential(role, "one", address), authority()[2])


def test_nobody_but_a_controller_at_its_own_address_is_spoken_with(machine: World) -> None:
    assert "not among those who may speak" in asked(machine, Answer(context(Role.NODE))).message
    assert "spoke from 127.0.0.1" in asked(machine, Answer(context(address="127.0.0.2"))).message


def test_nothing_is_said_in_the_clear(machine: World) -> None:
    error = asked(machine, Answer(None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    assert "WRONG_VERSION_NUMBER" in error.message


@pytest.mark.parametrize(
    ("content", "endless", "message"),
    [
        pytest.param(b"", False, "no answer", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", False, "no answer", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", False, "has no version", id="no version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", False, "no JSON", id="no JSON"),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"version":-1}', False, "has no version", id="no number"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", True, "larger than", id="endless"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", True, "no answer", id="an endless header"),
        pytest.param(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False, "503 Busy", id="a refusal"),
        pytest.param(
            b"HTTP/1.1 302 Go\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", False, "302", id="elsewhere"
        ),
    ],
)
def test_whatever_a_controller_answers_is_bounded_and_named(
    machine: World, content: bytes, endless: bool, message: str
) -> None:
    assert message in asked(machine, Answer(context(), content, endless=endless)).message


def test_who_is_put_off_asks_again_as_often_as_makes_sense_and_no_sooner_than_told(machine: World) -> None:
    waited: list[float] = []
    member = Membership(machine.state / "identity", identity(configuration.read(machine.configuration)))
    here = (ip_address("127.0.0.1"), machine.controller.port)
    client = Client(MACHINE, (here,), member.connect, sleep=waited.append)
    machine.controller.version = 3
    machine.controller.later = [(429, "1"), (503, "2"), (503, "Wed, 21 Oct 2026 07:28:00 GMT")]
    assert client.desired(Desired(0), 0).version == 3
    assert waited == [1.0, 2.0, 5.0], "a date is as good as the longest wait"
    machine.controller.later = [(503, "3600")] * 5
    with pytest.raises(ControllerError, match="503"):
        client.desired(Desired(0), 0)
    assert waited[3:] == [5.0, 5.0, 5.0], "bounded in number and in length"
    machine.controller.later = []
    client.close()


def test_a_change_that_is_put_off_is_the_same_change_when_it_is_asked_for_again(machine: World) -> None:
    client = client_of(machine, machine.controller.port)
    machine.controller.later = [(503, "0"), (429, "0")]
    client.report({"events": []}, fresh=False)
    client.report({"events": []}, fresh=False)
    first, *again, last = machine.controller.keys
    assert again == [first, first]
    assert last != first
    client.close()


def test_the_next_controller_is_asked_when_one_does_not_answer(machine: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    member = Membership(machine.state / "identity", identity(configuration.read(machine.configuration)))
    here = ip_address("127.0.0.1")
    client = Client(MACHINE, ((here, dead), (here, machine.controller.port)), member.connect)
    machine.controller.version = 3
    assert client.desired(Desired(0), 0).version == 3
    assert client.desired(Desired(0), 0).version == 3
    assert len(machine.controller.accepted) == 1, "the connection is kept"
    client.close()


def test_a_file_that_is_not_wanted_to_its_end_spoils_no_later_answer(machine: World) -> None:
    machine.publish(1)
    client = client_of(machine, machine.controller.port)
    next(client.fetch("metadata/1.root.json"))
    assert client.desired(Desired(0), 0).version == 1
    client.close()


def test_a_repository_that_does_not_answer_is_unreachable(machine: World) -> None:
    client = client_of(machine, machine.controller.port)
    machine.controller.cut()
    with pytest.raises(UnreachableError):
        list(client.fetch("metadata/timestamp.json"))
    client.close()


# --- what a controller that was taken over can do ------------------------------------------------------------------


def test_an_environment_that_too_few_approvers_signed_changes_nothing_and_raises_an_alert(machine: World) -> None:
    machine.publish(1)
    machine.start()
    machine.controller.wait_for(lambda report: report["state"] == "confirmed")
    forged = signed(machine.targets(2), machine.house.keys["alice"])
    serve(machine.house, forged, machine.text(2), now=datetime.now(UTC))
    machine.controller.version = 2
    event = machine.controller.wait_for_event("metadata-refused")
    assert event["severity"] == "alert"
    assert "under-signed" in event["detail"]["what"]
    assert machine.holds(1)


def test_an_old_environment_changes_nothing_and_raises_an_alert(machine: World, tmp_path: Path) -> None:
    machine.publish(1)
    shutil.copytree(machine.house.directory, tmp_path / "old")
    machine.publish(2)
    machine.start()
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 2))
    machine.controller.repository = tmp_path / "old"
    machine.controller.version = 1
    event = machine.controller.wait_for_event("metadata-refused")
    assert "rolled-back" in event["detail"]["what"]
    assert machine.holds(2)


def test_a_controller_that_promises_versions_for_ever_keeps_nobody_busy(machine: World) -> None:
    machine.publish(1)
    machine.start()
    machine.controller.wait_for(lambda report: report["state"] == "confirmed")
    machine.controller.version = 99
    machine.until(lambda: machine.controller.asked.count(99) >= 1)
    assert machine.controller.asked.count(1) < 5
    assert machine.holds(1)
