"""Personal values are erased by a call, with a record of its own, and every proof of the log still holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from ringfort.audit.keeping import Keeping
from ringfort.audit.log import Log
from ringfort.cli.main import ringfort
from ringfort.control.client import CallRefusedError
from ringfort.control.recording import value_digest
from ringfort.control.tables import personal_values
from ringfort.identity.names import Role
from ringfort.identity.store import write_bundle, write_credential
from tests.control.running import Ground, Running, running
from tests.control.test_publisher import LOG_KEY, ORIGIN, WITNESS_KEY, audited, call, size, until, witness

NORA = "spiffe://test.example/operator/nora"
ERASURES = "/v1/audit/erasures"


@pytest.fixture
def audited_controller(tmp_path: Path) -> Iterator[Running]:
    ground = Ground(tmp_path)
    with witness(tmp_path / "witness") as port:
        audited(ground, "controller-1", port)
        with running(ground) as controller:
            yield controller


def kept(ground: Ground) -> list[str]:
    with Keeping(ground.directory / "audit" / "private") as keeping:
        return keeping.holding(NORA)


def verified(ground: Ground) -> str:
    """What `ringfort audit verify` says of the log's files, as anybody may run it."""
    policy = ground.directory / "audit.policy"
    policy.write_text(f"log {LOG_KEY.public()}\nwitness south {WITNESS_KEY.public()}\nquorum south\n")
    words = ["audit", "verify", str(ground.directory / "audit" / "public"), "--policy", str(policy), "--format", "json"]
    return str(json.loads(CliRunner().invoke(ringfort, words).stdout)["result"])


def test_a_value_is_erased_everywhere_and_the_proofs_still_hold(audited_controller: Running) -> None:
    ground, sophie = audited_controller.ground, audited_controller.operator("sophie")
    for number in range(3):
        call(audited_controller, number)
    until(lambda: size(ground) == 3 and len(kept(ground)) == 3)
    assert sophie.call("POST", ERASURES, {"values": [NORA]}, reason="request 12") == {"erased": 3}
    until(lambda: kept(ground) == [] and size(ground) == 4)
    assert b"operator/nora" not in (ground.directory / "audit" / "private" / "personal.sqlite").read_bytes()
    assert verified(ground) == "intact"
    shown = sophie.get("/v1/audit/records")["records"]
    assert [record["who"] for record in shown[:3]] == [None] * 3
    own = shown[3]
    assert (own["action"], own["object"]) == ("control:audit:erase", "audit/personal-values")
    assert own["who"] == "spiffe://test.example/operator/sophie"
    assert own["record"]["why"] == "request 12"
    assert len(own["record"]["after"]["value"]["commitments"]) == 3
    assert "nora" not in json.dumps(own)
    assert sophie.call("POST", ERASURES, {"values": [NORA]}, reason="request 12") == {"erased": 0}


def test_a_value_is_erased_beside_the_log_of_every_controller_whichever_is_asked(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with witness(tmp_path / "witness") as port:
        audited(ground, "controller-1", port)
        with running(ground) as first, running(ground, "controller-2") as second:
            for number in range(2):
                call(first, number)
            until(lambda: size(ground) == 2 and len(kept(ground)) == 2)
            sophie = second.operator("sophie")  # controller-2 has no log: what it keeps is in the database
            assert sophie.call("POST", ERASURES, {"values": [NORA]}, reason="request 15") == {"erased": 2}
            until(lambda: kept(ground) == [])
            with second.controller.database.reading() as connection:
                left = connection.execute(select(personal_values.c.digest)).scalars().all()
            assert value_digest(NORA) not in left
            assert len(left) == 4, "where both calls came from, and who erased, from where"


def test_what_is_erased_while_no_witness_cosigns_stays_erased(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with witness(tmp_path / "other") as port:
        pass  # a port where nobody listens
    audited(ground, "controller-1", port)
    with running(ground) as controller:
        call(controller, 1)
        sophie = controller.operator("sophie")
        erased = sophie.call("POST", ERASURES, {"records": [0]}, reason="request 13")
        assert erased == {"erased": 2}, "who, and from where"
        until(lambda: sophie.get("/v1/audit/records/0")["who"] is None)
    with witness(tmp_path / "witness", port), running(ground):
        until(lambda: size(ground) == 2)
        with Log.create(tmp_path / "audit", ORIGIN) as log, Keeping(log.private) as keeping:
            assert keeping.holding(NORA) == []
            assert keeping.holding("spiffe://test.example/operator/sophie") != []
    assert verified(ground) == "intact"


def test_a_security_officer_erases_with_a_reason_and_nobody_else(controller: Running) -> None:
    for who, reason in (("nora", "T-1"), ("aude", "T-1"), ("sophie", "")):
        with pytest.raises(CallRefusedError) as refused:
            controller.operator(who).call("POST", ERASURES, {"values": [NORA]}, reason=reason)
        assert refused.value.code == "forbidden"


@pytest.mark.parametrize(
    ("form", "code"), [({}, "invalid"), ({"records": [10**9]}, "not-found"), ({"values": [""]}, "invalid")]
)
def test_an_erasure_of_nothing_is_refused(controller: Running, form: object, code: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        controller.operator("sophie").call("POST", ERASURES, form, reason="T-1")
    assert refused.value.code == code


def test_the_command_asks_a_controller(audited_controller: Running) -> None:
    ground = audited_controller.ground
    call(audited_controller, 1)
    write_credential(ground.directory / "sophie.pem", ground.credential(Role.OPERATOR, "sophie"))
    write_bundle(ground.directory / "bundle.pem", ground.store.bundle())
    place = f"{audited_controller.platform.host}:{audited_controller.platform.port}"
    options = ["--controller", place, "--credential", "sophie.pem", "--bundle", "bundle.pem"]
    options = [str(ground.directory / word) if word.endswith(".pem") else word for word in options]
    words = ["audit", "erase", "--value", NORA, "--why", "request 14", *options]
    asked = CliRunner().invoke(ringfort, words, input="n\n")
    assert asked.exit_code != 0
    assert CliRunner().invoke(ringfort, [*words, "--yes"]).stdout == "1 erased\n"
    until(lambda: kept(ground) == [])
