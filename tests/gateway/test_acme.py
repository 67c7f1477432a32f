"""The ACME server gives a certificate to whom a name belongs, and to nobody who lies about it (RFC 8555)."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from ringfort.gateway.acme import jws, nonces, validation
from ringfort.gateway.acme.authority import LEAF_LIFETIME, PublicRoot
from ringfort.gateway.acme.database import Database
from ringfort.gateway.acme.model import Limits
from ringfort.gateway.acme.names import FileNames
from ringfort.gateway.acme.problems import AcmeError
from ringfort.gateway.acme.service import Service
from ringfort.identity.errors import IdentityError
from tests.control import postgres
from tests.gateway.acme_world import NAMES, Acme, Answer, Client, Key, acme, b64, csr, gateway_at, start
from tests.gateway.edges import Application, free_port

WWW, API, BLOG = NAMES


@dataclass
class World:
    server: Acme
    gateway: Application

    def client(self) -> Client:
        return Client(self.server).register()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    gateway = Application("gateway")
    with acme(tmp_path_factory.mktemp("acme"), [gateway_at(gateway.port)], limits=Limits(accounts=1000)) as server:
        yield World(server, gateway)
    gateway.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "ATTEMPTS_AFTER", (0.0, 0.2))


def issued(world: World, client: Client, *names: str) -> tuple[Answer, x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    order = client.order(*names)
    assert client.prove(order, world.gateway) == ["valid"] * len(names)
    done = client.finalize(order, csr(names, key))
    assert done.status == 200, done.text
    chain = client.post(done.body["certificate"], None)
    return chain, x509.load_pem_x509_certificates(chain.text.encode())[0], key


def test_a_certificate_is_issued_for_names_that_are_proved_and_good_for_visitors(world: World) -> None:
    chain, leaf, key = issued(world, world.client(), WWW, API)
    assert chain.headers["content-type"] == "application/pem-certificate-chain"
    issuer = x509.load_pem_x509_certificates(chain.text.encode())[1]
    now = datetime.now(UTC)
    for name in (WWW, API):
        verifier = PolicyBuilder().store(Store([world.server.root.certificate])).time(now)
        verified = verifier.build_server_verifier(x509.DNSName(name)).verify(leaf, [issuer])
        assert verified[0] == leaf
    assert leaf.public_key() == key.public_key()
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == LEAF_LIFETIME


def test_each_answer_says_what_the_standard_says(world: World) -> None:
    client = world.client()
    directory = client.http("GET", "/directory").body
    assert set(directory) == {"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "meta"}
    assert client.http("HEAD", "/new-nonce").status == 200
    assert client.http("GET", "/new-nonce").status == 204
    order = client.order(WWW)
    assert (order.status, order.body["status"]) == (201, "pending")
    assert order.headers["cache-control"] == "no-store"
    assert 'rel="index"' in order.headers["link"]
    listed = client.post(client.post(client.account, None).body["orders"], None).body["orders"]
    assert listed == [order.headers["location"]]
    assert client.finalize(order, csr([WWW])).problem == "orderNotReady"
    assert client.prove(order, world.gateway) == ["valid"]
    assert client.post(order.headers["location"], None).body["status"] == "ready"
    assert client.finalize(order, csr([WWW])).body["status"] == "valid"
    assert client.finalize(order, csr([WWW])).problem == "orderNotReady"


def test_the_same_key_is_the_same_account_and_contacts_are_not_kept(world: World) -> None:
    client = world.client()
    again = Client(world.server, client.key)
    answer = again.post("/new-account", {"contact": ["mailto:a@shop.example"]})
    assert (answer.status, answer.headers["location"]) == (200, client.account)
    assert "shop.example" not in json.dumps(answer.body)
    assert Client(world.server).post("/new-account", {"onlyReturnExisting": True}).problem == "accountDoesNotExist"
    assert client.post(client.account, {"status": "deactivated"}).body["status"] == "deactivated"
    assert client.order(WWW).problem == "unauthorized"


# Who speaks


def test_a_nonce_is_good_once(world: World) -> None:
    client = world.client()
    nonce = client.fresh()
    assert client.post(client.account, None, nonce=nonce).status == 200
    assert client.post(client.account, None, nonce=nonce).problem == "badNonce"
    assert client.post(client.account, None).status == 200, "with the fresh one that came along"


def test_a_nonce_that_we_did_not_give_out_or_that_is_old_is_refused(world: World) -> None:
    client = world.client()
    forged = b64(int(time.time()).to_bytes(8, "big") + bytes(28))
    old = nonces.make(bytes(32), datetime.now(UTC) - timedelta(hours=2), bytes(12))
    for nonce in (forged, old, "", "AAAA", "!!", client.fresh()[:-2] + "AA"):
        assert client.post(client.account, None, nonce=nonce).problem in ("badNonce", "malformed"), nonce
    assert nonces.is_good(
        b"k", base64.urlsafe_b64decode(nonces.make(b"k", datetime.now(UTC), bytes(12))), datetime.now(UTC)
    )
    late = datetime.now(UTC) + timedelta(hours=2)
    assert not nonces.is_good(b"k", base64.urlsafe_b64decode(nonces.make(b"k", datetime.now(UTC), bytes(12))), late)


def test_only_the_key_of_an_account_speaks_for_it(world: World) -> None:
    client, other = world.client(), world.client()
    assert client.post(client.account, None, key=other.key).problem == "unauthorized"
    assert client.post(client.account, None, kid=other.account).problem == "unauthorized"
    assert client.post(other.account, None).problem == "unauthorized"
    assert client.post(client.account, None, kid=client.account + "x").problem == "accountDoesNotExist"
    assert client.post(client.account, None, kid="https://other.example/account/1").problem == "accountDoesNotExist"
    assert client.post(client.account, None, url=client.acme.url + "/new-order").problem == "unauthorized"


def body(key: Key, header: dict[str, object], payload: bytes = b"{}") -> dict[str, str]:
    return key.jws(header, payload)


def hostile(client: Client) -> Iterator[tuple[str, object, set[str]]]:
    """Requests that are not quite signed: what is wrong, the body, which problems it may be."""
    url = client.acme.url + "/new-account"

    def good(**changes: object) -> dict[str, object]:
        header = {"alg": "ES256", "url": url, "nonce": client.fresh(), "jwk": client.key.jwk} | changes
        return {name: value for name, value in header.items() if value is not None}

    key, bad = client.key, {"malformed"}
    yield "no algorithm", body(key, good(alg="none")), {"badSignatureAlgorithm"}
    yield "a shared secret", body(key, good(alg="HS256")), {"badSignatureAlgorithm"}
    yield "an algorithm for another key", body(key, good(alg="RS256")), {"unauthorized"}
    yield "an algorithm for another curve", body(key, good(alg="ES384")), {"unauthorized"}
    yield "a shared secret as key", body(key, good(jwk={"kty": "oct", "k": "AAAA"})), {"badPublicKey"}
    yield "a point off the curve", body(key, good(jwk=key.jwk | {"x": b64(bytes(32))})), {"badPublicKey"}
    yield "another curve", body(key, good(jwk=key.jwk | {"crv": "P-521"})), {"badPublicKey"}
    small = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    weak = {"kty": "RSA", "n": b64(small.n.to_bytes(128, "big")), "e": "AQAB"}
    yield "a short RSA key", body(key, good(alg="RS256", jwk=weak)), {"badPublicKey"}
    huge = {"kty": "RSA", "n": b64(b"\xff" * (jws.LONGEST_RSA // 8 + 8)), "e": "AQAB"}
    yield "a giant RSA key", body(key, good(alg="RS256", jwk=huge)), {"badPublicKey"}
    yield "no key", body(key, good(jwk=None)), bad
    yield "a key and an account", body(key, good(kid=url)), bad
    yield "something critical", body(key, good(crit=["exp"])), bad
    yield "a payload that is not encoded", body(key, good(b64=False)), bad
    yield "no url", body(key, good(url=None)), bad
    yield "no nonce", body(key, good(nonce=None)), {"badNonce"}
    yield "another payload", body(key, good()) | {"payload": b64(b'{"a":1}')}, {"unauthorized"}
    yield "no signature", body(key, good()) | {"signature": ""}, {"unauthorized", "malformed"}
    yield "an unprotected header", body(key, good()) | {"header": {"alg": "none"}}, bad
    signed = body(key, good())
    several = {"payload": signed["payload"], "signatures": [signed, signed]}
    yield "several signatures", several, bad
    yield "a spelling of its own", signed | {"signature": signed["signature"][:-1] + "/"}, bad
    protected = b64(json.dumps(good()).encode())
    spelled = {"protected": protected, "payload": "e31", "signature": b64(key.sign(f"{protected}.e31".encode()))}
    yield "bits after the last byte", spelled, bad
    yield "padding", body(key, good()) | {"payload": "e30="}, bad
    yield "a list", [], bad
    yield "a payload that is a list", body(key, good(), b"[]"), bad
    yield "a payload twice the same", body(key, good(), b'{"a":1,"a":2}'), bad


def test_what_is_not_signed_as_it_should_be_is_refused(world: World) -> None:
    client = Client(world.server)
    seen = 0
    for what, document, problems in hostile(client):
        answer = client.http("POST", "/new-account", json.dumps(document).encode())
        assert answer.problem in problems, (what, answer.text)
        assert answer.headers.get("replay-nonce"), "whoever made a mistake may try again"
        seen += 1
    assert seen > 20
    raw = [b"", b"nonsense", b"[" * 50_000, b"{}", b'{"protected":1,"payload":2,"signature":3}', b"\xff"]
    assert {client.http("POST", "/new-order", text).problem for text in raw} == {"malformed"}
    assert client.http("POST", "/new-order", b"x" * 100_000).status == 413
    assert client.http("POST", "/new-order", b"{}", "application/json").status == 415
    assert client.http("GET", "/new-order").status == 405
    assert client.http("GET", "/nothing").problem == "malformed"


def test_keys_are_changed_by_both_of_them(world: World) -> None:
    client, other, fresh = world.client(), world.client(), Key(ec.SECP384R1())
    url = client.acme.url + "/key-change"

    def inner(key: Key, account: str = client.account, old: Key = client.key, **header: object) -> dict[str, str]:
        whole = {"alg": key.algorithm, "jwk": key.jwk, "url": url} | header
        return key.jws(whole, json.dumps({"account": account, "oldKey": old.jwk}).encode())

    assert client.post(url, inner(fresh, account=other.account)).problem == "malformed"
    assert client.post(url, inner(fresh, old=other.key)).problem == "malformed"
    assert client.post(url, inner(fresh, url=client.acme.url + "/new-account")).problem == "malformed"
    assert client.post(url, inner(fresh, jwk=other.key.jwk)).problem == "unauthorized"
    taken = client.post(url, inner(other.key))
    assert (taken.problem, taken.status) == ("malformed", 409)
    assert client.post(url, inner(fresh)).status == 200
    assert client.post(client.account, None).problem == "unauthorized", "the old key is nobody's"
    client.key = fresh
    assert client.post(client.account, None).status == 200


# Whose names


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("nobody.shop.example",), "rejectedIdentifier"),
        (("www.other.example",), "rejectedIdentifier"),
        (("*.shop.example",), "rejectedIdentifier"),
        (("127.0.0.1",), "rejectedIdentifier"),
        ((WWW, BLOG), "rejectedIdentifier"),
        ((WWW, "nobody.shop.example"), "rejectedIdentifier"),
        (("",), "rejectedIdentifier"),
        (("a" * 64 + ".shop.example",), "rejectedIdentifier"),
        (("www.shop.example\n",), "rejectedIdentifier"),
        ((), "malformed"),
        (tuple(f"n{number}.shop.example" for number in range(60)), "malformed"),
    ],
)
def test_names_that_are_nobodys_or_several_customers_are_refused(
    world: World, names: tuple[str, ...], problem: str
) -> None:
    assert world.client().order(*names).problem == problem


def test_other_kinds_of_names_are_refused(world: World) -> None:
    client = world.client()
    for identifier in ({"type": "ip", "value": "192.0.2.1"}, {"type": "email", "value": "a@b.example"}):
        assert client.post("/new-order", {"identifiers": [identifier]}).problem == "unsupportedIdentifier"
    for payload in ({}, {"identifiers": 1}, {"identifiers": [1]}, {"identifiers": [{"type": "dns"}]}):
        assert client.post("/new-order", payload).problem == "malformed"


def test_nothing_of_another_account_can_be_touched(world: World) -> None:
    owner, thief = world.client(), world.client()
    order = owner.order(WWW)
    assert owner.prove(order, world.gateway) == ["valid"]
    authorisation = order.body["authorizations"][0]
    challenge = owner.post(authorisation, None).body["challenges"][0]["url"]
    assert thief.finalize(order, csr([WWW])).problem == "unauthorized"
    for url, payload in (
        (order.headers["location"], None), (authorisation, None), (authorisation, {"status": "deactivated"}),
        (challenge, {}), (challenge, None), (owner.account, None), (owner.account, {"status": "deactivated"}),
        (owner.account + "/orders", None), (authorisation + "x", None),
    ):  # fmt: skip
        assert thief.post(url, payload).problem == "unauthorized", url
    done = owner.finalize(order, csr([WWW]))
    assert thief.post(done.body["certificate"], None).problem == "unauthorized"


def test_a_wrong_answer_proves_nothing(world: World) -> None:
    client, other = world.client(), world.client()
    for answer in (
        lambda token: token,
        lambda token: f"{token}.{other.key.thumbprint}",
        lambda token: f"{token}.{client.key.thumbprint}x",
        lambda token: f"x{token}.{client.key.thumbprint}",
        lambda token: "<html>" + f"{token}.{client.key.thumbprint}",
        lambda token: f"{token}.{client.key.thumbprint}" + " " * 5000 + "x",
    ):
        order = client.order(WWW)
        (url,) = order.body["authorizations"]
        challenge = client.post(url, None).body["challenges"][0]
        world.gateway.answers[f"/.well-known/acme-challenge/{challenge['token']}"] = answer(challenge["token"])
        client.post(challenge["url"], {})
        found = client.wait(url)
        assert found["status"] == "invalid", answer("t")
        assert found["challenges"][0]["error"]["type"].endswith(":incorrectResponse")
        assert client.post(order.headers["location"], None).body["status"] == "invalid"
        assert client.finalize(order, csr([WWW])).problem == "orderNotReady"
        assert client.post(challenge["url"], {}).body["status"] == "invalid", "and isn't looked at again"


def test_a_proof_is_for_one_order(world: World) -> None:
    client = world.client()
    assert client.prove(client.order(WWW), world.gateway) == ["valid"]
    assert client.order(WWW).body["status"] == "pending"
    order = client.order(WWW)
    assert client.prove(order, world.gateway) == ["valid"]
    assert client.post(order.body["authorizations"][0], {"status": "deactivated"}).body["status"] == "deactivated"
    assert client.finalize(order, csr([WWW])).problem == "orderNotReady"


def test_a_name_that_went_to_another_customer_is_not_issued_for(world: World) -> None:
    client = world.client()
    order = client.order(WWW)
    assert client.prove(order, world.gateway) == ["valid"]
    try:
        world.server.own({**NAMES, WWW: "zeta"})
        assert client.finalize(order, csr([WWW])).problem == "unauthorized"
        world.server.own({API: "acme"})
        assert client.finalize(order, csr([WWW])).problem == "rejectedIdentifier"
    finally:
        world.server.own(NAMES)


class Trap:
    """A socket where nobody may call; it remembers whether somebody did."""

    def __init__(self, answer: bytes = b"") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.calls: list[bytes] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(3)
                try:
                    self.calls.append(connection.recv(4096))
                    connection.sendall(self._answer)
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def test_the_server_calls_the_gateway_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a name, nor a redirect, nor a proxy in the environment leads it anywhere else."""
    trap = Trap()
    redirects = [
        f"http://127.0.0.1:{trap.port}/", f"//127.0.0.1:{trap.port}/", "http://169.254.169.254/latest", "file:///etc/passwd",
    ]  # fmt: skip
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{trap.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{trap.port}")
    for place in redirects:
        gateway = Trap(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        with acme(tmp_path, [gateway_at(gateway.port)]) as server:
            server.own({**NAMES, "localhost.shop.example": "acme"})
            client = Client(server).register()
            order = client.order("localhost.shop.example")
            (url,) = order.body["authorizations"]
            challenge = client.post(url, None).body["challenges"][0]
            client.post(challenge["url"], {})
            found = client.wait(url)
        gateway.close()
        assert found["status"] == "invalid"
        assert "redirects are not followed" in found["challenges"][0]["error"]["detail"]
        assert gateway.calls
        for call in gateway.calls:
            assert call.startswith(f"GET /.well-known/acme-challenge/{challenge['token']} HTTP/1.1\r\n".encode())
            assert b"Host: localhost.shop.example\r\n" in call
    trap.close()
    assert trap.calls == []


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 100_000]
)
def test_a_gateway_that_answers_nonsense_proves_nothing(tmp_path: Path, answer: bytes) -> None:
    gateway = Trap(answer)
    with acme(tmp_path, [gateway_at(gateway.port)]) as server:
        client = Client(server).register()
        (url,) = client.order(WWW).body["authorizations"]
        client.post(client.post(url, None).body["challenges"][0]["url"], {})
        assert client.wait(url)["status"] == "invalid"
    gateway.close()


