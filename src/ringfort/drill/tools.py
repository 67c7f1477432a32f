"""What a drill works with: raw sockets, counters, and calls, opened once for a whole lab."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ringfort.drill.calling import Caller
from ringfort.drill.counters import Counters
from ringfort.drill.netfilter import Netfilter
from ringfort.drill.scanners import Scanners
from ringfort.drill.volley import Range
from ringfort.drill.wire import Wire
from ringfort.environment.topology import devices
from ringfort.lab.lab import Lab


@dataclass(frozen=True, slots=True)
class Tools:
    """The wire for single packets, the range that accounts for them, the caller for connections, and all rules."""

    wire: Wire
    range: Range
    caller: Caller
    netfilter: Netfilter


@contextmanager
def tools(lab: Lab) -> Iterator[Tools]:
    """Open everything; closed after the block."""
    _allow_many_sockets()
    with ExitStack() as stack:
        wire = stack.enter_context(Wire(lab))
        netfilter = stack.enter_context(Netfilter(lab, devices(lab.environment)))
        yield Tools(wire, Range(lab, wire, Counters(netfilter), Scanners(netfilter)), Caller(lab), netfilter)


def _allow_many_sockets() -> None:
    """Raise the soft limit on open files to the hard one: nine sockets for each device are soon more than 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
