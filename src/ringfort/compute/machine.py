"""The virtual machine as QEMU's command line. Every guest has the same devices, so that a snapshot fits all of them:
three disks (base, application, own data), one network card, one virtio-serial with two ports, and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ringfort.compute.guest import wire

PROGRAM = Path("/usr/bin/qemu-system-x86_64")
FIRMWARE = Path("/usr/share/qemu")
SECCOMP = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
TRANSLATIONS_MIB = 32
"""Memory for translated code under TCG."""

PROCESSORS = {
    "tcg": "max,la57=off,erms=off,fsrm=off,avx=off,avx2=off,fma=off,f16c=off",
    "kvm": "host",
}
"""What guests see. Under TCG what is dear to translate is left out: string instructions byte by byte, which kernel and
libraries believe to be fast (erms, fsrm), wide vectors, a fifth level of page tables."""

KERNEL = "quiet loglevel=0 panic=-1 cryptomgr.notests random.trust_bootloader=off tsc=reliable psi=0 audit=0"
"""A panic ends the machine. Without ``reliable`` the kernel compares the time-stamp counter with the timer's
ticks, which are lost when a busy machine doesn't let the guest run, and believes the ticks. Nobody reads pressure
stall information or the audit log in a guest."""

KERNEL_TRANSLATED = "mitigations=off"
"""Under TCG no instruction of the guest's runs as it is, so what it does against a processor's guessing only costs."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Where QEMU finds its files in its jail; empty where it has none. ``key`` is that of the instance's own disk."""

    kernel: str = "/vmlinux"
    initrd: str = "/initrd"
    base: str = "/base"
    application: str = ""
    data: str = ""
    memory: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What QEMU inherits: numbers of open files."""

    monitor: int
    control: int
    log: int
    tap: int | None = None
    state: int | None = None


def arguments(
    accelerator: str, memory: int, cpus: int, mac: str, files: Inside, given: Descriptors, kilohertz: int
) -> list[str]:
    """QEMU's arguments.

    Args:
        memory: MiB.
        kilohertz: of the processor's time-stamp counter; the guest is told, because measuring it under TCG may hang.
    """
    accel = f"tcg,tb-size={TRANSLATIONS_MIB}" if accelerator == "tcg" else "kvm"
    words = ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-sandbox", SECCOMP]
    words += ["-L", str(FIRMWARE), "-accel", accel, "-cpu", PROCESSORS[accelerator]]
    words += ["-smp", str(cpus), "-m", f"size={memory}M", *_memory(memory, files.memory)]
    words += ["-kernel", files.kernel, "-initrd", files.initrd]
    kernel = f"{KERNEL} {KERNEL_TRANSLATED}" if accelerator == "tcg" else KERNEL
    words += ["-append", f"{kernel} tsc_early_khz={kilohertz} lpj={2 * kilohertz}"]
    words += [*_port(given.monitor, "monitor"), "-mon", "chardev=monitor,mode=control"]
    words += _disk(wire.BASE, files.base, writable=False)
    words += _disk(wire.APPLICATION, files.application, writable=False)
    words += _disk(wire.DATA, files.data, writable=True, key=files.key)
    words += ["-device", "virtio-serial-device,max_ports=3"]
    for number, name in ((given.control, wire.CONTROL), (given.log, wire.LOG)):
        short = name.rpartition(".")[2]
        words += [*_port(number, short), "-device", f"virtserialport,chardev={short},name={name}"]
    if given.tap is not None:
        words += ["-netdev", f"tap,id=net,fd={given.tap}"]
    words += ["-device", f"virtio-net-device,mac={mac}" + (",netdev=net" if given.tap is not None else "")]
    if given.state is not None:
        words += ["-incoming", "defer"]
    return words


def kind(accelerator: str) -> str:
    """Names the machine that `arguments` make and the QEMU that is installed: a snapshot fits no other."""
    program = PROGRAM.stat()
    made = arguments(accelerator, 1, 1, "", Inside(memory="memory"), Descriptors(0, 0, 0), 0)
    return hashlib.sha256(f"{program.st_size} {program.st_mtime_ns} {made}".encode()).hexdigest()[:16]


def _memory(size: int, path: str) -> list[str]:
    machine = "microvm,pit=off,pic=off,rtc=on,isa-serial=off,x-option-roms=off,memory-backend=ram"
    backend = f"memory-backend-file,id=ram,size={size}M,mem-path={path},share=on" if path else ""
    return ["-M", machine, "-object", backend or f"memory-backend-ram,id=ram,size={size}M"]


def _disk(serial: str, path: str, *, writable: bool, key: str = "") -> list[str]:
    access = "off" if writable else "on"
    words = []
    if path:
        form = "raw"
        if key:
            words, form = ["-object", f"secret,id=disk-key,file={key}"], "luks,key-secret=disk-key"
        file = f"file.driver=file,file.filename={path},file.locking=off"
        node = f"driver={form},node-name={serial},read-only={access},{file}"
    else:
        node = f"driver=null-co,node-name={serial},size=1048576,read-zeroes=on,read-only={access}"
    return [*words, "-blockdev", node, "-device", f"virtio-blk-device,drive={serial},serial={serial}"]


def _port(descriptor: int, name: str) -> list[str]:
    return ["-chardev", f"socket,id={name},fd={descriptor}"]


def counter_kilohertz(cpuinfo: str) -> int:
    """The frequency of the time-stamp counter, in kHz, from /proc/cpuinfo; 2,000,000 when it doesn't say."""
    found = re.search(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)
    return round(float(found[1]) * 1000) if found else 2_000_000
