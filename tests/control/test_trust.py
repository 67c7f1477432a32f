"""Authorities come and go, and lists are signed, while controllers run."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.control.client import CallRefusedError, Client
from ringfort.control.errors import ControlError
from ringfort.identity.certificates import authority_id, authority_key_id
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityRefused
from ringfort.identity.names import Role
from ringfort.identity.revocation import Revocations, revoked
from ringfort.identity.store import write_bundle
from tests.control.running import NETWORKS, PASSPHRASE, SITE, Ground, Running, running
from tests.control.test_revocation import WITHIN, until_refused

T = TypeVar("T")


@contextmanager
def second(controller: Running) -> Iterator[Running]:
    """Another controller on the database, whose authority's directory is a copy of its own."""
    own = controller.ground.directory / "controller-2.authority"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(controller.ground.store.directory, own)
    with running(controller.ground, "controller-2") as other:
        yield other


def eventually(ask: Callable[[], T], good: Callable[[T], bool], within: float = WITHIN) -> T:
    until = time.monotonic() + within
    while True:
        try:
            if good(found := ask()) or time.monotonic() > until:
                assert good(found), found
                return found
        except (CallRefusedError, ControlError):
            if time.monotonic() > until:
                raise
        time.sleep(0.05)


def lists_at(client: Client) -> list[x509.CertificateRevocationList]:
    text, end = client.fetch("/v1/revocations/lists"), b"-----END X509 CRL-----"
    return [x509.load_pem_x509_crl(part + end) for part in text.split(end)[:-1]]


def heard_at(client: Client, ground: Ground) -> Revocations:
    """What somebody reads who has nothing but the lists and the bundle."""
    return Revocations.from_lists(lists_at(client), ground.store.bundle())


def revoke(controller: Running, credential: Credential) -> None:
    form = {
        "authority": authority_key_id(credential.leaf),
        "serial": f"{credential.leaf.serial_number:x}",
        "reason": "lost",
    }
    controller.operator("sophie").call("POST", "/v1/revocations", form, reason="INC-9")


def test_every_authoritys_list_is_served_signed_and_in_date(controller: Running) -> None:
    bundle, now = controller.ground.store.bundle(), datetime.now(UTC)
    heard = heard_at(controller.enrol("lists-1")[0], controller.ground)
    assert set(heard.lists) == set(map(authority_id, (*bundle.roots, *bundle.issuers)))
    heard.check(controller.ground.credential(Role.NODE, "web-1").leaf, now)
    for crl in lists_at(controller.operator("aude")):
        assert crl.last_update_utc <= now, "somebody whose clock is behind has to accept it, too"


def test_what_a_call_revokes_is_on_the_signed_lists_of_both_controllers_within_seconds(controller: Running) -> None:
    credential, ground = controller.ground.credential(Role.NODE, "web-2"), controller.ground
    with second(controller) as other:
        here, there = controller.operator("aude"), other.operator("aude")
        before = heard_at(there, ground)
        revoke(controller, credential)
        for client in (here, there):
            heard = eventually(partial(heard_at, client, ground), lambda now: now.is_revoked(credential.leaf))
            authority = authority_id(ground.store.issuer(SITE).certificate)
            assert heard.lists[authority].number > before.lists[authority].number
            with pytest.raises(IdentityRefused):
                heard.check(credential.leaf, datetime.now(UTC))


def test_openssl_reads_the_lists_as_they_are_served(controller: Running, tmp_path: Path) -> None:
    good, bad = (controller.ground.credential(Role.NODE, name) for name in ("good", "bad"))
    revoke(controller, bad)
    aude = controller.operator("aude")
    eventually(lambda: heard_at(aude, controller.ground), lambda now: now.is_revoked(bad.leaf))
    (tmp_path / "lists.pem").write_bytes(aude.fetch("/v1/revocations/lists"))
    (tmp_path / "bundle.pem").write_bytes(aude.fetch("/v1/identity/bundle"))
    answers = []
    for credential in (good, bad):
        (tmp_path / "leaf.pem").write_bytes(credential.leaf.public_bytes(Encoding.PEM))
        command = ["openssl", "verify", "-CAfile", "bundle.pem", "-CRLfile", "lists.pem", "-crl_check_all", "leaf.pem"]
        answers.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True))
    assert answers[0].returncode == 0, answers[0].stderr
    assert "certificate revoked" in answers[1].stderr


