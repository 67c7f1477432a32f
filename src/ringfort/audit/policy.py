"""Whom to believe: logs, witnesses and how many of them it takes (C2SP tlog-policy)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ringfort.audit.checkpoint import Checkpoint, SignedCheckpoint, cosigned_by, signed_by
from ringfort.audit.errors import AuditError
from ringfort.audit.notes import COSIGNATURE, ED25519, VerifierKey, parse_verifier_key

NONE = "none"
LONGEST_POLICY = 256 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness as the policy names it; the URL is where it takes checkpoints."""

    name: str
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Members, and how many of them have to agree."""

    threshold: int
    members: tuple[str, ...]


CLOCKS_APART = timedelta(minutes=5)
"""How far a witness's clock may be ahead of the verifier's."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A checkpoint that the policy accepts, and when each of its witnesses cosigned it."""

    signed: SignedCheckpoint
    witnesses: Mapping[str, datetime]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint itself."""
        return self.signed.checkpoint


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE

    def accept(self, signed: SignedCheckpoint) -> Accepted:
        """Verify a checkpoint: signed by a log of the policy whose name is its origin, cosigned by the quorum.

        Raises:
            AuditError: ``audit-unknown-log``, ``audit-unsigned``, ``audit-signature`` or ``audit-unwitnessed``.
        """
        origin = signed.checkpoint.origin
        keys = [key for key in self.logs if key.name == origin]
        if not keys:
            raise AuditError("audit-unknown-log", f"the checkpoint is of {origin}, which the policy doesn't know")
        if not [key for key in keys if signed_by(signed.note, key)]:
            raise AuditError("audit-unsigned", f"the checkpoint carries no signature of {origin}")
        times = {name: cosigned_by(signed.note, witness.key) for name, witness in self.witnesses.items()}
        cosigned = {name: time for name, time in times.items() if time is not None}
        if not self.agreed(cosigned.keys()):
            raise AuditError(
                "audit-unwitnessed",
                f"the checkpoint of {signed.checkpoint.size} records is cosigned by "
                f"{', '.join(cosigned) or 'no known witness'}; the policy asks for {self.quorum}",
                "without its witnesses a log can show everybody another history; ask why they did not cosign",
            )
        return Accepted(signed, cosigned)

    def check_age(self, accepted: Accepted, now: datetime, oldest: timedelta) -> None:
        """Check that the quorum cosigned lately: who shows an old state for long can't show these.

        Raises:
            AuditError: ``audit-stale``.
        """
        recent = {name for name, time in accepted.witnesses.items() if now - oldest <= time <= now + CLOCKS_APART}
        if not self.agreed(recent):
            times = ", ".join(f"{name} at {time:%F %T} UTC" for name, time in accepted.witnesses.items())
            raise AuditError(
                "audit-stale",
                f"the checkpoint of {accepted.checkpoint.size} records was cosigned by {times}: "
                f"not by {self.quorum} within {oldest}",
                "an old state is shown, or the controllers have not reached their witnesses since",
            )

    def agreed(self, cosigned: object) -> bool:
        """Whether the witnesses named in ``cosigned`` (anything with ``in``) are the quorum."""
        return self.quorum == NONE or self._agrees(self.quorum, cosigned)

    def _agrees(self, name: str, cosigned: object) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned  # type: ignore[operator]  # a container of names
        return sum(self._agrees(member, cosigned) for member in group.members) >= group.threshold


def parse_policy(data: bytes) -> Policy:
    """Read a policy.

    Raises:
        AuditError: a line is wrong; the message names it.
    """
    if len(data) > LONGEST_POLICY:
        raise AuditError("audit-policy", f"the policy is longer than {LONGEST_POLICY} bytes")
    reading = _Reading()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if words and not words[0].startswith("#"):
            try:
                reading.take(words)
            except AuditError as error:
                raise AuditError("audit-policy", f"line {number} of the policy: {error.message}") from error
    if reading.quorum is None:
        raise AuditError("audit-policy", "the policy has no line 'quorum'")
    return Policy(tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum)


class _Reading:
    """A policy, as far as it is read."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", key, *url] if len(url) < 2:
                self.logs.append(self._fresh(parse_verifier_key(key), ED25519))
            case ["witness", name, key, *url] if len(url) < 2:
                self._new(name)
                cosigner = self._fresh(parse_verifier_key(key), COSIGNATURE)
                self.witnesses[name] = Witness(name, cosigner, "".join(url))
            case ["group", name, threshold, *members] if members:
                self._new(name)
                self.groups[name] = Group(self._threshold(threshold, len(members)), self._unused(members))
            case ["quorum", name] if self.quorum is None:
                if name != NONE and not self._defined(name):
                    raise _wrong(f"{name} is not defined before")
                self.quorum = name
            case _:
                raise _wrong(f"{' '.join(words)[:80]!r} says nothing that is known here")

    def _fresh(self, key: VerifierKey, kind: int) -> VerifierKey:
        if key.kind != kind:
            raise _wrong(f"the key of {key.name} is of type {key.kind:02x}; here it has to be {kind:02x}")
        if any(key.public == other.public for other in (*self.logs, *(it.key for it in self.witnesses.values()))):
            raise _wrong(f"the key of {key.name} is there twice")
        return key

    def _new(self, name: str) -> None:
        if name == NONE or self._defined(name):
            raise _wrong(f"the name {name} is taken")

    def _defined(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _unused(self, members: list[str]) -> tuple[str, ...]:
        for member in members:
            if not self._defined(member):
                raise _wrong(f"{member} is not defined before")
            if member in self._members:
                raise _wrong(f"{member} is a member twice")
            self._members.add(member)
        return tuple(members)

    @staticmethod
    def _threshold(text: str, members: int) -> int:
        named = {"all": members, "any": 1}
        number = named.get(text, int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0)
        if not 1 <= number <= members:
            raise _wrong(f"{text} is no threshold of {members} members")
        return number


def _wrong(message: str) -> AuditError:
    return AuditError("audit-policy", message)
