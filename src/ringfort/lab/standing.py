"""How a lab's control plane stands: what its nodes enforce and whose word for it, and who vouches for its audit log."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ringfort.audit import keys as audit_keys
from ringfort.audit.checkpoint import parse_checkpoint
from ringfort.audit.notes import COSIGNATURE, ED25519
from ringfort.audit.policy import Policy, Witness
from ringfort.errors import RingfortError
from ringfort.lab.nodes import statuses
from ringfort.lab.plane import Plane


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is to see.

    Attributes:
        version: of the environment, the largest that a node enforces.
        nodes, confirmed: how many there are, and how many enforce that version and have confirmed it.
        signers: who signed it, as the nodes verified.
        records: of the audit log, as its checkpoint says; ``witnesses`` have cosigned that.
        trouble: why the checkpoint is not to be believed; empty when it is, or when nobody keeps a log.
    """

    version: int
    nodes: int
    confirmed: int
    signers: tuple[str, ...]
    records: int
    witnesses: tuple[str, ...]
    trouble: str

    def to_json(self) -> dict[str, Any]:
        """For ``--format json``."""
        return asdict(self)


def standing(plane: Plane) -> Standing:
    """How the control plane stands now; the checkpoint is verified against the witness's key and the log's."""
    said = [status for status in statuses(plane).values() if status]
    version = max((status["enforced"] for status in said), default=0)
    confirmed = [status for status in said if (status["state"], status["enforced"]) == ("confirmed", version)]
    signers = tuple(confirmed[0]["signers"]) if confirmed else ()
    records, witnesses, trouble = _checkpoint(plane)
    return Standing(version, len(plane.nodes), len(confirmed), signers, records, witnesses, trouble)


def _checkpoint(plane: Plane) -> tuple[int, tuple[str, ...], str]:
    if not plane.control.witness:
        return 0, (), ""
    try:
        signed = parse_checkpoint((plane.directory / "audit" / "public" / "checkpoint").read_bytes())
        log = audit_keys.read(plane.directory / "audit.key", ED25519).public()
        witness = audit_keys.read(plane.directory / "witness.key", COSIGNATURE).public()
        known = {witness.name: Witness(witness.name, witness)}
        accepted = Policy((log,), known, quorum=witness.name).accept(signed)
    except OSError:
        return 0, (), "there is no checkpoint yet"
    except RingfortError as error:
        return 0, (), error.message
    return accepted.checkpoint.size, tuple(accepted.witnesses), ""
