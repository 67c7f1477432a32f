"""``ringfort up``: build the environment on this machine, enforce it, prove it, attack it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from ringfort.cli.output import FORMAT, itself, notices, results

if TYPE_CHECKING:
    from ringfort.drill.result import DrillResult
    from ringfort.environment.model import Environment
    from ringfort.lab.changes import Changes
    from ringfort.lab.lab import Lab
    from ringfort.lab.played import Applications, Shown
    from ringfort.lab.standing import Standing
    from ringfort.proof.verdict import Verdict

SHOWN_LINES = 20
"""Of a long list of changes, this many are printed."""

SHOWN_TROUBLES = 10

WIDTH = 110
"""Columns where nobody says how many there are."""


@click.command(
    epilog="""\b
Examples:
  ringfort up examples/shop
  ringfort up environment.yaml --dry-run
  ringfort up environment.yaml --rootless
  ringfort up environment.yaml --no-drill --no-applications --format json
"""
)
@click.argument("environment", metavar="ENV")
@click.option("--rootless", is_flag=True, help="Build it as an ordinary user, inside a user namespace.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--drill/--no-drill", "drills", default=True, help="Attack it with real packets when it stands.")
@click.option(
    "--applications/--no-applications",
    "runs_applications",
    default=True,
    help="Deploy and visit what is in the folders applications/CUSTOMER/ beside ENV, as its customers would.",
)
@FORMAT
def command(
    environment: str, rootless: bool, dry_run: bool, drills: bool, runs_applications: bool, format_: str
) -> int:
    """Build the environment ENV on this machine out of network namespaces, load every ruleset, start its services,
    read everything back from the kernel, prove it and attack it; then run its customers' applications.

    What is there already is kept: only what differs is changed. Exit code 0 when everything is proved, 1 when the proof
    is refuted, an attack got through or an application doesn't do as it should, 3 when the proof can't tell, 2 when
    nothing could be built. Whatever comes of it, the environment stays up; `ringfort down` removes it.
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
        applications = _run_applications(lab, Path(environment)) if runs_applications else None
        standing = lab.standing()
    if format_ == "json":
        control = standing.to_json() if standing is not None else None
        told = applications.to_json() if applications is not None else None
        document = _document(changes, verdict, drill, seconds) | {"control": control, "applications": told}
        click.echo(json.dumps(document, indent=2))
    else:
        _print(environment, loaded, changes, verdict, drill, standing, applications, seconds)
    return _exit_code(verdict, drill, applications)


def _say(words: str) -> None:
    notices().print(words, style="dim")


def _prove(lab: Lab) -> Verdict:
    from ringfort.cli.verify import prove

    _say("reading everything back and proving it")
    documents, checks = lab.read_back()
    return prove(lab.environment, documents, checks, live=True)


def _attack(lab: Lab, verdict: Verdict) -> DrillResult:
    from ringfort.drill.run import quick

    _say("attacking it with real packets")
    return quick(lab, verdict)


def _run_applications(lab: Lab, environment: Path) -> Applications | None:
    """What customers run; None where nothing stands beside the environment, or it has no place for it."""
    from ringfort.lab import applications, played, rootless
    from ringfort.lab.plane import Plane

    wanted = played.planned(environment if environment.is_dir() else environment.parent)
    plane = Plane.of(lab.environment)
    if not wanted or plane is None or lab.environment.gateway is None:
        return None
    if rootless.is_inside():
        _say("leaving out the applications: an ordinary user can't give each virtual machine an account of its own")
        return None
    return applications.run(lab, plane, wanted, _say)


def _exit_code(verdict: Verdict, drill: DrillResult | None, applications: Applications | None) -> int:
    if verdict.exit_code:
        return verdict.exit_code
    troubled = applications is not None and applications.troubles
    return 1 if troubled or (drill is not None and drill.exit_code) else 0


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
    standing: Standing | None,
    applications: Applications | None,
    seconds: float,
) -> None:
    from ringfort.report.text import picture_text

    console = results()
    is_terminal = sys.stdout.isatty()
    if not is_terminal:
        console.width = WIDTH
    click.echo(picture_text(environment, width=console.width, colour=is_terminal))
    console.print(_promises(verdict, drill))
    if standing is not None:
        _print_standing(standing)
    if applications is not None:
        _print_applications(applications)
    _print_troubles(name, verdict, drill)
    attacked = " and attacked" if drill is not None else ""
    ran = f"; applications in {applications.seconds:.1f} s" if applications is not None else ""
    click.echo(f"\n{environment.name}: {_summary(changes)}; built, proved{attacked} in {seconds:.1f} s{ran}")
    click.echo("\nTry next:")
    lines = list(_next(name, environment))
    width = max(len(line) for line, _ in lines)
    for line, what in lines:
        click.echo(f"  {line:<{width}}   {what}")


