"""``ringfort verify``: the promises over an environment, or questions about one ruleset."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import itself, results

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ringfort.environment.model import Environment
    from ringfort.proof.verdict import DepthEntry, Hop, Refutation, Verdict

COLOURS = {"proved": "green", "refuted": "red", "unknown": "yellow"}
SMALL_TABLE = 24
"""Segments up to which the table of depth is printed whole."""


@click.command(
    epilog="""\b
Examples:
  ringfort verify examples/shop                 the compiled rules
  ringfort verify examples/shop --live          the rules that every device really has loaded
  ringfort verify examples/shop --format html > verdict.html
  ringfort verify --ruleset rules.json          what one ruleset accepts (nft --json list ruleset > rules.json)
\b
Exit code: 0 proved, 1 refuted, 2 bad input, 3 unknown because of a rule.
"""
)
@click.argument("environment", metavar="[ENV]", required=False)
@click.option("--live", is_flag=True, help="Ask the running devices for their rules instead of compiling them.")
@click.option("--ruleset", "rulesets", multiple=True, metavar="FILE", help="Verify one ruleset, or compare two.")
@click.option(
    "--query", "queries", multiple=True, metavar="QUERY", help="With --ruleset: 'tcp to 10.1.2.3 port 22 in forward'?"
)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json", "html"]), default="text", help="How to print the result."
)
def command(
    environment: str | None, live: bool, rulesets: tuple[str, ...], queries: tuple[str, ...], format_: str
) -> None:
    """Prove open, closed, depth and confidential over the environment ENV; refute with a packet otherwise."""
    if rulesets:
        if environment or live:
            raise click.UsageError("--ruleset asks about files; leave out ENV and --live")
        from ringfort.cli import verify_ruleset

        sys.exit(verify_ruleset.run(rulesets, queries, format_))
    if environment is None:
        raise click.UsageError("name an environment, or a ruleset with --ruleset")
    if queries:
        raise click.UsageError("--query asks about a --ruleset; for an environment see `ringfort explain`")
    sys.exit(_verify(environment, live=live, format_=format_))


def _verify(path: str, *, live: bool, format_: str) -> int:
    from ringfort.cli.intact import with_intact
    from ringfort.environment.load import load

    environment = load(path)
    documents, checks = rules_of(environment, live=live)
    verdict = prove(environment, documents, checks, live=live)
    if live:
        verdict = with_intact(verdict, environment, documents, path)
    if format_ == "json":
        click.echo(json.dumps(verdict.to_json(), indent=2))
    elif format_ == "html":
        from ringfort.report import verify_html

        click.echo(verify_html(environment, verdict))
    else:
        print_verdict(results(), environment, verdict, path)
    return verdict.exit_code


def rules_of(environment: Environment, *, live: bool) -> tuple[dict, dict]:  # type: ignore[type-arg]
    """Every device's ruleset and every host's identity checks: compiled, or read from what runs."""
    if live:
        from ringfort.kernel.beside import Beside
        from ringfort.lab import rootless

        rootless.enter(environment.name)
        reading = Beside(lambda: _read_back(environment))
        importlib.import_module("ringfort.proof.claims")  # it takes as long as reading, and is needed next
        return reading.result()
    from ringfort.network.compile import compile_environment
    from ringfort.network.identity import identity_checks

    compiled = compile_environment(environment)
    return {device: ruleset.document for device, ruleset in compiled.items()}, identity_checks(environment)


def _read_back(environment: Environment) -> tuple[dict, dict]:  # type: ignore[type-arg]
    from ringfort.lab.readback import read_back

    return read_back(environment)


def prove(environment: Environment, documents: dict, checks: dict, *, live: bool) -> Verdict:  # type: ignore[type-arg]
    """Decide the promises, with all processors we may use."""
    from ringfort.kernel.beside import side_by_side
    from ringfort.proof.claims import verify

    return verify(environment, documents, checks, live=live, clock=time.perf_counter, do=side_by_side)


def print_verdict(console: Console, environment: Environment, verdict: Verdict, path: str) -> None:
    """The promises, what breaks them, the table of depth, what to do next."""
    source = "rules read back from every device" if verdict.live else "compiled rules"
    console.print(f"[bold]{verdict.environment}[/bold]: {source}, {verdict.seconds:.2f} s")
    _print_promises(console, verdict)
    for number, refutation in enumerate(verdict.refutations, 1):
        _print_refutation(console, number, refutation)
    for unknown in verdict.unknowns:
        console.print(f"[yellow]unknown[/yellow] {unknown.claim}: {unknown.summary}", markup=True)
        console.print(f"    because of {unknown.device}, {unknown.rule_place}: {unknown.reason}", markup=False)
    _print_depths(console, environment, verdict)
    for assumption in verdict.assumptions:
        console.print(f"assumed: {assumption}", markup=False, style="dim")
    console.print()
    for line in _next(verdict, path):
        console.print(line, markup=False)


def _print_promises(console: Console, verdict: Verdict) -> None:
    for claim in verdict.claims:
        colour = COLOURS[claim.outcome.value]
        console.print(f"  [bold]{claim.name:<13}[/bold][{colour}]{claim.outcome.value:<9}[/{colour}]", end="")
        broken = f", {claim.broken:,} broken" if claim.broken else ""
        console.print(f"{claim.statement}", markup=False)
        asked = f"{claim.checked:,} {claim.unit}{broken}, {claim.seconds:.2f} s"
        console.print(f"{'':<24}{asked}", markup=False, style="dim")


def _print_refutation(console: Console, number: int, refutation: Refutation) -> None:
    console.print()
    times = f" ({refutation.count:,} times, from {refutation.source})" if refutation.count > 1 else ""
    console.print(f"[red]{number}. {refutation.claim} is broken[/red]: ", end="")
    console.print(f"{refutation.summary}{times}", markup=False)
    if refutation.packet is not None:
        console.print(f"   packet    {refutation.packet}", markup=False)
    for hop in refutation.path:
        console.print(f"   {_hop(hop)}", markup=False)
    if refutation.let_through:
        console.print(f"   let in by {', '.join(refutation.let_through)}", markup=False)
    if refutation.failure:
        console.print(f"   needs     {refutation.failure}{_fails(refutation.failure)}", markup=False)
    console.print("   [bold]to close it[/bold]: ", end="")
    console.print(refutation.edit, markup=False)


def _fails(failure: str) -> str:
    return "" if failure.startswith("router-taken-over") else " to fail"


def _hop(hop: Hop) -> str:
    """One hop in a line."""
    name = hop.mechanism or hop.device
    at = f"  [{hop.rule_place}]" if hop.rule_place else ""
    origin = f"  {hop.origin}" if hop.origin else ""
    return f"  {hop.decision.value:<10} {name:<34} {hop.rule}{at}{origin}".rstrip()


def _print_depths(console: Console, environment: Environment, verdict: Verdict) -> None:
    """The table of depth as a matrix, or its weakest entries when it would be too wide."""
    console.print()
    if len(environment.segments) > SMALL_TABLE:
        weakest = sorted(verdict.depths, key=lambda entry: entry.depth - entry.promised)[:10]
        console.print("[bold]depth[/bold], the weakest pairs:")
        for entry in weakest:
            console.print(f"  {entry.source} -> {entry.destination}: {entry.depth} ({', '.join(entry.mechanisms)})")
        return
    console.print("[bold]depth[/bold]: owners that refuse anything undeclared, from (rows) to (columns)")
    console.print(_matrix(environment, verdict.depths))
    if any(entry.source.startswith("router:") for entry in verdict.depths) and len(environment.sites) > 1:
        words = "empty: a router reaches another site only through that site's routers, whose own rows are weaker"
        console.print(words, style="dim")


def _matrix(environment: Environment, depths: tuple[DepthEntry, ...]) -> Table:
    from rich.table import Table

    columns = list(environment.segments)
    sources = dict.fromkeys(entry.source for entry in depths)
    rows = [key for key in columns if key in sources] + [key for key in sources if key not in environment.segments]
    cells = {(entry.source, entry.destination): entry for entry in depths}
    table = Table(box=None, pad_edge=False)
    table.add_column("from")
    for number, _ in enumerate(columns, 1):
        table.add_column(str(number), justify="right")
    numbers = {key: number for number, key in enumerate(columns, 1)}
    for row in rows:
        label = f"{numbers[row]:>2} {row}" if row in numbers else f"   {row}"
        table.add_row(label, *(_depth(cells.get((row, column))) for column in columns))
    return table


def _depth(entry: DepthEntry | None) -> str:
    if entry is None:
        return ""
    return f"[red]{entry.depth}[/red]" if entry.depth < entry.promised else str(entry.depth)


def _next(verdict: Verdict, path: str) -> Iterator[str]:
    live = " --live" if verdict.live else ""
    if verdict.refutations and verdict.refutations[0].packet is not None:
        packet = verdict.refutations[0].packet
        place = packet.place.removeprefix("host:")
        service = f"{packet.protocol}/{packet.port}" if packet.protocol in ("tcp", "udp") else "icmp"
        yield f"next: {itself()} explain {path} {place} {packet.destination} {service}{live}"
    elif verdict.live:
        yield f"next: {itself()} drill {Path(path)}    (the same promises with real packets)"
    else:
        yield f"next: {itself()} verify {path} --live    (the rules that are really loaded)"
