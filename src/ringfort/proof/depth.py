"""The table of depth: for each pair of ends, the fewest owners that refuse an undeclared packet, and who they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ringfort.environment.model import Environment
from ringfort.proof import sweep
from ringfort.proof.background import Background
from ringfort.proof.engine import Question, Result
from ringfort.proof.findings import INTERNET, Finding
from ringfort.proof.sandboxes import ROLES
from ringfort.proof.sweep import Array
from ringfort.proof.trail import guard_of
from ringfort.proof.verdict import DepthEntry

WHOLE_TABLE = 200
"""Segments up to which every pair is in the table; beyond, only pairs that some rule connects."""


@dataclass(slots=True)
class _Least:
    depth: int
    unowned: int
    mechanisms: tuple[str, ...]


def depth_table(
    environment: Environment, question: Question, result: Result, background: Background, findings: Sequence[Finding]
) -> tuple[DepthEntry, ...]:
    """The table: from every segment, from the internet and from each site's routers, to every segment."""
    table = _Table(environment, question, background)
    for bucket in result.chosen:
        table.take(bucket, result.minima[bucket])
    for finding in findings:
        told = finding.bits < 0 and finding.kind not in ROLES
        if told and finding.segment and finding.destination and finding.claim != "open":
            table.lower(finding.zone, finding.segment, finding.depth)
    return tuple(table.entries())


class _Table:
    def __init__(self, environment: Environment, question: Question, background: Background) -> None:
        self.environment, self.question, self.background = environment, question, background
        self.segments: dict[tuple[str, str], _Least] = {}
        self.internet: dict[str, _Least] = {}
        self.routers: dict[str, _Least] = {}
        keys = list(environment.segments)
        for there in keys:
            self.start(there)
            if len(keys) <= WHOLE_TABLE:
                for here in keys:
                    self.pair(here, there)

    def start(self, there: str) -> None:
        """What no rule accepts, from the internet and from a router."""
        site = self.environment.segments[there].site
        router = f"router-filter:{'|'.join(self.environment.sites[site].routers)}"
        depth = self.background.from_internet(there)
        if depth < sweep.UNSEEN:
            self.internet[there] = _Least(depth, depth, (router, self.guard(there)))
            self.routers[there] = _Least(1, 1, (self.guard(there),))

    def pair(self, here: str, there: str) -> _Least | None:
        """The entry of two segments, begun with what no rule accepts."""
        known = self.segments.get((here, there))
        if known is None:
            weakest = self.background.between(here, there)
            if weakest is None:
                return None
            known = _Least(weakest.depth, weakest.unowned, self.usual(here, there))
            self.segments[here, there] = known
        return known

    def guard(self, there: str) -> str:
        """What guards the hosts of a segment, in words."""
        hosts = [self.environment.hosts[name] for name in self.environment.hosts_by_segment[there]]
        guards = dict.fromkeys("sandbox-filter" if host.hypervisor else "host-firewall" for host in hosts)
        return " or ".join(guards) or "host-firewall"

    def usual(self, here: str, there: str) -> tuple[str, ...]:
        """Who refuses what no rule accepts, by the shortest way."""
        if here == there:
            return f"port-security:{here}", self.guard(there)
        sites = dict.fromkeys(self.environment.segments[key].site for key in (here, there))
        routers = (f"router-filter:{'|'.join(self.environment.sites[site].routers)}" for site in sites)
        return *routers, self.guard(there)

    def take(self, bucket: int, minima: Array) -> None:
        """The weakest cells of one bucket."""
        line = self.question.line
        zone, number = (int(end) for end in self.question.ends[bucket])
        there = line.segments[number]
        if zone < len(line.segments):
            here = line.segments[zone]
            self.less(self.pair(here, there), minima[sweep.HERE], minima[sweep.UNOWNED], here, there)
        elif zone == line.external:
            self.less(self.internet.get(there), minima[sweep.HERE], minima[sweep.UNOWNED], INTERNET, there)
        self.less(self.internet.get(there), minima[sweep.SPOOFED], minima[sweep.SPOOFED], INTERNET, there)
        self.less(self.routers.get(there), minima[sweep.ROUTER], minima[sweep.ROUTER], "router", there)

    def less(self, entry: _Least | None, row: Array, unowned: Array, here: str, there: str) -> None:
        """Lower an entry to a cell's depth."""
        if entry is None:
            return
        entry.unowned = min(entry.unowned, int(unowned[0]))
        if int(row[0]) < entry.depth:
            entry.depth = int(row[0])
            entry.mechanisms = self.refusing(row, here, there)

    def lower(self, here: str, there: str, depth: int) -> None:
        """Lower an entry to what a finding without a cell says."""
        if there == INTERNET:
            return  # the way out has no column
        entry = self.internet.get(there) if here == INTERNET else self.pair(here, there)
        if entry is not None and depth < entry.depth:
            entry.depth = depth
            entry.unowned = min(entry.unowned, depth)
            entry.mechanisms = entry.mechanisms[:depth]

    def refusing(self, row: Array, here: str, there: str) -> tuple[str, ...]:
        """Who may refuse a cell: its routers, its receiver, the receiver's service."""
        bits, flags, entry = int(row[4]), int(row[5]), int(row[2])
        host = self.question.line.entry_host[entry]
        found = []
        if here != "router":
            site = self.environment.segments[there].site
            far = self.environment.segments[here].site if here in self.environment.segments else site
            for name, first in ((site, sweep.NEAR_1), (far, sweep.FAR_1)) if far != site else ((site, sweep.NEAR_1),):
                refusing = [r for i, r in enumerate(self.environment.sites[name].routers) if not bits & (first << i)]
                if len(refusing) == len(self.environment.sites[name].routers):
                    found.append(f"router-filter:{'|'.join(refusing)}")
            if here in self.environment.segments and (here == there or bits & sweep.DECLARED):
                found.append(f"port-security:{here}")
        if not bits & sweep.HOST_IN:
            found.append(guard_of(self.environment.hosts[host]))
        elif flags & sweep.MUTUAL:
            found.append(f"identity at {host}")
        return tuple(found[: int(row[0])])

    def entries(self) -> Iterator[DepthEntry]:
        """All entries, in order of the file."""
        for (here, there), least in self.segments.items():
            yield DepthEntry(here, there, least.depth, 2, least.unowned, least.mechanisms)
        for there, least in self.internet.items():
            yield DepthEntry(INTERNET, there, least.depth, 2, least.unowned, least.mechanisms)
        for there, least in self.routers.items():
            site = self.environment.segments[there].site
            for router in self.environment.sites[site].routers:
                yield DepthEntry(f"router:{router}", there, least.depth, 1, least.unowned, least.mechanisms)
