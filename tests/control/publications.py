"""Signed environments for tests: three approvers, two of whom sign."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Targets

from ringfort.environment.model import Control, Environment, Operator
from ringfort.environment.serialise import to_bytes
from ringfort.errors import Origin
from ringfort.publishing.keys import generate, read_signer
from ringfort.publishing.metadata import Holders, first_root, next_targets
from tests.control.running import Ground
from tests.environment.declare import sound


@dataclass
class Approvers:
    """Whoever signs what is published at controllers of a ground."""

    ground: Ground
    keys: list[CryptoSigner] = field(default_factory=lambda: [CryptoSigner(generate()) for _ in range(3)])
    last: Targets | None = None
    operators: tuple[Operator, ...] = ()
    """Whom the next versions name."""
    environment: Environment = field(default_factory=sound)

    def first(self) -> dict[str, str]:
        """A root and a first version, as they are sent."""
        online = read_signer(self.ground.directory / "online.key", None)
        names = ("alice", "bob", "carol")
        holders = Holders({n: k.public_key for n, k in zip(names, self.keys, strict=True)}, 2, online.public_key)
        root = first_root(holders, datetime.now(UTC))
        return {"root": base64.b64encode(self._signed(root, 2)).decode(), **self.next()}

    def next(self, signatures: int = 2) -> dict[str, str]:
        """The next version, as it is sent."""
        number = self.last.version + 1 if self.last else 1
        control = self.environment.control
        if self.operators:
            control = Control("app", "", "", "", self.operators, Origin("test.yaml", 1, 1))
        text = to_bytes(replace(self.environment, name=f"test-{number}", control=control))
        targets = next_targets(self.last, text, {}, datetime.now(UTC))
        if signatures >= 2:
            self.last = targets.signed
        data = self._signed(targets, signatures)
        return {"targets": base64.b64encode(data).decode(), "environment": base64.b64encode(text).decode()}

    def _signed(self, document: Metadata, count: int) -> bytes:  # type: ignore[type-arg]
        document.signatures.clear()
        for key in self.keys[:count]:
            document.sign(key, append=True)
        return document.to_bytes()


def publication(ground: Ground) -> dict[str, str]:
    """A root and a first version, as they are sent."""
    return Approvers(ground).first()
