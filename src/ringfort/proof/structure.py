"""One execution for all rulesets that differ in the elements of their sets alone.

Ten thousand hosts have a handful of different structures: the same chains, with other addresses in their sets. The
execution treats lookups as opaque, so its result holds for each of them once its own elements are put in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ringfort.proof.execute import Result, execute
from ringfort.proof.fields import CT_STATE, CtState, Universe
from ringfort.proof.hooks import Hook
from ringfort.proof.opaque import Behaviour, Opaque, behaviour, group_by_behaviour, opaque_bound
from ringfort.proof.packets import PacketSet, where
from ringfort.proof.ruleset import (
    Assign,
    Chain,
    Element,
    Interval,
    Match,
    NamedSet,
    Note,
    Read,
    Ruleset,
    Statement,
    Table,
    Translate,
    Verdict,
    VerdictMap,
)
from ringfort.proof.variables import Space

OPAQUE_ROOM = 64
"""Opaque variables that a shared space has at least: more than a host's or a switch's ruleset needs."""

SHARING = 64
"""Executions that share a space, so that none grows without end."""


def new_connections(result: Result, packets: PacketSet) -> PacketSet:
    """Those of ``packets`` that begin a connection."""
    return packets & where(result.space, CT_STATE, (CtState.NEW, CtState.NEW))


def structure(ruleset: Ruleset) -> Hashable:
    """What decides an execution with opaque lookups: everything but places, comments and elements.

    Where a rule changes packets, a later lookup sees the changed key and is not opaque: elements count too.
    """
    changing = any(
        isinstance(statement, Assign | Translate)
        for table in ruleset.tables
        for chain in table.chains.values()
        for rule in chain.rules
        for statement in rule.statements
    )
    return tuple(_table_structure(table, with_elements=changing) for table in ruleset.tables)


def _table_structure(table: Table, *, with_elements: bool) -> Hashable:
    names = table.chains if with_elements else _reached(table)
    chains = tuple((name, table.chains[name].base, _deciding(table.chains[name])) for name in names)
    sets = tuple(named if with_elements else _set_structure(table, named) for named in table.sets.values())
    return table.family, table.name, table.dormant, chains, sets


def _reached(table: Table) -> list[str]:
    """The chains that are reached without a named map, and those that do more than give a verdict.

    What a named map leads to is part of the map's behaviours, whatever its chains are called.
    """
    plain = {
        name
        for name, chain in table.chains.items()
        if chain.base is None and all(isinstance(s, Verdict) and not s.target for s in _flat(_deciding(chain)))
    }
    waiting = [name for name in table.chains if name not in plain]
    reached: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if name in table.chains and name not in reached:
            reached[name] = None
            waiting += [target for s in _flat(_deciding(table.chains[name])) for target in _targets(s)]
    return list(reached)


def _flat(rules: tuple[tuple[Statement, ...], ...]) -> Iterator[Statement]:
    return (statement for rule in rules for statement in rule)


def _targets(statement: Statement) -> list[str]:
    verdicts = [statement] if isinstance(statement, Verdict) else []
    if isinstance(statement, VerdictMap) and not isinstance(statement.elements, str):
        verdicts = [e.data for e in statement.elements if isinstance(e.data, Verdict)]
    if isinstance(statement, VerdictMap) and statement.catch_all and isinstance(statement.catch_all.data, Verdict):
        verdicts.append(statement.catch_all.data)
    return [verdict.target for verdict in verdicts if verdict.target]


def _deciding(chain: Chain) -> tuple[tuple[Statement, ...], ...]:
    return tuple(tuple(s for s in rule.statements if not isinstance(s, Note)) for rule in chain.rules)


def _set_structure(table: Table, named: NamedSet) -> Hashable:
    transient = any(element.transient for element in named.elements)
    data = {type(element.data) for element in named.elements}
    if named.dynamic or transient or named.unread or not data <= {Verdict, type(None)}:
        return named  # its elements decide more than a lookup
    behaviours: Hashable = len(named.elements) > 0
    if Verdict in data:
        behaviours = tuple(group_by_behaviour(table, named.name))
    return named.name, named.types, named.catch_all, behaviours


@dataclass(slots=True)
class Executions:
    """Remembers executions by structure; ``count`` how many were made. Without ``opaque`` every element is executed."""

    opaque: bool = True
    count: int = 0
    _known: dict[Hashable, Result] = field(default_factory=dict)
    _behaviours: dict[int, Behaviour] = field(default_factory=dict)
    _spaces: dict[tuple[Universe, int], tuple[Space, int]] = field(default_factory=dict)

    def run(self, ruleset: Ruleset, key: Hashable, hooks: Sequence[Hook], universe: Universe) -> Result:
        """The execution of ``ruleset``, whose `structure` is ``key``: its own or that of its like."""
        known = self._known.get((key, tuple(hooks), universe))
        if known is None:
            known = execute(ruleset, hooks, universe, opaque=self.opaque, space=self._space(ruleset, universe))
            self._known[key, tuple(hooks), universe] = known
            self.count += 1
            tables = _tables(ruleset)
            for entry in known.opaque:
                if entry.verdict is not None:
                    self._behaviours[id(entry)] = behaviour(entry.verdict, tables[entry.lookup[:2]])
        return known

    def _space(self, ruleset: Ruleset, universe: Universe) -> Space | None:
        """Variables that several executions share, so that what they have in common is worked out once.

        What an opaque variable stands for is each execution's own business; their results are never mixed.
        """
        if not self.opaque:
            return None
        room = 1 << max(opaque_bound(ruleset), OPAQUE_ROOM - 1).bit_length()
        space, left = self._spaces.get((universe, room), (None, 0))
        if space is None or not left:
            space, left = Space(universe, room), SHARING
        self._spaces[universe, room] = space, left - 1
        return space

    def elements_in(self, ruleset: Ruleset) -> Callable[[Opaque], Sequence[Element]]:
        """For an opaque variable of a like ruleset's execution, the elements it stands for in this one."""
        tables = _tables(ruleset)
        groups: dict[tuple[str, str, str], dict[Behaviour, list[Element]]] = {}

        def find(entry: Opaque) -> Sequence[Element]:
            family, name, set_name, _ = entry.lookup
            table = tables[family, name]
            if entry.verdict is None:
                return table.sets[set_name].elements
            known = groups.get((family, name, set_name))
            if known is None:
                known = groups[family, name, set_name] = group_by_behaviour(table, set_name)
            return known.get(self._behaviours[id(entry)], ())

        return find


