"""A small controller for tests: the real protocol over real TLS, and a switch for each way to go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509

from ringfort.identity.authority import Issuer
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import checked_public_key, new_key, to_pem
from ringfort.identity.credential import Credential
from ringfort.identity.names import Identity, Role, parse
from ringfort.identity.tls import peer, server_context
from ringfort.identity.verification import roles

NEWS_SECONDS = 0.05


class Controller:
    """Serves a repository's directory, keeps reports, gives certificates."""

    def __init__(
        self, repository: Path, issuer: Issuer, bundle: Bundle, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.repository, self.issuer, self.bundle = repository, issuer, bundle
        self.version = 0
        self.reports: list[dict[str, Any]] = []
        self.renewals = 0
        self.renewed: list[str] = []
        """Other identities than a node's own that certificates were asked for, in order."""
        self.lists = b""
        self.lists_number = 1
        self.keys: list[str] = []
        """The Idempotency-Key of each change that was asked for."""
        self.later: list[tuple[int, str]] = []
        """How the next calls are put off: a status, and what Retry-After says."""
        self.asked: list[int] = []
        """What each question for news knew already."""
        self.lifetime_seconds = 3600.0
        self.answers = True
        self.refuses_reports = False
        self.used_tokens: set[int] = set()
        self.connections: set[ssl.SSLSocket] = set()
        self.accepted: list[object] = []
        """Where each connection came from, in order."""
        key = new_key()
        identity = Identity(bundle.trust_domain, Role.CONTROLLER, "one")
        leaf = issuer.issue(identity, [ip_address(address)], key.public_key(), datetime.now(UTC))
        context = server_context(Credential(key, (leaf, issuer.certificate)), bundle)
        self._server = _Server(self, context, (address, port))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def desired(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.bundle.to_pem()).hexdigest()
        return {"version": self.version, "lists": self.lists_number, "bundle": digest}

    def knows(self, query: dict[str, str]) -> bool:
        known = {"version": query["known"], "lists": query.get("lists"), "bundle": query.get("bundle")}
        return all(known[key] in (None, str(value)) for key, value in self.desired.items())

    def cut(self) -> None:
        """End every connection and answer no more."""
        self.answers = False
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Everything that was reported."""
        found = [event for report in self.reports for event in report["events"]]
        return [event for event in found if kind in ("", event["kind"])]

    def wait_for(self, what: Callable[[dict[str, Any]], bool], seconds: float = 10.0) -> dict[str, Any]:
        """The first report for which ``what`` is true."""
        seen, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            while seen < len(self.reports):
                seen += 1
                if what(self.reports[seen - 1]):
                    return self.reports[seen - 1]
            time.sleep(0.02)
        raise AssertionError(f"no such report; the last ones: {json.dumps(self.reports[-2:], indent=1)[-3000:]}")

    def wait_for_event(self, kind: str, seconds: float = 10.0) -> dict[str, Any]:
        report = self.wait_for(lambda report: any(e["kind"] == kind for e in report["events"]), seconds)
        event: dict[str, Any] = next(event for event in report["events"] if event["kind"] == kind)
        return event


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, controller: Controller, context: ssl.SSLContext, address: tuple[str, int]) -> None:
        self.controller, self.context = controller, context
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request_thread(self, request: Any, client_address: object) -> None:  # noqa: ANN401
        controller = self.controller
        if not controller.answers:
            self.shutdown_request(request)
            return
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            request.close()
            return
        controller.connections.add(secured)
        controller.accepted.append(client_address)
        try:
            super().process_request_thread(secured, client_address)
        finally:
            controller.connections.discard(secured)
            secured.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.peer = peer(
            self.connection,
            self.client_address[0],
            self.server.controller.bundle,
            datetime.now(UTC),
            expected=roles(Role.NODE, Role.ENROLMENT),
        )

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""

    def do_GET(self) -> None:
        controller, parts = self.server.controller, urlsplit(self.path)
        if self._puts_off():
            return
        if parts.path.startswith("/v1/environment/"):
            path = controller.repository / parts.path.removeprefix("/v1/environment/")
            if path.is_file():
                self._answer(200, path.read_bytes(), "application/octet-stream")
            else:
                self._problem(404, "not-found")
        elif parts.path == f"/v1/nodes/{self.peer.identity.name}/desired":
            query = {key: value[0] for key, value in parse_qs(parts.query).items()}
            controller.asked.append(int(query["known"]))
            deadline = time.monotonic() + 25
            while controller.knows(query) and time.monotonic() < deadline and controller.answers:
                time.sleep(NEWS_SECONDS)
            self._json(200, controller.desired)
        elif parts.path == "/v1/revocations/lists":
            self._answer(200, controller.lists, "application/octet-stream")
        elif parts.path == "/v1/identity/bundle":
            self._answer(200, controller.bundle.to_pem(), "application/octet-stream")
        else:
            self._problem(404, "not-found")

    def do_POST(self) -> None:
        controller = self.server.controller
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.peer.identity.name
        controller.keys.append(self.headers["Idempotency-Key"])
        if self._puts_off():
            return
        if self.path == f"/v1/nodes/{name}/reports":
            if controller.refuses_reports:
                self._problem(503, "busy")
                return
            known = {"serial": self.peer.certificate.serial_number, "connection": self.client_address}
            controller.reports.append({**body, **known})
            self._json(200, {"version": controller.version, "events": len(body["events"])})
        elif self.path == f"/v1/nodes/{name}/renewals":
            if "identity" in body:
                controller.renewed.append(body["identity"])
                self._issue(parse(body["identity"]), body["csr"])
                return
            controller.renewals += 1
            self._issue(Identity(controller.issuer.trust_domain, Role.NODE, name), body["csr"])
        elif self.path == "/v1/enrolments" and self.peer.identity.role is Role.ENROLMENT:
            serial = self.peer.certificate.serial_number
            if serial in controller.used_tokens:
                self._problem(403, "token-used")
                return
            controller.used_tokens.add(serial)
            self._issue(Identity(controller.issuer.trust_domain, Role.NODE, name), body["csr"])
        else:
            self._problem(404, "not-found")

    def _puts_off(self) -> bool:
        if not self.server.controller.later:
            return False
        status, after = self.server.controller.later.pop(0)
        self.send_response(status)
        for header, value in (("Retry-After", after), ("Content-Length", "0"), ("Connection", "close")):
            self.send_header(header, value)
        self.end_headers()
        self.close_connection = True
        return True

    def _issue(self, identity: Identity, csr: str) -> None:
        controller = self.server.controller
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        issuer = controller.issuer
        leaf = issuer.issue(
            identity,
            [ip_address(self.client_address[0])],
            checked_public_key(request.public_key()),
            datetime.now(UTC),
            timedelta(minutes=5, seconds=controller.lifetime_seconds),
        )
        chain = to_pem([leaf, issuer.certificate]).decode()
        self._json(201, {"identity": "x", "chain": chain, "serial": "1", "expires": "2026-01-01T00:00:00Z"})

    def _problem(self, status: int, code: str) -> None:
        document = {"type": f"https://ringfort.example/problems/{code}", "status": status, "detail": "it is refused"}
        self._answer(status, json.dumps(document).encode(), "application/problem+json")

    def _json(self, status: int, document: object) -> None:
        self._answer(status, json.dumps(document).encode(), "application/json")

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
