"""The drill on a small lab: it holds, it finds what is broken, it contradicts a wrong proof, and it leaves no trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from ringfort.drill.attacks import Attack, Probe
from ringfort.drill.cells import EVERYTHING_ON, RESTORED, kind_of
from ringfort.drill.fitness import refuse_unfit
from ringfort.drill.result import DISAGREES, GOT_THROUGH, HELD, DrillResult
from ringfort.drill.run import drill, quick
from ringfort.drill.volley import Outcome, Range
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.lab.lab import Lab
from tests.drill import worlds
from tests.lab import worlds as labs
from tests.lab.running import mended, running

pytestmark = pytest.mark.lab

R1 = Device(DeviceKind.ROUTER, "r1")
APP_1 = Device(DeviceKind.HOST, "app-1")
ADMIN = Device(DeviceKind.HOST, "admin")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("drill"), worlds.HOLDS, "drill") as made:
        yield made


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    yield from mended(lab)


@pytest.fixture(scope="module")
def result(lab: Lab) -> DrillResult:
    return drill(lab)


def nft(lab: Lab, device: Device, commands: str) -> None:
    """What somebody does by hand."""
    subprocess.run(["ip", "netns", "exec", lab.namespace(device), "nft", commands], check=True)


def cells(result: DrillResult, attack: Attack, failure: str) -> dict[str, int]:
    """Who refused, by kind."""
    found: dict[str, int] = {}
    for cell in result.cells:
        if cell.attack == attack and cell.failure == failure:
            for name, number in cell.refused_by.items():
                found[kind_of(name)] = found.get(kind_of(name), 0) + number
    return found


# --- everything holds ----------------------------------------------------------------------------------------------


def test_everything_holds_under_every_single_failure(result: DrillResult) -> None:
    assert result.delivered == ()
    assert result.disagreements == ()
    assert [seen for seen in result.observations if not seen.held] == []
    assert result.exit_code == HELD
    assert result.single_failures == 23


def test_every_declared_flow_works_on_either_router_and_afterwards(result: DrillResult) -> None:
    assert [exercise.situation for exercise in result.exercises] == ["r1 active", "r2 active", RESTORED]
    assert all(exercise.worked == exercise.tried > 0 for exercise in result.exercises)


def test_every_probe_was_counted_by_what_refused_it(result: DrillResult) -> None:
    assert sum(cell.unexplained for cell in result.cells) == 0
    none_here = {Attack.WITNESS, Attack.GUEST_LINK_LOCAL}  # nothing is refuted, and there are no guests
    assert {cell.attack for cell in result.cells} == set(Attack) - none_here


@pytest.mark.parametrize(
    ("attack", "failure", "refusers"),
    [
        (Attack.HOST_BORROWED_MAC, EVERYTHING_ON, {"port-security"}),
        (
            Attack.HOST_BORROWED_MAC,
            "port-security:north/edge",
            {"router-filter", "handshake-unfinished"},
        ),
        (Attack.HOST_NEIGHBOUR, EVERYTHING_ON, {"port-security"}),
        (Attack.HOST_NEIGHBOUR, "port-security:north/back", {"host-firewall"}),
        (Attack.HOST_UNDECLARED, EVERYTHING_ON, {"router-filter"}),
        (Attack.HOST_UNDECLARED, "router-filter:r2", {"host-firewall"}),
        (Attack.HOST_UNDECLARED, "host-firewall:app-1", {"router-filter"}),
        (Attack.INTERNET_INSIDE, "router-filter:r1", {"host-firewall"}),
        (Attack.ROUTER_ANY_SOURCE, "router-taken-over:r1", {"host-firewall", "handshake-unfinished"}),
        (Attack.ROUTER_HANDSHAKE, "router-taken-over:r2", {"identity"}),
        (Attack.STOLEN_KEYS, "identity-stolen:web-1", {"identity"}),
        (Attack.INTERNET_CLOSED, RESTORED, {"router-filter"}),
    ],
)
def test_the_next_mechanism_takes_over_from_one_that_failed(
    result: DrillResult, attack: Attack, failure: str, refusers: set[str]
) -> None:
    assert set(cells(result, attack, failure)) == refusers


def test_scan_detection_connection_limit_and_the_control_are_shown(result: DrillResult) -> None:
    assert {seen.name for seen in result.observations} == {
        "scan detection", "connection limit", "control", "restored", "accounting",
    }  # fmt: skip


# --- what is broken is found ---------------------------------------------------------------------------------------


def open_port_22(lab: Lab, *devices: Device) -> None:
    """A rule by hand that lets TCP port 22 through."""
    chains = {DeviceKind.ROUTER: "forward", DeviceKind.HOST: "input"}
    for device in devices:
        nft(lab, device, f"insert rule inet ringfort {chains[device.kind]} tcp dport 22 accept")


def test_a_port_opened_by_hand_is_found_and_contradicts_the_promise(whole: Lab) -> None:
    open_port_22(whole, R1, ADMIN)
    found = quick(whole, as_is=True)
    through = [got for got in found.delivered if got.attack == Attack.HOST_UNDECLARED]
    assert {got.probe.split()[3] for got in through} == {"tcp/22"}
    assert all(" -> 10.10.2.4 " in got.probe or " -> fd00:10:0:2::4 " in got.probe for got in through)
    assert len(found.disagreements) == len(found.delivered)
    assert found.exit_code == DISAGREES


def test_a_port_opened_on_one_device_only_is_still_refused_by_the_next(whole: Lab) -> None:
    open_port_22(whole, ADMIN)
    assert quick(whole, as_is=True).delivered == ()


def test_a_flow_closed_by_hand_is_found(whole: Lab) -> None:
    nft(whole, APP_1, "insert rule inet ringfort input tcp dport 8443 drop")
    found = quick(whole, as_is=True)
    (exercise,) = found.exercises
    assert exercise.failed
    assert all("app-1" in words and "8443" in words for words in exercise.failed)
    assert found.exit_code == DISAGREES


def test_a_check_that_is_off_lets_a_router_in_and_is_found(whole: Lab) -> None:
    """A mechanism that is silently missing when another one fails is what single failures are drilled for."""
    whole.disable("identity:app")
    from ringfort.drill import controls

    with whole.without("router-filter:r1"):
        attempts = list(controls.borrowed_attempts(whole, "r1"))
    assert attempts
    assert all(attempt.admitted for attempt in attempts)


# --- a proof that says otherwise -----------------------------------------------------------------------------------


def test_what_the_proof_predicts_is_found_and_is_no_contradiction(tmp_path: Path) -> None:
    from ringfort.proof.claims import verify

    exposed = labs.environment(tmp_path, worlds.EXPOSED, "exposed")
    with Lab(exposed) as made:
        try:
            made.up()
            documents, checks = made.read_back()
            verdict = verify(exposed, documents, checks, live=True)
            found = drill(made, verdict, only=["port-security"])
        finally:
            made.down()
    assert found.delivered
    assert {got.failure for got in found.delivered} == {"port-security:north/back", "port-security:north/edge"}
    assert all("udp/53" in got.probe and got.predicted for got in found.delivered)
    assert Attack.WITNESS in {got.attack for got in found.delivered}
    assert found.disagreements == ()
    assert found.exit_code == GOT_THROUGH


# --- no trace, and no drill where there is nothing to learn --------------------------------------------------------


def test_a_drill_that_breaks_off_leaves_the_lab_whole(whole: Lab) -> None:
    class InterruptedDrillError(Exception):
        pass

    def stop(_done: int, _steps: int, words: str) -> None:
        if words == "without host-firewall:app-1":
            raise InterruptedDrillError

    whole.activate("north", "r2")
    with pytest.raises(InterruptedDrillError):
        drill(whole, only=["router-filter:r1", "host-firewall"], progress=stop)
    assert whole.up(dry_run=True).is_nothing
    assert whole.active() == {"north": "r2"}
    whole.activate("north", "r1")


def test_a_drill_that_is_killed_is_mended_by_the_next_up(whole: Lab) -> None:
    pid = os.fork()
    if pid == 0:  # another process: it dies while a segment's port security is switched off
        fire = Range.fire

        def fire_or_die(self: Range, probes: Sequence[Probe]) -> Outcome:
            if not self.isolated["north/edge"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return fire(self, probes)

        Range.fire = fire_or_die  # type: ignore[method-assign]
        drill(Lab(whole.environment), only=["port-security:north/edge"])
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert not whole.up(dry_run=True).is_nothing
    whole.up()
    assert quick(whole).exit_code == HELD


def test_rules_that_are_not_the_compiled_ones_are_not_drilled(whole: Lab) -> None:
    open_port_22(whole, ADMIN)
    with pytest.raises(RingfortError) as refusal:
        drill(whole)
    assert refusal.value.code == "lab-differs"
    assert "admin" in refusal.value.message
    assert "ringfort up" in refusal.value.hint


def test_an_environment_that_is_not_up_is_not_drilled(tmp_path: Path) -> None:
    with Lab(labs.environment(tmp_path, worlds.HOLDS, "down")) as made, pytest.raises(RingfortError) as refusal:
        refuse_unfit(made)
    assert refusal.value.code == "lab-not-up"


def test_a_failure_that_does_not_exist_is_refused_with_the_ones_that_do(lab: Lab) -> None:
    with pytest.raises(RingfortError) as refusal:
        drill(lab, only=["host-firewall:nobody"])
    assert refusal.value.code == "unknown-failure"
    assert "router-taken-over" in refusal.value.hint


# --- other environments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [labs.ONE_HOST, labs.NO_HOST, labs.ONLY_IPV6, labs.LONG_NAMES],
                         ids=["one host", "no host", "IPv6 only", "the longest names"])  # fmt: skip
def test_unusual_environments_are_drilled_too(tmp_path: Path, text: str) -> None:
    unusual = labs.environment(tmp_path, text, "odd")
    with Lab(unusual) as made:
        try:
            made.up()
            found = quick(made) if text is labs.LONG_NAMES else drill(made)
        finally:
            made.down()
    assert found.exit_code == HELD, found.to_json()
    assert sum(cell.unexplained for cell in found.cells) == 0


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_prints_the_matrix_and_writes_a_page(lab: Lab, tmp_path: Path) -> None:
    from ringfort.cli.drill import command

    file = labs.write(tmp_path, worlds.HOLDS, "drill")
    page = tmp_path / "drill.html"
    words = CliRunner().invoke(command, [str(file), "--quick", "--html", str(page)], standalone_mode=False)
    assert words.return_value == HELD, words.output
    assert "everything held" in words.stdout
    assert "host-undeclared" in words.stdout
    assert "everything held" in page.read_text()
    document = CliRunner().invoke(command, [str(file), "--quick", "--format", "json"], standalone_mode=False)
    assert json.loads(document.stdout)["exit_code"] == HELD
