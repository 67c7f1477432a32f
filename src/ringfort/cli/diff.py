"""``ringfort diff``: what one environment allows and another does not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console

from ringfort.cli.output import FORMAT, results
from ringfort.environment.accesses import Access, FlowAccesses
from ringfort.environment.difference import Difference

EXAMPLES = 3
"""Communications shown of each flow in text; JSON has all of them."""


@click.command(
    epilog="""\b
Examples:
  ringfort diff old/environment.yaml new/environment.yaml
  ringfort diff examples/shop my-shop --format json
"""
)
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@FORMAT
@click.pass_context
def command(ctx: click.Context, old: str, new: str, format_: str) -> None:
    """Tell what changes in meaning when environment B takes the place of A.

    Not in lines, but in communications opened and closed, and in what else differs: hosts, addresses, TLS, identities,
    published services. The exit code is 0 when both mean the same, 1 when they differ.
    """
    from ringfort.environment.difference import difference
    from ringfort.environment.load import load

    result = difference(load(old), load(new))
    if format_ == "json":
        click.echo(json.dumps(as_json(result), indent=2))
    else:
        print_difference(results(), result)
    ctx.exit(1 if result else 0)


def as_json(result: Difference) -> dict[str, Any]:
    """The whole difference, for scripts."""
    return {
        "same": not result,
        "opened": [_flow_json(flow) for flow in result.opened],
        "closed": [_flow_json(flow) for flow in result.closed],
        "published": list(result.published),
        "withdrawn": list(result.withdrawn),
        "added": list(result.added),
        "removed": list(result.removed),
        "changed": [
            {
                "subject": change.subject,
                "attribute": change.attribute.replace("_", "-"),
                "before": change.before,
                "after": change.after,
            }
            for change in result.changed
        ],
    }


def _flow_json(flow: FlowAccesses) -> dict[str, Any]:
    accesses = [
        {
            "from": access.caller or "internet",
            "to": access.target,
            "family": access.family,
            "protocol": str(access.protocol),
            "ports": [str(ports) for ports in access.ports],
        }
        for access in flow.accesses
    ]
    return {"flow": flow.flow, "from": flow.source, "to": flow.service, "communications": accesses}


def print_difference(console: Console, result: Difference) -> None:
    """The difference for people: what opens first."""
    if not result:
        console.print("[green]same[/green]  both environments mean the same")
        return
    for flow in result.opened:
        _print_flow(console, "[red]opened[/red]", flow)
    for flow in result.closed:
        _print_flow(console, "[green]closed[/green]", flow)
    _print_lines(console, "[red]published[/red]", result.published)
    _print_lines(console, "[green]withdrawn[/green]", result.withdrawn)
    _print_lines(console, "added", result.added)
    _print_lines(console, "removed", result.removed)
    for change in result.changed:
        attribute = change.attribute.replace("_", " ")
        console.print(f"changed  {change.subject}: {attribute}: {change.before or 'none'} -> {change.after or 'none'}")


def _print_flow(console: Console, word: str, flow: FlowAccesses) -> None:
    pairs = {(access.caller, access.target): access for access in flow.accesses}
    joined = f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''} of hosts"
    if all(access.caller == "" for access in flow.accesses):
        joined = f"{len(pairs)} host{'s' if len(pairs) != 1 else ''}"
    console.print(f"{word}  flow {flow.flow}: {flow.source} -> {flow.service}, {joined}")
    for pair, access in list(pairs.items())[:EXAMPLES]:
        families = sorted({item.family for item in flow.accesses if (item.caller, item.target) == pair})
        over = " and ".join(f"IPv{family}" for family in families)
        console.print(f"    {access.caller or 'internet'} -> {access.target} {_service(access)} over {over}")
    if len(pairs) > EXAMPLES:
        console.print(f"    and {len(pairs) - EXAMPLES} more")


def _service(access: Access) -> str:
    return "/".join([str(access.protocol), *([",".join(map(str, access.ports))] if access.ports else [])])


def _print_lines(console: Console, word: str, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(f"{word}  {line}")
