"""The four promises over an environment, decided by the rules that are loaded.

1. open: every declared flow is possible, whichever router is active;
2. closed: nothing undeclared is possible from any place, with any source address;
3. depth: 2. holds with any one failure;
4. confidential: whatever crosses a site or a cluster boundary is under TLS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ringfort.environment.floating import turns
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Flow, Held, Tls
from ringfort.environment.topology import Device, device_of, devices, instances
from ringfort.proof.addresses import key_of
from ringfort.proof.background import Background
from ringfort.proof.boxes import TCP, RawBoxes, protocol_and_port
from ringfort.proof.declared import declared_boxes, receiver_services
from ringfort.proof.depth import depth_table
from ringfort.proof.engine import Question, Result, build
from ringfort.proof.findings import INTERNET, Finding, cell_findings, gate_findings
from ringfort.proof.layers import DoubtfulRule
from ringfort.proof.local import local_findings
from ringfort.proof.reading import Doing, Layers, boxes_of, facts_of, one_by_one, partial_gates, read_layers
from ringfort.proof.sandboxes import sandbox_findings
from ringfort.proof.telling import Teller
from ringfort.proof.trail import Follower, service_at
from ringfort.proof.turns import alike, in_turn, seen, worse
from ringfort.proof.unfollowed import unfollowed
from ringfort.proof.verdict import Claim, Outcome, Refutation, Unknown, Verdict

STATEMENTS = {
    "open": "every declared flow is possible, whichever router is active",
    "closed": "nothing undeclared is possible from any place, with any source address",
    "depth": "nothing undeclared becomes possible by any one failure",
    "confidential": "whatever crosses a site or a cluster boundary is under TLS",
}

MOST_GROUPS = 24
"""Refutations of one claim and kind that are told one by one."""

Clock = Callable[[], float]


def verify(
    environment: Environment,
    rulesets: Mapping[Device, object],
    identity_checks: Mapping[str, Sequence[IdentityCheck]],
    *,
    live: bool = False,
    clock: Clock | None = None,
    do: Doing = one_by_one,
) -> Verdict:
    """Decide the promises.

    Args:
        rulesets: what is loaded on each device, as ``nft --json list ruleset`` gives it.
        identity_checks: what the services of each host really check.
        live: whether these were read from running devices; repeated in the verdict.
        clock: seconds from some moment, to tell how long it took; without it no times are told.
        do: does independent parts of the reading, maybe several at once.

    Raises:
        RingfortError: a device's ruleset is missing or unreadable.
    """
    now = clock or (lambda: 0.0)
    start = now()
    first, checks = seen(environment, identity_checks)
    layers = read_layers(first, devices(first), rulesets, do)
    verdict = _decide(first, layers, checks, live=live, now=now, start=start)
    for turn in range(1, turns(environment)):
        start = now()
        other, other_checks = seen(environment, identity_checks, turn)
        moved = in_turn(other, layers)
        if not alike(first, (layers, checks), (moved, other_checks)):
            verdict = worse(verdict, _decide(other, moved, other_checks, live=live, now=now, start=start))
    return verdict


def _decide(
    environment: Environment,
    layers: Layers,
    identity_checks: Mapping[str, Sequence[IdentityCheck]],
    *,
    live: bool,
    now: Clock,
    start: float,
) -> Verdict:
    """Decide the promises of one turn, by what every device's rules say."""
    declared = declared_boxes(environment)
    raw = boxes_of(environment, layers, identity_checks, declared)
    facts = facts_of(environment, layers, identity_checks)
    loaded = now()
    question = build(environment, raw, facts)
    proof = Proof(environment, layers, identity_checks, declared, question, question.ask())
    findings = proof.findings()
    swept = now()
    refutations, unknowns = proof.tell(findings)
    seconds = {"open": swept - loaded, "closed": swept - loaded, "depth": swept - loaded}
    leaks, crossing = confidential(environment, identity_checks)
    refutations += leaks
    checked = proof.checked(crossing)
    claims = tuple(_claim(name, refutations, unknowns, checked[name], seconds.get(name, 0.0)) for name in STATEMENTS)
    return Verdict(
        environment.name,
        live,
        claims,
        tuple(refutations),
        tuple(unknowns),
        depth_table(environment, question, proof.result, proof.background, findings),
        proof.assumptions(),
        proof.counts(),
        now() - start,
    )


