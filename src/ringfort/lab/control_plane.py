"""The control plane of a lab: a witness, a controller, and a node for every machine, each in its host's namespace.

Everything they say to each other crosses the lab's own network, as flows of its declaration. What people do elsewhere -
approving an environment, handing out tokens - `ringfort up` does in their place, with keys that it made.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ringfort.audit import keys as audit_keys
from ringfort.audit.notes import COSIGNATURE, ED25519
from ringfort.control.client import Client, Endpoint
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Address, Control, Environment
from ringfort.environment.topology import Device, DeviceKind, devices_by_machine, machine_of, node_host
from ringfort.errors import RingfortError
from ringfort.identity.store import read_credential
from ringfort.kernel import netns
from ringfort.kernel.processes import Process
from ringfort.lab import approvers, authority, state
from ringfort.lab.authority import Authority
from ringfort.lab.shapes import namespace_name
from ringfort.node import configuration as configurations
from ringfort.node.disk import Disk
from ringfort.node.enrolment import enrol
from ringfort.node.spawn import Start
from ringfort.publishing.repository import Published, Repository
from ringfort.publishing.storing import FetchedStore

START_SECONDS = 30.0
CONFIRM_SECONDS = 60.0
POLL_SECONDS = 0.05
RECORD = "processes.json"
REASON = "ringfort up"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the control plane of an environment is. Made by `of`, for environments that declare one."""

    environment: Environment
    control: Control
    directory: Path
    keys: Path

    @classmethod
    def of(cls, environment: Environment) -> Plane | None:
        """The control plane, if the environment declares one."""
        if environment.control is None:
            return None
        base = state.directory(environment.name)
        return cls(environment, environment.control, base / "control", base / "keys")

    # -- who is where ----------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[str, tuple[Device, ...]]:
        """Host where a node runs -> the devices it enforces: those of its machine."""
        found = {}
        for machine, devices in devices_by_machine(self.environment).items():
            found[node_host(self.environment, machine)] = devices
        return found

    def node_of(self, device: Device) -> str:
        """The host where the node of a device runs."""
        return node_host(self.environment, machine_of(self.environment, device))

    def place(self, host: str) -> str:
        """The namespace of a host."""
        return namespace_name(self.environment, Device(DeviceKind.HOST, host))

    def serving(self, service: str) -> tuple[str, int]:
        """The first host that serves a service of the control plane, and its port."""
        found = self.environment.services[service]
        return found.hosts[0], found.ports[0].first

    def addresses(self, service: str) -> tuple[Address, ...]:
        """Where the first host of a service of the control plane is."""
        return self.environment.hosts[self.serving(service)[0]].addresses

    def node_directory(self, host: str) -> Path:
        """The state directory of a node."""
        return self.directory / "nodes" / host

    def operator(self) -> tuple[str, str]:
        """An operator, and a host from where he may call the controller.

        Raises:
            RingfortError: no flow lets one.
        """
        for flow in self.environment.flows.values():
            if flow.service == self.control.controller and flow.operators:
                return flow.operators[0], flow.callers[0]
        hint = f"add a flow {{from: group:administrators, to: {self.control.controller}, as: [alice]}}"
        raise RingfortError("no-operator", "no operator may call the controller, so nobody could bring nodes in", hint)

    @contextmanager
    def calling(self) -> Iterator[Client]:
        """Calls to the controller as an operator, from the operator's host."""
        name, host = self.operator()
        credential = read_credential(authority.key_file(self.keys, authority.operator_holder(name, host)))
        bundle = Authority(self.keys).bundle
        own = {address.version for address in self.environment.hosts[host].addresses}
        there = next(address for address in self.addresses(self.control.controller) if address.version in own)
        endpoint = Endpoint(str(there), self.serving(self.control.controller)[1])
        with netns.inside(self.place(host)), Client.platform(endpoint, credential, bundle, 5.0) as client:
            yield client


# --- nodes ---------------------------------------------------------------------------------------------------------


