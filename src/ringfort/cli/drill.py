"""``ringfort drill``: attack the running environment with real packets, failure by failure."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from ringfort.cli.output import FORMAT, notices, results

if TYPE_CHECKING:
    from ringfort.drill.cells import Sum
    from ringfort.drill.result import DrillResult
    from ringfort.lab.lab import Lab
    from ringfort.proof.verdict import Verdict

SHOWN = 12
"""Of a long list, this many are printed."""

HEADINGS = {
    "everything on": ("all", "on"),
    "port-security": ("port", "security"),
    "router-filter": ("router", "filter"),
    "router-taken-over": ("router", "taken"),
    "host-firewall": ("host", "firewall"),
    "host-taken-over": ("host", "taken"),
    "identity": ("identity", "check"),
    "identity-stolen": ("keys", "stolen"),
    "authority": ("author-", "ity"),
    "restored": ("restor-", "ed"),
}


@click.command(
    epilog="""\b
Examples:
  ringfort drill examples/shop
  ringfort drill environment.yaml --failure router-filter:north-r1 --failure host-firewall
  ringfort drill environment.yaml --quick
  ringfort drill environment.yaml --html drill.html --format json > drill.json
"""
)
@click.argument("environment", metavar="ENV")
@click.option(
    "--failure", "only", multiple=True, metavar="NAME", help="Only this failure, or kind of failures; may be repeated."
)
@click.option("--quick", "is_quick", is_flag=True, help="A few seconds: everything on, a small spread of attacks.")
@click.option("--as-is", is_flag=True, help="With --quick: drill rules that were changed by hand too.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with everything to this file."
)
@FORMAT
def command(
    environment: str, only: tuple[str, ...], is_quick: bool, as_is: bool, html: Path | None, format_: str
) -> int:
    """Attack the running environment ENV with real packets, as strangers, as hosts and as routers would: with
    everything on, then with each single failure in turn, then restored. Every declared flow is really used too.

    Exit code 0 when everything held; 1 when something got through (or a declared flow failed) and the proof had said
    so; 4 when drill and proof disagree, which is an error of Ringfort; 2 when there was nothing to drill.
    """
    from ringfort.drill.run import drill, quick
    from ringfort.environment.load import load
    from ringfort.lab import rootless
    from ringfort.lab.lab import Lab

    if as_is and not is_quick:
        raise click.UsageError("--as-is needs --quick: the long drill puts the compiled rules back")
    if only and is_quick:
        raise click.UsageError("--quick drills no failures")
    loaded = load(environment)
    rootless.enter(loaded.name)
    with Lab(loaded) as lab, lab.locked(progress=_say):
        lab.renew_keys()
        verdict = _prove(lab, as_is=as_is)
        with _progress() as progress:
            if is_quick:
                result = quick(lab, verdict, progress, as_is=as_is)
            else:
                result = drill(lab, verdict, only=only or None, progress=progress)
    if html is not None:
        from ringfort.report import drill_html

        html.write_text(drill_html(loaded, result), encoding="utf-8")
        _say(f"wrote {html}")
    if format_ == "json":
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        print_result(result)
    return result.exit_code


def _say(words: str) -> None:
    notices().print(words, style="dim")


def _prove(lab: Lab, *, as_is: bool) -> Verdict:
    from ringfort.drill.fitness import refuse_unfit
    from ringfort.proof.claims import verify

    refuse_unfit(lab, as_is=as_is)
    _say("reading the rules back and proving them")
    documents, checks = lab.read_back()
    return verify(lab.environment, documents, checks, live=True)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal; lines elsewhere, one for each kind of step."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def say(_done: int, _steps: int, words: str) -> None:
            kind = words.partition(":")[0] if words.startswith("without ") else words
            if kind not in seen:
                seen.add(kind)
                _say(words if kind == words else f"{kind} (each in turn)")

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=notices(), transient=True) as bar:
        task = bar.add_task("drill")
        yield lambda done, steps, words: bar.update(task, completed=done, total=steps, description=words)


# --- text ----------------------------------------------------------------------------------------------------------


def print_result(result: DrillResult) -> None:
    """Print a drill's result: what was used, the matrix, what got through, and the verdict."""
    console = results()
    for exercise in result.exercises:
        style = "" if exercise.worked == exercise.tried else "red"
        words = f"declared flows, {exercise.situation}: {exercise.worked:,} of {exercise.tried:,} connections worked"
        console.print(Text(words, style=style))
        for failed in exercise.failed[:SHOWN]:
            console.print(Text(f"  failed: {failed}", style="red"))
    console.print()
    for line in matrix_lines(result):
        console.print(line)
    console.print()
    _print_observations(result)
    _print_troubles(result)
    counts = f"{result.probes:,} undeclared probes, {result.single_failures} single failures, {result.seconds:.0f} s"
    style = "bold green" if result.exit_code == 0 else "bold red"
    console.print(Text.assemble((result.verdict, style), f": {counts}"))