def _claim(
    name: str, refutations: Sequence[Refutation], unknowns: Sequence[Unknown], checked: tuple[int, str], seconds: float
) -> Claim:
    broken = sum(refutation.count for refutation in refutations if refutation.claim == name)
    outcome = Outcome.PROVED
    if any(unknown.claim == name for unknown in unknowns):
        outcome = Outcome.UNKNOWN
    if broken:
        outcome = Outcome.REFUTED
    return Claim(name, STATEMENTS[name], outcome, *checked, broken, seconds)


@dataclass(slots=True)
class Proof:
    """One environment's question and its answer, on the way to a verdict."""

    environment: Environment
    layers: Layers
    checks: Mapping[str, Sequence[IdentityCheck]]
    declared: RawBoxes
    question: Question
    result: Result
    background: Background = field(init=False)
    _receivers: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        line = self.question.line
        self._receivers = dict(zip(line.entry_key, line.entry_host, strict=True))
        self.background = Background(self.environment, self.layers.different)

    def findings(self) -> list[Finding]:
        """Everything that breaks a promise, in groups."""
        names = {key_of(a): host.name for host in self.environment.hosts.values() for a in host.addresses}
        gates = partial_gates(self.environment, self.layers)
        found = cell_findings(self.environment, self.question, self.result)
        found += gate_findings(self.environment, self.declared, gates, names)
        found += local_findings(self.environment, self.layers, receiver_services(self.environment, self.checks))
        found += sandbox_findings(self.environment, self.layers, self.declared)
        found += self.background.findings()
        return _grouped(found, self._label)

    def _label(self, finding: Finding) -> str:
        """What a finding is about: a service that its receiver offers, or any port that nobody serves there."""
        if not finding.destination or finding.destination not in self._receivers:
            return finding.note
        host = self.environment.hosts[self._receivers[finding.destination]]
        protocol, port = protocol_and_port(finding.service)
        return finding.note or service_at(self.environment, host, protocol, port)

    def tell(self, findings: Iterable[Finding]) -> tuple[list[Refutation], list[Unknown]]:
        """Findings in words; those that hang on a rule that was not understood are unknown and not refuted."""
        follower = Follower(self.environment, self.layers.rulesets, self.checks)
        teller = Teller(self.environment, follower)
        refutations, unknowns = [], self.unread()
        for finding in findings:
            told = teller.tell(finding)
            if told.certain or not self.unread():
                refutations.append(told.refutation)
            else:
                unknowns += [
                    replace(unknown, claim=finding.claim, summary=told.refutation.summary)
                    for unknown in self.unread()[:1]
                ]
        return refutations, unknowns

    def unread(self) -> list[Unknown]:
        """The rules that were not understood; whether a declared flow passes them stays open."""
        unknowns = []
        for device, doubt in self._doubts():
            if not doubt.state:
                summary = f"{device} has a rule that is not understood: {doubt.text}"
                unknowns.append(Unknown("open", device, doubt.place, doubt.reason, summary))
        for device, doubt in self._unfollowed():
            summary = f"{device} has a rule that is not followed: {doubt.text}"
            unknowns += [
                Unknown(claim, device, doubt.place, doubt.reason, summary) for claim in ("open", "closed", "depth")
            ]
        return unknowns

    def _unfollowed(self) -> Iterable[tuple[str, DoubtfulRule]]:
        for device, ruleset in self.layers.rulesets.items():
            yield from ((str(device), doubt) for doubt in unfollowed(device, ruleset))

    def _doubts(self) -> Iterable[tuple[str, DoubtfulRule]]:
        for names in self.layers.different.values():
            for name in names:
                yield from ((f"router:{name}", doubt) for doubt in self.layers.routers[name].doubts)
        for key, switch in self.layers.switches.items():
            yield from ((f"switch:{key}", doubt) for doubt in switch.doubts)
        for name, host in self.layers.hosts.items():
            if isinstance(self.environment.hosts[name], Held):
                continue  # its holder's, and told of it
            device = device_of(self.environment.hosts[name])
            yield from ((str(device), doubt) for doubt in host.doubts)

    def assumptions(self) -> tuple[str, ...]:
        """What the answers take for granted."""
        states = dict.fromkeys(doubt.reason for _, doubt in self._doubts() if doubt.state)
        limits = f"open: nothing that depends on earlier packets refuses ({'; '.join(states)})"
        return (
            "packets of new connections are asked about; replies follow from them",
            "interfaces are wired as declared, and each device forwards only what its rules accept",
            *((limits,) if states else ()),
        )

    def checked(self, crossing: int) -> dict[str, tuple[int, str]]:
        """How much each claim was asked of."""
        counts = self.counts()
        # Every mechanism gone; every router and host (every instance) taken over, every host's keys stolen; every
        # hypervisor broken into from a guest; the authority.
        escaped = len(instances(self.environment))
        failures = counts["mechanisms"] + counts["routers"] + 2 * counts["hosts"] + escaped + 1
        return {
            "open": (counts["declared"], "declared communications"),
            "closed": (counts["cells"], "cells"),
            "depth": (failures, "failures"),
            "confidential": (crossing, "crossing communications"),
        }

    def counts(self) -> dict[str, int]:
        """Sizes, for people."""
        environment = self.environment
        mutual = sum(check.tls is Tls.MUTUAL for checks in self.checks.values() for check in checks)
        hosts = sum(not isinstance(host, Held) for host in environment.hosts.values())
        sizes = (len(environment.routers), len(environment.segments), hosts)
        return {
            "sites": len(environment.sites),
            "routers": sizes[0],
            "segments": sizes[1],
            "hosts": sizes[2],
            "services": len(environment.services),
            "flows": len(environment.flows),
            "mechanisms": sum(sizes) + mutual,
            "declared": len(self.declared),
            "boxes": len(self.question.boxes.bit),
            "buckets": self.question.buckets,
            "cells": self.result.cells,
        }


