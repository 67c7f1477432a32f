"""What belongs to a customer, encrypted at rest under a key of that customer, which the platform's key wraps.

Each sealed text has a key of its own, derived from the customer's with a random salt and with what the text is for
(HKDF, RFC 5869), and is a sequence of chunks under AES-256-GCM whose nonces count them and mark the last: the STREAM
construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, CRYPTO 2015). So no chunk can be changed, left out, moved or cut off, and no text can stand in for
another. Without the customer's wrapped key nothing of it can be read again, whoever has the platform's.
"""

from __future__ import annotations

import hmac
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ringfort.errors import RingfortError

KEY_BYTES = 32
NONCE_BYTES, TAG_BYTES, SALT_BYTES = 12, 16, 32
CHUNK_BYTES = 64 * 1024
FORMAT = b"\x01"


class SealedError(RingfortError):
    """What is sealed can't be opened, or a key can't be used."""


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """Wraps customers' keys."""

    secret: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> PlatformKey:
        """The key in a file of 32 bytes, which nobody but its owner may read.

        Raises:
            SealedError: it can't be read, others can, or it is no key.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                secret = file.read(KEY_BYTES + 1)
        except OSError as error:
            raise SealedError("data-key-unreadable", f"{path} can't be read: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o037:
            raise SealedError("data-key-exposed", f"{path} can be read or changed by others", f"chmod 600 {path}")
        if len(secret) != KEY_BYTES:
            message = f"{path} does not hold {KEY_BYTES} bytes"
            raise SealedError("data-key-malformed", message, f"openssl rand -out {path} {KEY_BYTES}")
        return cls(secret)

    @property
    def name(self) -> str:
        """What tells this key from others, and nothing about it."""
        return self.derived("name").hex()[:16]

    def derived(self, purpose: str) -> bytes:
        """A key for something of the platform's own."""
        return _derived(self.secret, b"", b"ringfort platform 1\0" + purpose.encode())

    def new_key(self, customer: str) -> bytes:
        """A new customer's key, wrapped."""
        return self.wrap(customer, CustomerKey(os.urandom(KEY_BYTES)))

    def wrap(self, customer: str, key: CustomerKey) -> bytes:
        """A customer's key as it may be kept; each time another text."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, key.secret, _wrapped_for(customer))

    def unwrap(self, customer: str, wrapped: bytes) -> CustomerKey:
        """A customer's key.

        Raises:
            SealedError: it is another customer's, or was wrapped by another platform key.
        """
        try:
            secret = AESGCM(self.secret).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _wrapped_for(customer))
        except (InvalidTag, ValueError) as error:
            message = f"the key of {customer} can't be unwrapped with the platform key {self.name}"
            raise SealedError("customer-key-foreign", message) from error
        return CustomerKey(secret)


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """Seals and opens what belongs to one customer; what was sealed for one purpose opens for no other."""

    secret: bytes = field(repr=False)

    def seal(self, purpose: str, content: bytes) -> bytes:
        """Content, sealed; each time another way."""
        salt = os.urandom(SALT_BYTES)
        cipher = AESGCM(self._key(purpose, salt))
        view = memoryview(content)
        count = max(1, -(-len(content) // CHUNK_BYTES))
        chunks = (
            cipher.encrypt(_nonce(number, number == count - 1), view[number * CHUNK_BYTES :][:CHUNK_BYTES], None)
            for number in range(count)
        )
        return b"".join((FORMAT, salt, *chunks))

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed for this purpose.

        Raises:
            SealedError: it was not, or something of it was changed, moved, left out or cut off.
        """
        size = CHUNK_BYTES + TAG_BYTES
        start = len(FORMAT) + SALT_BYTES
        body = memoryview(sealed)[start:]
        count = max(1, -(-len(body) // size))
        if sealed[: len(FORMAT)] != FORMAT:
            raise _not_sealed(purpose)
        cipher = AESGCM(self._key(purpose, sealed[len(FORMAT) : start]))
        try:
            return b"".join(
                cipher.decrypt(_nonce(number, number == count - 1), body[number * size :][:size], None)
                for number in range(count)
            )
        except (InvalidTag, ValueError) as error:
            raise _not_sealed(purpose) from error

    def fingerprint(self, purpose: str, content: bytes) -> str:
        """What tells whether content is the same, to nobody who hasn't the key: guessing it would be of no use."""
        return hmac.digest(self._key(f"fingerprint:{purpose}", b""), content, "sha256").hex()

    def derived(self, purpose: str) -> bytes:
        """A key for something that is encrypted elsewhere, such as an instance's disk: gone with the customer's."""
        return self._key(f"derived:{purpose}", b"")

    def _key(self, purpose: str, salt: bytes) -> bytes:
        return _derived(self.secret, salt, b"ringfort sealing 1\0" + purpose.encode())


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt or None, info).derive(secret)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(NONCE_BYTES - 1, "big") + (b"\x01" if last else b"\x00")


def _wrapped_for(customer: str) -> bytes:
    return b"ringfort customer key 1\0" + customer.encode()


def _not_sealed(purpose: str) -> SealedError:
    kind = purpose.partition("/")[0]
    return SealedError("sealed-damaged", f"this {kind} is not what was sealed", "restore it, or send it again")
