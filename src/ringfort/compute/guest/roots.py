"""The guest's file systems: the fixed ones, the application's and the instance's own."""

from __future__ import annotations

import os
from pathlib import Path

from ringfort.compute.guest import account
from ringfort.compute.guest.system import MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REC, QUIET, mount, write

_UPPER = "/data/.root"
_OTHER = "/run/root"

SETTINGS = {
    "kernel/dmesg_restrict": "1", "kernel/kptr_restrict": "2", "kernel/yama/ptrace_scope": "2",
    "kernel/unprivileged_bpf_disabled": "1", "kernel/kexec_load_disabled": "1", "kernel/perf_event_paranoid": "3",
    "kernel/sysrq": "0", "kernel/panic_on_oops": "1", "fs/protected_symlinks": "1", "fs/protected_hardlinks": "1",
    "fs/protected_fifos": "2", "fs/protected_regular": "2", "fs/suid_dumpable": "0", "user/max_user_namespaces": "0",
    "net/ipv6/conf/default/accept_ra": "0", "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/addr_gen_mode": "1", "vm/unprivileged_userfaultfd": "0", "kernel/modules_disabled": "1",
}  # fmt: skip
"""What narrows the guest's kernel (sysctl); the last one ends the loading of modules."""


def mount_fixed() -> None:
    """What every guest has, before it knows what it will be."""
    mount("tmpfs", "/run", "tmpfs", QUIET, "mode=755,size=4m")
    mount("tmpfs", "/tmp", "tmpfs", QUIET, "mode=1777,size=12%")  # noqa: S108  # the guest's own
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", QUIET)
    write("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory")
    for name, value in SETTINGS.items():
        if os.path.exists(f"/proc/sys/{name}"):
            write(f"/proc/sys/{name}", value)
    mount("proc", "/proc", "proc", QUIET | 32, "hidepid=invisible")  # MS_REMOUNT


def mount_application(device: str) -> None:
    """The application's disk, to read and to run from."""
    mount(device, "/app", "squashfs", MS_RDONLY | MS_NOSUID | MS_NODEV)


def mount_data(device: str) -> None:
    """The instance's own disk; nothing on it runs."""
    mount(device, "/data", "ext4", QUIET, "errors=remount-ro,noinit_itable")
    os.chown("/data", account.NUMBER, account.NUMBER)


def writable_root() -> None:
    """Lay the instance's own disk, or memory where it has none, over everything, in this mount namespace."""
    if not os.path.ismount("/data"):
        mount("tmpfs", "/data", "tmpfs", MS_NOSUID | MS_NODEV, "size=12%")
    for path in (f"{_UPPER}/upper", f"{_UPPER}/work", _OTHER):
        Path(path).mkdir(parents=True, exist_ok=True)
    mount("overlay", _OTHER, "overlay", MS_NODEV, f"lowerdir=/,upperdir={_UPPER}/upper,workdir={_UPPER}/work")
    for name in ("proc", "dev", "tmp", "data", "app"):
        mount(f"/{name}", f"{_OTHER}/{name}", "", MS_BIND | MS_REC)
    os.chroot(_OTHER)
    os.chdir("/")
