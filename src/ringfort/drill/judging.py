"""What the proof says of a single packet, so that a drill can contradict it."""

from __future__ import annotations

from dataclasses import dataclass

from ringfort.drill.attacks import Probe
from ringfort.drill.declaration import PlaceKind
from ringfort.drill.failures import Failure
from ringfort.environment.model import Environment
from ringfort.proof.verdict import Claim, Outcome, Refutation, Verdict

OPEN, CLOSED, DEPTH = "open", "closed", "depth"


@dataclass(frozen=True, slots=True)
class Opinion:
    """Whether the proof expects a packet to get through, and its words."""

    passes: bool
    words: str


class Judge:
    """Asks a verdict about single packets. Without a verdict the promises themselves are the measure."""

    def __init__(self, environment: Environment, verdict: Verdict | None = None) -> None:
        self._environment = environment
        claims = verdict.claims if verdict is not None else ()
        self._claims: dict[str, Claim] = {claim.name: claim for claim in claims}
        self._refutations = verdict.refutations if verdict is not None else ()

    @property
    def proves_open(self) -> bool:
        """Whether every declared flow is proved (or, without a verdict, promised) to be possible."""
        return self._outcome(OPEN) is Outcome.PROVED

    def opinion(self, probe: Probe, failure: Failure | None) -> Opinion:
        """Whether an undeclared packet is expected to get through when the failure has happened."""
        name = CLOSED if failure is None else DEPTH
        when = f" when {failure} fails" if failure is not None else ""
        for refutation in self._refutations:
            if refutation.claim in (CLOSED, name) and self._covers(refutation, probe, failure):
                return Opinion(passes=True, words=refutation.summary)
        outcome = self._outcome(name)
        if outcome is Outcome.UNKNOWN:
            return Opinion(passes=True, words=f"it can't tell whether it is refused{when}")
        return Opinion(passes=False, words=f"refused{when}: the claim {name!r} is {outcome}")

    def _outcome(self, name: str) -> Outcome:
        claim = self._claims.get(name)
        return claim.outcome if claim is not None else Outcome.PROVED

    def _covers(self, refutation: Refutation, probe: Probe, failure: Failure | None) -> bool:
        """Whether the packet lies in a refuted group: the same ends, under the same failure or needing none."""
        if refutation.failure and refutation.failure != str(failure):
            return False
        return refutation.source == self._source(probe) and refutation.destination == self._destination(probe)

    def _source(self, probe: Probe) -> str:
        if probe.place.kind is PlaceKind.HOST:
            return self._environment.hosts[probe.place.name].segment
        return "internet" if probe.place.kind is PlaceKind.INTERNET else str(probe.place)

    def _destination(self, probe: Probe) -> str:
        host = self._environment.hosts.get(probe.target)
        return host.segment if host is not None else probe.target