# Requests for certificates


def rsa_key(bits: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


BAD_REQUESTS: list[tuple[str, Callable[[Client], bytes], str]] = [
    ("a short RSA key", lambda _: csr([WWW], rsa_key(2048)), "badPublicKey"),
    ("an RSA key with exponent 3", lambda _: csr([WWW], rsa_key(3072, 3)), "badPublicKey"),
    ("a small curve", lambda _: csr([WWW], ec.generate_private_key(ec.SECP192R1())), "badPublicKey"),
    ("a curve of another kind", lambda _: csr([WWW], ec.generate_private_key(ec.SECP256K1())), "badPublicKey"),
    ("the account's own key", lambda client: csr([WWW], client.key.private), "badPublicKey"),
    ("another name", lambda _: csr([API]), "badCSR"),
    ("one name more", lambda _: csr([WWW, API]), "badCSR"),
    ("a wildcard", lambda _: csr(["*.shop.example"]), "badCSR"),
    ("no name", lambda _: csr([]), "badCSR"),
    ("a changed request", lambda _: csr([WWW])[:-4] + bytes(4), "badCSR"),
    ("nonsense", lambda _: b"nonsense", "badCSR"),
    ("nothing", lambda _: b"", "badCSR"),
    ("a huge request", lambda _: csr([f"n{number}.shop.example" for number in range(1200)]), "badCSR"),
    ("another kind of name", lambda _: other_names(), "badCSR"),
]


def other_names() -> bytes:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    names = [x509.DNSName(WWW), x509.UniformResourceIdentifier("spiffe://shop.example/node/web")]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def test_requests_with_weak_keys_or_other_names_are_refused(world: World) -> None:
    client = world.client()
    order = client.order(WWW)
    assert client.prove(order, world.gateway) == ["valid"]
    for what, request, problem in BAD_REQUESTS:
        answer = client.finalize(order, request(client))
        assert answer.problem == problem, what
        assert ("at most 16384 bytes" in answer.text) == (what == "a huge request")
    assert client.post(order.body["finalize"], {"csr": "a b"}).problem == "malformed"
    assert client.post(order.body["finalize"], {}).problem == "malformed"
    assert client.finalize(order, b"x" * 60_000).status in (400, 413)
    assert client.finalize(order, csr([WWW], rsa_key(3072))).status == 200, "and a good one is still taken"


# Revocation


def revocation(leaf: x509.Certificate, reason: object = 0) -> dict[str, object]:
    return {"certificate": b64(leaf.public_bytes(Encoding.DER)), "reason": reason}


class LeafKey(Key):
    """A certificate's key, that signs a request."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        super().__init__()
        numbers = private.public_key().public_numbers()
        self.private = private
        self.jwk |= {"x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}


def test_a_certificate_is_revoked_by_its_account_or_its_key_and_stands_on_the_list(world: World) -> None:
    client, thief = world.client(), world.client()
    _, one, _ = issued(world, client, WWW)
    _, two, key = issued(world, client, WWW)
    assert thief.post("/revoke-cert", revocation(one)).problem == "unauthorized"
    stranger = Client(world.server)
    assert stranger.post("/revoke-cert", revocation(one)).problem == "unauthorized"
    for reason in (2, 7, 99, "1", True, -1):
        assert client.post("/revoke-cert", revocation(one, reason)).problem == "badRevocationReason"
    assert client.post("/revoke-cert", revocation(one, 4)).status == 200
    assert client.post("/revoke-cert", revocation(one, 4)).problem == "alreadyRevoked"
    assert Client(world.server, LeafKey(key)).post("/revoke-cert", revocation(two, 1)).status == 200
    foreign = PublicRoot.create("others", datetime.now(UTC)).certificate
    assert client.post("/revoke-cert", revocation(foreign)).problem == "malformed"
    assert client.post("/revoke-cert", {"certificate": b64(b"x")}).problem == "malformed"
    connection = http.client.HTTPConnection("127.0.0.1", world.server.port)
    connection.request("GET", "/revoked.crl")
    crl = x509.load_der_x509_crl(connection.getresponse().read())
    connection.close()
    assert crl.is_signature_valid(world.server.issuer.key.public_key())
    reasons = {
        entry.serial_number: entry.extensions.get_extension_for_class(x509.CRLReason).value.reason for entry in crl
    }
    wanted = {one.serial_number: x509.ReasonFlags.superseded, two.serial_number: x509.ReasonFlags.key_compromise}
    assert wanted.items() <= reasons.items()
    order = client.order(WWW)
    assert client.prove(order, world.gateway) == ["valid"]
    assert client.finalize(order, csr([WWW], key)).problem == "badPublicKey", "a stolen key gets no other certificate"


# Limits, and what outlives the process


def test_too_much_is_refused_with_a_time_to_come_back(tmp_path: Path) -> None:
    gateway = Application("gateway")
    limits = Limits(accounts=2, orders=3, failures=2, certificates=1)
    with acme(tmp_path, [gateway_at(gateway.port)], limits=limits) as server:
        world = World(server, gateway)
        client, other = world.client(), world.client()
        third = Client(server).post("/new-account", {})
        assert (third.problem, third.status) == ("rateLimited", 429)
        assert int(third.headers["retry-after"]) > 0
        issued(world, client, API)
        assert client.order(API).problem == "rateLimited", "certificates for a name"
        for _ in range(2):
            (url,) = other.order(WWW).body["authorizations"]
            other.post(other.post(url, None).body["challenges"][0]["url"], {})
            assert other.wait(url)["status"] == "invalid"
        assert other.order(WWW).problem == "rateLimited", "failures of a name"
        client.order(BLOG)
        client.order(BLOG)
        assert client.order(BLOG).problem == "rateLimited", "orders of an account"
    gateway.close()


def test_edge_hosts_are_believed_who_calls_and_others_are_not(tmp_path: Path) -> None:
    for trusted, problems in ((("127.0.0.1",), {""}), ((), {"", "rateLimited"})):
        directory = tmp_path / str(len(trusted))
        directory.mkdir()
        with acme(directory, [], limits=Limits(accounts=2), trusted=trusted) as server:
            found = set()
            for number in range(4):
                client = Client(server)
                header = {"alg": "ES256", "jwk": client.key.jwk, "nonce": client.fresh()}
                signed = client.key.jws(header | {"url": f"{server.url}/new-account"}, b"{}")
                connection = http.client.HTTPConnection("127.0.0.1", server.port)
                headers = {"Content-Type": "application/jose+json", "X-Forwarded-For": f"192.0.2.{number}"}
                connection.request("POST", "/new-account", json.dumps(signed), headers)
                response = connection.getresponse()
                text = response.read()
                found.add("" if response.status == 201 else json.loads(text)["type"].rpartition(":")[2])
                connection.close()
            assert found == problems


def test_accounts_orders_and_used_nonces_outlive_the_process(tmp_path: Path) -> None:
    gateway, port = Application("gateway"), free_port()
    now = datetime.now(UTC)
    root = PublicRoot.create("tests", now)
    authority = (root, root.issuer(["shop.example"], now, timedelta(days=100)))
    first = start(tmp_path, [gateway_at(gateway.port)], port=port, authority=authority)
    client = Client(first).register()
    order = client.order(WWW)
    assert client.prove(order, gateway) == ["valid"]
    nonce, unused = client.fresh(), client.fresh()
    assert client.post(client.account, None, nonce=nonce).status == 200
    first.stop()
    second = start(tmp_path, [gateway_at(gateway.port)], port=port, authority=authority)
    try:
        assert client.post(client.account, None, nonce=nonce).problem == "badNonce"
        assert client.post(client.account, None, nonce=unused).status == 200
        assert client.finalize(order, csr([WWW])).status == 200
    finally:
        second.stop()
        gateway.close()


def test_a_challenge_that_was_being_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, port = Application("gateway"), free_port()
    now = datetime.now(UTC)
    root = PublicRoot.create("tests", now)
    authority = (root, root.issuer(["shop.example"], now, timedelta(days=100)))
    monkeypatch.setattr(validation, "ATTEMPTS_AFTER", (60.0,))
    first = start(tmp_path, [gateway_at(gateway.port)], port=port, authority=authority)
    client = Client(first).register()
    order = client.order(WWW)
    assert client.prove(order, gateway, timeout=0.3) == ["pending"]
    first.stop()
    monkeypatch.setattr(validation, "ATTEMPTS_AFTER", (0.0,))
    second = start(tmp_path, [gateway_at(gateway.port)], port=port, authority=authority)
    try:
        assert client.wait(order.body["authorizations"][0])["status"] == "valid"
    finally:
        second.stop()
        gateway.close()


@pytest.mark.lab
def test_postgresql_serves_two_servers_of_one_authority(tmp_path: Path) -> None:
    """A nonce of one is good at the other, once for both; what one has issued, the other knows."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed; setup/setup.sh test installs it")
    gateway, now = Application("gateway"), datetime.now(UTC)
    root = PublicRoot.create("tests", now)
    authority = (root, root.issuer(["shop.example"], now, timedelta(days=100)))
    url = "http://acme.shop.example"
    with postgres.server() as database:
        options = {"url": url, "authority": authority, "database": database}
        with (
            acme(tmp_path, [gateway_at(gateway.port)], **options) as one,
            acme(tmp_path, [gateway_at(gateway.port)], **options) as two,
        ):
            here, there = Client(one).register(), Client(two)
            there.key, there.account = here.key, here.account
            nonce = here.fresh()
            assert there.post(here.account, None, nonce=nonce).status == 200
            assert here.post(here.account, None, nonce=nonce).problem == "badNonce"
            order = here.order(WWW)
            assert here.prove(order, gateway) == ["valid"]
            assert there.finalize(order, csr([WWW])).status == 200
            assert here.finalize(order, csr([WWW])).problem == "orderNotReady"
    gateway.close()


