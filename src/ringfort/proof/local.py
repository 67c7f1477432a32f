"""Findings that need no bucket: what a device's rules let through against its role, wherever it leads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, device_of
from ringfort.proof.addresses import address_of, key_of
from ringfort.proof.boxes import protocol_and_port
from ringfort.proof.findings import INTERNET, Finding, readable_service, version_of_key
from ringfort.proof.layers import PortHole, RouterLayer, Span, Triple, beyond, meet, number_of
from ringfort.proof.reading import Layers
from ringfort.proof.sweep import MUTUAL
from ringfort.proof.trail import somebody

Checked = Mapping[str, Sequence[tuple[int, int, int]]]


def local_findings(environment: Environment, layers: Layers, checked: Checked) -> Iterator[Finding]:
    """All of them, routers first. ``checked``: host -> ranges of services with their flags."""
    for names in layers.different.values():
        for name in names:
            yield from _router(environment, name, layers.routers[name])
    for key, switch in layers.switches.items():
        for hole in _strongest(switch.holes):
            yield from _hole(environment, layers, checked, key, hole)
    for name, host in layers.hosts.items():
        device = device_of(environment.hosts[name])
        if host.stray:
            yield _stray(device, environment.hosts[name].segment)
        if host.mute:
            yield _mute(device, environment.hosts[name].segment)


def _stray(device: Device, segment: str) -> Finding:
    note = f"{device} accepts packets that neither begin a connection nor belong to one (ct state invalid or untracked)"
    return Finding("closed", "stateless-accept", 0, 0, 0, "", "", segment, 1, 0, note=note)


def _mute(device: Device, segment: str) -> Finding:
    note = f"{device} refuses what belongs to connections (ct state established), so that none comes about"
    return Finding("open", "replies-refused", 0, 0, 0, "", "", segment, 1, 1, note=note)


def _router(environment: Environment, name: str, layer: RouterLayer) -> Iterator[Finding]:
    router = environment.routers[name]
    site = environment.sites[router.site]
    provider = f"internet:{site.providers[0]}" if site.providers else INTERNET
    device = Device(DeviceKind.ROUTER, name)
    if layer.stray:
        yield _stray(device, "")
    if layer.mute:
        yield _mute(device, "")
    for one in layer.translations:
        protocol, port = protocol_and_port(one.service)
        target = "somewhere that is no host" if one.target is None else str(address_of(one.target))
        at = f":{one.target_service}" if one.target_service is not None else ""
        note = (
            f"{device} translates {protocol}/{port} to {address_of(one.destination)} on {one.interface} into "
            f"{target}{at}, which no published service declares"
        )
        caller = key_of(somebody(environment, version_of_key(one.destination)))
        yield Finding(
            "closed", "undeclared-translation", caller, one.destination, one.service, provider, INTERNET, "", 1, 0,
            note=note,
        )  # fmt: skip
    if layer.source_translation:
        note = f"{device} changes the source address of forwarded packets, so that the next device sees another caller"
        yield Finding("closed", "source-translation", 0, 0, 0, "", "", "", 1, 0, note=note)
    yield from _towards(environment, device, layer.own, "router-itself", "accepts for itself")
    yield from _towards(environment, device, layer.leaving, "to-the-internet", "lets out to the internet")
    yield from _untrue(environment, layer.untrue, provider)


def _towards(
    environment: Environment, device: Device, triples: list[Triple], kind: str, words: str
) -> Iterator[Finding]:
    """What a router accepts for itself or lets out: nothing is declared of either."""
    if not triples:
        return
    source, destination, service = triples[0]
    holder = _holder(environment, source)
    place = f"host:{holder}" if holder else INTERNET
    zone = environment.hosts[holder].segment if holder else INTERNET
    key = _key_of_holder(environment, holder, source) if holder else source[0]
    note = f"{device} {words} what no flow declares"
    number = readable_service(*service)
    yield Finding("closed", kind, key, destination[0], number, place, zone, INTERNET, len(triples), 0, note=note)


def _holder(environment: Environment, span: Span) -> str:
    for host in environment.hosts.values():
        if any(meet(span, (key_of(a), key_of(a))) for a in host.addresses):
            return host.name
    return ""


def _key_of_holder(environment: Environment, holder: str, span: Span) -> int:
    return next(k for k in map(key_of, environment.hosts[holder].addresses) if meet(span, (k, k)))


def _untrue(environment: Environment, triples: list[Triple], provider: str) -> Iterator[Finding]:
    """A router forwards from a provider what cannot be true there: only the receiver is left to refuse it."""
    groups: dict[str, list[tuple[Triple, int, str]]] = {}
    for triple in triples:
        receiver = _holder(environment, triple[1])
        if receiver:
            key = _key_of_holder(environment, receiver, triple[1])
            groups.setdefault(environment.hosts[receiver].segment, []).append((triple, key, receiver))
    for segment, found in groups.items():
        (source, _, service), key, _ = found[0]
        holder = _holder(environment, source)
        claimed = _key_of_holder(environment, holder, source) if holder else source[0]
        yield Finding(
            "depth", "internet-spoofing", claimed, key, readable_service(*service), provider, INTERNET, segment,
            len(found), 1,
        )  # fmt: skip


def _strongest(holes: Iterable[PortHole]) -> list[PortHole]:
    """One hole for each port that speaks ARP or another protocol; of the others each, for each may reach another."""
    chosen: dict[tuple[object, ...], PortHole] = {}
    for hole in holes:
        whole = hole.kind in ("arp", "protocol")
        chosen.setdefault((hole.kind, hole.host) if whole else (hole.kind, hole.host, hole), hole)
    return list(chosen.values())


def _hole(
    environment: Environment, layers: Layers, checked: Checked, segment: str, hole: PortHole
) -> Iterator[Finding]:
    device = Device(DeviceKind.SWITCH, segment)
    if hole.kind == "protocol":
        note = f"{device} lets {hole.host} send Ethernet frames that are neither IPv4, IPv6 nor ARP"
        yield Finding("closed", "foreign-protocol", 0, 0, 0, f"host:{hole.host}", segment, segment, 1, 0, note=note)
    elif hole.kind == "arp":
        note = f"{device} lets {hole.host} speak ARP for addresses that are not its own"
        yield Finding("closed", "arp-spoofing", 0, 0, 0, f"host:{hole.host}", segment, segment, 1, 0, note=note)
    elif hole.kind == "neighbour":
        yield _isolation(environment, layers, checked, segment, hole)
    else:
        yield from _false_source(environment, layers, checked, segment, hole)


def _isolation(environment: Environment, layers: Layers, checked: Checked, segment: str, hole: PortHole) -> Finding:
    """Straight to a neighbour: only the neighbour itself is left to refuse it, or nobody."""
    source, destination, service = hole.packets
    own = [k for k in map(key_of, environment.hosts[hole.host].addresses) if meet(source, (k, k))]
    place = f"host:{hole.host}"
    for triple in layers.hosts[hole.towards].incoming:
        piece = meet(source, triple[0])
        number = _unchecked(checked.get(hole.towards, ()), meet(service, triple[2]))
        if piece and number is not None and meet(destination, triple[1]):
            key = next((k for k in own if meet(piece, (k, k))), piece[0])
            if key not in own or not _declared(environment, hole.host, hole.towards):
                return Finding(
                    "closed", "isolation-gone", key, destination[0], number, place, segment, segment, 1, 0
                )  # fmt: skip
    key = own[0] if own else source[0]
    number = readable_service(*service)
    return Finding("depth", "isolation-gone", key, destination[0], number, place, segment, segment, 1, 1)


def _unchecked(checked: Sequence[tuple[int, int, int]], service: Span | None) -> int | None:
    """A service number in a range whose callers are not asked for their keys; None if there is none."""
    if service is None:
        return None
    rest = next(beyond(service, [(first, last) for first, last, flags in checked if flags & MUTUAL]), None)
    return None if rest is None else readable_service(*rest)


def _declared(environment: Environment, sender: str, receiver: str) -> bool:
    """Whether some flow leads from one host to another."""
    services = environment.hosts[receiver].services
    return any(sender in flow.callers and flow.service in services for flow in environment.flows.values())


def _false_source(
    environment: Environment, layers: Layers, checked: Checked, segment: str, hole: PortHole
) -> Iterator[Finding]:
    """A port lets its host claim another's address: what the true holder may send, only the keys are left to refuse."""
    source, _, _ = hole.packets
    site = environment.sites[environment.segments[segment].site]
    forwarded = [t for name in layers.different[site.name] for t in layers.routers[name].forwarded]
    for host in environment.hosts.values():
        if host.segment != segment or host.name == hole.host or not _covers_mac(hole, host.mac):
            continue
        for key in map(key_of, host.addresses):
            if not meet(source, (key, key)):
                continue
            sent = [t for t in forwarded if meet(t[0], (key, key)) and _holder(environment, t[1])]
            weak = next((t for t in sent if _arrives(environment, layers, checked, key, t)), None)
            if sent:
                chosen = weak or sent[0]
                receiver = _holder(environment, chosen[1])
                there = _key_of_holder(environment, receiver, chosen[1])
                rest = _unchecked(checked.get(receiver, ()), chosen[2]) if weak else None
                number = readable_service(*chosen[2]) if rest is None else rest
                yield Finding(
                    "closed" if weak else "depth", "port-security-gone", key, there, number, f"host:{hole.host}",
                    segment, environment.hosts[receiver].segment, len(sent), 0 if weak else 1,
                )  # fmt: skip


def _arrives(environment: Environment, layers: Layers, checked: Checked, key: int, sent: Triple) -> bool:
    """Whether the receiver takes what a router sends it under a source, and asks for no keys."""
    receiver = _holder(environment, sent[1])
    there = _key_of_holder(environment, receiver, sent[1])
    rest = _unchecked(checked.get(receiver, ()), sent[2])
    return rest is not None and any(
        meet(t[0], (key, key)) and meet(t[1], (there, there)) and meet(t[2], (rest, rest))
        for t in layers.hosts[receiver].incoming
    )


def _covers_mac(hole: PortHole, mac: str) -> bool:
    return hole.mac[0] <= number_of(mac) <= hole.mac[1]
