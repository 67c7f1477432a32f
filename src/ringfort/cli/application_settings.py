"""``ringfort application config`` and ``secret``: what an application finds in its environment."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ringfort.cli.as_customer import DRY_RUN, NAME, Place, as_customer, calling
from ringfort.cli.output import FORMAT


@click.group("config")
def config() -> None:
    """Configuration: shown to you, set over what app.yaml says."""


@config.command("list")
@NAME
@FORMAT
@as_customer
def config_list(application: str, format_: str, place: Place) -> None:
    """List APPLICATION's configuration as its instances find it."""
    with calling(place) as caller:
        found = caller.get(application, "configuration")
    if format_ == "json":
        click.echo(json.dumps(found, indent=2))
        return
    for one in found["values"]:
        click.echo(f"{one['name']}={one['value']}" + ("" if one["origin"] == "set" else "  (app.yaml)"))


@config.command("set")
@NAME
@click.argument("values", metavar="KEY=VALUE...", nargs=-1, required=True)
@DRY_RUN
@FORMAT
@as_customer
def config_set(application: str, values: tuple[str, ...], dry_run: bool, format_: str, place: Place) -> None:
    """Set configuration values of APPLICATION, all of them or none."""
    wanted: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{value!r} is no KEY=VALUE")
        wanted[name] = text
    _changed(place, application, "configuration", {"set": wanted}, dry_run, format_)


@config.command("unset")
@NAME
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@DRY_RUN
@FORMAT
@as_customer
def config_unset(application: str, names: tuple[str, ...], dry_run: bool, format_: str, place: Place) -> None:
    """Unset configuration values of APPLICATION: what app.yaml says counts again."""
    _changed(place, application, "configuration", {"unset": list(names)}, dry_run, format_)


@click.group("secret")
def secret() -> None:
    """Secrets: written once, shown to nobody, found by the instances."""


@secret.command("list")
@NAME
@FORMAT
@as_customer
def secret_list(application: str, format_: str, place: Place) -> None:
    """List which secrets APPLICATION has and needs; no values."""
    with calling(place) as caller:
        found = caller.get(application, "secrets")
    if format_ == "json":
        click.echo(json.dumps(found, indent=2))
        return
    for one in found["secrets"]:
        state = f"set {one['changed'][:19]}" if one["changed"] else "missing"
        click.echo(f"{one['name']}  {state}" + ("" if one["needed"] else "  (app.yaml doesn't ask for it)"))


@secret.command("set")
@NAME
@click.argument("name", metavar="NAME")
@DRY_RUN
@FORMAT
@as_customer
def secret_set(application: str, name: str, dry_run: bool, format_: str, place: Place) -> None:
    """Set the secret NAME of APPLICATION: typed unseen, or from standard input, less one line feed at its end.

    It is no argument, because arguments are seen by everybody on the machine and kept in the shell's history.
    """
    if sys.stdin.isatty():
        value = click.prompt(name, hide_input=True, confirmation_prompt=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    _changed(place, application, "secrets", {"set": {name: value}}, dry_run, format_)


@secret.command("unset")
@NAME
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@DRY_RUN
@FORMAT
@as_customer
def secret_unset(application: str, names: tuple[str, ...], dry_run: bool, format_: str, place: Place) -> None:
    """Forget secrets of APPLICATION."""
    _changed(place, application, "secrets", {"unset": list(names)}, dry_run, format_)


def _changed(place: Place, application: str, what: str, form: dict[str, Any], dry_run: bool, format_: str) -> None:
    with calling(place) as caller:
        if dry_run:
            names = ", ".join([*form.get("set", {}), *form.get("unset", [])])
            click.echo(f"would change {what} of {application}: {names}")
            return
        answer = caller.order(application, what, form)
    if format_ == "json":
        click.echo(json.dumps(answer, indent=2))
        return
    changed = [*(f"set {name}" for name in answer["set"]), *(f"unset {name}" for name in answer["unset"])]
    click.echo(f"{', '.join(changed) or 'nothing to change'}; settings {answer['settings']}")
