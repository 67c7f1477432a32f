"""A lab with a control plane: everything comes over its own network, and no single part of it can open anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ringfort.control.client import Client, Endpoint
from ringfort.environment.model import Tls
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.gateway import process, runtime
from ringfort.gateway.haproxy import Files
from ringfort.identity.certificates import authority_key_id
from ringfort.identity.store import read_credential
from ringfort.kernel.processes import Process
from ringfort.lab import authority, gates, state
from ringfort.lab.authority import host_holder, operator_holder, service_holder
from ringfort.lab.client import Outcome, call
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.lab.processes import RECORD
from ringfort.network.compile import compile_device
from ringfort.network.drift import drift
from ringfort.proof.claims import verify
from tests.environment.controlled import CONTROLLED
from tests.lab import worlds
from tests.lab.calls import failures, host
from tests.lab.running import running

pytestmark = pytest.mark.lab

R1 = Device(DeviceKind.ROUTER, "r1")
APP, CONTROL, DESK = "10.10.1.2", "10.10.2.2", "10.10.2.4"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("controlled"), CONTROLLED, "plane") as made:
        yield made


def plane(lab: Lab) -> Plane:
    found = Plane.of(lab.environment)
    assert found is not None
    return found


def until(done: Callable[[], bool], seconds: float) -> float:
    """How long it took; fails when it takes too long."""
    begin = time.monotonic()
    while not done():
        assert time.monotonic() - begin < seconds, "it took too long"
        time.sleep(0.05)
    return time.monotonic() - begin


def by_hand(lab: Lab, device: Device, commands: str) -> None:
    subprocess.run(["ip", "netns", "exec", lab.namespace(device), "nft", commands], check=True)


def is_as_compiled(lab: Lab, device: Device) -> bool:
    return not drift(compile_device(lab.environment, device).document, lab.read_device(device))


def test_every_node_confirms_what_two_approvers_signed_and_a_witness_vouches_for_the_log(lab: Lab) -> None:
    # A publication, and for each machine its token and its enrolment; the log follows the database within seconds.
    until(lambda: records(lab) >= 1 + 2 * 7, 20)
    standing = lab.standing()
    assert standing is not None
    assert (standing.nodes, standing.confirmed, standing.version) == (7, 7, 1)
    assert standing.signers == ("alice", "bob")
    assert standing.trouble == ""
    assert standing.witnesses == ("lab.example/witness/watch",)


def records(lab: Lab) -> int:
    standing = lab.standing()
    assert standing is not None
    return standing.records


def test_what_the_nodes_loaded_is_proved_and_works(lab: Lab) -> None:
    documents, checks = lab.read_back()
    assert verify(lab.environment, documents, checks).exit_code == 0
    assert failures(lab) == []


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    changes = lab.up()
    assert changes.is_nothing
    assert (changes.nodes_started, changes.version) == (0, 1)


@pytest.mark.parametrize("device", [R1, Device(DeviceKind.SWITCH, "north/apps"), host("app")], ids=str)
def test_rules_changed_by_hand_are_mended_and_told_of(lab: Lab, device: Device) -> None:
    family = "bridge" if device.kind is DeviceKind.SWITCH else "inet"
    by_hand(lab, device, f"add rule {family} ringfort forward accept" if device.kind is not DeviceKind.HOST else
            "add rule inet ringfort input accept")  # fmt: skip
    assert not is_as_compiled(lab, device)
    assert until(lambda: is_as_compiled(lab, device), 10) < 10
    node = plane(lab).node_of(device)

    def told() -> bool:
        with plane(lab).calling() as client:
            events = client.get("/v1/events")["events"]
        return any("accept" in str(event) and node in str(event) for event in events)

    until(told, 10)


def setting(lab: Lab, device: Device, key: str, value: str = "") -> str:
    """What a kernel setting is, or is set to by hand."""
    with lab.inside(device):
        file = Path("/proc/sys", key)
        if value:
            file.write_text(value)
        return file.read_text().strip()


@pytest.mark.parametrize(
    ("device", "key", "right", "wrong"),
    [
        pytest.param(host("app"), "net/ipv4/ip_forward", "0", "1", id="forwarding"),
        pytest.param(host("app"), "net/ipv4/conf/eth0/rp_filter", "1", "0", id="of one interface"),
        pytest.param(R1, "net/ipv4/conf/all/send_redirects", "0", "1", id="redirects"),
    ],
)
def test_a_kernel_setting_is_kept_by_the_node(lab: Lab, device: Device, key: str, right: str, wrong: str) -> None:
    until(lambda: setting(lab, device, key) == right, 5)
    setting(lab, device, key, wrong)
    assert until(lambda: setting(lab, device, key) == right, 5) < 5


def asks_for(lab: Lab, callers: set[str]) -> bool:
    with suppress(RingfortError):
        (check,) = (check for check in lab.identity_checks()["app"] if check.service == "app")
        return check.callers == callers
    return False


DESK_NODE, EVIL = "spiffe://lab.example/node/desk", "spiffe://lab.example/node/evil"


def _kill(files: Files) -> None:
    running = process.running(files)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)


def _admit(files: Files) -> None:
    runtime.order(files.socket, f"add acl {files.callers('app')} {EVIL}")


@pytest.mark.parametrize("change", [_kill, _admit])
def test_an_enforcement_point_changed_by_hand_is_mended_by_its_node_and_told_of(
    lab: Lab, change: Callable[[Files], None]
) -> None:
    until(lambda: asks_for(lab, {DESK_NODE}), 10)
    change(gates.Layout.of(lab.environment, lab.keys).files("app"))
    assert not asks_for(lab, {DESK_NODE})
    assert until(lambda: asks_for(lab, {DESK_NODE}), 5) < 5

    def told() -> bool:
        with plane(lab).calling() as client:
            events = client.get("/v1/events")["events"]
        return any("enforcement point" in str(event) and event["kind"] == "drift" for event in events)

    until(told, 10)
    assert call(lab, host("desk"), APP, 8443, tls=Tls.MUTUAL, holder=host_holder("desk")).outcome is Outcome.ADMITTED


def test_services_have_certificates_that_their_nodes_asked_for(lab: Lab) -> None:
    made = read_credential(gates.Layout.of(lab.environment, lab.keys).certificate("app", "app"))
    assert made.identity.uri == "spiffe://lab.example/service/app"
    assert [str(address) for address in made.addresses] == [APP]
    answer = call(lab, host("desk"), APP, 8443, tls=Tls.MUTUAL, holder=host_holder("desk"))
    assert answer.identity == "spiffe://lab.example/service/app"


def test_who_is_revoked_at_the_controller_is_refused_by_enforcement_points_within_seconds(
    lab: Lab, tmp_path: Path
) -> None:
    """Nobody is told but the controller: it signs, nodes hear of it, their HAProxies refuse."""
    desk = lab.environment.hosts["desk"]
    shutil.copy(lab.keys / authority.ROOT_FILE, tmp_path)
    lost = authority.key_file(tmp_path, "lost")
    lost.write_bytes(lab.authority().issue(desk.identity, desk.addresses, datetime.now(UTC)))

    def outcome() -> Outcome:
        return call(lab, host("desk"), APP, 8443, tls=Tls.MUTUAL, holder="lost", keys=tmp_path).outcome

    assert outcome() is Outcome.ADMITTED
    leaf, bob = (read_credential(file) for file in (lost, authority.key_file(lab.keys, operator_holder("bob", "desk"))))
    form = {"authority": authority_key_id(leaf.leaf), "serial": f"{leaf.leaf.serial_number:x}", "reason": "lost"}
    with lab.inside(host("desk")), Client.platform(Endpoint(CONTROL, 9440), bob, lab.authority().bundle) as client:
        client.call("POST", "/v1/revocations", form, reason="INC-1")
    assert until(lambda: outcome() is Outcome.REFUSED, 5) < 5
    assert call(lab, host("desk"), APP, 8443, tls=Tls.MUTUAL, holder=host_holder("desk")).outcome is Outcome.ADMITTED


def drifts(lab: Lab) -> int:
    with plane(lab).calling() as client:
        return sum(event["kind"] == "drift" for event in client.get("/v1/events")["events"])


def test_two_mechanisms_of_one_host_are_put_back_before_its_node_goes_on(lab: Lab) -> None:
    before = drifts(lab)
    with lab.without("host-firewall:app", "identity:app"):
        assert asks_for(lab, set())
        assert not is_as_compiled(lab, host("app"))
    assert asks_for(lab, {DESK_NODE})
    assert is_as_compiled(lab, host("app"))
    time.sleep(4)
    assert drifts(lab) == before


def test_the_witness_too_has_a_certificate_from_the_node_of_its_host(lab: Lab) -> None:
    file = Path(plane(lab).credential("witness"))
    before = read_credential(file)
    file.unlink()
    by_hand(lab, host("watch"), "add rule inet ringfort input accept")  # whoever reports asks for what is missing
    until(file.exists, 10)
    found = read_credential(file)
    assert found.identity == before.identity
    assert found.leaf.serial_number != before.leaf.serial_number


def test_a_check_that_is_switched_off_stays_off_until_it_is_switched_on(lab: Lab) -> None:
    before = drifts(lab)
    with lab.without("identity:app"):
        time.sleep(4)  # its node would have mended it by now
        assert asks_for(lab, set())
    assert asks_for(lab, {DESK_NODE})
    time.sleep(4)
    assert asks_for(lab, {DESK_NODE})
    assert drifts(lab) == before, "what was put back as it was is nobody's change"


@pytest.mark.parametrize(
    ("place", "holder"),
    [
        pytest.param("app", "", id="without a certificate"),
        pytest.param("app", service_holder("app", "app"), id="in a wrong role"),
        pytest.param("app", host_holder("desk"), id="with another node's keys"),
        pytest.param("app", operator_holder("alice", "desk"), id="with an operator's keys from elsewhere"),
    ],
)
def test_the_controller_hears_nobody_else(lab: Lab, place: str, holder: str) -> None:
    answer = call(lab, host(place), CONTROL, 9440, tls=Tls.MUTUAL, holder=holder)
    assert answer.outcome is Outcome.REFUSED, answer


def test_the_controller_hears_who_it_should(lab: Lab) -> None:
    for place, holder in (("app", host_holder("app")), ("desk", operator_holder("alice", "desk"))):
        answer = call(lab, host(place), CONTROL, 9440, tls=Tls.MUTUAL, holder=holder)
        assert answer.detail == "HTTP/1.1 200 OK"


def test_without_its_controller_a_node_goes_on_enforcing(lab: Lab) -> None:
    entry = state.load(lab.environment.name, RECORD)["controller"]
    os.kill(Process(entry["pid"], entry["started"]).pid, signal.SIGKILL)
    by_hand(lab, R1, "insert rule inet ringfort forward accept")
    assert until(lambda: is_as_compiled(lab, R1), 10) < 10
    assert call(lab, host("desk"), APP, 8443, tls=Tls.MUTUAL, holder=host_holder("desk")).outcome is Outcome.ADMITTED
    assert lab.up().version == 1
    assert failures(lab) == []


def test_what_changes_in_the_declaration_is_the_next_version(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = CONTROLLED.replace('  - {from: "host:desk", to: app}\n', "")
    changed = worlds.environment(tmp_path_factory.mktemp("changed"), text, "plane")
    with Lab(changed) as other:
        changes = other.up()
        assert (changes.version, sorted(changes.loaded)) == (2, ["host:app", "host:desk", "router:r1", "router:r2"])
        answer = call(other, host("desk"), APP, 8443, tls=Tls.MUTUAL, holder=host_holder("desk"), timeout_seconds=0.3)
        assert answer.outcome is not Outcome.ADMITTED
    assert lab.up().version == 3
    assert failures(lab) == []


@pytest.mark.lab
def test_keys_that_callers_show_are_renewed_without_up_when_they_are_due(lab: Lab) -> None:
    manifest = lab.keys / authority.MANIFEST
    noted = json.loads(manifest.read_text())
    due = operator_holder("bob", "desk")
    noted[due]["until"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    manifest.write_text(json.dumps(noted))
    before = read_credential(authority.key_file(lab.keys, due)).leaf
    assert lab.renew_keys() == 1
    assert read_credential(authority.key_file(lab.keys, due)).leaf.serial_number != before.serial_number
    assert lab.renew_keys() == 0
