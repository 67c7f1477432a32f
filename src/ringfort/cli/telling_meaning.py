"""A change and its proof, printed: for ``ringfort environment``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ringfort.cli import diff

if TYPE_CHECKING:
    from rich.console import Console

    from ringfort.publishing.pending import Pending
    from ringfort.publishing.proposal import Exposure, Meaning, RuleChanges
    from ringfort.publishing.repository import Published

COLOURS = {"proved": "green", "refuted": "red", "unknown": "yellow"}
DEVICES = 12
LINES = 8
"""Devices, and lines of each, that are shown unless all are asked for."""


def print_meaning(console: Console, meaning: Meaning, version: int, *, all_rules: bool) -> None:
    """Flows and things, then rules by device, then the proof."""
    if meaning.difference is None:
        console.print(f"[bold]version {version}[/bold] is the first: everything in it is new")
        for line in meaning.first:
            console.print(f"  {line}", markup=False)
    else:
        console.print(f"[bold]version {version}[/bold] against version {version - 1}:")
        diff.print_difference(console, meaning.difference)
        _print_rules(console, meaning.rules, all_rules=all_rules)
    print_proof(console, meaning)


def _print_rules(console: Console, rules: tuple[RuleChanges, ...], *, all_rules: bool) -> None:
    if rules:
        console.print(f"[bold]rules[/bold] change on {len(rules)} device{'' if len(rules) == 1 else 's'}:")
    shown = rules if all_rules else rules[:DEVICES]
    for change in shown:
        plus = sum(line.startswith("+") for line in change.lines)
        console.print(f"  {change.device}: {plus} added, {len(change.lines) - plus} removed", markup=False)
        lines = change.lines if all_rules else change.lines[:LINES]
        for line in lines:
            console.print(f"    {line}", markup=False, style="green" if line.startswith("+") else "red")
        if len(lines) < len(change.lines):
            console.print(f"    and {len(change.lines) - len(lines)} more (--all-rules)")
    if len(shown) < len(rules):
        console.print(f"  and {len(rules) - len(shown)} more devices (--all-rules)")


def print_proof(console: Console, meaning: Meaning) -> None:
    """What the proof says of the new version."""
    outcome = meaning.proof.outcome
    words = {"proved": "the proof holds", "refuted": "the proof does not hold"}.get(
        outcome, "the proof is not complete"
    )
    console.print(f"[{COLOURS[outcome]}]{outcome}[/{COLOURS[outcome]}]  {words}")
    for exposure in meaning.proof.exposures:
        _print_exposure(console, exposure)


def _print_exposure(console: Console, exposure: Exposure) -> None:
    times = f" ({exposure.count:,} times)" if exposure.count > 1 else ""
    console.print(f"  {exposure.id}", style="bold", markup=False)
    console.print(f"    {exposure.claim}: {exposure.summary}{times}", markup=False)
    if exposure.edit:
        console.print(f"    to close it: {exposure.edit}", markup=False)


def as_json(meaning: Meaning) -> dict[str, Any]:
    """All of it, for scripts."""
    return {
        "first": meaning.difference is None,
        "same": meaning.same,
        "contents": list(meaning.first),
        "difference": diff.as_json(meaning.difference) if meaning.difference is not None else None,
        "rules": [{"device": change.device, "lines": list(change.lines)} for change in meaning.rules],
        "proof": {
            "outcome": meaning.proof.outcome,
            "exposures": [asdict(exposure) for exposure in meaning.proof.exposures],
        },
    }


def waiting_lines(pending: Pending, published: Published | None) -> Iterator[str]:
    """What waits, who has signed it, and who still can."""
    root, targets = pending.root, pending.targets
    names = {"root": f"root {root.signed.version}" if root else "", "version": ""}
    names["version"] = f"version {targets.signed.version}" if targets else ""
    ready = True
    for what, state in pending.waiting(published.root.signed if published else None).items():
        signed = f"signed by {', '.join(state.signed)}" if state.signed else "signed by nobody"
        if state.missing:
            ready = False
            yield f"{names[what]} waits: {signed}; {state.missing} of {', '.join(state.can_sign)} to sign"
        else:
            yield f"{names[what]} is ready: {signed}"
    if ready and (root or targets):
        yield "next: ringfort environment publish"
