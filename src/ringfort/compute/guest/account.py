"""The account of an application: not an administrator's, without any capability, and no way to get one."""

from __future__ import annotations

import ctypes
import os

from ringfort.compute.guest.system import check, libc, prctl

NUMBER = 1000
"""User and group id; owner of the instance's own disk."""

_DROP_BOUNDING, _SECURE_BITS = 24, 28  # PR_CAPBSET_DROP, PR_SET_SECUREBITS
_NO_ROOT_LOCKED = 0b11 | 0b1100 | 0b11000000
"""SECBIT_NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each locked; linux/securebits.h."""
_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
LAST_CAPABILITY = 40
"""CAP_CHECKPOINT_RESTORE."""


def enter() -> None:
    """Leave root for good.

    Raises:
        OSError: the kernel refuses a step.
    """
    prctl(_SECURE_BITS, _NO_ROOT_LOCKED)
    for capability in range(LAST_CAPABILITY + 1):
        prctl(_DROP_BOUNDING, capability)
    os.setgroups([])
    os.setresgid(NUMBER, NUMBER, NUMBER)
    os.setresuid(NUMBER, NUMBER, NUMBER)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    check(libc.capset(header, (ctypes.c_uint32 * 6)()), "drop all capabilities")
