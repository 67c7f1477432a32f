"""``ringfort node``: the one process on each machine that enforces what is declared."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ringfort.cli.output import FORMAT, notices
from ringfort.errors import RingfortError

CONFIGURATION = click.option(
    "-c",
    "--config",
    "configuration",
    type=click.Path(path_type=Path),
    default=Path("/etc/ringfort/node.toml"),
    show_default=True,
    metavar="FILE",
    help="The node's configuration.",
)


@click.group(
    epilog="""\b
Examples:
  ringfort node enrol rft1_... --root 1.root.json
  ringfort node run --config /etc/ringfort/node.toml
  ringfort node status
"""
)
def command() -> None:
    """This machine's part: take the signed environment, enforce it, watch over it, report.

    Without any environment a node refuses everything but its controllers: have another way to the machine than its
    network when you start one for the first time.
    """


@command.command(
    epilog="""\b
Example:
  ringfort node run --config /etc/ringfort/node.toml
"""
)
@CONFIGURATION
def run(configuration: Path) -> None:
    """Enforce, until SIGTERM. The rules stay in the kernel when the node ends, however it ends."""
    # A process of its own: what the command line needs would double what a node takes of the memory.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ringfort.node", str(configuration)])  # noqa: S606


@command.command(
    epilog="""\b
Examples:
  ringfort node enrol rft1_... --root 1.root.json
  ringfort node enrol - < token        # so that it shows in no list of processes
"""
)
@click.argument("token")
@CONFIGURATION
@click.option(
    "--root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The root of those who approve environments (1.root.json); needed the first time.",
)
def enrol(token: str, configuration: Path, root: Path | None) -> None:
    """Make this machine a node, with a TOKEN that was made for it (`ringfort enrol`); "-" reads it from stdin.

    A token is good once, for minutes. The root comes with it, over the same trusted way: it says whose signatures make
    an environment, and no controller may choose that.
    """
    from ringfort.node import configuration as configurations
    from ringfort.node.enrolment import enrol as enrol_

    line = sys.stdin.readline() if token == "-" else token  # noqa: S105
    document = _read(root) if root is not None else None
    known = configurations.read(configuration)
    expires = enrol_(known, line, document)
    click.echo(f"{known.name} is enrolled; its certificate is valid until {expires} and renewed by itself")
    notices().print("start it now: systemctl enable --now ringfort-node")


@command.command(
    epilog="""\b
Examples:
  ringfort node status
  ringfort node status --format json
"""
)
@CONFIGURATION
@FORMAT
def status(configuration: Path, format_: str) -> int:
    """What the node enforces, as it said last: exit code 0 if it runs, its version is confirmed and callers are
    checked, else 1."""
    from ringfort.node import configuration as configurations
    from ringfort.node.disk import Disk

    known = configurations.read(configuration)
    disk = Disk(known.state)
    said, runs = disk.status(), disk.is_held()
    if format_ == "json":
        click.echo(json.dumps({"runs": runs, **(said or {})}, indent=2))
    else:
        _tell(known.name, said, runs)
    is_well = runs and said is not None and said["state"] == "confirmed"
    troubles = {**said.get("points", {}), **said.get("gateway", {})} if said is not None else {}
    return 0 if is_well and not any(troubles.values()) else 1


def _tell(name: str, said: dict[str, Any] | None, runs: bool) -> None:
    if said is None:
        click.echo(f"{name}: has never run here")
        return
    what = f"version {said['enforced']}" if said["enforced"] else "nothing but the way to the controllers"
    signers = f", signed by {', '.join(said['signers'])}" if said["signers"] else ""
    click.echo(f"{name}: {'runs' if runs else 'does not run; the rules stay'}, {said['state']}: {what}{signers}")
    click.echo(f"controller: {said['controller']}")
    click.echo(f"certificate: valid until {said['certificate-expires'] or 'it is enrolled'}")
    for device, digest in said["devices"].items():
        click.echo(f"{device}: {digest[:16]}")
    for host, trouble in said.get("points", {}).items():
        click.echo(f"callers of {host}: {trouble or 'checked'}")
    for host, trouble in said.get("gateway", {}).items():
        click.echo(f"public names at {host}: {trouble or 'answered'}")
    if said["taken-back"]:
        click.echo(f"taken back: {said['taken-back']}")
    for table in said["foreign"]:
        click.echo(f"{table}: of somebody else")
    for waiting in said["waiting"]:
        click.echo(f"not told yet: {waiting['kind']}: {waiting['what']}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RingfortError("file-unreadable", f"{path}: {error.strerror}") from error
