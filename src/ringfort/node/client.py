"""How a node speaks with its controllers: HTTP/1.1 over mutual TLS, bounded in time and in memory.

Controllers are tried in the order of the configuration, beginning with the one that answered last. One that says
"later" (429, 503 with Retry-After) is asked again then, a few times; 503, another one. Nothing that a controller says
is trusted for what it says: the environment is verified by its signatures.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ringfort.environment.model import Address
from ringfort.errors import RingfortError
from ringfort.node.errors import ControllerError
from ringfort.node.ports import Desired
from ringfort.publishing.fetching import CHUNK, NotThereError, UnreachableError

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
"""How long a controller may take to begin an answer, and to go on with it."""

WHOLE_SECONDS = 60.0
"""How long it may take for all of it."""

MOST_BYTES = 256 * 1024
"""Bytes of an answer that are read, other than files of the repository, which bound themselves."""

MOST_LISTS = 4 * 1024 * 1024
"""Bytes of revocation lists, or of a trust bundle, that are read: some 100,000 entries."""

MOST_PUBLIC = 16 * 1024 * 1024
"""Bytes of what is public at a site that are read: some 20,000 names."""

TRIES = 4
MOST_PATIENCE = 5.0
"""How often a call is made that is put off, and for how many seconds at most each time, whatever is said."""

Connect = Callable[[Address, int, float], ssl.SSLSocket]
"""Opens a connection to a controller and verifies who is there; raises `OSError` or `RingfortError`."""

NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What an instance finds when it starts: ``settings`` is the number of that state. For memory only, and shown
    nowhere. ``disk_key``: 32 bytes, hex."""

    settings: int
    configuration: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    disk_key: str = field(repr=False)


LATER = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)


