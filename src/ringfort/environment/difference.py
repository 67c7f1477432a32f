"""What changes when one environment takes the place of another: in communications, not in lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from ringfort.environment.accesses import FlowAccesses, gained
from ringfort.environment.floating import expanded
from ringfort.environment.model import (
    Environment,
    Floating,
    Flow,
    Host,
    PortRange,
    PublishedService,
    Segment,
    Service,
    Tls,
)
from ringfort.environment.topology import backbone_addresses

_TOLD_ELSEWHERE = frozenset({"origin", "hosts", "segments", "providers", "routers", "labels"})
"""Attributes that say nothing of their own: places, and what is told of the things they name."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One attribute of one thing: ``subject`` is like ``service web``; ``before`` and ``after`` are texts."""

    subject: str
    attribute: str
    before: str
    after: str

    def inverted(self) -> Change:
        """The change back."""
        return Change(self.subject, self.attribute, self.after, self.before)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is new, what is gone, what is otherwise.

    Attributes:
        opened: accesses that only the new environment allows, by its flows.
        closed: accesses that only the old one allows, by its flows.
        added: things that are new, like ``host web-3 in north/edge at 10.10.1.4``.
        removed: things that are gone.
        changed: attributes that differ, of things in both: addresses, TLS, identities, machines, limits.
        published: what the internet reaches only now, and ``withdrawn`` what it reaches no more.
    """

    opened: tuple[FlowAccesses, ...]
    closed: tuple[FlowAccesses, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]
    published: tuple[str, ...]
    withdrawn: tuple[str, ...]

    def __bool__(self) -> bool:
        """True when anything differs in meaning."""
        parts = (self.opened, self.closed, self.added, self.removed, self.changed, self.published, self.withdrawn)
        return any(parts)

    def inverted(self) -> Difference:
        """The difference the other way round."""
        return Difference(
            self.closed,
            self.opened,
            self.removed,
            self.added,
            tuple(change.inverted() for change in self.changed),
            self.withdrawn,
            self.published,
        )


def difference(old: Environment, new: Environment) -> Difference:
    """What differs in meaning. Names of flows, reasons, labels, groups and the layout of the files do not count."""
    before, after = dict(_things(old)), dict(_things(new))
    published_before, published_after = list(_published(old)), list(_published(new))
    changes = [*_settings(old, new), *_attributes(before, after), *_identities(old, new)]
    return Difference(
        gained(expanded(old), expanded(new)),
        gained(expanded(new), expanded(old)),
        tuple(sorted(_described(subject, thing) for subject, thing in after.items() if subject not in before)),
        tuple(sorted(_described(subject, thing) for subject, thing in before.items() if subject not in after)),
        tuple(sorted(changes)),
        tuple(sorted(set(published_after) - set(published_before))),
        tuple(sorted(set(published_before) - set(published_after))),
    )


def _things(environment: Environment) -> Iterator[tuple[str, object]]:
    sections: tuple[tuple[str, Mapping[str, object]], ...] = (
        ("site", environment.sites),
        ("provider", environment.providers),
        ("router", environment.routers),
        ("segment", environment.segments),
        ("host", environment.hosts),
        ("service", environment.services),
        ("floating", environment.floating),
    )
    for kind, things in sections:
        for name, thing in things.items():
            yield f"{kind} {name}", thing


def _described(subject: str, thing: object) -> str:
    """A thing for people, with where it is."""
    if isinstance(thing, Host):
        return f"{subject} in {thing.segment} at {_text(thing.addresses)}"
    return f"{subject} ({_text(thing.networks)})" if isinstance(thing, Segment) else subject


def _attributes(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Change]:
    for subject, thing in before.items():
        other = after.get(subject)
        if other is None or type(other) is not type(thing):
            continue
        assert is_dataclass(thing)
        untold = _TOLD_ELSEWHERE - ({"hosts"} if isinstance(thing, Floating) else set())
        for attribute in (field.name for field in fields(thing) if field.name not in untold):
            one, two = _text(getattr(thing, attribute)), _text(getattr(other, attribute))
            if one != two:
                yield Change(subject, attribute, one, two)


def _settings(old: Environment, new: Environment) -> Iterator[Change]:
    for attribute in ("name", "trust_domain", "bogons", "scan_detection", "connection_limit"):
        one, two = _text(getattr(old, attribute)), _text(getattr(new, attribute))
        if one != two:
            yield Change("environment", attribute, one, two)
    one = _text(old.backbone.networks) if old.backbone else ""
    two = _text(new.backbone.networks) if new.backbone else ""
    if one != two:
        yield Change("environment", "backbone", one, two)
    one, two = (_text(tuple(e.control.services.values())) if e.control else "" for e in (old, new))
    if one != two:
        yield Change("environment", "control", one, two)
    one, two = (_text(tuple(e.gateway.services.values())) if e.gateway else "" for e in (old, new))
    if one != two:
        yield Change("environment", "gateway", one, two)
    yield from _operators(old, new)
    for site in old.sites:
        if site in new.sites and old.backbone and new.backbone:
            one, two = _text(backbone_addresses(old, site)), _text(backbone_addresses(new, site))
            if one != two:
                yield Change(f"site {site}", "backbone_addresses", one, two)


def _operators(old: Environment, new: Environment) -> Iterator[Change]:
    """Who may act as what at the controllers, person by person."""
    before, after = ({o.name: o for o in e.control.operators} if e.control else {} for e in (old, new))
    for name in sorted(before.keys() | after.keys()):
        for attribute in ("roles", "sites"):
            one, two = (_text(getattr(side[name], attribute)) if name in side else "" for side in (before, after))
            if one != two:
                yield Change(f"operator {name}", attribute, one, two)


def _published(environment: Environment) -> Iterator[str]:
    for item in environment.published:
        yield published_text(environment, item)


def published_text(environment: Environment, item: PublishedService) -> str:
    """A published service for people: address, port, and where it leads."""
    protocol = environment.services[item.service].protocol
    port = f"/{item.port}" if item.port else ""
    target = f" port {item.target_port}" if item.target_port != item.port else ""
    return (
        f"{item.service} at {item.address} {protocol}{port} ({item.provider}) -> {item.floating or item.host}{target}"
    )


def _identities(old: Environment, new: Environment) -> Iterator[Change]:
    """Mutual services that accept other identities, although the same hosts may call."""
    flows_before, flows_after = _by_service(old), _by_service(new)
    for name, service in old.services.items():
        other = new.services.get(name)
        if other is None or not (_mutual(service) and _mutual(other)):
            continue
        one, two = _accepted(old, flows_before.get(name, ())), _accepted(new, flows_after.get(name, ()))
        callers = {caller for caller, _ in one} & {caller for caller, _ in two}
        lost = sorted({identity for caller, identity in one - two if caller in callers})
        won = sorted({identity for caller, identity in two - one if caller in callers})
        if lost or won:
            yield Change(f"service {name}", "accepted_identities", _text(tuple(lost)), _text(tuple(won)))


def _mutual(service: Service) -> bool:
    return service.tls is Tls.MUTUAL


def _by_service(environment: Environment) -> dict[str, list[Flow]]:
    result: dict[str, list[Flow]] = {}
    for flow in environment.flows.values():
        result.setdefault(flow.service, []).append(flow)
    return result


def _accepted(environment: Environment, flows: Iterable[Flow]) -> set[tuple[str, str]]:
    """Pairs of caller and identity that the flows let in."""
    pairs: set[tuple[str, str]] = set()
    for flow in flows:
        if flow.source.startswith("service:") or flow.operators:
            pairs.update((caller, identity) for caller in flow.callers for identity in flow.identities)
        else:
            pairs.update((caller, environment.hosts[caller].identity) for caller in flow.callers)
    return pairs


def _text(value: object) -> str:
    if isinstance(value, tuple):  # the order of ports, services or networks means nothing
        return ", ".join(sorted(map(str, value)))
    if is_dataclass(value) and not isinstance(value, PortRange):
        return ", ".join(f"{field.name.replace('_', '-')}: {getattr(value, field.name)}" for field in fields(value))
    return str(value)
