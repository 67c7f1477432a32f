"""A host's ruleset, as the layer it is."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from ringfort.environment.floating import interface_of
from ringfort.environment.model import Environment, Held, Host
from ringfort.environment.topology import HOST_INTERFACE, gateway_mac
from ringfort.proof.addresses import key_of
from ringfort.proof.execute import Result
from ringfort.proof.expand import Part, fill_in, services_of, skeleton
from ringfort.proof.fields import CT_STATE, ETHER_SADDR, IIFNAME, OIFNAME, CtState, Universe, name_value
from ringfort.proof.hooks import Hook, hooks
from ringfort.proof.layers import IP_UNIVERSES, DoubtfulRule, HostLayer, Span, Triple, is_state, meet, number_of, spans
from ringfort.proof.packets import PacketSet, where
from ringfort.proof.ruleset import Doubt, Ruleset
from ringfort.proof.structure import STAND_IN, Executions, new_connections, stands_in_exactly, structure, with_stand_in


@dataclass(frozen=True, slots=True)
class _Incoming:
    anyhow: tuple[Part, ...]
    only_direct: tuple[Part, ...]
    stray: bool
    goes_on: bool


@dataclass(frozen=True, slots=True)
class _Outgoing:
    anyhow: tuple[Part, ...]
    goes_on: bool


@dataclass(slots=True)
class HostReader:
    """Reads hosts' rulesets; what hosts have in common is worked out once."""

    environment: Environment
    executions: Executions = field(default_factory=Executions)
    _incoming: dict[Hashable, _Incoming] = field(default_factory=dict)
    _outgoing: dict[Hashable, _Outgoing] = field(default_factory=dict)

    def read(self, host: Host, ruleset: Ruleset) -> HostLayer:
        """The host's layer.

        Raises:
            NotPlainError: see `ringfort.proof.expand`; the executions then have to do without opaque lookups.
        """
        interface = name_value(interface_of(host) if isinstance(host, Held) else HOST_INTERFACE)
        gateway = number_of(gateway_mac(self.environment, host.segment))
        if stands_in_exactly(ruleset, gateway):
            ruleset, gateway = with_stand_in(ruleset, gateway), STAND_IN
        key = structure(ruleset) if self.executions.opaque else host.name
        elements = self.executions.elements_in(ruleset)
        layer = HostLayer()
        doubts: dict[DoubtfulRule, None] = {}
        for universe in IP_UNIVERSES:
            own = [key_of(a) for a in host.addresses if (a.version == 4) == (universe is Universe.IP)]
            if not own:
                continue
            result = self.executions.run(ruleset, key, _hooks(ruleset, ("ingress", "prerouting", "input")), universe)
            doubts |= dict.fromkeys(doubtful(result))
            incoming = self._remember_incoming(result, (key, universe, gateway, interface), gateway, interface)
            layer.stray |= incoming.stray
            layer.incoming += _pinned(fill_in(incoming.anyhow, elements), universe, own, receiving=True)
            layer.only_direct += _pinned(fill_in(incoming.only_direct, elements), universe, own, receiving=True)
            result = self.executions.run(ruleset, key, _hooks(ruleset, ("output", "postrouting", "egress")), universe)
            doubts |= dict.fromkeys(doubtful(result))
            outgoing = self._remember_outgoing(result, (key, universe, interface), interface)
            layer.outgoing += _pinned(fill_in(outgoing.anyhow, elements), universe, own, receiving=False)
            speaks = bool(incoming.anyhow or outgoing.anyhow)
            layer.mute |= speaks and not (incoming.goes_on and outgoing.goes_on)
        layer.doubts = tuple(doubts)
        return layer

    def _remember_incoming(self, result: Result, key: Hashable, gateway: int, interface: int) -> _Incoming:
        known = self._incoming.get(key)
        if known is None:
            arriving = where(result.space, IIFNAME, (interface, interface))
            fresh = new_connections(result, result.may & arriving)
            stray = accepts_stray(result, arriving, fresh)
            fresh = fresh.forget(IIFNAME)
            routed = (fresh & where(result.space, ETHER_SADDR, (gateway, gateway))).forget(ETHER_SADDR)
            anyhow = fresh.forget(ETHER_SADDR)
            parts, direct = skeleton(result, anyhow), skeleton(result, anyhow - routed)
            known = self._incoming[key] = _Incoming(parts, direct, stray, goes_on(result, arriving))
        return known

    def _remember_outgoing(self, result: Result, key: Hashable, interface: int) -> _Outgoing:
        known = self._outgoing.get(key)
        if known is None:
            leaving = where(result.space, OIFNAME, (interface, interface))
            fresh = new_connections(result, result.may & leaving).forget(OIFNAME)
            known = self._outgoing[key] = _Outgoing(skeleton(result, fresh), goes_on(result, leaving))
        return known


def goes_on(result: Result, packets: PacketSet) -> bool:
    """Whether any of ``packets`` that belongs to a connection may be accepted: without that, none comes about."""
    return bool(result.may & packets & where(result.space, CT_STATE, (CtState.ESTABLISHED, CtState.ESTABLISHED)))


def accepts_stray(result: Result, arriving: PacketSet, fresh: PacketSet) -> bool:
    """Whether packets of no connection are accepted where a new connection would not be.

    Where a rule is not understood, only what is accepted whatever it does counts; the rule itself is told elsewhere.

    Args:
        arriving: the packets that can come here at all.
        fresh: the new connections that are accepted.
    """
    unread = any(doubt.doubt is Doubt.UNKNOWN for doubt in result.doubts)
    accepted = (result.must if unread else result.may) & arriving
    stray = accepted & where(
        result.space, CT_STATE, (CtState.INVALID, CtState.INVALID), (CtState.UNTRACKED, CtState.UNTRACKED)
    )
    return not stray.forget(CT_STATE) <= fresh.forget(CT_STATE)


def doubtful(result: Result) -> Iterator[DoubtfulRule]:
    """The rules that an execution followed both ways."""
    for doubt in result.doubts:
        yield DoubtfulRule(str(doubt.place), doubt.text, doubt.reason, is_state(doubt.doubt))


def _hooks(ruleset: Ruleset, names: tuple[str, ...]) -> tuple[Hook, ...]:
    attached = hooks(ruleset)
    chosen = []
    for name in names:
        if name in ("ingress", "egress"):
            chosen += [hook for hook in attached if hook.name == name and hook.device == HOST_INTERFACE]
        else:
            chosen.append(Hook(name))
    return tuple(chosen)


def _pinned(boxes: Iterator[tuple[Span, ...]], universe: Universe, own: list[int], *, receiving: bool) -> list[Triple]:
    """Boxes cut to the host's own addresses at its end."""
    found = []
    for box in boxes:
        source, destination = spans(box, universe)
        for key in own:
            mine = meet(destination if receiving else source, (key, key))
            if mine:
                ends = (source, mine) if receiving else (mine, destination)
                found += [(*ends, service) for service in services_of(box)]
    return found
