"""What is declared, as elements of verdict maps.

Exact elements live in hash maps, whose cost does not grow with their number. A range of more than `EXPANDED_PORTS`
ports goes to an interval map of its own, so that it slows down nobody else. Echo requests have no ports and a map of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ringfort.environment.model import PortRange, Protocol
from ringfort.network import nft
from ringfort.network.families import Family
from ringfort.network.nft import Json, Verdict
from ringfort.network.table import TableBuilder

EXPANDED_PORTS = 16
"""The longest range of ports that becomes one element for each port."""


class Entries:
    """Declared communications of one address family: (source, destination, protocol, port) -> the flow's chain.

    The first flow to declare a communication keeps it: callers add flows in the order of their names.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """``numbers`` gives each address in text its number, so that 10.0.0.2 comes before 10.0.0.10."""
        self.numbers = numbers
        self.exact: dict[tuple[str, str, str, int], str] = {}
        self.wide: dict[tuple[str, str, str], list[tuple[int, int, str]]] = {}
        self.echo: dict[tuple[str, str], str] = {}

    def add(self, source: str, destination: str, protocol: Protocol, ports: Sequence[PortRange], chain: str) -> None:
        """Declare that ``source`` may call ``destination`` at these ports (none for echo requests)."""
        if protocol is Protocol.ICMP:
            self.echo.setdefault((source, destination), chain)
            return
        for span in ports:
            if span.last - span.first < EXPANDED_PORTS:
                for port in range(span.first, span.last + 1):
                    self.exact.setdefault((source, destination, protocol.value, port), chain)
            else:
                self._add_wide((source, destination, protocol.value), span, chain)

    def chains(self) -> set[str]:
        """The chains that at least one element leads to."""
        wide = {chain for spans in self.wide.values() for _, _, chain in spans}
        return {*self.exact.values(), *self.echo.values(), *wide}

    def _add_wide(self, key: tuple[str, str, str], span: PortRange, chain: str) -> None:
        # The kernel refuses an interval map whose elements overlap: only what no earlier flow took is added.
        spans = self.wide.setdefault(key, [])
        free = [(span.first, span.last)]
        for first, last, _ in spans:
            free = [piece for low, high in free for piece in ((low, min(high, first - 1)), (max(low, last + 1), high))]
            free = [(low, high) for low, high in free if low <= high]
        spans.extend((low, high, chain) for low, high in free)


def look_up(table: TableBuilder, chain: str, family: Family, entries: Entries, prefix: str, what: str) -> None:
    """Add to ``chain`` the look-ups of ``entries`` in maps called after ``prefix``; nothing for what is empty."""
    source, destination = nft.payload(family.header, "saddr"), nft.payload(family.header, "daddr")
    ported = nft.concat(source, destination, nft.meta("l4proto"), nft.payload("th", "dport"))
    types = (family.address_type, family.address_type, "inet_proto", "inet_service")
    if entries.exact:
        name = table.map(
            family.named(prefix), types, _exact(entries), comment=f"{what}: source, destination, protocol, port"
        )
        table.rule(chain, nft.vmap(ported, name))
    if entries.wide:
        name = table.map(
            family.named(f"{prefix}-wide"),
            types,
            _wide(entries),
            flags=("interval",),
            comment=f"{what}: source, destination, protocol, long range of ports",
        )
        table.rule(chain, nft.vmap(ported, name))
    if entries.echo:
        name = table.map(
            family.named(f"{prefix}-echo"),
            types[:2],
            _echo(entries),
            comment=f"{what}: source and destination of echo requests",
        )
        echo = nft.match(nft.payload(family.echo, "type"), "echo-request")
        table.rule(chain, echo, nft.vmap(nft.concat(source, destination), name))


def _exact(entries: Entries) -> Iterator[tuple[Json, Verdict]]:
    number = entries.numbers
    order = sorted(entries.exact.items(), key=lambda item: (number[item[0][0]], number[item[0][1]], item[0][2:]))
    for key, chain in order:
        yield {"concat": list(key)}, nft.goto(chain)


def _wide(entries: Entries) -> Iterator[tuple[Json, Verdict]]:
    number = entries.numbers
    for key in sorted(entries.wide, key=lambda key: (number[key[0]], number[key[1]], key[2])):
        for first, last, chain in sorted(entries.wide[key]):
            yield {"concat": [*key, nft.ports(first, last)]}, nft.goto(chain)


def _echo(entries: Entries) -> Iterator[tuple[Json, Verdict]]:
    number = entries.numbers
    for key in sorted(entries.echo, key=lambda key: (number[key[0]], number[key[1]])):
        yield {"concat": list(key)}, nft.goto(entries.echo[key])
