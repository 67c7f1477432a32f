"""``ringfort controller``: run the control plane's API, or describe it."""

from __future__ import annotations

from pathlib import Path

import click

from ringfort.cli.data_key import key

_EXAMPLES = """
\b
Examples:
  ringfort controller --config /etc/ringfort/controller.toml
  ringfort controller openapi > openapi.json
  ringfort controller key rotate --ticket CHG-52
"""


@click.group("controller", invoke_without_command=True, epilog=_EXAMPLES)
@click.option(
    "--config", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file."
)
@click.pass_context
def command(context: click.Context, config: Path | None) -> None:
    """Run a controller: the API over mutual TLS, until it is told to stop (SIGTERM)."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise click.UsageError("name the configuration: --config FILE")
    from ringfort.control.running import run
    from ringfort.control.settings import read_settings

    run(read_settings(config))


@command.command("openapi")
def openapi() -> None:
    """Print the API's description (OpenAPI 3.1)."""
    import json

    from ringfort.control.openapi import description

    click.echo(json.dumps(description(), indent=2))


command.add_command(key)
