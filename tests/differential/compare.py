"""One experiment: rules under test and probes, in the kernel and in the proof; every difference with what it takes."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from ringfort.proof.execute import Result, execute
from ringfort.proof.fields import CT_STATE, CtState, Universe
from ringfort.proof.hooks import Hook, Layer
from ringfort.proof.reader import read
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.variables import Space
from ringfort.proof.words import value_text
from tests.differential.bench import WAYS, Bench, Observation, dump, seen, way_out
from tests.differential.nft import NftCrashError, NftError
from tests.differential.probes import ICMP, ICMPV6, OTHER, TCP, UDP, Probe, assignment, facts, frame, numbered
from tests.differential.rulesets import MACS, MARKS, PORTS, V4, V4_TARGETS, V6, V6_TARGETS


def random_probes(seed: int, count: int, family: str, *, connections: bool) -> list[Probe]:
    """Probes from the pools that the rules use."""
    chance = random.Random(seed)
    return numbered([_probe(chance, family, connections) for _ in range(count)])


def each_its_connection(probes: list[Probe]) -> list[Probe]:
    """The probes so changed that no two belong to one connection, not even after translation.

    What a connection remembers (a mark, a translation) would else reach another probe, and two connections that
    translation makes equal would clash: a protocol without ports is then dropped (nf_nat_used_tuple).
    """
    changed = []
    for probe in probes:
        protocol = UDP if probe.protocol == OTHER else probe.protocol
        words = (20_000 + probe.ident, probe.words[1]) if protocol in (TCP, UDP) else probe.words
        one = replace(probe, protocol=protocol, words=words, echo=probe.ident)
        # A broadcast frame, or a fragment, is not forwarded and not delivered alike.
        changed.append(replace(one, broadcast=False, offset=0, more=False))
    return changed


def _probe(chance: random.Random, family: str, connections: bool) -> Probe:
    six = chance.random() < 0.35
    source = chance.choice(V6 if six else V4)
    target = chance.choice(V6_TARGETS if six else V4_TARGETS)
    protocol = chance.choice([TCP, TCP, TCP, UDP, UDP, ICMPV6 if six else ICMP, OTHER])
    words = (chance.choice([40000, 53, 1024, 55555]), chance.choice(PORTS))
    if protocol in (ICMP, ICMPV6):
        words = (chance.choice([8, 0, 3] if not six else [128, 129, 1]) << 8 | chance.choice([0, 0, 1]), 80)
    probe = Probe(
        source,
        target,
        protocol,
        words,
        flags=chance.choice([2, 2, 2, 16, 18, 4]),
        ttl=chance.choice([64, 64, 9, 5]),
        dscp=chance.choice([0, 0, 8]),
        payload=chance.choice([0, 8, 20]),
        options=six and chance.random() < 0.15,
        bad_checksum=chance.random() < 0.05,
        broadcast=chance.random() < (0.1 if family != "inet" or not way_out(target) else 0),
        ether_source=chance.choice(MACS),
        mark=chance.choice(MARKS) if chance.random() < 0.5 else 0,
        tracked=not connections or chance.random() > 0.15,
        way=0 if family == "netdev" or source.startswith(("10.1", "fd01")) else 1,
    )
    delivered = family == "inet" and way_out(target) == ""  # a fragment for the router waits for the others
    if not six and not delivered and chance.random() < 0.08:
        probe = replace(probe, offset=chance.choice([0, 2, 100]), more=chance.random() < 0.5, payload=8)
    if connections and protocol in (TCP, UDP) and chance.random() < 0.2 and way_out(target):
        # A connection of its own: no other probe shares its ports.
        words = (chance.randrange(2000, 30000), probe.words[1])
        probe = replace(probe, established=True, flags=16, words=words, offset=0, more=False, bad_checksum=False)
    return probe


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an experiment went: how many verdicts were compared, and the differences, told in full."""

    compared: int
    differences: tuple[str, ...]


def experiment(bench: Bench, rules: str, family: str, probes: list[Probe]) -> Outcome | None:
    """Load, send, and compare; None if nft refuses all of the rules."""
    states = family == "inet" and ("ct " in rules or "nat" in rules)
    if states and ("nat" in rules or "ct mark set" in rules):
        probes = each_its_connection(probes)
    bench.forget_connections()
    if states:
        _establish(bench, family, probes)
    document = _load(bench, rules, family, states=states)
    if document is None:
        return None
    bench.mark(probes, family)
    bench.send(probes, bridge=family == "bridge")
    observation = bench.observe(probes, family, states=states)
    ruleset = read(document)
    judge = Judge(ruleset, family, observation)
    differences = []
    compared = 0
    for probe in probes:
        if (probe.universe, probe.ident) not in observation.arrived or (probe.established and not states):
            continue
        difference = judge.compare(probe)
        compared += difference is not None
        if difference:
            differences.append(f"{difference}\n{rules}\n{dump(document)}")
    return Outcome(compared, tuple(differences))


