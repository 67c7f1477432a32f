"""A caller of the API, for the command line: one call at a time, over mutual TLS 1.3."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ringfort.control.clock import now
from ringfort.control.errors import ControlError
from ringfort.errors import RingfortError
from ringfort.identity.bundle import Bundle
from ringfort.identity.credential import Credential
from ringfort.identity.names import Role
from ringfort.identity.tls import client_context, peer
from ringfort.identity.verification import roles

SECONDS = 40.0
LARGEST = 64 * 1024 * 1024


class CallRefusedError(RingfortError):
    """A controller refused a call. ``status`` is HTTP's; ``code`` the problem's."""

    exit_code = 1

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(code, message, hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    media: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a controller listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """``ADDRESS:PORT`` or ``[ADDRESS]:PORT``.

        Raises:
            ControlError: it is neither.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ControlError(
                "address-malformed", f"{text!r} is no ADDRESS:PORT", "write 10.0.0.1:8443 or [fd00::1]:8443"
            )
        return cls(host.strip("[]"), int(port))


class Client:
    """Calls one controller, on one connection for as long as it lasts."""

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext,
        bundle: Bundle,
        seconds: float = SECONDS,
        *,
        at_home: bool = True,
    ) -> None:
        """Args: ``at_home``: the controller's certificate has to name the address that is called."""
        self._endpoint, self._context, self._bundle, self._seconds = endpoint, context, bundle, seconds
        self._at_home = at_home
        self._connection: http.client.HTTPSConnection | None = None

    @classmethod
    def platform(cls, endpoint: Endpoint, credential: Credential, bundle: Bundle, seconds: float = SECONDS) -> Self:
        """A caller with a certificate of the platform."""
        return cls(endpoint, client_context(credential, bundle), bundle, seconds)

    @classmethod
    def customer(
        cls, endpoint: Endpoint, certificate: Path, key: Path, bundle: Bundle, seconds: float = SECONDS
    ) -> Self:
        """A caller with a certificate that a customer registered.

        It may call an address at which controllers are published, which their certificates don't name: that it is a
        controller's is checked, where it is used isn't.

        Raises:
            ControlError: the files hold no certificate and its key.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=bundle.roots_pem().decode())
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise ControlError(
                "certificate-unusable", f"{certificate} and {key} are no certificate and its key"
            ) from error
        return cls(endpoint, context, bundle, seconds, at_home=False)

    def get(self, path: str) -> Any:  # noqa: ANN401  # whatever JSON holds
        """The answer to a reading call.

        Raises:
            CallRefusedError: the controller refuses.
            ControlError: it can't be reached, or is not a controller.
        """
        return self.call("GET", path)

    def fetch(self, path: str) -> bytes:
        """The bytes of a file; raises like `get`."""
        return self._exchange("GET", path, None, {})

    def call(self, method: str, path: str, body: object = None, *, reason: str = "", key: str = "") -> Any:  # noqa: ANN401  # whatever JSON holds
        """The answer to a call; raises like `get`.

        Args:
            reason: why, for the audit record.
            key: the same for the same change, made again because its answer was lost; a new one by default.
        """
        headers = {}
        if method != "GET":
            headers["Idempotency-Key"] = key or secrets.token_urlsafe(24)
        if reason:
            headers["Ringfort-Ticket"] = reason
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        answer = self._exchange(method, path, data, headers)
        return json.loads(answer) if answer else None

    def put(self, path: str, content: bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
        """The answer to a change that takes bytes and is the same however often it is made; raises like `get`."""
        headers = {"Idempotency-Key": secrets.token_urlsafe(24), "Content-Type": "application/octet-stream"}
        return json.loads(self._exchange("PUT", path, content, headers))

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> bytes:
        answer = self.send(method, path, data, headers)
        if answer.status >= 400:
            raise _refused(answer.status, answer.body)
        return answer.body

    def send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Whatever is answered, refusals too.

        Raises:
            ControlError: the controller can't be reached, or is not a controller.
        """
        try:
            connection = self._connected()
            connection.request(method, path, data, dict(headers))
            response = connection.getresponse()
            body = response.read(LARGEST)
            if response.will_close:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            what = str(error) or type(error).__name__
            message = f"the controller at {self._endpoint.host} port {self._endpoint.port} can't be reached: {what}"
            raise ControlError("controller-unreachable", message) from error
        return Answer(response.status, response.headers.get_content_type(), body)

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            connection = http.client.HTTPSConnection(
                self._endpoint.host, self._endpoint.port, timeout=self._seconds, context=self._context
            )
            self._connection = connection
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            try:
                address = connection.sock.getpeername()[0] if self._at_home else None
                peer(connection.sock, address, self._bundle, now(), expected=roles(Role.CONTROLLER))
            except RingfortError:
                self.close()
                raise
        return self._connection


def _refused(status: int, answer: bytes) -> CallRefusedError:
    try:
        problem = json.loads(answer)
        code = str(problem["type"]).rsplit("/", 1)[-1]
        faults = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("faults", []))
        message = f"{problem['detail']}: {faults}" if faults else str(problem["detail"])
        return CallRefusedError(status, code, message, str(problem.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        return CallRefusedError(status, "refused", f"the controller answered {status}", "")
