"""``ringfort schema``: the form of an environment file, for editors."""

from __future__ import annotations

import json

import click


@click.command(
    epilog="""\b
Examples:
  ringfort schema > environment.schema.json
  # then, as the first line of environment.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=environment.schema.json
"""
)
def command() -> None:
    """Print the JSON Schema of an environment file, which editors use to complete and to check while you type.

    The schema knows the form; only `ringfort check` knows whether names, addresses and flows fit together.
    """
    from ringfort.environment.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
