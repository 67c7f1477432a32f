"""Who approves a lab's environment: keys made for it, which sign in the place of people."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Targets

from ringfort.environment.model import Environment
from ringfort.environment.serialise import to_bytes
from ringfort.errors import Origin
from ringfort.publishing import keys
from ringfort.publishing.files import replace_file
from ringfort.publishing.metadata import Holders, Rotation, first_root, holders, next_root, next_targets
from ringfort.publishing.proposal import Record, contents, to_custom
from ringfort.publishing.repository import Publication, Published

APPROVERS, THRESHOLD = ("alice", "bob", "carol"), 2
ONLINE = "online"
NOT_ASKED = "unknown"
"""What a lab's version says of the proof: `ringfort up` proves what is loaded, after this was signed."""


def ensure(directory: Path) -> None:
    """Make the keys that are missing, the approvers' and the controllers' online key, and with new ones the root."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not key_file(directory, APPROVERS[0]).exists()
    for name in (*APPROVERS, ONLINE):
        if not key_file(directory, name).exists():
            key = keys.generate()
            (directory / f"{name}.key.pub").unlink(missing_ok=True)
            keys.write_public(directory / f"{name}.key.pub", key)
            keys.write_private(key_file(directory, name), key, None)
    if is_new:
        replace_file(root_file(directory), _first_root(directory, datetime.now(UTC)))


def root_file(directory: Path) -> Path:
    """The approvers' first root, as it is handed to controllers and nodes."""
    return directory / "1.root.json"


def _first_root(directory: Path, now: datetime) -> bytes:
    holders = {name: keys.named(keys.read_public(directory / f"{name}.key.pub"), name) for name in APPROVERS}
    online = keys.named(keys.read_public(directory / f"{ONLINE}.key.pub"), ONLINE)
    root = first_root(Holders(holders, THRESHOLD, online), now)
    for name in APPROVERS[:THRESHOLD]:
        root.sign(keys.read_signer(key_file(directory, name), None), append=True)
    return root.to_bytes()


def key_file(directory: Path, name: str) -> Path:
    """The private key of an approver, or the online key."""
    return directory / f"{name}.key"


def publication(directory: Path, environment: Environment, old: Published | None, now: datetime) -> Publication:
    """The environment as the version that follows, with the first root if there is none; signed by enough approvers.

    Args:
        old: what is published; None before the first version.
    """
    signers = [keys.read_signer(key_file(directory, name), None) for name in APPROVERS[:THRESHOLD]]
    text = published_text(environment)
    record = Record(
        environment.name, "brought up", now.replace(microsecond=0), contents(environment), 0, {}, NOT_ASKED, ()
    )
    before: Targets | None = old.targets.signed if old is not None and old.targets is not None else None
    targets = next_targets(before, text, to_custom(record), now)
    root = root_file(directory).read_bytes() if old is None else None
    for signer in signers:
        targets.sign(signer, append=True)
    return Publication(root, targets.to_bytes(), text)


def replace_online(directory: Path) -> Signer:
    """Make another online key, and give back the one that there was, which the root in force still names.

    `rotation` tells when that is to be mended: a lab that is left like this is whole after the next ``up``.
    """
    old = keys.read_signer(key_file(directory, ONLINE), None)
    key_file(directory, ONLINE).unlink()
    ensure(directory)
    return old


def rotation(directory: Path, old: Published, now: datetime) -> Publication | None:
    """The root that names the online key of this lab, signed by enough approvers; None if the one in force does."""
    online = keys.named(keys.read_public(directory / f"{ONLINE}.key.pub"), ONLINE)
    if holders(old.root.signed).online.keyid == online.keyid:
        return None
    root = next_root(old.root.signed, Rotation(online=online), now)
    for name in APPROVERS[:THRESHOLD]:
        root.sign(keys.read_signer(key_file(directory, name), None), append=True)
    return Publication(root.to_bytes(), None, None)


def published_text(environment: Environment) -> bytes:
    """The environment as it is published: places in its files by name, wherever on this machine the files are."""

    def portable(thing: Any) -> Any:  # noqa: ANN401  # any part of an environment
        origin = thing.origin
        return replace(thing, origin=Origin(Path(origin.file).name, origin.line, origin.column))

    parts: dict[str, Any] = {
        name: {key: portable(thing) for key, thing in getattr(environment, name).items()}
        for name in ("sites", "providers", "routers", "segments", "hosts", "services", "flows")
    }
    published = tuple(map(portable, environment.published))
    for name in ("backbone", "control", "gateway"):
        section = getattr(environment, name)
        parts[name] = None if section is None else portable(section)
    return to_bytes(replace(environment, **parts, published=published))


def body(what: Publication) -> dict[str, str]:
    """A publication as the controller's API takes it."""
    parts = {"root": what.root, "targets": what.targets, "environment": what.environment}
    return {name: base64.b64encode(part).decode() for name, part in parts.items() if part is not None}
