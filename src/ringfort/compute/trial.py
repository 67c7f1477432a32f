"""Whether this machine's KVM works, told by booting a guest with it: a device that answers proves nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from ringfort.compute.errors import SandboxError
from ringfort.compute.image import Image
from ringfort.compute.machine import PROGRAM
from ringfort.compute.sandbox import KVM, RUNTIME, Sandbox, Specification

SECONDS = 10.0
"""A guest with KVM is ready in less than one."""

RECORD = "accelerator.json"


def accelerator(image: Image, uid: int, runtime: Path = RUNTIME, seconds: float = SECONDS) -> str:
    """``kvm`` where a guest really boots with it, ``tcg`` everywhere else. Tried once for each boot of this machine,
    image and QEMU.

    Args:
        uid: an account for the trial, which nobody else has.
    """
    if not KVM.exists():
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = f"{boot} {image.inputs} {PROGRAM.stat().st_mtime_ns}"
    record = runtime / RECORD
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = json.loads(record.read_text())
        if known["key"] == key:
            return str(known["accelerator"])
    found = "kvm" if boots(image, uid, "kvm", runtime, seconds) else "tcg"
    record.write_text(json.dumps({"key": key, "accelerator": found}))
    return found


def boots(image: Image, uid: int, kind: str, runtime: Path, seconds: float) -> bool:
    """Whether a guest boots with this accelerator."""
    specification = Specification("trial", uid, image, runtime / "trial.log")
    runtime.mkdir(mode=0o711, parents=True, exist_ok=True)
    sandbox = Sandbox(replace(specification, accelerator=kind), runtime)
    try:
        sandbox.boot(seconds=seconds)
    except SandboxError:
        return False
    finally:
        sandbox.kill()
    return True
