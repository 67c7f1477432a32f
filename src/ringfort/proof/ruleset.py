"""A ruleset, read: what the proof executes. Every value is an immutable number, interval or name.

nft's words stop here. Differences of notation (``tcp dport 1-5``, ``tcp dport >= 1``, sets, prefixes) are gone: a
match asks whether an expression lies in a set of intervals, or has some bit of a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ringfort.proof.fields import Field, Universe

Interval = tuple[int, int]
Key = tuple[Interval, ...]
"""One interval for each part of a concatenation; a plain key has one part."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a rule stands. ``number`` counts from 1 inside the chain, 0 is the chain's policy; ``handle`` is nft's."""

    family: str
    table: str
    chain: str
    number: int
    handle: int = 0

    def __str__(self) -> str:
        rule = f"rule {self.number}" if self.number else "policy"
        handle = f" (handle {self.handle})" if self.handle else ""
        return f"{self.family} {self.table} {self.chain} {rule}{handle}"


class Doubt(StrEnum):
    """Why something is evaluated as either way."""

    STATE = "depends on state"
    """Known, and decided by what happened before: a rate limit, a quota, a set that packets fill, chance, a clock."""

    UNKNOWN = "not understood"


# -- expressions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition:
    """``field`` lies in one of ``intervals``; what must hold before an expression can be read at all."""

    field: Field
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The value of a field. Where a condition fails, or the universe is another, the rule ends without a match."""

    field: Field
    conditions: tuple[Condition, ...] = ()
    universes: frozenset[Universe] = frozenset(Universe)


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of ``width`` bits."""

    value: int
    width: int


@dataclass(frozen=True, slots=True)
class Bitwise:
    """``(operand & mask) ^ flip``, all of the operand's width."""

    operand: Expression
    mask: int
    flip: int


@dataclass(frozen=True, slots=True)
class Shift:
    """``operand`` shifted left by ``bits`` (right if negative), in its own width."""

    operand: Expression
    bits: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The value a map holds for ``key``; the rule ends without a match where it holds none."""

    key: tuple[Expression, ...]
    elements: tuple[Element, ...] | str  # a str names a map of the rule's table
    width: int


Expression = Read | Constant | Bitwise | Shift | Lookup


# -- sets ----------------------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What a verdict says."""

    ACCEPT = "accept"
    DROP = "drop"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``target`` names a chain of the same table for ``jump`` and ``goto``. ``text`` is how the ruleset says it."""

    outcome: Outcome
    target: str = ""
    text: str = ""
    universes: frozenset[Universe] = frozenset(Universe)
    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        return self.text or f"{self.outcome} {self.target}".strip()


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set or map. ``data``: a verdict for a verdict map, a key for a map, None for a set.

    ``transient`` elements have a timeout: they may be gone by the time a packet comes.
    """

    key: Key
    data: Verdict | Key | None = None
    transient: bool = False


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A named set or map. ``dynamic`` when packets can add or remove elements, so that a lookup depends on state.

    ``catch_all`` is the element ``*``: for every key no other element holds.
    ``unread`` says which element could not be read, "" if all were.
    """

    name: str
    types: tuple[str, ...]
    elements: tuple[Element, ...]
    dynamic: bool = False
    catch_all: Element | None = None
    unread: str = ""


# -- statements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Match:
    """Whether ``key`` lies in ``elements`` (or, if ``negated``, does not). A str names a set of the rule's table."""

    key: tuple[Expression, ...]
    elements: tuple[Element, ...] | str
    negated: bool
    text: str


@dataclass(frozen=True, slots=True)
class AnyBit:
    """Whether some bit of ``mask`` is set (or, if ``negated``, none is): ``ct state new,established``."""

    operand: Expression
    mask: int
    negated: bool
    text: str


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """Look ``key`` up; the element's verdict is the rule's. A str names a map of the rule's table."""

    key: tuple[Expression, ...]
    elements: tuple[Element, ...] | str
    catch_all: Element | None
    text: str


@dataclass(frozen=True, slots=True)
class Assign:
    """Set ``field`` of the packet to ``value``; None for a value that is not known here."""

    field: Field
    value: Expression | None
    text: str
    universes: frozenset[Universe] = frozenset(Universe)
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Translate:
    """Network address translation, which also accepts the packet.

    ``kind``: dnat, snat, masquerade or redirect. ``address`` and ``port``: the new value, a range to choose from, or
    None when it stays (or, for masquerade and redirect, is the interface's own). ``both``, if set, is a lookup whose
    data is the address and then the port. ``universes`` in which the statement does something.
    """

    kind: str
    address: Expression | Interval | None
    port: Expression | Interval | None
    both: Lookup | None
    universes: frozenset[Universe]
    text: str


@dataclass(frozen=True, slots=True)
class Untrack:
    """``notrack``: the packet's connection state becomes untracked."""

    text: str = "notrack"


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Something evaluated as either way: the rule may go on or end here.

    ``quiet`` is what happens while nothing unusual does (a limit not exceeded, a set not full); None if there is no
    such answer. With ``terminal`` the packet's fate is open too: it may be accepted or dropped here.
    """

    doubt: Doubt
    reason: str
    text: str
    quiet: bool | None = None
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A statement that changes nothing the proof sees: counter, log, comment."""

    text: str


Statement = Match | AnyBit | VerdictMap | Verdict | Assign | Translate | Untrack | Doubtful | Note


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``text`` is what an operator would write."""

    place: Place
    statements: tuple[Statement, ...]
    comment: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Base:
    """Where a base chain is attached. ``policy`` applies when no rule decides."""

    kind: str  # filter, nat or route
    hook: str
    priority: int
    policy: Outcome = Outcome.ACCEPT
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: a base chain, which packets enter by themselves, or one that rules jump to."""

    family: str
    table: str
    name: str
    base: Base | None
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """``sets`` holds named sets and maps. A dormant table's base chains see no packet."""

    family: str
    name: str
    chains: Mapping[str, Chain] = field(default_factory=dict)
    sets: Mapping[str, NamedSet] = field(default_factory=dict)
    dormant: bool = False


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything one network namespace has loaded. ``version`` is nft's, "" if the document does not say."""

    tables: tuple[Table, ...]
    version: str = ""
