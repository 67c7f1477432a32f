"""``ringfort init``: a small environment to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ringfort.cli.output import itself, notices
from ringfort.errors import RingfortError

STARTER = Path(__file__).with_name("starter.yaml")
"""What is written; the tests check that it is sound."""


@click.command(
    epilog="""\b
Examples:
  ringfort init my-environment
  ringfort init office.yaml --name office --trust-domain office.example
"""
)
@click.argument("place", metavar="[DIR|FILE]", default=".")
@click.option("--name", default="starter", help="What the environment is called.", show_default=True)
@click.option("--trust-domain", default="starter.example", help="The domain of its identities.", show_default=True)
def command(place: str, name: str, trust_domain: str) -> None:
    """Write a small commented environment that is sound, to change into your own.

    It goes to the FILE named, if the name ends in .yaml or .yml, or to environment.yaml in DIR, which is made if it
    is missing. A file that exists is never overwritten.
    """
    from pydantic_core import PydanticCustomError

    from ringfort.environment.words import parse_name, parse_trust_domain

    try:
        parse_name(name)
        parse_trust_domain(trust_domain)
    except PydanticCustomError as error:
        context = error.context or {}
        raise RingfortError(str(context["code"]), str(context["message"]), str(context["hint"])) from error
    target = Path(place)
    if target.suffix not in (".yaml", ".yml"):
        target = target / "environment.yaml"
    text = STARTER.read_text().replace("environment: starter", f"environment: {name}")
    _write(target, text.replace("trust-domain: starter.example", f"trust-domain: {trust_domain}"))
    click.echo(str(target))
    notices().print(f"next: {itself()} check {target}")


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x") as stream:
            stream.write(text)
    except FileExistsError:
        hint = "name another file, or remove this one"
        raise RingfortError("file-exists", f"'{target}' exists and is not overwritten", hint) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RingfortError("not-written", f"'{target}' cannot be written: {reason}", "name another place") from error
