"""A gateway that nobody tells what is public, nobody reaches, or that stands in the wrong place, is refused there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.environment.difference import difference
from ringfort.environment.load import load_text
from ringfort.environment.serialise import SerialisedError, from_bytes, to_bytes
from tests.environment.declare import only_problem, problems_of
from tests.environment.gatewayed import GATEWAYED

GOOD = f"environment: gate{GATEWAYED}"
SERVES = "services: [gateway, gateway-plain]"


def test_the_gateway_is_declared_and_signed_with_everything_else() -> None:
    environment = load_text(GOOD)
    assert environment.gateway is not None
    assert environment.gateway.services == {"service": "gateway", "plain": "gateway-plain"}
    assert from_bytes(to_bytes(environment)) == environment
    without = replace(environment, gateway=None)
    assert from_bytes(to_bytes(without)) == without
    (change,) = difference(without, environment).changed
    assert (change.subject, change.attribute, change.after) == ("environment", "gateway", "gateway, gateway-plain")


def test_a_gateway_may_do_without_plain_http() -> None:
    gateway = load_text(GOOD.replace(", plain: gateway-plain}", "}")).gateway
    assert gateway is not None
    assert gateway.services == {"service": "gateway"}


def test_a_signed_gateway_that_leads_nowhere_is_refused() -> None:
    environment = load_text(GOOD)
    assert environment.gateway is not None
    text = to_bytes(replace(environment, gateway=replace(environment.gateway, plain="nowhere")))
    with pytest.raises(SerialisedError, match="nowhere"):
        from_bytes(text)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("service: gateway,", "service: gatewy,", "unknown-service"),
        ("plain: gateway-plain}", "plain: plain}", "unknown-service"),
        ("control: {controller: controller}\n", "", "gateway-untold"),
        ("gateway: {protocol: tcp, ports: [443]}", "gateway: {protocol: tcp, ports: [443, 444]}", "gateway-form"),
        ("gateway-plain: {protocol: tcp", "gateway-plain: {protocol: udp", "gateway-form"),
        (SERVES, f"{SERVES}, customer: acme", "gateway-of-customer"),
        (SERVES, "services: [gateway]", "gateway-half"),
        ("  - {from: internet, to: gateway-plain}\n", "", "gateway-unreachable"),
        ("  - {from: gateway, to: guests}\n", "", "gateway-leads-nowhere"),
        ("ports: [8080-8087], tls: mutual", "ports: [8080-8087]", "gateway-unproved"),
        ("gate: {site: north, segment: edge", "gate: {site: north, segment: admin", "gateway-outside-edge"),
    ],
)
def test_a_gateway_that_could_not_do_what_it_is_for_is_refused(before: str, after: str, code: str) -> None:
    assert before in GOOD
    assert code in {problem.code for problem in problems_of(GOOD.replace(before, after))}


def test_certificates_there_are_the_customers() -> None:
    problem = only_problem(
        GOOD.replace("ports: [443]}", "ports: [443], tls: server}").replace(
            "{service: gateway,", "{service: §gateway,", 1
        )
    )
    assert problem.code == "gateway-form"
    assert "the certificates there are the customers'" in problem.hint


def test_a_slip_of_the_pen_is_told_once_with_the_nearest_name() -> None:
    problem = only_problem(GOOD.replace("service: gateway,", "service: §gatewy,", 1))
    assert (problem.code, problem.hint) == ("unknown-service", "did you mean 'gateway'?")


ACME = GOOD.replace("plain: gateway-plain}", "plain: gateway-plain, acme: acme, acme-name: acme.shop.example}", 1)
ACME = ACME.replace("hosts:\n", "hosts:\n  certifier: {site: north, segment: admin, services: [acme]}\n", 1)
ACME = ACME.replace("\nservices:\n", "\nservices:\n  acme: {protocol: tcp, ports: [8443], tls: mutual}\n", 1)
WAYS = "  - {from: gateway, to: acme}\n  - {from: acme, to: gateway-plain}\n"
ACME = ACME.replace("\nflows:\n", f"\nflows:\n{WAYS}", 1)


def test_the_gateway_answers_for_the_acme_server() -> None:
    gateway = load_text(ACME).gateway
    assert gateway is not None
    assert (gateway.acme, gateway.acme_name) == ("acme", "acme.shop.example")


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("acme: acme,", "acme: certifier,", "unknown-service"),
        (", acme-name: acme.shop.example", "", "acme-half"),
        (", plain: gateway-plain", "", "acme-half"),
        ("acme: acme, ", "", "acme-half"),
        ("  - {from: gateway, to: acme}\n", "", "acme-unreachable"),
        ("  - {from: acme, to: gateway-plain}\n", "", "acme-unreachable"),
    ],
)
def test_an_acme_server_that_could_not_do_its_work_is_refused(before: str, after: str, code: str) -> None:
    assert before in ACME
    assert code in {problem.code for problem in problems_of(ACME.replace(before, after, 1))}
