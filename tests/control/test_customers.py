"""A customer's own certificates, and nothing else, decide on what is the customer's."""

from __future__ import annotations

import hashlib
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ringfort.control.client import CallRefusedError, Client
from ringfort.control.errors import ControlError
from ringfort.identity.names import Role
from ringfort.identity.store import write_credential
from tests.control.running import CustomerKey, Running, customer_key

SETTINGS = {"set": {"GREETING": "hello"}}
CONFIGURATION = "/v1/customers/{}/applications/web/configuration"


def certificates(client: Client, name: str) -> list[str]:
    shown = client.get(f"/v1/customers/{name}/certificates")["certificates"]
    return [one["thumbprint"] for one in shown]


def new_customer(controller: Running, directory: Path, name: str) -> tuple[Client, CustomerKey]:
    first = customer_key(directory, f"{name}-first")
    form = {"name": name, "certificate": first.text}
    controller.operator("sophie").call("POST", "/v1/customers", form, reason="contract")
    return controller.customer(first), first


def refused(client: Client, method: str, path: str, body: object = None) -> tuple[int, str]:
    with pytest.raises(CallRefusedError) as refusal:
        client.call(method, path, body, reason="a test")
    return refusal.value.status, refusal.value.code


def test_a_customer_adds_lists_and_removes_its_certificates(controller: Running, tmp_path: Path) -> None:
    acme, first = new_customer(controller, tmp_path, "acme")
    second = customer_key(tmp_path, "second")
    acme.call("POST", "/v1/customers/acme/certificates", {"certificate": second.text})
    assert certificates(controller.customer(second), "acme") == [first.thumbprint, second.thumbprint]
    controller.customer(second).call("DELETE", f"/v1/customers/acme/certificates/{first.thumbprint}")
    assert certificates(controller.customer(second), "acme") == [second.thumbprint]
    with pytest.raises(ControlError):  # the handshake fails: nobody trusts it any more
        controller.customer(first).get("/v1/customers/acme/certificates")


def test_there_are_at_most_ten_and_the_last_one_stays(controller: Running, tmp_path: Path) -> None:
    ten, first = new_customer(controller, tmp_path, "ten")
    for number in range(2, 11):
        added = customer_key(tmp_path, f"{number}")
        ten.call("POST", "/v1/customers/ten/certificates", {"certificate": added.text})
    eleventh = {"certificate": customer_key(tmp_path, "11").text}
    assert refused(ten, "POST", "/v1/customers/ten/certificates", eleventh) == (409, "too-many-certificates")
    for thumbprint in certificates(ten, "ten"):
        if thumbprint != first.thumbprint:
            ten.call("DELETE", f"/v1/customers/ten/certificates/{thumbprint}")
    last = f"/v1/customers/ten/certificates/{first.thumbprint}"
    assert refused(ten, "DELETE", last) == (409, "last-certificate")


def test_a_removed_certificate_is_refused_at_once_on_an_open_connection(controller: Running, tmp_path: Path) -> None:
    quick, _ = new_customer(controller, tmp_path, "quick")
    second = customer_key(tmp_path, "second")
    quick.call("POST", "/v1/customers/quick/certificates", {"certificate": second.text})
    other = controller.customer(second)
    other.get("/v1/customers/quick/certificates")
    quick.call("DELETE", f"/v1/customers/quick/certificates/{second.thumbprint}")
    with pytest.raises((CallRefusedError, ControlError)):
        other.get("/v1/customers/quick/certificates")


def test_no_other_customer_decides_for_it(controller: Running, tmp_path: Path) -> None:
    new_customer(controller, tmp_path, "victim")
    other, _ = new_customer(controller, tmp_path, "rival")
    assert refused(other, "POST", CONFIGURATION.format("victim"), SETTINGS) == (403, "forbidden")
    assert refused(other, "GET", "/v1/customers/victim/certificates") == (403, "forbidden")
    more = {"certificate": customer_key(tmp_path, "more").text}
    assert refused(other, "POST", "/v1/customers/victim/certificates", more) == (403, "forbidden")


