"""How verbs print: results on stdout, everything else on stderr, colour only where wanted (``NO_COLOR``)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ringfort.errors import DeclarationError, RingfortError

NAME = "ringfort"


class _Results(Console):
    """A console that leaves it to the command what a reader means that has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def results() -> Console:
    """The console for results: stdout, no wrapping when it is not a terminal."""
    return _Results(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def notices() -> Console:
    """The console for progress and remarks: stderr."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def itself() -> str:
    """What to type to run this command again: its name, or its path as typed when the name leads elsewhere."""
    typed = sys.argv[0]
    if Path(typed).name != NAME:  # python -m, or a test
        return NAME
    found = shutil.which(NAME)
    return NAME if found is not None and Path(found).samefile(typed) else typed


def print_error(error: RingfortError) -> None:
    """Print a refusal on stderr: every problem with its place, the offending text and what to do."""
    console = notices()
    if isinstance(error, DeclarationError):
        for problem in error.problems:
            place = _plain(str(problem.origin))
            console.print(f"[bold]{place}[/bold]: [red]{_plain(problem.message)}[/red] \\[{problem.code}]")
            if problem.excerpt:
                console.print(f"    {_plain(problem.excerpt)}", style="dim")
            if problem.hint:
                console.print(f"    hint: {_plain(problem.hint)}")
    console.print(f"[red]error[/red]: {_plain(error.message)} \\[{error.code}]")
    if error.hint:
        console.print(f"hint: {_plain(error.hint)}")


def _plain(text: str) -> str:
    return escape(text)


FORMAT = click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How to print the result."
)
"""The option every reading verb has."""
