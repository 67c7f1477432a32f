"""What a proof over an environment says: values that print, serialise and compare, and nothing that decides.

Words: a *claim* is one of the four promises (open, closed, depth, confidential); a *refutation* is one group of
packets that break it, told by one concrete packet; an *unknown* is a rule that the proof could not read exactly and
that an answer hangs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """``unknown`` is never a guess: the rule that stands in the way is named."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Packet:
    """One concrete packet of a new connection.

    Attributes:
        place: where it really comes from: ``host:NAME``, ``internet:SITE/PROVIDER`` or ``router:NAME``.
        source, destination: addresses as text; ``destination`` is what the sender writes, before any translation.
        protocol: ``tcp``, ``udp``, ``icmp``, ``icmpv6`` or a number as text.
        port: destination port; for ICMP the type; 0 where the protocol has none.
        source_mac: the MAC address that the sender claims; empty where it does not matter.
        identity: ``own`` (the keys of the place), ``stolen`` (the keys of the source's true holder) or ``none``.
    """

    place: str
    source: str
    destination: str
    protocol: str
    port: int
    source_mac: str = ""
    identity: str = "own"

    def __str__(self) -> str:
        port = f"/{self.port}" if self.protocol in ("tcp", "udp", "sctp", "dccp") else ""
        kind = f" type {self.port}" if self.protocol in ("icmp", "icmpv6") else ""
        return f"{self.source} -> {self.destination} {self.protocol}{port}{kind} sent from {self.place}"


class Decision(StrEnum):
    """What a hop does with the packet. ``failed`` is the mechanism that the story takes away."""

    ACCEPTS = "accepts"
    REFUSES = "refuses"
    FAILED = "failed"
    TRANSLATES = "translates"


@dataclass(frozen=True, slots=True)
class Hop:
    """One mechanism on the way of a packet.

    Attributes:
        device: ``kind:name``, or ``service:NAME@HOST`` for an identity check.
        mechanism: its name, as in every report (``router-filter:north-r1``); empty for plain forwarding.
        rule: the deciding rule in nft's words, or why there is none (``policy drop``).
        rule_place: table, chain and number of the rule; empty when no rule decided.
        flow: the flow the rule was made from, if it can be told; with its ``FILE:LINE:COLUMN`` in ``origin``.
    """

    device: str
    mechanism: str
    decision: Decision
    rule: str = ""
    rule_place: str = ""
    flow: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Refutation:
    """A group of packets that break a claim in the same way, with one of them as the witness.

    Attributes:
        claim: ``open``, ``closed``, ``depth`` or ``confidential``.
        kind: what breaks, hyphenated and stable (``neighbour-spoofing``, ``undeclared-packet``, ...).
        summary: one sentence.
        source, destination: ends of the group as in the depth table.
        count: how many cells (caller, receiver, port range) are in the group.
        packet, path: the witness and its way; None and empty for a finding without a packet.
        let_through: the mechanisms that should have refused and did not, or are alone in refusing.
        failure: the one failure that the packet needs; empty when it needs none.
        depth: owners that refuse the witness, over all of which the promise asks for more.
        edit: the change that closes it.
    """

    claim: str
    kind: str
    summary: str
    source: str
    destination: str
    count: int
    packet: Packet | None
    path: tuple[Hop, ...]
    let_through: tuple[str, ...]
    failure: str
    depth: int
    edit: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A rule that could not be read exactly and that an answer hangs on."""

    claim: str
    device: str
    rule_place: str
    reason: str
    summary: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One promise and what became of it. ``checked`` counts in ``unit``; ``seconds`` is wall-clock time."""

    name: str
    statement: str
    outcome: Outcome
    checked: int
    unit: str
    broken: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DepthEntry:
    """The least depth of any undeclared packet from ``source`` to ``destination``.

    ``source`` is a segment's key, ``internet`` or ``router:NAME``; ``destination`` a segment's key or ``internet``.
    ``promised`` is 2, or 1 where the place itself is the one failure. ``mechanisms`` refuse the weakest packet;
    ``unowned`` is the depth when the attacker does not own the sender, so that its own firewall counts too.
    """

    source: str
    destination: str
    depth: int
    promised: int
    unowned: int
    mechanisms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer over a whole environment."""

    environment: str
    live: bool
    claims: tuple[Claim, ...]
    refutations: tuple[Refutation, ...]
    unknowns: tuple[Unknown, ...]
    depths: tuple[DepthEntry, ...]
    assumptions: tuple[str, ...]
    counts: Mapping[str, int]
    seconds: float

    @property
    def outcome(self) -> Outcome:
        """Refuted if any claim is, else unknown if any is, else proved."""
        outcomes = {claim.outcome for claim in self.claims}
        if Outcome.REFUTED in outcomes:
            return Outcome.REFUTED
        return Outcome.UNKNOWN if Outcome.UNKNOWN in outcomes else Outcome.PROVED

    @property
    def exit_code(self) -> int:
        """0 proved, 1 refuted, 3 unknown."""
        return {Outcome.PROVED: 0, Outcome.REFUTED: 1, Outcome.UNKNOWN: 3}[self.outcome]

    def of_claim(self, name: str) -> tuple[Refutation, ...]:
        """The refutations of one claim, in order."""
        return tuple(refutation for refutation in self.refutations if refutation.claim == name)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``; keys are the attributes' names."""
        return {
            "environment": self.environment,
            "live": self.live,
            "outcome": str(self.outcome),
            "exit_code": self.exit_code,
            "claims": _plain(self.claims),
            "refutations": _plain(self.refutations),
            "unknowns": _plain(self.unknowns),
            "depths": _plain(self.depths),
            "assumptions": list(self.assumptions),
            "counts": dict(self.counts),
            "seconds": round(self.seconds, 4),
        }


def _plain(values: Iterable[Claim | Refutation | Unknown | DepthEntry]) -> list[dict[str, Any]]:
    return [asdict(value) for value in values]
