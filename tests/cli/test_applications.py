"""`deploy`, `application` and `instance`, as people type them."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ringfort.cli.main import ringfort
from ringfort.control.client import Client
from ringfort.errors import DeclarationError, RingfortError
from ringfort.identity.names import Role
from ringfort.identity.store import write_credential
from tests.compute.bundles import DESCRIPTION, archive, image, raw
from tests.control.places import Places, until
from tests.control.running import CustomerKey, Ground, Running, customer_key, running
from tests.control.shops import own_certificate

EXAMPLES = Path(__file__).parents[2] / "examples" / "applications"


@dataclass
class Desk:
    """A customer at its keyboard, and an operator at another."""

    controller: Running
    key: CustomerKey
    places: Places | None = None

    def typed(self, *words: object, given: str | None = None) -> Result:
        endpoint = self.controller.customers
        environment = {
            "RINGFORT_CONTROLLER": f"{endpoint.host}:{endpoint.port}",
            "RINGFORT_CERTIFICATE": str(self.key.pem),
            "RINGFORT_KEY": str(self.key.key),
            "RINGFORT_BUNDLE": str(self.controller.ground.directory / "authority" / "bundle.pem"),
        }
        return CliRunner().invoke(ringfort, [str(word) for word in words], env=environment, input=given)

    def operated(self, who: str, *words: object) -> Result:
        ground, endpoint = self.controller.ground, self.controller.platform
        credential = ground.directory / f"{who}.pem"
        write_credential(credential, ground.credential(Role.OPERATOR, who))
        environment = {
            "RINGFORT_CONTROLLER": f"{endpoint.host}:{endpoint.port}",
            "RINGFORT_CREDENTIAL": str(credential),
            "RINGFORT_BUNDLE": str(ground.directory / "authority" / "bundle.pem"),
        }
        return CliRunner().invoke(ringfort, [str(word) for word in words], env=environment)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running(Ground(tmp_path_factory.mktemp("control"))) as controller:
        key = customer_key(tmp_path_factory.mktemp("acme"), "acme")
        form = {"name": "acme", "certificate": key.text}
        controller.operator("sophie").call("POST", "/v1/customers", form, reason="contract")
        yield Desk(controller, key, Places(controller.ground))


def printed(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refusal(result: Result) -> str:
    assert isinstance(result.exception, RingfortError), result.output
    return result.exception.code


def test_an_applications_life(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "guestbook"
    shutil.copytree(EXAMPLES / "guestbook", folder, ignore=shutil.ignore_patterns("__pycache__"))
    plan = json.loads(printed(desk.typed("deploy", folder, "--dry-run", "--format", "json")))
    assert (plan["customer"], plan["deployment"], plan["instances"]) == ("acme", 1, 2)
    assert printed(desk.typed("application", "list")) == ""
    first = desk.typed("deploy", folder, "--application", "guestbook")
    assert f"guestbook: deployment 1, sha256:{plan['digest']}, 2 instances" in printed(first)
    assert "sent" in first.stderr
    (folder / "guestbook.py").write_text("print('second')\n")
    assert json.loads(printed(desk.typed("deploy", folder, "--format", "json")))["deployment"] == 2
    assert "deployment 2" in printed(desk.typed("application", "list"))
    assert "would go back to the deployment before of guestbook" in printed(
        desk.typed("application", "rollback", "guestbook", "--dry-run")
    )
    assert f"back to 1  sha256:{plan['digest'][:16]}" in printed(desk.typed("application", "rollback", "guestbook"))
    scaled = json.loads(printed(desk.typed("application", "scale", "guestbook", "3", "--format", "json")))
    assert [one["ordinal"] for one in scaled["instances"]] == [0, 1, 2]
    assert "guestbook  stopped" in printed(desk.typed("application", "stop", "guestbook"))
    assert "guestbook  running" in printed(desk.typed("application", "start", "guestbook"))
    shown = json.loads(printed(desk.typed("application", "show", "guestbook", "--format", "json")))
    assert [one["number"] for one in shown["deployments"]] == [3, 2, 1]
    assert "would delete guestbook with 3" in printed(desk.typed("application", "delete", "guestbook", "--dry-run"))
    printed(desk.typed("application", "delete", "guestbook"))
    assert refusal(desk.typed("application", "show", "guestbook")) == "not-found"


def test_settings_are_set_listed_and_unset_and_secrets_never_shown(desk: Desk) -> None:
    config, secret = ("application", "config"), ("application", "secret")
    printed(desk.typed("deploy", EXAMPLES / "hello"))
    assert printed(desk.typed(*config, "list", "hello")) == "GREETING=Hello from WebAssembly  (app.yaml)\n"
    assert "would change" in printed(desk.typed(*config, "set", "hello", "GREETING=hi", "--dry-run"))
    assert (
        printed(desk.typed(*config, "set", "hello", "GREETING=a=b", "MODE=")) == "set GREETING, set MODE; settings 1\n"
    )
    assert printed(desk.typed(*config, "list", "hello")) == "GREETING=a=b\nMODE=\n"
    assert printed(desk.typed(*config, "unset", "hello", "GREETING", "MODE")).startswith("unset GREETING")
    assert desk.typed(*config, "set", "hello", "GREETING").exit_code == 2
    token = desk.typed(*secret, "set", "hello", "API_TOKEN", given="sesame\n")
    assert printed(token) == "set API_TOKEN; settings 3\n"
    listed = printed(desk.typed(*secret, "list", "hello"))
    assert "API_TOKEN  set" in listed
    assert "sesame" not in listed + printed(desk.typed(*secret, "list", "hello", "--format", "json")) + token.output
    printed(desk.typed(*secret, "unset", "hello", "API_TOKEN"))


def test_certificates_of_ones_own_are_set_listed_and_deleted_and_keys_never_shown(desk: Desk, tmp_path: Path) -> None:
    sent, certificate = own_certificate("www.acme.example", "api.acme.example"), ("application", "certificate")
    (tmp_path / "chain.pem").write_text(sent["chain"])
    (tmp_path / "own.key").write_text(sent["key"])
    files = tmp_path / "chain.pem", tmp_path / "own.key"
    assert "would take" in printed(desk.typed(*certificate, "set", *files, "--dry-run"))
    lines = printed(desk.typed(*certificate, "set", *files)).splitlines()
    assert [line.split()[0] for line in lines] == ["api.acme.example", "www.acme.example"]
    assert all("visitors have to know its root" in line for line in lines)
    assert "PRIVATE" not in printed(desk.typed(*certificate, "list", "--format", "json"))
    assert "www" not in printed(desk.typed(*certificate, "delete", "www.acme.example"))
    assert refusal(desk.typed(*certificate, "delete", "www.acme.example")) == "not-found"
    (tmp_path / "own.key").write_text(own_certificate("www.acme.example")["key"])
    assert refusal(desk.typed(*certificate, "set", *files)) == "certificate-key-mismatch"
    printed(desk.typed(*certificate, "delete", "api.acme.example"))


def test_what_is_refused_is_refused_before_anything_is_sent(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    assert refusal(desk.typed("deploy", folder)) == "description-missing"
    (folder / "app.yaml").write_text("application: broken\nruntime: pyton\n")
    result = desk.typed("deploy", folder)
    assert isinstance(result.exception, DeclarationError)
    assert str(result.exception.problems[0].origin) == "app.yaml:2:10"
    (folder / "app.yaml").write_bytes(DESCRIPTION)
    (folder / "evil").symlink_to("../../etc/passwd")
    assert refusal(desk.typed("deploy", folder)) == "link-escapes"
    (folder / "evil").unlink()
    other = desk.typed("deploy", folder, "--application", "other")
    assert other.exit_code == 2
    assert "about 'shop'" in other.output


def hypervisor(desk: Desk, name: str) -> Client:
    """A node with places for all that these tests deploy."""
    assert desk.places is not None
    return desk.places.hypervisor(desk.controller, name, "acme " * 12)


def test_a_deploy_waits_for_its_instances_if_asked(desk: Desk) -> None:
    ran = desk.typed("deploy", EXAMPLES / "hello", "--wait", "1")
    assert ran.exit_code == 1
    assert "not all instances run after 1 s" in ran.stderr
    assert "the platform has declared no place for this customer" in ran.stderr
    assert "waits: the platform has declared no place" in printed(desk.typed("application", "show", "hello"))
    shown = json.loads(printed(desk.typed("application", "scale", "hello", "1", "--format", "json")))
    instance = shown["instances"][0]["instance"]
    node = hypervisor(desk, "waits-1")
    heard = threading.Event()

    def run() -> None:
        heard.wait(20)
        said = {"instance": instance, "deployment": shown["deployment"] + 1, "settings": 0, "state": "running"}
        for _ in range(20):
            node.call("POST", "/v1/nodes/waits-1/instances", {"instances": [said]})
            time.sleep(0.2)

    thread = threading.Thread(target=run)
    thread.start()
    heard.set()
    ran = desk.typed("deploy", EXAMPLES / "hello", "--wait", "20", "--format", "json")
    thread.join()
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["instances"][0]["state"] == "running"


def test_an_image_is_deployed_with_a_description_beside_it(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(image([archive(raw("bin/shop", mode=0o755, content=b"#!"))]))
    description = tmp_path / "app.yaml"
    description.write_text("application: imaged\nruntime: command\ncommand: [/bin/shop]\n")
    assert refusal(desk.typed("deploy", file)) == "description-missing"
    assert "imaged: deployment 1" in printed(desk.typed("deploy", file, "--description", description))


def test_a_certificate_that_nobody_registered_is_nobodys(desk: Desk, tmp_path: Path) -> None:
    stranger = Desk(desk.controller, customer_key(tmp_path, "stranger"))
    assert refusal(stranger.typed("application", "list")) == "controller-unreachable"  # the handshake fails


def test_logs_are_printed_and_obey_no_application(desk: Desk) -> None:
    printed(desk.typed("deploy", EXAMPLES / "hello"))
    shown = json.loads(printed(desk.typed("application", "show", "hello", "--format", "json")))
    instance = shown["instances"][0]["instance"]
    node = hypervisor(desk, "logs-1")
    until(lambda: "-p" in printed(desk.typed("application", "show", "hello")))
    moved = desk.operated("nora", "instance", "move", instance, "--to", "logs-1", "--ticket", "CHG-1")
    assert "logs-1-p" in printed(moved)
    lines = {"lines": [{"at": "2026-11-24T12:00:00Z", "text": "one\x1b[2Jtwo"}]}
    node.call("POST", f"/v1/nodes/logs-1/instances/{instance}/log", lines)
    expected = f"2026-11-24T12:00:00 {instance} one\N{REPLACEMENT CHARACTER}[2Jtwo\n"
    assert printed(desk.typed("application", "logs", "hello")) == expected


def test_operators_list_stop_start_and_move_instances(desk: Desk) -> None:
    printed(desk.typed("deploy", EXAMPLES / "hello"))
    found = json.loads(printed(desk.operated("nora", "instance", "list", "--format", "json")))
    instance = next(one["instance"] for one in found if one["application"] == "hello")
    assert "acme/hello" in printed(desk.operated("aude", "instance", "list"))
    assert refusal(desk.operated("nora", "instance", "stop", instance)) == "forbidden"
    assert printed(desk.operated("nora", "instance", "stop", instance, "--dry-run")).startswith("would stop it; now:")
    assert desk.operated("nora", "instance", "move", "i-000000000000", "--dry-run").exit_code == 2
    assert "stopped here" in printed(desk.operated("nora", "instance", "stop", instance, "--ticket", "INC-8"))
    assert "(stopped by the platform)" in printed(desk.typed("application", "show", "hello"))
    assert "stopped here" not in printed(desk.operated("nora", "instance", "start", instance, "--ticket", "INC-8"))
