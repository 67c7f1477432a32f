"""A cheap look at a HAProxy: whether anything is another than at the last look, but not what.

All that it holds - the digest of its configuration, callers, maps, certificates, trust bundle, lists - is asked for in
one question, and of files only what the disk says about them. That is less than a millisecond, so it can be done often;
whoever finds something else looks closely (`ringfort.gateway.process.differences`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from ringfort.gateway import runtime
from ringfort.gateway.haproxy import CALLERS, CERTIFICATES, Configuration
from ringfort.gateway.place import Place
from ringfort.gateway.process import LARGE, VARIABLE
from ringfort.gateway.runtime import RuntimeRefusedError

MAPS = ".map"
"""How the names of maps end."""


def glance(wanted: Configuration, files: Place) -> str:
    """What tells one state from another: of the process that answers at its socket, and of its files. Hexadecimal; ""
    when nobody answers."""
    try:
        held = runtime.ask(files.socket, "; ".join(_questions(wanted)))
    except RuntimeRefusedError:
        return ""
    return hashlib.sha256("\n".join((held, *_marks(wanted))).encode()).hexdigest()


def _questions(wanted: Configuration) -> Iterator[str]:
    yield f"show env {VARIABLE}"
    yield f"show env {LARGE}"
    for path in sorted(wanted.files):
        if path.endswith(CALLERS):
            yield f"show acl {path}"
        elif path.endswith(MAPS):
            yield f"show map {path}"
        elif path.endswith(CERTIFICATES):
            yield f"show ssl crt-list {path}"
    for one in dict.fromkeys(wanted.material):
        yield f"show ssl {one.kind} {one.path}"


def _marks(wanted: Configuration) -> Iterator[str]:
    for path in (*wanted.files, *(one.path for one in wanted.material)):
        try:
            found = os.stat(path)
        except OSError:
            yield f"{path} is gone"
        else:
            yield f"{path} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
