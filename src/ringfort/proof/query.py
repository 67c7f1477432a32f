"""Questions to a ruleset in a small language: ``no tcp from 10.0.0.0/8 to 10.1.2.3 port 22 in forward``.

    [some|all|no] [PROTOCOL] [from ADDRESSES] [to ADDRESSES] [port PORTS] [source port PORTS]
    [iif NAME] [oif NAME] [state STATES] [type ICMP-TYPE] [FIELD=VALUES ...] [in HOOK]

``some`` (the default) asks whether some such packet is accepted, ``all`` whether all are, ``no`` whether none is.
Values are separated by commas; addresses may be prefixes or ranges, ports and numbers ranges, names may end in ``*``.
Unless a state is named, the question is about packets of new connections (``state any`` asks about all).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network

from ringfort.errors import RingfortError
from ringfort.proof.execute import DoubtAt, execute, possible_on
from ringfort.proof.fields import CT_STATE, LATER_FRAGMENT, TRANSPORT, Field, Universe, named
from ringfort.proof.hooks import Hook, Layer, hooks
from ringfort.proof.nftables.symbols import SYMBOLS
from ringfort.proof.nftables.values import NotUnderstoodError, intervals
from ringfort.proof.packets import Interval, PacketSet, everything, where
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.variables import Space


class QueryError(RingfortError):
    """A question that cannot be understood; ``column`` counts from 1."""

    def __init__(self, query: str, column: int, message: str, hint: str = "") -> None:
        pointer = " " * (column - 1) + "^"
        super().__init__("query-refused", f"column {column}: {message}\n    {query}\n    {pointer}", hint)
        self.column = column


class Quantifier(StrEnum):
    """What a question asks about its packets."""

    SOME = "some"
    ALL = "all"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Constraint:
    """Values of one field. ``version`` is 4 or 6 if the values are addresses of one family, else 0."""

    name: str
    values: tuple[tuple[int, Interval], ...]  # version, interval
    column: int


@dataclass(frozen=True, slots=True)
class Query:
    """A question, read. ``hook_names`` is empty if the question names none."""

    text: str
    quantifier: Quantifier
    universes: tuple[Universe, ...]
    constraints: tuple[Constraint, ...]
    hook_names: tuple[str, ...]
    hook_column: int = 1


class Verdict(StrEnum):
    """The answer."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer, and what shows it.

    ``example`` holds packets that show the answer: accepted ones, or refused ones for ``all``; empty if there is none.
    ``accepted`` are the packets in question that may be accepted, ``asked`` all of them, ``possible`` all that can
    exist there; one of each for each universe.
    """

    verdict: Verdict
    hooks: tuple[Hook, ...]
    example: PacketSet | None
    asked: tuple[PacketSet, ...]
    accepted: tuple[PacketSet, ...]
    possible: tuple[PacketSet, ...]
    doubts: tuple[DoubtAt, ...]


# -- reading -------------------------------------------------------------------------------------------------------

_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132, "dccp": 33, "udplite": 136, "gre": 47}
_UNIVERSES = {"ip": (Universe.IP,), "ip6": (Universe.IP6,), "arp": (Universe.ARP,)}
_WORDS = {
    "from": "saddr",
    "to": "daddr",
    "port": "dport",
    "iif": "iifname",
    "oif": "oifname",
    "state": "ct state",
    "type": "icmp type",
    "mark": "meta mark",
}
_FIELDS = {
    **{name.replace(" ", "-"): name for name in {**named(Universe.IP), **named(Universe.IP6)}},
    "mark": "meta mark",
    "state": "ct state",
}
_LEADING = ("some", "all", "no")


def parse_query(text: str) -> Query:
    """Read a question.

    Raises:
        QueryError: with the column and a hint.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.words = [(match.group(), match.start() + 1) for match in re.finditer(r"\S+", text)]
        self.place = 0
        self.constraints: list[Constraint] = []
        self.universes: tuple[Universe, ...] = ()
        self.hook_names: tuple[str, ...] = ()
        self.hook_column = 1

    def query(self) -> Query:
        if not self.words:
            raise QueryError(self.text, 1, "the question is empty", 'for example: "tcp to 10.1.2.3 port 22 in forward"')
        quantifier = Quantifier.SOME
        if self.words[0][0] in _LEADING:
            quantifier = Quantifier(self.words[0][0])
            self.place = 1
        while self.place < len(self.words):
            self._term()
        universes = self.universes or _universes_of(self.constraints)
        if not any(constraint.name == "ct state" for constraint in self.constraints):
            new = SYMBOLS["ct_state"]["new"]
            self.constraints.append(Constraint("ct state", ((0, (new, new)),), 1))
        kept = tuple(constraint for constraint in self.constraints if constraint.values)
        return Query(self.text, quantifier, universes, kept, self.hook_names, self.hook_column)

    def _term(self) -> None:
        word, column = self._take("a word")
        if "=" in word:
            name, _, value = word.partition("=")
            if name not in _FIELDS:
                raise QueryError(self.text, column, f"no field {name!r}", f"fields: {', '.join(sorted(_FIELDS))}")
            self._constrain(_FIELDS[name], value, column + len(name) + 1)
        elif word in _PROTOCOLS:
            number = _PROTOCOLS[word]
            self.constraints.append(Constraint("l4proto", ((0, (number, number)),), column))
            if word in ("icmp", "icmpv6"):
                self.universes = (Universe.IP,) if word == "icmp" else (Universe.IP6,)
        elif word in _UNIVERSES:
            self.universes = _UNIVERSES[word]
        elif word == "source":
            self._expect("port")
            self._constrain("sport", *self._take("ports"))
        elif word == "in":
            names, self.hook_column = self._take("a hook")
            self.hook_names = tuple(names.split(","))
        elif word in _WORDS:
            self._constrain(_WORDS[word], *self._take("a value"))
        elif word != "any":
            raise QueryError(self.text, column, f"{word!r} is not understood", _hint(word))

    def _take(self, what: str) -> tuple[str, int]:
        if self.place == len(self.words):
            raise QueryError(self.text, len(self.text) + 1, f"{what} is missing at the end")
        self.place += 1
        return self.words[self.place - 1]

    def _expect(self, wanted: str) -> None:
        word, column = self._take(repr(wanted))
        if word != wanted:
            raise QueryError(self.text, column, f"{wanted!r} is missing before {word!r}")

    def _constrain(self, name: str, value: str, column: int) -> None:
        if name == "ct state" and value == "any":
            self.constraints.append(Constraint(name, (), column))
            return
        values: list[tuple[int, Interval]] = []
        for part in value.split(","):
            try:
                values += list(_values(name, part))
            except (ValueError, NotUnderstoodError) as error:
                raise QueryError(self.text, column, f"{part!r} is no value of {name}", _value_hint(name)) from error
            column += len(part) + 1
        self.constraints.append(Constraint(name, tuple(values), column - len(value) - 1))


