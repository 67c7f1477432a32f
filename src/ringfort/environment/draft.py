"""An environment while it is being resolved: the values so far, and where each of them stands in the files."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringfort.environment.forms import Declaration, Entry
from ringfort.environment.model import (
    Control,
    Floating,
    Flow,
    Gateway,
    Host,
    Provider,
    PublishedService,
    Router,
    Segment,
    Service,
    Site,
)
from ringfort.environment.nodes import Place
from ringfort.environment.problems import Problems
from ringfort.environment.schema import FlowForm, HostForm, PublishedForm


@dataclass(slots=True)
class Draft:
    """What is resolved so far. ``broken`` names, by section, are known and refused already: not to be told again."""

    declaration: Declaration
    problems: Problems
    sites: dict[str, Site] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    host_entries: dict[str, Entry[HostForm]] = field(default_factory=dict)
    entry_hosts: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    flow_entries: dict[str, Entry[FlowForm]] = field(default_factory=dict)
    published: list[tuple[PublishedService, Entry[PublishedForm]]] = field(default_factory=list)
    control: Control | None = None
    gateway: Gateway | None = None
    floating: dict[str, Floating] = field(default_factory=dict)

    @property
    def trust_domain(self) -> str:
        """The domain of all identities."""
        return self.declaration.header.trust_domain

    def is_broken(self, section: str, name: str) -> bool:
        """True when the name was declared and refused, so that references to it are not faults of their own."""
        broken = self.declaration.broken.get(section, ())
        if section == "hosts" and broken:  # NAME-1 and NAME-SITE-SEGMENT-1 are names of the entry NAME
            words = name.split("-")
            return any("-".join(words[: end + 1]) in broken for end in range(len(words)))
        return name in broken

    def break_(self, section: str, name: str) -> None:
        """Note that a name was declared and refused."""
        self.declaration.broken.setdefault(section, set()).add(name)

    def host_place(self, name: str, *path: str | int) -> Place:
        """Where a part of a host's entry stands."""
        return self.host_entries[name].at(*path)

    def segment_place(self, key: str, *path: str | int) -> Place:
        """Where a part of a segment stands."""
        site, _, name = key.partition("/")
        return self.declaration.sites[site].at("segments", name, *path)

    def provider_place(self, key: str, *path: str | int) -> Place:
        """Where a part of a provider stands."""
        site, _, name = key.partition("/")
        return self.declaration.sites[site].at("providers", name, *path)
