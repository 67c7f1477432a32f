"""The rulesets as files, for machines that somebody else configures."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, devices, legs
from ringfort.network.compile import Compiler
from ringfort.network.reasons import LOG_GROUP
from ringfort.network.sysctl import sysctl_text

INDEX = "README.md"
_FOLDERS = {
    DeviceKind.ROUTER: "routers",
    DeviceKind.SWITCH: "switches",
    DeviceKind.HOST: "hosts",
    DeviceKind.SANDBOX: "sandboxes",
}


def file_stem(device: Device) -> str:
    """Where the files of ``device`` go, less the ending: ``routers/NAME``, ``switches/SITE/NAME``, ``hosts/NAME``,
    ``sandboxes/NAME``.

    Names are DNS labels (the loader sees to it), so they are safe as file names and differ as files if they differ.
    """
    return f"{_FOLDERS[device.kind]}/{device.name}"


def export(environment: Environment, format_: str) -> Iterator[tuple[str, str]]:
    """Relative path and content of every file: rulesets as ``nft`` or ``json``, kernel settings, and an index."""
    compiler = Compiler(environment)
    for device in devices(environment):
        ruleset, stem = compiler.device(device), file_stem(device)
        if format_ == "json":
            yield f"{stem}.json", json.dumps(ruleset.document, indent=1) + "\n"
        else:
            yield f"{stem}.nft", ruleset.text
        yield f"{stem}.sysctl.conf", sysctl_text(environment, device)
    yield INDEX, "".join(f"{line}\n" for line in _index(environment, format_))


def _index(environment: Environment, format_: str) -> Iterator[str]:
    yield f"# Rulesets of {environment.name}"
    yield ""
    yield "Written by `ringfort compile --out`; change the environment file and compile again, rather than these files."
    yield ""
    yield "On each machine, as root:"
    yield ""
    yield "```"
    if format_ == "json":
        yield "nft delete table inet ringfort       # bridge on a switch; only if it is there"
        yield "nft --json --file NAME.json"
    else:
        yield "nft --check --file NAME.nft"
        yield "nft --file NAME.nft                  # replaces the table ringfort wholly or not at all"
    yield "sysctl --ignore --load NAME.sysctl.conf"
    yield "```"
    yield ""
    yield "| Device | Files |"
    yield "|---|---|"
    for device in devices(environment):
        yield f"| {device} | `{file_stem(device)}.{format_}`, `{file_stem(device)}.sysctl.conf` |"
    for site in environment.sites:
        yield from _interfaces(environment, site)
    yield ""
    yield f"Refused packets go to nflog group {LOG_GROUP} with the prefix `ringfort REASON: `."


def _interfaces(environment: Environment, site: str) -> Iterator[str]:
    yield ""
    yield f"## Interfaces of the routers of {site}"
    yield ""
    yield "The active router holds these addresses, with these MAC addresses."
    yield ""
    yield "| Interface | Leads to | MAC | Addresses |"
    yield "|---|---|---|---|"
    for leg in legs(environment, site):
        peer = leg.peer if leg.kind == leg.peer else f"{leg.kind} {leg.peer}"
        yield f"| {leg.interface} | {peer} | {leg.mac} | {', '.join(str(address) for address in leg.addresses)} |"
