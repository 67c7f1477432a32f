"""The base image of all guests: Debian's cloud kernel, a first stage that finds the disk, and a root file system.

Put together out of packages' files, of wasmtime's from this installation and of our own, in a fixed order and with
fixed times: the same inputs give the same bytes. They are written down in the image's manifest and name its directory.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ringfort.compute import compiling, packages
from ringfort.compute.errors import ImageError
from ringfort.compute.packages import Package
from ringfort.compute.tree import Tree, to_cpio, to_tar

CACHE = Path("/var/cache/ringfort")
FORM = 1
"""Changes when the way an image is put together does."""

ROOT_PACKAGES = (
    "base-files", "busybox-static", "ca-certificates", "libbz2-1.0", "libc6", "libcrypt1", "libdb5.3", "libexpat1",
    "libffi8", "libgcc-s1", "liblzma5", "libncursesw6", "libnsl2", "libpython3.11-minimal", "libpython3.11-stdlib",
    "libreadline8", "libsqlite3-0", "libssl3", "libstdc++6", "libtinfo6", "libtirpc3", "libuuid1", "media-types",
    "netbase", "python3.11-minimal", "tzdata", "zlib1g",
)  # fmt: skip
"""Everything that is in a guest; named one by one, so that nothing comes along unseen."""

MODULES = ("virtio_mmio", "virtio_blk", "virtio_console", "virtio_net", "squashfs", "overlay", "dm-verity")
"""The kernel's modules that guests have; those that they need are loaded before them, and none ever after."""

LEFT_OUT = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/info",
    "usr/share/binfmts", "usr/share/apport", "usr/lib/python3.11/test", "usr/lib/python3.11/idlelib",
    "usr/lib/python3.11/lib2to3", "usr/lib/python3.11/pydoc_data", "usr/lib/python3.11/ensurepip", "etc/cron.daily",
    "usr/lib/x86_64-linux-gnu/gconv", "usr/share/zoneinfo/right", "usr/share/zoneinfo/posix", "etc/update-motd.d",
)  # fmt: skip

APPLETS = (
    "sh", "ash", "awk", "basename", "cat", "chmod", "cp", "cut", "date", "dd", "df", "dirname", "du", "echo", "env",
    "expr", "false", "find", "grep", "gunzip", "gzip", "head", "hostname", "id", "kill", "ln", "ls", "mkdir",
    "mktemp", "mv", "nc", "nproc", "od", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq",
    "sha256sum", "sleep", "sort", "stat", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "uname",
    "uniq", "unxz", "wc", "wget", "which", "whoami", "xargs", "yes",
)  # fmt: skip
"""What busybox is called by in a guest."""

