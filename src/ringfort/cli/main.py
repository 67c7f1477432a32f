"""The ``ringfort`` command. Verbs are imported when used, so that ``--help`` stays quick."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback

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
    "environment": "ringfort.cli.environment",
    "identity": "ringfort.cli.identity",
    "controller": "ringfort.cli.controller",
    "enrol": "ringfort.cli.enrol",
    "customer": "ringfort.cli.customer",
    "deploy": "ringfort.cli.deploy",
    "application": "ringfort.cli.application",
    "instance": "ringfort.cli.instance",
    "gateway": "ringfort.cli.gateway",
    "acme": "ringfort.cli.acme",
    "node": "ringfort.cli.node",
    "image": "ringfort.cli.image",
    "audit": "ringfort.cli.audit",
    "witness": "ringfort.cli.witness",
    "up": "ringfort.cli.up",
    "down": "ringfort.cli.down",
    "drill": "ringfort.cli.drill",
}
"""Verb -> the module whose ``command`` is its click command."""

RECURSION_LIMIT = 20_000
"""Packet sets are walked by recursion, a few frames for each bit of a packet; Python's 1,000 is short for that."""

COLLECT_AFTER = (100_000, 20, 100)
"""A command is short and makes many small values that live to its end: looking for cycles less often saves a tenth."""

OWN_ERROR = 70
"""EX_SOFTWARE (sysexits.h): Python's own 1 would say "refuted"."""

READER_GONE = 141
"""128 + SIGPIPE: what a shell reports for a program whose reader went away."""


class Verbs(click.Group):
    """A group that imports a verb's module the first time the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of a person's day."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb. A reader that has gone (``| head``) ends it with 141, as SIGPIPE would; click would say 1."""
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered has no reader: without this Python complains about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(READER_GONE) from None
        return outcome


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringfort")
def ringfort() -> None:
    """Declare an environment, enforce it at every layer, and prove that no single failed mechanism opens anything."""


def main() -> None:
    """Run the command; a `RingfortError` becomes a message on stderr and its exit code."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    gc.set_threshold(*COLLECT_AFTER)
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
    except Exception:  # noqa: BLE001  # whatever it is, it must not look like a verdict
        traceback.print_exc()
        sys.stderr.write("this is an error of Ringfort, not a verdict; please report it with the lines above\n")
        sys.exit(OWN_ERROR)
    sys.exit(outcome if isinstance(outcome, int) else 0)
