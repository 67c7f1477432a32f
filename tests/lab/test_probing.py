"""What a controller or a witness enforces is asked of the process: it has to refuse who it should."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.names import Identity, Role
from ringfort.identity.tls import server_context
from ringfort.kernel.netns import OWN
from ringfort.lab.authority import Authority
from ringfort.lab.probing import NAME, Heard, Target, ask, enforced

DOMAIN, HERE = "lab.example", ip_address("127.0.0.1")
CONTROLLER = f"spiffe://{DOMAIN}/controller/controller"
CALL = b"GET /v1/environment HTTP/1.1\r\nHost: controller\r\nConnection: close\r\n\r\n"
REFUSAL, WELCOME = b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"
CHECK = IdentityCheck("controller", Protocol.TCP, (PortRange(1, 1),), Tls.MUTUAL, frozenset({"spiffe://x/node/a"}))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    place = tmp_path_factory.mktemp("keys")
    return Authority.open_or_make(place, DOMAIN, {"north": (ip_network("127.0.0.0/8"),)}, datetime.now(UTC))


def credential(authority: Authority, role: Role = Role.CONTROLLER) -> Credential:
    key, issuer = new_key(), authority.issuer_for([HERE])
    leaf = issuer.issue(Identity(DOMAIN, role, "controller"), [HERE], key.public_key(), datetime.now(UTC))
    return Credential(key, (leaf, issuer.certificate))


@contextmanager
def answering(context: ssl.SSLContext, answer: bytes) -> Iterator[Target]:
    """A process that answers whoever gets through its handshake."""
    listener = socket.create_server((str(HERE), 0))

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with raw, context.wrap_socket(raw, server_side=True) as connection:
                    connection.recv(1000)
                    connection.sendall(answer)
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Target(OWN, (HERE,), listener.getsockname()[1], CONTROLLER, CALL)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_process_that_refuses_both_is_as_it_should_be_within_a_tenth_of_a_second(authority: Authority) -> None:
    with answering(server_context(credential(authority), authority.bundle), REFUSAL) as target:
        before = time.process_time()
        (heard,) = ask(authority, [target])
        assert time.process_time() - before < 0.1
        assert heard == Heard(True)
        assert enforced(CHECK, heard, DOMAIN) == CHECK


def test_a_process_that_hears_any_role_is_found_out(authority: Authority) -> None:
    with answering(server_context(credential(authority), authority.bundle), WELCOME) as target:
        (heard,) = ask(authority, [target])
    check = enforced(CHECK, heard, DOMAIN)
    assert check is not None
    assert check.callers - CHECK.callers == {f"spiffe://{DOMAIN}/service/{NAME}"}


def test_a_process_that_asks_for_no_certificate_is_found_out(authority: Authority) -> None:
    context = server_context(credential(authority), authority.bundle)
    context.verify_mode = ssl.CERT_NONE
    with answering(context, REFUSAL) as target:
        (heard,) = ask(authority, [target])
    check = enforced(CHECK, heard, DOMAIN)
    assert check is not None
    assert (check.tls, check.callers) == (Tls.SERVER, frozenset())


def test_somebody_else_in_its_place_is_found_out(authority: Authority) -> None:
    with answering(server_context(credential(authority, Role.SERVICE), authority.bundle), REFUSAL) as target:
        (heard,) = ask(authority, [target])
    check = enforced(CHECK, heard, DOMAIN)
    assert check is not None
    assert check != CHECK


def test_nobody_asks_nothing(authority: Authority, tmp_path: Path) -> None:
    with socket.create_server((str(HERE), 0)) as free:
        port = free.getsockname()[1]
    (heard,) = ask(authority, [Target(OWN, (HERE,), port, CONTROLLER, CALL)])
    assert enforced(CHECK, heard, DOMAIN) is None