def matrix_lines(result: DrillResult) -> list[Text]:
    """The matrix: attacks against kinds of failures; in each cell how many probes, and the letters of what refused."""
    matrix = result.matrix
    left = max((len(row.attack) for row in matrix.rows), default=0) + 1
    widths = [max(7, *(len(word) for word in _heading(column.kind)), *_cells(result, place)) + 1
              for place, column in enumerate(matrix.columns)]  # fmt: skip
    lines = []
    for part in (0, 1):
        line = Text(" " * left)
        for column, width in zip(matrix.columns, widths, strict=True):
            line.append(_heading(column.kind)[part].rjust(width), style="dim")
        lines.append(line)
    for row in matrix.rows:
        line = Text(row.attack.ljust(left))
        for found, width in zip(row.sums, widths, strict=True):
            line.append_text(_cell(found, width))
        lines.append(line)
    legend = [f"{refuser.letter} {refuser.meaning}" for refuser in matrix.refusers]
    return [*lines, *(Text(f"  {words}", style="dim") for words in ("refused by, most first:", *legend))]


def _cells(result: DrillResult, place: int) -> list[int]:
    return [len(_words(found)) for row in result.matrix.rows if (found := row.sums[place]) is not None]


def _heading(kind: str) -> tuple[str, str]:
    return HEADINGS.get(kind, (kind, ""))


def _words(found: Sum) -> str:
    from ringfort.drill.cells import letter_of

    letters = "".join(letter_of(kind) for kind in found.refused_by)
    through = f"!{found.delivered}" if found.delivered else ""
    return f"{found.probes} {letters}{through}"


def _cell(found: Sum | None, width: int) -> Text:
    if found is None:
        return Text("·".rjust(width), style="dim")
    return Text(_words(found).rjust(width), style="bold red" if found.delivered else "green")


def _print_observations(result: DrillResult) -> None:
    console = results()
    for seen in result.observations:
        mark, style = ("held", "green") if seen.held else ("FAILED", "bold red")
        console.print(Text.assemble((mark, style), f"  {seen.name}: {seen.words}"))


def _print_troubles(result: DrillResult) -> None:
    console = results()
    for found in result.delivered[:SHOWN]:
        words = f"got through ({found.attack}, {found.failure}): {found.probe}: {found.evidence}"
        console.print(Text(words, style="red"))
    if len(result.delivered) > SHOWN:
        console.print(Text(f"and {len(result.delivered) - SHOWN:,} more (--format json tells all)", style="red"))
    for contradiction in result.disagreements[:SHOWN]:
        console.print(Text(f"drill and proof disagree about {contradiction.probe}", style="bold red"))
        console.print(f"  failure: {contradiction.failure}", markup=False)
        console.print(f"  the proof says: {contradiction.proof}", markup=False)
        console.print(f"  the drill saw: {contradiction.drill}", markup=False)
    if result.disagreements:
        console.print(
            "This is an error of Ringfort, or somebody changed rules during the drill. Run it again; if it stays, "
            "please report it with --format json.",
            markup=False,
        )