def start_nodes(plane: Plane, created: Iterable[str], progress: Progress) -> int:
    """Start the nodes that don't run, or ran in a namespace that is gone; how many. Each refuses everything at first.

    Returns when every device holds rules: what it was told before, or nothing but the way to the controller.
    """
    renewed, starts = set(created), []
    for host, devices in plane.nodes.items():
        spaces = {namespace_name(plane.environment, device) for device in devices}
        text = _node_configuration(plane, host, devices)
        file = plane.node_directory(host) / "node.toml"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_same = file.exists() and file.read_text() == text
        if _running(plane, host) is not None and is_same and not spaces & renewed:
            continue
        _end(plane, host)
        state.write_private(file, text.encode())
        base = str(plane.node_directory(host))
        starts.append(Start(host, str(file), plane.place(host), f"{base}/pid", f"{base}/log"))
    for directory in _others(plane):
        _end(plane, directory.name)
    if starts:
        progress(f"starting {len(starts)} nodes")
        _spawn(plane, starts)
    return len(starts)


def _others(plane: Plane) -> list[Path]:
    """State directories of nodes that the environment no longer has."""
    root = plane.directory / "nodes"
    return [directory for directory in root.iterdir() if directory.name not in plane.nodes] if root.exists() else []


def _node_configuration(plane: Plane, host: str, devices: Iterable[Device]) -> str:
    """The node's configuration file. A node is called after the host where it runs."""
    own = {address.version for address in plane.environment.hosts[host].addresses}
    port = plane.serving(plane.control.controller)[1]
    controllers = [
        f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        for address in plane.addresses(plane.control.controller)
        if address.version in own
    ]
    lines = [
        f"name = {json.dumps(host)}",
        f"trust-domain = {json.dumps(plane.environment.trust_domain)}",
        f"controllers = {json.dumps(controllers)}",
        f"state = {json.dumps(str(plane.node_directory(host) / 'state'))}",
        "sysctl = false  # the lab's namespaces are made with theirs",
        "[devices]",
    ]
    for device in devices:
        space = "" if str(device) == f"host:{host}" else namespace_name(plane.environment, device)
        lines.append(f"{json.dumps(str(device))} = {json.dumps(space)}")
    return "\n".join(lines) + "\n"


