"""What breaks a promise, before it is told: one finding for each group of packets, with its weakest packet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ringfort.environment.model import Environment
from ringfort.proof import sweep
from ringfort.proof.addresses import IPV6_BASE, AddressLine, key_of
from ringfort.proof.boxes import ICMP, ICMPV6, RawBoxes
from ringfort.proof.engine import Question, Result
from ringfort.proof.layers import Triple, covers
from ringfort.proof.sweep import Array
from ringfort.proof.trail import SOMEBODY

INTERNET = "internet"


@dataclass(frozen=True, slots=True)
class Finding:
    """One group.

    Attributes:
        claim, kind: as in `ringfort.proof.verdict.Refutation`.
        source: claimed source, as an address key; ``destination`` likewise; ``service`` a service number.
        place: where the packet comes from, as in `ringfort.proof.verdict.Packet`.
        zone, segment: ends of the group: a segment's key, ``internet`` and so on.
        count: cells.
        depth: owners that refuse it.
        bits, flags: of the cell, as in `ringfort.proof.sweep`; -1 where no cell stands behind it.
        note: what else there is to say, for findings without a cell.
    """

    claim: str
    kind: str
    source: int
    destination: int
    service: int
    place: str
    zone: str
    segment: str
    count: int
    depth: int
    bits: int = -1
    flags: int = 0
    note: str = ""
    group: str = ""

    @property
    def ends(self) -> tuple[str, str]:
        """Whence and whither, for people: ``group`` says so when several zones are one finding."""
        return self.group or self.zone, self.segment


KIND_NAMES = {
    sweep.NOT_OPEN: ("open", "declared-but-refused"),
    sweep.NOT_CLOSED: ("closed", "undeclared-packet"),
    sweep.SHALLOW: ("depth", "one-mechanism"),
    sweep.NEIGHBOUR: ("depth", "neighbour-spoofing"),
    sweep.TAKEN_ROUTER: ("depth", "router-taken-over"),
    sweep.DIRECT: ("depth", "direct-path"),
}


def cell_findings(environment: Environment, question: Question, result: Result) -> list[Finding]:
    """The findings of a sweep, in order of claim and place."""
    found = [_of_record(environment, question, row) for row in result.records]
    found = [finding for finding in found if finding.place != INTERNET]
    return sorted(found, key=lambda f: (f.claim, f.kind, f.zone, f.segment, f.service, f.source, f.destination))


def zone_name(line: AddressLine, zone: int) -> str:
    """A zone for people: a segment's key, or what kind of source it is."""
    if zone < len(line.segments):
        return line.segments[zone]
    return {line.internal: "unused inside addresses", line.bogon: "bogons"}.get(zone, INTERNET)


def _of_record(environment: Environment, question: Question, row: Array) -> Finding:
    line = question.line
    zone, there = (int(end) for end in question.ends[row[sweep.BUCKET]])
    claim, kind = KIND_NAMES[int(row[sweep.KIND])]
    entry = int(line.entry[row[sweep.ATOM]])
    source = line.entry_key[entry] if entry >= 0 else _example(line, int(row[sweep.ATOM]))
    receiver = line.entry_host[row[sweep.ENTRY]]
    sender = line.entry_host[entry] if entry >= 0 else ""
    return Finding(
        claim,
        kind,
        source,
        line.entry_key[row[sweep.ENTRY]],
        readable_service(int(row[sweep.FIRST]), int(row[sweep.LAST])),
        _place(environment, int(row[sweep.KIND]), sender, receiver),
        zone_name(line, zone),
        line.segments[there],
        int(row[sweep.COUNT]),
        int(row[sweep.DEPTH]),
        int(row[sweep.BITS]),
        int(row[sweep.FLAGS]),
    )


def _example(line: AddressLine, atom: int) -> int:
    """A source in an atom, one from the documentation networks if it has any."""
    first, end = line.starts[atom], line.starts[atom + 1]
    known = (key_of(ip_address(text)) for texts in SOMEBODY.values() for text in texts)
    return next((key for key in known if first <= key < end), line.key_in(atom))


def readable_service(first: int, last: int) -> int:
    """A service number in a range that a person can picture: TCP or UDP rather than protocol 0."""
    for wanted in (6 << 16 | 22, 6 << 16 | 8080, 17 << 16 | 161, ICMP << 16 | 8 << 8, ICMPV6 << 16 | 128 << 8):
        if first <= wanted <= last:
            return wanted
    for protocol in (6, 17):
        low = max(first, protocol << 16 | 1)
        if low <= min(last, protocol << 16 | 0xFFFF):
            return low
    return first


def _place(environment: Environment, kind: int, sender: str, receiver: str) -> str:
    """Where the packet comes from."""
    if kind == sweep.TAKEN_ROUTER:
        return f"router:{environment.sites[environment.hosts[receiver].site].routers[0]}"
    if kind == sweep.NEIGHBOUR:
        return f"host:{neighbour(environment, sender, receiver)}"
    if sender:
        return f"host:{sender}"
    return entrance(environment, environment.hosts[receiver].site)


def entrance(environment: Environment, site: str) -> str:
    """Where the internet enters on its way to a site: at one of its providers, else at another site's.

    ``internet`` alone where there is no provider: nobody comes from there.
    """
    providers = (*environment.sites[site].providers, *environment.providers)
    return f"internet:{providers[0]}" if providers else INTERNET


def neighbour(environment: Environment, sender: str, receiver: str) -> str:
    """A host that can pass for ``sender``: in its segment, on neither's machine; or an instance beside one of them."""
    taken = {environment.hosts[sender].machine, environment.hosts[receiver].machine}
    hosts = [environment.hosts[name] for name in environment.hosts_by_segment[environment.hosts[sender].segment]]
    guests = (h.name for h in hosts if h.hypervisor and h.name not in (sender, receiver))
    return next((h.name for h in hosts if h.machine not in taken), "") or next(guests)


def gate_findings(
    environment: Environment, declared: RawBoxes, gates: Mapping[int, Sequence[list[Triple]]], names: Mapping[int, str]
) -> Iterator[Finding]:
    """Declared packets that a port lets through in part, or a host only from its neighbours.

    Args:
        gates: key of a host's address -> boxes that a declared packet from or to it has to lie in.
        names: key of a host's address -> the host.
    """
    if not gates:
        return
    for wanted in declared.spans():
        (source, _), (there, _), (first, _) = wanted
        boxes = [*(gates.get(source, ()) if source in names else ()), *gates.get(there, ())]
        for triples in boxes:
            relevant = [t for t in triples if _touches(t, wanted)]
            if not covers(relevant, wanted):
                zone = environment.hosts[names[source]].segment if source in names else INTERNET
                place = f"host:{names[source]}" if source in names else INTERNET
                segment = environment.hosts[names[there]].segment
                yield Finding("open", "declared-but-refused", source, there, first, place, zone, segment, 1, 0)
                break


def _touches(one: Triple, other: Triple) -> bool:
    return all(a[0] <= b[1] and b[0] <= a[1] for a, b in zip(one, other, strict=True))


def version_of_key(key: int) -> int:
    """The IP version of an address key."""
    return 6 if key >= IPV6_BASE else 4
