"""What waits, computed again and shown, before anybody signs it: for ``ringfort environment sign``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ringfort.cli.output import notices, results
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Targets

    from ringfort.publishing.pending import Pending
    from ringfort.publishing.repository import Published


def show(
    pending: Pending, published: Published | None, environment: str | None, now: datetime, *, all_rules: bool
) -> None:
    """Print what would be signed.

    Raises:
        RingfortError: it is not what follows from the environment and from what is published.
    """
    root, targets = pending.root, pending.targets
    if root is None and targets is None:
        pending.publication()  # says that nothing waits
    if root is not None:
        _show_root(root, published, now)
    if targets is not None:
        _show_version(pending, targets, published, environment, now, all_rules=all_rules)
    elif environment is not None:
        raise RingfortError("pending-other", "only a root waits, no version", "leave ENV out")


def _show_root(root: Metadata[Root], published: Published | None, now: datetime) -> None:
    from ringfort.publishing.metadata import ROOT_LIFE, holders, inspected
    from ringfort.publishing.review import MOST_AHEAD

    who = inspected(root.signed)
    number = published.root.signed.version + 1 if published else 1
    if root.signed.version != number:
        raise RingfortError(
            "pending-outdated", f"root {root.signed.version} waits, but {number} is next", "rotate again"
        )
    if not now < root.signed.expires <= now + ROOT_LIFE + MOST_AHEAD:
        raise RingfortError(
            "pending-other", f"this root would expire on {root.signed.expires:%Y-%m-%d}", "rotate again"
        )
    before = holders(published.root.signed) if published else None
    console = results()
    console.print(f"[bold]root {number}[/bold]: {who.threshold} of {len(who.approvers)} approvers have to agree")
    if before and before.threshold != who.threshold:
        console.print(f"  [yellow]before: {before.threshold} of {len(before.approvers)}[/yellow]")
    keys = {**{name: key.keyid for name, key in who.approvers.items()}, "online (controller)": who.online.keyid}
    old = {name: key.keyid for name, key in before.approvers.items()} if before else {}
    if before:
        old["online (controller)"] = before.online.keyid
    for name, keyid in keys.items():
        word = "" if not before or old.get(name) == keyid else ("  new key" if name in old else "  new")
        console.print(f"  {name:<20} {keyid}{word}", markup=False)
    for name in old.keys() - keys.keys():
        console.print(f"  {name:<20} leaves", markup=False)


def _show_version(
    pending: Pending,
    targets: Metadata[Targets],
    published: Published | None,
    environment: str | None,
    now: datetime,
    *,
    all_rules: bool,
) -> None:
    from ringfort.cli.meaning import meaning_of
    from ringfort.cli.telling_meaning import print_meaning
    from ringfort.environment.serialise import from_bytes
    from ringfort.publishing.metadata import environment_target
    from ringfort.publishing.proposal import accept, from_custom, record
    from ringfort.publishing.review import is_renewal, review

    console, version = results(), targets.signed.version
    old = published.targets.signed if published and published.targets else None
    text = _text(pending, targets, published, environment)
    if is_renewal(targets.signed, old):
        review(targets, old, text, None, now)
        console.print(f"[bold]version {version}[/bold]: the environment of version {version - 1}, signed anew")
        return
    before = from_bytes(published.environment) if published and published.environment else None
    new = from_bytes(text)
    said = from_custom(environment_target(targets.signed).custom)
    meaning = meaning_of(before, new)
    print_meaning(console, meaning, version, all_rules=all_rules)
    accepted = accept(meaning.proof, {item.id: item.reason for item in said.accepted})
    review(targets, old, text, record(new.name, said.message, said.proposed, meaning, accepted), now)
    for item in accepted:
        console.print(f"[yellow]accepted[/yellow] {item.id}: ", end="")
        console.print(item.reason, markup=False)
    if said.message:
        console.print(f"message: {said.message}", markup=False)


def _text(pending: Pending, targets: Metadata[Targets], published: Published | None, environment: str | None) -> bytes:
    """The text that would be signed: from the approver's own declaration, or from what lies there."""
    from ringfort.environment.load import load_portable
    from ringfort.environment.serialise import to_bytes
    from ringfort.publishing.review import review_text

    if environment is not None:
        text = to_bytes(load_portable(environment))
    else:
        lying = pending.environment or (published.environment if published else None)
        if lying is None:
            raise RingfortError("pending-incomplete", "the proposed environment is missing", "propose it again")
        text = lying
        words = "taken from where the proposal lies; whether it may be declared is checked only with your own copy, ENV"
        notices().print(words, markup=False)
    review_text(targets.signed, text)
    return text
