"""Apply what is public to the HAProxy of this host, with as little change as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ringfort.errors import RingfortError
from ringfort.gateway import process, runtime
from ringfort.gateway.edge import leaving, servers
from ringfort.gateway.edge.model import Edge, Endpoint, Server
from ringfort.gateway.edge.render import Place, backends, render
from ringfort.gateway.haproxy import Configuration
from ringfort.identity.certificates import UNREADABLE

DIRECTORY = 0o711
"""Mode of the edge's directory: HAProxy's account, which is shut in there, finds the way to its own socket by its name,
and may neither list nor read what is root's."""

Write = Callable[[Path, bytes], None]
"""Replaces a file, whole or not at all."""

States = Mapping[str, Mapping[str, servers.Running]]
"""What the running process has, by backend and name."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done.

    Attributes:
        process: ``kept``, ``renewed`` (certificates, in the running process), ``restarted`` (another took over) or
            ``started``.
        replaced: instances that took a place, as BACKEND/NAME.
        without: public names that get no TLS now, and why.
        left: visitors that a process which leaves still has at instances that are no longer wanted; 0 when those may
            end without anybody noticing.
    """

    process: str
    replaced: tuple[str, ...]
    without: dict[str, str]
    left: int = 0


def apply(edge: Edge, place: Place, write: Write, *, leave: float = 30.0, come: float | None = 30.0) -> Applied:
    """Serve ``edge`` from the network namespace of this thread.

    Connections that stand go on whatever changes. Those that leave get no new visitors from now on. Other instances
    take their places one after the other, each when it is well and its predecessor has drained; other names, limits or
    numbers of instances start a process that takes the listening sockets over.

    Args:
        leave: seconds that visitors of a former instance have to finish.
        come: that a new one has to become well; None, and an edge that has to show who it is, believe that it is, and
            leave it to HAProxy to look.

    Raises:
        RingfortError: HAProxy refuses something, or an instance isn't well; what served before goes on.
    """
    usable, without = with_usable_certificates(edge)
    wanted = render(usable, place)
    directory = Path(place.directory)
    directory.mkdir(mode=DIRECTORY, parents=True, exist_ok=True)
    directory.chmod(DIRECTORY)
    with servers.changing(place):
        loaded = process.loaded(place)
        had = servers.everything(place) if loaded else []
        before = servers.states(place) if loaded == wanted.digest else None
        done = process.apply(wanted, place, write)
        for path, entries in _other_maps(wanted, place):
            runtime.replace_map(place.socket, path, entries)
        if done in ("kept", "renewed") and before is not None:
            replaced = tuple(_bring(usable, before, place, leave, come))
            return Applied(done, replaced, without, 0)
        wants = {server.place for its in backends(usable).values() for server in its}
        gone = [server for server in had if server.place not in wants]
        return Applied(done, (), without, leaving.wait(place, gone, leave))


def _bring(edge: Edge, before: States, place: Place, leave: float, come: float | None) -> Iterator[str]:
    """Put other instances in their places; which."""
    changed = list(_changed(edge, before))
    for _, backend, server in changed:
        if server.leaving:
            servers.dismiss(place, backend, server.name)
    for one, backend, server in changed:
        if server.leaving:
            continue
        if come is not None and edge.inside is None:
            servers.wait_until_well(server, servers.health_of(one, backend), one.name, come)
        servers.exchange(place, backend, server, leave)
        yield f"{backend}/{server.name}"


def is_current(edge: Edge, place: Place) -> bool:
    """Whether exactly that is served, so that `apply` would change nothing."""
    usable, _ = with_usable_certificates(edge)
    wanted = render(usable, place)
    try:
        if not process.is_current(wanted, place) or any(_other_maps(wanted, place)):
            return False
        return not list(_changed(usable, servers.states(place)))
    except RingfortError:
        return False


def _other_maps(wanted: Configuration, place: Place) -> Iterator[tuple[str, list[str]]]:
    """Maps that the running process holds otherwise, because somebody changed them there; and their entries."""
    configuration = wanted.files[place.configuration]
    for path, text in wanted.files.items():
        if f"({path}" in configuration and runtime.map_entries(place.socket, path) != sorted(text.splitlines()):
            yield path, text.splitlines()


def _changed(edge: Edge, before: States) -> Iterator[tuple[Endpoint, str, Server]]:
    """Servers that the running process has otherwise: elsewhere, or with visitors or without."""
    by_name = {one.name: one for one in edge.endpoints}
    for backend, wanted in backends(edge).items():
        for server in wanted:
            now = before.get(backend, {}).get(server.name)
            is_there = now is not None and (server.leaving or now.server.place == server.place)
            if not is_there or now is None or now.is_leaving != server.leaving:
                yield by_name[backend.rpartition(":")[2]], backend, server


def with_usable_certificates(edge: Edge) -> tuple[Edge, dict[str, str]]:
    """The edge without certificates that HAProxy would refuse, and why it would, by public name.

    One customer's damaged file must not keep the others from being served.
    """
    without: dict[str, str] = {}
    endpoints = []
    for one in edge.endpoints:
        fault = _fault(one.certificate) if one.certificate else ""
        if fault:
            without[one.name] = fault
            endpoints.append(replace(one, certificate=""))
        else:
            endpoints.append(one)
    return (replace(edge, endpoints=tuple(endpoints)) if without else edge), without


def _fault(path: str) -> str:
    try:
        pem = Path(path).read_bytes()
        chain, key = x509.load_pem_x509_certificates(pem), load_pem_private_key(pem, None)
        matches = chain[0].public_key() == key.public_key()
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    except UNREADABLE as error:
        return f"{path} holds no certificate with its key: {error}"
    return "" if matches else f"{path}: the key is not the certificate's"
