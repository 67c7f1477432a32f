"""``ringfort controller key``: the key that wraps customers' keys, and another one in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ringfort.cli.as_customer import DRY_RUN
from ringfort.cli.calling import TICKET, connected, platform_client
from ringfort.cli.output import FORMAT

_EXAMPLES = """
\b
Examples:
  ringfort controller key show
  ringfort controller key rotate --ticket CHG-52
"""


@click.group("key", epilog=_EXAMPLES)
def key() -> None:
    """The platform's key, which wraps customers' keys: show, rotate."""


@key.command("show")
@FORMAT
@connected
def show(format_: str, controller: str, credential: Path | None, bundle: Path) -> None:
    """Show which keys the controller holds, and how many customers' keys each wraps; by names, not the keys."""
    with platform_client(controller, credential, bundle) as client:
        _print(client.get("/v1/data-key"), format_)


@key.command("rotate")
@TICKET
@DRY_RUN
@FORMAT
@connected
def rotate(ticket: str, dry_run: bool, format_: str, controller: str, credential: Path | None, bundle: Path) -> None:
    """Wrap every customer's key with the controller's data_key, in place of its former_data_key.

    All of them or none, in one transaction. Until then, and while former_data_key is configured, both are accepted.
    """
    with platform_client(controller, credential, bundle) as client:
        if dry_run:
            found = client.get("/v1/data-key")
            others = sum(count for name, count in found["wraps"].items() if name != found["key"])
            click.echo(f"would wrap {others} customers' keys anew; now:", err=format_ == "json")
        else:
            found = client.call("POST", "/v1/data-key/rotation", reason=ticket)
        _print(found, format_)


def _print(found: dict[str, Any], format_: str) -> None:
    if format_ == "json":
        click.echo(json.dumps(found, indent=2))
        return
    names = {found["key"]: "in use", found["former"]: "former"}
    for name in sorted({*names, *found["wraps"]} - {""}):
        count = found["wraps"].get(name, 0)
        click.echo(f"{name}  {names.get(name, 'not held here'):13}  wraps {count} customers' keys")