def test_a_node_that_waits_hears_of_new_lists_at_once(controller: Running) -> None:
    node, _ = controller.enrol("lists-2")
    path = "/v1/nodes/lists-2/desired?known={version}"
    known = node.get(path.format(version=-1))
    revoke(controller, controller.ground.credential(Role.NODE, "web-3"))
    asked = path.format(version=known["version"]) + f"&lists={known['lists']}&bundle={known['bundle']}"
    begun = time.monotonic()
    assert node.get(asked)["lists"] > known["lists"]
    assert time.monotonic() - begun < WITHIN


def test_a_new_issuing_authority_is_used_without_a_restart(controller: Running) -> None:
    store = controller.ground.store
    nora, node = controller.operator("nora"), controller.enrol("lists-3")[0]
    known = node.get("/v1/nodes/lists-3/desired")
    store.add_issuer("east", NETWORKS, PASSPHRASE, datetime.now(UTC))
    form = {"node": "east-1", "site": "east", "addresses": ["127.0.0.1"]}
    eventually(lambda: nora.call("POST", "/v1/enrolment-tokens", form, reason="T-1"), lambda made: bool(made["token"]))
    credential = controller.ground.credential(Role.OPERATOR, "aude", site="east")
    assert controller.with_credential(credential).get("/v1/nodes")["nodes"]
    asked = f"/v1/nodes/lists-3/desired?known={known['version']}&bundle={known['bundle']}"
    assert node.get(asked)["bundle"] != known["bundle"], "its connection stands, and it hears of the new bundle"
    assert node.fetch("/v1/identity/bundle") == store.bundle().to_pem()
    assert set(heard_at(node, controller.ground).lists) >= set(map(authority_id, store.bundle().issuers))


@pytest.mark.parametrize("way", ["a call", "the root's list beside one controller", "no longer in the bundle"])
def test_a_revoked_issuing_authority_ends_connections_that_stand(controller: Running, way: str) -> None:
    """At the other controller too, which shares nothing but the database; others' connections stay."""
    ground, now = controller.ground, datetime.now(UTC)
    issuer = ground.store.add_issuer("west", NETWORKS, PASSPHRASE, now)
    credential = ground.credential(Role.OPERATOR, "aude", site="west")
    with second(controller) as other:
        eventually(lambda: controller.with_credential(credential).get("/v1/nodes"), bool)
        clients = [controller.with_credential(credential), other.with_credential(credential)]
        stays = other.operator("aude")
        for client in (*clients, stays):
            client.get("/v1/nodes")
        if way == "a call":
            form = {
                "authority": authority_key_id(issuer.certificate),
                "serial": f"{issuer.certificate.serial_number:x}",
            }
            controller.operator("sophie").call("POST", "/v1/revocations", {**form, "reason": "stolen"}, reason="INC-1")
        elif way == "no longer in the bundle":
            bundle = ground.store.bundle()
            rest = tuple(one for one in bundle.issuers if one != issuer.certificate)
            smaller = type(bundle)(bundle.trust_domain, bundle.roots, rest)
            for directory in (ground.store.directory, ground.directory / "controller-2.authority"):
                write_bundle(directory / "bundle.pem", smaller)
                (directory / "crl" / "west.pem").unlink()
                (directory / "issuers" / "west.pem").unlink()
        else:
            ground.store.revoke(ground.store.root(PASSPHRASE), [revoked(issuer.certificate, now)], now)
        for client in clients:
            assert until_refused(client, "/v1/nodes") < WITHIN
        assert stays.get("/v1/nodes") is not None
        with pytest.raises((CallRefusedError, ControlError)):
            other.with_credential(credential).get("/v1/nodes")
