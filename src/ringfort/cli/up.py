"""``ringfort up``: build the environment on this machine, enforce it, prove it, attack it."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ringfort.cli.output import FORMAT, notices, results

if TYPE_CHECKING:
    from ringfort.drill.result import DrillResult
    from ringfort.environment.model import Environment
    from ringfort.lab.changes import Changes
    from ringfort.lab.lab import Lab
    from ringfort.proof.verdict import Verdict

SHOWN_LINES = 20
"""Of a long list of changes, this many are printed."""


@click.command(
    epilog="""\b
Examples:
  ringfort up examples/shop
  ringfort up environment.yaml --dry-run
  ringfort up environment.yaml --rootless
  ringfort up environment.yaml --no-drill --format json
"""
)
@click.argument("environment", metavar="ENV")
@click.option("--rootless", is_flag=True, help="Build it as an ordinary user, inside a user namespace.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--drill/--no-drill", "drills", default=True, help="Attack it with real packets when it stands.")
@FORMAT
def command(environment: str, rootless: bool, dry_run: bool, drills: bool, format_: str) -> int:
    """Build the environment ENV on this machine out of network namespaces, load every ruleset, start its services,
    read everything back from the kernel, prove it and attack it.

    What is there already is kept: only what differs is changed. Exit code 0 when everything is proved, 1 when the proof
    is refuted or an attack got through, 3 when the proof can't tell, 2 when nothing could be built. Whatever the proof
    says, the environment stays up; `ringfort down` removes it.
    """
    from ringfort.environment.load import load
    from ringfort.lab import rootless as user_namespace
    from ringfort.lab.lab import Lab

    loaded = load(environment)
    # A dry run leaves no user namespace behind that was not there before.
    user_namespace.enter(loaded.name, make=rootless, leave=dry_run and user_namespace.find(loaded.name) is None)
    begin = time.monotonic()
    with Lab(loaded) as lab, lab.locked(progress=_say):
        changes = lab.up(_say, dry_run=dry_run)
        if dry_run:
            _print_changes(changes, format_)
            return 0
        verdict = _prove(lab)
        drill = _attack(lab, verdict) if drills else None
    seconds = time.monotonic() - begin
    if format_ == "json":
        click.echo(json.dumps(_document(changes, verdict, drill, seconds), indent=2))
    else:
        _print(environment, loaded, changes, verdict, drill, seconds)
    return _exit_code(verdict, drill)


def _say(words: str) -> None:
    notices().print(words, style="dim")


def _prove(lab: Lab) -> Verdict:
    from ringfort.proof.claims import verify

    _say("reading everything back and proving it")
    documents, checks = lab.read_back()
    return verify(lab.environment, documents, checks, live=True)


def _attack(lab: Lab, verdict: Verdict) -> DrillResult:
    raise NotImplementedError


def _exit_code(verdict: Verdict, drill: DrillResult | None) -> int:
    if verdict.exit_code:
        return verdict.exit_code
    return 1 if drill is not None and drill.exit_code else 0


def _document(changes: Changes, verdict: Verdict, drill: DrillResult | None, seconds: float) -> dict[str, Any]:
    return {
        "changes": changes.to_json(),
        "proof": verdict.to_json(),
        "drill": drill.to_json() if drill is not None else None,
        "seconds": round(seconds, 3),
    }


# --- text ----------------------------------------------------------------------------------------------------------


def _print_changes(changes: Changes, format_: str) -> None:
    if format_ == "json":
        click.echo(json.dumps(changes.to_json(), indent=2))
        return
    for line in _lines(changes):
        click.echo(line)
    click.echo(_summary(changes))


def _lines(changes: Changes) -> list[str]:
    lines = [f"{name}: make the namespace" for name in changes.created]
    lines += [f"{name}: remove the namespace" for name in changes.removed]
    lines += [f"{device}: load its rules" for device in changes.loaded]
    created = set(changes.created)
    lines += [line for line in changes.wired if line.split(":")[0] not in created]
    if len(lines) > SHOWN_LINES:
        lines[SHOWN_LINES:] = [f"... and {len(lines) - SHOWN_LINES} more (--format json tells all)"]
    return lines


def _summary(changes: Changes) -> str:
    would = "would change" if changes.is_dry_run else "changed"
    counts = f"{changes.devices_changed} devices {would}"
    if changes.certificates:
        counts += f", {changes.certificates} certificates {'would be ' if changes.is_dry_run else ''}issued"
    return f"{counts}, services {changes.services}"


def _print(
    name: str,
    environment: Environment,
    changes: Changes,
    verdict: Verdict,
    drill: DrillResult | None,
    seconds: float,
) -> None:
    from ringfort.report.text import picture_text

    console = results()
    is_terminal = sys.stdout.isatty()
    click.echo(picture_text(environment, width=console.width if is_terminal else 100, colour=is_terminal))
    console.print(_promises(verdict, drill))
    console.print(f"{environment.name}: {_summary(changes)}; up, proved and attacked in {seconds:.1f} s")
    if verdict.exit_code:
        console.print(
            f"[bold red]The proof is {verdict.outcome}.[/] The environment stays up. Look: ringfort verify {name} --live"
        )
    console.print("\n[bold]Try next[/]")
    for line in _next(name, environment):
        click.echo(f"  {line}")


def _promises(verdict: Verdict, drill: DrillResult | None) -> Table:
    table = Table(title="Promises", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("promise", "what it says", "checked", "result"):
        table.add_column(heading, justify="right" if heading == "checked" else "left")
    for claim in verdict.claims:
        table.add_row(claim.name, claim.statement, f"{claim.checked:,} {claim.unit}", _coloured(str(claim.outcome)))
    return table


def _coloured(outcome: str) -> str:
    colour = {"proved": "green", "refuted": "red", "held": "green"}.get(outcome, "yellow")
    return f"[{colour}]{outcome}[/]"


def _next(name: str, environment: Environment) -> list[str]:
    return [f"ringfort verify {name} --live", f"ringfort drill {name}", f"ringfort down {name}"]
