"""The ``ringfort`` command. Verbs are imported when used, so that ``--help`` stays quick."""

from __future__ import annotations

import importlib
import sys

import click

from ringfort.cli.output import print_error
from ringfort.errors import RingfortError

VERBS = {
    "init": "ringfort.cli.init",
    "check": "ringfort.cli.check",
    "diff": "ringfort.cli.diff",
    "schema": "ringfort.cli.schema",
    "compile": "ringfort.cli.compile",
    "verify": "ringfort.cli.verify",
    "explain": "ringfort.cli.explain",
    "up": "ringfort.cli.up",
    "down": "ringfort.cli.down",
    "drill": "ringfort.cli.drill",
}
"""Verb -> the module whose ``command`` is its click command."""


class Verbs(click.Group):
    """A group that imports a verb's module the first time the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringfort")
def ringfort() -> None:
    """Declare an environment, enforce it at every layer, and prove that no single failed mechanism opens anything."""


def main() -> None:
    """Run the command; a `RingfortError` becomes a message on stderr and its exit code."""
    try:
        # With standalone_mode=False click hands back what the verb returned, or the code it passed to Context.exit.
        outcome = ringfort.main(prog_name="ringfort", standalone_mode=False)
    except RingfortError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    sys.exit(outcome if isinstance(outcome, int) else 0)
