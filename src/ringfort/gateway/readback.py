"""What an enforcement point really enforces and has counted, asked of the running process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ringfort.environment.identity import IdentityCheck
from ringfort.errors import RingfortError
from ringfort.gateway import process, runtime
from ringfort.gateway.haproxy import (
    HANDSHAKE,
    LUA,
    REFUSALS,
    Files,
    Guarded,
    certificate_list,
    digest_of,
    parse,
    render,
)
from ringfort.gateway.material import Content, Kind, Material

ACCEPTED = "accepted"


def enforced(files: Files) -> tuple[Guarded, ...]:
    """The checks that the running process makes.

    The process says which configuration it has loaded; the file has to be that one to the last byte. The callers are
    those that the process holds, not those in the files.

    Raises:
        RingfortError: nothing runs, or what runs is not what the files say (``enforcement-changed``).
    """
    loaded = process.loaded(files)
    if not loaded:
        raise RingfortError("enforcement-gone", f"no enforcement point runs in {files.directory}", "run its node")
    try:
        text, lua = Path(files.configuration).read_text(), Path(files.lua).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise RingfortError("enforcement-changed", f"{files.configuration} can't be read") from error
    changed = RingfortError("enforcement-changed", f"{files.directory}: what runs is not what the files say")
    if lua != LUA or digest_of(text, loaded) != loaded:
        raise changed
    callers = {
        name: runtime.entries(files.socket, files.callers(name))
        for name in (one.check.service for one in parse(text, {}))
        if f"-f {files.callers(name)}\n" in text
    }
    found = parse(text, callers)
    for one in found:
        certificates = runtime.certificate_list(files.socket, files.certificates(one.check.service))
        if certificates != certificate_list(one.certificate):
            raise changed
    verifying = [one for one in render(found, files).material if one.kind is not Kind.CERTIFICATE]
    if not all(runtime.is_used(files.socket, one) for one in verifying):
        raise changed  # a trust bundle that no listener uses: nobody is verified
    return found


def checks(files: Files) -> tuple[IdentityCheck, ...]:
    """`enforced`, without where it is enforced."""
    return tuple(one.check for one in enforced(files))


def material(files: Files) -> Mapping[Material, Content]:
    """What the running process holds of each certificate, of the trust bundle and of the revocation lists."""
    return {one: runtime.held(files.socket, one) for one in render(enforced(files), files).material}


def counts(files: Files) -> Mapping[str, Mapping[str, int]]:
    """By service, how often a caller was ``accepted`` or refused, by reason."""
    found: dict[str, dict[str, int]] = {}
    for row in runtime.statistics(files.socket):
        name, _, reason = row["pxname"].partition(".")
        if row["svname"] == "BACKEND":
            key = reason or ACCEPTED
            if key == ACCEPTED or key in REFUSALS:
                found.setdefault(name, {})[key] = int(row["stot"] or 0)
        elif row["svname"] == "FRONTEND":
            failed = int(row.get("ssl_failed_handshake") or 0) or int(row.get("ereq") or 0)
            found.setdefault(name, {})[HANDSHAKE] = failed
    return found
