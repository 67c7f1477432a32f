"""A lab's nodes: one for every machine, in its host's namespace; started, enrolled, asked what they say, paused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ringfort.control.client import Client
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.kernel import netns
from ringfort.kernel.processes import Process
from ringfort.lab import approvers, gates, processes, state
from ringfort.lab.plane import REASON, Plane, Progress, literal
from ringfort.lab.shapes import namespace_name
from ringfort.node import configuration as configurations
from ringfort.node.disk import Disk
from ringfort.node.enrolment import enrol as enrol_node
from ringfort.node.spawn import Start

START_SECONDS = 30.0
CONFIRM_SECONDS = 60.0
AT_ONCE = 3
"""Machines that are enrolled side by side."""


def start(plane: Plane, created: Iterable[str], progress: Progress) -> int:
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
        if processes.running(plane, host) is not None and is_same and not spaces & renewed:
            _signal(plane, host, signal.SIGCONT)  # a drill that was killed may have stopped it
            continue
        processes.end_one(plane, host)
        state.write_private(file, text.encode())
        base = str(plane.node_directory(host))
        starts.append(Start(host, str(file), plane.place(host), f"{base}/pid", f"{base}/log"))
    for directory in _others(plane):
        processes.end_one(plane, directory.name)
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
        f"{literal(address)}:{port}" for address in plane.addresses(plane.control.controller) if address.version in own
    ]
    lines = [
        f"name = {json.dumps(host)}",
        f"trust-domain = {json.dumps(plane.environment.trust_domain)}",
        f"controllers = {json.dumps(controllers)}",
        f"state = {json.dumps(str(plane.node_directory(host) / 'state'))}",
        f"runtime = {json.dumps(str(gates.root(plane.environment.name)))}",
        "[devices]",
    ]
    for device in devices:
        space = "" if str(device) == f"host:{host}" else namespace_name(plane.environment, device)
        lines.append(f"{json.dumps(str(device))} = {json.dumps(space)}")
    witness = plane.control.witness
    if witness and host == plane.node_of(Device(DeviceKind.HOST, plane.serving(witness)[0])):
        identity = plane.environment.services[witness].identity
        lines += ["[certificates]", f"{json.dumps(identity)} = {json.dumps(plane.credential(witness))}"]
    places = [device.name for device in devices if device.kind is DeviceKind.SANDBOX]
    if places:
        lines.append("[places]")
        lines += [f"{json.dumps(name)} = {json.dumps(plane.place(name))}" for name in places]
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
        processes.note(plane, name, Process.of(int(pid)))
    wanted = {start.name for start in starts}
    processes.until(
        lambda: all(_holds_rules(plane, host) for host in wanted), START_SECONDS, "nodes-failed", "nodes load no rules"
    )


def _holds_rules(plane: Plane, host: str) -> bool:
    status = Disk(plane.node_directory(host) / "state").status()
    process = processes.running(plane, host)
    return status is not None and process is not None and status["pid"] == process.pid and bool(status["devices"])


def enrol(plane: Plane, client: Client, progress: Progress) -> None:
    """Bring in every machine that the controller doesn't know, each with a token of its own, from its own host."""
    known = {node["name"] for node in client.get("/v1/nodes")["nodes"] if node["state"] == "active"}
    root = approvers.root_file(plane.directory / "approvers").read_bytes()
    missing = [host for host in plane.nodes if host not in known or not _is_enrolled(plane, host)]
    if missing:
        progress(f"enrolling {len(missing)} machines")
    with ThreadPoolExecutor(AT_ONCE) as pool:  # the controller works for some while others get their tokens
        enrolling = []
        for host in missing:
            found = plane.environment.hosts[host]
            form = {"node": host, "site": found.site, "addresses": [str(a) for a in found.addresses], "minutes": 10}
            token = client.call("POST", "/v1/enrolment-tokens", form, reason=REASON)["token"]
            enrolling.append(pool.submit(_enrol_one, plane, host, token, root))
        for one in enrolling:
            one.result()


def _enrol_one(plane: Plane, host: str, token: str, root: bytes) -> None:
    with netns.inside(plane.place(host)):
        enrol_node(configurations.read(plane.node_directory(host) / "node.toml"), token, root)


def _is_enrolled(plane: Plane, host: str) -> bool:
    return (plane.node_directory(host) / "state" / "identity" / "node.pem").exists()


def confirmed(plane: Plane, version: int, progress: Progress) -> None:
    """Wait until every node has confirmed a version.

    Raises:
        RingfortError: one hasn't in time; it is said which, and why.
    """
    progress(f"waiting for {len(plane.nodes)} nodes to confirm version {version}")
    processes.until(
        lambda: not unconfirmed(plane, version), CONFIRM_SECONDS, "nodes-unconfirmed",
        f"not every node confirms version {version}", lambda: ", ".join(unconfirmed(plane, version)[:5]),
    )  # fmt: skip


def unconfirmed(plane: Plane, version: int) -> list[str]:
    """The nodes that don't enforce a version yet, rules and enforcement points, or have not confirmed it; with why."""
    found = []
    for host, status in statuses(plane).items():
        if status.get("state") != "confirmed" or status.get("enforced") != version:
            found.append(f"{host} ({status.get('state', 'says nothing')}; controller: {status.get('controller', '')})")
        else:
            parts = [*status["points"].items(), *status.get("gateway", {}).items()]
            found += [f"{host} ({part}: {words})" for part, words in parts if words]
    return found


def statuses(plane: Plane) -> dict[str, Mapping[str, Any]]:
    """What each node says of itself, by the host where it runs; empty for one that never said anything."""
    return {host: Disk(plane.node_directory(host) / "state").status() or {} for host in plane.nodes}


def pause(plane: Plane, devices: Iterable[Device]) -> None:
    """Stop the nodes of some devices where they are: they would mend a mechanism that is switched off."""
    for host in {plane.node_of(device) for device in devices}:
        _signal(plane, host, signal.SIGSTOP)


def resume(plane: Plane, devices: Iterable[Device]) -> None:
    """Let the nodes of some devices go on."""
    for host in {plane.node_of(device) for device in devices}:
        _signal(plane, host, signal.SIGCONT)


def _signal(plane: Plane, host: str, number: signal.Signals) -> None:
    process = processes.running(plane, host)
    if process is not None:
        os.kill(process.pid, number)
