"""Signing keys in files."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ringfort.audit.errors import AuditError
from ringfort.audit.journal import sync_directory
from ringfort.audit.notes import COSIGNATURE, SignerKey, good_name, parse_signer_key


def make(path: Path, name: str, kind: int) -> SignerKey:
    """Make a key and put it into a new file that only its owner can read.

    Raises:
        AuditError: the name can't be one, or the file can't be made or is there.
    """
    if not good_name(name):
        raise AuditError("audit-key", f"{name!r} can't name a key: no space, no plus, not empty")
    key = SignerKey(name, kind, secrets.token_bytes(32))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, (key.secret_text() + "\n").encode())
            os.fsync(file)
        finally:
            os.close(file)
        sync_directory(path.parent)
    except OSError as error:
        raise AuditError("audit-key", f"{path} can't be made: {error.strerror}") from error
    return key


def read(path: Path, kind: int) -> SignerKey:
    """The key in a file.

    Raises:
        AuditError: it can't be read, or is not a key for that.
    """
    try:
        key = parse_signer_key(path.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError("audit-key", f"{path} can't be read") from error
    if key.kind != kind:
        wanted = "cosigning (04)" if kind == COSIGNATURE else "signing a log (01)"
        raise AuditError("audit-key", f"{path} holds no key for {wanted}")
    return key
