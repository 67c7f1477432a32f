"""What nodes do when their controller has been taken over: whatever it serves, no node opens anything."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from ringfort.drill.impostor import impostor
from ringfort.drill.result import Observation
from ringfort.environment.model import Environment
from ringfort.environment.topology import devices
from ringfort.identity.store import read_credential
from ringfort.identity.tls import server_context
from ringfort.kernel import netns
from ringfort.lab import approvers, authority, controller, nft, nodes
from ringfort.lab.authority import Authority
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.publishing import keys
from ringfort.publishing.metadata import next_snapshot, next_targets, next_timestamp

NOTICE_SECONDS = 30.0
"""How long is waited for nodes to come back to a controller that was away, and to see what it serves."""

REFUSED = "metadata-refused"
"""What a node calls it when it doesn't believe a controller."""


@dataclass(frozen=True, slots=True)
class _Published:
    """The documents in force, as bytes and parsed."""

    files: Mapping[str, bytes]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]


def controller_taken_over(lab: Lab) -> Iterator[Observation]:
    """The controller's machine is lost, with its certificate and its online key: a forged environment, one that a
    single approver signed, metadata that no longer ages, and nothing at all. Restored afterwards."""
    plane = Plane.of(lab.environment)
    if plane is None:
        return
    known = _fetch(plane)
    online = keys.read_signer(approvers.key_file(plane.directory / "approvers", approvers.ONLINE), None)
    one = keys.read_signer(approvers.key_file(plane.directory / "approvers", approvers.APPROVERS[0]), None)
    stranger = CryptoSigner.generate_ed25519()
    wider = _wider(lab.environment)
    now = datetime.now(UTC)
    attacks: tuple[tuple[str, Mapping[str, bytes], int], ...] = (
        ("a forged environment, signed by a stranger", *_forged(known, wider, stranger, online, now)),
        ("one that a single approver signed", *_forged(known, wider, one, online, now)),
        ("a timestamp that has expired", *_frozen(known, online, now)),
    )
    with _memories(plane):
        for words, files, version in attacks:
            with _without_controller(plane), _serving(plane, files, version):
                yield _judge(lab, plane, words)
        with _without_controller(plane):
            yield _judge(lab, plane, "nothing at all", noticed=False)


@contextmanager
def _memories(plane: Plane) -> Iterator[None]:
    """Let the nodes forget what the stolen online key told them: the true controller would seem to roll back.

    On a real platform the approvers replace the online key (`ringfort environment rotate --online`), which does it too.
    """
    places = [plane.node_directory(host) / "state" / "trust" for host in plane.nodes]
    for place in places:
        shutil.copytree(place, place.with_name("trust.before"), dirs_exist_ok=True)
    try:
        yield
    finally:
        for place in places:
            shutil.rmtree(place)
            place.with_name("trust.before").rename(place)


def _fetch(plane: Plane) -> _Published:
    with plane.calling() as client:
        timestamp = Metadata[Timestamp].from_bytes(client.fetch("/v1/environment/metadata/timestamp.json"))
        number = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_bytes(client.fetch(f"/v1/environment/metadata/{number}.snapshot.json"))
        version = snapshot.signed.meta["targets.json"].version
        targets = Metadata[Targets].from_bytes(client.fetch(f"/v1/environment/metadata/{version}.targets.json"))
        names = ("timestamp.json", f"{number}.snapshot.json", f"{version}.targets.json", "1.root.json")
        files = {f"metadata/{name}": client.fetch(f"/v1/environment/metadata/{name}") for name in names}
    return _Published(files, targets, snapshot, timestamp)


def _wider(environment: Environment) -> Environment:
    """The environment with every service open to every host."""
    flows = {
        f"everything-{name}": replace(next(iter(environment.flows.values())), name=f"everything-{name}", service=name,
                                      source="group:all", internet=False, callers=tuple(environment.hosts),
                                      identities=tuple(host.identity for host in environment.hosts.values()))
        for name in environment.services
    }  # fmt: skip
    return replace(environment, flows={**environment.flows, **flows})


