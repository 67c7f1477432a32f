"""``ringfort explain``: why a packet gets through, or what refuses it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import FORMAT, results

if TYPE_CHECKING:
    from rich.console import Console

    from ringfort.proof.explain import Explanation
    from ringfort.proof.verdict import Hop

DECISIONS = {"accepts": "green", "translates": "green", "refuses": "red", "failed": "yellow"}


@click.command(
    epilog="""\b
Examples:
  ringfort explain examples/shop web-n-1 app
  ringfort explain examples/shop north/edge db-n-1 tcp/5432
  ringfort explain examples/shop internet 198.51.100.4 tcp/443 --live
  ringfort explain examples/shop router:north-r1 database --without host-firewall:db-n-1
\b
Exit code: 0 the packet gets through, 1 it is refused, 2 bad input, 3 unknown because of a rule.
"""
)
@click.argument("environment", metavar="ENV")
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@click.argument("service", metavar="[PROTO/PORT]", default="", required=False)
@click.option("--live", is_flag=True, help="Ask the running devices for their rules instead of compiling them.")
@click.option("--without", multiple=True, metavar="MECHANISM", help="As if it were gone: router-filter:north-r1 ...")
@click.option("--ipv6", is_flag=True, help="Over IPv6; without it over IPv4 where both ends have it.")
@FORMAT
def command(
    environment: str, source: str, destination: str, service: str, live: bool, without: tuple[str, ...], ipv6: bool,
    format_: str,
) -> None:  # fmt: skip
    """Follow a packet hop by hop: which rule of which device decides.

    FROM is a host, a segment (its first host), internet, internet:SITE/PROVIDER or router:NAME. TO is a host, a service
    (its first host) or an address. PROTO/PORT is tcp/443, udp/53 or icmp; left out, it is the service's.
    """
    from ringfort.cli.verify import rules_of
    from ringfort.environment.load import load
    from ringfort.proof.explain import Ask, explain

    loaded = load(environment)
    documents, checks = rules_of(loaded, live=live)
    ask = Ask(source, destination, service, without, 6 if ipv6 else 0)
    explanation = explain(loaded, documents, checks, ask)
    if format_ == "json":
        click.echo(json.dumps(explanation.to_json(), indent=2))
    else:
        print_explanation(results(), explanation)
    sys.exit(explanation.exit_code)


def print_explanation(console: Console, explanation: Explanation) -> None:
    """The packet, its way, and what that means."""
    console.print(str(explanation.packet), markup=False, style="bold")
    declared = f"declared by flow {explanation.declared}" if explanation.declared else "no flow declares it"
    console.print(declared, markup=False)
    console.print()
    for hop in explanation.path:
        _print_hop(console, hop)
    console.print()
    for way in explanation.otherwise:
        console.print(f"otherwise {way}", markup=False)
    if explanation.possible:
        colour = "green" if explanation.declared else "red"
        console.print(f"[{colour}]it gets through[/{colour}]")
    else:
        owners = "one owner" if explanation.depth == 1 else f"{explanation.depth} owners"
        colour = "red" if explanation.declared else "green"
        console.print(f"[{colour}]refused[/{colour}] by {owners}: ", end="")
        console.print(", ".join(explanation.refusing), markup=False)
    if not explanation.certain:
        console.print("[yellow]unknown[/yellow]: a rule on the way is not understood")


def _print_hop(console: Console, hop: Hop) -> None:
    colour = DECISIONS[hop.decision.value]
    console.print(f"[{colour}]{hop.decision.value:>10}[/{colour}]  ", end="")
    console.print(hop.mechanism or hop.device, markup=False)
    if hop.rule:
        console.print(f"            {hop.rule}", markup=False, style="dim")
    place = "  ".join(part for part in (hop.rule_place, f"{hop.flow} {hop.origin}".strip()) if part)
    if place:
        console.print(f"            {place}", markup=False, style="dim")
