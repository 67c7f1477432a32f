"""``ringfort check``: is the declaration sound?"""

from __future__ import annotations

import json
from typing import Any

import click

from ringfort.cli.output import FORMAT, print_error, results
from ringfort.environment.model import Environment
from ringfort.errors import DeclarationError


@click.command(
    epilog="""\b
Examples:
  ringfort check examples/shop
  ringfort check environment.yaml --format json
"""
)
@click.argument("environment", metavar="ENV")
@FORMAT
@click.pass_context
def command(ctx: click.Context, environment: str, format_: str) -> None:
    """Check the declaration ENV: a file, or a directory with an environment.yaml.

    Prints a summary, or all problems at once, each with its place, what stands there and what to do. The exit code is
    0 when there is no problem, 2 otherwise.
    """
    from ringfort.environment.load import load

    try:
        loaded = load(environment)
    except DeclarationError as error:
        if format_ == "text":
            print_error(error)
        else:
            click.echo(json.dumps(refusal(error), indent=2))
        ctx.exit(error.exit_code)
    if format_ == "json":
        click.echo(json.dumps({"result": "sound", **summary(loaded)}, indent=2))
    else:
        _print(loaded)


def refusal(error: DeclarationError) -> dict[str, Any]:
    """All problems of a declaration, for scripts."""
    problems = [
        {
            "code": problem.code,
            "file": problem.origin.file,
            "line": problem.origin.line,
            "column": problem.origin.column,
            "message": problem.message,
            "excerpt": problem.excerpt,
            "hint": problem.hint,
        }
        for problem in error.problems
    ]
    return {"result": "refused", "code": error.code, "message": error.message, "problems": problems}


def summary(environment: Environment) -> dict[str, Any]:
    """What is declared, in numbers."""
    return {
        "environment": environment.name,
        "trust-domain": environment.trust_domain,
        "sites": len(environment.sites),
        "routers": len(environment.routers),
        "providers": len(environment.providers),
        "segments": len(environment.segments),
        "hosts": len(environment.hosts),
        "services": len(environment.services),
        "flows": len(environment.flows),
        "pairs": sum(_pairs(environment, flow) for flow in environment.flows),
        "published": len(environment.published),
    }


def _pairs(environment: Environment, name: str) -> int:
    """How many pairs of hosts a flow joins; none for the internet's."""
    flow = environment.flows[name]
    targets = environment.services[flow.service].hosts
    return len(flow.callers) * len(targets) - len(set(flow.callers) & set(targets))


def _print(environment: Environment) -> None:
    numbers = summary(environment)
    console = results()
    console.print(f"[green]sound[/green]  {environment.name} ({environment.trust_domain})")
    for site in environment.sites.values():
        hosts = sum(len(environment.hosts_by_segment[key]) for key in site.segments)
        console.print(
            f"  site {site.name}: {len(site.routers)} routers, {len(site.providers)} providers, "
            f"{len(site.segments)} segments, {hosts} hosts"
        )
    console.print(f"  {numbers['services']} services, {numbers['published']} times published")
    console.print(f"  {numbers['flows']} flows between {numbers['pairs']} pairs of hosts; everything else is refused")
