"""Who may do what: Cedar policies in ``policies/*.cedar``, deny by default, decisions kept while nothing they depend on
changes.

A decision depends on the policies, the caller (kind, name, roles, sites), the action, the resource (kind, name, owner,
site) and the context (whether a reason is given): exactly what makes the key under which it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cedarpy

from ringfort.control.callers import Caller, Kind
from ringfort.control.errors import ControlError

POLICIES = Path(__file__).parent / "policies"
SCHEMA = "schema.cedarschema"
MOST_CALLERS, MOST_DECISIONS = 2_000, 200
"""Callers whose decisions are kept, and decisions kept for each."""

_TYPES = {
    Kind.OPERATOR: "Operator",
    Kind.NODE: "Machine",
    Kind.CONTROLLER: "Controller",
    Kind.WITNESS: "Witness",
    Kind.SERVICE: "Service",
    Kind.TOKEN: "Token",
    Kind.CUSTOMER: "Customer",
}


class Resource(NamedTuple):
    """What a call is about: a tuple, because each call makes one and looks decisions up by it.

    Attributes:
        kind: a Cedar entity type: Platform, Node, CustomerAccount.
        name: its name.
        site: of a node; "" otherwise.
    """

    kind: str
    name: str
    site: str = ""


PLATFORM = Resource("Platform", "platform")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call is allowed, and by or against which policies (their ``@id``)."""

    allowed: bool
    because: tuple[str, ...]


class Policies:
    """A set of policies, checked against the schema."""

    def __init__(self, texts: Mapping[str, str], schema: str) -> None:
        """Args: file name -> its policies; the Cedar schema."""
        self._text = "\n".join(texts[name] for name in sorted(texts))
        try:
            self._policies = cedarpy.PolicySet.from_str(self._text)
            result = cedarpy.validate_policies(self._text, schema)
        except ValueError as error:
            raise ControlError("policies-unreadable", f"the policies can't be read: {error}") from error
        if not result.validation_passed:
            faults = "; ".join(str(fault) for fault in result.errors)
            raise ControlError("policies-invalid", f"the policies do not fit the schema: {faults}")
        self._judges: OrderedDict[tuple[object, ...], Judge] = OrderedDict()

    def judge(self, caller: Caller) -> Judge:
        """Who decides for a caller; callers who are the same to the policies share one."""
        key = (caller.kind, caller.name, caller.roles, caller.sites)
        judge = self._judges.get(key)
        if judge is None:
            judge = self._judges[key] = Judge(self, caller)
            if len(self._judges) > MOST_CALLERS:
                self._judges.popitem(last=False)
        return judge

    def ask(self, caller: Caller, action: str, resource: Resource, reason: bool) -> Decision:
        """Ask Cedar; `judge` remembers."""
        request = {
            "principal": {"type": _TYPES[caller.kind], "id": caller.name},
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource.kind, "id": resource.name},
            "context": {"reason": reason},
        }
        result = cedarpy.is_authorized(request, self._policies, _entities(caller, resource))
        names: dict[str, str] = result.diagnostics.id_annotations_by_reason
        because = tuple(sorted(names.get(policy, policy) for policy in result.diagnostics.reasons))
        return Decision(result.decision is cedarpy.Decision.Allow and not result.diagnostics.errors, because)


class Judge:
    """Decides for one caller, and remembers: nothing else than action, resource and reason can differ."""

    __slots__ = ("_caller", "_kept", "_policies")

    def __init__(self, policies: Policies, caller: Caller) -> None:
        self._policies, self._caller = policies, caller
        self._kept: dict[tuple[str, Resource, bool], Decision] = {}

    def decide(self, action: str, resource: Resource, reason: bool) -> Decision:
        """Whether the caller may do ``action`` to ``resource``; ``reason`` says whether one is given."""
        key = (action, resource, reason)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= MOST_DECISIONS:
                self._kept.clear()
            kept = self._kept[key] = self._policies.ask(self._caller, action, resource, reason)
        return kept


def _entities(caller: Caller, resource: Resource) -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {}
    if caller.kind is Kind.OPERATOR:
        attributes = {"sites": list(caller.sites)}
    elif caller.kind in (Kind.NODE, Kind.TOKEN):
        attributes = {"name": caller.name}
    principal = {
        "uid": {"type": _TYPES[caller.kind], "id": caller.name},
        "attrs": attributes,
        "parents": [{"type": "Role", "id": role} for role in caller.roles],
    }
    about: dict[str, Any] = {}
    if resource.kind == "Node":
        about = {"name": resource.name, "site": resource.site}
    elif resource.kind == "CustomerAccount":
        about = {"owner": {"__entity": {"type": "Customer", "id": resource.name}}}
    return [principal, {"uid": {"type": resource.kind, "id": resource.name}, "attrs": about, "parents": []}]


def policy_files() -> dict[str, str]:
    """File name -> its text."""
    return {path.name: path.read_text() for path in sorted(POLICIES.glob("*.cedar"))}


def schema_text() -> str:
    """The Cedar schema that the policies are checked against."""
    return (POLICIES / SCHEMA).read_text()


@cache
def shipped() -> Policies:
    """The policies that come with Ringfort."""
    return Policies(policy_files(), schema_text())
