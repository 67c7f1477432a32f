"""``ringfort deploy``: an application's folder, or an image, to the platform."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ringfort.cli.as_customer import DRY_RUN, Caller, Place, as_customer, calling
from ringfort.cli.output import FORMAT, notices

if TYPE_CHECKING:
    from ringfort.compute.bundle import Bundle

_EXAMPLES = """
\b
Examples:
  ringfort deploy ./shop --application shop --certificate shop.pem --key shop.key
  ringfort deploy ./shop --certificate shop.pem --dry-run
  ringfort deploy ./shop --certificate shop.pem --wait 60
  skopeo copy docker://docker.io/library/nginx:1.27 oci-archive:nginx.tar
  ringfort deploy nginx.tar --description app.yaml --certificate shop.pem
"""


@click.command(epilog=_EXAMPLES)
@click.argument("software", metavar="FOLDER|IMAGE", type=click.Path(exists=True, path_type=Path))
@click.option("--application", metavar="NAME", help="Its name, to be sure: the one in app.yaml by default.")
@click.option(
    "--description",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For an image: its app.yaml, if it isn't inside.",
)
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.IntRange(1, 3600),
    default=None,
    help="Wait until all instances run the new version; exit code 1 if they don't in time.",
)
@DRY_RUN
@FORMAT
@as_customer
def command(
    software: Path,
    application: str | None,
    description: Path | None,
    wait: int | None,
    dry_run: bool,
    format_: str,
    place: Place,
) -> None:
    """Deploy FOLDER, which holds an app.yaml, or IMAGE, an OCI image archive.

    The software is packed, verified here and again by the controller, and sent; what is there already isn't sent
    again, and an upload that was interrupted goes on where it stopped. Then the new version is in force: its instances
    are started by the platform's nodes, which `ringfort application show` shows.
    """
    with tempfile.TemporaryFile() as file:
        bundle = packed(software, description, file)
        name = bundle.application.application
        if application is not None and application != name:
            raise click.UsageError(f"app.yaml is about {name!r}, not about {application!r}")
        with calling(place) as caller:
            if dry_run:
                plan = _plan(caller, name, bundle)
                click.echo(json.dumps(plan, indent=2) if format_ == "json" else "\n".join(_told(plan)))
                return
            upload = _sent(caller, file, bundle)
            notices().print(f"verifying and deploying {name}", markup=False)
            answer = _ordered(caller, name, upload)
            if wait is not None:
                answer = _awaited(caller, answer, wait)
    click.echo(json.dumps(answer, indent=2) if format_ == "json" else _summary(answer))
    if wait is not None and not _runs(answer):
        reasons = sorted({one["reason"] for one in answer["instances"] if one["reason"]})
        why = f"not all instances run after {wait} s: ringfort application show {name}"
        notices().print("\n".join([why, *(f"one waits: {reason}" for reason in reasons)]), markup=False)
        click.get_current_context().exit(1)


def packed(software: Path, description: Path | None, file: BinaryIO) -> Bundle:
    """A folder's or an image's bundle, written to ``file`` and verified.

    Raises:
        RingfortError: it is refused.
    """
    from ringfort.compute.bundle import verify
    from ringfort.compute.folder import pack
    from ringfort.compute.oci import pack_image

    if software.is_dir():
        if description is not None:
            raise click.UsageError("a folder holds its app.yaml: --description is for images")
        pack(software, file)
    else:
        said = description.read_bytes() if description is not None else None
        with software.open("rb") as archive, tempfile.TemporaryFile() as spool:
            pack_image(archive, file, spool, said)
    file.seek(0)
    return verify(file)


def _sent(caller: Caller, file: BinaryIO, bundle: Bundle) -> str:
    from ringfort.control.sending import send

    with _progress(bundle.size) as told:
        return send(caller.client, caller.customer, file, bundle.digest, bundle.size, told)


def _ordered(caller: Caller, name: str, upload: str) -> Any:  # noqa: ANN401  # whatever JSON holds
    """The deployment; what arrived damaged is forgotten, so that it is sent anew the next time."""
    from ringfort.control.client import CallRefusedError

    try:
        return caller.order(name, "deployments", {"upload": upload})
    except CallRefusedError as error:
        if error.code == "digest-differs":
            caller.client.call("DELETE", f"/v1/customers/{caller.customer}/uploads/{upload}")
        raise


def _awaited(caller: Caller, answer: dict[str, Any], seconds: int) -> dict[str, Any]:
    """The application once all its instances run the deployment, or when the time is over."""
    until = time.monotonic() + seconds
    while not _runs(answer) and time.monotonic() < until:
        time.sleep(0.5)
        answer = caller.get(answer["name"])
    return answer


def _runs(answer: dict[str, Any]) -> bool:
    wanted = {"state": "running", "deployment": answer["deployment"]}
    return all(wanted.items() <= instance.items() for instance in answer["instances"])


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; elsewhere one line when it is done."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = notices()
    if not sys.stderr.isatty():
        yield lambda *_: None
        console.print(f"sent {size:,} bytes", markup=False)
        return
    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("sending", total=size)
        yield lambda done, _size: bar.update(task, completed=done)


def _plan(caller: Caller, name: str, bundle: Bundle) -> dict[str, Any]:
    """What a deployment would do, from what is there now."""
    known = {one["name"]: one for one in _applications(caller)}.get(name)
    endpoints = bundle.application.endpoints
    return {
        "application": name,
        "customer": caller.customer,
        "digest": bundle.digest,
        "bytes": bundle.size,
        "files": len(bundle.entries),
        "deployment": (known["deployment"] if known else 0) + 1,
        "same-software": bool(known and known["digest"] == bundle.digest),
        "instances": known["count"] if known and known["deployment"] else bundle.application.instances.count,
        "public-names": [endpoint.public_name for endpoint in endpoints if endpoint.public_name],
        "secrets": bundle.application.secrets,
    }


def _applications(caller: Caller) -> list[dict[str, Any]]:
    return list(caller.client.get(f"/v1/customers/{caller.customer}/applications")["applications"])


def _told(plan: dict[str, Any]) -> list[str]:
    same = ", the same software as is in force" if plan["same-software"] else ""
    lines = [
        f"would deploy {plan['application']} of {plan['customer']}, deployment {plan['deployment']}{same}",
        f"  {plan['files']} files, {plan['bytes']:,} bytes, sha256:{plan['digest']}",
        f"  {plan['instances']} instances, public names: {', '.join(plan['public-names']) or 'none'}",
    ]
    return [*lines, f"  needs the secrets {', '.join(plan['secrets'])}"] if plan["secrets"] else lines


def _summary(answer: dict[str, Any]) -> str:
    words = [f"deployment {answer['deployment']}", f"sha256:{answer['digest']}", f"{answer['count']} instances"]
    words += [f"public names: {' '.join(answer['public_names'])}"] if answer["public_names"] else []
    return f"{answer['name']}: {', '.join(words)}"