def _load(bench: Bench, rules: str, family: str, *, states: bool) -> dict[str, object] | None:
    """Load; leave out the lines nft refuses, which say things like a contradiction within one rule."""
    for _ in range(40):
        try:
            return bench.load(rules, family, states=states)
        except NftError as error:
            kept = _without_refused(rules, str(error))
            if kept is None:
                return None
            rules = kept
        except NftCrashError:
            return None
    return None


def _without_refused(rules: str, error: str) -> str | None:
    quoted = {line.strip() for line in error.split("\n")}
    lines = rules.split("\n")
    kept = [line for line in lines if line.strip() not in quoted or line.strip() in ("", "}")]
    return None if len(kept) == len(lines) else "\n".join(kept)


def _establish(bench: Bench, family: str, probes: list[Probe]) -> None:
    wanted = [replace(probe, ident=0, flags=2) for probe in probes if probe.established]
    if not wanted:
        return
    bench.load("", family, states=True)
    bench.send(wanted)
    back = [
        replace(
            probe,
            source=probe.target,
            target=probe.source,
            words=(probe.words[1], probe.words[0]),
            flags=18,
            options=False,
            way=WAYS.index(way_out(probe.target)),
        )
        for probe in wanted
    ]
    bench.send(back)


OTHER_HOST = 3
"""PACKET_OTHERHOST (linux/if_packet.h): what a bridge forwards is not addressed to its port."""


class Judge:
    """What the proof says about probes."""

    def __init__(self, ruleset: Ruleset, family: str, observation: Observation) -> None:
        self.ruleset = ruleset
        self.family = family
        self.observation = observation
        self._results: dict[tuple[Universe, tuple[Hook, ...]], Result] = {}
        self._spaces = {universe: Space(universe) for universe in (Universe.IP, Universe.IP6)}

    def compare(self, probe: Probe) -> str | None:
        """ "" if kernel and proof agree, a description if not, None if the proof leaves it open."""
        data = frame(probe, "02:00:00:00:03:00" if self.family == "bridge" else f"02:00:00:00:01:{probe.way:02x}")
        passed = (probe.universe, probe.ident) in self.observation.passed
        # A packet that was dropped before its state was seen is new to conntrack, or untracked by the observer.
        unseen = CtState.NEW if probe.tracked else CtState.UNTRACKED
        state = self.observation.states.get((probe.universe, probe.ident), unseen)
        hooks, oifname = self._way(probe, data, state)
        may, must, result = self._predict(probe, data, state, hooks, oifname)
        if may != must and must <= passed <= may:
            return None
        if must <= passed <= may:
            return ""
        said = "accepted" if must else "refused"
        did = "let it pass" if passed else "dropped it"
        name = value_text(CT_STATE, state)
        doubts = [f"{d.place}: {d.text}: {d.reason}" for d in result.doubts]
        return f"{probe}\nstate {name}, out {oifname}: the proof says {said}, the kernel {did}; {doubts}"

    def _way(self, probe: Probe, data: bytes, state: int) -> tuple[tuple[Hook, ...], str]:
        if self.family == "bridge":
            return (Hook("prerouting", Layer.BRIDGE), Hook("forward", Layer.BRIDGE)), "br1"
        if self.family == "netdev":
            return (Hook("ingress", Layer.NETDEV),), ""
        target = self._translated(probe, data, state)
        name = way_out(target)
        if name:
            return (Hook("prerouting"), Hook("forward"), Hook("postrouting")), name
        return (Hook("prerouting"), Hook("input")), ""

    def _translated(self, probe: Probe, data: bytes, state: int) -> str:
        """Where a probe goes after prerouting."""
        result = self._result(probe.universe, (Hook("prerouting"),))
        space = result.space
        values = assignment(space, facts(probe, data, seen(probe, state, "")))
        for accepted in result.accepted:
            vector = accepted.changes.vector(space, space.fields["daddr"])
            if vector is not None and accepted.live.eval(values):
                number = 0
                for bit in vector:
                    number = number << 1 | bit.eval(values)
                return value_text(space.fields["daddr"], number)
        return probe.target

    def _predict(
        self, probe: Probe, data: bytes, state: int, hooks: tuple[Hook, ...], oifname: str
    ) -> tuple[bool, bool, Result]:
        result = self._result(probe.universe, hooks)
        known = seen(probe, state, oifname)
        if self.family == "bridge":
            known = replace(known, iifname="br0", pkttype=OTHER_HOST)
        details = facts(probe, data, known)
        local = way_out(probe.target) == ""
        details["fib daddr type"] = (bytes([2 if local else 1]), 8)
        values = assignment(result.space, details)
        return result.may.function.eval(values), result.must.function.eval(values), result

    def _result(self, universe: Universe, hooks: tuple[Hook, ...]) -> Result:
        key = (universe, hooks)
        if key not in self._results:
            # With and without details the way through the rules differs, the answers must not.
            details = len(self._results) % 2 == 0
            self._results[key] = execute(self.ruleset, hooks, universe, space=self._spaces[universe], details=details)
        return self._results[key]
