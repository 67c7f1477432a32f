"""A record and its place under a cosigned checkpoint, in one file (C2SP tlog-proof). The leaf is the extra data."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from ringfort.audit.authentic import AuthenticLog
from ringfort.audit.checkpoint import SignedCheckpoint, parse_checkpoint, parse_hash
from ringfort.audit.errors import AuditError
from ringfort.audit.policy import NONE, Accepted, Policy
from ringfort.audit.tree import Hash, included, leaf_hash

HEADER = "c2sp.org/tlog-proof@v1"
LONGEST_PROOF = 256 * 1024
"""Bytes."""

_HEAD = re.compile(
    HEADER.encode() + rb"\nextra ([A-Za-z0-9+/=]*)\nindex (0|[1-9][0-9]{0,18})((?:\n[A-Za-z0-9+/=]{44}){0,63})"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """A record's proof; nothing in it is verified."""

    leaf: bytes
    index: int
    hashes: tuple[Hash, ...]
    signed: SignedCheckpoint

    def __str__(self) -> str:
        hashes = "".join(base64.b64encode(item).decode() + "\n" for item in self.hashes)
        extra = base64.b64encode(self.leaf).decode()
        return f"{HEADER}\nextra {extra}\nindex {self.index}\n{hashes}\n{self.signed}"

    def verify(self, policy: Policy) -> Accepted:
        """Verify checkpoint, cosignatures and inclusion (tlog-proof, "Verifying a tlog proof").

        Raises:
            AuditError: the policy doesn't accept the checkpoint, or the record isn't under it.
        """
        if policy.quorum == NONE:
            raise AuditError(
                "audit-policy", "the policy asks for no witness; without one a log can show many histories"
            )
        accepted = policy.accept(self.signed)
        checkpoint = accepted.checkpoint
        if not included(self.index, checkpoint.size, leaf_hash(self.leaf), self.hashes, checkpoint.root):
            raise AuditError("audit-not-included", f"the record is not number {self.index} under that checkpoint")
        return accepted


def prove(log: AuthenticLog, signed: SignedCheckpoint, index: int) -> Proof:
    """The proof of a record.

    Raises:
        AuditError: there is no such record, or files of the log were touched.
    """
    return Proof(log.leaf(index), index, tuple(log.inclusion(index)), signed)


def parse_proof(data: bytes) -> Proof:
    """Read a proof with its leaf.

    Raises:
        AuditError: it is none.
    """
    head, separator, note = data.partition(b"\n\n")
    match = _HEAD.fullmatch(head)
    if len(data) > LONGEST_PROOF or not separator or match is None:
        raise AuditError("audit-proof", f"this is no proof that begins with {HEADER} and has its record")
    try:
        leaf = base64.b64decode(match[1], validate=True)
    except binascii.Error as error:
        raise AuditError("audit-proof", "the record in the proof is not in base 64") from error
    hashes = match[3].decode().split("\n")[1:]
    return Proof(leaf, int(match[2]), tuple(parse_hash(line) for line in hashes), parse_checkpoint(note))
