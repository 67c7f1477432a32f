"""``ringfort enrol``: a one-time token for a machine that is to become a node."""

from __future__ import annotations

from pathlib import Path

import click

from ringfort.cli.calling import TICKET, connected, platform_client
from ringfort.cli.output import notices

_EXAMPLES = """
\b
Examples:
  ringfort enrol web-3 --site north --address 10.10.1.23 --ticket CHG-4711 > web-3.token
  ringfort enrol web-3 --site north --address 10.10.1.23 --address fd00:10:0:1::23 --minutes 5 --ticket CHG-4711
"""


@click.command("enrol", epilog=_EXAMPLES)
@click.argument("node")
@click.option("--site", required=True, metavar="NAME", help="The site it stands at.")
@click.option(
    "--address",
    "addresses",
    required=True,
    multiple=True,
    metavar="ADDRESS",
    help="From where it will call; repeatable.",
)
@click.option(
    "--minutes", default=10, show_default=True, type=click.IntRange(1, 60), help="How long the token is good."
)
@TICKET
@connected
def command(
    node: str,
    site: str,
    addresses: tuple[str, ...],
    minutes: int,
    ticket: str,
    controller: str,
    credential: Path | None,
    bundle: Path,
) -> None:
    """Print a token for the machine NODE. It is a secret, good once: `ringfort node enrol` on the machine takes it."""
    form = {"node": node, "site": site, "addresses": list(addresses), "minutes": minutes}
    with platform_client(controller, credential, bundle) as client:
        answer = client.call("POST", "/v1/enrolment-tokens", form, reason=ticket)
    click.echo(answer["token"])
    notices().print(f"good once, until {answer['expires']}", markup=False)
