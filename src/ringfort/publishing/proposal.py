"""What a change means, told in a way that can be signed: flows, rules, the proof, and what was accepted against it.

Proof and rules are judged elsewhere and come in as plain values. `record` puts them into words of bounded size, which
are signed along with the environment; whoever signs computes them again and compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ringfort.environment.difference import Difference, published_text
from ringfort.environment.model import Environment
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.metadata import TIME

PROVED = "proved"

MOST_LINES = 60
"""Lines about a change that are signed; what is more is counted. All of them follow from the two environments."""

MOST_ACCEPTED = 100
LONGEST_TEXT = 400


@dataclass(frozen=True, slots=True)
class Exposure:
    """One way in which the promises do not hold. ``id`` is the same whenever the same thing is found."""

    id: str
    claim: str
    summary: str
    edit: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Proof:
    """What the proof says: ``proved``, ``refuted`` or ``unknown``, and each reason why it is not ``proved``."""

    outcome: str
    exposures: tuple[Exposure, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """What changes on one device: ``+ text`` and ``- text``, with its place."""

    device: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What publishing would change.

    Attributes:
        difference: None when nothing was published before; then ``first`` tells in lines what there is.
        rules: what changes by device; empty for the first version.
    """

    difference: Difference | None
    rules: tuple[RuleChanges, ...]
    proof: Proof
    first: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing that can be seen from outside changes."""
        return self.difference is not None and not self.difference and not self.rules


@dataclass(frozen=True, slots=True)
class Accepted:
    """An exposure that was accepted by name, and why."""

    id: str
    claim: str
    summary: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is signed along with a version.

    Attributes:
        environment: its name.
        message: why, in the proposer's words; may be empty.
        proposed: when.
        told: lines about the change; ``left_out`` how many more there are.
        counts: sizes of the change by kind (opened, closed, devices, ...).
        proof: the outcome; ``accepted`` what it was accepted against.
    """

    environment: str
    message: str
    proposed: datetime
    told: tuple[str, ...]
    left_out: int
    counts: Mapping[str, int]
    proof: str
    accepted: tuple[Accepted, ...]


class ExposuresOpenError(PublishingError):
    """The proof does not hold, and not everything it found was accepted by name."""

    exit_code = 1


def accept(proof: Proof, reasons: Mapping[str, str]) -> tuple[Accepted, ...]:
    """Hold a proof against what is accepted by name (id -> reason).

    Raises:
        PublishingError: ``exposures-open`` if an exposure is not named, ``exposure-unknown`` if one is named that is
            not there, ``reason-missing`` if no reason is given.
    """
    found = {exposure.id: exposure for exposure in proof.exposures}
    for name, reason in reasons.items():
        if name not in found:
            raise PublishingError("exposure-unknown", f"there is no exposure {name!r} to accept", _names(found))
        if not reason.strip():
            raise PublishingError("reason-missing", f"no reason is given for accepting {name}", "add --reason TEXT")
    remaining = [name for name in found if name not in reasons]
    if remaining or (proof.outcome != PROVED and not found):
        hint = "close them, or name each: " + " ".join(
            f"--accept-exposure {name} --reason TEXT" for name in remaining[:3]
        )
        count = len(remaining)
        message = f"the proof is {proof.outcome}, and {count} exposure{'' if count == 1 else 's'} not accepted"
        raise ExposuresOpenError("exposures-open", message, hint if remaining else "")
    if len(reasons) > MOST_ACCEPTED:
        raise PublishingError("exposures-many", f"at most {MOST_ACCEPTED} exposures can be accepted in one version")
    return tuple(Accepted(e.id, e.claim, _short(e.summary), _short(reasons[e.id])) for e in found.values())


def _names(found: Iterable[str]) -> str:
    return f"there are: {', '.join(found)}" if found else "the proof holds; nothing needs to be accepted"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def record(environment: str, message: str, now: datetime, meaning: Meaning, accepted: tuple[Accepted, ...]) -> Record:
    """A change in words that fit."""
    lines = [_short(line) for line in told(meaning)]
    return Record(
        environment,
        _short(message),
        now.astimezone(UTC).replace(microsecond=0),
        tuple(lines[:MOST_LINES]),
        max(0, len(lines) - MOST_LINES),
        counts(meaning),
        meaning.proof.outcome,
        accepted,
    )


def counts(meaning: Meaning) -> dict[str, int]:
    """How much changes, by kind; empty for the first version."""
    difference = meaning.difference
    if difference is None:
        return {}
    return {
        "opened": len(difference.opened),
        "closed": len(difference.closed),
        "published": len(difference.published),
        "withdrawn": len(difference.withdrawn),
        "added": len(difference.added),
        "removed": len(difference.removed),
        "changed": len(difference.changed),
        "devices": len(meaning.rules),
    }


def contents(environment: Environment) -> tuple[str, ...]:
    """A whole environment in lines: its sizes, every flow, every published service."""
    e = environment
    sizes = (
        ("sites", e.sites),
        ("segments", e.segments),
        ("hosts", e.hosts),
        ("services", e.services),
        ("flows", e.flows),
    )
    return (
        ", ".join(f"{len(things)} {what}" for what, things in sizes),
        *(f"flow {flow.name}: {flow.source} -> {flow.service}" for flow in e.flows.values()),
        *(f"published: {published_text(e, item)}" for item in e.published),
    )


def told(meaning: Meaning) -> list[str]:
    """The change in lines, the most telling ones first."""
    difference = meaning.difference
    if difference is None:
        return ["first version", *meaning.first]
    lines = [f"opened: flow {flow.flow}: {flow.source} -> {flow.service}" for flow in difference.opened]
    lines += [f"closed: flow {flow.flow}: {flow.source} -> {flow.service}" for flow in difference.closed]
    for word, items in (
        ("published", difference.published),
        ("withdrawn", difference.withdrawn),
        ("added", difference.added),
        ("removed", difference.removed),
    ):
        lines += [f"{word}: {item}" for item in items]
    for change in difference.changed:
        attribute = change.attribute.replace("_", " ")
        lines.append(f"changed: {change.subject}: {attribute}: {change.before or 'none'} -> {change.after or 'none'}")
    for rules in meaning.rules:
        plus = sum(line.startswith("+") for line in rules.lines)
        lines.append(f"rules: {rules.device}: {plus} added, {len(rules.lines) - plus} removed")
    return lines


def to_custom(what: Record) -> dict[str, Any]:
    """The record as it stands in the signed target."""
    return {
        "environment": what.environment,
        "message": what.message,
        "proposed": what.proposed.strftime(TIME),
        "told": list(what.told),
        "left_out": what.left_out,
        "counts": dict(what.counts),
        "proof": what.proof,
        "accepted": [asdict(item) for item in what.accepted],
    }


def from_custom(custom: object) -> Record:
    """The record that stands in a signed target.

    Raises:
        PublishingError: it is no such record.
    """
    try:
        assert isinstance(custom, dict)
        found = Record(
            str(custom["environment"]),
            str(custom["message"]),
            datetime.strptime(custom["proposed"], TIME).replace(tzinfo=UTC),
            tuple(map(str, custom["told"])),
            int(custom["left_out"]),
            {str(name): int(count) for name, count in custom["counts"].items()},
            str(custom["proof"]),
            tuple(Accepted(**{name: str(item[name]) for name in _ACCEPTED}) for item in custom["accepted"]),
        )
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise PublishingError("record-malformed", "what is said of this version has another form") from error
    return found


_ACCEPTED: Sequence[str] = ("id", "claim", "summary", "reason")