def _spawn(plane: Plane, starts: list[Start]) -> None:
    file = plane.directory / "starts.json"
    state.write_private(file, json.dumps([asdict(start) for start in starts]).encode())
    words = [sys.executable, "-m", "ringfort.node.spawn", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if done.returncode:
        raise RingfortError("nodes-failed", f"the nodes don't start: {done.stderr.strip().splitlines()[-1:]}")
    for line in done.stdout.splitlines():
        name, pid = line.split()
        _note(plane, name, Process.of(int(pid)))
    wanted = {start.name for start in starts}
    _until(
        lambda: all(_holds_rules(plane, host) for host in wanted), START_SECONDS, "nodes-failed", "nodes load no rules"
    )


def _holds_rules(plane: Plane, host: str) -> bool:
    status = Disk(plane.node_directory(host) / "state").status()
    process = _running(plane, host)
    return status is not None and process is not None and status["pid"] == process.pid and bool(status["devices"])


# --- controller and witness ----------------------------------------------------------------------------------------


def converge(plane: Plane, progress: Progress) -> int:
    """Bring the control plane to what is declared: controller and witness run, the environment is published, every
    machine is enrolled, and every node has confirmed the version.

    Returns:
        The version.

    Raises:
        RingfortError: something of it doesn't come about in time; it is said what.
    """
    approvers.ensure(plane.directory / "approvers")
    if plane.control.witness:
        _start_witness(plane)
    start_controller(plane, progress)
    with plane.calling() as client:
        version = _publish(plane, client, progress)
        _enrol(plane, client, progress)
    _confirmed(plane, version, progress)
    return version


def _start_witness(plane: Plane) -> None:
    host, port = plane.serving(plane.control.witness)
    log, own = plane.directory / "audit.key", plane.directory / "witness.key"
    domain = plane.environment.trust_domain
    if not log.exists():
        audit_keys.make(log, f"{domain}/audit", ED25519)
    if not own.exists():
        audit_keys.make(own, f"{domain}/witness/{host}", COSIGNATURE)
    for address in plane.addresses(plane.control.witness):
        name = f"witness-{address.version}"  # a process for each family; they share what they remember
        if _running(plane, name) is not None:
            continue
        words = ["witness", "--key", str(own), "--log", str(audit_keys.read(log, ED25519).public())]
        words += ["--state", str(plane.directory / "witness"), "--listen", f"{_literal(address)}:{port}"]
        words += ["--credential", _credential(plane, plane.control.witness), "--bundle", _bundle(plane)]
        _start(plane, name, host, words)


def stop_controller(plane: Plane) -> None:
    """End the controller's process, as a machine that is lost would."""
    _end(plane, "controller")


def start_controller(plane: Plane, progress: Progress) -> None:
    """Start the controller if it doesn't run with the configuration that is due; returns when it answers."""
    host, _ = plane.serving(plane.control.controller)
    text = _controller_configuration(plane)
    file = plane.directory / "controller.toml"
    is_same = file.exists() and file.read_text() == text
    if _running(plane, "controller") is not None and is_same:
        return
    _end(plane, "controller")
    state.write_private(file, text.encode())
    progress("starting the controller")
    _start(plane, "controller", host, ["controller", "--config", str(file)])
    _until(lambda: _answers(plane), START_SECONDS, "controller-failed", "the controller doesn't answer; see its log in "
           f"{plane.directory}")  # fmt: skip


def _controller_configuration(plane: Plane) -> str:
    port = plane.serving(plane.control.controller)[1]
    listen = [f"{_literal(address)}:{port}" for address in plane.addresses(plane.control.controller)]
    lines = [
        f"database = {json.dumps(f'sqlite:///{plane.directory}/controller.db')}",
        f"credential = {json.dumps(_credential(plane, plane.control.controller))}",
        f"authority = {json.dumps(str(plane.keys / authority.AUTHORITY))}",
        f"online_key = {json.dumps(str(approvers.key_file(plane.directory / 'approvers', approvers.ONLINE)))}",
        "[listen]",
        f"platform = {json.dumps(listen)}",
    ]
    roles = ["network-operator", "security-officer", "auditor"]
    for number, name in enumerate(_operators(plane.environment, plane.control.controller)):
        lines += [f"[operators.{name}]", f"roles = [{json.dumps(roles[min(number, 2)])}]"]
    if plane.control.witness:
        host, witness_port = plane.serving(plane.control.witness)
        url = f"https://{_literal(plane.environment.hosts[host].addresses[0])}:{witness_port}"
        key = audit_keys.read(plane.directory / "witness.key", COSIGNATURE).public()
        lines += [
            "[audit]",
            f"directory = {json.dumps(str(plane.directory / 'audit'))}",
            f"key = {json.dumps(str(plane.directory / 'audit.key'))}",
            "[[audit.witnesses]]",
            f"url = {json.dumps(url)}",
            f"key = {json.dumps(str(key))}",
        ]
    return "\n".join(lines) + "\n"


def _operators(environment: Environment, controller: str) -> list[str]:
    names = (name for flow in environment.flows.values() if flow.service == controller for name in flow.operators)
    return list(dict.fromkeys(names))


def _credential(plane: Plane, service: str) -> str:
    host, _ = plane.serving(service)
    return str(authority.key_file(plane.keys, authority.service_holder(service, host)))


def _bundle(plane: Plane) -> str:
    return str(plane.keys / authority.AUTHORITY / "bundle.pem")


def _literal(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _answers(plane: Plane) -> bool:
    if _running(plane, "controller") is None:
        raise RingfortError("controller-failed", f"the controller ended: {_last_words(plane, 'controller')}")
    try:
        with plane.calling() as client:
            client.get("/v1/environment")
    except RingfortError as error:
        if error.code == "controller-unreachable":
            return False
        raise
    return True


# --- environment and enrolment -------------------------------------------------------------------------------------


class _Fetcher:
    """The repository at the controller, for `FetchedStore`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(self, path: str) -> Iterator[bytes]:
        from ringfort.control.client import CallRefusedError
        from ringfort.publishing.fetching import NotThereError

        try:
            yield self._client.fetch(f"/v1/environment/{path}")
        except CallRefusedError as error:
            raise NotThereError(path) from error


def published(client: Client) -> Published | None:
    """What is published at the controller; None before the first version."""
    if not client.get("/v1/environment")["root"]:
        return None
    return Repository(FetchedStore(_Fetcher(client))).published()


def _publish(plane: Plane, client: Client, progress: Progress) -> int:
    old = published(client)
    text = approvers.published_text(plane.environment)
    if old is not None and old.environment == text:
        return old.version
    progress("publishing the environment, signed by " + " and ".join(approvers.APPROVERS[: approvers.THRESHOLD]))
    publication = approvers.publication(plane.directory / "approvers", plane.environment, old, datetime.now(UTC))
    answer = client.call("POST", "/v1/environment/publications", approvers.body(publication), reason=REASON)
    return int(answer["version"])


def _enrol(plane: Plane, client: Client, progress: Progress) -> None:
    known = {node["name"] for node in client.get("/v1/nodes")["nodes"] if node["state"] == "active"}
    root = client.fetch("/v1/environment/metadata/1.root.json")
    missing = [host for host in plane.nodes if host not in known or not _is_enrolled(plane, host)]
    if missing:
        progress(f"enrolling {len(missing)} machines")
    for host in missing:
        found = plane.environment.hosts[host]
        form = {"node": host, "site": found.site, "addresses": [str(a) for a in found.addresses], "minutes": 10}
        token = client.call("POST", "/v1/enrolment-tokens", form, reason=REASON)["token"]
        with netns.inside(plane.place(host)):
            enrol(configurations.read(plane.node_directory(host) / "node.toml"), token, root)


def _is_enrolled(plane: Plane, host: str) -> bool:
    return (plane.node_directory(host) / "state" / "identity" / "node.pem").exists()


def _confirmed(plane: Plane, version: int, progress: Progress) -> None:
    progress(f"waiting for {len(plane.nodes)} nodes to confirm version {version}")
    _until(
        lambda: not unconfirmed(plane, version), CONFIRM_SECONDS, "nodes-unconfirmed",
        f"not every node confirms version {version}", lambda: ", ".join(unconfirmed(plane, version)[:5]),
    )  # fmt: skip


def unconfirmed(plane: Plane, version: int) -> list[str]:
    """The nodes that don't enforce a version yet or have not confirmed it, with why."""
    found = []
    for host, status in statuses(plane).items():
        if status.get("state") != "confirmed" or status.get("enforced") != version:
            found.append(f"{host} ({status.get('state', 'says nothing')}; controller: {status.get('controller', '')})")
    return found


def statuses(plane: Plane) -> dict[str, Mapping[str, Any]]:
    """What each node says of itself, by the host where it runs; empty for one that never said anything."""
    return {host: Disk(plane.node_directory(host) / "state").status() or {} for host in plane.nodes}


def checks(plane: Plane) -> dict[str, tuple[IdentityCheck, ...]]:
    """By host, what the controller and the witness that run ask of their callers.

    A controller hears every node of the trust domain and the operators in its configuration, each from its own
    addresses; a witness hears controllers. One that doesn't run asks nothing. This is told from their being there and
    from the configuration they were started with: unlike an enforcement point, they are not asked.
    """
    found: dict[str, tuple[IdentityCheck, ...]] = {}
    services, prefix = plane.environment.services, f"spiffe://{plane.environment.trust_domain}"
    nodes = {host.identity for host in plane.environment.hosts.values()}
    operators = {f"{prefix}/operator/{name}" for name in _operators(plane.environment, plane.control.controller)}
    witness = _first_witness(plane)
    for name, process, callers in (
        (plane.control.controller, "controller", nodes | operators),
        (plane.control.witness, witness, {services[plane.control.controller].identity}),
    ):
        if name and _running(plane, process) is not None:
            service = services[name]
            check = IdentityCheck(name, service.protocol, service.ports, service.tls, frozenset(callers))
            found[service.hosts[0]] = (*found.get(service.hosts[0], ()), check)
    return found


def _first_witness(plane: Plane) -> str:
    if not plane.control.witness:
        return ""
    return f"witness-{plane.addresses(plane.control.witness)[0].version}"


def counts(plane: Plane) -> dict[tuple[str, str], Mapping[str, int]]:
    """By (service, host), how many callers the controller and the witness have refused, as their logs tell."""
    found: dict[tuple[str, str], Mapping[str, int]] = {}
    witness = _first_witness(plane)
    for name, processes, words in (
        (plane.control.controller, ("controller",), "refused a connection from "),
        (plane.control.witness, ("witness-4", "witness-6") if witness else (), "witness:caller:refused"),
    ):
        if name:
            refused = sum(_log(plane, process).count(words) for process in processes)
            found[name, plane.serving(name)[0]] = {"caller-not-allowed": refused}
    return found


# --- processes -----------------------------------------------------------------------------------------------------


def _start(plane: Plane, name: str, host: str, words: list[str]) -> None:
    log = os.open(plane.directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with netns.inside(plane.place(host)):
            child = subprocess.Popen(
                [sys.executable, "-m", "ringfort", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
    finally:
        os.close(log)
    child.returncode = 0  # it stays; nobody waits for it
    _note(plane, name, Process.of(child.pid))


def _note(plane: Plane, name: str, process: Process) -> None:
    noted = state.load(plane.environment.name, RECORD)
    state.save(plane.environment.name, RECORD, noted | {name: asdict(process)})


def _running(plane: Plane, name: str) -> Process | None:
    entry = state.load(plane.environment.name, RECORD).get(name)
    process = Process(int(entry["pid"]), str(entry["started"])) if entry else None
    return process if process is not None and process.is_running else None


def _end(plane: Plane, name: str) -> None:
    process = _running(plane, name)
    if process is not None:
        process.end()


def _last_words(plane: Plane, name: str) -> str:
    lines = _log(plane, name).strip().splitlines()
    return lines[-1] if lines else "no reason given"


def _log(plane: Plane, name: str) -> str:
    try:
        return (plane.directory / f"{name}.log").read_text(errors="replace")
    except OSError:
        return ""


def end(environment: str) -> bool:
    """End everything of a lab's control plane, nodes first; whether anything ran."""
    processes = [Process(int(e["pid"]), str(e["started"])) for e in state.load(environment, RECORD).values()]
    alive = [process for process in processes if process.is_running]
    for process in alive:
        os.kill(process.pid, signal.SIGCONT)  # one that was paused could not end
        os.kill(process.pid, signal.SIGTERM)
    for process in alive:
        process.end()
    return bool(alive)


def pause(plane: Plane, device: Device, *, on: bool) -> None:
    """Stop the node of a device where it is, or let it go on: a mechanism that is switched off would be mended."""
    process = _running(plane, plane.node_of(device))
    if process is not None:
        os.kill(process.pid, signal.SIGSTOP if on else signal.SIGCONT)


def _until(
    done: Callable[[], bool], seconds: float, code: str, message: str, detail: Callable[[], str] = lambda: ""
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            words = detail()
            raise RingfortError(code, f"{message}: {words}" if words else message, "run `ringfort up` again")
        time.sleep(POLL_SECONDS)
