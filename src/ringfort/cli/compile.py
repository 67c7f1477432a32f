"""``ringfort compile``: the declaration as nftables rulesets."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import click

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, devices
from ringfort.errors import RingfortError


@click.command(
    epilog="""\b
Examples:
  ringfort compile examples/shop --device router:north-r1
  ringfort compile examples/shop --device switch:north/edge --format json
  ringfort compile examples/shop --out rulesets
"""
)
@click.argument("environment", metavar="ENV")
@click.option(
    "--device",
    "name",
    metavar="NAME",
    help="Only this one: router:NAME, switch:SITE/SEGMENT, host:NAME or sandbox:NAME.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["nft", "json"]),
    default="nft",
    show_default=True,
    help="Text for `nft --file`, or what `nft --json list ruleset` would give.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write one file for each device into DIR, with kernel settings and an index, instead of printing.",
)
def command(environment: str, name: str | None, format_: str, out: Path | None) -> None:
    """Compile the declaration ENV into one nftables ruleset for each device.

    Nothing is applied. A file of --out or a ruleset printed with --device is one transaction for `nft --file`: it
    replaces the table ringfort of that machine wholly or not at all.
    """
    from ringfort.environment.load import load

    if out is not None and name is not None:
        raise click.UsageError("--out writes every device; leave out --device")
    loaded = load(environment)
    if out is not None:
        _write(loaded, format_, out)
    else:
        _print(loaded, _chosen(loaded, name), format_)


def find_device(environment: Environment, name: str) -> Device:
    """The device called ``name``, such as ``router:north-r1``; the bare name will do where only one device has it.

    Raises:
        RingfortError: there is none, or several, of that name; the hint says which come near.
    """
    every = {str(device): device for device in devices(environment)}
    if name in every:
        return every[name]
    same = [text for text, device in every.items() if device.name == name]
    if len(same) == 1:
        return every[same[0]]
    near = same or sorted(difflib.get_close_matches(name, every, n=3)) or _near_bare(name, every)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "a device is router:NAME, switch:SITE/SEGMENT, host:NAME or sandbox:NAME"
    )
    what = f"several devices are called {name!r}" if same else f"no device is called {name!r}"
    raise RingfortError("unknown-device", f"{what} in {environment.name}", hint)


def _near_bare(name: str, every: dict[str, Device]) -> list[str]:
    bare = {device.name: text for text, device in every.items()}
    return [bare[near] for near in difflib.get_close_matches(name.partition(":")[2] or name, bare, n=3)]


def _chosen(environment: Environment, name: str | None) -> list[Device] | Device:
    return list(devices(environment)) if name is None else find_device(environment, name)


def _print(environment: Environment, chosen: list[Device] | Device, format_: str) -> None:
    from ringfort.network.compile import Compiler

    compiler = Compiler(environment)
    if isinstance(chosen, Device):
        ruleset = compiler.device(chosen)
        click.echo(ruleset.text if format_ == "nft" else json.dumps(ruleset.document, indent=2), nl=format_ == "json")
    elif format_ == "json":
        documents = (f"{json.dumps(str(device))}: {json.dumps(compiler.device(device).document)}" for device in chosen)
        click.echo("{")
        for number, text in enumerate(documents, start=1):
            click.echo(text + ("," if number < len(chosen) else ""))
        click.echo("}")
    else:
        for device in chosen:
            click.echo(f"# ---- {device}\n{compiler.device(device).text}")


def _write(environment: Environment, format_: str, out: Path) -> None:
    from ringfort.cli.directory import replace_directory
    from ringfort.network.export import export

    change = replace_directory(out, export(environment, format_))
    for path in change.edited:
        click.echo(f"replaced {path}, which had been changed by hand", err=True)
    count = len(devices(environment))
    click.echo(
        f"{count} devices in {out}: {change.written} files written, {change.kept} as before, {change.removed} removed"
    )
