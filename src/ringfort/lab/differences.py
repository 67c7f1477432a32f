"""What has to change so that a namespace becomes what the plan wants. Pure: two values in, changes out.

A change is applied in the order of its `Step`: over all namespaces, everything of one step before anything of the next.
So rules are in place before a link goes up, and an address before the route that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from ringfort.lab.shapes import Forwarding, Link, Namespace, Neighbour, Route, Rule


class Step(IntEnum):
    """In which order changes are applied."""

    REMOVE_LINK = 0
    ADD_LINK = 1
    STACK_LINK = 2  # on another link, which has to be there
    SET_LINK = 3
    ADD_ADDRESS = 4  # before REMOVE: with an interface's last address go all its routes
    REMOVE = 5
    SET_STATE = 6
    ADD = 7


@dataclass(frozen=True, slots=True)
class Address:
    """One address of one interface."""

    interface: str
    address: str


@dataclass(frozen=True, slots=True)
class State:
    """Whether an interface is up."""

    interface: str
    up: bool


Item = Link | Address | State | Route | Rule | Neighbour | Forwarding


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do in one namespace."""

    namespace: str
    step: Step
    item: Item

    def __str__(self) -> str:
        verb = "remove" if self.step in (Step.REMOVE_LINK, Step.REMOVE) else "set"
        return f"{self.namespace}: {verb} {_words(self.item)}"


@dataclass(frozen=True, slots=True)
class SeenLink:
    """An interface as the kernel has it. ``link`` describes it in the plan's terms, without its peer.

    ``other`` is the index that the kernel gives for the other end of a veth pair, in the other end's namespace.
    """

    index: int
    kind: str
    other: int
    link: Link


@dataclass(frozen=True, slots=True)
class Seen:
    """A namespace as the kernel has it; ``lo`` is left out."""

    links: Mapping[str, SeenLink] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    forwarding: frozenset[Forwarding] = frozenset()
    rules: frozenset[Rule] = frozenset()


def as_planned(namespace: Namespace) -> Seen:
    """What is seen of a namespace that is just as planned, with both ends of each link where they belong."""
    links = {
        name: SeenLink(0, "veth" if link.peer else _kind(link), 0, replace(link, peer=None))
        for name, link in namespace.links.items()
    }
    return Seen(links, namespace.routes, namespace.neighbours, namespace.forwarding, namespace.rules)


def with_ends(wanted: Mapping[str, Namespace], seen: Mapping[str, Seen]) -> dict[str, Seen]:
    """``seen``, and of the namespaces that were not looked at the ends of links that lead there, as if they were
    the right ones: who makes no link need not look where they all lead."""
    ends: dict[str, dict[str, SeenLink]] = {}
    for name, namespace in wanted.items():
        for key, link in namespace.links.items():
            here = seen[name].links.get(key)
            if here is not None and link.peer is not None and link.peer[0] not in seen:
                there, interface = link.peer
                end = SeenLink(here.other, here.kind, here.index, Link(interface))
                ends.setdefault(there, {})[interface] = end
    return dict(seen) | {name: Seen(links) for name, links in ends.items()}


def differences(wanted: Mapping[str, Namespace], seen: Mapping[str, Seen]) -> list[Change]:
    """Everything that has to change in the given namespaces, in the order in which to do it."""
    changes: list[Change] = []
    for name, namespace in wanted.items():
        present = seen.get(name, Seen())
        unfit = {link.name for link in namespace.links.values() if not _fits(name, link, seen)}
        kept = {key: link for key, link in present.links.items() if key in namespace.links and key not in unfit}
        changes += _link_changes(namespace, present, kept)
        changes += _entry_changes(namespace, present, kept)
    # Both ends of a veth pair are wanted, and made at once by whichever comes first.
    return sorted(_one_change_for_each_pair(changes), key=lambda change: change.step)


def _fits(namespace: str, link: Link, seen: Mapping[str, Seen]) -> bool:
    """Whether the link exists as the right kind and, for a veth, between the right namespaces."""
    here = _find(seen, (namespace, link.name))
    if here is None:
        return False
    if link.peer is None:
        return here.kind == _kind(link)
    there = _find(seen, link.peer)
    return there is not None and here.kind == "veth" and here.other == there.index and there.other == here.index