def _values(name: str, part: str) -> Iterator[tuple[int, Interval]]:
    if name in ("saddr", "daddr"):
        yield _addresses(part)
        return
    fields = {**named(Universe.IP6), **named(Universe.IP)}
    field = fields[name]
    if field.kind == "ifname":
        yield 0, intervals(part, "ifname", field.width)[0]
        return
    low, dash, high = part.partition("-")
    if dash and low.isdigit() and high.isdigit():
        yield 0, intervals({"range": [int(low), int(high)]}, field.kind, field.width)[0]
        return
    yield 0, intervals(int(part) if part.isdigit() else part, field.kind, field.width)[0]


def _addresses(part: str) -> tuple[int, Interval]:
    low, dash, high = part.partition("-")
    if dash:
        first, last = ip_address(low), ip_address(high)
        if first.version != last.version or int(first) > int(last):
            raise ValueError(part)
        return first.version, (int(first), int(last))
    network = ip_network(part, strict=False)
    return network.version, (int(network.network_address), int(network.broadcast_address))


def _value_hint(name: str) -> str:
    field = {**named(Universe.IP6), **named(Universe.IP)}[name]
    if name in ("saddr", "daddr"):
        return "an address, a prefix or a range, such as 10.0.0.0/8 or 10.0.0.1-10.0.0.9"
    known = SYMBOLS.get(field.kind)
    return f"one of {', '.join(known)}" if known else "a number or a range, such as 80 or 8000-8080"


def _hint(word: str) -> str:
    known = [*_PROTOCOLS, *_UNIVERSES, *_WORDS, "source port", "in", "any"]
    near = [one for one in known if one[:2] == word[:2]]
    return f"did you mean {near[0]!r}?" if near else f"words: {', '.join(known)}, or FIELD=VALUE"


