"""Whole TLS connections that no identity check may admit: with stolen keys, or from a router taken over."""

from __future__ import annotations

from collections import Counter

from ringfort.drill import controls
from ringfort.drill.attacks import Attack
from ringfort.drill.borrowed import ENDED
from ringfort.drill.calling import Caller
from ringfort.drill.calls import stolen_calls
from ringfort.drill.failures import Failure, mutual_services
from ringfort.drill.findings import Findings
from ringfort.drill.result import Delivered
from ringfort.drill.volley import Outcome
from ringfort.gateway import haproxy
from ringfort.lab.lab import Lab


class Handshakes:
    """Attacks the identity checks of a lab."""

    def __init__(self, lab: Lab, caller: Caller, findings: Findings) -> None:
        self._lab, self._caller, self._findings = lab, caller, findings
        self._has_control = False
        self._counted: Counter[tuple[str, str]] | None = None
        """What the services have counted, as long as nobody but us has called them since."""

    def steal(self, failure: Failure) -> None:
        """Use the keys of one holder from elsewhere."""
        self._findings.situations.append(str(failure))
        outcome = self._findings.cell(Attack.STOLEN_KEYS, str(failure))
        before = controls.identity_refusals(self._lab) if self._counted is None else self._counted
        answers = self._caller.make(list(stolen_calls(self._lab.environment, failure.subject)))
        for answer in answers:
            outcome.sent += 1
            if answer.admitted:
                words = f"{answer.call} with the keys of {failure.subject}"
                self._admitted(Attack.STOLEN_KEYS, failure, words, answer.detail)
        self._counted = self._count(outcome, before)

    def others_call(self) -> None:
        """To be called before anybody else calls the services."""
        self._counted = None

    def borrow(self, failure: Failure) -> None:
        """Complete handshakes with borrowed addresses from a router that has been taken over."""
        outcome = self._findings.cell(Attack.ROUTER_HANDSHAKE, str(failure))
        before = controls.identity_refusals(self._lab)
        own = mutual_services(self._lab.environment)
        for attempt in controls.borrowed_attempts(self._lab, failure.subject):
            outcome.sent += 1
            if attempt.admitted:
                self._admitted(Attack.ROUTER_HANDSHAKE, failure, attempt.words, attempt.detail)
            elif attempt.service not in own and ("ALERT" in attempt.detail or attempt.detail == ENDED):
                # A controller keeps no count of handshakes. That it ended this one, after it had proved who it is
                # and got no certificate, is what can be seen from here.
                outcome.refused_by[f"identity:{attempt.service}"] += 1
                outcome.reasons[haproxy.HANDSHAKE] += 1
        self._count(outcome, before)
        if not self._has_control:
            control = controls.two_failures(self._lab, failure.subject)
            self._findings.observations += [control] if control is not None else []
            self._has_control = control is not None

    def _admitted(self, attack: Attack, failure: Failure, words: str, evidence: str) -> None:
        proof = "the service refuses a caller whose certificate names another address"
        self._findings.got_through(Delivered(attack, str(failure), words, evidence, predicted=False), proof)

    def _count(self, outcome: Outcome, before: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
        """Add what the services' own counters say; what they say now."""
        now = controls.identity_refusals(self._lab)
        for (service, reason), number in (now - before).items():
            outcome.refused_by[f"identity:{service}"] += number
            outcome.reasons[reason] += number
        return now
