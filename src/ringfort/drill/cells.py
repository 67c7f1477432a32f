"""One attack under one failure, and the sums of them for people: attacks against kinds of failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

EVERYTHING_ON = "everything on"
RESTORED = "restored"
KINDS = (
    EVERYTHING_ON,
    "port-security",
    "router-filter",
    "router-taken-over",
    "host-firewall",
    "host-taken-over",
    "sandbox-filter",
    "instance-taken-over",
    "sandbox-escaped",
    "identity",
    "identity-stolen",
    "authority",
    RESTORED,
)
"""The columns of the matrix, in the order of a packet's way."""

UNFINISHED = "handshake-unfinished"
NO_TRANSLATION = "no-translation"
NOT_ROUTED = "not-routed"
NEVER_WHOLE = "never-whole"


@dataclass(frozen=True, slots=True)
class Refuser:
    """A kind of mechanism (or what stands for one), its letter in the matrix, and what it means."""

    kind: str
    letter: str
    meaning: str


REFUSERS = (
    Refuser("port-security", "P", "port security of a segment's switch"),
    Refuser("router-filter", "R", "router filter"),
    Refuser("host-firewall", "H", "host firewall"),
    Refuser("sandbox-filter", "S", "an instance's sandbox, on its hypervisor"),
    Refuser("identity", "I", "identity check of a service, which refused a real TLS connection"),
    Refuser(
        UNFINISHED,
        "u",
        "unfinished: an opening let through to a service that checks identities; the answers go to the address's true "
        "owner, so a host can't go on; a router sees them, see router-handshake",
    ),
    Refuser(NOT_ROUTED, "l", "the link ends here: a sandbox routes, so a guest's frames to its neighbours go nowhere"),
    Refuser(NO_TRANSLATION, "n", "nobody: a published address leads nowhere once the translation is gone"),
    Refuser(
        NEVER_WHOLE,
        "f",
        "fragments that never make a packet: whoever decides by ports puts them together first, and waits in vain",
    ),
)
"""In the order of a packet's way."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack under one failure.

    Attributes:
        attack: key of the attack.
        failure: the mechanism that was taken away (`EVERYTHING_ON`, `RESTORED` for none).
        probes: how many were sent.
        refused_by: mechanism -> how many probes it refused, from its own counter.
        delivered: how many got through.
        reasons: the same refusals in the rules' and services' own words (``spoofed``, ``undeclared``, ...).
    """

    attack: str
    failure: str
    probes: int
    refused_by: Mapping[str, int]
    delivered: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Probes that neither got through nor were counted by any mechanism."""
        return self.probes - self.delivered - sum(self.refused_by.values())


@dataclass(frozen=True, slots=True)
class Sum:
    """All cells of one attack and one kind of failure; ``refused_by`` counts by kind of mechanism, most first."""

    probes: int
    delivered: int
    unexplained: int
    refused_by: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Column:
    """A kind of failure, and how many failures of it were drilled."""

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """One attack: its key, its sentence, and a sum for each column (None where it was not tried)."""

    attack: str
    words: str
    sums: tuple[Sum | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a drill shows at the end. ``details`` holds every cell, by kind of failure."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    refusers: tuple[Refuser, ...]
    details: Mapping[str, tuple[Cell, ...]]


def kind_of(mechanism: str) -> str:
    """``host-firewall`` of ``host-firewall:db-1``."""
    return mechanism.partition(":")[0]


def letter_of(kind: str) -> str:
    """The letter of a kind of mechanism."""
    return next((refuser.letter for refuser in REFUSERS if refuser.kind == kind), "?")


def matrix_of(attacks: Mapping[str, str], failures: tuple[str, ...], cells: tuple[Cell, ...]) -> Matrix:
    """Sum up cells. Attacks that were not tried and kinds that did not occur are left out."""
    numbers = Counter(kind_of(failure) for failure in failures)
    kinds = [*(kind for kind in KINDS if kind in numbers), *(kind for kind in numbers if kind not in KINDS)]
    by_place: dict[tuple[str, str], list[Cell]] = {}
    details: dict[str, list[Cell]] = {kind: [] for kind in kinds}
    for cell in cells:
        by_place.setdefault((cell.attack, kind_of(cell.failure)), []).append(cell)
        details[kind_of(cell.failure)].append(cell)
    sums = {place: _sum(found) for place, found in by_place.items()}
    rows = tuple(
        Row(attack, words, tuple(sums.get((attack, kind)) for kind in kinds))
        for attack, words in attacks.items()
        if any((attack, kind) in sums for kind in kinds)
    )
    seen = {kind for found in sums.values() for kind in found.refused_by}
    refusers = tuple(refuser for refuser in REFUSERS if refuser.kind in seen)
    columns = tuple(Column(kind, numbers[kind]) for kind in kinds)
    return Matrix(columns, rows, refusers, {kind: tuple(found) for kind, found in details.items() if found})


def _sum(cells: list[Cell]) -> Sum:
    refused: Counter[str] = Counter()
    for cell in cells:
        for mechanism, number in cell.refused_by.items():
            refused[kind_of(mechanism)] += number
    ordered = sorted(refused.items(), key=lambda entry: (-entry[1], entry[0]))
    return Sum(
        sum(cell.probes for cell in cells),
        sum(cell.delivered for cell in cells),
        sum(cell.unexplained for cell in cells),
        {kind: number for kind, number in ordered if number},
    )
