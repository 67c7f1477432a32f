"""``ringfort audit erase``: personal values, at the controllers, or beside a copy of the log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from ringfort.cli.calling import perhaps_connected, platform_client
from ringfort.cli.output import notices

_INDEX = click.IntRange(min=0)


@click.command(
    "erase",
    epilog="""\b
Examples:
  ringfort audit erase --value spiffe://shop.example/operator/anna --why "request 12 of the person"
  ringfort audit erase --record 17 --record 18 --why "retention ended" --yes
  ringfort audit erase --log copy-of/audit --value anna@shop.example --why "request 12 of the person" --yes
""",
)
@click.option("--value", "values", multiple=True, help="A personal value, wherever it occurs. Repeat it for more.")
@click.option("--record", "records", type=_INDEX, multiple=True, help="All personal values of a record.")
@click.option("--why", required=True, help="Why: goes into the audit record (or is noted beside the copy).")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--log", "place", metavar="DIR", help="Erase beside this copy of a log, without a controller.")
@perhaps_connected
def erase(
    values: tuple[str, ...],
    records: tuple[int, ...],
    why: str,
    yes: bool,
    place: str | None,
    controller: str | None,
    credential: Path | None,
    bundle: Path | None,
) -> None:
    """Erase personal values for good. The log, its proofs and its checkpoints stay as they are and still verify.

    A value is kept beside the log with a random salt; both are overwritten. What stays is the commitment, from which
    the value can't be found by trying. A controller writes a record of the erasure, and tells the others.
    """
    if not values and not records:
        raise click.UsageError("say what to erase: --value or --record")
    if place is not None:
        _beside(Path(place), values, records, why, yes)
        return
    if controller is None or bundle is None:
        raise click.UsageError("say where: --controller and --bundle, or --log for a copy")
    if not yes:
        click.confirm("erase for good?", abort=True, err=True)
    with platform_client(controller, credential, bundle) as client:
        form = {"values": list(values), "records": list(records)}
        click.echo(f"{client.call('POST', '/v1/audit/erasures', form, reason=why)['erased']} erased")


def _beside(place: Path, values: tuple[str, ...], records: tuple[int, ...], why: str, yes: bool) -> None:
    from ringfort.audit.erasing import commitments_of, erase

    found = commitments_of(place, values, records)
    if not yes:
        words = "value" if len(found) == 1 else "values"
        notices().print(f"{len(found)} personal {words} would be erased; say --yes to do it")
        return
    click.echo(f"{erase(place, found, why, datetime.now(UTC))} erased")
