"""``ringfort instance``: where customers' instances are, for the platform's people; nothing of what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringfort.cli.as_customer import DRY_RUN
from ringfort.cli.calling import TICKET, connected, platform_client
from ringfort.cli.output import FORMAT

if TYPE_CHECKING:
    from ringfort.control.client import Client

_EXAMPLES = """
\b
Examples:
  ringfort instance list
  ringfort instance stop i-3f1c0d2a9b7e --ticket INC-8
  ringfort instance move i-3f1c0d2a9b7e --to rack-2 --ticket CHG-31
"""

_INSTANCE = click.argument("instance", metavar="INSTANCE")


@click.group("instance", epilog=_EXAMPLES)
def command() -> None:
    """Instances of customers' applications: list, stop, start, move.

    Software, configuration, secrets, logs and disks are the customer's, and shown to nobody else.
    """


@command.command("list")
@FORMAT
@connected
def list_(format_: str, controller: str, credential: Path | None, bundle: Path) -> None:
    """List all instances: whose they are, where they are, how they are."""
    with platform_client(controller, credential, bundle) as client:
        found = client.get("/v1/instances")["instances"]
    click.echo(json.dumps(found, indent=2) if format_ == "json" else "\n".join(map(_line, found)))


@command.command("stop")
@_INSTANCE
@TICKET
@DRY_RUN
@FORMAT
@connected
def stop(
    instance: str, ticket: str, dry_run: bool, format_: str, controller: str, credential: Path | None, bundle: Path
) -> None:
    """Stop INSTANCE until it is started again here, whatever its customer wants."""
    with platform_client(controller, credential, bundle) as client:
        _ordered(client, instance, "stop", None, ticket, dry_run, format_)


@command.command("start")
@_INSTANCE
@TICKET
@DRY_RUN
@FORMAT
@connected
def start(
    instance: str, ticket: str, dry_run: bool, format_: str, controller: str, credential: Path | None, bundle: Path
) -> None:
    """Let INSTANCE go that was stopped here: then it is as its customer wants it."""
    with platform_client(controller, credential, bundle) as client:
        _ordered(client, instance, "start", None, ticket, dry_run, format_)


@command.command("move")
@_INSTANCE
@click.option("--to", "node", metavar="NODE", help="Where to; away from where it is by default.")
@TICKET
@DRY_RUN
@FORMAT
@connected
def move(
    instance: str,
    node: str | None,
    ticket: str,
    dry_run: bool,
    format_: str,
    controller: str,
    credential: Path | None,
    bundle: Path,
) -> None:
    """Move INSTANCE to another node."""
    with platform_client(controller, credential, bundle) as client:
        _ordered(client, instance, "move", {"node": node}, ticket, dry_run, format_)


def _ordered(client: Client, instance: str, what: str, body: object, ticket: str, dry_run: bool, format_: str) -> None:
    if dry_run:
        found = [one for one in client.get("/v1/instances")["instances"] if one["instance"] == instance]
        if not found:
            raise click.UsageError(f"there is no instance {instance}")
        answer = found[0]
        click.echo(f"would {what} it; now:", err=format_ == "json")
    else:
        answer = client.call("POST", f"/v1/instances/{instance}/{what}", body, reason=ticket)
    click.echo(json.dumps(answer, indent=2) if format_ == "json" else _line(answer))


def _line(one: dict[str, Any]) -> str:
    more = "  stopped here" if one["held"] else ""
    more += f"  waits: {one['reason']}" if one["reason"] else ""
    where = f"{one['place']} on {one['node']}" if one["place"] else "-"
    owner = f"{one['customer']}/{one['application']}"
    return f"{one['instance']}  {owner:30}  {where:25}  {one['reported'] or one['state']}{more}"
