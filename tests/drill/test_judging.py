"""The drill contradicts the proof exactly where the proof says something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.drill.attacks import Attack, Attacks
from ringfort.drill.failures import Failure
from ringfort.drill.judging import Judge
from ringfort.proof.verdict import Outcome
from tests.drill import worlds
from tests.report import samples

SHOP = worlds.shop()
PROBE = next(
    probe
    for probe in Attacks(SHOP).from_host("web-n-2", ["app-n-1"])
    if probe.attack is Attack.HOST_BORROWED_MAC and probe.port == 8443
)
PORT_SECURITY = Failure("port-security", "north/edge")


def test_without_a_verdict_nothing_undeclared_may_pass() -> None:
    judge = Judge(SHOP)
    assert judge.proves_open
    assert not judge.opinion(PROBE, None).passes
    assert not judge.opinion(PROBE, PORT_SECURITY).passes


def test_what_is_proved_may_not_pass() -> None:
    opinion = Judge(SHOP, samples.verdict(Outcome.PROVED)).opinion(PROBE, PORT_SECURITY)
    assert not opinion.passes
    assert "port-security:north/edge" in opinion.words


def test_what_the_proof_refutes_is_expected_under_its_failure_only() -> None:
    judge = Judge(SHOP, samples.verdict(Outcome.REFUTED))
    assert judge.opinion(PROBE, PORT_SECURITY).passes
    assert not judge.opinion(PROBE, None).passes
    assert not judge.opinion(PROBE, Failure("port-security", "north/data")).passes
    elsewhere = replace(PROBE, target="db-n-1", destination=SHOP.hosts["db-n-1"].addresses[0])
    assert not judge.opinion(elsewhere, PORT_SECURITY).passes


def test_where_the_proof_does_not_know_it_can_not_be_contradicted() -> None:
    assert Judge(SHOP, samples.verdict(Outcome.UNKNOWN)).opinion(PROBE, PORT_SECURITY).passes


@pytest.mark.parametrize(("outcome", "proves"), [(Outcome.PROVED, True), (Outcome.REFUTED, False)])
def test_a_flow_that_fails_contradicts_a_proof_that_it_is_open(outcome: Outcome, proves: bool) -> None:
    verdict = samples.verdict(Outcome.PROVED)
    claims = tuple(replace(claim, outcome=outcome) if claim.name == "open" else claim for claim in verdict.claims)
    assert Judge(SHOP, replace(verdict, claims=claims)).proves_open is proves
