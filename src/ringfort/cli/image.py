"""``ringfort image``: the base image of the virtual machines that customers' applications run in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import FORMAT, notices, results

if TYPE_CHECKING:
    from ringfort.compute.image import Image

_EXAMPLES = """
\b
Examples:
  ringfort image build
  ringfort image build --missing
  ringfort image build --packages manifest.json --out images
  ringfort image show --check
"""

OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="/var/cache/ringfort",
    show_default=True,
    help="Where images are kept.",
)


@click.group("image", epilog=_EXAMPLES)
def command() -> None:
    """The base image of sandboxes: built from Debian's packages, the same bytes from the same inputs."""


@command.command("build")
@OUT
@click.option(
    "--packages",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take exactly the packages that this manifest of an image lists, not apt's newest.",
)
@click.option("--missing", is_flag=True, help="Build only when none is there that fits this version of Ringfort.")
def build(out: Path, packages: Path | None, missing: bool) -> None:
    """Build an image, unless the one of exactly these inputs is there; print its directory."""
    from ringfort.compute import image

    if missing:
        made = image.ensure(out)
    else:
        notices().print("asking apt for the packages, then building (a minute)", markup=False)
        made = image.build(image.current_inputs(packages), out)
    click.echo(str(made.directory))


@command.command("show")
@OUT
@click.option("--check", is_flag=True, help="Compare every file with its digest.")
@FORMAT
def show(out: Path, check: bool, format_: str) -> None:
    """Show the newest image: its files with their digests."""
    from ringfort.compute import image

    found = image.latest(out)
    if check:
        found = image.opened(found.directory, check=True)
    if format_ == "json":
        click.echo((found.directory / "manifest.json").read_text().rstrip())
    else:
        _print(found)


def _print(found: Image) -> None:
    console = results()
    console.print(f"image {found.inputs}", markup=False)
    for name, digest in sorted(found.files.items()):
        console.print(f"  {name:16} {digest}", markup=False)
