"""Which system calls an application may make: a filter in classic BPF, seccomp(2).

Refused is what changes the system, looks into other processes or reaches kernel code that applications rarely need and
attackers often do; new system calls are refused until somebody has thought about them. Sockets are of three families.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence

from ringfort.compute.guest.system import prctl

_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCH, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; arguments are little-endian 64 bits
_X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # linux/seccomp.h
_SET_SECCOMP, _FILTER = 22, 2  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

SOCKET, CLONE, CLONE3 = 41, 56, 435
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME."""

REFUSED = {
    "ptrace": 101, "personality": 135, "ustat": 136, "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155,
    "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
    "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177, "query_module": 178,
    "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "set_mempolicy": 238,
    "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272,
    "move_pages": 279, "vmsplice": 278, "perf_event_open": 298, "fanotify_init": 300, "fanotify_mark": 301,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
    "syslog": 103, "mknod": 133, "mknodat": 259, "pidfd_getfd": 438, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "process_mrelease": 448,
}  # fmt: skip
LAST_KNOWN = 450
"""set_mempolicy_home_node, the last system call of the guest's kernel 6.1."""
GAP = (335, 423)
"""Numbers that are nobody's on x86-64."""

Instruction = tuple[int, int, int, int]


def program(families: Sequence[int] = FAMILIES) -> bytes:
    """The filter: struct sock_filter after struct sock_filter.

    Args:
        families: of sockets that may be made.
    """
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        # x32's numbers (bit 30) are above, too. ENOSYS lets libraries fall back to older calls.
        *_answer((_JGE, LAST_KNOWN + 1), errno.ENOSYS),
        (_JGE, 0, 2, GAP[0]),
        (_JGE, 1, 0, GAP[1] + 1),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        *_answer((_JEQ, CLONE3), errno.ENOSYS),
    ]
    for number in sorted(REFUSED.values()):
        code += _answer((_JEQ, number), errno.EPERM)
    code += [
        (_JEQ, 0, 3, CLONE),
        (_LOAD, 0, 0, _FIRST),
        *_answer((_JSET, NAMESPACES), errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_JEQ, 0, len(families) + 2, SOCKET),
        (_LOAD, 0, 0, _FIRST),
        *[(_JEQ, len(families) - place, 0, family) for place, family in enumerate(families)],
        (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _answer(test: tuple[int, int], number: int) -> list[Instruction]:
    """If the test holds, the system call fails with this error."""
    return [(test[0], 0, 1, test[1]), (_RETURN, 0, 0, _ERRNO | number)]


class _Program(ctypes.Structure):
    """struct sock_fprog, linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def enforce() -> None:
    """Filter this process's system calls, and its children's, from now on. It must have no new privileges already.

    Raises:
        OSError: the kernel refuses.
    """
    code = program()
    structure = _Program(len(code) // 8, code)
    prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(structure))