def _forged(
    known: _Published, environment: Environment, signer: Signer, online: Signer, now: datetime
) -> tuple[Mapping[str, bytes], int]:
    text = approvers.published_text(environment)
    targets = next_targets(known.targets.signed, text, {}, now)
    targets.sign(signer)
    version, document = targets.signed.version, targets.to_bytes()
    digest = targets.signed.targets["environment.json"].hashes["sha256"]
    files = {f"metadata/{version}.targets.json": document, f"targets/{digest}.environment.json": text}
    return {**known.files, **files, **_announced(known, document, version, online, now)}, version


def _announced(known: _Published, targets: bytes, version: int, online: Signer, now: datetime) -> dict[str, bytes]:
    snapshot = next_snapshot(known.snapshot.signed, targets, version, now)
    snapshot.sign(online)
    timestamp = next_timestamp(known.timestamp.signed, snapshot.to_bytes(), snapshot.signed.version, now)
    timestamp.sign(online)
    return {
        f"metadata/{snapshot.signed.version}.snapshot.json": snapshot.to_bytes(),
        "metadata/timestamp.json": timestamp.to_bytes(),
    }


def _frozen(known: _Published, online: Signer, now: datetime) -> tuple[Mapping[str, bytes], int]:
    number = known.timestamp.signed.snapshot_meta.version
    snapshot = known.files[f"metadata/{number}.snapshot.json"]
    timestamp = next_timestamp(known.timestamp.signed, snapshot, number, now)
    timestamp.signed.expires = (now - timedelta(minutes=1)).replace(microsecond=0)
    timestamp.sign(online)
    return {**known.files, "metadata/timestamp.json": timestamp.to_bytes()}, known.targets.signed.version + 1


@contextmanager
def _without_controller(plane: Plane) -> Iterator[None]:
    controller.stop(plane)
    try:
        yield
    finally:
        controller.start(plane, lambda _: None)


@contextmanager
def _serving(plane: Plane, files: Mapping[str, bytes], version: int) -> Iterator[None]:
    host, port = plane.serving(plane.control.controller)
    file = authority.key_file(plane.keys, authority.service_holder(plane.control.controller, host))
    context = server_context(read_credential(file), Authority(plane.keys).bundle)
    places = tuple((address, port) for address in plane.addresses(plane.control.controller))
    with netns.inside(plane.place(host)):
        serving = impostor(places, context, files, version)
        serving.__enter__()
    try:
        yield
    finally:
        serving.__exit__(None, None, None)


def _judge(lab: Lab, plane: Plane, words: str, *, noticed: bool = True) -> Observation:
    """Wait until the nodes have seen it, then look at what every device really holds."""
    before = _held(lab)
    version = max(status.get("enforced", 0) for status in nodes.statuses(plane).values())
    wanted = len(plane.nodes)
    if noticed:
        _wait(lambda: _refusing(plane) == wanted)
    else:
        time.sleep(2.0)
    refusing = _refusing(plane)
    changed = [device for device, held in _held(lab).items() if held != before[device]]
    kept = sum(status.get("enforced") == version for status in nodes.statuses(plane).values())
    said = f"{refusing} of {wanted} nodes refused it and told so; " if noticed else ""
    outcome = f"{said}{kept} keep version {version}, {len(changed)} devices changed"
    # How many have said so in time depends on the machine; what they hold does not.
    held = not changed and kept == wanted
    return Observation("controller taken over", held, f"it serves {words}: {outcome}")


def _held(lab: Lab) -> dict[str, str]:
    return {str(device): nft.canonical(lab.read_device(device)) for device in devices(lab.environment)}


def _refusing(plane: Plane) -> int:
    """Nodes that wait to tell somebody that they don't believe their controller."""
    return sum(
        any(waiting["kind"] == REFUSED for waiting in status.get("waiting", ()))
        for status in nodes.statuses(plane).values()
    )


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NOTICE_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