def _print_standing(standing: Standing) -> None:
    """The control plane: who enforces what, on whose word, and who vouches for the audit log."""
    console = results()
    signers = " and ".join(standing.signers) or "nobody"
    is_whole = standing.confirmed == standing.nodes
    words = f"{standing.confirmed} of {standing.nodes} confirm version {standing.version}, signed by {signers}"
    console.print(Text("\nnodes         ") + Text(words, style="green" if is_whole else "bold red"))
    if standing.trouble or standing.witnesses:
        vouched = f"{standing.records:,} records, checkpoint cosigned by {', '.join(standing.witnesses)}"
        style = "bold red" if standing.trouble else "green"
        console.print(Text("audit log     ") + Text(standing.trouble or vouched, style=style))


def _print_applications(applications: Applications) -> None:
    """Customers' applications: where they run, who reaches them, and what was refused."""
    console = results()
    lines = [line for one in applications.shown for line in _about(one)]
    if applications.barred:
        lines.append(
            f"{len(applications.barred)} attempts of one customer, or past the gateway, at an application: refused"
        )
    console.print()
    for number, line in enumerate(lines):
        heading = "applications" if number == 0 else ""
        console.print(Text(f"{heading:14}") + Text(line, style="red" if applications.troubles else "green"))
    for trouble in applications.troubles:
        console.print(Text("- ", style="red") + Text(trouble))


def _about(one: Shown) -> Iterator[str]:
    where = f"at {', '.join(place or 'no place' for place in one.places)}"
    yield f"{one.name} of {one.customer}: deployment {one.deployment} {where}"
    if one.names:
        first = f", first {one.seconds:.1f} s after deploy" if one.is_new else ""
        yield f"  https://{' '.join(one.names)} answers at {one.sites} addresses of the gateway{first}"
    if one.load is not None:
        load = one.load
        yield f"  updated under load in {load.seconds:.1f} s: {load.failures} of {load.requests:,} requests failed"


def _promises(verdict: Verdict, drill: DrillResult | None) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None, header_style="bold")
    for heading in ("promise", "what it says", "checked", "result"):
        table.add_column(heading, justify="right" if heading == "checked" else "left")
    for claim in verdict.claims:
        checked = f"{claim.checked:,} {claim.unit}"
        table.add_row(claim.name, Text(claim.statement), checked, _coloured(str(claim.outcome)))
    if drill is not None:
        table.add_row("used", "declared flows work with real packets", f"{drill.tried:,} calls", _worked(drill))
        held = "held" if drill.exit_code == 0 else drill.verdict
        table.add_row(
            "attacked", "real packets that nobody declared stay out", f"{drill.probes:,} packets", _coloured(held)
        )
    return table


def _worked(drill: DrillResult) -> Text:
    return _coloured("all work" if drill.worked == drill.tried else f"{drill.tried - drill.worked:,} failed")


def _coloured(outcome: str) -> Text:
    good = {"proved", "held", "all work"}
    return Text(outcome, style="green" if outcome in good else "yellow" if outcome == "unknown" else "bold red")


def _print_troubles(name: str, verdict: Verdict, drill: DrillResult | None) -> None:
    console = results()
    troubles = [Text(f"{found.summary}\n    close it: {found.edit}") for found in verdict.refutations]
    troubles += [Text(f"{found.summary} ({found.device}, {found.rule_place})") for found in verdict.unknowns]
    if drill is not None:
        troubles += [Text(f"got through: {found.probe}: {found.evidence}") for found in drill.delivered]
        troubles += [Text(f"failed: {words}") for exercise in drill.exercises for words in exercise.failed]
        troubles += [Text(f"drill and proof disagree about {found.probe}") for found in drill.disagreements]
    if not troubles:
        return
    console.print()
    for trouble in troubles[:SHOWN_TROUBLES]:
        console.print(Text("- ", style="red") + trouble)
    if len(troubles) > SHOWN_TROUBLES:
        console.print(f"  and {len(troubles) - SHOWN_TROUBLES} more")
    console.print(f"The environment stays up. All of it: {itself()} verify {name} --live", markup=False)


def _next(name: str, environment: Environment) -> Iterator[tuple[str, str]]:
    from ringfort.lab.rootless import is_inside

    yield f"{itself()} verify {name} --live", "prove what the kernel holds now"
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        hosts = [host for host in service.hosts if host not in flow.callers]
        if flow.callers and hosts and service.ports:
            where = f"{flow.callers[0]} {hosts[0]} {service.protocol}/{service.ports[0].first}"
            yield f"{itself()} explain {name} {where}", "which rule of which device decides"
            break
    yield f"{itself()} drill {name}", "attack it, with every single failure in turn"
    router = next(iter(environment.routers), None)
    if router is not None and not is_inside():
        yield f"ip netns exec rf-{environment.name}.{router} nft list ruleset", "the rules of a router"
    yield f"{itself()} down {name}", "remove all of it"
