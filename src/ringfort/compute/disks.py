"""An instance's own disk: a sparse file with a file system, made out here from nothing and never mounted out here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ringfort.compute.errors import SandboxError
from ringfort.compute.guest.account import NUMBER


def make(path: Path, mib: int, uid: int) -> Path:
    """Make an empty disk.

    Args:
        mib: its size; it takes as much of the machine's disk as was written to it.
        uid: the instance's account, which alone may use it.

    Raises:
        SandboxError: e2fsprogs are missing, or there is no room.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.truncate(descriptor, mib << 20)
            options = f"lazy_itable_init=1,root_owner={NUMBER}:{NUMBER}"
            command = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", options, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                path.unlink()
                raise SandboxError("sandbox-disk", f"mke2fs refuses: {done.stderr.strip()[-300:]}")
            os.fchown(descriptor, uid, uid)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SandboxError("sandbox-disk", f"no disk can be made at {path}: {error.strerror}") from error
    return path
