"""The versions that were published, printed: for ``ringfort environment log``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ringfort.cli import diff
from ringfort.cli.output import results

if TYPE_CHECKING:
    from ringfort.publishing.history import Entry, RootEntry
    from ringfort.publishing.pending import Pending
    from ringfort.publishing.repository import Repository

WORDS = {
    "opened": "flows opened", "closed": "flows closed", "published": "published", "withdrawn": "withdrawn",
    "added": "things added", "removed": "things removed", "changed": "things changed", "devices": "devices' rules",
}  # fmt: skip


def print_log(repository: Repository, pending: Pending, format_: str) -> None:
    """Every version and root, the newest first, and what waits."""
    from ringfort.cli.telling_meaning import waiting_lines
    from ringfort.publishing.history import history, root_history

    versions, roots = history(repository), root_history(repository)
    if format_ == "json":
        document = {
            "versions": [_as_json(entry) for entry in versions],
            "roots": [_root_json(entry) for entry in roots],
        }
        click.echo(json.dumps(document, indent=2))
        return
    console = results()
    for line in waiting_lines(pending, repository.published()):
        console.print(line, markup=False, style="yellow")
    for entry in versions:
        console.print(f"[bold]version {entry.version}[/bold]  {_when(entry)}, signed by {', '.join(entry.signers)}")
        console.print(f"  {_summary(entry)}", markup=False)
        for item in entry.record.accepted if entry.record else ():
            console.print(f"  accepted {item.id}: {item.reason}", markup=False, style="yellow")
    for root in roots:
        who = f"{root.threshold} of {', '.join(root.approvers)}"
        until = f"signed by {', '.join(root.signers)}, until {root.expires:%Y-%m-%d}"
        console.print(f"[bold]root {root.version}[/bold]  {who}; {until}")


def print_version(repository: Repository, version: int, format_: str) -> None:
    """One version: who, when, and the whole difference to the one before."""
    from ringfort.environment.difference import difference
    from ringfort.environment.serialise import from_bytes
    from ringfort.publishing.history import document_of, history

    document = document_of(repository, version)
    entry = next(entry for entry in history(repository) if entry.version == version)
    new = from_bytes(repository.environment(document.signed))
    change = None
    if version > 1:
        change = difference(from_bytes(repository.environment(document_of(repository, version - 1).signed)), new)
    if format_ == "json":
        whole = {**_as_json(entry), "difference": diff.as_json(change) if change is not None else None}
        click.echo(json.dumps(whole, indent=2))
        return
    console = results()
    console.print(f"[bold]version {version}[/bold] of {new.name}  {_when(entry)}", highlight=False)
    console.print(f"signed by {', '.join(entry.signers)} (root {entry.root}), until {entry.expires:%Y-%m-%d}")
    console.print(f"SHA-256 {entry.digest}")
    if entry.record is not None:
        console.print(f"proposed {entry.record.proposed:%Y-%m-%d %H:%M} UTC; the proof: {entry.record.proof}")
        if entry.record.message:
            console.print(f"message: {entry.record.message}", markup=False)
        for item in entry.record.accepted:
            console.print(f"accepted {item.id} ({item.claim}): {item.summary}", markup=False, style="yellow")
            console.print(f"  because: {item.reason}", markup=False)
    if change is not None:
        diff.print_difference(console, change)


def _when(entry: Entry) -> str:
    return f"{entry.published:%Y-%m-%d %H:%M} UTC" if entry.published else "some time ago"


def _summary(entry: Entry) -> str:
    if entry.record is None:
        return "what it changed is not told in a form that is known here"
    changes = ", ".join(f"{count} {WORDS.get(name, name)}" for name, count in entry.record.counts.items() if count)
    what = changes or ("first version" if entry.record.told[:1] == ("first version",) else "nothing that can be seen")
    message = f" - {entry.record.message}" if entry.record.message else ""
    return f"{entry.record.proof}; {what}{message}"


def _as_json(entry: Entry) -> dict[str, Any]:
    record = asdict(entry.record) if entry.record else None
    if record is not None:
        record["proposed"] = record["proposed"].isoformat()
        record["told"], record["accepted"] = list(record["told"]), list(record["accepted"])
    return {
        "version": entry.version,
        "sha256": entry.digest,
        "signers": list(entry.signers),
        "root": entry.root,
        "published": entry.published.isoformat() if entry.published else None,
        "expires": entry.expires.isoformat(),
        "record": record,
    }


def _root_json(entry: RootEntry) -> dict[str, Any]:
    return {**asdict(entry), "expires": entry.expires.isoformat()}
