"""The rules and settings of this machine's devices in the kernel: put them there, look whether they are there.

Each device is one table in one namespace, replaced in one transaction of the kernel. A table of somebody else that
hooks into the path of packets is drift as well, and removed, unless the configuration tolerates it: it could translate,
redirect or let go by what was declared otherwise. One without a hook sees no packet and is only told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ringfort.environment.topology import Device
from ringfort.errors import RingfortError
from ringfort.kernel import nft, settings
from ringfort.kernel.netns import inside
from ringfort.network.canonical import canonical
from ringfort.network.drift import drift
from ringfort.network.nft import Json
from ringfort.node.policy import Part, Policy, digest, table_of

Table = tuple[str, str]
"""Family and name."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A table of somebody else; ``hooked`` when packets go through it."""

    table: Table
    hooked: bool

    def __str__(self) -> str:
        return f"table {' '.join(self.table)}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a namespace. ``differing`` are the devices (in words) whose rules are not as they should be,
    ``changes`` how, in nft's words; ``digests`` what each device really holds; ``loaded`` whose rules were replaced."""

    digests: Mapping[str, str]
    differing: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    loaded: tuple[str, ...] = ()


@dataclass(slots=True)
class Enforcer:
    """Devices and the namespaces they are in (`ringfort.kernel.netns.OWN`: this process's own)."""

    places: Mapping[str, str]
    tolerated: frozenset[Table] = frozenset()

    def namespace(self, device: Device) -> str:
        """Where a device is: as configured, or in this process's own namespace."""
        return self.places.get(str(device), "")

    def namespaces(self, policy: Policy) -> dict[str, list[Part]]:
        """The parts of a policy by namespace.

        Raises:
            RingfortError: two devices would hold the same table.
        """
        found: dict[str, list[Part]] = {}
        for part in policy.parts:
            others = found.setdefault(self.namespace(part.device), [])
            for other in others:
                if table_of(other.device) == table_of(part.device):
                    raise RingfortError(
                        "devices-collide",
                        f"{other.device} and {part.device} are in the same network namespace",
                        "say in the node's configuration where each of them is ([devices])",
                    )
            others.append(part)
        return found

    def load(
        self, namespace: str, parts: Iterable[Part], *, sysctl: bool = True, held: Finding | None = None
    ) -> Finding:
        """Make a namespace hold what ``parts`` say; what it holds then.

        Rules come first and settings, among them forwarding, after them. ``held``: what it is known to hold now, if
        that is known.

        Raises:
            RingfortError: the kernel refuses, or holds something else afterwards.
        """
        wanted = list(parts)
        found = self.look(namespace, wanted) if held is None else _judged(held, wanted)
        loaded = tuple(part for part in wanted if str(part.device) in found.differing)
        for part in loaded:
            nft.run(namespace, part.text)
        removed = self._remove(namespace, found.foreign)
        if loaded or removed:
            found = self.look(namespace, wanted)
            if found.differing:
                raise RingfortError("readback-differs", f"{found.differing[0]}: the kernel holds other rules")
        if sysctl:
            for part in wanted:
                _set(namespace, part.sysctls)
        return replace(found, loaded=tuple(str(part.device) for part in loaded))

    def look(self, namespace: str, parts: Iterable[Part]) -> Finding:
        """Compare what a namespace holds with what ``parts`` say."""
        own = {table_of(part.device): part for part in parts}
        document = nft.ruleset(namespace)
        tables = _split(document)
        digests: dict[str, str] = {}
        differing: list[str] = []
        changes: list[str] = []
        for table, part in own.items():
            found = tables.get(table, {"nftables": []})
            digests[str(part.device)] = digest(found)
            if digests[str(part.device)] != part.digest:
                differing.append(str(part.device))
                changes += _words(part, found)
        foreign = tuple(
            Foreign(table, _is_hooked(content))
            for table, content in tables.items()
            if table not in own and table not in self.tolerated
        )
        changes += [f"the ruleset: + {other}" for other in foreign if other.hooked]
        return Finding(digests, tuple(differing), tuple(changes), foreign)

    def settings(self, namespace: str, parts: Iterable[Part]) -> tuple[str, ...]:
        """The kernel settings of a namespace that are not as they should be, in words."""
        with inside(namespace):
            return tuple(
                f"sysctl {key}: - {value} + {found}"
                for part in parts
                for key, value in part.sysctls.items()
                if (found := settings.read(key)) not in (None, value)
            )

    def counters(self, namespace: str, parts: Iterable[Part]) -> dict[str, dict[str, int]]:
        """Device (in words) -> packets by named counter."""
        counted = nft.counters_by_table(namespace)
        return {str(part.device): counted.get(table_of(part.device), {}) for part in parts}

    def _remove(self, namespace: str, foreign: Iterable[Foreign]) -> bool:
        """Remove tables that hook into the path, each by itself: one that resists keeps none of the others."""
        hooked = [other for other in foreign if other.hooked]
        for other in hooked:
            # A table with an owner goes with that process only: it is still found afterwards, and told of.
            with suppress(RingfortError):
                nft.run(namespace, f"delete table {' '.join(other.table)}")
        return bool(hooked)


def _judged(held: Finding, parts: Iterable[Part]) -> Finding:
    """What is known to be held, compared with other parts; without the words for it."""
    differing = [str(part.device) for part in parts if held.digests.get(str(part.device)) != part.digest]
    return replace(held, differing=tuple(differing), changes=())


def _split(document: Json) -> dict[Table, Json]:
    """The document of each table."""
    tables: dict[Table, Json] = {}
    for entry in document["nftables"]:
        ((kind, body),) = entry.items()
        if kind == "metainfo":
            continue
        table = (body["family"], body["name"] if kind == "table" else body["table"])
        tables.setdefault(table, {"nftables": []})["nftables"].append(entry)
    return tables


def _is_hooked(document: Json) -> bool:
    return any(
        kind == "flowtable" or (kind == "chain" and "hook" in body)
        for entry in document["nftables"]
        for kind, body in entry.items()
    )


def _words(part: Part, found: Json) -> Iterator[str]:
    """How a device's table differs, in words; it does."""
    differences = [f"{part.device}: {one}" for one in drift(part.document, found)]
    yield from differences
    if not differences:  # the table itself: nft 1.0.6 garbles which flags
        bodies = [entry["table"] for entry in canonical(found)["nftables"] if "table" in entry]
        flags = "flags that switch it off or bind it to a process" if any("flags" in b for b in bodies) else "itself"
        yield f"{part.device}: table {' '.join(table_of(part.device))}: + {flags}"


def _set(namespace: str, wanted: Mapping[str, str]) -> None:
    with inside(namespace):
        for key, value in wanted.items():
            if settings.read(key) in (None, value):
                continue
            try:
                settings.write(key, value)
            except OSError as error:
                raise RingfortError("kernel-refused", f"sysctl {key}: {error.strerror}") from error
