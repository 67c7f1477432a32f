"""A real ACME server for tests, and a client that can also do what no client should."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.gateway.acme.authority import PublicIssuer, PublicRoot
from ringfort.gateway.acme.database import Database
from ringfort.gateway.acme.model import Limits
from ringfort.gateway.acme.names import FileNames
from ringfort.gateway.acme.server import Server
from ringfort.gateway.acme.service import Service
from ringfort.gateway.acme.validation import Gateway
from tests.gateway.edges import free_port

NAMES = {"www.shop.example": "acme", "api.shop.example": "acme", "blog.shop.example": "zeta"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class Acme:
    """The server, on a loop of its own."""

    url: str
    port: int
    names: Path
    issuer: PublicIssuer
    root: PublicRoot
    _loop: asyncio.AbstractEventLoop
    _runner: web.AppRunner
    _thread: threading.Thread

    def own(self, names: dict[str, str]) -> None:
        """Say whose names these are from now on."""
        self.names.with_suffix(".new").write_text(json.dumps(names))
        self.names.with_suffix(".new").rename(self.names)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def start(
    directory: Path, gateways: Sequence[Gateway], *, url: str = "", port: int = 0, database: str = "",
    limits: Limits | None = None, authority: tuple[PublicRoot, PublicIssuer] | None = None, trusted: Sequence[str] = (),
) -> Acme:  # fmt: skip
    """Start one."""
    now = datetime.now(UTC)
    if authority is None:
        root = PublicRoot.create("tests", now)
        authority = (root, root.issuer(["shop.example"], now, timedelta(days=100)))
    names = directory / "names.json"
    if not names.exists():
        names.write_text(json.dumps(NAMES))
    port = port or free_port()
    url = url or f"http://127.0.0.1:{port}"
    store = Database(database or f"sqlite:///{directory / 'acme.db'}")
    service = Service(store, authority[1], FileNames(names), limits, f"{url}/revoked.crl")
    server = Server(service, url, gateways, limits, trusted)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.application)

    async def run() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    loop.run_until_complete(run())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    return Acme(url, port, names, authority[1], authority[0], loop, runner, thread)


@contextlib.contextmanager
def acme(directory: Path, gateways: Sequence[Gateway], **options: Any) -> Iterator[Acme]:  # noqa: ANN401
    made = start(directory, gateways, **options)
    try:
        yield made
    finally:
        made.stop()


class Key:
    """An account's key, and what it signs."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.private = ec.generate_private_key(curve or ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        size = self.private.key_size // 8
        self.jwk = {
            "kty": "EC", "crv": f"P-{self.private.key_size}", "x": b64(numbers.x.to_bytes(size, "big")),
            "y": b64(numbers.y.to_bytes(size, "big")),
        }  # fmt: skip
        self.algorithm = f"ES{self.private.key_size}"
        self._digest: hashes.HashAlgorithm = hashes.SHA256() if size == 32 else hashes.SHA384()
        self._size = size

    @property
    def thumbprint(self) -> str:
        text = json.dumps({name: self.jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        return b64(hashlib.sha256(text.encode()).digest())

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(self._digest)))
        return r.to_bytes(self._size, "big") + s.to_bytes(self._size, "big")

    def jws(self, header: dict[str, Any], payload: bytes) -> dict[str, str]:
        protected = b64(json.dumps(header).encode())
        signed = f"{protected}.{b64(payload)}".encode()
        return {"protected": protected, "payload": b64(payload), "signature": b64(self.sign(signed))}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:  # noqa: ANN401
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        """The kind of the problem; "" where there is none."""
        if self.status < 400:
            return ""
        assert self.headers["content-type"].startswith("application/problem+json")
        return str(self.body["type"]).rpartition(":")[2]


@dataclass
class Client:
    """One account of one customer."""

    acme: Acme
    key: Key = field(default_factory=Key)
    account: str = ""
    nonce: str = ""

    def http(self, method: str, url: str, body: bytes | None = None, kind: str = "application/jose+json") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.acme.port, timeout=20)
        try:
            headers = {"Content-Type": kind} if body is not None else {}
            connection.request(method, url.removeprefix(self.acme.url), body, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            self.nonce = found.get("replay-nonce", self.nonce)
            return Answer(response.status, found, response.read().decode("latin-1"))
        finally:
            connection.close()

    def fresh(self) -> str:
        self.http("HEAD", self.acme.url + "/new-nonce")
        return self.nonce

    def post(
        self,
        path: str,
        payload: object | None,
        *,
        key: Key | None = None,
        **header: Any,  # noqa: ANN401
    ) -> Answer:
        """A signed request; ``header`` replaces parts of the protected header (None leaves one out)."""
        url = path if path.startswith("http") else self.acme.url + path
        signer = key or self.key
        whole: dict[str, Any] = {"alg": signer.algorithm, "url": url, "nonce": self.nonce or self.fresh()}
        whole |= {"kid": self.account} if self.account else {"jwk": signer.jwk}
        whole = {name: value for name, value in (whole | header).items() if value is not None}
        self.nonce = ""
        text = b"" if payload is None else json.dumps(payload).encode()
        return self.http("POST", url, json.dumps(signer.jws(whole, text)).encode())

    def register(self) -> Client:
        answer = self.post("/new-account", {"termsOfServiceAgreed": True, "contact": ["mailto:a@shop.example"]})
        assert answer.status in (200, 201), answer.text
        self.account = answer.headers["location"]
        return self

    def order(self, *names: str) -> Answer:
        return self.post("/new-order", {"identifiers": [{"type": "dns", "value": name} for name in names]})

    def prove(self, order: Answer, gateway: Any, timeout: float = 20.0) -> list[str]:  # noqa: ANN401
        """Put the answers in place, ask for them to be looked at, wait; the states of the authorisations."""
        for url in order.body["authorizations"]:
            (challenge,) = self.post(url, None).body["challenges"]
            gateway.answers[f"/.well-known/acme-challenge/{challenge['token']}"] = (
                f"{challenge['token']}.{self.key.thumbprint}"
            )
            assert self.post(challenge["url"], {}).status == 200
        return [self.wait(url, timeout)["status"] for url in order.body["authorizations"]]

    def wait(self, url: str, timeout: float = 20.0) -> Any:  # noqa: ANN401
        deadline = time.monotonic() + timeout
        while True:
            body = self.post(url, None).body
            if body["status"] not in ("pending", "processing") or time.monotonic() > deadline:
                return body
            time.sleep(0.05)

    def finalize(self, order: Answer, request: bytes) -> Answer:
        return self.post(order.body["finalize"], {"csr": b64(request)})


def csr(names: Sequence[str], key: Any = None) -> bytes:  # noqa: ANN401
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    signer = key or ec.generate_private_key(ec.SECP256R1())
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def gateway_at(port: int) -> Gateway:
    return Gateway(ip_address("127.0.0.1"), port)