def _kind(link: Link) -> str:
    return "macvlan" if link.over else "bridge"


def _find(seen: Mapping[str, Seen], end: tuple[str, str]) -> SeenLink | None:
    namespace, interface = end
    return seen[namespace].links.get(interface) if namespace in seen else None


def _link_changes(namespace: Namespace, present: Seen, kept: Mapping[str, SeenLink]) -> Iterator[Change]:
    name = namespace.name
    for stray in present.links.keys() - kept.keys() - namespace.others:
        yield Change(name, Step.REMOVE_LINK, present.links[stray].link)
    for key, link in namespace.links.items():
        here = kept.get(key)
        if here is None:
            yield Change(name, Step.STACK_LINK if link.over else Step.ADD_LINK, link)
        if here is None or here.link.port != link.port or (link.mac and here.link.mac != link.mac):
            yield Change(name, Step.SET_LINK, link)
        present_addresses = here.link.addresses if here is not None else frozenset()
        for address in sorted(present_addresses - link.addresses) if not link.over else ():
            yield Change(name, Step.REMOVE, Address(key, address))
        for address in sorted(link.addresses - present_addresses):
            yield Change(name, Step.ADD_ADDRESS, Address(key, address))
        if (here is not None and here.link.up) != link.up:
            yield Change(name, Step.SET_STATE, State(key, link.up))


def _entry_changes(namespace: Namespace, present: Seen, kept: Mapping[str, SeenLink]) -> Iterator[Change]:
    name = namespace.name
    # A link that goes, or goes up or down, takes its entries with it.
    steady = {key for key in kept if kept[key].link.up == namespace.links[key].up}
    routes = {route for route in present.routes if not route.interface or route.interface in steady}
    yield from _ways(namespace, routes, present.rules)
    neighbours = {entry for entry in present.neighbours if entry.interface in steady}
    forwarding = {entry for entry in present.forwarding if entry.interface in steady}
    wanted_neighbours = {(entry.address, entry.interface) for entry in namespace.neighbours}
    for neighbour in sorted(neighbours - namespace.neighbours):
        if (neighbour.address, neighbour.interface) not in wanted_neighbours:  # else it is replaced
            yield Change(name, Step.REMOVE, neighbour)
    for neighbour in sorted(namespace.neighbours - neighbours):
        yield Change(name, Step.ADD, neighbour)
    wanted_stations = {entry.mac for entry in namespace.forwarding}
    for entry in sorted(forwarding - namespace.forwarding):
        if entry.mac not in wanted_stations:
            yield Change(name, Step.REMOVE, entry)
    for entry in sorted(namespace.forwarding - forwarding):
        yield Change(name, Step.ADD, entry)


def _ways(namespace: Namespace, routes: set[Route], rules: frozenset[Rule]) -> Iterator[Change]:
    name = namespace.name
    for route in sorted(routes - namespace.routes):
        yield Change(name, Step.REMOVE, route)
    for route in sorted(namespace.routes - routes, key=lambda route: bool(route.via)):
        yield Change(name, Step.ADD, route)
    for rule in sorted(rules - namespace.rules):
        yield Change(name, Step.REMOVE, rule)
    for rule in sorted(namespace.rules - rules):
        yield Change(name, Step.ADD, rule)


def _one_change_for_each_pair(changes: list[Change]) -> Iterator[Change]:
    done: set[tuple[str, str]] = set()
    for change in changes:
        if change.step is Step.ADD_LINK and isinstance(change.item, Link) and change.item.peer is not None:
            if (change.namespace, change.item.name) in done:
                continue
            done.add(change.item.peer)
        yield change


def _words(item: Item) -> str:
    match item:
        case Link():
            return f"link {item.name}"
        case Address():
            return f"address {item.address} of {item.interface}"
        case State():
            return f"{item.interface} {'up' if item.up else 'down'}"
        case Route():
            return f"route {item.destination} {_way(item)}"
        case Rule():
            return f"rule {item.priority} of IPv{item.version}"
        case Neighbour():
            return f"neighbour {item.address} at {item.mac}"
        case Forwarding():
            return f"station {item.mac} at {item.interface}"


def _way(route: Route) -> str:
    if not route.interface:
        return "to nowhere"
    return f"via {route.via}" if route.via else f"to {route.interface}"
