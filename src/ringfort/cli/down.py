"""``ringfort down``: remove everything that ``up`` made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import FORMAT, notices
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.lab.changes import Changes


@click.command(
    epilog="""\b
Examples:
  ringfort down examples/shop
  ringfort down shop            # by its name, when the file is gone
  ringfort down examples/shop --dry-run
"""
)
@click.argument("environment", metavar="ENV")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@FORMAT
def command(environment: str, dry_run: bool, format_: str) -> int:
    """Remove the lab of ENV (a file, a directory with an environment.yaml, or just the environment's name): its
    processes, network namespaces, keys and state. Nothing that somebody else made is touched; doing it twice is fine.
    """
    from ringfort.lab import rootless, state
    from ringfort.lab.changes import Changes
    from ringfort.lab.lab import LOCK_SECONDS
    from ringfort.lab.taking_down import take_down

    name = _name(environment)
    if rootless.has_nothing(name):
        _print(name, Changes(is_dry_run=dry_run, services="none"), format_)
        return 0
    rootless.enter(name, leave=not dry_run)
    with state.lock(name, LOCK_SECONDS, _say):
        changes = take_down(name, _say, dry_run=dry_run)
    _print(name, changes, format_)
    return 0


def _print(name: str, changes: Changes, format_: str) -> None:
    if format_ == "json":
        click.echo(json.dumps(changes.to_json(), indent=2))
        return
    if changes.is_dry_run:
        for namespace in changes.removed:
            click.echo(f"{namespace}: remove the namespace")
    would = "would be " if changes.is_dry_run else ""
    services = f", services {would}stopped" if changes.services == "stopped" else ""
    click.echo(f"{name}: {len(changes.removed)} namespaces {would}removed{services}")


def _say(words: str) -> None:
    notices().print(words, style="dim")


def _name(environment: str) -> str:
    """The environment's name: from its file, or as written when there is no such file.

    A declaration that no longer loads must not keep its lab up: its name alone is enough.
    """
    from ringfort.environment.load import load

    if Path(environment).exists():
        return load(environment).name
    if re.fullmatch(r"[a-z][a-z0-9-]{0,62}", environment) is None:
        raise RingfortError(
            "no-such-file", f"there is no file {environment!r}", "give the file, or the environment's name"
        )
    return environment
