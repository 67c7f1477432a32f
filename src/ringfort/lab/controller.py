"""A lab's controller: its configuration, started and stopped."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator

from ringfort.audit import keys as audit_keys
from ringfort.audit.notes import COSIGNATURE
from ringfort.compute.sealing import KEY_BYTES
from ringfort.errors import RingfortError
from ringfort.gateway.haproxy import LOOPBACK
from ringfort.lab import approvers, authority, processes, public_names, state
from ringfort.lab.plane import Plane, Progress, literal

START_SECONDS = 30.0
NAME = processes.CONTROLLER
"""Of its process."""
DATA_KEY = "data.key"
"""The file of the key that wraps customers' keys."""


def stop(plane: Plane) -> None:
    """End the controller's process as a machine that is lost would: without a word."""
    process = processes.running(plane, NAME)
    if process is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.end()


def begin(plane: Plane, progress: Progress) -> None:
    """Start the controller if it doesn't run with the configuration that is due; it answers a little later."""
    host, _ = plane.serving(plane.control.controller)
    text = _configuration(plane)
    key = plane.directory / DATA_KEY
    if not key.exists():
        state.write_private(key, secrets.token_bytes(KEY_BYTES))
    if plane.environment.gateway is not None:
        public_names.ensure(plane)
    file = plane.directory / "controller.toml"
    is_same = file.exists() and file.read_text() == text
    if processes.running(plane, NAME) is not None and is_same:
        return
    processes.end_one(plane, NAME)
    state.write_private(file, text.encode())
    progress("starting the controller")
    processes.start(plane, NAME, host, ["controller", "--config", str(file)])


def start(plane: Plane, progress: Progress) -> None:
    """`begin`, and return when it answers."""
    begin(plane, progress)
    words = f"the controller doesn't answer; see its log in {plane.directory}"
    processes.until(lambda: _answers(plane), START_SECONDS, "controller-failed", words)


def _configuration(plane: Plane) -> str:
    port = plane.serving(plane.control.controller)[1]
    listen = [f"{literal(address)}:{port}" for address in plane.addresses(plane.control.controller)]
    behind = plane.control.customers  # its enforcement point is in front
    lines = [
        f"database = {json.dumps(f'sqlite:///{plane.directory}/controller.db')}",
        f"credential = {json.dumps(plane.credential(plane.control.controller))}",
        f"authority = {json.dumps(str(plane.keys / authority.AUTHORITY))}",
        f"online_key = {json.dumps(str(approvers.key_file(plane.directory / 'approvers', approvers.ONLINE)))}",
        f"approvers_root = {json.dumps(str(approvers.root_file(plane.directory / 'approvers')))}",
        f"data_key = {json.dumps(str(plane.directory / DATA_KEY))}",
        *(_public_authority(plane) if plane.environment.gateway is not None else ()),
        "[listen]",
        f"platform = {json.dumps(listen)}",
        *([f"door = {json.dumps([f'{LOOPBACK}:{plane.serving(plane.control.customers)[1]}'])}"] if behind else []),
    ]
    for name, roles in plane.roles.items():
        lines += [f"[operators.{name}]", f"roles = {json.dumps(roles)}"]
    if plane.control.witness:
        host, witness_port = plane.serving(plane.control.witness)
        url = f"https://{literal(plane.environment.hosts[host].addresses[0])}:{witness_port}"
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


def _public_authority(plane: Plane) -> Iterator[str]:
    yield f"# issues for {', '.join(public_names.domains(plane))}"  # others take a new start
    yield f"public_authority = {json.dumps(str(public_names.directory(plane)))}"


def _answers(plane: Plane) -> bool:
    if processes.running(plane, NAME) is None:
        raise RingfortError("controller-failed", f"the controller ended: {processes.last_words(plane, NAME)}")
    try:
        with plane.calling() as client:
            client.get("/v1/environment")
    except RingfortError as error:
        if error.code == "controller-unreachable":
            return False
        raise
    return True
