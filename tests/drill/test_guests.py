"""The drill against customers' instances: taken over behind their sandboxes, without these, and past them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ringfort.drill.attacks import Attack
from ringfort.drill.cells import EVERYTHING_ON, NOT_ROUTED, kind_of
from ringfort.drill.failures import failures, mechanisms, scopes
from ringfort.drill.result import DrillResult
from ringfort.drill.run import drill
from ringfort.environment.load import load_text
from ringfort.lab.lab import Lab
from ringfort.proof.claims import verify
from tests.lab import worlds
from tests.lab.running import running

KINDS = ("sandbox-filter", "instance-taken-over", "sandbox-escaped", "port-security")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("drilled"), worlds.GUESTS, "drilled") as made:
        yield made


@pytest.fixture(scope="module")
def result(lab: Lab) -> DrillResult:
    documents, checks = lab.read_back()
    return drill(lab, verify(lab.environment, documents, checks, live=True), only=KINDS)


def refusers(result: DrillResult, attack: Attack, failure: str, sender: str = "") -> dict[str, int]:
    """Who refused an attack, by mechanism."""
    cells = (cell for cell in result.cells if cell.attack == attack and cell.failure == failure)
    return {name: number for cell in cells for name, number in cell.refused_by.items() if sender in name}


def test_an_instance_has_failures_of_its_own() -> None:
    environment = load_text("environment: guests\n" + worlds.GUESTS)
    every = list(failures(environment))
    named = [str(failure) for failure in every]
    assert [name for name in named if name.endswith((":metal", ":acme"))] == [
        "host-firewall:metal", "host-taken-over:metal", "sandbox-filter:acme", "instance-taken-over:acme",
        "sandbox-escaped:metal", "identity-stolen:acme", "identity-stolen:metal",
    ]  # fmt: skip
    escaped = next(failure for failure in every if failure.kind == "sandbox-escaped")
    assert mechanisms(environment, escaped) == ("sandbox-filter:acme", "sandbox-filter:globex")
    (scope,) = scopes(environment, escaped)
    assert (scope.senders, scope.targets) == (("acme", "globex"), ("web",)), "what is on the machine is lost with it"


@pytest.mark.lab
def test_nothing_gets_through_and_everything_is_accounted_for(result: DrillResult) -> None:
    assert result.delivered == ()
    assert result.disagreements == ()
    assert [cell for cell in result.cells if cell.unexplained] == []


@pytest.mark.lab
def test_a_guest_is_refused_by_its_own_sandbox(result: DrillResult) -> None:
    for situation in (EVERYTHING_ON, "instance-taken-over:acme"):
        for attack in (Attack.HOST_UNDECLARED, Attack.HOST_BORROWED_ADDRESS, Attack.GUEST_LINK_LOCAL):
            assert refusers(result, attack, situation).get("sandbox-filter:acme"), (situation, attack)
        assert refusers(result, Attack.HOST_NEIGHBOUR, situation).get(f"{NOT_ROUTED}:acme")
    only = refusers(result, Attack.HOST_UNDECLARED, "instance-taken-over:acme")
    assert set(map(kind_of, only)) == {"sandbox-filter"}


@pytest.mark.lab
def test_past_its_sandbox_it_is_refused_by_others(result: DrillResult) -> None:
    undeclared = refusers(result, Attack.HOST_UNDECLARED, "sandbox-escaped:metal")
    assert set(map(kind_of, undeclared)) == {"router-filter"}
    borrowed = refusers(result, Attack.HOST_BORROWED_ADDRESS, "sandbox-escaped:metal")
    assert set(map(kind_of, borrowed)) == {"port-security"}


@pytest.mark.lab
def test_a_receiver_without_its_filter_is_guarded_by_others(result: DrillResult) -> None:
    found = refusers(result, Attack.HOST_UNDECLARED, "sandbox-filter:globex")
    assert found
    assert "sandbox-filter:globex" not in found


@pytest.mark.lab
def test_nobody_hears_what_a_guest_says_below_ip_and_past_its_sandbox_the_switch_refuses_it(
    result: DrillResult,
) -> None:
    told = [seen for seen in result.observations if seen.name == "a guest's link"]
    assert [seen.held for seen in told] == [True, True, True], [seen.words for seen in told]
    assert [" past its sandbox" in seen.words for seen in told] == [False, False, True]


@pytest.mark.lab
def test_the_matrix_has_a_column_for_each(result: DrillResult) -> None:
    columns = [column.kind for column in result.matrix.columns]
    assert [kind for kind in columns if kind in KINDS] == [
        "port-security", "sandbox-filter", "instance-taken-over", "sandbox-escaped",
    ]  # fmt: skip
