"""What publishing an environment would change, computed from two environments: for ``ringfort environment``."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ringfort.environment.difference import difference
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment
from ringfort.publishing.proposal import Exposure, Meaning, Proof, RuleChanges, contents

if TYPE_CHECKING:
    from ringfort.proof.verdict import Refutation, Unknown, Verdict

_PLACE = re.compile(r" ?\([^()\s]+:\d+:\d+\)")
"""Where something is declared: it moves with every line above it, and means nothing."""


def meaning_of(old: Environment | None, new: Environment) -> Meaning:
    """Everything about a change: flows and things, rules by device, and the proof over the new environment."""
    from ringfort.network.compile import compile_environment
    from ringfort.network.identity import identity_checks

    compiled = {device: ruleset.document for device, ruleset in compile_environment(new).items()}
    checks = identity_checks(new)
    if old is None:
        return Meaning(None, (), _proof(new, compiled, checks), contents(new))
    before = {device: ruleset.document for device, ruleset in compile_environment(old).items()}
    rules = (*_rules(before, compiled), *_checks(identity_checks(old), checks))
    return Meaning(difference(old, new), rules, _proof(new, compiled, checks))


def _rules(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[RuleChanges]:
    from ringfort.network.drift import drift

    nothing: dict[str, list[object]] = {"nftables": []}
    for device in dict.fromkeys((*before, *after)):
        old, new = before.get(device, nothing), after.get(device, nothing)
        if old == new:
            continue
        lines = tuple(f"{change.sign} {change.place}: {change.text}" for change in drift(old, new))
        if lines:
            yield RuleChanges(str(device), lines)


def _checks(
    before: Mapping[str, Sequence[IdentityCheck]], after: Mapping[str, Sequence[IdentityCheck]]
) -> Iterator[RuleChanges]:
    """What the enforcement points of hosts demand of callers."""
    for host in dict.fromkeys((*before, *after)):
        old, new = set(_demands(before.get(host, ()))), set(_demands(after.get(host, ())))
        lines = (*(f"- {line}" for line in sorted(old - new)), *(f"+ {line}" for line in sorted(new - old)))
        if lines:
            yield RuleChanges(f"identity:{host}", lines)


def _demands(checks: Iterable[IdentityCheck]) -> Iterator[str]:
    for check in checks:
        yield f"{check.service}: TLS {check.tls}"
        yield from (f"{check.service}: accepts {caller}" for caller in check.callers)


def _proof(environment: Environment, rulesets: Mapping[Any, Any], checks: Mapping[str, Any]) -> Proof:
    from ringfort.proof.claims import verify

    return proof_of(verify(environment, rulesets, checks))


def proof_of(verdict: Verdict) -> Proof:
    """A verdict as plain values: its outcome, and each refutation and unknown as an exposure with a stable id."""
    exposures: dict[str, Exposure] = {}
    for exposure in (*map(_of_refutation, verdict.refutations), *map(_of_unknown, verdict.unknowns)):
        exposures.setdefault(exposure.id, exposure)
    return Proof(str(verdict.outcome), tuple(exposures.values()))


def _of_refutation(found: Refutation) -> Exposure:
    packet = found.packet
    about = (
        found.claim, found.kind, found.source, found.destination, list(found.let_through), found.failure,
        _PLACE.sub("", found.summary), [packet.place, packet.protocol, packet.port] if packet else None,
    )  # fmt: skip
    return Exposure(_id(found.kind, about), found.claim, found.summary, found.edit, found.count)


def _of_unknown(found: Unknown) -> Exposure:
    about = (found.claim, found.device, found.reason, _PLACE.sub("", found.summary))
    return Exposure(_id("unknown", about), found.claim, found.summary, "write the rule so that it is understood")


def _id(kind: str, about: Sequence[object]) -> str:
    """Says what kind of exposure it is, and 40 bits of what exactly: the same in every run, whoever computes it."""
    digest = hashlib.sha256(json.dumps(about).encode()).digest()
    return f"{kind}-{base64.b32encode(digest[:5]).decode().lower()}"
