"""``ringfort witness``: cosign the checkpoints of audit logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from aiohttp import web

_FILE = click.Path(dir_okay=False, path_type=Path)
LOOPBACK = frozenset({"127.0.0.1", "::1"})


@click.command(
    epilog="""\b
Examples:
  ringfort witness --make-key shop.example/witness/south --key south.key
  ringfort witness --key south.key --log "$(cat audit.vkey)" --state witness --listen 10.20.6.11:8445 \\
      --credential witness.pem --bundle bundle.pem
"""
)
@click.option("--key", type=_FILE, required=True, help="The witness's signing key, a file for its owner alone.")
@click.option("--make-key", metavar="NAME", help="Make that key, and print what a policy says of it.")
@click.option("--log", "logs", metavar="VKEY", multiple=True, help="The key of a log to witness; repeat it for more.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Where to remember what was cosigned.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to listen.")
@click.option("--credential", type=_FILE, help="The witness's certificate and key, one PEM file.")
@click.option("--bundle", type=_FILE, help="The platform's trust bundle.")
@click.option("--clear", is_flag=True, help="Without TLS; on a loopback address only.")
def command(
    key: Path,
    make_key: str | None,
    logs: tuple[str, ...],
    state: Path | None,
    listen: str | None,
    credential: Path | None,
    bundle: Path | None,
    clear: bool,
) -> None:
    """Witness audit logs: cosign a checkpoint only if it continues the one cosigned before (C2SP tlog-witness).

    Run it on another site than the controllers, by other people if you can. A log that shows two histories gets one of
    them cosigned; the other stays in the state directory as evidence, and an event says so on stdout.
    """
    if make_key is not None:
        _make_key(key, make_key)
        return
    if not logs or state is None or listen is None:
        raise click.UsageError("a witness needs --log, --state and --listen")
    host, port = _address(listen)
    if clear and host not in LOOPBACK:
        raise click.UsageError("--clear listens on 127.0.0.1 or ::1 only")
    if not clear and (credential is None or bundle is None):
        raise click.UsageError("a witness speaks TLS: --credential and --bundle, or --clear on a loopback address")
    asyncio.run(_serve(key, logs, state, (host, port), None if clear else (credential, bundle)))


def _make_key(path: Path, name: str) -> None:
    from ringfort.audit.keys import make
    from ringfort.audit.notes import COSIGNATURE

    made = make(path, name, COSIGNATURE)
    click.echo(f"witness {name.rpartition('/')[2]} {made.public()}")


async def _serve(
    key: Path,
    logs: tuple[str, ...],
    state: Path,
    address: tuple[str, int],
    tls: tuple[Path | None, Path | None] | None,
) -> None:
    from ringfort.audit.keys import read
    from ringfort.audit.notes import COSIGNATURE, parse_verifier_key
    from ringfort.audit.witness import Witness, application, serving

    signer = read(key, COSIGNATURE)
    witness = Witness(state, signer, [parse_verifier_key(log) for log in logs])
    context, admit = (None, None) if tls is None else _platform(*tls)
    app = application(witness, _now, _tell, *([admit] if admit else []))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(app, *address, context) as port:
        _tell({"event": "witness:service:listening", "port": str(port), "key": str(signer.public())})
        await stop.wait()


def _platform(credential: Path | None, bundle: Path | None) -> tuple[ssl.SSLContext, Callable[[web.Request], None]]:
    """TLS with the platform's identities: controllers and operators may submit."""
    from ringfort.identity.names import Role
    from ringfort.identity.store import read_bundle, read_credential
    from ringfort.identity.tls import Party, peer
    from ringfort.identity.verification import roles

    assert credential is not None
    assert bundle is not None
    party = Party(read_credential(credential), read_bundle(bundle))
    stamp = _stamp(credential, bundle)

    def admit(request: web.Request) -> None:
        nonlocal stamp
        # A renewed certificate is another file under the name: the next handshake takes it.
        if _stamp(credential, bundle) != stamp:
            party.renew(read_credential(credential), read_bundle(bundle))
            stamp = _stamp(credential, bundle)
        transport = request.transport
        tls = None if transport is None else transport.get_extra_info("ssl_object")
        allowed = roles(Role.CONTROLLER, Role.OPERATOR)
        peer(tls, request.remote, party.bundle, _now(), expected=allowed)

    return party.server, admit


def _stamp(*paths: Path) -> tuple[tuple[int, int], ...]:
    with contextlib.suppress(OSError):
        return tuple((path.stat().st_ino, path.stat().st_mtime_ns) for path in paths)
    return ()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise RingfortError(
            "address-malformed", f"{text!r} is no ADDRESS:PORT", "write 10.0.0.1:8445 or [fd00::1]:8445"
        )
    return host.strip("[]"), int(port)


def _tell(event: Mapping[str, str]) -> None:
    sys.stdout.write(json.dumps({"at": _now().isoformat(), **event}) + "\n")
    sys.stdout.flush()


def _now() -> datetime:
    return datetime.now(UTC)
