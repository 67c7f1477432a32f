"""``ringfort application``: a customer's applications, seen and ordered about."""

from __future__ import annotations

import json
from typing import Any

import click

from ringfort.cli.application_certificates import certificate
from ringfort.cli.application_settings import config, secret
from ringfort.cli.as_customer import DRY_RUN, NAME, Caller, Place, as_customer, calling
from ringfort.cli.output import FORMAT, notices

_EXAMPLES = """
\b
Examples:
  export RINGFORT_CERTIFICATE=shop.pem RINGFORT_KEY=shop.key
  ringfort application list
  ringfort application show shop
  ringfort application logs shop -f
  ringfort application scale shop 4
  ringfort application config set shop GREETING=hello WORKERS=4
  ringfort application secret set shop API_TOKEN < token.txt
  ringfort application certificate set chain.pem www.key
  ringfort application rollback shop
  ringfort application delete shop
"""


@click.group("application", epilog=_EXAMPLES)
def command() -> None:
    """What you run: list, show, logs, scale, config, secret, certificate, rollback, stop, start, delete.

    Only a certificate that you registered says anything about your applications. `ringfort deploy` brings new versions.
    """


command.add_command(config)
command.add_command(secret)
command.add_command(certificate)


@command.command("list")
@FORMAT
@as_customer
def list_(format_: str, place: Place) -> None:
    """List your applications."""
    with calling(place) as caller:
        found = caller.client.get(f"/v1/customers/{caller.customer}/applications")["applications"]
    if format_ == "json":
        click.echo(json.dumps(found, indent=2))
        return
    width = max((len(one["name"]) for one in found), default=0)
    for one in found:
        running = sum(instance["state"] == "running" for instance in one["instances"])
        names = ", ".join(one["public_names"]) or "-"
        click.echo(
            f"{one['name']:{width}}  {one['state']:7}  deployment {one['deployment']:<3} "
            f"{running}/{one['count']} running  {names}"
        )


@command.command("show")
@NAME
@FORMAT
@as_customer
def show(application: str, format_: str, place: Place) -> None:
    """Show APPLICATION: its version, its instances, the versions it can go back to."""
    with calling(place) as caller:
        found = caller.get(application)
        kept = caller.get(application, "deployments")["deployments"]
    if format_ == "json":
        click.echo(json.dumps({**found, "deployments": kept}, indent=2))
    else:
        click.echo("\n".join(_lines(found, kept)))


@command.command("logs")
@NAME
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "--last", metavar="N", type=click.IntRange(1, 1000), default=100, show_default=True, help="Pieces to begin with."
)
@FORMAT
@as_customer
def logs(application: str, follow: bool, last: int, format_: str, place: Place) -> None:
    """Print what APPLICATION's instances wrote; with -f, until interrupted."""
    with calling(place) as caller:
        found = caller.client.get(f"{caller.path(application, 'log')}?last={last}")
        _print_lines(found["lines"], format_)
        while follow:
            path = f"{caller.path(application, 'log')}?from={found['next']}&wait=true"
            found = caller.client.get(path)
            _print_lines(found["lines"], format_)


@command.command("scale")
@NAME
@click.argument("count", type=click.IntRange(1, 100))
@DRY_RUN
@FORMAT
@as_customer
def scale(application: str, count: int, dry_run: bool, format_: str, place: Place) -> None:
    """Run COUNT instances of APPLICATION."""
    _ordered(place, application, "scale", {"count": count}, f"run {count} instances", dry_run, format_)


@command.command("rollback")
@NAME
@click.option("--to", metavar="NUMBER", type=click.IntRange(1), help="Which deployment; the one before by default.")
@DRY_RUN
@FORMAT
@as_customer
def rollback(application: str, to: int | None, dry_run: bool, format_: str, place: Place) -> None:
    """Put an earlier version of APPLICATION in force again. Configuration and secrets stay as they are."""
    what = f"go back to {'the deployment before' if to is None else f'deployment {to}'}"
    _ordered(place, application, "rollback", {"to": to}, what, dry_run, format_)


@command.command("stop")
@NAME
@DRY_RUN
@FORMAT
@as_customer
def stop(application: str, dry_run: bool, format_: str, place: Place) -> None:
    """Stop all instances of APPLICATION, and keep everything."""
    _ordered(place, application, "stop", None, "stop all instances", dry_run, format_)


@command.command("start")
@NAME
@DRY_RUN
@FORMAT
@as_customer
def start(application: str, dry_run: bool, format_: str, place: Place) -> None:
    """Start APPLICATION again after it was stopped."""
    _ordered(place, application, "start", None, "start all instances", dry_run, format_)


@command.command("delete")
@NAME
@DRY_RUN
@as_customer
def delete(application: str, dry_run: bool, place: Place) -> None:
    """Delete APPLICATION with its software, settings, logs and disks. There is no way back."""
    with calling(place) as caller:
        found = caller.get(application)
        if dry_run:
            click.echo(f"would delete {application} with {found['count']} instances and all it has")
            return
        caller.client.call("DELETE", caller.path(application))
    notices().print(f"{application} is deleted", markup=False)


def _ordered(place: Place, application: str, what: str, body: object, words: str, dry_run: bool, format_: str) -> None:
    """Order something, or say what it would be; what comes of it is printed either way."""
    with calling(place) as caller:
        if dry_run:
            found = caller.get(application)
            click.echo(f"would {words} of {application}; now:", err=format_ == "json")
        else:
            found = caller.order(application, what, body)
        kept = [] if format_ == "json" else _kept(caller, application)
    click.echo(json.dumps(found, indent=2) if format_ == "json" else "\n".join(_lines(found, kept)))


def _kept(caller: Caller, application: str) -> list[dict[str, Any]]:
    return list(caller.get(application, "deployments")["deployments"])


def _print_lines(lines: list[dict[str, Any]], format_: str) -> None:
    for line in lines:
        # a line comes from the application, and goes to a terminal, which must not obey it
        text = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line["text"])
        click.echo(json.dumps(line) if format_ == "json" else f"{line['at'][:19]} {line['instance']} {text}")


def _lines(found: dict[str, Any], kept: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{found['name']}  {found['state']}, deployment {found['deployment']}, settings {found['settings']}",
        f"  software      {'sha256:' + found['digest'] if found['digest'] else 'none yet'}",
        f"  public names  {', '.join(found['public_names']) or 'none'}",
    ]
    for one in found["instances"]:
        where = f"{one['place']} on {one['node']}" if one["place"] else "nowhere"
        more = "  (stopped by the platform)" if one["held"] else ""
        more += f"  waits: {one['reason']}" if one["reason"] else ""
        how = f"{one['state']}, deployment {one['deployment']}"
        lines.append(f"  instance {one['ordinal']:<3}  {one['instance']}  {where}  {how}{more}")
    for one in kept:
        origin = f"back to {one['origin']}" if one["origin"] else "sent"
        lines.append(f"  deployment {one['number']:<3} {one['created'][:19]}  {origin}  sha256:{one['digest'][:16]}")
    return lines
