"""The drill contradicts the proof exactly where the proof says something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.drill.attacks import Attack, Attacks, Probe
from ringfort.drill.failures import Failure
from ringfort.drill.judging import Judge, witness_probe
from ringfort.environment.topology import backbone_mac, devices, gateway_mac
from ringfort.proof.verdict import Outcome
from tests.drill import worlds
from tests.report import samples

SHOP = worlds.shop()
PROBE = next(
    probe
    for probe in Attacks(SHOP).from_host("web-n-2", ["app-n-1"])
    if probe.attack is Attack.HOST_BORROWED_MAC and probe.port == 8443
)
ACTIVE = {name: site.routers[0] for name, site in SHOP.sites.items()}
PORT_SECURITY = Failure("port-security", "north/edge")


def test_without_a_verdict_nothing_undeclared_may_pass() -> None:
    judge = Judge(SHOP)
    assert judge.proves_open
    assert not judge.opinion(PROBE, None, ACTIVE).passes
    assert not judge.opinion(PROBE, PORT_SECURITY, ACTIVE).passes


@pytest.fixture(scope="module")
def reading() -> Judge:
    """A judge that reads the compiled rules, with a verdict that proves nothing, so that the rules decide."""
    from ringfort.network.compile import compile_environment
    from ringfort.network.identity import identity_checks
    from ringfort.proof.reading import read_rulesets
    from ringfort.proof.trail import Follower

    documents = {device: ruleset.document for device, ruleset in compile_environment(SHOP).items()}
    rulesets = read_rulesets(devices(SHOP), documents)
    refuted = samples.verdict(Outcome.REFUTED)
    claims = tuple(
        replace(claim, name=name, outcome=Outcome.REFUTED) for claim in refuted.claims for name in ("closed", "depth")
    )
    return Judge(SHOP, replace(refuted, claims=claims), Follower(SHOP, rulesets, identity_checks(SHOP)))


def probe_of(attack: Attack, sender: str, target: str, **wanted: object) -> Probe:
    return next(
        probe
        for probe in Attacks(SHOP).from_host(sender, [target])
        if probe.attack is attack and all(getattr(probe, name) == value for name, value in wanted.items())
    )


CASES = {
    "a borrowed address is refused at the port": (Attack.HOST_BORROWED_MAC, None, "port-security:north/edge"),
    "then by the service's check": (Attack.HOST_BORROWED_MAC, PORT_SECURITY, "identity:app"),
    "an undeclared port at the router": (Attack.HOST_UNDECLARED, None, "router-filter:north-r1"),
    "then at the host": (Attack.HOST_UNDECLARED, Failure("router-filter", "north-r1"), "host-firewall:app-n-1"),
}


@pytest.mark.parametrize(("attack", "failure", "first"), CASES.values(), ids=list(CASES))
def test_the_rules_say_which_mechanism_refuses_first(
    reading: Judge, attack: Attack, failure: Failure | None, first: str
) -> None:
    wanted: dict[str, object] = {"port": 8443} if attack is Attack.HOST_BORROWED_MAC else {"port": 22}
    source = SHOP.hosts["web-n-1"].addresses[0]
    wanted |= {"source": source} if attack is Attack.HOST_BORROWED_MAC else {}
    probe = probe_of(attack, "web-n-2", "app-n-1", **wanted)
    assert reading.first_refuser(probe, failure, ACTIVE) == first
    opinion = reading.opinion(probe, failure, ACTIVE)
    assert not opinion.passes
    assert opinion.first == first


def test_a_frame_to_a_neighbour_is_followed_past_the_router(reading: Judge) -> None:
    probe = probe_of(Attack.HOST_NEIGHBOUR, "db-n-1", "db-n-2", port=22)
    assert reading.first_refuser(probe, None, ACTIVE) == "port-security:north/data"
    without = Failure("port-security", "north/data")
    assert reading.first_refuser(probe, without, ACTIVE) == "host-firewall:db-n-2"


def test_the_router_on_the_way_is_the_active_one(reading: Judge) -> None:
    probe = probe_of(Attack.HOST_UNDECLARED, "web-n-2", "app-n-1", port=22)
    assert reading.first_refuser(probe, None, ACTIVE | {"north": "north-r2"}) == "router-filter:north-r2"


def test_a_piece_of_a_connection_is_not_followed_because_the_proof_asks_about_new_ones(reading: Judge) -> None:
    probe = probe_of(Attack.HOST_NOT_NEW, "web-n-2", "app-n-1")
    assert reading.first_refuser(probe, None, ACTIVE) == ""


def test_a_claim_that_is_proved_is_contradicted_whatever_the_rules_say(reading: Judge) -> None:
    judge = Judge(SHOP, samples.verdict(Outcome.PROVED))
    opinion = judge.opinion(PROBE, PORT_SECURITY, ACTIVE)
    assert not opinion.passes
    assert "'depth' is proved" in opinion.words


def test_where_the_proof_does_not_know_it_can_not_be_contradicted() -> None:
    assert Judge(SHOP, samples.verdict(Outcome.UNKNOWN)).opinion(PROBE, PORT_SECURITY, ACTIVE).passes


def test_the_proofs_counterexample_becomes_a_frame_that_the_attacker_could_send() -> None:
    (witness,) = Judge(SHOP, samples.verdict(Outcome.REFUTED)).witnesses()
    assert witness.failure == "port-security:north/edge"
    assert witness.probe.attack is Attack.WITNESS
    assert str(witness.probe) == "10.10.1.2 -> 10.10.2.2 tcp/8443 sent from host:web-n-2"
    assert witness.probe.source_mac == SHOP.hosts["web-n-2"].mac
    assert witness.probe.destination_mac == gateway_mac(SHOP, "north/edge")
    assert witness.probe.target == "app-n-1"


def test_a_counterexample_from_a_router_leaves_by_the_leg_to_its_target() -> None:
    (found,) = samples.verdict(Outcome.REFUTED).refutations
    assert found.packet is not None
    for router, interface, mac in (
        ("north-r1", "front-end", SHOP.hosts["app-n-1"].mac),
        ("south-r1", "backbone", backbone_mac(SHOP, "north")),
    ):
        probe = witness_probe(SHOP, replace(found, packet=replace(found.packet, place=f"router:{router}")))
        assert probe is not None
        assert (probe.interface, probe.destination_mac) == (interface, mac)


def test_a_counterexample_without_a_packet_or_with_stolen_keys_is_not_sent() -> None:
    (found,) = samples.verdict(Outcome.REFUTED).refutations
    assert found.packet is not None
    assert witness_probe(SHOP, replace(found, packet=None)) is None
    assert witness_probe(SHOP, replace(found, claim="open")) is None
    assert witness_probe(SHOP, replace(found, packet=replace(found.packet, identity="stolen"))) is None


@pytest.mark.parametrize(("outcome", "proves"), [(Outcome.PROVED, True), (Outcome.REFUTED, False)])
def test_a_flow_that_fails_contradicts_a_proof_that_it_is_open(outcome: Outcome, proves: bool) -> None:
    verdict = samples.verdict(Outcome.PROVED)
    claims = tuple(replace(claim, outcome=outcome) if claim.name == "open" else claim for claim in verdict.claims)
    assert Judge(SHOP, replace(verdict, claims=claims)).proves_open is proves
