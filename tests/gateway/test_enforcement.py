"""A real HAProxy in front of a real service admits whom it should, and refuses everyone else with a reason."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.errors import RingfortError
from ringfort.gateway import haproxy, process, readback, runtime
from ringfort.gateway.haproxy import ADDRESS, CALLER, HANDSHAKE, SHAKING_HANDS, Configuration, Files, Guarded, render
from ringfort.gateway.material import Content, Kind, RevocationList
from ringfort.identity import revocation
from ringfort.identity.certificates import authority_id
from ringfort.identity.store import read_credential, read_list
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
        return Guarded(check or self.check, addresses, certificate)

    def wanted(self, check: IdentityCheck | None = None) -> Configuration:
        return render([self.guarded(check)], self.files)

    def apply(self, check: IdentityCheck | None = None) -> str:
        return process.apply(self.wanted(check), self.files, write_private)

    def issue(self, name: str, identity: str, *addresses: str) -> Path:
        path = self.directory / f"{name}.pem"
        pem = self.authority.issue(identity, [ip_address(a) for a in addresses], datetime.now(UTC))
        write_private(path, pem)
        return path

    def write_lists(self, *revoked: Path, lifetime: timedelta = timedelta(hours=1), root: bool = True) -> None:
        """New revocation lists, with the certificates in these files on the issuer's."""
        now = datetime.now(UTC)
        issuer = self.authority.store.issuer("here")
        entries = [revocation.revoked(read_credential(path).chain[0], now) for path in revoked]
        begin = min(now, now + lifetime) - timedelta(hours=1)
        lists = [revocation.sign_list(issuer, 2, entries, begin, lifetime + (now - begin))]
        if root:
            lists.append(read_list(self.authority.store.directory / "crl" / "root.pem"))
        write_private(Path(self.files.revoked), b"".join(crl.public_bytes(Encoding.PEM) for crl in lists))

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

    def served(self) -> bytes:
        """The certificate that callers are to be shown."""
        return read_credential(self.directory / "app.pem").chain[0].public_bytes(Encoding.DER)

    def held(self, kind: Kind) -> Content:
        """What the running process holds of one kind."""
        (found,) = (content for one, content in readback.material(self.files).items() if one.kind is kind)
        return found

    def counts(self) -> dict[str, int]:
        return dict(readback.counts(self.files)["app"])


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    directory = tmp_path_factory.mktemp("gate")
    authority = Authority.open_or_make(directory, "gate.example", SITES, datetime.now(UTC))
    port = free_port()
    check = IdentityCheck("app", Protocol.TCP, (PortRange(port, port),), Tls.MUTUAL, frozenset({WEB, DESK}))
    files = Files(
        str(directory / "run"), str(directory / "authority.pem"), str(directory / "revoked.pem"), process.account()
    )
    gate = Gate(authority, directory, files, port, check)
    gate.write_lists()
    gate.issue("app", APP, HERE)
    service = Service(port)
    try:
        yield gate
    finally:
        process.end(files)
        service.close()


@pytest.fixture
def gate(started: Gate) -> Gate:
    process.end(started.files)
    started.write_lists()
    assert started.apply() == "started"
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


def test_with_nobody_on_the_list_nobody_is_admitted(gate: Gate) -> None:
    before = gate.counts()
    assert gate.apply(replace(gate.check, callers=frozenset())) == "callers"
    assert gate.call(gate.issue("web", WEB, HERE)) == b""
    assert gate.counts()[CALLER] == before[CALLER] + 1


