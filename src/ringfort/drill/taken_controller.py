"""What nodes do when their controller has been taken over: whatever it serves, no node opens anything.

Afterwards the approvers replace the online key, as they would on a real platform: nodes forget what the stolen one told
them, and believe the true controller again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from ringfort.drill.forgeries import Forgery, InForce, Keys, forgeries, wider
from ringfort.drill.impostor import Impostor
from ringfort.drill.netfilter import Netfilter
from ringfort.drill.result import Observation
from ringfort.environment.topology import Device, devices
from ringfort.identity.store import read_credential
from ringfort.identity.tls import server_context
from ringfort.kernel import netns
from ringfort.lab import approvers, controller, nft, nodes, publishing
from ringfort.lab.authority import Authority
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.node.disk import Disk
from ringfort.node.outbox import Outbox
from ringfort.publishing import keys
from ringfort.publishing.trust import Trust

NOTICE_SECONDS = 60.0
"""How long is waited for the last node to look at what is served. Nodes that wait for news look at once."""

SILENCE_SECONDS = 1.0
"""How long nobody answers. A node notices at once that its connection has gone."""

REFUSED = "metadata-refused"
"""What a node calls it when it doesn't believe a controller."""


def controller_taken_over(lab: Lab, netfilter: Netfilter) -> Iterator[Observation]:
    """The controller's machine is lost, with its certificate and its online key: nobody answers, then somebody who
    serves each of the `forgeries` to every node. Restored afterwards: see `controller_believed`."""
    plane = Plane.of(lab.environment)
    if plane is None:
        return
    held, known = _Held(lab, plane, netfilter), _in_force(plane)
    directory = plane.directory / "approvers"
    one = keys.read_signer(approvers.key_file(directory, approvers.APPROVERS[0]), None)
    text = approvers.published_text(wider(lab.environment))
    # From here on the key that the root names is not the platform's any more; `up` would mend that, too.
    stolen = Keys(approvers.replace_online(directory), one, CryptoSigner.generate_ed25519())
    version = known.targets.signed.version
    try:
        controller.stop(plane)
        time.sleep(SILENCE_SECONDS)
        yield held.judge("nobody answers")
        with _impostor(plane) as impostor:
            for number, forgery in enumerate(forgeries(known, text, stolen, datetime.now(UTC)), 1):
                begin = datetime.now(UTC)
                impostor.serve(forgery.files, version + number)
                yield held.judge(f"it serves {forgery.words}", _Alarm(plane, forgery, begin))
    finally:
        _restore(plane)


# --- the impostor --------------------------------------------------------------------------------------------------


def _in_force(plane: Plane) -> InForce:
    with plane.calling() as client:

        def fetch(name: str) -> bytes:
            return client.fetch(f"/v1/environment/metadata/{name}")

        timestamp = Metadata[Timestamp].from_bytes(fetch("timestamp.json"))
        number = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_bytes(fetch(f"{number}.snapshot.json"))
        version = snapshot.signed.meta["targets.json"].version
        names = ("timestamp.json", f"{number}.snapshot.json", f"{version}.targets.json")
        files = {f"metadata/{name}": fetch(name) for name in names}
    targets = Metadata[Targets].from_bytes(files[f"metadata/{version}.targets.json"])
    return InForce(files, targets, snapshot, timestamp)


@contextmanager
def _impostor(plane: Plane) -> Iterator[Impostor]:
    service = plane.control.controller
    host, port = plane.serving(service)
    context = server_context(read_credential(Path(plane.credential(service))), Authority(plane.keys).bundle)
    with netns.inside(plane.place(host)):
        playing = Impostor(tuple((address, port) for address in plane.addresses(service)), context)
        playing.__enter__()
    try:
        yield playing
    finally:
        playing.__exit__()


# --- what must not change ------------------------------------------------------------------------------------------


class _Alarm:
    """Which nodes have raised an alert about one forgery, since it is served."""

    def __init__(self, plane: Plane, forgery: Forgery, begin: datetime) -> None:
        self._boxes = [plane.node_directory(host) / "state" / "outbox.json" for host in plane.nodes]
        self._code, self._begin = forgery.code, begin.replace(microsecond=0)

    def raised(self) -> int:
        """How many nodes: the alert waits on their disks for a controller that listens."""
        return sum(
            any(
                waiting.kind == REFUSED and waiting.what.startswith(f"{self._code}:") and waiting.last >= self._begin
                for waiting in Outbox(box).waiting(most=1000)
            )
            for box in self._boxes
        )


class _Held:
    """What every device holds and every node enforces, to be found again."""

    def __init__(self, lab: Lab, plane: Plane, netfilter: Netfilter) -> None:
        self._lab, self._plane, self._netfilter = lab, plane, netfilter
        # First the generations: a change meanwhile is then seen later.
        self._generations = {device: netfilter.generation(device) for device in devices(lab.environment)}
        self._rules = {device: self._read(device) for device in self._generations}
        self._versions = self._enforced()

    def judge(self, words: str, alarm: _Alarm | None = None) -> Observation:
        """Wait for every node's alert, then look whether all is as before."""
        wanted = len(self._plane.nodes)
        if alarm is not None:
            _wait(lambda: alarm.raised() == wanted)
        raised = alarm.raised() if alarm is not None else wanted
        changed = [device for device in self._generations if self._is_changed(device)]
        kept = sum(version == self._versions[host] for host, version in self._enforced().items())
        told = f"{raised} of {wanted} nodes refused it and raised an alert; " if alarm is not None else ""
        outcome = f"{told}{kept} keep their version, {len(changed)} devices changed"
        return Observation("controller taken over", not changed and kept == raised == wanted, f"{words}: {outcome}")

    def _is_changed(self, device: Device) -> bool:
        """Whether a device holds other rules: where nobody has made a transaction, it doesn't."""
        if self._netfilter.generation(device) == self._generations[device]:
            return False
        return self._read(device) != self._rules[device]

    def _read(self, device: Device) -> str:
        return nft.canonical(self._lab.read_device(device))

    def _enforced(self) -> Mapping[str, int]:
        return {host: status.get("enforced", 0) for host, status in nodes.statuses(self._plane).items()}


# --- afterwards ----------------------------------------------------------------------------------------------------


def _restore(plane: Plane) -> None:
    """The true controller again, with another online key that a new root names."""
    controller.start(plane, lambda _: None)
    with plane.calling() as client:
        publishing.publish(plane, client, lambda _: None)


def controller_believed(lab: Lab) -> Iterator[Observation]:
    """Whether every node believes the newest root, and so its controller, again.

    To be asked late: a node that came back just before the key was replaced looks again within half a minute.
    """
    plane = Plane.of(lab.environment)
    if plane is None:
        return
    with plane.calling() as client:
        root = int(client.get("/v1/environment")["root"])
    wanted = len(plane.nodes)

    def believing() -> int:
        trusts = (Trust(Disk(plane.node_directory(host) / "state").trust) for host in plane.nodes)
        return sum(trust.root_version() == root for trust in trusts)

    _wait(lambda: believing() == wanted)
    words = f"the approvers replaced the online key: {believing()} of {wanted} nodes believe the controller again"
    yield Observation("controller restored", believing() == wanted, words)


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NOTICE_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
