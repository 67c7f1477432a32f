"""A container of LUKS1 for an instance's own disk, as QEMU reads it; LUKS On-Disk Format Specification 1.2.3.

Made here, because what QEMU has for it spends two seconds to find out how long a password should be stretched: the key
is 32 random bytes, which no stretching makes better. QEMU encrypts and decrypts outside the guest, so the key is
neither in the guest nor on a disk.
"""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SECTOR = 512
PAYLOAD_BYTES = 2 << 20
"""Where the disk begins in its file: behind the header and its eight places for keys."""

_HEADER = struct.Struct(">6sH32s32s32sII20s32sI40s")  # 2.3.1, phdr
_SLOT = struct.Struct(">II32sII")
_ACTIVE, _DISABLED = 0x00AC71F3, 0x0000DEAD
_STRIPES, _KEY_BYTES, _ITERATIONS = 4000, 64, 1000
_FIRST_SLOT, _SLOT_SECTORS, _SLOTS = 8, 504, 8
_HASH, _DIGEST_BYTES = "sha256", 20


@dataclass(frozen=True, slots=True)
class Container:
    """A new container: what stands before the disk, and the key of its sectors, which nobody keeps."""

    header: bytes
    master: bytes

    def encrypted(self, number: int, data: bytes) -> bytes:
        """Sectors of the disk, of which the first has this number, as they are written."""
        return _sectors(self.master, number, data)


def password(key: bytes) -> bytes:
    """What QEMU is given for a key: it wants text."""
    return key.hex().encode()


def new(key: bytes) -> Container:
    """A container that opens with ``key``, 32 random bytes."""
    master = os.urandom(_KEY_BYTES)
    salt, slot_salt = os.urandom(32), os.urandom(32)
    digest = hashlib.pbkdf2_hmac(_HASH, master, salt, _ITERATIONS, _DIGEST_BYTES)
    fields = (b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", _HASH.encode(), PAYLOAD_BYTES // SECTOR, _KEY_BYTES)
    text = _HEADER.pack(*fields, digest, salt, _ITERATIONS, str(uuid.uuid4()).encode())
    for slot in range(_SLOTS):
        used = slot == 0
        state, iterations = (_ACTIVE, _ITERATIONS) if used else (_DISABLED, 0)
        at = _FIRST_SLOT + slot * _SLOT_SECTORS
        text += _SLOT.pack(state, iterations, slot_salt if used else b"", at, _STRIPES)
    stretched = hashlib.pbkdf2_hmac(_HASH, password(key), slot_salt, _ITERATIONS, _KEY_BYTES)
    split = b"".join(_split(master))
    material = _sectors(stretched, 0, split + bytes(-len(split) % SECTOR))
    text += bytes(_FIRST_SLOT * SECTOR - len(text)) + material
    return Container(text + bytes(PAYLOAD_BYTES - len(text)), master)


def _split(secret: bytes) -> Iterator[bytes]:
    """Parts of which all are needed to have the secret again; 2.4, AFsplit."""
    mixed = bytes(len(secret))
    for _ in range(_STRIPES - 1):
        part = os.urandom(len(secret))
        yield part
        mixed = _diffuse(_xor(mixed, part))
    yield _xor(mixed, secret)


def _diffuse(block: bytes) -> bytes:
    parts = (block[at : at + 32] for at in range(0, len(block), 32))
    return b"".join(
        hashlib.sha256(struct.pack(">I", number) + part).digest()[: len(part)] for number, part in enumerate(parts)
    )


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def _sectors(key: bytes, first: int, data: bytes) -> bytes:
    """AES in XTS mode, each sector by its number (plain64)."""
    found = bytearray()
    for at in range(0, len(data), SECTOR):
        number = first + at // SECTOR
        encryptor = Cipher(algorithms.AES(key), modes.XTS(number.to_bytes(16, "little"))).encryptor()
        found += encryptor.update(data[at : at + SECTOR]) + encryptor.finalize()
    return bytes(found)
