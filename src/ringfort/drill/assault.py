"""Fire all probes that a failure can affect, and say what each outcome means: refused, waiting, or got through."""

from __future__ import annotations

from ringfort.drill import failures
from ringfort.drill.attacks import Attack, Probe
from ringfort.drill.cells import EVERYTHING_ON, NO_TRANSLATION, RESTORED, UNFINISHED
from ringfort.drill.failures import Failure
from ringfort.drill.findings import FIRST_REFUSED, Findings
from ringfort.drill.frames import Kind
from ringfort.drill.judging import Judge
from ringfort.drill.result import Delivered, Disagreement
from ringfort.drill.targets import Rows, Targets
from ringfort.drill.volley import Outcome, Range
from ringfort.environment.model import Service, Tls
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab.lab import Lab

_PUBLISHED = (Attack.INTERNET_CLOSED, Attack.INTERNET_BOGON)
"""Attacks on published addresses."""

COMPARED_OF = 3
"""Under a failure, one attack out of so many is compared with the proof packet by packet, another one each time."""


class Assault:
    """Attacks a lab in one situation after the other."""

    def __init__(self, lab: Lab, firing: Range, judge: Judge, findings: Findings) -> None:
        self._lab, self._range, self._judge, self._findings = lab, firing, judge, findings
        self._environment = lab.environment
        self.targets = Targets(lab.environment)

    def attack(self, failure: Failure | None, situation: str) -> None:
        """Fire everything that the failure can affect."""
        self._range.situation_changed()
        rows = self.targets.rows(failures.scopes(self._environment, failure))
        if failure is not None and failure.kind != "router-taken-over":
            self._findings.skipped += self.targets.number - sum(map(len, rows.values()))
        self.fire(rows, failure, situation)

    def fire(self, rows: Rows, failure: Failure | None, situation: str) -> None:
        """Fire some probes."""
        self._findings.situations.append(situation)
        for number, (attack, probes) in enumerate(rows.items()):
            outcome = self._range.fire(probes)
            self._account(attack, outcome, failure, situation)
            self._findings.cell(attack, situation).add(outcome)
            if situation == EVERYTHING_ON or (number + len(self._findings.situations)) % COMPARED_OF == 0:
                self._compare(attack, probes[len(probes) // 2], failure, situation)
        if situation != RESTORED:
            self._send_witnesses(failure, situation)

    def _compare(self, attack: Attack, probe: Probe, failure: Failure | None, situation: str) -> None:
        """Fire one probe by itself: does the mechanism that counted it refuse it first in the proof too?"""
        if not self._judge.follows or (attack in _PUBLISHED and failure is not None):
            return
        expected = self._judge.first_refuser(probe, failure, self._lab.active())
        if not expected or expected.startswith("identity:"):
            return  # not told; or a matter of handshakes, which have rows of their own
        outcome = self._range.fire([probe])
        self._findings.compared += 1
        if expected not in outcome.refused_by:
            seen = ", ".join(outcome.refused_by) or ("it got through" if outcome.delivered else "nobody counted it")
            words = f"{FIRST_REFUSED} {expected}"
            self._findings.disagreements.append(
                Disagreement(attack, situation, str(probe), words, f"refused by: {seen}")
            )

    def _send_witnesses(self, failure: Failure | None, situation: str) -> None:
        """Send the proof's counterexamples that need just this failure: they must get through."""
        for witness in self._judge.witnesses():
            if witness.failure != ("" if failure is None else str(failure)):
                continue
            outcome = self._range.fire([witness.probe])
            refusers = ", ".join(outcome.refused_by) or "nobody, yet it did not arrive"
            if not outcome.delivered:
                self._findings.disagreements.append(
                    Disagreement(Attack.WITNESS, situation, str(witness.probe), witness.words, f"refused by {refusers}")
                )
            self._account(Attack.WITNESS, outcome, failure, situation)
            self._findings.cell(Attack.WITNESS, situation).add(outcome)

    def _account(self, attack: Attack, outcome: Outcome, failure: Failure | None, situation: str) -> None:
        """Decide what a delivered probe means: it got through, or it waits for a handshake that can't be completed."""
        through = []
        for probe, receiver in outcome.delivered:
            service = self._waiting(probe, receiver, failure)
            if service is not None:
                outcome.refused_by[f"{UNFINISHED}:{service.name}"] += 1
            else:
                through.append((probe, receiver))
        outcome.delivered = through
        if failure is not None and failure.kind == "router-filter" and attack in _PUBLISHED and outcome.missing > 0:
            # The published address belongs to nobody once the translation has gone with the filter.
            outcome.refused_by[NO_TRANSLATION] += outcome.missing
        for probe, receiver in through:
            opinion = self._judge.opinion(probe, failure, self._lab.active())
            evidence = f"the stack of {receiver} took it"
            found = Delivered(probe.attack, situation, str(probe), evidence, opinion.passes)
            self._findings.got_through(found, opinion.words)

    def _waiting(self, probe: Probe, receiver: Device, failure: Failure | None) -> Service | None:
        """The service that a delivered opening waits at, if it checks identities now."""
        if probe.kind is not Kind.TCP or receiver.kind is not DeviceKind.HOST:
            return None
        for name in self._environment.hosts[receiver.name].services:
            service = self._environment.services[name]
            serves = any(ports.first <= probe.port <= ports.last for ports in service.ports)
            checks = service.tls is Tls.MUTUAL and not _switches_off(failure, name)
            if serves and checks:
                return service
        return None


def _switches_off(failure: Failure | None, service: str) -> bool:
    """Whether a failure takes a service's identity check away."""
    if failure is None:
        return False
    return failure.kind == "authority" or (failure.kind == "identity" and failure.subject == service)
