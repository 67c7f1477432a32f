"""What is published is what approvers signed; nodes hear of it at once."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from ringfort.control.client import CallRefusedError, Client
from ringfort.control.errors import ControlError
from ringfort.control.performing import bump
from ringfort.control.repository import DatabaseStore
from ringfort.control.state import STALE_SECONDS
from ringfort.identity.certificates import addresses, new_key, uris
from ringfort.identity.names import Role
from ringfort.publishing.fetching import NotThereError
from ringfort.publishing.storing import METADATA
from ringfort.publishing.trust import Accepted, Trust
from tests.control.publications import Approvers
from tests.control.running import Ground, Running, csr, running
from tests.environment.declare import sound

PUBLICATIONS = "/v1/environment/publications"


class Remote:
    """A repository behind the API, as nodes read it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def fetch(self, path: str) -> Iterator[bytes]:
        try:
            yield self.client.fetch(f"/v1/environment/{path}")
        except CallRefusedError as refused:
            raise (NotThereError(path) if refused.code == "not-found" else refused) from refused


def test_what_approvers_signed_is_published_and_a_node_accepts_it(
    ground: Ground, controller: Running, tmp_path: Path
) -> None:
    nora = controller.operator("nora")
    assert nora.get("/v1/environment")["version"] == 0
    approvers = Approvers(ground)
    form = approvers.first()
    answer = nora.call("POST", PUBLICATIONS, form, reason="CHG-1")
    assert (answer["version"], answer["root"]) == (1, 1)
    text = base64.b64decode(form["environment"])
    assert answer["digest"] == hashlib.sha256(text).hexdigest()
    node, _ = controller.enrol("web-1")
    trust = Trust.pin(tmp_path / "node", base64.b64decode(form["root"]))
    accepted = trust.update(Remote(node), datetime.now(UTC))
    assert isinstance(accepted, Accepted), accepted
    assert (accepted.version, accepted.data) == (1, text)

    # a node that knows another root is answered at once: its keys may have been replaced
    begun = time.monotonic()
    assert node.get("/v1/nodes/web-1/desired?known=1&root=7")["root"] == 1
    assert time.monotonic() - begun < 10.0, "it waited for news"

    # again: nothing changes, nothing is recorded
    aude = controller.operator("aude")
    before = aude.get("/v1/audit/records?limit=1000")["records"][-1]["sequence"]
    again = nora.call("POST", PUBLICATIONS, form, reason="CHG-1")
    assert {**again, "expires": answer["expires"]} == answer  # it is only said anew
    assert aude.get("/v1/audit/records?limit=1000")["records"][-1]["sequence"] == before

    # under-signed: refused
    with pytest.raises(CallRefusedError) as refused:
        nora.call("POST", PUBLICATIONS, approvers.next(signatures=1), reason="CHG-2")
    assert (refused.value.status, refused.value.code) == (422, "under-signed")
    assert nora.get("/v1/environment")["version"] == 1

    # the next version wakes whoever waits, at this controller and at the other one
    with running(ground, "controller-2") as other:
        heard: dict[str, float] = {}

        def wait(name: str, client: Client) -> None:
            assert client.get("/v1/nodes/web-1/desired?known=1")["version"] == 2
            heard[name] = time.monotonic()

        there = other.client(Role.NODE, "web-1")
        threads = [threading.Thread(target=wait, args=pair) for pair in (("here", node), ("there", there))]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert heard == {}
        begun = time.monotonic()
        nora.call("POST", PUBLICATIONS, approvers.next(), reason="CHG-3")
        for thread in threads:
            thread.join()
        assert max(heard.values()) - begun < 10.0, "long before the 25 s after which they ask again"
        assert there.get("/v1/environment")["version"] == 2


def test_a_node_gets_certificates_for_what_runs_on_its_machine_and_for_nothing_else(controller: Running) -> None:
    environment = sound()
    node, _ = controller.enrol("web-1")

    def renewed(identity: str) -> x509.Certificate:
        form = {"csr": csr(new_key()), "identity": identity}
        answer = node.call("POST", "/v1/nodes/web-1/renewals", form)
        return x509.load_pem_x509_certificate(answer["chain"].encode())

    leaf = renewed(environment.services["web"].identity)
    assert uris(leaf) == ["spiffe://test.example/service/web"]
    assert addresses(leaf) == environment.hosts["web-1"].addresses
    for foreign in (
        environment.services["app"].identity,
        environment.hosts["app"].identity,
        "spiffe://test.example/operator/nora",
    ):
        with pytest.raises(CallRefusedError) as refused:
            renewed(foreign)
        assert (refused.value.status, refused.value.code) == (403, "identity-not-yours")


def test_waiting_costs_no_processor_time(controller: Running) -> None:
    """Twenty nodes wait for something new while nothing happens."""
    version = controller.operator("nora").get("/v1/environment")["version"]
    clients = [controller.enrol(f"waiting-{number}")[0] for number in range(20)]

    def wait(client: Client, number: int) -> None:
        client.get(f"/v1/nodes/waiting-{number}/desired?known={version}")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ringfort.control.dispatch.LONG_POLL_SECONDS", 4.0)
        threads = [threading.Thread(target=wait, args=(client, n)) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        before = time.process_time()
        time.sleep(2.0)
        spent = time.process_time() - before
        for thread in threads:
            thread.join()
    assert spent < 0.2


def test_a_controller_that_was_given_the_approvers_root_takes_no_other(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ours, others = Approvers(ground), Approvers(ground)
    form, forged = ours.first(), others.first()
    (ground.directory / "1.root.json").write_bytes(base64.b64decode(form["root"]))
    settings = ground.settings()
    settings.write_text(f'approvers_root = "1.root.json"\n{settings.read_text()}')
    with running(ground) as controller:
        nora = controller.operator("nora")
        with pytest.raises(CallRefusedError) as refused:
            nora.call("POST", PUBLICATIONS, forged, reason="CHG-1")
        assert (refused.value.status, refused.value.code) == (422, "root-pinned")
        assert nora.get("/v1/environment")["version"] == 0
        assert nora.call("POST", PUBLICATIONS, form, reason="CHG-1")["version"] == 1
        # whoever owns the database can put another root there: nothing of it is believed
        with controller.controller.database.writing() as connection:
            DatabaseStore(connection).write(METADATA, "1.root.json", base64.b64decode(forged["root"]))
            bump(connection, ["environment"])
        time.sleep(STALE_SECONDS + 2)
        with pytest.raises(CallRefusedError) as unknown:
            nora.get("/v1/nodes")
        assert unknown.value.code == "state-unknown"
    with pytest.raises(ControlError) as started, running(ground):
        pass
    assert started.value.code == "root-pinned"