@pytest.mark.parametrize("who", ["nora", "sophie", "aude", "sam"])
def test_no_operator_decides_for_it_on_either_listener(controller: Running, tmp_path: Path, who: str) -> None:
    operator = controller.operator(who)
    for method, path, body in [
        ("POST", CONFIGURATION.format("acme"), SETTINGS),
        ("GET", "/v1/customers/acme/applications", None),
        ("POST", "/v1/customers/acme/certificates", {"certificate": customer_key(tmp_path, who).text}),
    ]:
        assert refused(operator, method, path, body) == (404, "not-found")
    files = tmp_path / "operator.pem"
    write_credential(files, controller.ground.credential(Role.OPERATOR, who))
    impostor = controller.customer(CustomerKey(files, files))
    with pytest.raises(ControlError):  # not even a handshake: the platform's authority counts for nothing there
        impostor.call("POST", CONFIGURATION.format("acme"), SETTINGS)


def test_what_a_registered_certificate_signed_is_not_trusted(controller: Running, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    mother = customer_key(tmp_path, "mother", key=key, authority=True)
    form = {"name": "family", "certificate": mother.text}
    controller.operator("sophie").call("POST", "/v1/customers", form, reason="contract")
    signer = (key, x509.load_pem_x509_certificate(mother.pem.read_bytes()))
    daughter = customer_key(tmp_path, "daughter", subject="daughter", signer=signer)
    with pytest.raises((ControlError, CallRefusedError)) as refusal:
        controller.customer(daughter).get("/v1/customers/family/applications")
    if isinstance(refusal.value, CallRefusedError):
        assert refusal.value.code == "certificate-unknown"


def test_certificates_of_one_name_are_told_apart(controller: Running, tmp_path: Path) -> None:
    new_customer(controller, tmp_path, "twin-a")
    twin, _ = new_customer(controller, tmp_path, "twin-b")  # the same subject, another key
    assert twin.get("/v1/customers/twin-b/applications") == {"applications": []}
    assert refused(twin, "GET", "/v1/customers/twin-a/applications") == (403, "forbidden")
    stranger = customer_key(tmp_path, "stranger")
    with pytest.raises(ControlError):
        controller.customer(stranger).get("/v1/customers/twin-a/applications")


def test_a_certificate_belongs_to_one_customer(controller: Running, tmp_path: Path) -> None:
    _, first = new_customer(controller, tmp_path, "owner")
    form = {"name": "thief", "certificate": first.text}
    assert refused(controller.operator("sophie"), "POST", "/v1/customers", form) == (409, "certificate-registered")


def test_a_closed_customer_is_gone_and_its_name_is_never_given_again(controller: Running, tmp_path: Path) -> None:
    gone, first = new_customer(controller, tmp_path, "gone")
    gone.call("POST", CONFIGURATION.format("gone"), SETTINGS)
    sophie = controller.operator("sophie")
    closed = sophie.call("DELETE", "/v1/customers/gone", reason="contract ended")
    assert (closed["state"], closed["certificates"]) == ("closed", [])
    with pytest.raises((CallRefusedError, ControlError)):
        gone.get("/v1/customers/gone/applications")
    form = {"name": "gone", "certificate": first.text}
    assert refused(sophie, "POST", "/v1/customers", form) == (409, "customer-exists")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate-malformed"),
        (lambda _: "no certificate at all", "certificate-malformed"),
        (lambda place: customer_key(place, "old", lifetime=timedelta(hours=-1)).text, "certificate-expired"),
        (lambda place: customer_key(place, "weak", key=rsa.generate_private_key(65537, 2048)).text, "key-weak"),
    ],
)
def test_a_certificate_that_is_none_expired_or_weak_is_not_registered(
    controller: Running, tmp_path: Path, make: object, code: str
) -> None:
    assert callable(make)
    form = {"name": "unlucky", "certificate": make(tmp_path)}
    assert refused(controller.operator("sophie"), "POST", "/v1/customers", form) == (422, code)


def test_the_customers_listener_speaks_tls_1_3_only(controller: Running, tmp_path: Path) -> None:
    _, first = new_customer(controller, tmp_path, "modern")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(first.pem, first.key)
    client = Client(controller.customers, old, controller.ground.store.bundle())
    with pytest.raises(ControlError):
        client.get("/v1/customers/modern/applications")


def test_a_thumbprint_is_the_hash_that_openssl_shows(tmp_path: Path) -> None:
    made = customer_key(tmp_path, "shown")
    der = ssl.PEM_cert_to_DER_cert(made.text)
    assert made.thumbprint == hashlib.sha256(der).hexdigest()