def _grouped(findings: Iterable[Finding], label: Callable[[Finding], str]) -> list[Finding]:
    """Findings of one kind about the same service in the same segment are one, wherever they come from."""
    merged = _merged(findings, lambda f: (f.claim, f.kind, f.place.partition(":")[0], f.segment, label(f)))
    many = Counter((finding.claim, finding.kind) for finding in merged)
    crowded = {key for key, count in many.items() if count > MOST_GROUPS}
    rest = [f for f in merged if (f.claim, f.kind) not in crowded]
    return rest + _merged((f for f in merged if (f.claim, f.kind) in crowded), lambda f: (f.claim, f.kind))


def _weakness(finding: Finding) -> tuple[int, bool, bool, bool]:
    """The weakest first; among equals what is easiest to picture: about TCP, in the name of another host."""
    return (
        finding.depth,
        finding.service >> 16 != TCP,
        finding.source == finding.destination,
        "/" not in finding.zone and finding.zone != INTERNET,
    )


def _merged(findings: Iterable[Finding], key: Callable[[Finding], tuple[object, ...]]) -> list[Finding]:
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault(key(finding), []).append(finding)
    merged = []
    for group in groups.values():
        zones = list(dict.fromkeys(finding.zone for finding in group))
        zone = zones[0] if len(zones) == 1 else f"{len(zones)} places"
        weakest = min(group, key=_weakness)
        merged.append(replace(weakest, count=sum(finding.count for finding in group), group=zone))
    return merged


def confidential(
    environment: Environment, checks: Mapping[str, Sequence[IdentityCheck]]
) -> tuple[list[Refutation], int]:
    """Flows that cross a site or a cluster boundary to a service without TLS; and how many communications cross."""
    refutations, crossing = [], 0
    for flow in environment.flows.values():
        bare: list[tuple[str, str]] = []
        for name in environment.services[flow.service].hosts:
            callers = [caller for caller in flow.callers if _crosses(environment, caller, name)]
            crossing += len(callers)
            if not _encrypted(flow, checks.get(name, ())):
                bare += [(caller, name) for caller in callers]
        if bare:
            refutations.append(_unencrypted(environment, flow, bare))
    return refutations, crossing


def _crosses(environment: Environment, caller: str, receiver: str) -> bool:
    one, other = environment.hosts[caller], environment.hosts[receiver]
    clusters = environment.segments[one.segment].cluster, environment.segments[other.segment].cluster
    return one.site != other.site or clusters[0] != clusters[1]


def _encrypted(flow: Flow, checks: Sequence[IdentityCheck]) -> bool:
    return any(check.service == flow.service and check.tls is not Tls.NONE for check in checks)


def _unencrypted(environment: Environment, flow: Flow, pairs: list[tuple[str, str]]) -> Refutation:
    service = environment.services[flow.service]
    caller, receiver = (environment.hosts[name] for name in pairs[0])
    declared = service.tls is not Tls.NONE
    edit = (
        f"{service.name} on {receiver.name} does not speak TLS as declared: run `ringfort up`"
        if declared
        else f"set `tls: mutual` on service {service.name} ({service.origin})"
    )
    summary = f"flow {flow.name} ({flow.origin}) crosses from {caller.segment} to {receiver.segment} without TLS"
    return Refutation(
        "confidential", "no-tls", summary, caller.segment, receiver.segment, len(pairs), None, (),
        (f"identity:{service.name}",), "", 0, edit,
    )  # fmt: skip
