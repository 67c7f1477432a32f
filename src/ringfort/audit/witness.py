"""A witness: cosigns what follows from what it cosigned before, and remembers it durably (C2SP tlog-witness)."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path

from aiohttp import web

from ringfort.audit.checkpoint import Checkpoint, SignedCheckpoint, cosign, parse_checkpoint
from ringfort.audit.errors import AuditError
from ringfort.audit.journal import replace_file
from ringfort.audit.notes import SignerKey, VerifierKey
from ringfort.audit.witnessing import LONGEST_REQUEST, Refusal, judge
from ringfort.errors import RingfortError

MOST_FORKS = 64
"""Forked checkpoints of a log that are kept as evidence."""

PATIENCE_SECONDS = 10.0
"""A request that takes longer to arrive is dropped."""


class Witness:
    """A witness with its state in a directory; several processes may share it.

    Args:
        directory: one file for each log: the last checkpoint with its cosignature. Made if it isn't there.
        key: the cosigner's.
        logs: keys of the logs that are witnessed; each is named like its log's origin.
    """

    def __init__(self, directory: Path, key: SignerKey, logs: Sequence[VerifierKey]) -> None:
        self._directory = directory
        self._key = key
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            self._logs.setdefault(log.name, []).append(log)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add_checkpoint(self, body: bytes, now: datetime) -> Refusal | str:
        """Signature lines for a request's checkpoint, or a refusal. The checkpoint is durable before this returns.

        Raises:
            OSError: the state can't be written; nothing was cosigned.
        """
        with self._locked():
            verdict = judge(body, self._logs, self._latest)
            if isinstance(verdict, Refusal):
                if verdict.fork is not None:
                    self._keep_fork(verdict.fork)
                return verdict
            signature = cosign(verdict.note, self._key, now)
            origin = verdict.checkpoint.origin
            replace_file(self._file(origin), str(verdict.note.with_signatures([signature])).encode(), 0o644)
        return signature.line()

    def latest(self, origin_hash: str) -> bytes | None:
        """The last checkpoint cosigned for the log whose origin has that SHA-256, as served to monitors."""
        for origin in self._logs:
            if _hash(origin) == origin_hash and self._file(origin).exists():
                return self._file(origin).read_bytes()
        return None

    def forks(self) -> list[SignedCheckpoint]:
        """Checkpoints that contradict one which was cosigned: each proves that its log forked."""
        return [parse_checkpoint(path.read_bytes()) for path in sorted(self._directory.glob("*.fork-*"))]

    def _latest(self, origin: str) -> Checkpoint | None:
        try:
            return parse_checkpoint(self._file(origin).read_bytes()).checkpoint
        except FileNotFoundError:
            return None

    def _keep_fork(self, signed: SignedCheckpoint) -> None:
        place = self._file(signed.checkpoint.origin)
        name = f"{place.name}.fork-{signed.checkpoint.size}-{signed.checkpoint.root.hex()[:16]}"
        if len(list(self._directory.glob(f"{place.name}.fork-*"))) < MOST_FORKS:
            replace_file(place.with_name(name), str(signed).encode())

    def _file(self, origin: str) -> Path:
        return self._directory / _hash(origin)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _hash(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _anyone(_: web.Request) -> None:
    """A checkpoint's own signature is all that the specification asks for."""


def application(
    witness: Witness,
    clock: Callable[[], datetime],
    told: Callable[[Mapping[str, str]], None] = lambda _: None,
    admit: Callable[[web.Request], None] = _anyone,
) -> web.Application:
    """The witness over HTTP.

    Args:
        told: hears of every answer, and of forks.
        admit: raises a `RingfortError` for a caller that may not submit.
    """

    async def add(request: web.Request) -> web.Response:
        try:
            admit(request)
        except RingfortError as error:
            told({"event": "witness:caller:refused", "why": error.message})
            return web.Response(status=403, text=f"{error.message}\n")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="the request took too long to arrive\n")
        answer = await asyncio.to_thread(witness.add_checkpoint, body, clock())
        if isinstance(answer, str):
            told({"event": "witness:checkpoint:cosigned"})
            return web.Response(text=answer)
        event = "witness:log:forked" if answer.fork else "witness:checkpoint:refused"
        told({"event": event, "status": str(answer.status), "why": answer.text.strip()})
        return web.Response(
            status=answer.status, body=answer.text.encode(), headers={"Content-Type": answer.content_type}
        )

    async def latest(request: web.Request) -> web.Response:
        found = await asyncio.to_thread(witness.latest, request.match_info["origin"])
        if found is None:
            return web.Response(status=404, text="this witness never cosigned a checkpoint of that log\n")
        return web.Response(body=found, headers={"Content-Type": "text/plain; charset=utf-8"})

    app = web.Application(client_max_size=LONGEST_REQUEST)
    app.add_routes([web.post("/add-checkpoint", add), web.get(r"/{origin:[0-9a-f]{64}}/checkpoint", latest)])
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Serve while inside; gives the port.

    Args:
        tls: the context of the server's side; none serves in clear, for tests on one machine.

    Raises:
        AuditError: the address can't be bound.
    """
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=60)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            raise AuditError("audit-witness-address", f"{host} port {port} can't be bound: {error.strerror}") from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