@pytest.mark.parametrize("broken", ["ringfort_caller", "ringfort_at_home"])
def test_an_error_in_the_check_refuses(gate: Gate, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    fails = f'core.register_fetches("{broken}", function(txn) error("on purpose") end)'
    whole = re.compile(rf'core\.register_fetches\("{broken}".*?^end\)', re.MULTILINE | re.DOTALL)
    lua = whole.sub(fails, haproxy.LUA.decode())
    assert fails in lua
    monkeypatch.setattr(haproxy, "LUA", lua.encode())
    assert gate.apply() == "restarted"
    assert gate.call(gate.issue("web", WEB, HERE)) == b""
    assert gate.counts()["accepted"] == 0


def test_who_says_nothing_loses_his_place_and_who_was_admitted_keeps_it(gate: Gate) -> None:
    with (
        gate.open(gate.issue("web", WEB, HERE)) as admitted,
        socket.create_connection(("127.0.0.3", gate.port), source_address=(HERE, 0)) as silent,
    ):
        assert admitted.recv(100) == b"hello\n"
        silent.settimeout(SHAKING_HANDS + 3)
        assert silent.recv(100) == b""
        time.sleep(1)
        admitted.sendall(b"still here")
        assert admitted.recv(100) == b"still here"


def test_it_gives_its_rights_up(gate: Gate) -> None:
    running = process.running(gate.files)
    assert running is not None
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{running.pid}/status").read_text().splitlines())
    if os.geteuid() == 0:
        assert set(status["Uid"].split()) == {str(pwd.getpwnam("haproxy").pw_uid)}
    assert int(status["CapEff"], 16) == 0


def test_less_than_128_bits_of_security_are_refused(gate: Gate) -> None:
    context = gate.context(gate.issue("web", WEB, HERE))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    for group, expected in {"ffdhe2048": b"", "prime256v1": b"hello\n"}.items():
        context.set_ecdh_curve(group)
        raw = socket.create_connection(("127.0.0.3", gate.port), timeout=5, source_address=(HERE, 0))
        found = b""
        with raw, contextlib.suppress(ssl.SSLError, ConnectionError), context.wrap_socket(raw) as connection:
            found = connection.recv(100)
        assert found == expected, group


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
        running = process.running(gate.files)
        assert gate.apply() == "renewed"
        assert gate.apply() == "kept"
        with gate.open(web) as fresh:
            assert fresh.recv(100) == b"hello\n"
            assert fresh.getpeercert(binary_form=True) == gate.served() != old
        assert process.running(gate.files) == running
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"


def test_a_revoked_caller_is_refused_at_once_and_the_others_stay(gate: Gate) -> None:
    web, desk = gate.issue("web", WEB, HERE), gate.issue("desk", DESK, HERE)
    before, running = gate.counts(), process.running(gate.files)
    with gate.open(web) as long:
        assert long.recv(100) == b"hello\n"
        gate.write_lists(web)
        assert gate.apply() == "renewed"
        assert gate.call(web) == b""
        assert gate.counts()[HANDSHAKE] == before[HANDSHAKE] + 1
        assert gate.call(desk) == b"hello\n"
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"
    (serial,) = (serial for one in gate.held(Kind.LISTS) if isinstance(one, RevocationList) for serial in one.serials)
    assert serial == read_credential(web).chain[0].serial_number
    gate.write_lists()
    assert gate.apply() == "renewed"
    assert gate.call(web) == b"hello\n"
    assert process.running(gate.files) == running


@pytest.mark.parametrize(
    ("lifetime", "root"), [pytest.param(-60, True, id="out of date"), pytest.param(60, False, id="without the root's")]
)
def test_revocation_lists_that_say_nothing_refuse_everyone(gate: Gate, lifetime: int, root: bool) -> None:
    web = gate.issue("web", WEB, HERE)
    gate.write_lists(lifetime=timedelta(minutes=lifetime), root=root)
    try:
        assert gate.apply() == "renewed"
        assert gate.call(web) == b""
    finally:
        gate.write_lists()
        assert gate.apply() == "renewed"
    assert gate.call(web) == b"hello\n"


def test_a_certificate_renewed_after_new_lists_drops_nobody_either(gate: Gate) -> None:
    """HAProxy 2.6 loses track of a certificate when lists are replaced; the renewal then takes the other way."""
    web = gate.issue("web", WEB, HERE)
    with gate.open(web) as long:
        assert long.recv(100) == b"hello\n"
        gate.write_lists(web)
        assert gate.apply() == "renewed"
        gate.issue("app", APP, HERE)
        assert gate.apply() == "restarted"
        assert gate.call(web) == b"", "still revoked"
        gate.write_lists()
        gate.issue("app", APP, HERE)
        assert gate.apply() == "renewed"
        with gate.open(web) as fresh:
            assert fresh.getpeercert(binary_form=True) == gate.served()
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"


def test_however_often_things_are_renewed_callers_are_verified(gate: Gate) -> None:
    web, running = gate.issue("web", WEB, HERE), process.running(gate.files)
    for number in range(20):
        gate.write_lists(*[web] * (number % 2))
        if number % 5 == 0:
            runtime.replace_material(gate.files.socket, gate.wanted().material[1], Path(gate.files.bundle).read_bytes())
        assert gate.apply() in ("renewed", "kept")
        assert gate.call(web) == (b"" if number % 2 else b"hello\n")
        assert gate.call(None) == b""
        assert gate.counts()["certificate-names"] == 0, "OpenSSL refuses, not the reader behind it"
    gate.write_lists()
    gate.apply()
    assert process.running(gate.files) == running


def test_a_trust_bundle_is_replaced_without_a_restart(gate: Gate, tmp_path: Path) -> None:
    """Two roots while one replaces the other; then only the new one."""
    web, bundle = gate.issue("web", WEB, HERE), Path(gate.files.bundle)
    other = Authority.open_or_make(tmp_path, "gate.example", SITES, datetime.now(UTC))
    old, new = bundle.read_bytes(), (tmp_path / "authority.pem").read_bytes()
    running = process.running(gate.files)
    try:
        write_private(bundle, old + new)
        assert gate.apply() == "renewed"
        assert gate.call(web) == b"hello\n"
        write_private(bundle, new)
        assert gate.apply() == "renewed"
        assert len(gate.held(Kind.AUTHORITIES)) == 1
        context = gate.context(web)
        context.load_verify_locations(cadata=old.decode())
        raw = socket.create_connection(("127.0.0.3", gate.port), timeout=5, source_address=(HERE, 0))
        with pytest.raises((ssl.SSLError, ConnectionError)), context.wrap_socket(raw) as refused:
            assert refused.recv(100) == b"hello\n"
        assert other.issuer_for([ip_address(HERE)]) is not None
    finally:
        write_private(bundle, old)
        assert gate.apply() == "renewed"
    assert gate.call(web) == b"hello\n"
    assert process.running(gate.files) == running


def test_lists_that_are_too_long_for_the_runtime_interface_take_the_other_way(gate: Gate) -> None:
    now = datetime.now(UTC)
    issuer = gate.authority.store.issuer("here")
    web, desk = gate.issue("web", WEB, HERE), gate.issue("desk", DESK, HERE)
    many = [revocation.Revoked(authority_id(issuer.certificate), serial, now) for serial in range(1, 1000)]
    root = read_list(gate.authority.store.directory / "crl" / "root.pem")
    with gate.open(desk) as long:
        assert long.recv(100) == b"hello\n"
        for more in ([], [revocation.revoked(read_credential(web).chain[0], now)]):
            lists = [revocation.sign_list(issuer, 3, [*many, *more], now), root]
            write_private(Path(gate.files.revoked), b"".join(crl.public_bytes(Encoding.PEM) for crl in lists))
            assert gate.apply() == "restarted"
            assert gate.apply() == "kept"
            assert gate.call(web) == (b"" if more else b"hello\n")
        long.sendall(b"still here")
        assert long.recv(100) == b"still here"
    gate.write_lists()
    assert gate.apply() == "restarted"
    gate.write_lists(web)
    assert gate.apply() == "renewed"
    assert gate.call(web) == b""
    gate.write_lists()
    assert gate.apply() == "renewed"


@pytest.mark.parametrize(
    "content", [b"", b"nonsense\n", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_that_can_not_be_read_changes_nothing(gate: Gate, content: bytes) -> None:
    path = gate.directory / "app.pem"
    good = path.read_bytes()
    try:
        write_private(path, content)
        with pytest.raises(RingfortError, match="not the content of a cert"):
            gate.apply()
    finally:
        write_private(path, good)
    assert gate.apply() == "kept"
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"


def test_a_key_that_is_not_the_certificates_changes_nothing(gate: Gate) -> None:
    path = gate.directory / "app.pem"
    good = path.read_bytes()
    other = gate.issue("other", APP, HERE).read_bytes()
    key, certificate = b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN CERTIFICATE-----"
    own = key + good.partition(key)[2].partition(certificate)[0]
    try:
        write_private(path, own + other[other.index(certificate) :].partition(key)[0])
        with pytest.raises(RingfortError, match="HAProxy doesn't"):
            gate.apply()
    finally:
        write_private(path, good)
    assert gate.apply() == "kept"
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"


def test_a_change_that_was_begun_and_never_finished_is_no_hindrance(gate: Gate) -> None:
    unfinished = (gate.directory / "app.pem").read_text()
    runtime.ask(gate.files.socket, f"set ssl cert {gate.directory / 'app.pem'} <<\n{unfinished}\n")
    gate.issue("app", APP, HERE)
    assert gate.apply() == "renewed"
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"


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
    with pytest.raises(RingfortError, match=r"missing\.pem"):
        process.apply(render([nowhere], gate.files), gate.files, write_private)
    assert process.running(gate.files) == running
    assert gate.apply() == "kept"
    assert gate.call(gate.issue("web", WEB, HERE)) == b"hello\n"
