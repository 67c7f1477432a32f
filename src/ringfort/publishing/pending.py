"""What waits for signatures: a proposed version, a proposed root, or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets, VerificationResult

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.files import locked, replace_file
from ringfort.publishing.metadata import MOST_BYTES, name_of, parse, signatures
from ringfort.publishing.repository import Publication
from ringfort.publishing.storing import MOST_ENVIRONMENT_BYTES

NAMES = ("root.json", "targets.json", "environment.json")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who has signed a document, and who still can. ``missing``: signatures that it needs yet."""

    signed: tuple[str, ...]
    can_sign: tuple[str, ...]
    missing: int


class Pending:
    """A directory, in the approvers' hands: what lies there is believed by nobody until enough have signed it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def root(self) -> Metadata[Root] | None:
        """The proposed root, with the signatures so far."""
        data = self._read("root.json", MOST_BYTES["root"])
        return None if data is None else parse(Root, data)

    @property
    def targets(self) -> Metadata[Targets] | None:
        """The proposed version, with the signatures so far."""
        data = self._read("targets.json", MOST_BYTES["targets"])
        return None if data is None else parse(Targets, data)

    @property
    def environment(self) -> bytes | None:
        """The text of the proposed version, if it is not the one in force."""
        return self._read("environment.json", MOST_ENVIRONMENT_BYTES)

    def publication(self) -> Publication:
        """All of it, as it is to be published.

        Raises:
            PublishingError: nothing waits here.
        """
        root, targets = self.root, self.targets
        if root is None and targets is None:
            raise PublishingError(
                "nothing-pending", "nothing waits to be signed or published", "propose a version first"
            )
        environment = self.environment if targets else None
        return Publication(root.to_bytes() if root else None, targets.to_bytes() if targets else None, environment)

    def propose(
        self,
        root: Metadata[Root] | None = None,
        targets: Metadata[Targets] | None = None,
        environment: bytes | None = None,
    ) -> None:
        """Put a proposal here in place of what waited."""
        self.clear()
        self.directory.mkdir(parents=True, exist_ok=True)
        contents = (root.to_bytes() if root else None, targets.to_bytes() if targets else None, environment)
        for name, content in reversed(list(zip(NAMES, contents, strict=True))):  # what refers to others comes last
            if content is not None:
                replace_file(self.directory / name, content)

    def clear(self) -> None:
        """Nothing waits any more."""
        for name in NAMES:
            (self.directory / name).unlink(missing_ok=True)

    def sign(self, key: CryptoSigner, believed: Root | None) -> tuple[str, ...]:
        """Add the signatures of ``key`` to everything that it may sign. Whoever calls has shown what it is.

        Args:
            believed: the root in force; None before the first.

        Returns:
            What was signed, in words.

        Raises:
            PublishingError: nothing waits, or not for this key.
        """
        with locked(self._lock()):
            root, targets = self.root, self.targets
            done = []
            if root is not None and _holds(key, (root.signed, believed)):
                root.sign(key, append=True)
                replace_file(self.directory / "root.json", root.to_bytes())
                done.append(f"root {root.signed.version}")
            if targets is not None and _holds(key, (root.signed if root else believed,)):
                targets.sign(key, append=True)
                replace_file(self.directory / "targets.json", targets.to_bytes())
                done.append(f"version {targets.signed.version}")
        if not done:
            self.publication()
            hint = "the root names the keys; see `ringfort environment log`"
            raise PublishingError("key-unknown", "nothing waits for a signature of this key", hint)
        return tuple(done)

    def waiting(self, believed: Root | None) -> dict[str, Waiting]:
        """``root`` and ``version``, as far as they wait -> who has signed and who can."""
        root, targets, found = self.root, self.targets, {}
        if root is not None:
            old = believed if believed and believed.version + 1 == root.signed.version else None
            result = root.signed.get_root_verification_result(old, root.signed_bytes, root.signatures)
            found["root"] = _waiting((result.first, result.second))
        current = root.signed if root else believed
        if targets is not None and current is not None:
            found["version"] = _waiting((signatures(current, targets),))
        return found

    def _lock(self) -> Path:
        if not self.directory.is_dir():
            self.publication()
        return self.directory / ".lock"

    def _read(self, name: str, most: int) -> bytes | None:
        path = self.directory / name
        try:
            with path.open("rb") as stream:
                data = stream.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PublishingError("pending-unreadable", f"{path} cannot be read: {error.strerror}") from error
        if len(data) > most:
            raise PublishingError("pending-too-large", f"{path} has more than {most:,} bytes")
        return data


def _holds(key: CryptoSigner, roots: Iterable[Root | None]) -> bool:
    return any(root is not None and key.public_key.keyid in root.roles["root"].keyids for root in roots)


def _waiting(results: Iterable[VerificationResult]) -> Waiting:
    signed: dict[str, Any] = {}
    unsigned: dict[str, Any] = {}
    missing = 0
    for result in results:
        signed |= result.signed
        unsigned |= result.unsigned
        missing = max(missing, result.missing)
    return Waiting(
        tuple(sorted(name_of(key) for key in signed.values())),
        tuple(sorted(name_of(key) for keyid, key in unsigned.items() if keyid not in signed)),
        missing,
    )