def _universes_of(constraints: list[Constraint]) -> tuple[Universe, ...]:
    versions = {version for constraint in constraints for version, _ in constraint.values if version}
    if versions == {4}:
        return (Universe.IP,)
    return (Universe.IP6,) if versions == {6} else (Universe.IP, Universe.IP6)


# -- answering -----------------------------------------------------------------------------------------------------


def answer(ruleset: Ruleset, query: Query) -> Answer:
    """Answer a question.

    Raises:
        QueryError: the question names no hook and the ruleset has several, or names one that does not exist.
    """
    way = _hooks(ruleset, query)
    asked: list[PacketSet] = []
    may: list[PacketSet] = []
    must: list[PacketSet] = []
    possible: list[PacketSet] = []
    doubts: list[DoubtAt] = []
    for universe in query.universes:
        if universe not in way[0].universes:
            continue
        space = Space(universe)
        result = execute(ruleset, way, universe, space=space, start=_packets(space, query), details=False)
        asked.append(result.domain)
        possible.append(PacketSet(space, possible_on(space, way)))
        may.append(result.may)
        must.append(result.must)
        torn = result.may - result.must
        doubts += [doubt for doubt in result.doubts if doubt.packets.overlaps(torn)]
    verdict, example = _judge(query.quantifier, asked, may, must)
    told = tuple(doubts) if verdict is Verdict.UNKNOWN else ()
    return Answer(verdict, way, example, tuple(asked), tuple(may), tuple(possible), told)


def _judge(
    quantifier: Quantifier, asked: list[PacketSet], may: list[PacketSet], must: list[PacketSet]
) -> tuple[Verdict, PacketSet | None]:
    accepted = next((packets for packets in must if packets), None)
    refused = next((a - m for a, m in zip(asked, may, strict=True) if a - m), None)
    if quantifier is Quantifier.ALL:
        if refused is not None:
            return Verdict.NO, refused
        return (Verdict.YES if asked == must else Verdict.UNKNOWN), None
    possible = any(may)
    if quantifier is Quantifier.NO:
        if accepted is not None:
            return Verdict.NO, accepted
        return (Verdict.UNKNOWN if possible else Verdict.YES), None
    if accepted is not None:
        return Verdict.YES, accepted
    return (Verdict.UNKNOWN if possible else Verdict.NO), None


def _packets(space: Space, query: Query) -> PacketSet:
    packets = everything(space)
    if any(constraint.name in ("sport", "dport", "icmp type", "icmpv6 type") for constraint in query.constraints):
        # Only a packet with a transport header has a port.
        packets = where(space, TRANSPORT, (1, 1)) & where(space, LATER_FRAGMENT, (0, 0))
    for constraint in query.constraints:
        field = _field(space, constraint.name)
        if field is None:
            return packets - packets
        version = {32: 4, 128: 6}.get(field.width, 0) if constraint.name in ("saddr", "daddr") else 0
        inside = [interval for v, interval in constraint.values if v in (0, version)]
        packets = packets & where(space, field, *inside)
    return packets


def _field(space: Space, name: str) -> Field | None:
    if name == "icmp type" and space.universe is Universe.IP6:
        name = "icmpv6 type"
    return CT_STATE if name == "ct state" else space.fields.get(name)


def _hooks(ruleset: Ruleset, query: Query) -> tuple[Hook, ...]:
    known = hooks(ruleset)
    if not query.hook_names:
        if len(known) == 1:
            return (known[0],)
        names = ", ".join(str(hook).replace(" ", "-") for hook in known) or "none"
        raise QueryError(query.text, len(query.text) + 1, "which hook?", f"add: in HOOK; this ruleset has {names}")
    return tuple(_hook(name, query) for name in query.hook_names)


def _hook(name: str, query: Query) -> Hook:
    layer, _, rest = name.partition("-")
    if layer in ("bridge", "arp") and rest in _NAMES:
        return Hook(rest, Layer(layer))
    if layer == "netdev" and rest.split("-")[0] in ("ingress", "egress"):
        hook, _, device = rest.partition("-")
        return Hook(hook, Layer.NETDEV, device)
    if name in _NAMES:
        return Hook(name)
    hint = f"hooks: {', '.join(_NAMES)}, bridge-forward, netdev-ingress-DEVICE; several with commas: a packet's way"
    raise QueryError(query.text, query.hook_column, f"there is no hook {name!r}", hint)


_NAMES = ("prerouting", "input", "forward", "output", "postrouting")
