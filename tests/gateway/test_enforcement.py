"""A real HAProxy in front of a real service admits whom it should, and refuses everyone else with a reason."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.errors import RingfortError
from ringfort.gateway import process, readback, runtime
from ringfort.gateway.haproxy import ADDRESS, CALLER, HANDSHAKE, Configuration, Files, Guarded, render
from ringfort.lab.authority import Authority
from ringfort.lab.state import write_private

SITES = {"here": (ip_network("127.0.0.0/8"), ip_network("::1/128"), ip_network("10.0.0.0/8"))}
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
WEB, APP, DESK = (f"spiffe://gate.example/{path}" for path in ("service/web", "service/app", "node/desk"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """What stands behind the enforcement point: says hello, then everything back."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_server((HERE, port))
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"hello\n")
            while data := connection.recv(4096):
                connection.sendall(data)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@dataclass
class Gate:
    """An enforcement point on 127.0.0.3 and ::1, in front of a service on 127.0.0.1."""

    authority: Authority
    directory: Path
    files: Files
    port: int
    check: IdentityCheck

    def guarded(self, check: IdentityCheck | None = None) -> Guarded:
        addresses = (ip_address("127.0.0.3"), ip_address("::1"))
        certificate = str(self.directory / "app.pem")
        return Guarded(check or self.check, addresses, certificate, process.content(certificate))

    def wanted(self, check: IdentityCheck | None = None) -> Configuration:
        return render([self.guarded(check)], self.files)

    def apply(self, check: IdentityCheck | None = None) -> str:
        return process.apply(self.wanted(check), self.files, write_private)

    def issue(self, name: str, identity: str, *addresses: str) -> Path:
        path = self.directory / f"{name}.pem"
        pem = self.authority.issue(identity, [ip_address(a) for a in addresses], datetime.now(UTC))
        write_private(path, pem)
        return path

    def context(self, certificate: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "authority.pem"))
        context.check_hostname = False
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def open(self, certificate: Path | None, source: str = HERE) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.3", self.port), timeout=5, source_address=(source, 0))
        return self.context(certificate).wrap_socket(raw)

    def call(self, certificate: Path | None, source: str = HERE) -> bytes:
        """What a caller reads first; nothing when it is refused."""
        try:
            with self.open(certificate, source) as connection:
                return connection.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""

    def counts(self) -> dict[str, int]:
        return dict(readback.counts(self.files)["app"])


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    directory = tmp_path_factory.mktemp("gate")
    authority = Authority.open_or_make(directory, "gate.example", SITES, datetime.now(UTC))
    port = free_port()
    check = IdentityCheck("app", Protocol.TCP, (PortRange(port, port),), Tls.MUTUAL, frozenset({WEB, DESK}))
    bundle = str(directory / "authority.pem")
    files = Files(str(directory / "run"), bundle, "", process.content(bundle))
    gate = Gate(authority, directory, files, port, check)
    gate.issue("app", APP, HERE)
    service = Service(port)
    try:
        yield gate
    finally:
        process.end(files)
        service.close()


@pytest.fixture
def gate(started: Gate) -> Gate:
    started.apply()
    return started


def test_a_caller_on_the_list_is_admitted_from_its_own_address(gate: Gate) -> None:
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"


@pytest.mark.parametrize(
    ("identity", "addresses", "reason"),
    [
        pytest.param(APP, [HERE], CALLER, id="another identity"),
        pytest.param(WEB, [ELSEWHERE], ADDRESS, id="keys stolen from another host"),
        pytest.param(WEB, ["::1", "10.0.0.1"], ADDRESS, id="keys of another host with several addresses"),
        pytest.param(f"{WEB}x", [HERE], CALLER, id="an identity that only begins alike"),
    ],
)
def test_another_caller_is_refused_and_counted_under_its_reason(
    gate: Gate, identity: str, addresses: list[str], reason: str
) -> None:
    before = gate.counts()
    assert gate.call(gate.issue("other", identity, *addresses)) == b""
    after = gate.counts()
    assert after[reason] == before[reason] + 1
    assert after["accepted"] == before["accepted"]


def test_no_certificate_and_one_of_another_authority_fail_the_handshake(gate: Gate, tmp_path: Path) -> None:
    stranger = Authority.open_or_make(tmp_path, "gate.example", SITES, datetime.now(UTC))
    path = tmp_path / "stranger.pem"
    write_private(path, stranger.issue(WEB, [ip_address(HERE)], datetime.now(UTC)))
    before = gate.counts()
    assert gate.call(None) == b""
    assert gate.call(path) == b""
    after = gate.counts()
    assert after[HANDSHAKE] == before[HANDSHAKE] + 2
    assert after["accepted"] == before["accepted"]