def test_at_the_same_moment_a_nonce_is_good_once_and_an_order_gives_one_certificate(world: World) -> None:
    client = world.client()
    nonce, client.nonce = client.fresh(), ""
    clients = [Client(world.server, client.key, client.account) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: one.post(client.account, None, nonce=nonce).problem, clients))
    assert sorted(found) == ["", *["badNonce"] * 7]
    order = client.order(BLOG)
    assert client.prove(order, world.gateway) == ["valid"]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda one: one.finalize(order, csr([BLOG])), clients))
    assert sorted(one.problem for one in done) == ["", *["orderNotReady"] * 7]
    same = Key()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Client(world.server, same).register().account, range(8)))
    assert len(set(made)) == 1


def test_what_is_long_over_is_forgotten_and_stolen_keys_are_not(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    issuer = PublicRoot.create("tests", now).issuer(["shop.example"], now, timedelta(days=700))
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    database = Database(f"sqlite:///{tmp_path / 'acme.db'}")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("acme.db*")} == {0o600}
    service = Service(database, issuer, FileNames(tmp_path / "names.json"))
    account = service.add_account(jws.read_key(Key().jwk), now)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    orders = []
    for reason, key in enumerate(keys):
        order = service.add_order(account, {"identifiers": [{"type": "dns", "value": WWW}]}, now)
        (one,) = order.authorisations
        service.begin(account, one.id, now)
        service.finish(one.id, None, now)
        done = service.finalize(account, order.id, csr([WWW], key), now)
        orders.append(done)
        (leaf, _) = x509.load_pem_x509_certificates(service.certificate(account, str(done.certificate)).chain.encode())
        service.revoke(account, leaf.public_bytes(Encoding.DER), reason, now)
    service.keep_house(now + timedelta(days=8))
    with pytest.raises(AcmeError, match="nothing of that name"):
        service.order(account, orders[0].id)
    assert service.certificate(account, str(orders[0].certificate)).is_revoked
    service.keep_house(now + timedelta(days=120))
    with pytest.raises(AcmeError, match="nothing of that name"):
        service.certificate(account, str(orders[0].certificate))
    assert service.certificate(account, str(orders[1].certificate)).is_revoked, "its key was stolen"
    assert x509.load_der_x509_crl(service.revocation_list(now + timedelta(days=120))).next_update_utc is not None
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////nowhere/at/all/acme.db", "can't be opened"),
        ("mysql://localhost/acme", "no database that the ACME server knows"),
        ("nonsense", "can't be read"),
        ("postgresql://127.0.0.1:1/acme", "can't be opened"),
    ],
)
def test_a_database_that_can_not_be_opened_is_named(url: str, said: str) -> None:
    with pytest.raises(IdentityError, match=said):
        Database(url)


# The authority


def test_the_authority_for_public_names_can_name_nothing_of_the_platform() -> None:
    """Even with its key: the constraints are in its certificate, and visitors' programs check them."""
    now = datetime.now(UTC)
    root = PublicRoot.create("tests", now)
    issuer = root.issuer(["shop.example"], now)
    for names in (["www.other.example"], ["shop.example.evil.example"], ["xshop.example"], []):
        with pytest.raises(IdentityError, match="not to be issued here"):
            issuer.issue(names, ec.generate_private_key(ec.SECP256R1()).public_key(), now)
    with pytest.raises(IdentityError, match="no certificate is made for this key"):
        issuer.issue(["www.shop.example"], ed25519.Ed25519PrivateKey.generate().public_key(), now)  # type: ignore[arg-type]
    constraints = issuer.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    usage = issuer.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
