"""A small lab in the kernel: declared calls work, others don't, and a second ``up`` mends exactly what differs."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ringfort.environment.model import Protocol, Tls
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.errors import RingfortError
from ringfort.gateway import haproxy
from ringfort.identity.revocation import revoked
from ringfort.identity.store import read_credential
from ringfort.kernel import processes
from ringfort.lab import control, netns
from ringfort.lab.authority import host_holder, key_file, service_holder
from ringfort.lab.client import Outcome, call, context
from ringfort.lab.lab import Lab
from ringfort.network.identity import identity_checks
from tests.lab import worlds
from tests.lab.calls import declared, failures, host
from tests.lab.running import mended, running

pytestmark = pytest.mark.lab

WEB_1, APP_1, APP_2, ADMIN = "10.10.1.2", "10.10.2.2", "10.10.2.3", "10.10.2.4"
R1 = Device(DeviceKind.ROUTER, "r1")
BACK = Device(DeviceKind.SWITCH, "north/back")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("small"), worlds.SMALL, "lab") as made:
        yield made


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    yield from mended(lab)


def nft(lab: Lab, device: Device, commands: str) -> None:
    """What somebody does by hand."""
    subprocess.run(["ip", "netns", "exec", lab.namespace(device), "nft", commands], check=True)


def ip(lab: Lab, place: Device | str, *words: str) -> None:
    subprocess.run(["ip", "-n", lab.namespace(place), *words], check=True)


# --- packets -------------------------------------------------------------------------------------------------------


def test_every_declared_call_works(lab: Lab) -> None:
    assert {attempt.service.protocol for attempt in declared(lab.environment)} == set(Protocol)
    assert failures(lab) == []


def test_every_declared_call_works_over_the_other_router(lab: Lab) -> None:
    lab.activate("north", "r2")
    assert lab.active() == {"north": "r2"}
    assert failures(lab) == []
    lab.activate("north", "r1")
    assert failures(lab) == []


def test_a_service_proves_its_own_identity(lab: Lab) -> None:
    answer = call(lab, "visitor", "198.51.100.4", 443, tls=Tls.SERVER)
    assert answer.identity == "spiffe://lab.example/service/web"
    assert answer.detail == "ringfort web web-1 ok"


def test_every_port_of_a_range_is_open(lab: Lab) -> None:
    for port in (8443, 9000, 9001, 9002):
        answer = call(lab, host("admin"), APP_1, port, tls=Tls.MUTUAL, holder=host_holder("admin"))
        assert answer.outcome is Outcome.ADMITTED


@pytest.mark.parametrize(
    ("place", "address", "port", "protocol"),
    [
        pytest.param(host("web-1"), APP_1, 22, Protocol.TCP, id="another port"),
        pytest.param(host("web-1"), "10.10.1.3", 443, Protocol.TCP, id="a neighbour"),
        pytest.param(host("admin"), WEB_1, 443, Protocol.TCP, id="against the direction"),
        pytest.param(host("web-1"), APP_1, 0, Protocol.ICMP, id="a ping"),
        pytest.param("visitor", APP_1, 8443, Protocol.TCP, id="an address inside, from the internet"),
        pytest.param("visitor", "198.51.100.4", 53, Protocol.UDP, id="a port that is not published there"),
        pytest.param("attacker", "198.51.100.2", 22, Protocol.TCP, id="the router itself"),
        pytest.param(host("web-1"), "203.0.113.10", 80, Protocol.TCP, id="a way out"),
    ],
)
def test_what_is_not_declared_gets_no_answer(
    lab: Lab, place: Device | str, address: str, port: int, protocol: Protocol
) -> None:
    assert call(lab, place, address, port, protocol=protocol, timeout_seconds=0.2).outcome is not Outcome.ADMITTED


def test_replies_leave_by_the_provider_their_connection_came_in_by(lab: Lab) -> None:
    def sent(interface: str) -> int:
        with lab.inside(R1):
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        return next(int(line.split()[10]) for line in lines if line.split(":")[0].strip() == interface)

    before = sent("beta")
    assert call(lab, "visitor", "198.51.100.20", 443, tls=Tls.SERVER).outcome is Outcome.ADMITTED
    assert sent("beta") > before


# --- identity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "holder", "reason"),
    [
        pytest.param("web-1", "", haproxy.HANDSHAKE, id="without a certificate"),
        pytest.param(
            "web-1", host_holder("web-1"), haproxy.CALLER, id="with the host's own name where the service's is due"
        ),
        pytest.param("web-1", service_holder("web", "web-2"), haproxy.ADDRESS, id="with keys stolen from another host"),
        pytest.param("admin", service_holder("app", "app-2"), haproxy.CALLER, id="with a neighbour's keys"),
        pytest.param("web-1", service_holder("web", "web-1"), "", id="with its own"),
    ],
)
def test_a_service_checks_who_calls(lab: Lab, caller: str, holder: str, reason: str) -> None:
    outcome = reason or "accepted"
    before = lab.service_counts()["app", "app-1"].get(outcome, 0)
    answer = call(lab, host(caller), APP_1, 8443, tls=Tls.MUTUAL, holder=holder)
    assert answer.outcome is (Outcome.REFUSED if reason else Outcome.ADMITTED)
    assert lab.service_counts()["app", "app-1"][outcome] == before + 1


def test_a_certificate_of_another_authority_is_refused(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    from ipaddress import ip_address

    from ringfort.lab.authority import ROOT_FILE, Authority, sites_of

    forged = tmp_path_factory.mktemp("forged")
    authority = Authority.open_or_make(forged, "lab.example", sites_of(lab.environment), datetime.now(UTC))
    pem = authority.issue("spiffe://lab.example/service/web", [ip_address(WEB_1)], datetime.now(UTC))
    key_file(forged, "web@web-1").write_bytes(pem)
    (forged / ROOT_FILE).write_bytes((lab.keys / ROOT_FILE).read_bytes())
    before = lab.service_counts()["app", "app-1"][haproxy.HANDSHAKE]
    answer = call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL, holder="web@web-1", keys=forged)
    assert answer.outcome is Outcome.REFUSED
    assert lab.service_counts()["app", "app-1"][haproxy.HANDSHAKE] == before + 1


def test_a_revoked_caller_is_refused_and_another_goes_on(lab: Lab) -> None:
    now = datetime.now(UTC)
    authority = lab.authority()
    path = key_file(lab.keys, service_holder("web", "web-1"))
    leaf = read_credential(path).chain[0]
    authority.store.revoke(authority.store.issuer_of(leaf), [revoked(leaf, now)], now)
    before = lab.service_counts()["app", "app-1"][haproxy.HANDSHAKE]
    assert lab.up().services == "restarted"
    assert call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL, holder="web@web-1").outcome is Outcome.REFUSED
    assert lab.service_counts()["app", "app-1"][haproxy.HANDSHAKE] == before + 1
    assert call(lab, host("web-2"), APP_1, 8443, tls=Tls.MUTUAL, holder="web@web-2").outcome is Outcome.ADMITTED
    path.unlink()
    lab.up()
    assert call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL, holder="web@web-1").outcome is Outcome.ADMITTED
    assert lab.up().is_nothing


def test_nothing_older_than_tls_1_3_and_nothing_without_tls_is_heard(lab: Lab) -> None:
    before = lab.service_counts()["app", "app-1"].get(haproxy.HANDSHAKE, 0)
    old = context(lab.keys, service_holder("web", "web-1"))
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    with lab.inside(host("web-1")):
        first, second = (socket.create_connection((APP_1, 8443), timeout=2) for _ in range(2))
    with first, pytest.raises(OSError, match=r"protocol|alert|reset"):
        old.wrap_socket(first)
    with second, suppress(ConnectionResetError):
        second.sendall(b"hello\n" * 10)
        assert b"ringfort" not in second.recv(100)
    assert lab.service_counts()["app", "app-1"][haproxy.HANDSHAKE] == before + 2


def test_with_its_check_off_a_service_admits_anyone_and_says_so(lab: Lab) -> None:
    wanted = identity_checks(lab.environment)
    assert lab.identity_checks() == wanted
    with lab.without("identity:app"):
        assert call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL).outcome is Outcome.ADMITTED
        (found,) = lab.identity_checks()["app-1"]
        assert (found.tls, found.callers) == (Tls.SERVER, frozenset())
    assert lab.identity_checks() == wanted
    assert call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL).outcome is Outcome.REFUSED


def test_one_hosts_check_can_be_off_alone(lab: Lab) -> None:
    with lab.without("identity:app@app-1"):
        assert call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL).outcome is Outcome.ADMITTED
        assert call(lab, host("web-1"), APP_2, 8443, tls=Tls.MUTUAL).outcome is Outcome.REFUSED


# --- mechanisms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mechanism", "device"),
    [
        ("router-filter:r1", R1),
        ("port-security:north/back", BACK),
        ("host-firewall:app-1", host("app-1")),
    ],
)
def test_a_mechanism_goes_and_comes_back_as_it_was(whole: Lab, mechanism: str, device: Device) -> None:
    lab = whole
    from ringfort.lab import nft as rules

    before = rules.canonical(lab.read_device(device))
    with lab.without(mechanism):
        assert not any("table" in entry for entry in lab.read_device(device)["nftables"])
    assert rules.canonical(lab.read_device(device)) == before
    assert lab.up().is_nothing


def test_isolation_of_ports_goes_with_port_security(whole: Lab) -> None:
    lab = whole
    ports = {"r1": False, "r2": False, "app-1": True, "app-2": True, "admin": True}
    assert lab.isolated_ports("north/back") == ports
    with lab.without("port-security:north/back"):
        assert not any(lab.isolated_ports("north/back").values())
    assert lab.isolated_ports("north/back") == ports


def test_a_neighbour_is_reached_directly_only_when_every_mechanism_on_the_way_is_gone(whole: Lab) -> None:
    lab = whole
    mac = lab.environment.hosts["app-1"].mac

    def reaches() -> bool:
        ip(lab, host("admin"), "neigh", "replace", APP_1, "lladdr", mac, "dev", "eth0", "nud", "permanent")
        ip(lab, host("admin"), "route", "replace", APP_1, "dev", "eth0")
        return (
            call(lab, host("admin"), APP_1, 0, protocol=Protocol.ICMP, timeout_seconds=0.2).outcome is Outcome.ADMITTED
        )

    mechanisms = ("host-firewall:admin", "port-security:north/back", "host-firewall:app-1")
    ip(lab, host("app-1"), "neigh", "replace", ADMIN, "lladdr", lab.environment.hosts["admin"].mac, "dev", "eth0")
    ip(lab, host("app-1"), "route", "replace", ADMIN, "dev", "eth0")
    for left in mechanisms:
        with lab.without(*(name for name in mechanisms if name != left)):
            assert not reaches()
    with lab.without(*mechanisms):
        assert reaches()


def test_counters_count_what_is_refused(lab: Lab) -> None:
    def refused() -> int:
        return sum(number for name, number in lab.counters(host("web-1")).items() if "undeclared" in name)

    before = refused()
    call(lab, host("web-1"), APP_1, 22, timeout_seconds=0.1)
    assert refused() > before


@pytest.mark.parametrize(
    "name", ["router-filter:r9", "identity:web@app-1", "identity:nothing", "host-firewall", "x:y", ""]
)
def test_an_unknown_mechanism_is_refused(lab: Lab, name: str) -> None:
    with pytest.raises(RingfortError, match="there is no mechanism"):
        lab.disable(name)


# --- a second up ---------------------------------------------------------------------------------------------------


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    failures(lab)  # what packets leave behind is no difference
    changes = lab.up()
    assert changes.is_nothing, changes.to_json()
    assert changes.devices_changed == 0


def test_a_flushed_ruleset_is_loaded_again_and_no_other(whole: Lab) -> None:
    lab = whole
    nft(lab, R1, "flush ruleset")
    assert lab.up(dry_run=True).loaded == ["router:r1"]
    changes = lab.up()
    assert (changes.loaded, changes.devices_changed, changes.wired) == (["router:r1"], 1, [])


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param("insert rule inet ringfort forward accept", id="a rule"),
        pytest.param("add table ip extra", id="a table"),
        pytest.param("add chain inet ringfort forward { policy accept; }", id="a policy"),
    ],
)
def test_rules_edited_by_hand_are_noticed(whole: Lab, edit: str) -> None:
    lab = whole
    nft(lab, R1, edit)
    assert lab.up().loaded == ["router:r1"]
    assert lab.up().is_nothing


def test_rules_loaded_twice_leave_the_same_state(whole: Lab) -> None:
    lab = whole
    from ringfort.lab import nft as rules
    from ringfort.network.compile import compile_device

    for device in devices(lab.environment):
        before = rules.canonical(lab.read_device(device))
        rules.run(lab.namespace(device), compile_device(lab.environment, device).text)
        assert rules.canonical(lab.read_device(device)) == before


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param(host("web-1"), "addr add 10.9.9.9/32 dev eth0", id="an address"),
        pytest.param(host("web-1"), "route add 10.9.9.0/24 via 10.10.1.1 dev eth0 onlink", id="a route"),
        pytest.param(host("web-1"), "route del default", id="a lost route"),
        pytest.param(host("web-1"), "neigh flush dev eth0 nud permanent", id="lost neighbours"),
        pytest.param(host("web-1"), "link set eth0 down", id="a link that is down"),
        pytest.param(host("web-1"), "link set eth0 address 02:00:00:00:00:99", id="another MAC"),
        pytest.param(R1, "rule add pref 7 lookup 77", id="a routing rule"),
        pytest.param(R1, "link add hole type veth peer name elohs", id="an interface"),
        pytest.param(BACK, "link set app-1 type bridge_slave isolated off", id="a port that is no longer isolated"),
        pytest.param(BACK, "link set app-1 nomaster", id="a port that left its bridge"),
    ],
)
def test_wiring_changed_by_hand_is_mended_there_and_nowhere_else(whole: Lab, place: Device, words: str) -> None:
    lab = whole
    ip(lab, place, *words.split())
    changes = lab.up()
    assert changes.wired_namespaces == {lab.namespace(place)}
    assert (changes.loaded, changes.services) == ([], "kept")
    assert lab.up().is_nothing
    assert failures(lab) == []


def test_a_changed_sysctl_is_set_again(whole: Lab) -> None:
    lab = whole
    with lab.inside(R1):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    changes = lab.up()
    assert f"{lab.namespace(R1)}: sysctl net.ipv4.ip_forward=1" in changes.wired
    assert changes.wired_namespaces == {lab.namespace(R1)}


@pytest.mark.parametrize("device", [host("app-1"), R1, BACK], ids=str)
def test_a_deleted_namespace_is_built_again(whole: Lab, device: Device) -> None:
    lab = whole
    subprocess.run(["ip", "netns", "delete", lab.namespace(device)], check=True)
    changes = lab.up()
    assert changes.created == [lab.namespace(device)]
    assert changes.loaded == [str(device)]
    assert changes.services == ("restarted" if device.kind is DeviceKind.HOST else "kept")
    assert failures(lab) == []


def test_killed_services_are_started_again(whole: Lab) -> None:
    lab = whole
    os.kill(control.running(lab.environment.name), signal.SIGKILL)
    while control.running(lab.environment.name):
        pass
    with pytest.raises(RingfortError, match="don't answer"):
        lab.read_back()
    changes = lab.up()
    assert (changes.services, changes.devices_changed) == ("started", 0)
    assert failures(lab) == []


def test_a_check_left_off_is_on_again_after_up(whole: Lab) -> None:
    lab = whole
    lab.disable("identity:app")
    assert lab.up().services == "restarted"
    assert lab.identity_checks() == identity_checks(lab.environment)


def test_read_back_is_what_nft_itself_prints(lab: Lab) -> None:
    import json

    command = ["ip", "netns", "exec", lab.namespace(R1), "nft", "--json", "list", "ruleset"]
    printed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert lab.read_device(R1) == printed
    documents, _ = lab.read_back()
    assert set(documents) == set(devices(lab.environment))


def test_forgetting_gives_scanners_a_new_start(whole: Lab) -> None:
    lab = whole
    with lab.without("host-firewall:web-1"):
        for port in range(1, 60):
            call(lab, host("web-1"), APP_1, port, timeout_seconds=0.005)
    holder = service_holder("web", "web-1")
    assert (
        call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL, holder=holder, timeout_seconds=0.3).outcome
        is Outcome.SILENT
    )
    lab.reset()
    assert call(lab, host("web-1"), APP_1, 8443, tls=Tls.MUTUAL, holder=holder).outcome is Outcome.ADMITTED


def test_after_down_nothing_is_left_and_down_again_is_fine(whole: Lab) -> None:
    lab = whole
    from ringfort.lab import state

    pid = control.running(lab.environment.name)
    assert pid
    first = lab.down()
    assert len(first.removed) == 12
    assert netns.names(f"rf-{lab.environment.name}.") == []
    assert not state.directory(lab.environment.name).exists()
    assert not processes.started(pid)
    second = lab.down()
    assert (second.removed, second.services) == ([], "none")


def test_sockets_opened_inside_stay_inside(lab: Lab) -> None:
    with ExitStack() as stack:
        opened = []
        for place in (host("web-1"), host("admin")):
            with lab.inside(place):
                opened.append(stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        for connection, address in zip(opened, (WEB_1, ADMIN), strict=True):
            connection.bind((address, 0))
