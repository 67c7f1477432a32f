"""``ringfort gateway``: an edge host's work by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import FORMAT, notices

if TYPE_CHECKING:
    from ringfort.gateway.edge.model import Edge

DIRECTORY = click.option(
    "-d", "--directory", default="/run/ringfort/edge", show_default=True, metavar="DIR", help="The edge's files."
)
FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group(
    epilog="""\b
Examples:
  ringfort gateway apply edge.json
  ringfort gateway show edge.json
  ringfort gateway stop
"""
)
def command() -> None:
    """Serve public endpoints of applications from this host: its edge, in the network namespace that one is in."""


@command.command(
    epilog="""\b
Example:
  ringfort gateway apply edge.json --leave 60
"""
)
@FILE
@DIRECTORY
@click.option("--leave", default=30.0, show_default=True, metavar="SECONDS", help="For visitors of a former instance.")
@click.option("--come", default=30.0, show_default=True, metavar="SECONDS", help="For a new instance to become well.")
def apply(file: Path, directory: str, leave: float, come: float) -> int:
    """Serve exactly what FILE says, with as little change as it takes; 1 if a name gets no TLS or visitors are left."""
    from ringfort.gateway import process
    from ringfort.gateway.edge import running
    from ringfort.gateway.edge.render import Place
    from ringfort.lab.state import write_private

    place = Place(directory, process.account())
    done = running.apply(_read(file), place, write_private, leave=leave, come=come)
    click.echo(done.process)
    for backend in done.replaced:
        click.echo(f"replaced {backend}")
    for name, why in sorted(done.without.items()):
        notices().print(f"{name} gets no TLS: {why}", markup=False)
    if done.left:
        notices().print(f"{done.left} connections to former instances still stand")
    return 1 if done.without or done.left else 0


@command.command(
    epilog="""\b
Example:
  ringfort gateway show edge.json --format json
"""
)
@FILE
@DIRECTORY
@FORMAT
def show(file: Path, directory: str, format_: str) -> int:
    """Every instance of FILE as the running edge has it. 1 if the edge is not exactly what FILE says."""
    from ringfort.gateway import process
    from ringfort.gateway.edge import running, servers
    from ringfort.gateway.edge.render import Place, backends

    edge, place = _read(file), Place(directory, process.account())
    is_current = running.is_current(edge, place)
    rows = [
        {
            "backend": backend, "instance": name, "place": one.server.place, "up": one.is_up, "leaving": one.is_leaving,
            "visits": one.visits,
        }
        for backend in backends(edge)
        for name, one in servers.running(place, backend).items()
    ]  # fmt: skip
    if format_ == "json":
        click.echo(json.dumps({"current": is_current, "instances": rows}, indent=2))
    else:
        for row in rows:
            state = "leaving" if row["leaving"] else "up" if row["up"] else "down"
            click.echo(f"{row['backend']}/{row['instance']}  {row['place']}  {state}  {row['visits']} visits")
        click.echo("as the file says" if is_current else "not as the file says")
    return 0 if is_current else 1


@command.command(
    epilog="""\b
Example:
  ringfort gateway stop
"""
)
@DIRECTORY
def stop(directory: str) -> None:
    """End the edge on this host. Visitors are cut off: let another host take the address first."""
    from ringfort.gateway import process
    from ringfort.gateway.edge.render import Place

    click.echo("ended" if process.end(Place(directory)) else "none ran")


def _read(file: Path) -> Edge:
    from ringfort.gateway.edge.document import read
    from ringfort.gateway.edge.model import EdgeError

    try:
        return read(file.read_bytes())
    except OSError as error:
        raise EdgeError("edge-document", f"{file} can't be read: {error.strerror}") from error
