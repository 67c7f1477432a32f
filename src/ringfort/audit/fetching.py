"""Over HTTP: the files of a log, and a witness's cosignatures. TLS is whatever context the caller brings."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol
from urllib.parse import urlsplit

from ringfort.audit.checkpoint import cosigned_by
from ringfort.audit.errors import AuditError
from ringfort.audit.notes import Note, Signature, VerifierKey, parse_signatures
from ringfort.audit.reading import MissingFileError
from ringfort.audit.tree import Hash
from ringfort.audit.witnessing import write_request
from ringfort.errors import RingfortError

TIMEOUT_SECONDS = 10.0
LONGEST_ANSWER = 64 * 1024
"""Bytes of a witness's answer."""


class Web:
    """Files of a log behind a URL, fetched over one connection; a `reading.Files`.

    Args:
        url: the log's prefix, ``http`` or ``https``.
        tls: the client's context for ``https``; none takes the system's authorities.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._caller = _Caller(url, tls)

    @property
    def place(self) -> str:
        """The URL."""
        return self._caller.url

    def read(self, path: str, limit: int) -> bytes:
        """As `reading.Files` says."""
        status, data = self._caller.call("GET", f"/{path}", None, limit)
        if status == http.HTTPStatus.NOT_FOUND:
            raise MissingFileError("audit-file-missing", f"{self.place}/{path} is missing")
        if status != http.HTTPStatus.OK:
            raise AuditError("audit-file", f"{self.place}/{path} is refused with status {status}")
        return data

    def close(self) -> None:
        """Drop the connection."""
        self._caller.close()


class WitnessConflictError(AuditError):
    """The witness cosigned a checkpoint of another size last: ``size``."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__("audit-witness-conflict", f"{name} cosigned a checkpoint of {size} records last")
        self.size = size


class Cosigner(Protocol):
    """Someone who cosigns checkpoints."""

    @property
    def key(self) -> VerifierKey:
        """The key that the cosignature is of."""

    def cosign(self, old: int, proof: Sequence[Hash], note: Note) -> Signature:
        """The cosignature under ``note``.

        Raises:
            WitnessConflictError: ``old`` is not the size it cosigned last.
            AuditError: it refuses, or can't be reached.
        """


Check = Callable[[ssl.SSLSocket], None]
"""Looks at who is there, after the handshake and before anything is sent; raises a `RingfortError` at somebody else."""


class RemoteWitness:
    """A witness behind a URL; a `Cosigner`. Not safe for several threads at once.

    Args:
        key: whose cosignature is wanted.
        url: the submission prefix.
        tls: the client's context for ``https``.
        check: who may be there; without it whoever that context accepts.
    """

    def __init__(
        self, key: VerifierKey, url: str, tls: ssl.SSLContext | None = None, check: Check | None = None
    ) -> None:
        self._key = key
        self._caller = _Caller(url, tls, check)

    @property
    def key(self) -> VerifierKey:
        """As `Cosigner` says."""
        return self._key

    def cosign(self, old: int, proof: Sequence[Hash], note: Note) -> Signature:
        """As `Cosigner` says. The cosignature is verified."""
        status, data = self._caller.call("POST", "/add-checkpoint", write_request(old, proof, note), LONGEST_ANSWER)
        text = data.decode("utf-8", "replace").strip()
        if status == http.HTTPStatus.CONFLICT and text.isascii() and text.isdecimal() and len(text) < 20:
            raise WitnessConflictError(self._key.name, int(text))
        if status != http.HTTPStatus.OK:
            raise AuditError("audit-witness-refused", f"{self._key.name} does not cosign ({status}): {text[:200]}")
        signatures = [signature for signature in parse_signatures(data) if self._key.signed(signature)]
        if not signatures or cosigned_by(Note(note.text, tuple(signatures)), self._key) is None:
            raise AuditError(
                "audit-witness-refused", f"{self._caller.url} answered without a cosignature of {self._key.name}"
            )
        return signatures[-1]

    def close(self) -> None:
        """Drop the connection."""
        self._caller.close()


class _Caller:
    """One connection to one server, made anew when it was dropped."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, check: Check | None = None) -> None:
        self._check = check
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise AuditError("audit-url", f"{url} is no URL of http or https")
        self.url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_SECONDS, context=tls or ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)

    def call(self, method: str, path: str, body: bytes | None, limit: int) -> tuple[int, bytes]:
        """Status and content of one request.

        Raises:
            AuditError: the server can't be reached, is somebody else, or answers with more than ``limit`` bytes.
        """
        for last in (False, True):
            try:
                return self._once(method, path, body, limit)
            except (http.client.HTTPException, OSError) as error:
                self.close()
                if last:
                    raise AuditError("audit-unreachable", f"{self.url} can't be reached: {error}") from error
        raise AssertionError

    def _once(self, method: str, path: str, body: bytes | None, limit: int) -> tuple[int, bytes]:
        if self._connection.sock is None:
            self._open()
        self._connection.request(method, self._prefix + path, body)
        with closing(self._connection.getresponse()) as response:
            data = response.read(limit + 1)
            if len(data) > limit:
                self.close()
                raise AuditError("audit-file", f"{self.url}{path} is longer than {limit} bytes")
            return response.status, data

    def _open(self) -> None:
        self._connection.connect()
        if self._check is None:
            return
        if not isinstance(self._connection.sock, ssl.SSLSocket):
            raise AuditError("audit-wrong-server", f"{self.url} is not under TLS, so nobody knows who is there")
        try:
            self._check(self._connection.sock)
        except RingfortError as error:
            self.close()
            raise AuditError("audit-wrong-server", f"{self.url} is somebody else: {error.message}") from error

    def close(self) -> None:
        self._connection.close()
