"""Hosts: one for each entry, or ``count`` of them in each of its segments, with their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.environment import limits
from ringfort.environment.addresses import Pool, pool_of
from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Address, Host, Segment
from ringfort.environment.problems import shown
from ringfort.environment.schema import HostForm
from ringfort.environment.topology import mac_address


def resolve_hosts(draft: Draft) -> None:
    """Fill the draft's hosts, in the order of the file."""
    pools = {key: [Pool(network) for network in segment.networks] for key, segment in draft.segments.items()}
    total = 0
    for entry in draft.declaration.hosts.values():  # before any of them is made
        total += (entry.form.count or 1) * max(1, len(entry.form.segments))
        if total > limits.HOSTS:
            message = f"with these, the environment has more than {limits.HOSTS:,} hosts"
            draft.problems.add("too-many-hosts", entry.at("count"), message, "make several environments of it")
            raise draft.problems.error()  # without hosts, everything that names one would seem wrong
    for entry in draft.declaration.hosts.values():
        segments = _segments(draft, entry)
        if _usable(draft, entry):
            _Expansion(draft, entry, pools).expand(segments)
        if entry.name not in draft.entry_hosts:
            draft.break_("hosts", entry.name)


def _usable(draft: Draft, entry: Entry[HostForm]) -> bool:
    """Refuse what cannot be said of several hosts at once, and services that do not exist."""
    form = entry.form
    before = len(draft.problems)
    several = (form.count or 1) > 1 or len(form.segments) > 1
    if form.mac and several:
        draft.problems.add("mac-of-several", entry.at("mac"), "one MAC address for several hosts", "leave it out")
    if form.addresses and len(form.segments) > 1:
        draft.problems.add(
            "address-of-several",
            entry.at("addresses"),
            "the same addresses for hosts in several segments",
            "leave them out, or write one entry for each segment",
        )
    usable = len(draft.problems) == before
    for index, service in enumerate(form.services):
        place = entry.at("services", index)
        if service in form.services[:index]:
            draft.problems.add("duplicate-service", place, f"{shown(service)} is listed twice", "remove one")
        elif service not in draft.declaration.services and not draft.is_broken("services", service):
            known = draft.declaration.services
            hint = draft.problems.nearest(
                service, known, f"add it under 'services': {service}: {{protocol: tcp, ports: [...]}}"
            )
            draft.problems.add("unknown-service", place, f"there is no service {shown(service)}", hint)
    return usable


def _segments(draft: Draft, entry: Entry[HostForm]) -> list[Segment]:
    form = entry.form
    written: list[tuple[str, tuple[str | int, ...]]] = []
    if form.segments:
        if form.site or form.segment:
            draft.problems.add(
                "segment-twice",
                entry.at("segments"),
                "'segments' and 'site' or 'segment' at once",
                "write either 'site' and 'segment', or 'segments'",
            )
            return []
        written = [(key, ("segments", index)) for index, key in enumerate(form.segments)]
    elif form.site and form.segment:
        written = [(f"{form.site}/{form.segment}", ("segment",))]
    else:
        missing = "segment" if form.site else "site"
        draft.problems.add(
            "missing-key", entry.at(), f"'{missing}' is missing", "a host needs 'site' and 'segment', or 'segments'"
        )
    found: list[Segment] = []
    for key, path in written:
        segment = _segment(draft, entry, key, path)
        if segment is not None and segment in found:
            draft.problems.add("duplicate-segment", entry.at(*path), f"{shown(key)} is listed twice", "remove one")
        elif segment is not None:
            found.append(segment)
    return found


def _segment(draft: Draft, entry: Entry[HostForm], key: str, path: tuple[str | int, ...]) -> Segment | None:
    if key in draft.segments:
        return draft.segments[key]
    site, _, name = key.partition("/")
    if draft.is_broken("sites", site):
        return None
    if site not in draft.sites:
        place = entry.at("site") if path == ("segment",) else entry.at(*path)
        hint = draft.problems.nearest(site, draft.sites, "add it under 'sites'")
        draft.problems.add("unknown-site", place, f"there is no site {shown(site)}", hint)
        return None
    names = [segment.partition("/")[2] for segment in draft.sites[site].segments]
    hint = draft.problems.nearest(name, names, f"segments of {site}: {', '.join(names[:8]) or 'none'}")
    draft.problems.add("unknown-segment", entry.at(*path), f"site {site} has no segment {shown(name)}", hint)
    return None


def managed_machine(draft: Draft, entry: Entry[HostForm]) -> str:
    """The one machine of everything that a host manages; "" when that is refused."""
    form = entry.form
    machines: dict[str, str] = {}
    for index, name in enumerate(form.manages):
        known = {key: segment.machine for key, segment in draft.segments.items()}
        known |= {router.name: router.machine for router in draft.routers.values()}
        if name in known:
            machines.setdefault(known[name], name)
        elif not draft.is_broken("sites", name.partition("/")[0]):
            hint = draft.problems.nearest(name, known, "routers by name, switches by the segment SITE/NAME")
            draft.problems.add(
                "unknown-device", entry.at("manages", index), f"there is no {shown(name)} to manage", hint
            )
    if form.machine:
        machines.setdefault(form.machine, "this host")
    if len(machines) > 1:
        (one, first), (other, second), *_ = machines.items()
        message = f"{first} is on machine '{one}', {second} on '{other}'"
        hint = "what one host manages is on one machine: write 'machine' at routers and segments, or several hosts"
        draft.problems.add("machines-differ", entry.at("manages"), message, hint)
    return next(iter(machines), "")