FIRST_STAGE = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in {modules}; do $b insmod /modules/$module.ko; done
for disk in /sys/block/vd*; do
    [ "$($b cat $disk/serial)" = base ] && $b mount -t squashfs -o ro,nodev,nosuid /dev/${{disk##*/}} /base
done
for place in proc sys dev; do $b mount -o move /$place /base/$place; done
exec $b switch_root /base /usr/bin/python3.11 -I -S -B -c \\
    'import sys; sys.path.insert(0, "/usr/lib/ringfort"); from ringfort.compute.guest.init import main; main()'
"""

FILES = {
    "etc/passwd": "root:x:0:0:root:/:/bin/false\napplication:x:1000:1000:application:/data:/bin/false\n",
    "etc/group": "root:x:0:\napplication:x:1000:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/ld.so.conf": "/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that an image is made of, by digest."""

    form: int
    kernel: Package
    packages: tuple[Package, ...]
    wasmtime: str
    guest: str
    tools: str

    @property
    def digest(self) -> str:
        """What names the image."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: where its files are, and what they are."""

    directory: Path
    inputs: str
    files: Mapping[str, str]

    @property
    def kernel(self) -> Path:
        """The kernel, as ELF, started by its PVH entry."""
        return self.directory / "vmlinux"

    @property
    def initrd(self) -> Path:
        """The first stage."""
        return self.directory / "initrd"

    @property
    def root(self) -> Path:
        """The root file system, a squashfs."""
        return self.directory / "root.squashfs"


def current_inputs(locked: Path | None = None) -> Inputs:
    """What an image would be made of now: apt's newest packages, or those that the manifest ``locked`` lists."""
    if locked is not None:
        listed = json.loads(locked.read_text())["inputs"]
        kernel, rest = Package(**listed["kernel"]), tuple(Package(**one) for one in listed["packages"])
    else:
        (kernel,) = packages.available([packages.kernel()])
        rest = packages.available(ROOT_PACKAGES)
    return Inputs(FORM, kernel, rest, _digest_of(_wasmtime()), _digest_of(_guest()), _tools())


def build(inputs: Inputs, out: Path, cache: Path = CACHE) -> Image:
    """Make the image of ``inputs`` in ``out``; what is there already under its name is taken.

    Raises:
        ImageError: a package can't be had or isn't what it was; a tool is missing.
    """
    target = out / f"image-{inputs.digest[:16]}"
    if (target / "manifest.json").exists():
        return opened(target)
    out.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".image-", dir=out))
    try:
        os.chmod(made, 0o755)  # noqa: S103  # nothing in it is secret; virtual machines run under other accounts
        kernel = packages.unpack(packages.fetch(inputs.kernel, cache / "packages"))
        root = root_tree([packages.fetch(one, cache / "packages") for one in inputs.packages])
        (made / "vmlinux").write_bytes(_kernel(kernel))
        (made / "initrd").write_bytes(to_cpio(first_stage(kernel, root)))
        squash(to_tar(root), made / "root.squashfs")
        files = {name: _sha256(made / name) for name in ("vmlinux", "initrd", "root.squashfs")}
        manifest = {"digest": inputs.digest, "inputs": asdict(inputs), "files": files}
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        made.rename(target)
    except OSError as error:
        if not (target / "manifest.json").exists():  # somebody else made the same one meanwhile
            raise ImageError("image-not-built", f"the image can't be written: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return opened(target)


def opened(directory: Path, *, check: bool = False) -> Image:
    """An image that was built before.

    Args:
        check: whether every file is compared with the digest in the manifest.

    Raises:
        ImageError: there is none, or a file of it is another.
    """
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
        files = dict(manifest["files"])
        inputs = str(manifest["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "run `ringfort image build`"
        raise ImageError("image-missing", f"there is no image in {directory}", hint) from error
    if check:
        for name, digest in files.items():
            if _sha256(directory / name) != digest:
                hint = f"remove {directory} and run `ringfort image build`"
                raise ImageError("image-altered", f"{directory / name} is not the file that was built", hint)
    return Image(directory, inputs, files)


def latest(out: Path = CACHE) -> Image:
    """The image that was built last.

    Raises:
        ImageError: there is none.
    """
    found = sorted(out.glob("image-*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise ImageError("image-missing", f"there is no image in {out}", "run `ringfort image build`")
    return opened(found[-1].parent)


def ensure(out: Path = CACHE) -> Image:
    """An image that fits this version of Ringfort: the newest that is there, or a new one, out of the packages of the
    newest that is there if there is one. So apt is asked for newer packages only by who wants them.

    Raises:
        ImageError: there is none and none can be built.
    """
    try:
        found = latest(out)
    except ImageError:
        return build(current_inputs(), out)
    return build(current_inputs(found.directory / "manifest.json"), out)


def root_tree(archives: list[bytes]) -> Tree:
    """The root file system of guests."""
    tree = Tree()
    for name in ("bin", "lib", "lib64", "sbin"):
        tree.link(name, f"usr/{name}")
    for archive in archives:
        tree.merge(packages.unpack(archive))
    for path in list(tree.entries):
        if any(path == left or path.startswith(f"{left}/") for left in LEFT_OUT):
            del tree.entries[path]
    for path, text in FILES.items():
        tree.file(path, text.encode())
    for name in ("app", "data", "dev", "proc", "root", "run", "sys", "tmp"):
        tree.directory(name)
    for name in APPLETS:
        if f"usr/bin/{name}" not in tree.entries:
            tree.link(f"usr/bin/{name}", "busybox")
    tree.link("usr/bin/python3", "python3.11")
    tree.link("usr/bin/python", "python3.11")
    for path, data in {**_guest(), **_wasmtime()}.items():
        tree.file(f"usr/lib/ringfort/{path}", data)
    compiling.compile_all(tree)
    return tree


def first_stage(kernel: Mapping[str, tuple[object, bytes]], root: Tree) -> Tree:
    """What the kernel gets in its memory: busybox, its modules, and a script that mounts the root file system."""
    tree = Tree()
    tree.file("bin/busybox", root.entries["usr/bin/busybox"].data, 0o755)
    modules = load_order(kernel)
    for name, data in modules.items():
        tree.file(f"modules/{name}.ko", data)
    for name in ("base", "dev", "proc", "sys"):
        tree.directory(name)
    tree.device("dev/console", 5, 1)
    tree.file("init", FIRST_STAGE.format(modules=" ".join(modules)).encode(), 0o755)
    return tree


def load_order(kernel: Mapping[str, tuple[object, bytes]]) -> dict[str, bytes]:
    """`MODULES` and what they need, each after what it needs itself; a module names that in its .modinfo section."""
    known = {Path(path).stem.replace("_", "-"): data for path, (_, data) in kernel.items() if path.endswith(".ko")}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        data = known[name]
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in found[1].decode().split(",") if found and found[1] else ():
            add(needed.replace("_", "-"))
        order.setdefault(name, data)

    for name in MODULES:
        add(name.replace("_", "-"))
    return order


def squash(tar: bytes, out: Path) -> None:
    """A tar as a squashfs. Everything in it belongs to root and is as old as the epoch.

    Raises:
        ImageError: the tool is missing or refuses.
    """
    command = [
        "sqfstar",
        "-quiet",
        "-no-progress",
        "-no-xattrs",
        "-all-root",
        "-root-mode",
        "755",
        "-all-time",
        "0",
        "-mkfs-time",
        "0",
    ]
    command += ["-comp", "lz4", "-Xhc", "-processors", "1", str(out)]
    _filter(command, tar)


def _kernel(package: Mapping[str, tuple[object, bytes]]) -> bytes:
    """The kernel unpacked: a bzImage with an LZ4 payload in the old format; Documentation/arch/x86/boot.rst."""
    (path,) = [name for name in package if name.startswith("boot/vmlinuz-")]
    content = package[path][1]
    setup_sectors = content[0x1F1]
    offset, length = struct.unpack_from("<II", content, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = content[start : start + length - 4]  # the last four bytes are its unpacked size
    unpacked = _filter(["lz4", "-d", "-c"], payload)
    if unpacked[:4] != b"\x7fELF":
        raise ImageError("image-kernel-unknown", f"{path} is not packed as kernels of Debian 12 are")
    return unpacked


def _filter(command: list[str], content: bytes) -> bytes:
    # Without SOURCE_DATE_EPOCH: squashfs-tools refuse it beside -mkfs-time.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False, env=environment)
    except FileNotFoundError as error:
        raise ImageError("image-no-tool", f"{command[0]} is missing", "run `make setup`") from error
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()[-300:]
        raise ImageError("image-not-built", f"{command[0]} refuses: {reason}")
    return done.stdout


def _guest() -> dict[str, bytes]:
    """Our own files that go into guests, by their path below /usr/lib/ringfort."""
    here = Path(__file__).parent / "guest"
    found = {f"ringfort/compute/guest/{path.name}": path.read_bytes() for path in sorted(here.glob("*.py"))}
    return {"ringfort/__init__.py": b"", "ringfort/compute/__init__.py": b"", **found}


def _wasmtime() -> dict[str, bytes]:
    """wasmtime's files of this installation: the setup has compared the package with its locked digest."""
    found = {}
    for file in importlib.metadata.files("wasmtime") or ():
        path = Path(str(file.locate()))
        if file.parts[0] == "wasmtime" and path.suffix in {".py", ".so"}:
            found[str(file)] = path.read_bytes()
    if not found:
        raise ImageError("image-no-wasmtime", "wasmtime is not installed", "run `make setup`")
    return found


def _digest_of(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for path, data in sorted(files.items()):
        total.update(f"{path} {hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()


def _tools() -> str:
    """The tools whose version may show in the bytes."""
    return packages.installed("squashfs-tools")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
