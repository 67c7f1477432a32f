"""Customers with applications, for tests."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ringfort.control.client import Client
from ringfort.control.sending import send
from ringfort.gateway.acme.authority import PublicRoot
from ringfort.identity.certificates import new_key, to_pem
from tests.compute.bundles import bundle, file
from tests.control.running import CustomerKey, Running, customer_key

DESCRIPTION = """\
application: web
runtime: python
module: shop
instances: {count: 2}
endpoints: [{name: web, port: 8080, public-name: %s.example}]
configuration: {GREETING: hello, WORKERS: 4}
"""


@dataclass(frozen=True)
class Customer:
    """A customer of its own, as a client."""

    name: str
    client: Client
    first: CustomerKey

    @property
    def path(self) -> str:
        return f"/v1/customers/{self.name}"

    def software(
        self, text: bytes = b"print('hello')", more: str = "", name: str = "web", endpoints: str = ""
    ) -> bytes:
        description = (DESCRIPTION % self.name + more).replace("application: web", f"application: {name}")
        if endpoints:
            description = re.sub(r"(?m)^endpoints: .*$", f"endpoints:\n{endpoints}", description)
        return bundle(file("app.yaml", description.encode()), file("shop.py", text))

    def send(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        return send(self.client, self.name, io.BytesIO(content), digest, len(content), lambda *_: None)

    def deploy(self, content: bytes, name: str = "web") -> Any:  # noqa: ANN401  # JSON
        return self.call("POST", f"/applications/{name}/deployments", {"upload": self.send(content)})

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # JSON
        return self.client.call(method, self.path + path, body)

    def get(self, path: str) -> Any:  # noqa: ANN401  # JSON
        return self.client.get(self.path + path)


def customer(controller: Running, directory: Path, name: str) -> Customer:
    first = customer_key(directory, f"{name}-first")
    form = {"name": name, "certificate": first.text}
    controller.operator("sophie").call("POST", "/v1/customers", form, reason="contract")
    return Customer(name, controller.customer(first), first)


def own_certificate(*names: str) -> dict[str, str]:
    """A certificate for public names by a root of the customer's own, with its key, as they are sent."""
    now, key = datetime.now(UTC), new_key()
    root = PublicRoot.create("customer", now)
    issuer = root.issuer(names, now)
    chain = [issuer.issue(names, key.public_key(), now), issuer.certificate, root.certificate]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {"chain": to_pem(chain).decode(), "key": pem.decode()}
