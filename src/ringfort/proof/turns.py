"""Floating addresses in the proof: hosts of their own, one turn for each host that may hold them.

What is proved of one turn holds for the next if nothing differs that the answer comes from: what guards the addresses,
what reaches them through the switch, what is checked there. Only where something differs the next turn is decided too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ringfort.environment.floating import expanded
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Held
from ringfort.environment.topology import device_of
from ringfort.proof.layers import HostLayer, SwitchLayer
from ringfort.proof.reading import Layers, read_parts
from ringfort.proof.verdict import Claim, Outcome, Verdict

Checks = Mapping[str, Sequence[IdentityCheck]]
_WORST = (Outcome.REFUTED, Outcome.UNKNOWN, Outcome.PROVED)


def seen(environment: Environment, checks: Checks, turn: int = 0) -> tuple[Environment, Checks]:
    """The environment in a turn, and what is checked there: at floating addresses, what their holder checks."""
    found = expanded(environment, turn)
    if found is environment:
        return environment, checks
    helds = {held.name: held for held in found.hosts.values() if isinstance(held, Held)}
    held_checks = {
        name: tuple(check for check in checks.get(held.holder, ()) if check.service in held.services)
        for name, held in helds.items()
    }
    return found, {**checks, **held_checks}


def in_turn(environment: Environment, layers: Layers) -> Layers:
    """The layers with floating addresses at who holds them in this turn's ``environment``."""
    helds = [host for host in environment.hosts.values() if isinstance(host, Held)]
    return read_parts(environment, layers, {device_of(held) for held in helds}, {held.segment for held in helds})


def alike(environment: Environment, one: tuple[Layers, Checks], other: tuple[Layers, Checks]) -> bool:
    """Whether two turns can't differ in any answer."""
    for held in environment.hosts.values():
        if isinstance(held, Held):
            same = _host(one[0].hosts[held.name]) == _host(other[0].hosts[held.name])
            switches = [layers.switches[held.segment] for layers, _ in (one, other)]
            if not same or _switch(switches[0], held) != _switch(switches[1], held) or switches[0].holes:
                return False
            if tuple(one[1].get(held.name, ())) != tuple(other[1].get(held.name, ())):
                return False
    return True


def _host(layer: HostLayer) -> object:
    return set(layer.incoming), set(layer.only_direct), set(layer.outgoing), layer.stray, layer.mute


def _switch(layer: SwitchLayer, held: Held) -> object:
    return set(layer.sent.get(held.name, ())), set(layer.delivered.get(held.name, ()))


def worse(one: Verdict, other: Verdict) -> Verdict:
    """Both verdicts in one: what holds in both turns only is proved."""
    depths = {(entry.source, entry.destination): entry for entry in one.depths}
    for entry in other.depths:
        key = (entry.source, entry.destination)
        depths[key] = min(depths.get(key, entry), entry, key=lambda entry: (entry.depth, entry.unowned))
    return replace(
        one,
        claims=tuple(min(pair, key=_badness) for pair in zip(one.claims, other.claims, strict=True)),
        refutations=tuple(dict.fromkeys((*one.refutations, *other.refutations))),
        unknowns=tuple(dict.fromkeys((*one.unknowns, *other.unknowns))),
        depths=tuple(depths.values()),
        seconds=one.seconds + other.seconds,
    )


def _badness(claim: Claim) -> tuple[int, int]:
    return _WORST.index(claim.outcome), -claim.broken