@dataclass(slots=True)
class _Expansion:
    """One entry becoming hosts."""

    draft: Draft
    entry: Entry[HostForm]
    pools: dict[str, list[Pool]]

    def expand(self, segments: list[Segment]) -> None:
        form = self.entry.form
        origin = self.entry.at().origin
        services, labels, customer = tuple(form.services), dict(form.labels), form.customer
        draft = self.draft
        machine = managed_machine(draft, self.entry) if form.manages else form.machine
        environment, trust_domain = draft.declaration.header.environment, draft.trust_domain
        for name, segment, number in self._names(segments):
            if not self._free(name):
                continue
            addresses = self._addresses(name, segment, number)
            if addresses is None:  # the next ones would fail for the same reason
                draft.break_("hosts", self.entry.name)
                return
            draft.hosts[name] = Host(
                name,
                segment.site,
                segment.key,
                addresses,
                form.mac or mac_address(environment, "host", name),
                f"spiffe://{trust_domain}/node/{name}",
                services,
                customer,
                labels,
                machine or name,
                origin,
                management=bool(form.manages),
            )
            draft.host_entries[name] = self.entry
            draft.entry_hosts.setdefault(self.entry.name, []).append(name)

    def _names(self, segments: list[Segment]) -> Iterator[tuple[str, Segment, int]]:
        for segment in segments:
            base = self.entry.name
            if self.entry.form.segments:
                base = f"{base}-{segment.site}-{segment.name}"
            longest = len(base) + (len(f"-{self.entry.form.count}") if self.entry.form.count else 0)
            if longest > limits.NAME:
                self.draft.problems.add(
                    "name-too-long",
                    self.entry.at(),
                    f"its hosts would be called '{base}...', which has {longest} characters",
                    f"a name has at most {limits.NAME}; shorten the entry's name",
                )
            elif not self.entry.form.count:
                yield base, segment, 0
            else:
                yield from ((f"{base}-{number + 1}", segment, number) for number in range(self.entry.form.count))

    def _free(self, name: str) -> bool:
        if name not in self.draft.hosts:
            return True
        other = self.draft.hosts[name].origin
        self.draft.problems.add(
            "duplicate-name",
            self.entry.at(),
            f"there is a host '{name}' already, from the entry at {other}",
            "rename it",
        )
        return False

    def _addresses(self, name: str, segment: Segment, number: int) -> tuple[Address, ...] | None:
        pools = self.pools[segment.key]
        if self.entry.form.addresses:
            return self._written(name, segment, number, self.entry.form.addresses)
        taken = [pool.take(name) for pool in pools]
        found = tuple(address for address in taken if address is not None)
        if len(found) == len(pools):
            return found
        full = pools[taken.index(None)].network
        self.draft.problems.add(
            "segment-full",
            self.entry.at(),
            f"{full} of segment {segment.key} has no address left for '{name}'",
            "give the segment a larger network, or spread the hosts over several segments",
        )
        return None

    def _written(
        self, name: str, segment: Segment, number: int, addresses: list[Address]
    ) -> tuple[Address, ...] | None:
        found: list[Address] = []
        for index, first in enumerate(addresses):
            place = self.entry.at("addresses", index)
            address, refused = self._written_one(name, segment, first, number)
            if address is None:
                self.draft.problems.add(refused[0], place, refused[1], refused[2])
            elif any(address.version == other.version for other in found):
                self.draft.problems.add(
                    "two-addresses", place, f"a second IPv{address.version} address", "a host has one of each family"
                )
            else:
                found.append(address)
        return tuple(found) if len(found) == len(addresses) else None

    def _written_one(
        self, name: str, segment: Segment, first: Address, number: int
    ) -> tuple[Address | None, tuple[str, str, str]]:
        pools = self.pools[segment.key]
        pool = pool_of(pools, first)
        networks = " and ".join(str(pool.network) for pool in pools)
        if pool is None or int(first) + number > int(pool.network.broadcast_address):
            shown_address = str(first) if pool is None else f"{first} + {number}"
            hint = f"the segment has {networks}"
            return None, ("address-outside", f"{shown_address} lies outside segment {segment.key}", hint)
        address = first + number
        reason = pool.reserved(address)
        if reason:
            free = pool.free()
            hint = f"{free} is free" if free else f"{pool.network} is full"
            return None, ("address-reserved", f"{address} of '{name}' is {reason} in segment {segment.key}", hint)
        holder = pool.holders.get(address)
        if holder is not None:
            return None, self._taken(name, address, holder, pool)
        pool.holders[address] = name
        return address, ("", "", "")

    def _taken(self, name: str, address: Address, holder: str, pool: Pool) -> tuple[str, str, str]:
        free = pool.free()
        available = f"{free} is free" if free else f"{pool.network} is full"
        other = self.draft.host_entries.get(holder)
        if other is not None and not other.form.addresses:
            message = f"{address} of '{name}' is held by '{holder}', which comes earlier and took the next free address"
            return "address-taken", message, f"{available}; or move '{name}' above '{other.name}'"
        return "duplicate-address", f"{address} of '{name}' is also the address of '{holder}'", available
