"""Builds one nftables table, object by object, in the form that ``nft --json list ruleset`` gives it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from ringfort.network import nft
from ringfort.network.names import comment as within_limits
from ringfort.network.nft import Json, Statement, Verdict
from ringfort.network.reasons import LOG_GROUP, Reason

TABLE = "ringfort"
"""The one table of every device; its family is ``inet``, on switches ``bridge``."""


class TableBuilder:
    """Collects counters, chains, sets, maps and rules; `document` gives them in an order that nft can load.

    Chains come before maps, which name chains in their verdicts, and maps before the rules that look them up.
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._counters: dict[str, Json] = {}
        self._chains: dict[str, Json] = {}
        self._sets: list[Json] = []
        self._rules: list[Json] = []
        self._refusals: list[Reason] = []

    def counter(self, name: str, comment: str) -> Statement:
        """A named counter; returns the statement that counts in it. Asking twice gives the same one."""
        if name not in self._counters:
            self._counters[name] = _counter(self.family, name, comment)
        return nft.counter(name)

    def base_chain(self, name: str, hook: str, priority: int, *, kind: str = "filter", policy: str = "drop") -> str:
        """A chain that the kernel enters at ``hook``; lower priorities come first."""
        self._chains[name] = self._object(name, type=kind, hook=hook, prio=priority, policy=policy)
        return name

    def chain(self, name: str) -> str:
        """A chain entered from others only."""
        self._chains.setdefault(name, self._object(name))
        return name

    def set(
        self,
        name: str,
        types: Sequence[str],
        elements: Iterable[Json] = (),
        *,
        comment: str = "",
        flags: Sequence[str] = (),
        **options: int,
    ) -> str:
        """A named set; returns the reference to it, ``@name``. Options are ``size`` and ``timeout`` in seconds."""
        self._sets.append({"set": self._collection(name, types, list(elements), comment, flags, options)})
        return f"@{name}"

    def map(
        self,
        name: str,
        types: Sequence[str],
        elements: Iterable[tuple[Json, Verdict]],
        *,
        comment: str = "",
        flags: Sequence[str] = (),
    ) -> str:
        """A named verdict map; returns the reference to it, ``@name``."""
        pairs = [[key, verdict] for key, verdict in elements]
        self._sets.append({"map": self._collection(name, types, pairs, comment, flags, {}) | {"map": "verdict"}})
        return f"@{name}"

    def rule(self, chain: str, *statements: Statement, comment: str = "") -> None:
        """The next rule of ``chain``."""
        self._rules.append(_rule(self.family, chain, statements, comment))

    def flow(self, chain: str, what: str, verdict: Verdict) -> None:
        """The chain of a flow: count in the counter of the same name, then ``verdict``."""
        self.rule(self.chain(chain), self.counter(chain, what), verdict, comment=what)

    def refuse(self, reason: Reason) -> Verdict:
        """The verdict that counts, logs and drops for ``reason``."""
        if reason not in self._refusals:
            self._refusals.append(reason)
        return nft.goto(reason.chain)

    def document(self) -> Json:
        """The table as a libnftables JSON document."""
        for reason in self._refusals:
            self._define_refusal(reason)
        self._refusals = []
        table = {"table": {"family": self.family, "name": TABLE}}
        counters = [{"counter": body} for body in self._counters.values()]
        chains = [{"chain": body} for body in self._chains.values()]
        return {"nftables": [_METAINFO, table, *counters, *chains, *self._sets, *self._rules]}

    def _define_refusal(self, reason: Reason) -> None:
        self._chains[reason.chain], self._counters[reason.name], rule = _refusal(self.family, reason)
        self._rules.append(rule)

    def _object(self, name: str, **more: Json) -> Json:
        return _object(self.family, name, **more)

    def _collection(
        self,
        name: str,
        types: Sequence[str],
        elements: list[Json],
        comment: str,
        flags: Sequence[str],
        options: dict[str, int],
    ) -> Json:
        body = self._object(name, type=types[0] if len(types) == 1 else list(types), **options)
        if comment:
            body["comment"] = within_limits(comment)
        if flags:
            body["flags"] = list(flags)
        if elements:
            body["elem"] = elements
        return body


def _object(family: str, name: str, **more: Json) -> Json:
    return {"family": family, "name": name, "table": TABLE, **more}


def _counter(family: str, name: str, comment: str) -> Json:
    return _object(family, name, packets=0, bytes=0, comment=within_limits(comment))


def _rule(family: str, chain: str, statements: Iterable[Statement], comment: str = "") -> Json:
    body: Json = {"family": family, "table": TABLE, "chain": chain, "expr": list(statements)}
    if comment:
        body["comment"] = within_limits(comment)
    return {"rule": body}


@cache
def _refusal(family: str, reason: Reason) -> tuple[Json, Json, Json]:
    """Chain, counter and rule of a reason: the same objects for every device, of which there may be many."""
    statements = (nft.counter(reason.name), nft.log(reason.log_prefix, LOG_GROUP), nft.DROP)
    counter = _counter(family, reason.name, f"refused: {reason.meaning}")
    return _object(family, reason.chain), counter, _rule(family, reason.chain, statements)


_METAINFO = {"metainfo": {"json_schema_version": 1}}