def _tables(ruleset: Ruleset) -> dict[tuple[str, str], Table]:
    return {(table.family, table.name): table for table in ruleset.tables}


STAND_IN = 0x025249_4E4700
"""A MAC address in place of each segment's gateway, so that devices of all segments have the same structure."""

ADDRESS_STAND_IN = 0x0000_0001
"""An IPv4 address (0.0.0.1, nobody's: RFC 6890, table 1) in place of each gateway's, in ARP."""


def stands_in_exactly(ruleset: Ruleset, mac: int) -> bool:
    """Whether every place that tells ``mac`` from other addresses is one that `with_stand_in` replaces.

    A range, a mask, a concatenation or a raw expression could hold for the one and not for its stand-in.
    """
    for table in ruleset.tables:
        for chain in table.chains.values():
            for statement in _flat(tuple(rule.statements for rule in chain.rules)):
                if not _tells_exactly(statement, mac):
                    return False
        for named in table.sets.values():
            for place, kind in enumerate(named.types):
                if kind == "ether_addr" and not all(_alike(e.key[place], mac) for e in named.elements):
                    return False
    return True


def _tells_exactly(statement: Statement, mac: int) -> bool:
    if isinstance(statement, Note | Verdict):
        return True
    if not isinstance(statement, Match | VerdictMap):
        # A changed or masked link-layer header: rare enough to do without the stand-in.
        return "region='ll'" not in repr(statement)
    single = isinstance(statement, Match) and len(statement.key) == 1 and len(statement.elements) == 1
    for place, part in enumerate(statement.key):
        if not isinstance(part, Read):
            if "region='ll'" in repr(part):
                return False
            continue
        if part.field.width != 48:
            if part.field.region == "ll" and part.field.offset < 96:
                return False
            continue
        for element in () if isinstance(statement.elements, str) else statement.elements:
            if not _alike(element.key[place], mac) or (not single and element.key[place] == (mac, mac)):
                return False
    return True