def test_older_tls_and_plaintext_are_refused(gate: Gate) -> None:
    certificate = gate.issue("web", WEB, HERE)
    context = gate.context(certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    raw = socket.create_connection(("127.0.0.3", gate.port), timeout=5, source_address=(HERE, 0))
    with raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)
    with socket.create_connection(("127.0.0.3", gate.port), timeout=5, source_address=(HERE, 0)) as plain:
        plain.sendall(b"hello?\n")
        assert b"hello\n" not in plain.recv(100)


def test_what_is_enforced_is_read_back_from_the_running_process(gate: Gate) -> None:
    assert readback.checks(gate.files) == (gate.check,)
    runtime.replace_entries(gate.files.socket, gate.files.callers("app"), [WEB, APP])
    assert readback.checks(gate.files)[0].callers == {WEB, APP}, "not what the file says, but what the process holds"
    assert gate.apply() == "callers"
    assert readback.checks(gate.files) == (gate.check,)


def test_another_list_of_callers_takes_effect_without_a_restart(gate: Gate) -> None:
    desk = gate.issue("desk", DESK, HERE)
    pid = process.running(gate.files)
    with gate.open(desk) as long:
        assert long.recv(100) == b"hello\n"
        assert gate.apply(replace(gate.check, callers=frozenset({WEB}))) == "callers"
        assert gate.call(desk) == b""
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"
    assert process.running(gate.files) == pid


def test_a_renewed_certificate_is_shown_to_new_callers_and_drops_nobody(gate: Gate) -> None:
    web = gate.issue("web", WEB, HERE)
    with gate.open(web) as long:
        assert long.recv(100) == b"hello\n"
        old = long.getpeercert(binary_form=True)
        gate.issue("app", APP, HERE)
        assert gate.apply() == "restarted"
        with gate.open(web) as fresh:
            assert fresh.recv(100) == b"hello\n"
            assert fresh.getpeercert(binary_form=True) != old
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"


def test_another_configuration_takes_over_and_lets_connections_end(gate: Gate) -> None:
    web = gate.issue("web", WEB, HERE)
    before = process.running(gate.files)
    with gate.open(web) as long:
        assert long.recv(100) == b"hello\n"
        assert gate.apply(replace(gate.check, tls=Tls.SERVER, callers=frozenset())) == "restarted"
        assert gate.call(None) == b"hello\n"
        assert [check.tls for check in readback.checks(gate.files)] == [Tls.SERVER]
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"
    assert process.running(gate.files) != before
    assert gate.apply() == "restarted"
    assert gate.call(None) == b""
    assert gate.apply() == "kept"


def test_a_configuration_changed_by_hand_is_not_taken_for_what_runs(gate: Gate) -> None:
    path = Path(gate.files.configuration)
    text = path.read_text()
    path.write_text(text.replace("verify required", "verify none"))
    with pytest.raises(RingfortError, match="not what the files say"):
        readback.checks(gate.files)
    assert gate.apply() == "kept"
    assert path.read_text() == text


def test_a_process_started_with_another_configuration_is_found(gate: Gate) -> None:
    """Even when the file is put back afterwards: the process says what it has loaded."""
    path = Path(gate.files.configuration)
    text = path.read_text()
    digest = gate.wanted().digest
    path.write_text(text.replace("verify required", "verify none").replace(digest, "0" * 64))
    process.end(gate.files)
    process._start(gate.files, None)
    path.write_text(text)
    with pytest.raises(RingfortError, match="not what the files say"):
        readback.checks(gate.files)
    assert gate.apply() == "restarted"
    assert readback.checks(gate.files) == (gate.check,)


def test_killed_and_applied_again_it_serves(gate: Gate) -> None:
    running = process.running(gate.files)
    assert running is not None
    assert running.end()
    with pytest.raises(RingfortError, match="no enforcement point runs"):
        readback.checks(gate.files)
    assert gate.apply() == "started"
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"


def test_a_configuration_that_haproxy_refuses_changes_nothing(gate: Gate) -> None:
    nowhere = replace(gate.guarded(), certificate=str(gate.directory / "missing.pem"))
    running = process.running(gate.files)
    with pytest.raises(RingfortError, match="refuses its configuration"):
        process.apply(render([nowhere], gate.files), gate.files, write_private)
    assert process.running(gate.files) == running
    assert gate.apply() == "kept"
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"
