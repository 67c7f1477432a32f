"""A controller on loopback with an authority, certificates and clients of its own, for tests."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ringfort.control.authorisation import Policies
from ringfort.control.client import Answer, Client, Endpoint
from ringfort.control.controller import Controller
from ringfort.control.settings import read_settings
from ringfort.identity import token
from ringfort.identity.authority import DEFAULT_LIFETIME
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.names import Identity, Role
from ringfort.identity.store import Store, write_credential
from ringfort.publishing.keys import generate, write_private
from tests.control.described import faults_of

T = TypeVar("T")
DOMAIN = "test.example"
PASSPHRASE = b"a passphrase for tests"
NETWORKS = [ip_network("127.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")]
"""Loopback, and what `tests.environment.declare.sound` gives to the site."""
SITE = "north"

OPERATORS = {
    "nora": ["network-operator"],
    "sophie": ["security-officer"],
    "aude": ["auditor"],
    "sam": ["site-staff"],
}


@dataclass
class Ground:
    """An authority and files around it; controllers are started on it."""

    directory: Path
    database: str = ""
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.store = Store.create(self.directory / "authority", DOMAIN, PASSPHRASE, now)
        self.store.add_issuer(SITE, NETWORKS, PASSPHRASE, now)
        write_private(self.directory / "online.key", generate(), None)
        (self.directory / "data.key").write_bytes(os.urandom(32))
        (self.directory / "data.key").chmod(0o600)
        self.database = self.database or f"sqlite:///{self.directory / 'controller.db'}"

    def credential(
        self,
        role: Role,
        name: str,
        address: str = "127.0.0.1",
        now: datetime | None = None,
        lifetime: timedelta = DEFAULT_LIFETIME,
        site: str = SITE,
    ) -> Credential:
        issuer, key = self.store.issuer(site), new_key()
        identity = Identity(DOMAIN, role, name)
        addresses = [ip_address(address)] if address else []
        leaf = issuer.issue(identity, addresses, key.public_key(), now or datetime.now(UTC), lifetime)
        return Credential(key, (leaf, issuer.certificate))

    def settings(self, name: str = "controller-1") -> Path:
        """The configuration of a controller; its authority's directory is NAME.authority, if there is one."""
        path = self.directory / f"{name}.toml"
        if path.exists():
            return path
        write_credential(self.directory / f"{name}.pem", self.credential(Role.CONTROLLER, name))
        operators = "\n".join(
            f'[operators.{person}]\nroles = {json.dumps(roles)}\nsites = ["{SITE}"]'
            for person, roles in OPERATORS.items()
        )
        own = f"{name}.authority"
        path.write_text(f"""
database = "{self.database}"
credential = "{name}.pem"
authority = "{own if (self.directory / own).exists() else "authority"}"
online_key = "online.key"
data_key = "data.key"

[listen]
platform = ["127.0.0.1:0"]
customers = ["127.0.0.1:0"]

{operators}
""")
        return path


class Checked(Client):
    """A client that holds every answer against the API's description."""

    def send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        answer = super().send(method, path, data, headers)
        assert faults_of(method, path, answer.status, answer.media, answer.body) == []
        return answer


class Running:
    """A controller in a thread, and clients of it."""

    def __init__(self, ground: Ground, name: str = "controller-1", policies: Policies | None = None) -> None:
        self.ground = ground
        self.controller = Controller(read_settings(ground.settings(name)), policies)
        self.loop = asyncio.new_event_loop()
        self._clients: list[Client] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name=name)
        self._thread.start()
        try:
            self.run(self.controller.start())
        except BaseException:
            self.close()
            raise
        self.platform = Endpoint(*self.controller.platform_addresses[0])
        self.customers = Endpoint(*self.controller.customer_addresses[0])

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.run(self.controller.close())
        self.run(asyncio.sleep(0.02))  # connections that close are closed
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def client(self, role: Role, name: str, address: str = "127.0.0.1") -> Client:
        return self.with_credential(self.ground.credential(role, name, address))

    def with_credential(self, credential: Credential) -> Client:
        client = Checked.platform(self.platform, credential, self.ground.store.bundle())
        self._clients.append(client)
        return client

    def operator(self, name: str) -> Client:
        return self.client(Role.OPERATOR, name)

    def customer(self, certificate: CustomerKey) -> Client:
        client = Checked.customer(self.customers, certificate.pem, certificate.key, self.ground.store.bundle())
        self._clients.append(client)
        return client

    def enrol(self, node: str) -> tuple[Client, Credential]:
        """A node that came in with a token, as a client."""
        form = {"node": node, "site": SITE, "addresses": ["127.0.0.1"]}
        made = self.operator("nora").call("POST", "/v1/enrolment-tokens", form, reason="T-1")
        shown = token.read(made["token"])
        key = new_key()
        answer = self.with_credential(shown.credential).call("POST", "/v1/enrolments", {"csr": csr(key)})
        credential = Credential(key, tuple(x509.load_pem_x509_certificates(answer["chain"].encode())))
        return self.with_credential(credential), credential


@contextmanager
def running(ground: Ground, name: str = "controller-1", policies: Policies | None = None) -> Iterator[Running]:
    controller = Running(ground, name, policies)
    try:
        yield controller
    finally:
        controller.close()


@contextmanager
def process(ground: Ground, name: str) -> Iterator[tuple[subprocess.Popen[str], Endpoint]]:
    """A controller in a process of its own."""
    config = ground.settings(name)
    with subprocess.Popen(
        [sys.executable, "-m", "ringfort", "controller", "--config", str(config)], stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stderr is not None
            for line in child.stderr:
                if "listening for platform" in line:
                    break
            words = line.split()
            yield child, Endpoint(words[words.index("on") + 1], int(words[-1]))
        finally:
            child.kill()
            child.wait()


def csr(key: ec.EllipticCurvePrivateKey) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class CustomerKey:
    pem: Path
    key: Path

    @property
    def text(self) -> str:
        return self.pem.read_text()

    @property
    def thumbprint(self) -> str:
        der = x509.load_pem_x509_certificate(self.pem.read_bytes()).public_bytes(Encoding.DER)
        return hashlib.sha256(der).hexdigest()


def customer_key(
    directory: Path,
    name: str,
    *,
    subject: str = "management",
    lifetime: timedelta = timedelta(days=30),
    key: CertificateIssuerPrivateKeyTypes | None = None,
    signer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = None,
    authority: bool = False,
) -> CustomerKey:
    """A certificate as customers make them: signed by itself, unless another one is to sign it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(signer[1].subject if signer else called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + lifetime) - timedelta(hours=1))
        .not_valid_after(now + lifetime)
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(signer[0] if signer else key, hashes.SHA256())
    made = CustomerKey(directory / f"{name}.pem", directory / f"{name}.key")
    made.pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


REPORT: Mapping[str, Any] = {"version": 0, "state": "confirmed", "digest": "ab" * 32}
