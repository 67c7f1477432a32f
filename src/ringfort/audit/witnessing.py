"""What a witness decides (C2SP tlog-witness, "add-checkpoint"): bytes and what it knows in, an answer out."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ringfort.audit.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint, parse_hash, signed_by
from ringfort.audit.errors import AuditError
from ringfort.audit.notes import Note, VerifierKey
from ringfort.audit.tree import EMPTY_ROOT, Hash, consistent

MOST_PROOF_LINES = 63
LONGEST_REQUEST = 64 * 1024
"""Bytes."""

SIZE_TYPE = "text/x.tlog.size"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no cosignature. ``fork`` is the checkpoint if it proves that its log forked."""

    status: int
    text: str
    content_type: str = "text/plain"
    fork: SignedCheckpoint | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read."""

    old: int
    proof: tuple[Hash, ...]
    signed: SignedCheckpoint


def write_request(old: int, proof: Sequence[Hash], note: Note) -> bytes:
    """The body of a request."""
    lines = [f"old {old}\n", *(b64encode(item).decode() + "\n" for item in proof)]
    return ("".join(lines) + "\n" + str(note)).encode()


def read_request(body: bytes) -> Request:
    """Read the body of a request.

    Raises:
        AuditError: it is none.
    """
    head, separator, note = body.partition(b"\n\n")
    if len(body) > LONGEST_REQUEST or not separator:
        raise AuditError("audit-request", "the request has no empty line between proof and checkpoint, or is too long")
    try:
        old, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise AuditError("audit-request", "the proof is not ASCII") from error
    match = _OLD.fullmatch(old)
    if match is None or len(lines) > MOST_PROOF_LINES:
        raise AuditError("audit-request", "the request doesn't begin with 'old SIZE' and at most 63 lines of proof")
    return Request(int(match[1]), tuple(parse_hash(line) for line in lines), parse_checkpoint(note))


def judge(
    body: bytes, logs: Mapping[str, Sequence[VerifierKey]], latest: Callable[[str], Checkpoint | None]
) -> Refusal | SignedCheckpoint:
    """The checkpoint to persist and cosign, or the refusal, in the order of the specification.

    Args:
        body: of the request.
        logs: the keys that are trusted, by origin.
        latest: the last checkpoint cosigned for an origin; it has to stay so until the answer is persisted.
    """
    try:
        request = read_request(body)
    except AuditError as error:
        return Refusal(400, error.message)
    checkpoint = request.signed.checkpoint
    keys = logs.get(checkpoint.origin)
    if keys is None:
        return Refusal(404, "this witness doesn't know that log")
    if not _signed(request.signed, keys):
        return Refusal(403, "no valid signature of a known key of that log")
    if request.old > checkpoint.size:
        return Refusal(400, "the old size is larger than the checkpoint's")
    known = latest(checkpoint.origin) or Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
    if request.old != known.size:
        return Refusal(409, f"{known.size}\n", SIZE_TYPE)
    return _follows(known, request)


def _follows(known: Checkpoint, request: Request) -> Refusal | SignedCheckpoint:
    new = request.signed.checkpoint
    if new.size == 0 and new.root != EMPTY_ROOT:
        return Refusal(422, "an empty log has another root")
    if consistent(known.size, new.size, known.root, new.root, request.proof):
        return request.signed
    # Two roots of one size, both signed: nothing else is needed to show that the log forked.
    fork = request.signed if known.size == new.size and known.root != new.root else None
    return Refusal(422, "the checkpoint doesn't follow from the one cosigned last", fork=fork)


def _signed(signed: SignedCheckpoint, keys: Sequence[VerifierKey]) -> bool:
    try:
        # All are verified: one that says to be of a known key and is not spoils the note.
        return sum(signed_by(signed.note, key) for key in keys) > 0
    except AuditError:
        return False