class Client:
    """One connection at a time, for one thread. It is opened when needed and kept open."""

    def __init__(
        self,
        name: str,
        controllers: tuple[tuple[Address, int], ...],
        connect: Connect,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._name = name
        self._controllers = list(controllers)
        self._connect = connect
        self._clock = clock
        self._sleep = sleep
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- what a node asks ---

    def desired(self, known: Desired, seconds: float) -> Desired:
        """See `ringfort.node.ports.Controller`."""
        asked = {"known": known.version, "lists": known.lists, "bundle": known.bundle or None, "root": known.root}
        query = "&".join(f"{key}={value}" for key, value in asked.items() if value is not None)
        answer = self._json("GET", f"/v1/nodes/{quote(self._name, safe='')}/desired?{query}", wait=seconds)
        version = _number(answer, "version")
        lists, root = (_number(answer, key) if key in answer else None for key in ("lists", "root"))
        return Desired(version, lists, _text(answer, "bundle") if "bundle" in answer else "", root)

    def report(self, document: Mapping[str, Any], *, fresh: bool) -> None:
        """See `ringfort.node.ports.Controller`."""
        if fresh:
            self.close()
        self._json("POST", f"/v1/nodes/{quote(self._name, safe='')}/reports", document)

    def renew(self, csr: str, identity: str = "") -> str:
        """See `ringfort.node.ports.Controller`."""
        form = {"csr": csr, "identity": identity} if identity else {"csr": csr}
        answer = self._json("POST", f"/v1/nodes/{quote(self._name, safe='')}/renewals", form)
        return _text(answer, "chain")

    def lists(self) -> bytes:
        """See `ringfort.node.ports.Controller`."""
        return self._file("/v1/revocations/lists")

    def bundle(self) -> bytes:
        """See `ringfort.node.ports.Controller`."""
        return self._file("/v1/identity/bundle")

    def enrol(self, csr: str) -> str:
        """The first certificate; the connection has to be made with a token. Its chain, PEM."""
        return _text(self._json("POST", "/v1/enrolments", {"csr": csr}), "chain")

    def edge(self, known: str, seconds: float) -> Any:  # noqa: ANN401  # JSON
        """See `ringfort.node.gateway.Controller`."""
        return self._json("GET", f"{self._edge}?known={quote(known, safe='')}", wait=seconds, most=MOST_PUBLIC)

    def own_certificate(self, name: str) -> bytes:
        """See `ringfort.node.public_certificates.Source`."""
        return self._file(f"{self._edge}/certificates/{quote(name, safe='')}")

    def platform_certificate(self, name: str, csr: str) -> str:
        """See `ringfort.node.public_certificates.Source`."""
        return _text(self._json("POST", f"{self._edge}/certificates/{quote(name, safe='')}", {"csr": csr}), "chain")

    @property
    def _edge(self) -> str:
        return f"/v1/nodes/{quote(self._name, safe='')}/edge"

    def fetch(self, path: str) -> Iterator[bytes]:
        """See `ringfort.publishing.fetching.Fetcher`: pieces; whoever takes them bounds how many."""
        try:
            response = self._send("GET", f"/v1/environment/{quote(path)}", None, {}, 0.0)
            if response.status == NOT_FOUND:
                self._rest(response)
                raise NotThereError(path)
            if response.status != http.client.OK:
                raise UnreachableError(f"{path}: {self._problem(response)}")
            yield from self._pieces(response)
        except ControllerError as error:
            raise UnreachableError(f"{path}: {error.message}") from error

    # --- what a node with places asks ---

    def instances(self, known: str, seconds: float) -> Mapping[str, Any]:
        """What should run here, once it is not the revision that is ``known`` any more or ``seconds`` have passed."""
        answer = self._json("GET", f"{self._instances}?known={known}", wait=seconds, most=MOST_LISTS)
        if not isinstance(answer, dict):
            raise ControllerError("bad-answer", "the controller's answer is no list of instances")
        return answer

    def report_instances(self, instances: Sequence[Mapping[str, Any]], room: Mapping[str, int]) -> None:
        """How the instances here are, and what there is for all of them; also the sign that this node lives."""
        self._json("POST", self._instances, {"instances": list(instances), "room": dict(room)})

    def instance_settings(self, instance: str) -> InstanceSettings:
        """What an instance finds when it starts."""
        answer = self._json("GET", f"{self._instances}/{instance}/settings", most=MOST_LISTS)
        return InstanceSettings(
            _number(answer, "settings"), _texts(answer, "configuration"), _texts(answer, "secrets"),
            _text(answer, "disk_key"),
        )  # fmt: skip

    def software(self, instance: str, offset: int) -> bytes:
        """The part of an instance's software that begins at an offset; empty at its end."""
        return self._file(f"{self._instances}/{instance}/software/{offset}")

    def write_log(self, instance: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """What an instance wrote."""
        self._json("POST", f"{self._instances}/{instance}/log", {"lines": list(lines)})

    @property
    def _instances(self) -> str:
        return f"/v1/nodes/{quote(self._name, safe='')}/instances"

    # --- HTTP ---

    def _file(self, path: str) -> bytes:
        response = self._send("GET", path, None, {}, 0.0)
        if response.status != http.client.OK:
            raise ControllerError("refused-by-controller", self._problem(response))
        return self._rest(response, MOST_LISTS)

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        wait: float = 0.0,
        most: int = MOST_BYTES,
    ) -> Any:  # noqa: ANN401  # whatever JSON holds
        headers = {"Accept": "application/json"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
        data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        response = self._send(method, path, data, headers, wait)
        if not http.client.OK <= response.status < http.client.MULTIPLE_CHOICES:
            raise ControllerError("refused-by-controller", self._problem(response))
        try:
            return json.loads(self._rest(response, most))
        except ValueError as error:
            raise ControllerError("bad-answer", "the controller's answer is no JSON") from error

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], wait: float
    ) -> http.client.HTTPResponse:
        """Send a request and read the head of its answer; again when it is put off. Writes carry a key that makes
        doing them twice the same as once."""
        for tries_left in range(TRIES - 1, -1, -1):
            response = self._ask(method, path, body, headers, wait)
            patience = _patience(response)
            if patience is None or not tries_left:
                break
            self._rest(response)
            if response.status == http.client.SERVICE_UNAVAILABLE:  # it is this controller that can't
                self.close()
                self._controllers.append(self._controllers.pop(0))
            self._sleep(patience)
        return response

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], wait: float
    ) -> http.client.HTTPResponse:
        """Send a request once and read the head of its answer.

        A kept connection may have been closed meanwhile; then there is one more try.
        """
        kept = self._connection is not None
        try:
            return self._exchange(method, path, body, headers, wait)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not kept:
                raise ControllerError("unreachable", f"no answer: {_reason(error)}") from error
        try:
            return self._exchange(method, path, body, headers, wait)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ControllerError("unreachable", f"no answer: {_reason(error)}") from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], wait: float
    ) -> http.client.HTTPResponse:
        connection = self._connection or self._open()
        self._connection = connection
        opened = connection.sock
        opened.settimeout(ANSWER_SECONDS + wait)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        opened.settimeout(ANSWER_SECONDS)
        if connection.sock is None:  # the answer ends with the connection, and holds it until then
            self._connection = None
        return response

    def _open(self) -> http.client.HTTPConnection:
        reasons = []
        for number, (address, port) in enumerate(self._controllers):
            try:
                opened = self._connect(address, port, CONNECT_SECONDS)
            except (OSError, RingfortError) as error:
                reasons.append(f"{address} port {port}: {_reason(error)}")
                continue
            if number:  # begin with this one next time
                self._controllers.insert(0, self._controllers.pop(number))
            host = f"[{address}]" if address.version == 6 else str(address)
            connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
            connection.sock = opened
            connection.auto_open = 0  # never in the clear
            return connection
        raise ControllerError("unreachable", "; ".join(reasons) or "no controller is configured")

    def _pieces(self, response: http.client.HTTPResponse) -> Generator[bytes, None, None]:
        """The body in pieces. Whoever stops before its end closes the connection: the rest would be the next answer."""
        deadline = self._clock() + WHOLE_SECONDS
        try:
            while piece := response.read1(CHUNK):
                yield piece
                if self._clock() > deadline:
                    raise TimeoutError(f"it took longer than {WHOLE_SECONDS:g} s")
            response.read()  # nothing is left, and http.client learns that from this only
        except (OSError, http.client.HTTPException) as error:
            raise ControllerError("unreachable", f"the answer broke off: {_reason(error)}") from error
        finally:
            if not response.isclosed():
                response.close()
                self.close()

    def _rest(self, response: http.client.HTTPResponse, most: int = MOST_BYTES) -> bytes:
        """A small answer, whole."""
        content = bytearray()
        with contextlib.closing(self._pieces(response)) as pieces:
            for piece in pieces:
                content += piece
                if len(content) > most:
                    raise ControllerError("bad-answer", f"the answer is larger than {most:,} bytes")
        return bytes(content)

    def _problem(self, response: http.client.HTTPResponse) -> str:
        """What a problem document (RFC 9457) says, or the status alone."""
        try:
            document = json.loads(self._rest(response))
            code = str(document["type"]).rpartition("/")[2]
            return f"{response.status} {code}: {str(document['detail'])[:300]}"
        except (ValueError, KeyError, TypeError):
            return f"{response.status} {response.reason[:100]}"


def _patience(response: http.client.HTTPResponse) -> float | None:
    """How many seconds to wait before asking again; None if there is no point in it.

    A date (RFC 9110, 10.2.3) is as good as the longest wait: whose clock it is by is not known here.
    """
    after = response.headers.get("Retry-After", "").strip()
    if response.status not in LATER or not after:
        return None
    return min(float(after), MOST_PATIENCE) if after.isdecimal() else MOST_PATIENCE


def _reason(error: Exception) -> str:
    if isinstance(error, RingfortError):
        return error.message
    return str(error) or type(error).__name__


def _number(answer: object, key: str) -> int:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ControllerError("bad-answer", f"the controller's answer has no {key}")
    return value


def _text(answer: object, key: str) -> str:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, str):
        raise ControllerError("bad-answer", f"the controller's answer has no {key}")
    return value


def _texts(answer: object, key: str) -> Mapping[str, str]:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ControllerError("bad-answer", f"the controller's answer has no {key}")
    return value
