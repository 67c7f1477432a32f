"""Audit records reach the log, in order, once, cosigned; whoever is interrupted goes on where it was."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from ringfort.audit.errors import AuditError
from ringfort.audit.log import Log
from ringfort.audit.notes import COSIGNATURE, ED25519, SignerKey
from ringfort.audit.policy import parse_policy
from ringfort.audit.reading import Directory
from ringfort.audit.witness import Witness, application, serving
from ringfort.control import publisher
from ringfort.control.database import Database
from ringfort.control.publisher import take_lease
from ringfort.control.tables import audit_records
from ringfort.identity.names import Role
from ringfort.identity.tls import Party
from tests.control.running import Ground, Running, running

ORIGIN = "test.example/audit"
LOG_KEY = SignerKey(ORIGIN, ED25519, b"L" * 32)
WITNESS_KEY = SignerKey("test.example/witness/south", COSIGNATURE, b"S" * 32)
POLICY = parse_policy(f"log {LOG_KEY.public()}\nwitness south {WITNESS_KEY.public()}\nquorum south\n".encode())
TOKEN = "/v1/enrolment-tokens"


@contextmanager
def witness(directory: Path, port: int = 0, tls: Party | None = None) -> Iterator[int]:
    """A real one, over HTTP; under TLS with an identity."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    app = application(Witness(directory, WITNESS_KEY, [LOG_KEY.public()]), lambda: datetime.now(UTC))
    context = serving(app, "127.0.0.1", port, tls.server if tls else None)
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(10)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result(10)  # connections that close are closed
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def audited(ground: Ground, name: str, port: int, scheme: str = "http") -> None:
    """Settings with an audit log."""
    path = ground.settings(name)
    (ground.directory / "audit.key").write_text(LOG_KEY.secret_text())
    path.write_text(f"""{path.read_text()}
[audit]
directory = "audit"
key = "audit.key"
witnesses = [{{url = "{scheme}://127.0.0.1:{port}", key = "{WITNESS_KEY.public()}"}}]
""")


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.05)


def size(ground: Ground) -> int:
    """Of the last checkpoint."""
    place = ground.directory / "audit" / "public" / "checkpoint"
    return int(place.read_text().splitlines()[1]) if place.exists() else 0


def call(controller: Running, number: int) -> None:
    form = {"node": f"node-{number}", "site": "north", "addresses": ["127.0.0.1"]}
    controller.operator("nora").call("POST", TOKEN, form, reason="T-1")


def bodies(database: Database) -> list[bytes]:
    with database.reading() as connection:
        return list(connection.execute(select(audit_records.c.body).order_by(audit_records.c.sequence)).scalars())


def test_records_reach_the_log_cosigned_and_personal_values_move_beside_it(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with witness(tmp_path / "witness") as port:
        audited(ground, "controller-1", port)
        with running(ground) as controller:
            for number in range(5):
                call(controller, number)
            until(lambda: size(ground) == 5)
            with Log.create(tmp_path / "audit", ORIGIN) as log:
                signed = log.checkpoint()
                assert signed is not None
                assert POLICY.accept(signed).checkpoint.size == 5
                assert log.bodies(0, 5) == bodies(controller.controller.database)
            aude = controller.operator("aude")

            def moved() -> bool:
                with controller.controller.database.reading() as connection:
                    kept = connection.execute(select(audit_records.c.openings)).scalars()
                    return not any(kept)

            until(moved)
            record = aude.get("/v1/audit/records/0")
            assert record["who"] == "spiffe://test.example/operator/nora"
            assert "nora" not in json.dumps(record["record"])
            assert aude.fetch("/v1/audit/log/checkpoint").decode().startswith(f"{ORIGIN}\n5\n")
            assert aude.fetch("/v1/audit/log/tile/entries/000.p/5")
            with pytest.raises(Exception, match="there is no"):
                aude.fetch("/v1/audit/log/../private/personal.sqlite")


def test_nothing_is_lost_or_doubled_while_the_witness_is_away_or_controllers_change(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with witness(tmp_path / "witness") as port:
        audited(ground, "controller-1", port)
        audited(ground, "controller-2", port)
        with running(ground, "controller-1") as one, running(ground, "controller-2") as two:
            for number in range(10):
                call(one if number % 2 else two, number)
            until(lambda: size(ground) == 10)
    with running(ground, "controller-1") as one:  # nobody cosigns: changes go on, the checkpoint stays
        call(one, 11)
        time.sleep(0.5)
        assert size(ground) == 10
    with witness(tmp_path / "witness", port), running(ground, "controller-2") as two:
        until(lambda: size(ground) == 11)
        with Log.create(tmp_path / "audit", ORIGIN) as log:
            assert log.bodies(0, 20) == bodies(two.controller.database)


@pytest.mark.parametrize("role", [Role.WITNESS, Role.SERVICE, Role.NODE])
def test_only_who_proves_to_be_a_witness_is_asked_to_cosign(tmp_path: Path, role: Role) -> None:
    """Another identity of the platform at its address, even with the witness's own key, gets no checkpoint to see."""
    ground = Ground(tmp_path)
    party = Party(ground.credential(role, "south"), ground.store.bundle())
    with witness(tmp_path / "witness", tls=party) as port:
        audited(ground, "controller-1", port, "https")
        with running(ground) as controller:
            call(controller, 1)
            if role is Role.WITNESS:
                until(lambda: size(ground) == 1)
                return
            assert controller.controller.publisher is not None
            with pytest.raises(AuditError, match="is somebody else"):
                controller.run(controller.controller.publisher.carry())
            assert size(ground) == 0
            assert list((tmp_path / "witness").glob("*.fork*")) == []


def test_an_idle_controller_has_its_checkpoint_cosigned_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "COSIGN_SECONDS", 1.0)
    ground = Ground(tmp_path)
    checkpoint = tmp_path / "audit" / "public" / "checkpoint"
    with witness(tmp_path / "witness") as port:
        audited(ground, "controller-1", port)
        with running(ground) as controller:
            call(controller, 1)
            until(lambda: size(ground) == 1)
            before = checkpoint.read_text()
            until(lambda: checkpoint.read_text() != before)
            assert size(ground) == 1


def test_one_controller_at_a_time_holds_the_lease(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'leases.db'}")
    database.migrate()
    with database.writing() as connection:
        assert take_lease(connection, "audit", "one")
        assert not take_lease(connection, "audit", "two")
        assert take_lease(connection, "audit", "one")
    database.close()


def test_the_log_that_a_controller_writes_is_one_that_anybody_reads(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with witness(tmp_path / "witness") as port:
        audited(ground, "controller-1", port)
        with running(ground) as controller:
            call(controller, 1)
            until(lambda: size(ground) == 1)
    assert Directory(tmp_path / "audit" / "public").read("checkpoint", 4096)
