"""Debian packages for the guests: found and checked by apt, recorded with their digests, unpacked here.

Nothing of a package is run: its files are read out of the archive, its maintainer scripts are not even looked at.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ringfort.compute.errors import ImageError

_LINE = re.compile(
    r"'(?P<uri>[^']+)' (?P<file>\S+_(?P<version>[^_]+)_[a-z0-9]+\.deb) (?P<size>\d+) SHA256:(?P<sha256>\w+)"
)
APT_SECONDS = 600


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One Debian package, exactly: whoever has the same digest has the same bytes."""

    name: str
    version: str
    file: str
    sha256: str


def available(names: Iterable[str]) -> tuple[Package, ...]:
    """The newest version of each package that this machine's apt offers, by name.

    Raises:
        ImageError: apt doesn't know one, or doesn't know its digest.
    """
    wanted = sorted(set(names))
    text = _apt("download", "--print-uris", "-qq", *wanted)
    found = [_package(line) for line in text.splitlines() if line]
    missing = set(wanted) - {package.name for package in found}
    if missing:
        raise ImageError("image-package-missing", f"apt offers no {', '.join(sorted(missing))}", "run apt-get update")
    return tuple(sorted(found))


def kernel() -> str:
    """The package of the newest kernel for virtual machines: what linux-image-cloud-amd64 depends on."""
    text = _run("apt-cache", "depends", "linux-image-cloud-amd64")
    found = re.search(r"Depends: (linux-image-\S+)", text)
    if found is None:
        raise ImageError("image-package-missing", "apt knows no linux-image-cloud-amd64", "run apt-get update")
    return found[1]


def _package(line: str) -> Package:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ImageError("image-package-unknown", f"apt says what we don't understand: {line[:200]}")
    name = found["file"].partition("_")[0]
    return Package(name, found["version"].replace("%3a", ":"), found["file"], found["sha256"])


def fetch(package: Package, directory: Path) -> bytes:
    """The bytes of a package, from ``directory`` or, when they aren't there, from where apt gets packages.

    Raises:
        ImageError: they can't be had, or are others than the digest says.
    """
    file = directory / package.file
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        _apt("download", "-q", f"{package.name}={package.version}", directory=directory)
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:
        file.unlink()
        raise ImageError("image-package-altered", f"{package.file} has the digest {digest}, not {package.sha256}")
    return content


def unpack(content: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """The files, directories and links of a package by their path, without the leading ``./``."""
    archive = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", "/dev/stdin"], input=content, capture_output=True, check=False
    )
    if archive.returncode != 0:
        raise ImageError("image-package-broken", archive.stderr.decode(errors="replace").strip())
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isreg() else None
            path = member.name.removeprefix("./").rstrip("/")
            if path not in ("", "."):
                found[path] = member, stream.read() if stream else b""
    return found


def _apt(*words: str, directory: Path | None = None) -> str:
    return _run("apt-get", "-o", "APT::Sandbox::User=root", *words, directory=directory)


def _run(*words: str, directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            cwd=directory,
            timeout=APT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        hint = "build the image on a Debian system"
        raise ImageError("image-no-apt", f"there is no {words[0]} here", hint) from error
    except subprocess.TimeoutExpired as error:
        raise ImageError("image-apt-failed", f"{words[0]} took more than {APT_SECONDS} s") from error
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ImageError("image-apt-failed", f"{words[0]} refuses: {reason[0]}", "run apt-get update and try again")
    return done.stdout


def installed(name: str) -> str:
    """The version of a package on this machine; empty when it isn't installed."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
