"""Who may do what: the whole table, and that each policy matters."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import cedarpy
import pytest

from ringfort.control.authorisation import PLATFORM, Policies, Resource, policy_files, schema_text
from ringfort.control.callers import Caller, Kind
from ringfort.control.errors import ControlError
from ringfort.control.routes import OPERATIONS

TABLE = """
description:read             everybody
environment:read             network-operator security-officer auditor node controller
environment:fetch            network-operator security-officer auditor node controller
environment:publish          network-operator
node:list                    network-operator security-officer auditor site-staff
node:read                    network-operator security-officer auditor site-staff@own-site node@itself
enrolment-token:create       network-operator site-staff@own-site
node:enrol                   token@itself
node:renew                   node@itself
node:await                   node@itself
node:report                  node@itself
revocation:list              network-operator security-officer auditor node controller
revocation:fetch             network-operator security-officer auditor node controller
bundle:fetch                 network-operator security-officer auditor node controller
revocation:create            security-officer
audit:list                   security-officer auditor
audit:read                   security-officer auditor
audit:fetch                  security-officer auditor controller
audit:erase                  security-officer
event:list                   network-operator security-officer auditor site-staff
customer:list                security-officer auditor
customer:read                security-officer auditor
customer:create              security-officer
customer:close               security-officer
customer-certificate:list    customer@itself
customer-certificate:add     customer@itself
customer-certificate:remove  customer@itself
application:list             customer@itself
application:read             customer@itself
customer-certificate:identify customer@itself
application:log              customer@itself
application:upload           customer@itself
application:deploy           customer@itself
application:configure        customer@itself
application:operate          customer@itself
application:remove           customer@itself
node:run                     node@itself
public-name:read             service
instance:list                network-operator security-officer auditor
instance:stop                network-operator
instance:move                network-operator
data-key:read                security-officer auditor
data-key:rotate              security-officer
"""
"""Action, and who may: a role, at the own site only, or about itself only. Nobody else may."""

ALLOWED = {line.split()[0]: set(line.split()[1:]) for line in TABLE.strip().splitlines()}


def caller(kind: Kind, name: str, *roles: str, sites: tuple[str, ...] = ()) -> Caller:
    identity = f"customer:{name}" if kind is Kind.CUSTOMER else f"spiffe://test.example/{kind}/{name}"
    expires = datetime(2099, 1, 1, tzinfo=UTC)
    return Caller(kind, name, identity, "00" * 32, "aa", "1", expires, "127.0.0.1", tuple(sorted(roles)), sites)


CALLERS = {
    "network-operator": caller(Kind.OPERATOR, "nora", "network-operator"),
    "security-officer": caller(Kind.OPERATOR, "sophie", "security-officer"),
    "auditor": caller(Kind.OPERATOR, "aude", "auditor"),
    "site-staff": caller(Kind.OPERATOR, "sam", "site-staff", sites=("north",)),
    "operator without a role": caller(Kind.OPERATOR, "nobody"),
    "operator who says to be a node": caller(Kind.OPERATOR, "web-1", "node"),
    "operator who says to be a customer": caller(Kind.OPERATOR, "acme", "customer"),
    "node": caller(Kind.NODE, "web-1", "node"),
    "token": caller(Kind.TOKEN, "web-1", "enrolment"),
    "controller": caller(Kind.CONTROLLER, "controller-1", "controller"),
    "witness": caller(Kind.WITNESS, "witness-1", "witness"),
    "service": caller(Kind.SERVICE, "web", "service"),
    "customer": caller(Kind.CUSTOMER, "acme", "customer"),
}

OWN = {
    "Node": [Resource("Node", "web-1", "north")],
    "CustomerAccount": [Resource("CustomerAccount", "acme")],
    "Platform": [PLATFORM],
}
FOREIGN = {
    "Node": [Resource("Node", "db-1", "south"), Resource("Node", "db-1", "")],
    "CustomerAccount": [Resource("CustomerAccount", "other")],
    "Platform": [],
}


def kind_of(action: str) -> str:
    if action.startswith(("customer", "application")) and action != "customer:list":
        return "CustomerAccount"
    if action.startswith(("node:", "enrolment-token")) and action != "node:list":
        return "Node"
    return "Platform"


def decisions(policies: Policies) -> dict[tuple[str, str, str, bool], bool]:
    """Every caller, action and resource, own and foreign, with and without a reason."""
    return {
        (who, action, f"{resource.kind}/{resource.name}@{resource.site}", reason): policies.judge(one)
        .decide(action, resource, reason)
        .allowed
        for action in ALLOWED
        for resource in OWN[kind_of(action)] + FOREIGN[kind_of(action)]
        for who, one in CALLERS.items()
        for reason in (True, False)
    }


def expected(who: str, action: str, own: bool) -> bool:
    allowed = ALLOWED[action]
    if "everybody" in allowed or who in allowed:
        return True
    return own and any(entry.partition("@")[0] == who and "@" in entry for entry in allowed)


CHANGES_BY_OPERATORS = {
    "environment:publish",
    "enrolment-token:create",
    "revocation:create",
    "customer:create",
    "customer:close",
    "instance:stop",
    "instance:move",
    "audit:erase",
    "data-key:rotate",
}


def test_the_table_covers_every_operation() -> None:
    assert {operation.action for operation in OPERATIONS} == set(ALLOWED)


def test_who_may_do_what_is_exactly_the_table() -> None:
    policies = Policies(policy_files(), schema_text())
    for action in ALLOWED:
        own, foreign = OWN[kind_of(action)], FOREIGN[kind_of(action)]
        for resource in own + foreign:
            for who, one in CALLERS.items():
                wanted = expected(who, action, resource in own)
                assert policies.judge(one).decide(action, resource, reason=True).allowed is wanted, (
                    who,
                    action,
                    resource,
                )


def test_people_give_a_reason_for_each_change() -> None:
    policies = Policies(policy_files(), schema_text())
    for (who, action, resource, reason), allowed in decisions(policies).items():
        if allowed and CALLERS[who].kind is Kind.OPERATOR and action in CHANGES_BY_OPERATORS:
            assert reason, (who, action, resource)
    assert not policies.judge(CALLERS["security-officer"]).decide("revocation:create", PLATFORM, reason=False).allowed


def separate() -> dict[str, str]:
    """Each policy by its ``@id``, as text."""
    parsed = json.loads(cedarpy.policies_to_json_str("\n".join(policy_files().values())))["staticPolicies"]
    return {
        policy["annotations"]["id"]: cedarpy.policies_from_json_str(
            json.dumps({"templates": {}, "templateLinks": [], "staticPolicies": {"policy": policy}})
        )
        for policy in parsed.values()
    }


CARELESS = "permit (principal, action, resource);"
"""A policy that somebody may add by mistake: what is forbidden stays so."""


@pytest.mark.parametrize("name", sorted(separate()))
def test_each_policy_matters(name: str) -> None:
    rest = "\n".join(text for other, text in separate().items() if other != name)
    whole = "\n".join(separate().values())
    without = Policies({"rest": rest + CARELESS if "forbid" in separate()[name] else rest}, schema_text())
    complete = Policies({"all": whole + CARELESS if "forbid" in separate()[name] else whole}, schema_text())
    assert decisions(without) != decisions(complete)


def test_customers_alone_decide_on_what_is_theirs_whatever_else_is_permitted() -> None:
    careless = Policies({**policy_files(), "mistake.cedar": CARELESS}, schema_text())
    for action in ALLOWED:
        if action.startswith(("customer-certificate:", "application:")):
            for who, one in CALLERS.items():
                for resource in OWN["CustomerAccount"] + FOREIGN["CustomerAccount"]:
                    own = one.kind is Kind.CUSTOMER and resource.name == one.name
                    assert careless.judge(one).decide(action, resource, reason=True).allowed is own, (
                        who,
                        action,
                        resource,
                    )


def test_a_decision_is_kept_for_exactly_what_it_depends_on() -> None:
    policies = Policies(policy_files(), schema_text())
    node = Resource("Node", "web-1", "north")
    sam = CALLERS["site-staff"]
    assert policies.judge(sam).decide("node:read", node, reason=True).allowed
    assert not policies.judge(caller(Kind.OPERATOR, "sam", "site-staff")).decide("node:read", node, reason=True).allowed
    assert (
        not policies.judge(caller(Kind.OPERATOR, "sam", sites=("north",)))
        .decide("node:read", node, reason=True)
        .allowed
    )
    assert not policies.judge(sam).decide("node:read", Resource("Node", "web-1", "south"), reason=True).allowed
    assert not policies.judge(sam).decide("enrolment-token:create", node, reason=False).allowed
    assert policies.judge(sam).decide("enrolment-token:create", node, reason=True).allowed


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("permit (principal", "policies-unreadable"),
        ('permit (principal, action == Action::"no:such", resource);', "policies-invalid"),
        (
            'permit (principal is Operator, action == Action::"node:list", resource) when { principal.rank > 3 };',
            "policies-invalid",
        ),
    ],
)
def test_policies_that_say_nothing_that_exists_are_refused_at_the_start(text: str, code: str) -> None:
    with pytest.raises(ControlError) as refused:
        Policies({"wrong.cedar": text}, schema_text())
    assert refused.value.code == code
