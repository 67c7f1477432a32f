"""`controller`, `enrol` and `customer`, as people type them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ringfort.cli.main import ringfort
from ringfort.control.client import CallRefusedError
from ringfort.errors import RingfortError
from ringfort.identity import token
from ringfort.identity.names import Role
from ringfort.identity.store import write_credential
from tests.control.running import Ground, Running, customer_key, running


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(Ground(tmp_path_factory.mktemp("control"))) as controller:
        yield controller


def typed(controller: Running, who: str, *words: str | Path, customers: bool = False) -> Result:
    """A command with the usual environment variables."""
    ground = controller.ground
    credential = ground.directory / f"{who}.pem"
    write_credential(credential, ground.credential(Role.OPERATOR, who))
    endpoint = controller.customers if customers else controller.platform
    environment = {
        "RINGFORT_CONTROLLER": f"{endpoint.host}:{endpoint.port}",
        "RINGFORT_CREDENTIAL": str(credential),
        "RINGFORT_BUNDLE": str(ground.directory / "authority" / "bundle.pem"),
    }
    return CliRunner().invoke(ringfort, [str(word) for word in words], env=environment)


def refusal(result: Result) -> str:
    assert isinstance(result.exception, RingfortError), result.output
    return result.exception.code


def test_enrol_prints_a_token_and_nothing_else(controller: Running) -> None:
    words = ("enrol", "web-1", "--site", "north", "--address", "127.0.0.1", "--ticket", "CHG-1")
    result = typed(controller, "nora", *words)
    assert result.exit_code == 0, result.output
    assert token.read(result.stdout).node == "web-1"
    assert "good once, until" in result.stderr


def test_enrol_says_why_it_may_not(controller: Running) -> None:
    words = ("enrol", "web-1", "--site", "north", "--address", "127.0.0.1")
    without = typed(controller, "nora", *words)
    assert refusal(without) == "forbidden"
    assert isinstance(without.exception, CallRefusedError)
    assert "Ringfort-Ticket" in without.exception.hint
    assert refusal(typed(controller, "aude", *words, "--ticket", "CHG-1")) == "forbidden"


def test_a_customers_life(controller: Running, tmp_path: Path) -> None:
    first, second = customer_key(tmp_path, "first"), customer_key(tmp_path, "second")
    add = ("customer", "add", "acme", "--certificate")
    made = typed(controller, "sophie", *add, first.pem, "--ticket", "CONTRACT-12")
    assert made.stdout.strip() == first.thumbprint
    mine = ("--as", first.pem, "--key", first.key)
    assert typed(controller, "sophie", *add, second.pem, *mine, customers=True).stdout.strip() == second.thumbprint
    listed = typed(controller, "sophie", "customer", "list", "acme", *mine, customers=True).stdout
    assert first.thumbprint in listed
    assert second.thumbprint in listed
    assert "acme" in typed(controller, "aude", "customer", "list").stdout
    remove = ("customer", "remove", "acme", first.thumbprint)
    other = ("--as", second.pem, "--key", second.key)
    assert typed(controller, "sophie", *remove, *other, customers=True).exit_code == 0
    last = ("customer", "remove", "acme", second.thumbprint, *other)
    assert refusal(typed(controller, "sophie", *last, customers=True)) == "last-certificate"
    closed = typed(controller, "sophie", "customer", "remove", "acme", "--ticket", "CONTRACT-12")
    assert "never given again" in closed.stderr


def test_an_operator_removes_no_certificate(controller: Running) -> None:
    result = typed(controller, "sophie", "customer", "remove", "acme", "ab" * 32, "--ticket", "T-1")
    assert result.exit_code == 2
    assert "only the customer" in result.output


def test_a_controller_that_is_not_there_is_said_so(controller: Running) -> None:
    result = typed(controller, "nora", "customer", "list", "--controller", "127.0.0.1:1")
    assert refusal(result) == "controller-unreachable"
    assert refusal(typed(controller, "nora", "customer", "list", "--controller", "nowhere")) == "address-malformed"


def test_whoever_answers_has_to_be_a_controller(controller: Running) -> None:
    """A service with a certificate of the platform that listens in a controller's place is refused."""
    ground = controller.ground
    from ringfort.control.client import Client, Endpoint
    from ringfort.identity.tls import server_context

    context = server_context(ground.credential(Role.SERVICE, "web"), ground.store.bundle())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        child = os.fork()
        if child == 0:
            try:
                accepted, _ = server.accept()
                context.wrap_socket(accepted, server_side=True).recv(1)
            finally:
                os._exit(0)
        try:
            client = Client.platform(
                Endpoint("127.0.0.1", port), ground.credential(Role.OPERATOR, "nora"), ground.store.bundle()
            )
            with client, pytest.raises(RingfortError) as refused:
                client.get("/v1/nodes")
            assert refused.value.code == "identity-wrong-role"
        finally:
            os.waitpid(child, 0)


def test_a_controller_runs_tells_systemd_and_stops_when_told(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(30)
        command = [sys.executable, "-m", "ringfort", "controller", "--config", str(ground.settings())]
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert told.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert told.recv(100) == b"STOPPING=1"
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()


def test_a_controller_without_a_configuration_says_what_is_missing() -> None:
    result = CliRunner().invoke(ringfort, ["controller"])
    assert result.exit_code == 2
    assert "--config" in result.output
