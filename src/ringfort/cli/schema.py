"""``ringfort schema``: the form of an environment file, or of an application's, for editors."""

from __future__ import annotations

import json

import click


@click.command(
    epilog="""\b
Examples:
  ringfort schema > environment.schema.json
  ringfort schema application > application.schema.json
  # then, as the first line of environment.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=environment.schema.json
"""
)
@click.argument("what", type=click.Choice(["environment", "application"]), default="environment")
def command(what: str) -> None:
    """Print the JSON Schema of an environment file, or of an application's app.yaml.

    Editors use it to complete and to check while you type. The schema knows the form; only `ringfort check` knows
    whether names, addresses and flows fit together, and only `ringfort deploy --dry-run` what an application needs.
    """
    from ringfort.compute.application import schema
    from ringfort.environment.schema import json_schema

    click.echo(json.dumps(json_schema() if what == "environment" else schema(), indent=2))
