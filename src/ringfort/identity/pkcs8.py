"""A private key under a passphrase: PKCS #8 (RFC 5958) with PBES2 (RFC 8018), scrypt (RFC 7914) and AES-256.

The library reads this form but writes only PBKDF2 with 2,048 rounds, which a graphics card tries millions of times a
second. Any OpenSSL since 1.1 reads the file too.
"""

from __future__ import annotations

import base64
import textwrap

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

COST, BLOCK, PARALLEL = 2**14, 8, 4
"""16 MiB and some tenth of a second for each guess: as much memory as OpenSSL grants without being told."""

_PBES2 = "1.2.840.113549.1.5.13"
_SCRYPT = "1.3.6.1.4.1.11591.4.11"
_AES_256_CBC = "2.16.840.1.101.3.4.1.42"


def encrypted_pem(pkcs8: bytes, passphrase: bytes, salt: bytes, vector: bytes) -> bytes:
    """An EncryptedPrivateKeyInfo in PEM.

    Args:
        pkcs8: the key as PrivateKeyInfo, DER.
        salt: 16 random bytes; ``vector`` likewise.
    """
    key = Scrypt(salt, 32, COST, BLOCK, PARALLEL).derive(passphrase)
    padder, encryptor = PKCS7(128).padder(), Cipher(AES(key), CBC(vector)).encryptor()
    sealed = encryptor.update(padder.update(pkcs8) + padder.finalize()) + encryptor.finalize()
    scrypt = _sequence(_octets(salt), _integer(COST), _integer(BLOCK), _integer(PARALLEL))
    parameters = _sequence(
        _sequence(_identifier(_SCRYPT), scrypt), _sequence(_identifier(_AES_256_CBC), _octets(vector))
    )
    document = _sequence(_sequence(_identifier(_PBES2), parameters), _octets(sealed))
    lines = textwrap.wrap(base64.b64encode(document).decode(), 64)
    return "\n".join(
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, "-----END ENCRYPTED PRIVATE KEY-----\n"]
    ).encode()


# DER (X.690), as much of it as is needed


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _tagged(0x04, content)


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _identifier(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytes([40 * first + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return _tagged(0x06, content)
