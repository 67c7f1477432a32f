"""Whatever is changed by hand is changed back within seconds, and told: what, and by whom."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.kernel import nft
from ringfort.lab import netns
from tests.node.worlds import World, world

pytestmark = pytest.mark.lab

SECONDS = 5.0
"""The promise."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("drift")) as made:
        made.configure(**{"tolerated-tables": '["inet tolerated"]', "sysctl": "true"})
        made.publish(1)
        made.start()
        made.controller.wait_for(lambda report: report["state"] == "confirmed")
        yield made


def by_hand(machine: World, device: str, *words: str) -> int:
    """Run nft in a device's namespace, as somebody would; its process id."""
    with subprocess.Popen(["ip", "netns", "exec", machine.spaces[device], "nft", *words]) as process:
        assert process.wait() == 0
        return process.pid


def repaired(machine: World) -> bool:
    return machine.holds(1)


HOST, ROUTER, SWITCH = "host:app", "router:r1", "switch:north/back"


@pytest.mark.parametrize(
    ("device", "command", "told"),
    [
        pytest.param(HOST, "insert rule inet ringfort input accept", "+ accept", id="a rule added"),
        pytest.param(HOST, "flush chain inet ringfort input", '- iifname "lo" accept', id="a chain emptied"),
        pytest.param(
            ROUTER, "add chain inet ringfort forward { policy accept ; }", '"policy": "accept"', id="a policy"
        ),
        pytest.param(SWITCH, "add element bridge ringfort router-ports { evil }", "+ evil", id="an element added"),
        pytest.param(ROUTER, "flush map inet ringfort flows4", "flows4", id="a map emptied"),
        pytest.param(HOST, "flush ruleset", "- table inet ringfort", id="everything flushed"),
        pytest.param(SWITCH, "delete table bridge ringfort", "- table bridge ringfort", id="the table deleted"),
        pytest.param(
            HOST, "add table inet ringfort { flags dormant ; }", "+ flags that switch it off", id="switched off"
        ),
        pytest.param(
            HOST,
            "add table ip sly ; add chain ip sly pre { type nat hook prerouting priority -100 ; }",
            "+ table ip sly",
            id="a table of somebody else in the path",
        ),
    ],
)
def test_a_change_by_hand_is_undone_and_told(machine: World, device: str, command: str, told: str) -> None:
    before = len(machine.controller.reports)
    pid = by_hand(machine, device, command)
    assert machine.until(lambda: repaired(machine)) < SECONDS

    def is_told() -> bool:
        events = [event for report in machine.controller.reports[before:] for event in report["events"]]
        drifts = [event for event in events if event["kind"] == "drift"]
        return any(told in str(event["detail"]["changes"]) for event in drifts)

    machine.until(is_told)
    event = machine.controller.events("drift")[-1]
    assert (event["severity"], event["subject"]) == ("alert", device)
    assert f"pid {pid}" in event["detail"]["by"]
    assert "nft" in event["detail"]["by"]


def test_a_table_that_sees_no_packet_is_told_and_left_alone(machine: World) -> None:
    by_hand(machine, HOST, "add table inet quiet")
    event = machine.controller.wait_for_event("foreign-table")
    assert "table inet quiet of somebody else sees no packet" in event["detail"]["what"]
    assert "quiet" in str(nft.ruleset(machine.spaces[HOST]))
    nft.run(machine.spaces[HOST], "delete table inet quiet")


def test_a_table_that_is_tolerated_stays(machine: World) -> None:
    by_hand(
        machine, HOST, "add table inet tolerated ; add chain inet tolerated c { type filter hook input priority 5 ; }"
    )
    by_hand(machine, HOST, "insert rule inet ringfort input accept")
    machine.until(lambda: "'tolerated'" in str(nft.ruleset(machine.spaces[HOST])) and _own_holds(machine))
    nft.run(machine.spaces[HOST], "delete table inet tolerated")


def _own_holds(machine: World) -> bool:
    document = nft.ruleset(machine.spaces[HOST])
    return "input" in str(document) and not any(
        entry["rule"]["expr"] == [{"accept": None}] for entry in document["nftables"] if "rule" in entry
    )


def test_rules_that_were_changed_while_the_node_was_dead_are_repaired_when_it_starts(machine: World) -> None:
    machine.kill()
    by_hand(machine, HOST, "insert rule inet ringfort input accept")
    machine.start()
    machine.until(lambda: repaired(machine))
    machine.until(lambda: any("did not run" in event["detail"].get("by", "") for event in machine.controller.events()))


def test_a_kernel_setting_that_was_changed_is_set_again(machine: World) -> None:
    space = machine.spaces[HOST]

    def forwarding() -> str:
        with netns.inside(space):
            return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()

    with netns.inside(space):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    assert machine.until(lambda: forwarding() == "0") < SECONDS
    event = machine.controller.wait_for_event("drift")
    machine.until(lambda: any("ip_forward" in str(e) for e in machine.controller.events("drift")))
    assert event["severity"] == "alert"


def test_a_namespace_that_was_made_anew_gets_its_rules(machine: World) -> None:
    space = machine.spaces[SWITCH]
    netns.delete(space)
    netns.create(space, machine.name)
    assert machine.until(lambda: repaired(machine)) < SECONDS


def test_a_fight_over_a_rule_does_not_stop_the_node(machine: World) -> None:
    for _ in range(30):
        by_hand(machine, HOST, "insert rule inet ringfort input accept")
    assert machine.until(lambda: repaired(machine)) < SECONDS
    machine.publish(2)
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 2))
    assert machine.holds(2)