def _alike(interval: Interval, mac: int) -> bool:
    """Whether an interval is the address itself, or holds for neither or both of it and its stand-in."""
    if interval == (mac, mac):
        return True
    return (interval[0] <= mac <= interval[1]) == (interval[0] <= STAND_IN <= interval[1])


def with_stand_in(ruleset: Ruleset, mac: int, address: int | None = None) -> Ruleset:
    """The ruleset with a gateway's ``mac`` (and ``address``) replaced where a rule compares with it alone.

    Texts are left out, because they name it.
    """
    stand_ins = {(48, mac): STAND_IN, (32, address): ADDRESS_STAND_IN}

    def stands_in(statement: Statement) -> Statement:
        if not isinstance(statement, Match):
            return statement
        return replace(statement, elements=_replaced(statement, stand_ins), text="")

    def changed(chain: Chain) -> Chain:
        rules = (replace(rule, statements=tuple(map(stands_in, rule.statements))) for rule in chain.rules)
        return replace(chain, rules=tuple(rules))

    tables = (
        replace(
            table,
            chains={name: changed(chain) for name, chain in table.chains.items()},
            sets={name: _set_with_stand_in(named, mac) for name, named in table.sets.items()},
        )
        for table in ruleset.tables
    )
    return replace(ruleset, tables=tuple(tables))


def _set_with_stand_in(named: NamedSet, mac: int) -> NamedSet:
    places = [place for place, kind in enumerate(named.types) if kind == "ether_addr"]
    if not places:
        return named
    elements = tuple(
        replace(element, key=tuple(_put(mac, part) if i in places else part for i, part in enumerate(element.key)))
        if any(element.key[place] == (mac, mac) for place in places)
        else element
        for element in named.elements
    )
    return replace(named, elements=elements)


def _put(mac: int, part: Interval) -> Interval:
    return (STAND_IN, STAND_IN) if part == (mac, mac) else part


def _replaced(match: Match, stand_ins: Mapping[tuple[int, int | None], int]) -> tuple[Element, ...] | str:
    elements = match.elements
    if isinstance(elements, str) or len(elements) != 1 or len(match.key) != 1 or not isinstance(match.key[0], Read):
        return elements
    ((low, high),) = elements[0].key
    read = match.key[0].field
    if read.region not in ("ll", "nh"):  # a mark may be the same number
        return elements
    other = stand_ins.get((read.width, low))
    return elements if other is None or low != high else (Element(((other, other),)),)


def same_rules(one: Ruleset, other: Ruleset) -> bool:
    """Whether two rulesets do the same by their text: all but places, comments, counters and the order of elements."""
    return _canonical(one) == _canonical(other)


def _canonical(ruleset: Ruleset) -> Hashable:
    return tuple(
        (
            table.family,
            table.name,
            table.dormant,
            frozenset((name, chain.base, _deciding(chain)) for name, chain in table.chains.items()),
            frozenset(_canonical_set(named) for named in table.sets.values()),
        )
        for table in ruleset.tables
    )


def _canonical_set(named: NamedSet) -> Hashable:
    # What packets put into a dynamic set is state, and either way already.
    elements = frozenset() if named.dynamic else frozenset(named.elements)
    return named.name, named.types, named.dynamic, named.catch_all, named.unread, elements
